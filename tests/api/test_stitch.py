"""The stitch pipeline: its table with every baseline, what it stores, and what the shipped agents show."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stitch_samples import WIDTH, mixing, moved, unlike_weights

from rlstitch.agents.artefact import load_agent, save_agent, weights_sha256
from rlstitch.api.stitch import control_lines, stitch
from rlstitch.cli.main import main
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.stitching.methods import DEFAULT
from rlstitch.stitching.pair_files import write_pairs
from rlstitch.storage import read_json

FAST = {"pairs": 24, "episodes": 6, "method": "affine"}


def test_every_baseline_stands_in_the_table(two):
    outcome = stitch("red", "green", **FAST)
    rows = [(cell.method, cell.encoder, cell.controller) for cell in outcome.cells]
    assert rows == [
        ("random", "–", "–"),
        ("native", "green", "green"),
        ("naive", "red", "green"),
        ("affine", "red", "green"),
    ]
    assert all(cell.episodes == 6 and cell.policy == "sampled" for cell in outcome.cells)
    assert outcome.cells[-1].diagnostics == outcome.report.to_dict()
    text = str(outcome)
    for part in ("24 pairs of", "held out", "same action", "condition number", "naive", str(outcome.table)):
        assert part in text, part


def test_naive_is_no_baseline_of_itself_and_has_no_figures_where_widths_differ(two, stored):
    assert [cell.method for cell in stitch("red", "green", **{**FAST, "method": "naive"}).cells] == [
        "random",
        "native",
        "naive",
    ]
    stored("wide", encoder__latent_dim=20)
    cells = {cell.method: cell for cell in stitch("wide", "green", **FAST).cells}
    assert list(cells) == ["random", "native", "naive", "affine"]
    assert cells["naive"].recovery is None


def test_what_is_stored_is_what_was_measured(two, workplace: Path):
    red, green = two
    outcome = stitch("red", "green", name="both", seed=3, **FAST)
    assert outcome.folder is not None
    assert outcome.folder.resolve() == workplace / "agents/both"
    again = load_agent("both")
    assert unlike_weights(again.encoder, outcome.agent.encoder) == []
    assert [parent.sha256 for parent in again.card.parents] == [
        weights_sha256(red.encoder),
        weights_sha256(green.controller),
    ]
    played = evaluate(again, episodes=6, seed=3)
    assert played.returns.mean() == pytest.approx(outcome.cells[-1].return_mean)
    assert outcome.table.is_file()
    text = outcome.table.with_suffix(".json").read_text(encoding="utf-8")
    assert json.loads(text)
    assert "recovery" in text


def test_without_saving_there_is_a_table_and_no_agent(two, workplace: Path):
    outcome = stitch("red", "green", save=False, **FAST)
    assert outcome.folder is None
    assert sorted(path.name for path in (workplace / "agents").iterdir()) == ["green", "red"]
    assert outcome.table.is_file()


def test_runs_with_other_options_have_folders_of_their_own_that_name_the_options(two, workplace: Path):
    options = {"episodes": 2, "pairs": 24, "method": "affine"}
    changes = (
        *({}, {"episodes": 3}, {"pairs": 23}, {"seed": 1}, {"deterministic": True}, {"method": "linear"}),
        *({"refine": 1}, {"controls": True}, {"perturb": 0.2}),
    )
    runs = [stitch("red", "green", save=False, name="one", **{**options, **change}) for change in changes]
    folders = [outcome.table.parent for outcome in runs]
    assert len({*folders}) == len(changes)
    assert all(re.fullmatch(r"stitch-one-[0-9a-f]{8}", folder.name) for folder in folders)
    assert stitch("red", "green", save=False, name="one", **options).table == runs[0].table
    content = read_json(folders[3] / "options.json", schema_version=1)
    assert content["options"] == {"method": "affine", "episodes": 2, "pairs": 24, "seed": 1, "greedy": False}
    assert content["names"] == {"encoder": "red", "controller": "green"}
    x, y = np.random.default_rng(0).normal(size=(2, 20, WIDTH)).astype(np.float32)
    paths = [write_pairs(f"{factor}.npz", x, y * factor) for factor in (1, 2)]
    tables = [stitch("red", "green", **{**options, "pairs": path}, save=False).table for path in paths]
    assert tables[0] != tables[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturb": 1.0}, r"perturb: expected a share of steps in \[0, 1\), found 1.0"),
        ({"perturb": 0.2, "pairs": "mine.npz"}, "perturb: expected 0 where pairs are read from a file, found 0.2"),
    ],
)
def test_a_share_of_random_actions_that_means_nothing_is_refused(two, options, message):
    with pytest.raises(InvalidInputError, match=message):
        stitch("red", "green", save=False, **{**FAST, **options})


def test_each_round_of_refinement_has_a_row_and_says_what_it_gained(two):
    outcome = stitch("red", "green", save=False, refine=2, pairs=8, episodes=3, method="affine")
    methods = ["random", "native", "naive", "affine", "affine, round 1", "affine, round 2"]
    assert [cell.method for cell in outcome.cells] == methods
    rows = json.loads(outcome.table.with_suffix(".json").read_text(encoding="utf-8"))
    assert [row["fit_round"] for row in rows[3:]] == [None, 1, 2]
    assert [row["fit_met"] for row in rows[3:]] == [None, 8, 8]
    assert outcome.report.round == 2
    assert re.search(r"round 2: 8 states met, the same action on [\d.]+% of them; recovery .* % after", str(outcome))
    assert read_json(outcome.table.parent / "options.json", schema_version=1)["options"]["refine"] == 2
    beside_controls = stitch("red", "green", save=False, refine=1, pairs=8, episodes=1, method="affine", controls=True)
    assert "affine-refined-1-untrained" in [cell.method for cell in beside_controls.cells]
    assert str(beside_controls).count("states met") == 1  # what the control's rounds gained is no gain


def test_controls_have_rows_above_that_of_the_method(two):
    red, _ = two
    other = moved(red, mixing(WIDTH), name="other")
    outcome = stitch(red, other, save=False, controls=True, pairs=40, episodes=6, method="affine")
    controls = ["affine-shuffled", "affine-untrained", "affine-self"]
    assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", *controls, "affine"]
    assert [cell.verdict for cell in outcome.cells[3:6]] == ["control"] * 3
    assert outcome.cells[5].encoder == "other"
    *_, own, joined = outcome.cells
    assert own.return_mean == joined.return_mean == outcome.cells[1].return_mean
    rows = {row.method: row for row in outcome.cells}
    below = [replace(row, recovery_high=10.0) for row in (rows["affine-shuffled"], rows["affine-untrained"])]
    counts = replace(joined, recovery_low=90.0, above_controls=True)
    assert control_lines([*below, counts]) == [
        "affine is above affine-shuffled and affine-untrained (intervals of recovery)"
    ]
    fails = replace(counts, above_controls=False)
    lines = control_lines([below[0], replace(below[1], recovery_high=95.0), rows["affine-self"], fails])
    assert lines == ["affine is not above affine-untrained (intervals of recovery)"]
    assert read_json(outcome.table.parent / "options.json", schema_version=1)["options"]["controls"] is True


def test_an_untrained_encoder_cannot_be_paired_by_latents(two, workplace: Path):
    x, y = np.random.default_rng(0).normal(size=(2, 20, WIDTH)).astype(np.float32)
    with pytest.raises(InvalidInputError, match="controls: an untrained encoder needs pairs of images, found latents"):
        stitch("red", "green", save=False, controls=True, pairs=write_pairs("latents.npz", x, y), episodes=1)


def test_equal_seeds_give_equal_agents_and_tables(two):
    one, again, other = (stitch("red", "green", save=False, seed=seed, **FAST) for seed in (1, 1, 2))
    assert one.cells == again.cells
    assert unlike_weights(one.agent.encoder, again.agent.encoder) == []
    assert unlike_weights(one.agent.encoder, other.agent.encoder) != []


def test_greedy_is_greedy_in_every_row(two):
    assert {cell.policy for cell in stitch("red", "green", save=False, deterministic=True, **FAST).cells} == {"greedy"}


def test_agents_are_taken_by_name_folder_or_value(two, workplace: Path):
    red, _ = two
    tables = [stitch(agent, "green", save=False, **FAST).cells for agent in ("red", workplace / "agents/red", red)]
    assert tables[0] == tables[1] == tables[2]


def test_a_stitched_agent_is_stitched_back(two, stored):
    """red -> other -> red: the way back undoes the way there."""
    red, _ = two
    other = moved(red, mixing(WIDTH), name="other")
    crossed = stitch(red, other, name="there", pairs=40, episodes=4)
    back = stitch(crossed.agent, red, name="back", pairs=40, episodes=4)
    assert back.report.action_agreement == 1.0
    assert [parent.name for parent in back.agent.card.parents] == ["there", "red"]
    np.testing.assert_array_equal(evaluate(back.agent, episodes=8).returns, evaluate(red, episodes=8).returns)


def test_an_agent_that_is_there_is_kept_to_the_byte_unless_forced(two, workplace: Path):
    stitch("red", "green", name="kept", **FAST)
    before = {path.name: path.read_bytes() for path in (workplace / "agents/kept").iterdir()}
    with pytest.raises(InvalidInputError, match=r"an agent 'kept' is there already .*force=True"):
        stitch("green", "red", name="kept", **FAST)
    assert {path.name: path.read_bytes() for path in (workplace / "agents/kept").iterdir()} == before
    stitch("green", "red", name="kept", force=True, **FAST)
    assert [parent.name for parent in load_agent("kept").card.parents] == ["green", "red"]


def test_films_are_written_where_asked_for(two, workplace: Path, short_films):
    outcome = stitch("red", "green", name="filmed", video=True, **FAST)
    assert [path.suffix for path in outcome.videos] == [".mp4", ".gif"]
    assert all((workplace / path).stat().st_size > 1000 for path in outcome.videos)


def test_what_cannot_be_stitched_leaves_nothing(two, stored, workplace: Path):
    stored("full", view="full")
    with pytest.raises(IncompatibleError):
        stitch("red", "full", **FAST)
    with pytest.raises(UnknownNameError):
        stitch("red", "green", **{**FAST, "method": "magic"})
    assert sorted(path.name for path in (workplace / "agents").iterdir()) == ["full", "green", "red"]


def test_another_task_is_the_controllers(two, stored):
    stored("scrambled", seed=4, task="scrambled")
    world = stitch("red", "scrambled", save=False, **FAST).agent.card.world
    assert (world.variation, world.task) == ("red", "scrambled")


def test_the_command_prints_it(two, capsys: pytest.CaptureFixture[str]):
    line = "stitch --encoder red --controller green --method auto --pairs 24 --episodes 4 --name told"
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    for part in ("random", "native", "naive", "table ", "agents/told", "auto chose ", "Good-Turing"):
        assert part in out, part


def test_shipped_agents_are_stitched_with_little_loss(workplace: Path):
    """The claim itself: apart in look and seed, joined by one fitted map, they do what they did; unfitted, not."""
    outcome = stitch("doorkey-red-s1", "doorkey-green-s2", episodes=40, save=False)
    rows = {cell.method: cell for cell in outcome.cells}
    assert rows["native"].return_mean > 0.9
    assert rows["random"].return_mean < 0.2
    joined, naive = rows[DEFAULT].recovery, rows["naive"].recovery
    assert joined is not None
    assert naive is not None
    assert joined >= 80.0
    assert naive <= joined - 20.0


def test_shipped_agents_stitch_back_and_forth(workplace: Path):
    red = load_agent("doorkey-red-s1")
    crossed = stitch(red, "doorkey-green-s2", method="affine", pairs=1024, name="there", episodes=1).agent
    back = stitch(crossed, red, method="affine", pairs=1024, save=False, episodes=1)
    save_agent(back.agent, workplace / "agents/back")
    assert back.report.held_out >= 10
    assert back.report.action_agreement >= 0.7
    native, result = (evaluate(agent, episodes=40).returns.mean() for agent in (red, back.agent))
    assert result >= native - 0.1
