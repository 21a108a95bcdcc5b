from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent.normalization import (
    NORMALIZATIONS,
    Normalization,
    fit_isotropic,
    fit_mean_norm,
    fit_normalization,
    fit_standardization,
    fit_whitening,
    unit_norm,
)


def sample(n: int = 60, d: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, d, generator=generator, dtype=dtype)
    return points @ torch.randn(d, d, generator=generator, dtype=dtype) + 3


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_forward(kind: str, dtype: torch.dtype) -> None:
    points, others = sample(dtype=dtype), sample(seed=1, dtype=dtype)
    normalize = fit_normalization(kind, points)
    torch.testing.assert_close(normalize.inverse(normalize(others)), others, rtol=1e-4, atol=1e-4)
    assert normalize(others).dtype == dtype
    assert normalize.width == 6


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_numpy_in_numpy_out_with_equal_values(kind: str) -> None:
    points = sample()
    result = fit_normalization(kind, points.numpy())(points.numpy())
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, fit_normalization(kind, points)(points).numpy())


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_batch_is_loop_and_leading_dimensions_pass(kind: str) -> None:
    points = sample()
    normalize = fit_normalization(kind, points)
    torch.testing.assert_close(normalize(points), torch.stack([normalize(row) for row in points]))
    torch.testing.assert_close(normalize(points.view(3, 20, 6)).view(60, 6), normalize(points))


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_state_dict_and_spec_rebuild_it(kind: str) -> None:
    points = sample()
    normalize = fit_normalization(kind, points)
    copy = Normalization.from_spec(normalize.spec())
    copy.load_state_dict(normalize.state_dict())
    assert torch.equal(copy(points), normalize(points))
    assert copy.kind == normalize.kind == kind


def test_standardization_agrees_with_scikit_learn() -> None:
    points = sample().numpy()
    np.testing.assert_allclose(fit_standardization(points)(points), StandardScaler().fit_transform(points), atol=1e-12)


def test_pca_whitening_agrees_with_scikit_learn_up_to_order_and_sign() -> None:
    points = sample()
    ours = fit_whitening(points, shrinkage=0.0, kind="pca")(points).flip(1)
    theirs = torch.from_numpy(PCA(whiten=True).fit_transform(points.numpy())) * (60 / 59) ** 0.5
    torch.testing.assert_close(ours.abs(), theirs.abs())


def test_whitening_makes_the_covariance_the_identity_and_zca_is_symmetric() -> None:
    points = sample()
    for kind in ("zca", "pca"):
        white = fit_whitening(points, shrinkage=0.0, kind=kind)(points)
        torch.testing.assert_close(white.T @ white / len(white), torch.eye(6, dtype=torch.float64))
    weight = fit_whitening(points).weight
    torch.testing.assert_close(weight, weight.T)


def test_full_shrinkage_is_isotropic_scaling() -> None:
    points = sample()
    torch.testing.assert_close(fit_whitening(points, shrinkage=1.0)(points), fit_isotropic(points)(points))


def test_golden_values() -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], dtype=torch.float64)
    # Variances 0.5 and 2; with 0.5 shrinkage 0.875 and 1.625.
    torch.testing.assert_close(
        fit_whitening(points, shrinkage=0.5).weight.diagonal(),
        torch.tensor([0.875, 1.625], dtype=torch.float64).rsqrt(),
    )
    torch.testing.assert_close(fit_standardization(points)(points[2]), torch.tensor([0, 2**0.5], dtype=torch.float64))
    torch.testing.assert_close(fit_mean_norm(points).weight, torch.full((2,), 1 / 1.5, dtype=torch.float64))
    torch.testing.assert_close(fit_isotropic(points).weight, torch.full((2,), 0.8**0.5, dtype=torch.float64))


DEGENERATE: dict[str, Callable[[], torch.Tensor]] = {
    "one point": lambda: torch.tensor([[1.0, -2.0, 3.0]]),
    "equal points": lambda: torch.full((7, 3), 0.1),
    "zeros": lambda: torch.zeros(4, 3),
    "a constant dimension": lambda: torch.cat([torch.randn(9, 2), torch.full((9, 1), 1e4)], 1),
    "fewer points than dimensions": lambda: torch.randn(3, 8),
    "duplicates": lambda: torch.randn(1, 4).repeat(5, 1) * torch.tensor([1, 1, -1, -1, 1.0])[:, None],
}


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_points_stay_finite_and_invertible(kind: str, name: str, shrinkage: float) -> None:
    torch.manual_seed(0)
    points = DEGENERATE[name]()
    normalize = fit_normalization(kind, points, shrinkage=shrinkage)
    result = normalize(points)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(normalize.inverse(result), points, rtol=1e-3, atol=1e-3)


def test_a_constant_dimension_is_only_centred() -> None:
    points = torch.cat([torch.randn(100, 1), torch.full((100, 1), 0.1)], 1)
    normalize = fit_standardization(points)
    assert float(normalize.weight[1]) == 1.0
    assert normalize(points)[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["isotropic", "whiten", "pca_whiten"])
def test_a_large_constant_dimension_changes_nothing_for_the_others(kind: str) -> None:
    points = sample(dtype=torch.float32)
    small, large = (torch.cat([points, torch.full((60, 1), value)], 1) for value in (0.0, 1e9))
    expected, ours = (fit_normalization(kind, space)(space) for space in (small, large))
    torch.testing.assert_close(ours[:, :6], expected[:, :6], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n", [300, 30_000])
def test_whitening_reaches_directions_that_float32_resolves_however_many_the_points(n: int) -> None:
    points = sample(n, 16, dtype=torch.float32) * torch.logspace(0, -2, 16)
    covariance = torch.cov(points.double().T, correction=0)
    weight = fit_whitening(points, shrinkage=0.0).weight.double()
    torch.testing.assert_close(
        torch.linalg.eigvalsh(weight @ covariance @ weight), torch.ones(16).double(), rtol=0.01, atol=0.01
    )


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.floats(-1e3, 1e3)),
    st.sampled_from(NORMALIZATIONS),
)
def test_any_finite_points_give_finite_results(points: np.ndarray, kind: str) -> None:
    normalize = fit_normalization(kind, points)
    assert np.isfinite(normalize(points)).all()
    np.testing.assert_allclose(normalize.inverse(normalize(points)), points, rtol=1e-6, atol=1e-5)


def test_unit_norm_keeps_zero_rows_and_can_be_differentiated_there() -> None:
    points = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    result = unit_norm(points)
    torch.testing.assert_close(result.detach(), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    result.sum().backward()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize("bad", [torch.tensor([[float("nan"), 0]]), torch.tensor([[float("inf"), 0]])])
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_nan_and_infinity_are_refused(kind: str, bad: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match=r"x must be finite, found 1 .* of 2"):
        fit_normalization(kind, bad)


def test_errors_name_what_was_found() -> None:
    with pytest.raises(UnknownNameError, match="whiten"):
        fit_normalization("whitened", sample())
    with pytest.raises(UnknownNameError, match="zca"):
        fit_whitening(sample(), kind="zcaa")
    with pytest.raises(InvalidInputError, match=r"shrinkage must lie in \[0.0, 1.0\], found 2"):
        fit_whitening(sample(), shrinkage=2)
    with pytest.raises(InvalidInputError, match="at least 1 row"):
        fit_standardization(sample()[:0])
    with pytest.raises(InvalidInputError, match=r"x must be 6 wide, found shape \(2, 5\)"):
        fit_standardization(sample())(torch.zeros(2, 5))
