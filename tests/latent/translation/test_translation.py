import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent.translation.registry import fit, translation_methods
from rlstitch.latent.translation.translation import FitReport, Translation, condition_number, evaluate_translation

METHODS = translation_methods()
# What each method claims, held by the tests below: its matrix is orthogonal; it recovers a planted similarity, linear
# or affine map; it maps the mean on the mean (shifts); it turns with its source (turns).
CLAIMS: dict[str, str] = {
    "orthogonal": "orthogonal shifts turns",
    "l_orthogonal": "orthogonal shifts turns",
    "robust": "orthogonal shifts turns",
    "scaled_orthogonal": "similarity shifts turns",
    "linear": "linear turns",
    "ridge": "linear turns",
    "affine": "linear affine shifts turns",
    "low_rank": "linear affine shifts turns",
    "calibrated": "linear affine shifts turns",
    "pls": "linear affine shifts turns",
    "cca": "linear affine shifts turns",
    "affine_gradient": "linear affine shifts",
    "total_least_squares": "linear affine shifts turns",
}
# Shrinks by design, or keeps 99 % of the variance: near the planted map, not on it.
NEAR = {
    "cca": {"shrinkage": 0.0},
    "low_rank": {"rank": 6, "ridge": 0},
    "affine": {"ridge": 0},
    "calibrated": {"ridge": 0},
    "ridge": {"ridge": 0},
    "total_least_squares": {"rank": 6},
}


