"""From pairs to a file and from a file to a stitch, by the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stitch_samples import untrained_cart

from rlstitch.agents.artefact import load_agent
from rlstitch.api.pairs import collect_pairs
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.stitching.pair_files import read_pairs, write_pairs

STITCH = "stitch --encoder red --policy green --episodes 2"


def test_the_pairs_command_writes_what_stitch_takes(two, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "pairs --encoder red --policy green -o mine.npz --count 30 --seed 3"
    assert main(line.split()) == 0
    assert "mine.npz: 30 pairs of distinct views, x (56, 56, 3), y (56, 56, 3)" in capsys.readouterr().out
    x, y = read_pairs("mine.npz")
    assert (x.dtype, x.shape) == (np.uint8, (30, 56, 56, 3))
    assert (x != y).any()  # two looks
    assert len({row.tobytes() for row in x}) == 30
    assert main(f"{STITCH} --pairs mine.npz --method robust --name own".split()) == 0
    out = capsys.readouterr().out
    assert "24 pairs of 30 distinct views; on 6 held out" in out
    assert "Good-Turing" not in out  # nothing is known of how the user's pairs came about
    assert load_agent("own").card.method == "robust"


def test_a_number_and_the_file_of_as_many_pairs_hold_the_same_views(two, workplace: Path) -> None:
    path = collect_pairs("red", "green", "mine.npz", count=30).path
    by_file = stitch("red", "green", pairs=path, episodes=2, save=False)
    assert (by_file.report.pairs, by_file.report.held_out, by_file.report.distinct_views) == (24, 6, 30)
    assert by_file.cells[-1].diagnostics == by_file.report.to_dict()
    again = stitch("red", "green", pairs="mine.npz", episodes=2, save=False)
    assert again.cells == by_file.cells


def test_pairs_of_agents_that_observe_vectors_are_their_latents(workplace: Path) -> None:
    agents = [untrained_cart(f"cart-{seed}", seed=seed) for seed in (1, 2)]
    x, y = read_pairs(collect_pairs(*agents, "mine.npz", count=30).path)
    assert (x.shape, y.shape) == ((30, agents[0].encoder.latent_dim), (30, agents[1].encoder.latent_dim))
    by_file, collected = (
        stitch(*agents, pairs=pairs, method="affine", episodes=2, save=False).report for pairs in ("mine.npz", 24)
    )
    assert by_file.r2 == pytest.approx(collected.r2, abs=0.2)  # of other held-out views
    assert by_file.residual > 0  # not the map of the observations to themselves


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (f"{STITCH} --pairs many", "pairs: expected a whole number or an .npz file, found 'many'"),
        (f"{STITCH} --pairs 1.5", "pairs: expected a whole number or an .npz file, found '1.5'"),
        (f"{STITCH} --pairs -3", "pairs: expected at least 1, found -3"),
        (f"{STITCH} --pairs none.npz", "cannot read none.npz: there is no such file"),
        (f"{STITCH} --pairs small.npz", "small.npz: x: agent 'red' has latents of shape (12,), found (3,)"),
        ("pairs --encoder red --policy green --out small.npz", "small.npz is there already; --force replaces it"),
        (
            "pairs --encoder red --policy green --out a.zip",
            "out: expected a file name that ends in .npz, found 'a.zip'",
        ),
        ("pairs --encoder red --policy green --out a.npz --count 0", "count: expected at least 1, found 0"),
        ("pairs --encoder rad --policy green --out a.npz", "unknown agent 'rad'; did you mean red"),
    ],
)
def test_bad_input_is_one_line(line: str, part: str, two, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs("small.npz", np.eye(3), np.eye(3))
    before = sorted(str(path) for path in workplace.rglob("*"))
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(str(path) for path in workplace.rglob("*")) == before


def test_force_replaces_a_file(two, workplace: Path) -> None:
    write_pairs("mine.npz", np.eye(3), np.eye(3))
    line = "pairs --encoder red --policy green --out mine.npz --count 8 --force"
    assert main(line.split()) == 0
    assert len(read_pairs("mine.npz")[0]) == 8
