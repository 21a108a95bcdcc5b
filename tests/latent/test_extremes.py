import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import NORMALIZATIONS, SIMILARITIES, fit, fit_normalization, project, translation_methods

# From numbers that float32 hardly resolves to such as it can just square.
SIZES = [1e-40, 1e-25, 1e-18, 1e-9, 1e9, 1e15]


def sample(d: int, seed: int) -> torch.Tensor:
    return torch.randn(130, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalisations_of_any_size_are_finite(name: str, size: float) -> None:
    x = sample(4, 0) * size
    assert torch.isfinite(fit_normalization(name, x)(x)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_projections_of_any_size_are_finite(name: str, size: float) -> None:
    x = (sample(4, 0) * size).requires_grad_(name != "geodesic")
    if name == "lp" and size > 1e9:
        pytest.skip("third powers overflow")
    result = project(x, sample(4, 1)[:9] * size, name)
    assert torch.isfinite(result).all()
    if size >= 1e-18 and name != "geodesic":
        result.sum().backward()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("d", [4, 110])
@pytest.mark.parametrize("method", translation_methods())
def test_translations_of_any_size_are_finite(method: str, d: int, size: float) -> None:
    x, y = sample(d, 0) * size, sample(d, 1) * size
    options = {"steps": 5} if method == "affine_gradient" else {}
    report = fit(method, x, y, **options).report
    assert report is not None
    assert torch.isfinite(torch.tensor([report.residual, report.r2, report.mean_cosine])).all()


@pytest.mark.parametrize("method", translation_methods())
def test_what_cannot_be_squared_is_refused(method: str) -> None:
    with pytest.raises(InvalidInputError, match="x must have a norm of at most"):
        fit(method, sample(4, 0) * 1e25, sample(4, 1))
