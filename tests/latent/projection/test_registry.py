import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import cosine_similarity

import rlstitch.latent as latent
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent.modules import RelativeProjection
from rlstitch.latent.normalization import NORMALIZATIONS, fit_normalization
from rlstitch.latent.projection.registry import SIMILARITIES, project, project_stream, projector, relative_projection

N, K, D = 12, 20, 4
DIFFERENTIABLE = [name for name in SIMILARITIES if name != "geodesic"]


def sample(n: int, seed: int, d: int = D, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 3.0, 0.5, 2.0, 1.0, 0.2])[:d].to(dtype)
    return torch.randn(n, d, generator=generator, dtype=dtype) * scale + 0.7


def change(letter: str) -> Callable[[torch.Tensor], torch.Tensor]:
    random = torch.randn(D, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    rotation = torch.linalg.qr(random).Q
    return {
        "O": lambda x: x @ rotation,
        "S": lambda x: 3.7 * x,
        "T": lambda x: x + torch.tensor([2.0, -1.0, 5.0, 0.5], dtype=torch.float64),
        "P": lambda x: x[:, [2, 0, 3, 1]],
        "L": lambda x: x @ (random + torch.eye(D)),
    }[letter]


# What each projection does not see after each normalisation by the anchors' statistics (whitening without shrinkage),
# or after unit norm: Orthogonal maps, Scale, Translation, Permutation of dimensions, invertible Linear maps. A method
# that is in a registry and not in the table fails.
COLUMNS = ["identity", "center", "standardize", "mean_norm", "isotropic", "whiten", "pca_whiten", "unit_norm"]
BLIND_TO = {
    "cosine": ["OSP", "OSTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "angular": ["OSP", "OSTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "gaussian": ["OSP", "OSTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "dot": ["OP", "OTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "euclidean": ["OTP", "OTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "geodesic": ["OTP", "OTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "l1": ["TP", "TP", "STP", "SP", "STP", "STP", "OSTP", "SP"],
    "lp": ["TP", "TP", "STP", "SP", "STP", "STP", "OSTP", "SP"],
    "linf": ["TP", "TP", "STP", "SP", "STP", "STP", "OSTP", "SP"],
    "basis": ["OSPL", "OSTPL", "OSTPL", "OSPL", "OSTPL", "OSTPL", "OSTPL", "OSP"],
    "mahalanobis": ["OSTP", "OSTP", "STP", "OSTP", "OSTP", "OSTPL", "OSTPL", "OSP"],
    "kernel_ridge": ["OSP", "OSTP", "STP", "OSP", "OSTP", "OSTPL", "OSTPL", "OSP"],
}


def table_entry(similarity: str, column: str, x: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    options = {"neighbours": 4} if similarity == "geodesic" else {}
    if column == "unit_norm":
        return project(latent.unit_norm(x), latent.unit_norm(anchors), similarity, **options)
    return relative_projection(x, anchors, normalization=column, similarity=similarity, shrinkage=0.0, **options)


@pytest.mark.parametrize("letter", "OSTPL")
@pytest.mark.parametrize("column", [*NORMALIZATIONS, "unit_norm"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_invariance_table(similarity: str, column: str, letter: str) -> None:
    x, anchors, function = sample(N, 0), sample(K, 1), change(letter)
    before = table_entry(similarity, column, x, anchors)
    after = table_entry(similarity, column, function(x), function(anchors))
    blind = letter in BLIND_TO[similarity][COLUMNS.index(column)]
    assert torch.allclose(before, after, rtol=1e-6, atol=1e-6) == blind
    if not blind:
        assert (before - after).abs().max() > 1e-2


@pytest.mark.parametrize("letter", "OSTPL")
def test_mahalanobis_without_shrinkage_is_blind_to_every_affine_map(letter: str) -> None:
    x, anchors, function = sample(N, 0), sample(K, 1), change(letter)
    before = project(x, anchors, "mahalanobis", shrinkage=0.0)
    torch.testing.assert_close(project(function(x), function(anchors), "mahalanobis", shrinkage=0.0), before)


def naive_cosine(x: np.ndarray, a: np.ndarray) -> float:
    return float(sum(p * q for p, q in zip(x, a, strict=True)) / np.sqrt((x**2).sum() * (a**2).sum()))


NAIVE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "cosine": naive_cosine,
    "angular": lambda x, a: 1 - np.arccos(np.clip(naive_cosine(x, a), -1, 1)) / np.pi,
    "gaussian": lambda x, a: np.exp(-((x / np.linalg.norm(x) - a / np.linalg.norm(a)) ** 2).sum() / (2 * 0.5**2)),
    "dot": lambda x, a: sum(p * q for p, q in zip(x, a, strict=True)),
    "euclidean": lambda x, a: sum((p - q) ** 2 for p, q in zip(x, a, strict=True)) ** 0.5,
    "l1": lambda x, a: sum(abs(p - q) for p, q in zip(x, a, strict=True)),
    "linf": lambda x, a: max(abs(p - q) for p, q in zip(x, a, strict=True)),
    "lp": lambda x, a: sum(abs(p - q) ** 3 for p, q in zip(x, a, strict=True)) ** (1 / 3),
}


@pytest.mark.parametrize("similarity", NAIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_naive_twin(similarity: str, dtype: torch.dtype) -> None:
    x, anchors = sample(N, 0, dtype=dtype), sample(K, 1, dtype=dtype)
    expected = [[NAIVE[similarity](p, a) for a in anchors.double().numpy()] for p in x.double().numpy()]
    result = project(x, anchors, similarity)
    assert result.dtype == dtype
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    np.testing.assert_allclose(result.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_agrees_with_scipy_scikit_learn_and_numpy() -> None:
    x, anchors = sample(N, 0).numpy(), sample(K, 1).numpy()
    np.testing.assert_allclose(latent.project_cosine(x, anchors), cosine_similarity(x, anchors), atol=1e-12)
    np.testing.assert_allclose(latent.project_dot(x, anchors), x @ anchors.T, atol=1e-12)
    np.testing.assert_allclose(latent.project_euclidean(x, anchors), cdist(x, anchors), atol=1e-7)
    np.testing.assert_allclose(latent.project_euclidean(x, anchors, exact=True), cdist(x, anchors), atol=1e-12)
    np.testing.assert_allclose(latent.project_l1(x, anchors), cdist(x, anchors, "cityblock"), atol=1e-12)
    np.testing.assert_allclose(latent.project_linf(x, anchors), cdist(x, anchors, "chebyshev"), atol=1e-12)
    np.testing.assert_allclose(latent.project_lp(x, anchors, p=1.5), cdist(x, anchors, "minkowski", p=1.5), atol=1e-12)
    for basis in (anchors, anchors[:2]):
        np.testing.assert_allclose(
            latent.project_basis(x, basis), np.linalg.lstsq(basis.T, x.T, rcond=None)[0].T, atol=1e-12
        )
    np.testing.assert_allclose(
        latent.project_mahalanobis(x, anchors, points=x, shrinkage=0.0),
        cdist(x, anchors, "mahalanobis", VI=np.linalg.inv(np.cov(x.T, bias=True))),
        atol=1e-10,
    )


def test_golden_values() -> None:
    x = torch.tensor([[1.0, 0.0], [-3.0, 4.0]])
    anchors = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    golden = {
        "cosine": [[1, 0], [-0.6, 0.8]],
        "angular": [[1, 0.5], [0.2951672, 0.7951672]],
        "gaussian": [[1, 0.0183156], [0.0016616, 0.4493290]],
        "dot": [[2, 0], [-6, 4]],
        "euclidean": [[1, 2**0.5], [41**0.5, 18**0.5]],
        "l1": [[1, 2], [9, 6]],
        "linf": [[1, 1], [5, 3]],
        "lp": [[1, 2 ** (1 / 3)], [189 ** (1 / 3), 54 ** (1 / 3)]],
        "basis": [[0.5, 0], [-1.5, 4]],
    }
    for similarity, expected in golden.items():
        torch.testing.assert_close(project(x, anchors, similarity), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_batch_is_loop_numpy_is_torch_and_order_does_not_matter(similarity: str) -> None:
    x, anchors = sample(N, 0), sample(K, 1)
    whole = project(x, anchors, similarity)
    torch.testing.assert_close(torch.cat([project(row[None], anchors, similarity) for row in x]), whole)
    result = project(x.numpy(), anchors.numpy(), similarity)
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, whole.numpy())
    torch.testing.assert_close(project(x.flip(0), anchors, similarity).flip(0), whole)
    turned = torch.arange(K).roll(3)
    if similarity not in ("mahalanobis", "basis"):
        torch.testing.assert_close(project(x, anchors[turned], similarity), whole[:, turned])


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_mixed_kinds_follow_x(similarity: str) -> None:
    x, anchors = sample(N, 0, dtype=torch.float32), sample(K, 1)
    result = project(x, anchors.numpy(), similarity)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float32
    assert project(x.numpy(), anchors, similarity).dtype == np.float32


@pytest.mark.parametrize("similarity", DIFFERENTIABLE)
def test_gradients_agree_with_finite_differences(similarity: str) -> None:
    x, anchors = sample(3, 0).requires_grad_(), sample(6, 1).requires_grad_()
    options = {"points": sample(30, 2)} if similarity == "mahalanobis" else {}
    assert torch.autograd.gradcheck(lambda p, a: project(p, a, similarity, **options), (x, anchors))


@pytest.mark.parametrize("similarity", DIFFERENTIABLE)
def test_gradients_stay_finite_where_x_is_an_anchor_or_zero(similarity: str) -> None:
    anchors = sample(8, 1, dtype=torch.float32)
    x = torch.cat([anchors[:3], -anchors[3:5], torch.zeros(1, D)]).requires_grad_()
    result = project(x, anchors, similarity)
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_degenerate_anchors_give_finite_numbers(similarity: str, normalization: str) -> None:
    x = torch.cat([sample(5, 0), torch.zeros(1, D, dtype=torch.float64)])
    constant = torch.cat([sample(6, 3)[:, :-1], torch.full((6, 1), 2.0)], 1)
    for anchors in (sample(1, 1), sample(1, 1).repeat(5, 1), torch.zeros(3, D, dtype=torch.float64), constant, x[:2]):
        result = relative_projection(x, anchors, normalization=normalization, similarity=similarity)
        assert result.shape == (6, len(anchors))
        assert torch.isfinite(result).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_no_samples_give_an_empty_projection_and_bad_input_an_error(similarity: str) -> None:
    x, anchors = sample(N, 0), sample(K, 1)
    assert project(x[:0], anchors, similarity).shape == (0, K)
    with pytest.raises(InvalidInputError, match="anchors must have at least 1 row"):
        project(x, anchors[:0], similarity)
    with pytest.raises(InvalidInputError, match=r"equally wide, found shapes \(12, 4\) and \(20, 3\)"):
        project(x, anchors[:, :3], similarity)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="x must be finite"):
            project(torch.full_like(x, bad), anchors, similarity)
        with pytest.raises(InvalidInputError, match="anchors must be finite"):
            project(x, torch.full_like(anchors, bad), similarity)
    with pytest.raises(InvalidInputError, match=r"takes the options .*found \['colour'\]"):
        project(x, anchors, similarity, colour=1)


def test_a_function_may_be_the_similarity() -> None:
    x, anchors = sample(N, 0), sample(K, 1)
    result = project(x, anchors, lambda p, a: torch.exp(-torch.cdist(p, a)))
    torch.testing.assert_close(result, torch.exp(-project(x, anchors, "euclidean")), atol=1e-7, rtol=1e-6)
    with pytest.raises(InvalidInputError, match=r"similarity must return shape \(12, 20\), found \(12,\)"):
        project(x, anchors, lambda p, a: p.sum(1))
    with pytest.raises(UnknownNameError, match="did you mean cosine"):
        project(x, anchors, "cosin")
    with pytest.raises(InvalidInputError, match="p must be a finite number above 0, found 0"):
        project(x, anchors, "lp", p=0)


def test_a_projector_serves_many_batches_and_dtypes() -> None:
    anchors = sample(K, 1)
    run = projector(anchors, "mahalanobis", shrinkage=0.2)
    for dtype, seed in itertools.product((torch.float32, torch.float64), (0, 1)):
        x = sample(N, seed, dtype=dtype)
        torch.testing.assert_close(run(x), project(x, anchors, "mahalanobis", shrinkage=0.2))


def test_statistics_come_from_the_anchors_alone() -> None:
    x, anchors = sample(N, 0), sample(K, 1)
    normalize = fit_normalization("whiten", anchors)
    expected = project(normalize(x), normalize(anchors), "cosine")
    torch.testing.assert_close(relative_projection(x, anchors, normalization="whiten"), expected)
    torch.testing.assert_close(relative_projection(x[:1], anchors, normalization="whiten"), expected[:1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda d: st.tuples(
            *(arrays(np.float32, st.tuples(st.integers(1, 6), st.just(d)), elements=st.floats(-100, 100, width=32)),)
            * 2
        )
    ),
    st.sampled_from(SIMILARITIES),
)
def test_any_finite_input_gives_finite_output_in_range(pair: tuple[np.ndarray, np.ndarray], similarity: str) -> None:
    x, anchors = pair
    result = project(x, anchors, similarity)
    assert result.shape == (len(x), len(anchors))
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    if similarity == "cosine":
        assert np.abs(result).max() <= 1
    elif similarity == "angular":
        assert result.min() >= 0
        assert result.max() <= 1
    elif similarity not in ("dot", "basis", "kernel_ridge"):
        assert result.min() >= 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_cuda_agrees_with_cpu(similarity: str) -> None:
    x, anchors = sample(N, 0), sample(K, 1)
    result = project(x.cuda(), anchors.cuda(), similarity)
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), project(x, anchors, similarity))


def test_ridge_weights_are_kernel_ridge_regression_on_the_anchors() -> None:
    """Weights times the anchors' other latents: what scikit-learn predicts from the anchors as pairs."""
    x, anchors = sample(N, 0), sample(K, 1)
    targets = torch.tanh(anchors @ sample(D, 2))

    def prepared(z: torch.Tensor) -> np.ndarray:
        parts = []
        for part, own in ((z, anchors), (latent.unit_norm(z), latent.unit_norm(anchors))):
            size = (own - own.mean(0)).square().sum(1).mean().sqrt()
            parts.append((part - own.mean(0)) / size / 2**0.5)
        return torch.nn.functional.pad(torch.cat(parts, dim=1), (0, 1), value=1.0).numpy()

    def kernel(p: np.ndarray, q: np.ndarray) -> float:
        cosine = np.clip(naive_cosine(p, q), -1, 1)
        angle, lengths = np.arccos(cosine), np.linalg.norm(p) * np.linalg.norm(q)
        return lengths * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)

    ridge = KernelRidge(alpha=0.01, kernel=kernel).fit(prepared(anchors), targets.numpy())
    weights = project(x, anchors, "kernel_ridge", penalty=0.01)
    np.testing.assert_allclose(weights @ targets, ridge.predict(prepared(x)), atol=1e-8)


@pytest.mark.parametrize("similarity", ["mahalanobis", "geodesic"])
def test_the_sample_of_a_space_is_normalised_as_x_and_the_anchors_are(similarity: str) -> None:
    x, anchors, points = sample(N, 0), sample(K, 1), sample(40, 2)
    normalize = fit_normalization("whiten", anchors)
    expected = project(normalize(x), normalize(anchors), similarity, points=normalize(points))
    torch.testing.assert_close(relative_projection(x, anchors, similarity=similarity, points=points), expected)
    parts = project_stream(x, anchors, similarity, batch_size=5, normalization=normalize, points=points)
    torch.testing.assert_close(torch.cat(list(parts)), expected)
    if similarity == "mahalanobis":
        torch.testing.assert_close(RelativeProjection(anchors, similarity=similarity, points=points)(x), expected)


@pytest.mark.parametrize("similarity", DIFFERENTIABLE)
def test_gradients_go_through_the_anchors_more_than_once(similarity: str) -> None:
    anchors = sample(K, 1).requires_grad_()
    run = projector(anchors, similarity)
    gradients = []
    for _ in range(2):
        anchors.grad = None
        run(sample(N, 0)).sum().backward()
        gradients.append(anchors.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_anchors_that_the_dtype_of_x_does_not_hold_are_refused(similarity: str) -> None:
    x, large = sample(N, 0, dtype=torch.float32), sample(K, 1) * 1e45
    for run in (projector(large, similarity), lambda x: getattr(latent, f"project_{similarity}")(x, large)):
        with pytest.raises(InvalidInputError, match=r"anchors as torch\.float32 must be finite"):
            run(x)


def test_a_penalty_that_rounding_swallows_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="penalty must be large enough"):
        project(sample(N, 0), sample(1, 1).repeat(9, 1), "kernel_ridge", penalty=1e-18)
