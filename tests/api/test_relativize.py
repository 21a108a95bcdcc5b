"""The relativize pipeline: one anchor set for every agent, and agents that join by it with nothing fitted between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stitch_samples import relativize_quickly, unlike_weights

from rlstitch.agents.anchor_set import load_anchor_set
from rlstitch.agents.artefact import load_agent
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.stitching.relativize import visited_states


def test_two_agents_are_relativized_on_one_anchor_set_and_joined(two, quick, workplace: Path):
    outcomes = [relativize(name, anchors=20, episodes=4) for name in ("red", "green")]
    one, other = (outcome.anchor_set for outcome in outcomes)
    assert one == other
    assert load_anchor_set(one.identity[:8]) == one
    assert [path.name for path in (workplace / "anchors").iterdir()] == [one.identity[:16]]
    again = load_agent("red-relativized")
    assert again.card.anchors is not None
    assert again.card.anchors.identity == one.identity
    assert (again.card.method, again.encoder.latent_dim) == ("relativized", len(one))
    assert unlike_weights(again.encoder, outcomes[0].agent.encoder) == []
    joined = stitch("red-relativized", "green-relativized", method="relative", episodes=4, pairs=20)
    assert [parent.name for parent in joined.agent.card.parents] == ["red-relativized", "green-relativized"]
    text = str(outcomes[0])
    for part in ("anchors  20 of set", "same action on", "before   return", "after    return"):
        assert part in text, part


def test_equal_seeds_give_equal_agents(two, quick):
    one, again, other = (relativize("red", anchors=12, episodes=2, save=False, seed=seed).agent for seed in (1, 1, 2))
    assert unlike_weights(one.controller, again.controller) == []
    assert unlike_weights(one.controller, other.controller) != []
    assert unlike_weights(one.encoder, other.encoder) == []  # the anchors are everybody's, whatever the seed


def test_a_stored_anchor_set_is_found_by_its_beginning(two, quick):
    made = relativize("red", anchors=12, episodes=2)
    again = relativize("green", anchors=made.anchor_set.identity[:10], episodes=2, save=False)
    assert again.anchor_set == made.anchor_set


def test_drivers_find_anchors_that_are_everybodys(two, quick):
    by_chance = relativize("red", anchors=200, episodes=2, save=False).anchor_set
    made = [
        relativize(name, anchors=200, drivers=["red", "green"], episodes=2, save=False) for name in ("red", "green")
    ]
    one, other = (outcome.anchor_set for outcome in made)
    assert one == other
    assert one != by_chance


def test_drivers_of_stored_anchors_are_refused(two, quick):
    made = relativize("red", anchors=12, episodes=2)
    with pytest.raises(InvalidInputError, match="drivers: expected none where a stored anchor set is named, found 1"):
        relativize("green", anchors=made.anchor_set.identity, drivers=["red"], episodes=2, save=False)


def test_what_was_relativized_is_not_relativized_again(two, quick):
    relativize("red", anchors=12, episodes=2)
    with pytest.raises(IncompatibleError, match="'red-relativized' is relative already, to anchor set"):
        relativize("red-relativized", anchors=12, episodes=2)


def test_what_was_trained_through_a_projection_meets_what_was_not(two, stored, quick):
    through = stored("through", representation="relative", relative__anchors=8)
    made = [relativize(name, anchors=12, episodes=2).agent for name in ("through", "green")]
    assert unlike_weights(made[0].encoder.base, through.encoder.base) == []
    joined = stitch("through-relativized", "green-relativized", method="relative", episodes=2, pairs=20)
    assert joined.agent.encoder.latent_dim == 12


def test_an_agent_that_is_there_is_kept(two, quick, workplace: Path):
    relativize("red", anchors=12, episodes=2, name="kept")
    before = {path.name: path.read_bytes() for path in (workplace / "agents/kept").iterdir()}
    with pytest.raises(InvalidInputError, match=r"an agent 'kept' is there already .*force=True"):
        relativize("green", anchors=12, episodes=2, name="kept")
    assert {path.name: path.read_bytes() for path in (workplace / "agents/kept").iterdir()} == before
    relativize("green", anchors=12, episodes=2, name="kept", force=True)
    assert load_agent("kept").card.world.variation == "green"


def test_anchors_of_another_environment_are_refused(two, stored, quick):
    made = relativize("red", anchors=12, episodes=2)
    stored("elsewhere", environment="MiniGrid-Empty-5x5-v0")
    with pytest.raises(
        IncompatibleError, match=r"belongs to MiniGrid-LavaCrossingS9N1-v0 .* 'elsewhere' to MiniGrid-Empty-5x5"
    ):
        relativize("elsewhere", anchors=made.anchor_set.identity, episodes=2)


@pytest.mark.parametrize(
    ("anchors", "error", "message"),
    [
        (1, InvalidInputError, "anchors: expected 2 to 65,536, found 1"),
        (10**9, InvalidInputError, "anchors: expected 2 to 65,536, found 1,000,000,000"),
        ("deadbeef", UnknownNameError, "unknown anchor set 'deadbeef'"),
    ],
)
def test_anchors_that_cannot_be_used(anchors, error, message, two, quick, workplace: Path):
    with pytest.raises(error, match=message):
        relativize("red", anchors=anchors, episodes=2)
    assert not (workplace / "agents/red-relativized").exists()


def test_drivers_that_cannot_play_are_refused(two, stored, quick, workplace: Path):
    stored("wide", view="full")
    with pytest.raises(IncompatibleError, match="agent 'wide' takes the full view, the world gives agent"):
        relativize("red", anchors=12, drivers=["wide"], episodes=2)
    with pytest.raises(UnknownNameError, match="unknown agent 'nobody'"):
        relativize("red", anchors=12, drivers=["nobody"], episodes=2)
    assert not (workplace / "agents/red-relativized").exists()


def test_the_command_prints_it(two, quick, capsys: pytest.CaptureFixture[str]):
    drivers = ["--drivers", "red, green"]
    assert main(["relativize", "red", "--anchors", "200", *drivers, "--episodes", "2", "--name", "told"]) == 0
    out = capsys.readouterr().out
    assert "agents/told" in out
    driven = relativize("red", anchors=200, drivers=["red", "green"], episodes=2, save=False).anchor_set
    assert f"of set {driven.identity[:16]}" in out


def test_a_shipped_agent_keeps_what_it_does(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    relativize_quickly(monkeypatch, states=6000, steps=1000)
    agent = load_agent("doorkey-red-s1")
    outcome = relativize(agent, episodes=40, save=False)
    before, after = outcome.before.summary().mean.estimate, outcome.after.summary().mean.estimate
    # Of a handful of views that were not distilled on: most, not all.
    assert outcome.relativized.action_agreement >= 0.6
    assert after >= before - 0.05
    fresh = visited_states(agent, count=500, seed=77)
    assert np.mean(outcome.agent.act(fresh) == agent.act(fresh)) >= 0.95
