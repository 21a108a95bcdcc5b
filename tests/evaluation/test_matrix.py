"""The stitching matrix: cells and tables, resuming, refusals, locks, interrupts, workers, the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from stitch_samples import untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, parent_card, save_agent
from rlstitch.agents.card import TrainingCard
from rlstitch.api import matrix as api_matrix
from rlstitch.api.matrix import matrix
from rlstitch.api.report import report
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.errors import BusyError, InvalidInputError, RlstitchError, UnknownNameError
from rlstitch.evaluation.matrix import tasks
from rlstitch.evaluation.matrix.plan import cell_identity, native_identity, plan_matrix
from rlstitch.evaluation.matrix.run import open_work
from rlstitch.evaluation.matrix.table import assemble
from rlstitch.evaluation.matrix.text import markdown, terminal_text
from rlstitch.evaluation.matrix.videos import record_cells, worst_cells
from rlstitch.evaluation.options import CellOptions
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.page import render_matrix
from rlstitch.reporting.matrix.tables import worst_row
from rlstitch.rollouts.evaluation import evaluate_together
from rlstitch.rollouts.statistics import iqm
from rlstitch.storage import read_json, write_json
from rlstitch.storage.locks import exclusive_lock

HERE = Path("here")
SMALL = "MiniGrid-LavaCrossingS9N1-v0"
BOTH = "[rg]*e*"  # red and green, and none of the agents that come with the package
FAST = {"episodes": 4, "pairs": 24, "methods": ("naive", "affine")}


@pytest.fixture
def three(stored):
    """Two agents of unlike seeds, and one of the seed and look of the first."""
    stored("a-red")
    stored("a-green", seed=2, variation="green")
    stored("a-blue", seed=1, variation="blue")


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a red and a green agent and their matrix, in `here`."""
    place = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, options in (("red", {}), ("green", {"seed": 2, "variation": "green"})):
            save_agent(untrained(name, environment=SMALL, **options), Path("agents") / name)
        matrix(["red", "green"], out=HERE, **FAST)
    return place


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of it, as the working folder; what it holds is read anew."""
    shutil.copytree(finished_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    plan = plan_matrix(["red", "green"], FAST["methods"], CellOptions(4, 24))
    assert open_work(plan, HERE) == []
    return plan


def written(folder: Path) -> dict[str, int]:
    """When each cell was written, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


def rows_of(result):
    return {(row.encoder, row.controller, row.method): row for row in result.results.cells}


def test_every_ordered_pair_has_a_row_under_every_method_and_equals_stitch(two):
    result = matrix(["red", "green"], **FAST)
    rows = rows_of(result)
    assert sorted(rows) == sorted(
        (x, y, method) for x, y in (("red", "green"), ("green", "red")) for method in FAST["methods"]
    )
    assert result.complete
    cells = stitch("red", "green", method="affine", episodes=4, pairs=24, save=False).cells
    row = rows["red", "green", "affine"]
    assert (row.state, row.to_dict()["map"], row.to_dict()["choice"]) == ("done", "affine", None)
    assert row.row == cells[-1]
    assert row.row.random_return == pytest.approx(cells[0].return_mean)
    assert row.row.native_return == pytest.approx(cells[1].return_mean)
    assert rows["red", "green", "naive"].row == cells[2]


def test_the_table_says_what_auto_chose_and_why(two):
    columns = rows_of(matrix(["red", "green"], **{**FAST, "methods": ["auto"]}))["red", "green", "auto"].to_dict()
    assert columns["choice"].startswith(f"chose {columns['map']}: ")
    assert "of sampled actions change in 4-fold cross-validation" in columns["choice"]


