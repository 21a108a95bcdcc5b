"""The evaluate pipeline: exactly the episodes asked for, beside random actions, in the world asked for."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from rlstitch.api.evaluate import evaluate
from rlstitch.cli.main import main
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.rollouts.evaluation import evaluate as play


def test_the_agent_stands_beside_random_actions_on_the_same_episodes(two):
    outcome = evaluate("red", episodes=7, seed=3)
    assert outcome.evaluation.episodes == outcome.random.episodes == 7
    np.testing.assert_array_equal(outcome.evaluation.seeds, outcome.random.seeds)
    np.testing.assert_array_equal(outcome.evaluation.returns, play(two[0], episodes=7, seed=3).returns)
    text = str(outcome)
    for part in (
        "red in MiniGrid-LavaCrossingS9N1-v0, red: 7 episodes, sampled actions",
        "\nagent ",
        "\nrandom ",
        "IQM",
    ):
        assert part in text, part


def test_the_table_has_a_row_an_episode(two, workplace: Path):
    outcome = evaluate("red", episodes=5)
    with (workplace / outcome.table).with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["episode"]) for row in rows] == list(range(5))
    np.testing.assert_allclose([float(row["return"]) for row in rows], outcome.evaluation.returns)


def test_equal_seeds_give_equal_episodes(two):
    one, again, other = (evaluate("red", episodes=20, seed=seed).evaluation for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.lengths, again.lengths)
    assert (one.seeds != other.seeds).any()


def test_another_look_or_task_is_played_instead(two):
    own = evaluate("red", episodes=3)
    look = evaluate("red", variation="green", episodes=3)
    task = evaluate("red", task="scrambled", episodes=3)
    assert evaluate("red", look="green", episodes=3).table == look.table
    assert [o.evaluation.world.variation for o in (own, look, task)] == ["red", "green", "red"]
    assert [o.evaluation.world.task for o in (own, look, task)] == ["standard", "standard", "scrambled"]
    short = evaluate("red", episodes=2)
    assert len({o.table for o in (own, look, task, short)}) == 4  # none overwrites another
    assert "task scrambled" in str(task)
    # Random actions see nothing: the look makes no difference to them.
    np.testing.assert_array_equal(own.random.returns, look.random.returns)


def test_long_looks_and_tasks_have_a_short_folder(two):
    look = "+".join(f"noise:0.0{digit},seed={digit}" for digit in range(1, 9))
    tables = {evaluate("red", look=look, task=f"length:9+time-cost:0.{cost}", episodes=1).table for cost in (1, 2)}
    assert len(tables) == 2
    assert all(len(table.parent.name) < 130 for table in tables)


def test_greedy_actions_are_said_to_be_greedy(two):
    outcome = evaluate("red", episodes=3, deterministic=True)
    assert outcome.evaluation.deterministic
    assert "greedy actions" in str(outcome)


def test_a_film_is_made_in_the_world_that_was_played(two, workplace: Path, short_films):
    outcome = evaluate("red", variation="green", episodes=2, video=True)
    assert [path.name for path in outcome.videos] == ["red-green.mp4", "red-green.gif"]
    assert all((workplace / path).stat().st_size > 1000 for path in outcome.videos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variation": "grean"}, "unknown look 'grean'; did you mean green"),
        ({"task": "scrambeld"}, "unknown MiniGrid task 'scrambeld'; did you mean scrambled"),
    ],
)
def test_unknown_names_offer_the_nearest(options, message, two):
    with pytest.raises(UnknownNameError, match=message):
        evaluate("red", episodes=2, **options)


@pytest.mark.parametrize("episodes", [0, -3])
def test_no_episodes_are_refused(episodes, two):
    with pytest.raises(InvalidInputError, match=f"episodes: expected at least 1, found {episodes}"):
        evaluate("red", episodes=episodes)


def test_the_command_prints_it(two, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "red", "--episodes", "3", "--variation", "blue", "--greedy"]) == 0
    out = capsys.readouterr().out
    assert "red in MiniGrid-LavaCrossingS9N1-v0, blue: 3 episodes, greedy actions" in out


def test_a_shipped_agent_does_in_its_world_what_its_card_says(workplace: Path):
    outcome = evaluate("doorkey-red-s1", episodes=40, seed=11)
    summary, random = outcome.evaluation.summary(), outcome.random.summary()
    assert summary.success is not None
    assert summary.success.estimate >= 0.95
    assert summary.mean.low > random.mean.high