def gaussian(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotation(d: int, seed: int = 5, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.linalg.qr(gaussian(d, d, seed=seed)).Q.to(dtype)


def claiming(claim: str) -> list[str]:
    return [method for method in METHODS if claim in CLAIMS[method].split()]


def options(method: str) -> dict[str, Any]:
    return NEAR.get(method, {})


def test_every_method_has_its_claims() -> None:
    assert sorted(CLAIMS) == METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_method_recovers_a_planted_rotation(method: str, dtype: torch.dtype) -> None:
    x, turn = gaussian(60, 6, seed=0, dtype=dtype), rotation(6, dtype=dtype)
    translation = fit(method, x, x @ turn, **options(method))
    assert translation.matrix.dtype == dtype
    torch.testing.assert_close(translation.matrix, turn, atol=1e-4, rtol=1e-4)
    held_out = gaussian(9, 6, seed=1, dtype=dtype)
    report = evaluate_translation(translation, held_out, held_out @ turn)
    assert report.n_pairs == 9
    assert report.r2 > 1 - 1e-6
    assert report.mean_cosine > 1 - 1e-6


@pytest.mark.parametrize("method", claiming("shifts"))
def test_means_are_mapped_on_means(method: str) -> None:
    x = gaussian(50, 4, seed=0) + 3
    y = x @ gaussian(4, 5, seed=1) + 0.1 * gaussian(50, 5, seed=2) - 7
    settings = {"base": "affine", "loss": "huber", "rounds": 1} if method == "robust" else {}
    translation = fit(method, x, y, **settings)
    tolerance = 0.05 if method == "robust" else 1e-4
    torch.testing.assert_close(translation(x.mean(0)), y.mean(0), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("method", claiming("orthogonal"))
@pytest.mark.parametrize(("d_x", "d_y"), [(5, 5), (3, 7), (7, 3)])
@pytest.mark.parametrize("n", [4, 40])
def test_orthogonal_fits_are_orthogonal(method: str, d_x: int, d_y: int, n: int) -> None:
    x, y = gaussian(n, d_x, seed=0, dtype=torch.float32), gaussian(n, d_y, seed=1, dtype=torch.float32)
    matrix = fit(method, x, y).matrix
    gram = matrix @ matrix.T if d_x <= d_y else matrix.T @ matrix
    torch.testing.assert_close(gram, torch.eye(min(d_x, d_y)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", claiming("linear"))
def test_linear_methods_recover_a_planted_linear_map(method: str) -> None:
    x, matrix = gaussian(80, 6, seed=0) + 1, gaussian(6, 6, seed=1)
    translation = fit(method, x, x @ matrix, **options(method))
    torch.testing.assert_close(translation.matrix, matrix, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", claiming("affine"))
def test_affine_methods_recover_a_planted_affine_map(method: str) -> None:
    x, matrix, bias = gaussian(80, 6, seed=0) + 1, gaussian(6, 6, seed=1), gaussian(6, seed=2)
    translation = fit(method, x, x @ matrix + bias, **options(method))
    torch.testing.assert_close(translation.matrix, matrix, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(translation.bias, bias, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", claiming("similarity"))
def test_a_planted_similarity_is_recovered(method: str) -> None:
    x, turn = gaussian(40, 5, seed=0), rotation(5)
    translation = fit(method, x, 2.5 * x @ turn + 4)
    torch.testing.assert_close(translation.matrix, 2.5 * turn)
    torch.testing.assert_close(translation.bias, torch.full((5,), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_pairs_does_not_matter(method: str) -> None:
    x, y = gaussian(40, 5, seed=0), gaussian(40, 5, seed=0) @ rotation(5) + 0.3 * gaussian(40, 5, seed=3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    one, other = fit(method, x, y), fit(method, x[order], y[order])
    torch.testing.assert_close(one.matrix, other.matrix, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.bias, other.bias, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", claiming("turns"))
def test_a_turned_source_turns_the_map(method: str) -> None:
    x, y = gaussian(40, 5, seed=0), gaussian(40, 5, seed=0) @ rotation(5) + 0.3 * gaussian(40, 5, seed=3)
    turn = rotation(5, seed=8)
    torch.testing.assert_close(fit(method, x @ turn, y)(x @ turn), fit(method, x, y)(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_numpy_fits_as_torch_and_batch_is_loop(method: str) -> None:
    x, y = gaussian(30, 4, seed=0), gaussian(30, 6, seed=1)
    translation = fit(method, x.numpy(), y.numpy())
    torch.testing.assert_close(translation.matrix, fit(method, x, y).matrix)
    result = translation(x.numpy())
    assert isinstance(result, np.ndarray)
    assert result.shape == (30, 6)
    np.testing.assert_allclose(np.stack([translation(row) for row in x.numpy()]), result, atol=1e-12)
    assert translation(x.view(5, 6, 4)).shape == (5, 6, 6)
    assert translation(x.float()).dtype == torch.float32
    assert "4 -> 6" in repr(translation)


DEGENERATE: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
    "fewer pairs than dimensions": lambda: (gaussian(4, 9, seed=0), gaussian(4, 7, seed=1)),
    "duplicated pairs": lambda: (gaussian(2, 3, seed=0).repeat(4, 1), gaussian(2, 3, seed=1).repeat(4, 1)),
    "equal pairs": lambda: (torch.ones(5, 3), torch.ones(5, 2)),
    "zeros": lambda: (torch.zeros(5, 3), torch.zeros(5, 3)),
    "constant x": lambda: (torch.ones(8, 3), gaussian(8, 3, seed=1).float()),
    "constant y": lambda: (gaussian(8, 3, seed=1), torch.full((8, 4), 0.1)),
    "a constant dimension": lambda: (torch.cat([gaussian(9, 2, seed=0), torch.ones(9, 1)], 1), gaussian(9, 3, seed=1)),
    "dependent dimensions": lambda: (gaussian(9, 2, seed=0).repeat(1, 2), gaussian(9, 3, seed=1)),
    "width 1": lambda: (gaussian(9, 1, seed=0), gaussian(9, 1, seed=1)),
    "tiny values": lambda: (1e-12 * gaussian(9, 3, seed=0).float(), 1e-12 * gaussian(9, 3, seed=1).float()),
    "huge values": lambda: (1e12 * gaussian(9, 3, seed=0).float(), 1e12 * gaussian(9, 3, seed=1).float()),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_pairs_give_a_finite_map_and_report(method: str, name: str) -> None:
    x, y = DEGENERATE[name]()
    translation = fit(method, x, y)
    assert torch.isfinite(translation(x)).all()
    report = translation.report
    assert report is not None
    assert np.isfinite([report.residual, report.r2, report.mean_cosine]).all()
    assert report.r2 <= 1
    assert -1 <= report.mean_cosine <= 1
    assert report.condition_number >= 1
    json.dumps(translation.spec(), allow_nan=False)
    assert torch.isfinite(translation.inverse().matrix).all()


@pytest.mark.parametrize("method", METHODS)
def test_too_few_pairs_and_bad_values_are_refused(method: str) -> None:
    x, y = gaussian(20, 3, seed=0), gaussian(20, 3, seed=1)
    for n in (0, 1):
        with pytest.raises(InvalidInputError, match=rf"needs at least \d pairs, found {n}"):
            fit(method, x[:n], y[:n])
    with pytest.raises(InvalidInputError, match="20 and 19 rows"):
        fit(method, x, y[:19])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="y must be finite, found 60"):
            fit(method, x, torch.full_like(y, bad))
    with pytest.raises(InvalidInputError, match=r"takes the options .*found \['colour'\]"):
        fit(method, x, y, colour=1)


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean orthogonal"):
        fit("ortogonal", torch.ones(3, 2), torch.ones(3, 2))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(4, 9),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 999),
    st.sampled_from(METHODS),
    st.booleans(),
)
def test_any_shape_gives_a_finite_map(n: int, d_x: int, d_y: int, seed: int, method: str, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d_x)).astype(np.float32), rng.normal(size=(n, d_y)).astype(np.float32)
    if coarse:
        x, y = x.round(), y.round()
    translation = fit(method, x, y)
    assert translation.matrix.shape == (d_x, d_y)
    assert translation.bias.shape == (d_y,)
    assert np.isfinite(translation(x)).all()


@pytest.mark.parametrize("method", METHODS)
def test_spec_and_state_or_a_file_rebuild_it(method: str, tmp_path: Path) -> None:
    x, y = gaussian(30, 4, seed=0, dtype=torch.float32), gaussian(30, 6, seed=1, dtype=torch.float32)
    translation = fit(method, x, y)
    copy = Translation.from_spec(json.loads(json.dumps(translation.spec(), allow_nan=False)))
    copy.load_state_dict(translation.state_dict())
    for again in (copy, Translation.load(translation.save(tmp_path / "map.safetensors"))):
        assert torch.equal(again(x), translation(x))
        assert again.report == translation.report
        assert again.method == translation.method
        assert again.spec() == translation.spec()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_map_in_half_precision_is_stored_and_reports(dtype: torch.dtype, tmp_path: Path) -> None:
    x, y = gaussian(30, 4, seed=0, dtype=torch.float32), gaussian(30, 4, seed=1, dtype=torch.float32)
    translation = fit("affine", x, y).to(dtype)
    assert translation.report is not None
    again = Translation.load(translation.save(tmp_path / "map.safetensors"))
    assert again.matrix.dtype == dtype
    assert torch.equal(again(x), translation(x))
    assert again.report == translation.report


def test_a_spec_of_another_format_is_refused() -> None:
    spec = Translation.identity(3).spec()
    with pytest.raises(InvalidInputError, match="spec must be of format 1, found 2"):
        Translation.from_spec({**spec, "format": 2})
    report = {"n_pairs": 3, "residual": 0.0, "r2": 1.0, "mean_cosine": 1.0, "condition_number": None}
    assert Translation.from_spec({**spec, "report": report}).report == FitReport(3, 0.0, 1.0, 1.0, float("inf"))
    for change in (
        {"format": True},
        {"method": ["a"]},
        {"dtype": "int8"},
        {"report": {**report, "r2": "abc"}},
        {"report": {**report, "n_pairs": -5}},
    ):
        with pytest.raises(InvalidInputError, match="spec must"):
            Translation.from_spec({**spec, **change})
    spec.pop("width_in")
    with pytest.raises(InvalidInputError, match="'width_in'"):
        Translation.from_spec(spec)


def test_then_is_one_map_after_the_other() -> None:
    x, y = gaussian(30, 4, seed=0), gaussian(30, 6, seed=1)
    first, second = fit("affine", x, y), fit("affine", y, x)
    torch.testing.assert_close(first.then(second)(x), second(first(x)))
    assert first.then(second).method == "affine, then affine"
    torch.testing.assert_close(first.then(Translation.identity(6))(x), first(x))
    with pytest.raises(InvalidInputError, match="other must take width 6, found 4"):
        first.then(first)


@pytest.mark.parametrize("method", METHODS)
def test_inverse_of_a_square_map_is_exact(method: str) -> None:
    x = gaussian(60, 5, seed=0)
    translation = fit(method, x, x @ gaussian(5, 5, seed=1) + 2)
    if method == "low_rank":
        translation = fit(method, x, x @ gaussian(5, 5, seed=1) + 2, rank=5)
    back = translation.inverse()
    assert back.method == f"inverse of {translation.method}"
    torch.testing.assert_close(back(translation(x)), x)
    torch.testing.assert_close(translation.then(back).matrix, torch.eye(5, dtype=torch.float64))


def test_inverse_of_another_shape_is_the_pseudo_inverse_and_says_so() -> None:
    wide = Translation(gaussian(3, 5, seed=0), gaussian(5, seed=1), "wide")
    x = gaussian(7, 3, seed=2)
    assert wide.inverse().method == "pseudo-inverse of wide"
    torch.testing.assert_close(wide.inverse()(wide(x)), x)
    singular = Translation(torch.ones(2, 2), torch.zeros(2), "flat")
    assert singular.inverse().method == "pseudo-inverse of flat"
    torch.testing.assert_close(singular.inverse().matrix, torch.full((2, 2), 0.25))


def test_report_golden_values() -> None:
    translation = Translation(torch.diag(torch.tensor([2.0, 4.0])), torch.zeros(2))
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 1.0], [0.0, 4.0]])
    report = evaluate_translation(translation, x, y)
    # Errors 1 and 0; spread about (1, 2.5): (1 + 2.25) twice, halved.
    assert report.residual == pytest.approx(0.5**0.5)
    assert report.r2 == pytest.approx(1 - 0.5 / 3.25)
    assert report.mean_cosine == pytest.approx((2 / 5**0.5 + 1) / 2)
    assert report.condition_number == pytest.approx(2)
    constant = torch.tensor([[3.0, 3.0]])
    assert evaluate_translation(Translation.identity(2), constant, constant).r2 == 1.0
    assert evaluate_translation(Translation.identity(2), constant, constant + 1).r2 == 0.0
    for dtype in (torch.float32, torch.float64):  # whose mean is not exact
        tenths, nothing = torch.full((7, 2), 0.1, dtype=dtype), Translation(torch.zeros(2, 2), torch.zeros(2))
        assert evaluate_translation(nothing, tenths, tenths).r2 == 0.0
        assert evaluate_translation(Translation.identity(2), tenths, tenths).r2 == 1.0
    assert condition_number(torch.ones(2, 2)) == float("inf")
    assert isinstance(report, FitReport)


def test_shapes_are_checked() -> None:
    translation = Translation.identity(3)
    with pytest.raises(InvalidInputError, match=r"x must be 3 wide, found shape \(2, 4\)"):
        translation(torch.zeros(2, 4))
    with pytest.raises(InvalidInputError, match=r"y must be 3 wide, found shape \(2, 4\)"):
        evaluate_translation(translation, torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InvalidInputError, match=r"found shapes \(2, 3\) and \(2,\)"):
        Translation(torch.zeros(2, 3), torch.zeros(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_agrees_with_cpu(method: str) -> None:
    x, y = gaussian(40, 5, seed=0), gaussian(40, 4, seed=1)
    on_gpu = fit(method, x.cuda(), y.cuda())
    assert on_gpu.matrix.is_cuda
    torch.testing.assert_close(on_gpu.matrix.cpu(), fit(method, x, y).matrix, atol=1e-5, rtol=1e-5)
