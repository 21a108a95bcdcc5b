"""Relative projections: samples (n, d) described by their relation to anchors (k, d), as coordinates (n, k).

Moschella et al., "Relative representations enable zero-shot latent space communication", arXiv:2209.15430, equation
1, and the other relations of "From Bricks to Bridges", arXiv:2310.01211. Cosine, angular, gaussian and dot grow with
likeness; the distances (euclidean, l1, linf, lp, mahalanobis, geodesic) fall with it and are not negated. All but
geodesic can be differentiated in x and in the anchors.

`projector(anchors, ...)` does the anchors' part of the work once and returns the function of x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent._arrays import A, Array, like, require_positive, same_width, to_tensor
from rlstitch.latent._linalg import cosines, distances, product
from rlstitch.latent.normalization import fit_normalization, fit_whitening, unit_rows

Relation: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
Similarity: TypeAlias = str | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def projector(anchors: Array, similarity: Similarity = "cosine", **options: Any) -> Callable[[A], A]:
    """The projection on `anchors` (k, d) as a function (n, d) -> (n, k).

    `similarity` is a name from `SIMILARITIES` or a function of two tensors (n, d), (k, d) -> (n, k).
    Raises UnknownNameError for another name; InvalidInputError for no anchors, widths that differ, NaN or infinity,
    unknown options.

    Examples:
        >>> relate = projector(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "dot")
        >>> relate(torch.tensor([[3.0, 4.0]]))
        tensor([[3., 8.]])
    """
    points = to_tensor(anchors, "anchors", min_rows=1)
    bound: dict[tuple[torch.dtype, torch.device], Relation] = {}

    def run(x: A) -> A:
        samples = to_tensor(x, "x")
        same_width(samples, points, "x", "anchors")
        key = (samples.dtype, samples.device)
        # x decides dtype and device; the anchors are prepared once for each.
        if key not in bound:
            bound[key] = bind(points.to(samples), similarity, options)
        result = bound[key](samples)
        if result.shape != (len(samples), len(points)):
            raise InvalidInputError(
                f"similarity must return shape {(len(samples), len(points))}, found {tuple(result.shape)}"
            )
        return like(result, x)

    return run


def project(x: A, anchors: Array, similarity: Similarity = "cosine", **options: Any) -> A:
    """Project x (n, d) on anchors (k, d) -> (n, k), by a name from `SIMILARITIES` or any function; see `projector`.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project(x, anchors, "dot")
        tensor([[3., 8.]])
        >>> project(x, anchors, lambda x, a: torch.cdist(x, a, p=1))
        tensor([[6., 5.]])
    """
    run: Callable[[A], A] = projector(anchors, similarity, **options)
    return run(x)


def project_cosine(x: A, anchors: Array) -> A:
    """cos(x_i, a_j), in [-1, 1]; a zero vector has cosine 0 with everything. Blind to rotation and to scale.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_cosine(x, anchors)
        tensor([[0.6000, 0.8000]])
        >>> project_cosine(9 * x.flip(1), anchors.flip(1))
        tensor([[0.6000, 0.8000]])
    """
    return project(x, anchors, "cosine")


def project_angular(x: A, anchors: Array) -> A:
    """1 - angle(x_i, a_j) / pi, in [0, 1]; angles below the resolution of the dtype (float32: 0.001) count as 0.

    Examples:
        >>> project_angular(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        tensor([[1.0000, 0.5000, 0.0000]])
    """
    return project(x, anchors, "angular")


def project_gaussian(x: A, anchors: Array, *, width: float = 0.5) -> A:
    """exp(-|x/|x| - a/|a||^2 / (2 width^2)), in (0, 1]: a Gaussian kernel between directions, exp((cos - 1) / width^2).

    Sees what the cosine sees, but far anchors count for little and differ little between encoders, while what is near
    stands out. A zero vector has cosine 0 with everything. As `width` grows, it becomes a cosine, shifted and scaled.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0], [-3.0, -4.0]])
        >>> project_gaussian(x, anchors).round(decimals=3)
        tensor([[1.0000, 0.4490, 0.0000]])
    """
    return project(x, anchors, "gaussian", width=width)


def project_euclidean(x: A, anchors: Array, *, exact: bool = False) -> A:
    """The Euclidean distance, at least 0.

    By default from inner products about the anchors' mean: fast, with an error near sqrt(eps) times the norms where x
    meets an anchor. `exact` takes differences one by one.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_euclidean(x + 7, anchors + 7, exact=True)
        tensor([[4.4721, 3.6056]])
    """
    return project(x, anchors, "euclidean", exact=exact)


def project_l1(x: A, anchors: Array) -> A:
    """The sum of absolute differences.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_l1(x, anchors)
        tensor([[6., 5.]])
    """
    return project(x, anchors, "l1")


def project_linf(x: A, anchors: Array) -> A:
    """The largest absolute difference.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_linf(x, anchors)
        tensor([[4., 3.]])
    """
    return project(x, anchors, "linf")


def project_lp(x: A, anchors: Array, *, p: float = 3.0) -> A:
    """The L_p distance, for p > 0 (p < 1 is no metric, but defined); infinite where the p-th powers overflow.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_lp(x, anchors, p=1.0)
        tensor([[6., 5.]])
    """
    return project(x, anchors, "lp", p=p)


def project_dot(x: A, anchors: Array) -> A:
    """The inner product. Blind to rotation only.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_dot(x, anchors)
        tensor([[3., 8.]])
    """
    return project(x, anchors, "dot")


def project_basis(x: A, anchors: Array, *, rtol: float | None = None) -> A:
    """Change of basis: the least-squares coordinates of x_i in the anchors, c with c @ anchors nearest to x (of least
    norm, where many).

    Blind to every invertible linear map where the anchors span the space. `rtol`: singular values below rtol times
    the largest count as 0 (default: as in the pseudo-inverse, eps * max(k, d)), so that duplicated anchors share
    their weight.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> c = project_basis(x, anchors).round(decimals=3)
        >>> c, c @ anchors
        (tensor([[3., 2.]]), tensor([[3., 4.]]))
    """
    return project(x, anchors, "basis", rtol=rtol)


def project_mahalanobis(x: A, anchors: Array, *, points: Array | None = None, shrinkage: float = 0.1) -> A:
    """sqrt((x - a) S^-1 (x - a)^T) with the covariance S of `points` (default: of the anchors), shrunk as in
    `fit_whitening`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> before, after = (project_mahalanobis(s, s[:8], shrinkage=0.0) for s in (x, sheared))
        >>> bool(torch.allclose(before, after, atol=1e-3))
        True
    """
    return project(x, anchors, "mahalanobis", points=points, shrinkage=shrinkage)


def relative_projection(
    x: A,
    anchors: Array,
    *,
    normalization: str = "identity",
    similarity: Similarity = "cosine",
    shrinkage: float = 0.1,
    **options: Any,
) -> A:
    """Normalise x and the anchors with the anchors' own statistics, then project: (n, d), (k, d) -> (n, k).

    `shrinkage` is that of a whitening; Mahalanobis distances keep their own, 0.1.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> before = relative_projection(x, x[:8], normalization="center")
        >>> after = relative_projection(3 * x + 5, 3 * x[:8] + 5, normalization="center")
        >>> bool(torch.allclose(before, after, atol=1e-5))
        True
    """
    normalize = fit_normalization(normalization, anchors, shrinkage=shrinkage)
    samples: A = normalize(x)
    return project(samples, normalize(anchors), similarity, **options)


def bind(anchors: torch.Tensor, similarity: Similarity, options: dict[str, Any]) -> Relation:
    """The relation to anchors (k, d) as a function of x (n, d) -> (n, k), tensors of one dtype, with no look at values:
    what `projector` checks and layers, which are traced, do not.
    """
    if not isinstance(similarity, str):
        return lambda x: similarity(x, anchors, **options)
    if similarity == "geodesic":
        # SciPy's graphs and scikit-learn's neighbours are loaded only here.
        from rlstitch.latent.projection.graph import bind_geodesic

        return _with_options(bind_geodesic, anchors, similarity, options)
    if similarity not in _RELATIONS:
        raise UnknownNameError("similarity", similarity, SIMILARITIES)
    return _with_options(_RELATIONS[similarity], anchors, similarity, options)


def _with_options(bind: Callable[..., Relation], anchors: torch.Tensor, name: str, options: dict[str, Any]) -> Relation:
    known = (bind.__kwdefaults__ or {}).keys()
    if unknown := sorted(options.keys() - known):
        raise InvalidInputError(f"similarity {name!r} takes the options {sorted(known)}, found {unknown}")
    return bind(anchors, **options)


def _bind_cosine(anchors: torch.Tensor) -> Relation:
    units = unit_rows(anchors)
    return lambda x: cosines(x, units)


def _bind_angular(anchors: torch.Tensor) -> Relation:
    cosine = _bind_cosine(anchors)

    def relation(x: torch.Tensor) -> torch.Tensor:
        c = cosine(x)
        # The slope of arccos is infinite at -1 and 1: there the value is set and the gradient is 0.
        edge = 1 - 4 * torch.finfo(c.dtype).eps
        inner = c.abs() < edge
        angle = torch.arccos(torch.where(inner, c, torch.zeros_like(c)))
        ends = torch.where(c > 0, torch.zeros_like(c), torch.full_like(c, torch.pi))
        return 1 - torch.where(inner, angle, ends) / torch.pi

    return relation


def _bind_gaussian(anchors: torch.Tensor, *, width: float = 0.5) -> Relation:
    require_positive(width, "width")
    cosine = _bind_cosine(anchors)
    return lambda x: torch.exp((cosine(x) - 1) / width**2)


def _bind_dot(anchors: torch.Tensor) -> Relation:
    return lambda x: product(x, anchors.T)


def _bind_euclidean(anchors: torch.Tensor, *, exact: bool = False) -> Relation:
    if exact:
        return lambda x: torch.cdist(x, anchors, compute_mode="donot_use_mm_for_euclid_dist")
    # Inner products lose digits far from the origin; distances do not mind a shift.
    center = anchors.mean(0)
    moved = anchors - center
    return lambda x: distances(x, moved, center)


def _bind_minkowski(anchors: torch.Tensor, p: float) -> Relation:
    return lambda x: torch.cdist(x, anchors, p=p)


def _bind_lp(anchors: torch.Tensor, *, p: float = 3.0) -> Relation:
    require_positive(p, "p")
    return _bind_minkowski(anchors, float(p))


def _bind_basis(anchors: torch.Tensor, *, rtol: float | None = None) -> Relation:
    # The inverse of tiny anchors would overflow.
    size = anchors.detach().abs().max()
    size = torch.where(size > 0, size, torch.ones_like(size))
    inverse: torch.Tensor = torch.linalg.pinv(anchors / size, rtol=rtol)
    return lambda x: product(x / size, inverse)


def _bind_mahalanobis(anchors: torch.Tensor, *, points: Array | None = None, shrinkage: float = 0.1) -> Relation:
    source = anchors if points is None else to_tensor(points, "points", min_rows=1).to(anchors)
    same_width(source, anchors, "points", "anchors")
    weight = fit_whitening(source, shrinkage=shrinkage).weight.double()
    # Any root of S^-1 gives the same distances; the triangular one takes half the work.
    root = torch.linalg.cholesky(weight @ weight).to(anchors)
    center = anchors.mean(0)
    white = (anchors - center) @ root
    return lambda x: distances(x, white, center, root)


_RELATIONS: dict[str, Callable[..., Relation]] = {
    "cosine": _bind_cosine,
    "angular": _bind_angular,
    "gaussian": _bind_gaussian,
    "dot": _bind_dot,
    "euclidean": _bind_euclidean,
    "l1": lambda anchors: _bind_minkowski(anchors, 1.0),
    "linf": lambda anchors: _bind_minkowski(anchors, float("inf")),
    "lp": _bind_lp,
    "basis": _bind_basis,
    "mahalanobis": _bind_mahalanobis,
}
SIMILARITIES = (*_RELATIONS, "geodesic")