def test_controls_are_cells_of_their_own_that_decide_where_a_method_counts(two):
    options = {"episodes": 4, "pairs": 24, "methods": ("naive", "affine"), "controls": True}
    result = matrix(["red", "green"], out=HERE, **options)
    rows, controls = rows_of(result), ("affine-shuffled", "affine-untrained", "affine-self")
    assert {method for _, _, method in rows} == {"naive", "affine", *controls}
    assert all(row.state == "done" for row in rows.values())
    alone = {
        cell.method: cell
        for cell in stitch("red", "green", method="affine", controls=True, episodes=4, pairs=24, save=False).cells
    }
    for name in controls:
        assert rows["red", "green", name].row.return_mean == alone[name].return_mean, name
    before = written(HERE)
    assert matrix(["red", "green"], out=HERE, **options).complete
    assert written(HERE) == before

    plan = result.plan
    earned = {native_identity(member, plan.options): 1.0 for member in plan.members}
    for pairing, above in zip(plan.pairings, (True, False), strict=True):
        earned[pairing.identity("affine", plan.options)] = 0.9
        earned[pairing.identity("affine-untrained", plan.options)] = 0.1 if above else 0.9
        earned[pairing.identity("affine-self", plan.options)] = 1.0
    for identity, value in earned.items():
        path = tasks.cell_path(HERE, identity)
        write_json(path, read_json(path) | {"returns": [value, value - 0.01, value, value + 0.01]})
    judged = matrix(["red", "green"], out=HERE, **options)
    assert [cell.row.above_controls for cell in judged.results.cells if cell.method == "affine"] == [True, False]
    assert "affine is above its controls (shuffled pairs, untrained encoder) in 1 of 2 cells" in str(judged)
    assert [(entry.first, entry.second) for entry in judged.results.comparisons] == [("naive", "affine")]
    page = render_matrix(read_matrix(HERE))
    assert "affine is above its controls" in page
    assert "affine recovers" in page  # not the control, which recovers more


def test_rounds_of_refinement_make_a_method_of_its_own(two):
    options = {"episodes": 4, "pairs": 24, "methods": ("affine-refined-2",), "controls": True}
    rows = rows_of(matrix(["red", "green"], out=HERE, **options))
    controls = {"affine-shuffled", "affine-untrained", "affine-self", "affine-refined-2-untrained"}
    assert {method for _, _, method in rows} == {"affine-refined-2", *controls}
    row = rows["red", "green", "affine-refined-2"].row
    alone = stitch("red", "green", method="affine", refine=2, controls=True, episodes=4, pairs=24, save=False).cells
    last = alone[-1]
    for cell in alone:
        if cell.method in controls:
            assert rows["red", "green", cell.method].row.return_mean == cell.return_mean, cell.method
    assert controls < {cell.method for cell in alone}
    assert (row.return_mean, row.diagnostics) == (last.return_mean, last.diagnostics)
    assert last.diagnostics["round"] == 2


def test_the_control_of_a_refined_method_is_refined_too(two):
    methods = ("affine-refined-2", "affine-refined-2-untrained")
    rows = rows_of(matrix(["red", "green"], out=HERE, episodes=4, pairs=24, methods=methods))
    refined, control = (rows["red", "green", name].row.diagnostics for name in methods)
    assert control["round"] == refined["round"] == 2
    assert control["residual"] != refined["residual"]  # of another encoder


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("naive-refined-2", "fits a map"),
        ("afine-refined-2", "did you mean affine"),
        ("affine-refined-2-shuffled", "which are not shuffled"),
        ("affine-refined-0", "unknown stitching method"),
    ],
)
def test_what_cannot_be_refined_is_refused_at_once(two, method, message):
    with pytest.raises(RlstitchError, match=message):
        matrix(["red", "green"], **{**FAST, "methods": [method]})


def test_the_folder_tells_what_was_found(finished):
    content = read_json(HERE / "matrix.json", schema_version=1)
    assert content["complete"] is True
    assert [entry["method"] for entry in content["summary"]] == ["naive", "affine"]
    assert [agent["name"] for agent in content["agents"]] == ["green", "red"]
    rows = json.loads((HERE / "cells.json").read_text(encoding="utf-8"))
    assert len(rows) == 4
    assert len((HERE / "cells.csv").read_text(encoding="utf-8").splitlines()) == 5
    assert "Stitching matrix" in (HERE / "summary.md").read_text(encoding="utf-8")


def test_what_is_there_is_not_measured_again(finished):
    before, tables = written(HERE), (HERE / "matrix.json").read_bytes()
    again = matrix(["red", "green"], out=HERE, **FAST)
    assert again.complete
    assert (written(HERE), (HERE / "matrix.json").read_bytes()) == (before, tables)
    matrix(["red", "green"], out=HERE, **{**FAST, "methods": ("naive", "affine", "orthogonal")})
    after = written(HERE)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


