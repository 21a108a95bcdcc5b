"""A matrix whose cells are played in other worlds than their own: looks, tasks, natives, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from stitch_samples import untrained

from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.api.matrix import matrix
from rlstitch.cli.main import main
from rlstitch.envs import World
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.evaluation.matrix import tasks
from rlstitch.evaluation.matrix.plan import Place, plan_matrix, read_places, why_not
from rlstitch.evaluation.matrix.run import open_work
from rlstitch.evaluation.options import CellOptions
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.stitching.pairs import gather_latents, gather_pairs
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage import read_json

AGENTS = ["red", "green"]
FAST = {"episodes": 4, "pairs": 24, "methods": ("naive", "affine")}
WORLDS = ("cell", "red", "inverted/scrambled")
SMALL = "MiniGrid-LavaCrossingS9N1-v0"
HERE = Path("here")


def rows_of(result, place: str):
    return {(row.encoder, row.controller, row.method): row for row in result.results.cells if row.place == place}


def test_texts_name_places_once():
    assert read_places(["cell", "red/scrambled", " red / scrambled", "cell/scrambled"]) == (
        Place("cell"),
        Place("red/scrambled", "red", "scrambled"),
        Place("cell/scrambled", None, "scrambled"),
    )
    assert read_places(["hue:120.0"])[0].text == "hue:120"


@pytest.mark.parametrize(
    ("worlds", "error", "named"),
    [
        (["reed"], UnknownNameError, "did you mean red"),
        (["red/scrambld"], UnknownNameError, "did you mean scrambled"),
        (["hue"], InvalidInputError, "hue"),
        (["red/"], InvalidInputError, "LOOK/TASK"),
        (["/scrambled"], InvalidInputError, "LOOK/TASK"),
        ([], InvalidInputError, "worlds: expected one or more"),
    ],
)
def test_texts_that_name_none_are_refused(worlds, error, named):
    with pytest.raises(error, match=named):
        read_places(worlds)


def test_a_place_changes_look_and_task_and_leaves_the_rest():
    own = World("MiniGrid-DoorKey-5x5-v0", variation="green", tile_size=7, backend="envpool")
    assert Place("cell").world(own) is own
    assert Place("green", "green").world(own) is own
    assert Place("red/scrambled", "red", "scrambled").world(own) == replace(
        own, look="red", task="scrambled", backend="gymnasium"
    )


def test_a_world_that_cannot_be_made_says_why():
    assert why_not(World("MiniGrid-DoorKey-5x5-v0", variation="red")) == ""
    assert "expected observations in" in why_not(World("Blackjack-v1"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory):
    """A plain matrix; the same with worlds; when cells were written before and after; pairs gathered for the worlds."""
    calls = []

    def counted(*agents, **options):
        calls.append(agents)
        return gather_latents(*agents, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("worlds"))
        for name, options in (("red", {}), ("green", {"seed": 2, "variation": "green"})):
            save_agent(untrained(name, environment=SMALL, **options), Path("agents") / name)
        plain = matrix(AGENTS, out=HERE, **FAST)
        before = stamps()
        patch.setattr(tasks, "gather_latents", counted)
        plan = plan_matrix(AGENTS, FAST["methods"], CellOptions(4, 24), worlds=WORLDS)
        expected = sum(entry.results for entry in open_work(plan, HERE))
        result = matrix(AGENTS, out=HERE, worlds=WORLDS, **FAST)
        assert open_work(plan, HERE) == []
        yield plain, result, before, stamps(), expected, calls


def stamps() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (HERE / "cells").iterdir()}


def test_each_cell_is_played_in_each_world(measured):
    result = measured[1]
    assert result.complete
    source, target = load_agent("red"), load_agent("green")
    joined = stitch_agents(source, target, gather_pairs(source, target, pairs=24, seed=0), method="affine").agent
    own = replace(target.card.world, look="red")
    worlds = {"cell": own, "red": own, "inverted/scrambled": replace(own, look="inverted", task="scrambled")}
    for place, world in worlds.items():
        row = rows_of(result, place)["red", "green", "affine"]
        assert row.state == "done"
        assert row.row.return_mean == pytest.approx(evaluate(joined, world, episodes=4).returns.mean())
        assert row.world.startswith(f"{world.environment}, {world.variation}")
        native = rows_of(result, place).get(("green", "green", "native"))
        assert (native is None) == (place == "cell")
        if native is not None:
            assert native.row.return_mean == pytest.approx(evaluate(target, world, episodes=4).returns.mean())
            assert not native.same_seed
    # The encoder's own look is the cell's own world: one file serves both.
    assert {k: replace(r, place="cell") for k, r in rows_of(result, "red").items() if k[:2] == ("red", "green")} == {
        k: r for k, r in rows_of(result, "cell").items() if k[0] == "red"
    }


def test_a_matrix_without_other_worlds_is_what_it_was_and_worlds_join_it(measured):
    plain, result, before, after, expected, calls = measured
    assert plain.plan.hash8 == result.plan.hash8
    assert {row.place for row in plain.results.cells} == {"cell"}
    assert "world" not in str(plain).splitlines()[0]
    assert {name: after[name] for name in before} == before
    # In red: two cells of the green encoder, the green native. Scrambled: four cells, two natives, random actions.
    assert len(after) - len(before) == expected == 3 + 7
    assert rows_of(result, "cell") == {(r.encoder, r.controller, r.method): r for r in plain.results.cells}
    assert len(calls) == 2  # pairs are gathered once for all worlds


def test_recovery_is_between_random_there_and_the_native_at_home(measured):
    result = measured[1]
    for row in rows_of(result, "inverted/scrambled").values():
        encoder = "red" if row.controller == "green" else "green"
        native = rows_of(result, "cell")[encoder, row.controller, "affine"].row.native_return
        assert row.row.native_return == native
        if row.recovery is not None:
            between = (row.row.return_mean - row.row.random_return) / (native - row.row.random_return)
            assert row.recovery == pytest.approx(100 * between)
            assert row.counted
    lines = [(entry.place, entry.method) for entry in result.results.methods]
    three = ["naive", "affine", "native"]
    assert lines == [(place, method) for place in WORLDS for method in (three if place != "cell" else three[:2])]
    assert str(result).splitlines()[0].startswith("world               method")
    assert "| inverted/scrambled | native | " in (result.folder / "summary.md").read_text(encoding="utf-8")


def test_an_environment_without_the_task_is_refused_and_others_are_not(two, stored):
    members = plan_matrix(AGENTS, ["affine"], CellOptions(), worlds=["cell/scrambled"]).members
    assert [member.name for member in members] == ["green", "red"]
    stored("empty", seed=3, environment="MiniGrid-Empty-6x6-v0", view="full")
    plan = plan_matrix([*AGENTS, "empty"], ["affine"], CellOptions(), worlds=["cell", "red"])
    refused = {(p.encoder.name, p.controller.name, p.place) for p in plan.pairings if p.world is None}
    assert refused == {("empty", other, place) for other in AGENTS for place in ("cell", "red")}
    assert all(pairing.world is not None for pairing in plan.natives)
    with pytest.raises(InvalidInputError, match=r"worlds: 'cell/slow' cannot be made for any .*unknown MiniGrid task"):
        plan_matrix(AGENTS, ["affine"], CellOptions(), worlds=["cell", "cell/slow"])


def test_the_command_takes_worlds_and_names_the_nearest_look(two, capsys):
    command = ["matrix", *AGENTS, "--methods", "affine", "--episodes", "3", "--pairs", "24", "--out", "here"]
    assert main([*command, "--worlds", "cell, inverted"]) == 0
    assert "inverted" in capsys.readouterr().out
    assert read_json(HERE / "matrix.json")["worlds"] == ["cell", "inverted"]
    rows = json.loads((HERE / "cells.json").read_text(encoding="utf-8"))
    assert [(row["place"], row["method"]) for row in rows].count(("inverted", "native")) == 2
    assert main([*command[:-1], "nowhere", "--worlds", "cell,invertd"]) == 2
    assert "did you mean inverted" in capsys.readouterr().err
    assert not Path("nowhere").exists()


def test_encoders_of_another_environment_are_joined_on_one_collection():
    policy = untrained("policy", environment=SMALL)
    encoders = [untrained(f"elsewhere-{seed}", environment="MiniGrid-LavaGapS5-v0", seed=seed) for seed in (1, 2)]
    tasks.forget_agents()
    for encoder in encoders:
        shared = gather_latents([encoder], policy, pairs=24, seed=0, collector=tasks._views_once)[0]
        alone = gather_pairs(encoder, policy, pairs=24, seed=0)
        assert all(getattr(shared, side).equal(getattr(alone, side)) for side in ("x", "y", "x_held", "y_held"))
    kept = tasks._collected.cache_info()
    assert (kept.misses, kept.hits) == (1, 1)
