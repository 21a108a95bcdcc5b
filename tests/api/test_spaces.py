"""Stored spaces are compared and translated, in Python and by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlstitch.api.spaces.compare_spaces import compare_spaces
from rlstitch.api.spaces.translate_spaces import translate_spaces
from rlstitch.cli.main import main
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.jobs.progress import OnProgress, ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.latent import LatentSpace, translation_methods
from rlstitch.storage import load_translation, save_space

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def spaces(workplace: Path) -> tuple[Path, Path]:
    """Two stored spaces of other widths and orders; y = 2 x R + 3 on the 60 keys that both have."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4].astype(np.float32)
    keys = [f"k{row}" for row in range(80)]
    save_space(LatentSpace(torch.tensor(x), tuple(keys)), workplace / "x.safetensors")
    order = rng.permutation(60)
    save_space(LatentSpace((2 * x @ turn + 3)[order], tuple(keys[row] for row in order)), workplace / "y.npz")
    return Path("x.safetensors"), Path("y.npz")


def test_turned_spaces_compare_as_equal(spaces: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    result = compare_spaces(*spaces)
    assert (result.pairs, result.held_out, result.width_x, result.width_y, result.seed) == (60, 30, 4, 6, 0)
    assert list(result.measures) == ["all pairs", "held out", "orthogonal", "affine"]
    for measures in result.measures.values():
        assert measures.linear_cka == pytest.approx(1, abs=1e-4)
        assert measures.procrustes_distance == pytest.approx(0, abs=1e-2)
        assert measures.svcca is not None
        assert measures.svcca > 0.99
    # Of other widths, there is no cosine before; y is twice as long as x, which an orthogonal map leaves.
    before, turned, mapped = (result.measures[name] for name in ("held out", "orthogonal", "affine"))
    assert (before.cosine, before.r2) == (None, None)
    assert turned.r2 == pytest.approx(0.75, abs=0.05)
    assert (mapped.r2, mapped.cosine) == pytest.approx((1, 1), abs=1e-3)
    assert main(["latent", "compare", *map(str, spaces), "--neighbours", "5", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "60, 30 of them held out of the maps (seed 3)" in printed
    assert "all pairs  held out  after orthogonal  after affine" in printed
    assert "cosine                       –         –" in printed
    assert printed == f"{compare_spaces(*spaces, neighbours=5, seed=3)}\n"


def test_a_space_and_its_turned_and_noisy_self_meet_after_a_map() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8))
    y = x @ np.linalg.qr(rng.normal(size=(8, 8)))[0] + 5 + 0.1 * rng.normal(size=(400, 8))
    for name, vectors in {"a": x, "b": y, "c": rng.normal(size=(400, 8))}.items():
        save_space(LatentSpace(vectors), Path(f"{name}.npz"))
    assert compare_spaces("a.npz", "a.npz").measures["all pairs"].cosine == pytest.approx(1)
    result = compare_spaces("a.npz", "b.npz").measures
    assert (result["held out"].r2 or 0) < -10
    assert min(result[name].r2 or 0 for name in ("orthogonal", "affine")) > 0.97
    # Nothing in common: no map helps on pairs that it was not fitted on.
    assert (compare_spaces("a.npz", "c.npz").measures["affine"].r2 or 0) < 0.1


def test_few_pairs_are_compared_as_they_are() -> None:
    save_space(LatentSpace(np.random.default_rng(0).normal(size=(7, 3))), Path("few.npz"))
    result = compare_spaces("few.npz", "few.npz", neighbours=3)
    assert (result.held_out, list(result.measures)) == (0, ["all pairs"])
    assert "7, too few for maps" in str(result)
    result = compare_spaces("few.npz", "few.npz", neighbours=7)
    assert result.measures["all pairs"].mutual_knn is None
    assert "– mutual knn: k must be a whole number in [1, 6] (one less than the number of samples), found 7" in str(
        result
    )
    with pytest.raises(InvalidInputError, match="neighbours must be at least 1, found 0"):
        compare_spaces("few.npz", "few.npz", neighbours=0)
    # Of the half that judges there are fewer than neighbours asked for.
    save_space(LatentSpace(np.random.default_rng(0).normal(size=(12, 3))), Path("more.npz"))
    measures = compare_spaces("more.npz", "more.npz", neighbours=10).measures
    assert measures["all pairs"].mutual_knn == 1
    assert measures["affine"].mutual_knn is None


RANDOM = np.random.default_rng(1).normal(size=(20, 4))
MEASURES = {
    "linear_cka", "rbf_cka", "svcca", "mutual_knn", "rsa", "procrustes_distance", "cosine", "r2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("x", "y", "undefined"),
    [
        (RANDOM, RANDOM, set()),
        (np.vstack([RANDOM, np.full((1, 4), 3.0)]), RANDOM[[*range(20), 0]], {"rsa"}),
        (np.vstack([RANDOM, np.zeros((1, 4))]), RANDOM[[*range(20), 0]], {"rsa"}),
        (RANDOM, np.ones((20, 4)), MEASURES - {"cosine"}),
        (np.ones((20, 4)), RANDOM, MEASURES - {"cosine", "r2"}),
        (RANDOM, RANDOM[:, :3], {"cosine", "r2"}),
        (np.random.default_rng(2).normal(size=(12, 30)), np.random.default_rng(3).normal(size=(12, 30)), {"svcca"}),
        (RANDOM[:5], RANDOM[:5], {"mutual_knn"}),
        (RANDOM[:, :1], RANDOM[:, 1:2], {"rsa"}),
    ],
)
def test_what_is_undefined_is_a_dash_with_its_reason(
    x: np.ndarray, y: np.ndarray, undefined: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    save_space(LatentSpace(x), Path("x.npz"))
    save_space(LatentSpace(y), Path("y.npz"))
    measures = compare_spaces("x.npz", "y.npz").measures["all pairs"]
    assert set(measures.reasons) == undefined
    assert {name for name in MEASURES if getattr(measures, name) is None} == undefined
    assert main(["latent", "compare", "x.npz", "y.npz"]) == 0
    printed = capsys.readouterr().out
    for name in undefined:
        assert f"– {name.replace('_', ' ')}: {measures.reasons[name]} (all pairs" in printed
    assert "nan" not in printed


class _ThreadsOfStages(ProgressReporter):
    """Notes the torch threads of each stage."""

    def __init__(self) -> None:
        super().__init__(style="none")
        self.threads: set[int] = set()

    def stage(self, name: str, unit: str = "") -> OnProgress:
        self.threads.add(torch.get_num_threads())
        return super().stage(name, unit)


def test_one_thread_unless_another_number_is_stated(spaces: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    progress = _ThreadsOfStages()
    with torch_threads(2):
        compare_spaces(*spaces, progress=progress)
        translate_spaces(*spaces, "map.safetensors", progress=progress)
        assert torch.get_num_threads() == 2
    assert progress.threads == {1}


def test_a_map_is_fitted_judged_and_stored(spaces: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    x, y = spaces
    command = ["latent", "translate", "--source", str(x), "--target", str(y), "--method", "affine", "-o"]
    assert main([*command, "map.safetensors"]) == 0
    assert "fitted on 60 pairs; on 12 pairs held out before: R² 1.0000" in capsys.readouterr().out
    translation = load_translation("map.safetensors")
    assert (translation.width_in, translation.width_out, translation.method) == (4, 6, "affine")
    assert main([*command, "map.safetensors"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*command, "map.safetensors", "--force"]) == 0


def planted(n: int, noise: float, *, rigid: bool, width: int = 8) -> None:
    """Store x and y, whose pairs lie `noise` apart after a rotation (or any affine map)."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, width))
    matrix = np.linalg.qr(rng.normal(size=(width, width)))[0] if rigid else rng.normal(size=(width, width))
    y = x @ matrix + 2 + noise * rng.normal(size=(n, width))
    save_space(LatentSpace(x), Path("x.npz"))
    save_space(LatentSpace(y), Path("y.npz"))


@pytest.mark.parametrize(
    ("n", "noise", "rigid", "best"),
    [
        (200, 0.0, True, {"orthogonal"}),
        (60, 0.3, True, {"orthogonal", "scaled_orthogonal", "l_orthogonal"}),
        (200, 0.0, False, {"affine", "affine_gradient", "pls", "robust"}),
        (200, 0.1, False, {"affine", "affine_gradient", "pls", "robust"}),
        (20, 0.2, True, {"orthogonal", "scaled_orthogonal", "l_orthogonal"}),
    ],
)
def test_auto_takes_the_map_that_was_planted(n: int, noise: float, rigid: bool, best: set[str]) -> None:
    planted(n, noise, rigid=rigid)
    outcome = translate_spaces("x.npz", "y.npz", "map.safetensors", method="auto")
    assert outcome.method in best
    assert outcome.method == outcome.ranking[0].method == load_translation("map.safetensors").method
    assert {each.method for each in outcome.ranking} == set(translation_methods())
    residuals = [each.residual for each in outcome.ranking if each.residual is not None]
    assert residuals[1:] == sorted(residuals[1:])
    assert residuals[0] <= 1.01 * min(residuals) + 1e-4


def test_auto_tells_its_ranking_and_what_so_few_pairs_do_not_allow(capsys: pytest.CaptureFixture[str]) -> None:
    planted(5, 0.1, rigid=True, width=3)
    command = ["latent", "translate", "--source", "x.npz", "--target", "y.npz", "--method", "auto", "-o"]
    assert main([*command, "map.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "fitted on 5 pairs; on 1 pairs held out" in lines[0]
    assert lines[1] == "chosen from, by cross-validation on the other pairs:"
    assert len(lines) == 2 + len(translation_methods())
    assert "fit_robust needs at least 4 pairs, found 3" in lines[-1]


@pytest.mark.parametrize("method", translation_methods())
def test_every_method_translates_stored_spaces(spaces: tuple[Path, Path], method: str) -> None:
    outcome = translate_spaces(*spaces, f"{method}.safetensors", method=method)
    assert outcome.pairs == 60
    assert outcome.held_out.n_pairs == 12
    assert load_translation(outcome.path).method.startswith(method)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "afine"}, UnknownNameError, "did you mean affine"),
        ({"held_out": 1.0}, InvalidInputError, "held_out must lie between 0 and 1"),
        ({"held_out": 0.99}, InvalidInputError, "at least 3 pairs must be left"),
        ({"out": "map.npz"}, InvalidInputError, "ends in .safetensors"),
        ({"target": "z.npz"}, ArtefactError, "no such file"),
        ({"target": "other.npz"}, IncompatibleError, "no key in common"),
    ],
)
def test_translations_that_cannot_be_made(
    spaces: tuple[Path, Path], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    save_space(LatentSpace(np.eye(3), ("a", "b", "c")), Path("other.npz"))
    call = {"source": spaces[0], "target": spaces[1], "out": "map.safetensors", **options}
    with pytest.raises(error, match=message):
        translate_spaces(**call)
    assert not Path("map.safetensors").exists()


def test_too_few_common_keys_to_compare() -> None:
    save_space(LatentSpace(np.eye(3), ("a", "b", "c")), Path("few.npz"))
    with pytest.raises(InvalidInputError, match="at least 4 keys must be common to both spaces, found 3"):
        compare_spaces("few.npz", "few.npz")


@pytest.mark.parametrize("kind", [">f8", ">f4", np.longdouble, ">i4"])
def test_numbers_that_torch_does_not_know_are_read(spaces: tuple[Path, Path], kind: Any) -> None:
    rows = (np.random.default_rng(0).normal(size=(20, 4)) * 10).astype(kind)
    save_space(LatentSpace(rows, tuple(f"k{row}" for row in range(20))), Path("foreign.npz"))
    assert compare_spaces(Path("foreign.npz"), spaces[1]).pairs == 20