def test_a_cell_that_is_lost_damaged_or_anothers_is_made_again(finished):
    results = assemble(finished, HERE)
    lost, damaged, other, *_ = sorted((HERE / "cells").iterdir())
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-30])
    write_json(other, read_json(other) | {"identity": "0" * 64})
    kept = {name: stamp for name, stamp in written(HERE).items() if name not in (damaged.name, other.name)}
    again = matrix(["red", "green"], out=HERE, **FAST)
    assert again.results == results
    assert {name: stamp for name, stamp in written(HERE).items() if name in kept} == kept


def test_other_weights_options_or_methods_are_other_cells(two, stored):
    options = CellOptions(4, 24)
    before = plan_matrix(["red", "green"], ["affine"], options)
    stored("red", seed=7)
    after = plan_matrix(["red", "green"], ["affine"], options)
    green, red = before.members
    assert after.members[0] == green
    assert after.members[1].identity != red.identity
    assert before.hash8 != after.hash8
    args = [
        (red.identity, green.identity, "affine", options),
        (green.identity, red.identity, "affine", options),
        (red.identity, green.identity, "linear", options),
        *((red.identity, green.identity, "affine", CellOptions(**{**vars(options), k: v})) for k, v in
          {"episodes": 5, "pairs": 25, "seed": 1, "greedy": True}.items()),
    ]  # fmt: skip
    assert len({cell_identity(*each) for each in args}) == len(args)


def test_an_agent_under_another_name_is_the_same_agent(finished):
    before = written(HERE)
    Path("agents/red").rename("agents/crimson")
    again = matrix(["crimson", "green"], out=HERE, **FAST)
    assert written(HERE) == before
    assert {row.encoder for row in again.results.cells} == {"crimson", "green"}


def test_pairs_of_one_seed_are_marked_and_not_counted(three):
    result = matrix(["a-*"], **FAST)
    rows = rows_of(result)
    alike = {key[:2] for key, row in rows.items() if row.same_seed}
    assert alike == {("a-red", "a-blue"), ("a-blue", "a-red")}
    assert not any(row.counted for row in rows.values() if row.same_seed)
    assert all(row.state == "done" for row in rows.values())
    both = assemble(result.plan, result.folder, same_seed=True)
    recovered = [cell for cell in both.cells if cell.recovery is not None]
    assert all(cell.counted for cell in recovered)
    assert both.methods[0].cells == sum(cell.method == "naive" for cell in recovered)


def test_a_pair_without_a_common_world_is_refused_with_the_reason(two, stored):
    stored("full", seed=3, environment="MiniGrid-Empty-6x6-v0", view="full")
    result = matrix(["red", "full"], **FAST)
    rows = rows_of(result)
    assert result.complete
    assert {row.state for row in rows.values()} == {"refused"}
    assert "no common observations" in rows["full", "red", "affine"].reason  # seen before any rollout
    assert "takes the full view" in rows["red", "full", "affine"].reason  # seen when pairs are gathered
    assert len(read_json(result.folder / "matrix.json")["refused"]) == 4
    assert "2 cells refused (naive 1, affine 1), as full -> red: MiniGrid-Empty-6x6-v0 and" in str(result)
    assert "2 cells refused (naive 1, affine 1), as red -> full: agent 'full' takes the full view" in str(result)


def test_a_method_that_cannot_join_two_agents_is_refused_once_and_others_are_not(stored):
    stored("wide", encoder__latent_dim=20)
    stored("green", seed=2, variation="green")
    result = matrix(["wide", "green"], **FAST)
    rows = rows_of(result)
    assert rows["wide", "green", "naive"].state == "refused"
    assert "width 20" in rows["wide", "green", "naive"].reason
    assert rows["wide", "green", "affine"].state == "done"
    assert open_work(result.plan, result.folder) == []


def test_refusals_of_one_kind_are_one_line_and_all_of_them_are_on_the_disk(stored):
    for width in (20, 21, 22):
        stored(f"wide-{width}", seed=width, encoder__latent_dim=width)
    result = matrix(["wide-*"], episodes=2, pairs=24, methods=("naive", "relative"))
    lines = [line for line in str(result).splitlines() if "refused" in line]
    assert len(lines) == 2
    assert "6 cells refused (naive 6), as wide-20 -> wide-21: the encoder of 'wide-20' gives latents" in "".join(lines)
    assert "6 cells refused (relative 6), as wide-20 -> wide-21: agent 'wide-20' is absolute" in "".join(lines)
    assert sum("refused" in line for line in (result.folder / "summary.md").read_text().splitlines()) == 2
    assert len(read_json(result.folder / "matrix.json")["refused"]) == 12


def test_a_pattern_stands_for_trained_agents_unless_others_are_named_or_asked_for(two):
    stitch("red", "green", name="red-stitched", episodes=1, pairs=24)
    made = load_agent("red")
    card = made.card.model_copy(update={"method": "relativized"})
    save_agent(Agent(made.encoder, made.controller, card), Path("agents/red-relativized"))

    def names(*patterns, **options):
        return [member.name for member in plan_matrix(patterns, ["affine"], CellOptions(), **options).members]

    assert names(BOTH) == ["green", "red"]
    assert names(BOTH, "red-stitched") == ["green", "red", "red-stitched"]
    assert names(BOTH, derived=True) == ["green", "red", "red-relativized", "red-stitched"]
    assert names(BOTH, derived=True, without=["*-stitched"]) == ["green", "red", "red-relativized"]
    assert names(BOTH, "red-stitched", without=["red-*"]) == ["green", "red", "red-stitched"]
    plan = plan_matrix([BOTH], ["affine"], CellOptions())
    assert plan.left_out == ("red-relativized", "red-stitched")
    assert "2 stitched or relativized agents left out, as red-relativized" in terminal_text(
        plan, assemble(plan, Path("nowhere")), Path("nowhere")
    )
    with pytest.raises(InvalidInputError, match=r"found none by red-\* \(2 stitched or relativized agents left out"):
        names("red-*")


@pytest.mark.parametrize("method", ["fine-tuned", "frozen encoder"])
def test_an_agent_that_was_trained_from_parts_is_a_trained_one(two, method):
    made = load_agent("red")
    trained = TrainingCard(algorithm="PPO", steps=1, seconds=0.0)
    update = {"parents": (parent_card(made, "encoder"),), "training": trained, "method": method}
    save_agent(Agent(made.encoder, made.controller, made.card.model_copy(update=update)), Path("agents/red-tuned"))
    plan = plan_matrix([BOTH], ["affine"], CellOptions())
    assert [member.name for member in plan.members] == ["green", "red", "red-tuned"]
    assert plan.left_out == ()


def test_ctrl_c_keeps_what_is_done_and_the_same_call_goes_on(two, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*args, **options):
        yield next(evaluate_together(*args, **options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "evaluate_together", interrupted)
        first = matrix(["red", "green"], **FAST)
    assert first.interrupted
    assert not first.complete
    assert read_json(first.folder / "matrix.json")["complete"] is False
    assert "missing; the same command goes on" in str(first)
    before = written(first.folder)
    assert len(before) == 4  # two natives, random actions, a cell
    again = matrix(["red", "green"], **FAST)
    assert again.complete
    assert {name: stamp for name, stamp in written(again.folder).items() if name in before} == before


def test_cells_that_are_played_together_are_those_that_are_played_alone(finished, monkeypatch: pytest.MonkeyPatch):
    together = assemble(finished, HERE)
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "can_share", lambda world: False)
        assert matrix(["red", "green"], out=Path("alone"), **FAST).results == together
    for limit in ("_MAX_CELLS", "_MAX_WEIGHTS"):
        with monkeypatch.context() as patch:
            patch.setattr(tasks, limit, 1)
            assert matrix(["red", "green"], out=Path(limit), **FAST).results == together


def test_one_cell_that_cannot_be_played_does_not_spoil_those_beside_it(two, stored):
    blue = stored("blue", seed=3, variation="blue")
    with torch.no_grad():
        blue.controller.action_head.weight.fill_(3e38)  # finite, but its scores are not
    save_agent(blue, Path("agents/blue"), force=True)
    rows = rows_of(matrix(["red", "green", "blue"], **FAST))
    assert {row.state for (_, policy, _), row in rows.items() if policy == "blue"} <= {"refused", "missing"}
    assert rows["red", "green", "affine"].state == rows["green", "red", "naive"].state == "done"


def test_a_second_run_on_one_folder_is_told_who_holds_it(two):
    with (
        exclusive_lock(Path("here/lock"), "x"),
        pytest.raises(BusyError, match=r"the matrix in here is locked by another process \(process \d+"),
    ):
        matrix(["red", "green"], out=Path("here"), **FAST)


def test_workers_give_the_same_results(finished):
    reported = []
    pool = matrix(["red", "green"], out=Path("pool"), workers=2, on_progress=lambda *at: reported.append(at), **FAST)
    assert pool.results == assemble(finished, HERE)
    assert reported[-1] == (7, 7)  # two natives, random actions, four cells


def test_an_agent_that_cannot_be_read_fails_its_tasks_only(two, stored, monkeypatch: pytest.MonkeyPatch):
    stored("blue", seed=3, variation="blue")
    plan = plan_matrix(["red", "green", "blue"], FAST["methods"], CellOptions(4, 24))
    weights = Path("agents/blue/encoder.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    monkeypatch.setattr(api_matrix, "plan_matrix", lambda *args, **options: plan)
    result = matrix(["red", "green", "blue"], **FAST)
    assert result.failed
    assert all("encoder.safetensors" in outcome.error for outcome in result.failed)
    assert rows_of(result)["red", "green", "naive"].state == "done"
    assert rows_of(result)["blue", "green", "naive"].state == "missing"


def test_an_agent_that_is_replaced_after_the_plan_is_not_measured_as_the_older_one(
    two, stored, monkeypatch: pytest.MonkeyPatch
):
    stored("blue", seed=3, variation="blue")
    plan = plan_matrix(["red", "green", "blue"], FAST["methods"], CellOptions(4, 24))
    stored("blue", seed=4, variation="blue")
    monkeypatch.setattr(api_matrix, "plan_matrix", lambda *args, **options: plan)
    result = matrix(["red", "green", "blue"], **FAST)
    assert all("blue: the agent was replaced" in outcome.error for outcome in result.failed)
    states = {(row.encoder, row.controller): row.state for row in result.results.cells}
    assert {state for names, state in states.items() if "blue" in names} == {"missing"}
    assert {state for names, state in states.items() if "blue" not in names} == {"done"}


@pytest.fixture
def made_up(finished):
    """A matrix whose returns were made up: random 0, native 1, naive around 0.2, affine around 1."""
    expected = {"naive": [0.1, 0.3, 0.2, 0.2], "affine": [0.9, 1.1, 0.8, 1.2]}
    options = finished.options
    returns = {native_identity(member, options): [1.0] * 4 for member in finished.members}
    for pairing in finished.pairings:
        for method, values in expected.items():
            returns[cell_identity(pairing.encoder.identity, pairing.controller.identity, method, options)] = values
    for path in (HERE / "cells").iterdir():
        content = read_json(path)
        write_json(path, content | {"returns": returns.get(content["identity"], [0.0] * 4)})
    return finished, HERE, expected


def test_summaries_and_comparisons_of_known_returns(made_up):
    plan, folder, expected = made_up
    results = assemble(plan, folder)
    naive, affine = results.methods
    assert naive.mean["estimate"] == pytest.approx(20.0)
    assert affine.mean["estimate"] == pytest.approx(100.0)
    assert affine.iqm["estimate"] == pytest.approx(100 * iqm(expected["affine"] * 2))
    assert affine.iqm["low"] <= affine.iqm["estimate"] <= affine.iqm["high"]
    assert (naive.recovered, affine.recovered) == (0.0, 1.0)
    levels, share = (np.array(affine.profile[name]) for name in ("levels", "share"))
    assert share[levels == 70.0] == 1.0
    assert "different cells" not in terminal_text(plan, results, folder)
    (compared,) = results.comparisons
    assert (compared.first, compared.second) == ("naive", "affine")
    assert compared.improvement["estimate"] == 0.0
    assert compared.test["median_difference"] == pytest.approx(-80.0)


def test_a_method_of_fewer_cells_is_not_the_best_and_the_summary_says_why(made_up):
    plan, folder, _ = made_up
    refused, better = (pairing.identity("naive", plan.options) for pairing in plan.pairings)
    for path in (folder / "cells").iterdir():
        content = read_json(path)
        if content["identity"] == refused:
            write_json(path, {key: content[key] for key in ("identity", "schema_version")} | {"refused": "too wide"})
        elif content["identity"] == better:
            write_json(path, content | {"returns": [2.0] * 4})
    results = assemble(plan, folder)
    naive, affine = results.methods
    assert naive.mean["estimate"] > affine.mean["estimate"]
    assert {cell.method for cell in worst_cells(results, 9)} == {"affine"}
    expected = (
        "Means are over different cells (affine 2, naive 1): "
        "the best is chosen among the methods that share the most, affine"
    )
    assert expected in terminal_text(plan, results, folder)
    summary = markdown(plan, results, complete=True)
    assert f"- {expected}" in summary
    assert "episodes of these cells only" in summary


def test_a_native_no_better_than_random_leaves_no_recovery(made_up):
    plan, folder, _ = made_up
    for path in (folder / "cells").iterdir():
        content = read_json(path)
        if content["returns"] == [1.0] * 4:
            write_json(path, content | {"returns": [0.0] * 4})
    results = assemble(plan, folder)
    assert {cell.reason for cell in results.cells} == {
        "native no better than random: the 95 % interval of native - random, [0, 0], contains 0"
    }
    assert [entry.cells for entry in results.methods] == [0, 0]
    assert results.comparisons == ()
    assert results.undefined == list(results.cells)
    assert f"{len(results.cells)} cells without recovery" in terminal_text(plan, results, folder)


def test_the_worst_cells_of_the_best_method_are_recorded_once(made_up, short_films):
    plan, folder, _ = made_up
    (worst,) = worst_cells(assemble(plan, folder), 1)
    assert worst.method == "affine"
    assert worst.recovery == min(cell.recovery for cell in assemble(plan, folder).cells if cell.method == "affine")
    result = matrix(["red", "green"], out=HERE, video=1, **FAST)
    (video,) = result.videos
    assert video.stem == f"{worst.encoder}--{worst.controller}--affine"
    assert str(video) in str(result)
    actual = report(HERE, latents=0, tensorboard=False)
    assert [(each.path, each.row) for each in actual.videos] == [(video, worst_row(actual.data))]
    written = video.stat().st_mtime_ns
    assert matrix(["red", "green"], out=HERE, video=1, **FAST).videos == (video,)
    assert video.stat().st_mtime_ns == written
    with pytest.raises(InvalidInputError, match="video: expected 0 or more cells, found -1"):
        matrix(["red", "green"], out=HERE, video=-1, **FAST)


def test_a_cell_of_a_refined_method_is_recorded_as_it_was_joined(two, short_films):
    outcome = matrix(["red", "green"], out=HERE, **{**FAST, "methods": ["affine-refined-1"]})
    (video,) = record_cells(outcome, outcome.results.cells[:1])
    assert video == HERE / "videos/green--red--affine-refined-1.mp4"
    assert video.is_file()


def test_the_command_prints_its_table_and_refuses_in_one_line(two, capsys):
    arguments = ["matrix", "re*", "green", "--methods", "naive, affine", "--episodes", "3", "--pairs", "24"]
    assert main([*arguments, "--greedy", "--same-seed", "--out", "here"]) == 0
    out = capsys.readouterr().out
    assert "IQM" in out
    assert str(Path("here/cells.csv")) in out
    assert read_json(Path("here/matrix.json"))["options"] == {"episodes": 3, "pairs": 24, "seed": 0, "greedy": True}
    assert main(["matrix", "gren"]) == 2
    assert "did you mean green" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("patterns", "options", "error", "named"),
    [
        (["red", "nothing-*"], {}, UnknownNameError, "nothing-"),
        (["red"], {}, InvalidInputError, "two or more"),
        (["*e*"], {"methods": ["afine"]}, UnknownNameError, "affine"),
        (["*e*"], {"methods": []}, InvalidInputError, "methods"),
        (["*e*"], {"episodes": 0}, InvalidInputError, "episodes"),
        (["*e*"], {"pairs": 0}, InvalidInputError, "pairs"),
        (["*e*"], {"seed": -1}, InvalidInputError, "seed"),
        (["*e*"], {"workers": 0}, InvalidInputError, "workers"),
    ],
)
def test_refusals(two, patterns, options, error, named):
    with pytest.raises(error, match=named):
        matrix(patterns, **options)


def test_two_folders_of_one_name_are_refused(two, stored, workplace: Path):
    save_agent(stored("blue"), workplace / "elsewhere/red")
    with pytest.raises(InvalidInputError, match="'red' twice"):
        matrix(["red", "./elsewhere/red"], **FAST)
