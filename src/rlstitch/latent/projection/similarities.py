"""Similarities to anchors (2209.15430, equation 1; 2310.01211): each as a projection, and as a function of the anchors.

Directions (cosine, angular, gaussian) and inner products (dot, basis) grow with likeness; distances (euclidean, l1,
linf, lp, mahalanobis, geodesic) fall with it and are not negated. `basis` and `kernel_ridge` give weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, convert, like, require_count, require_positive, same_width, to_tensor
from rlstitch.latent._linalg import cosines, distances, product
from rlstitch.latent.normalization import fit_whitening, unit_rows

# Rows of x whose neighbours are looked up at once, and floats that a step may hold beside its result.
_BATCH, _FLOATS = 4096, 16_000_000


Relation: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""x (n, d) -> (n, k): how samples relate to k fixed anchors."""
Bind: TypeAlias = Callable[..., Relation]
"""anchors (k, d), options -> the relation to them; does the anchors' part of the work."""


def relate(x: A, anchors: Array, bind: Bind, **options: Any) -> A:
    """The relation of x (n, d) to anchors (k, d): (n, k), in x's dtype, on its device.

    Raises InvalidInputError for no anchors, widths that differ, NaN or infinity.
    """
    points, samples = to_tensor(anchors, "anchors", min_rows=1), to_tensor(x, "x")
    same_width(samples, points, "x", "anchors")
    return like(bind(convert(points, samples, "anchors"), **options)(samples), x)


def project_cosine(x: A, anchors: Array) -> A:
    """cos(x_i, a_j), in [-1, 1]; a zero vector has cosine 0 with everything. Invariant to rotation and scale.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_cosine(x, anchors)
        tensor([[0.6000, 0.8000]])
        >>> project_cosine(9 * x.flip(1), anchors.flip(1))
        tensor([[0.6000, 0.8000]])
    """
    return relate(x, anchors, cosine)


def cosine(anchors: torch.Tensor) -> Relation:
    """x -> cos(x, a)."""
    units = unit_rows(anchors)
    return lambda x: cosines(x, units)


def project_angular(x: A, anchors: Array) -> A:
    """1 - angle(x_i, a_j) / pi, in [0, 1]; angles below the resolution of the dtype (float32: 0.001) count as 0.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> project_angular(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        tensor([[1.0000, 0.5000, 0.0000]])
    """
    return relate(x, anchors, angular)


def angular(anchors: torch.Tensor) -> Relation:
    """x -> 1 - arccos(cos(x, a)) / pi."""
    cosines_with = cosine(anchors)

    def relation(x: torch.Tensor) -> torch.Tensor:
        c = cosines_with(x)
        # The slope of arccos is infinite at -1 and 1: there the value is set and the gradient is 0.
        edge = 1 - 4 * torch.finfo(c.dtype).eps
        inner = ~(c.abs() >= edge)  # NaN is passed on
        angle = torch.arccos(torch.where(inner, c, torch.zeros_like(c)))
        ends = torch.where(c > 0, torch.zeros_like(c), torch.full_like(c, torch.pi))
        return 1 - torch.where(inner, angle, ends) / torch.pi

    return relation


def project_gaussian(x: A, anchors: Array, *, width: float = 0.5) -> A:
    """exp(-|x/|x| - a/|a||^2 / (2 width^2)), in (0, 1]: a Gaussian kernel between directions, exp((cos - 1) / width^2).

    Sees what the cosine sees, but far anchors count for little and differ little between encoders, while what is near
    stands out. A zero vector has cosine 0 with everything. As `width` grows, it becomes a cosine, shifted and scaled.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        width: of the kernel, above 0.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0], [-3.0, -4.0]])
        >>> project_gaussian(x, anchors).round(decimals=3)
        tensor([[1.0000, 0.4490, 0.0000]])
    """
    return relate(x, anchors, gaussian, width=width)


def gaussian(anchors: torch.Tensor, *, width: float = 0.5) -> Relation:
    """x -> exp((cos(x, a) - 1) / width^2)."""
    require_positive(width, "width")
    cosines_with = cosine(anchors)
    return lambda x: torch.exp((cosines_with(x) - 1) / width**2)


def project_euclidean(x: A, anchors: Array, *, exact: bool = False) -> A:
    """The Euclidean distance, at least 0.

    By default from inner products about the anchors' mean: fast, with an error near sqrt(eps) times the norms where x
    meets an anchor. `exact` takes differences one by one.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        exact: take differences one by one.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_euclidean(x + 7, anchors + 7, exact=True)
        tensor([[4.4721, 3.6056]])
    """
    return relate(x, anchors, euclidean, exact=exact)


def euclidean(anchors: torch.Tensor, *, exact: bool = False) -> Relation:
    """x -> |x - a|."""
    if exact:
        return lambda x: torch.cdist(x, anchors, compute_mode="donot_use_mm_for_euclid_dist")
    # Inner products lose digits far from the origin; distances do not mind a shift.
    center = anchors.mean(0)
    moved = anchors - center
    return lambda x: distances(x, moved, center)


def project_l1(x: A, anchors: Array) -> A:
    """The sum of absolute differences.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_l1(x, anchors)
        tensor([[6., 5.]])
    """
    return relate(x, anchors, l1)


def l1(anchors: torch.Tensor) -> Relation:
    """x -> sum |x - a|."""
    return lambda x: torch.cdist(x, anchors, p=1.0)


def project_linf(x: A, anchors: Array) -> A:
    """The largest absolute difference.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_linf(x, anchors)
        tensor([[4., 3.]])
    """
    return relate(x, anchors, linf)


def linf(anchors: torch.Tensor) -> Relation:
    """x -> max |x - a|."""
    # NaN would be lost in the maximum.
    return lambda x: torch.cdist(x, anchors, p=float("inf")).masked_fill(x.isnan().any(1, keepdim=True), torch.nan)


def project_lp(x: A, anchors: Array, *, p: float = 3.0) -> A:
    """The L_p distance, for p > 0 (p < 1 is no metric, but defined); infinite where the p-th powers overflow.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        p: order of the norm, above 0.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_lp(x, anchors, p=1.0)
        tensor([[6., 5.]])
    """
    return relate(x, anchors, lp, p=p)


def lp(anchors: torch.Tensor, *, p: float = 3.0) -> Relation:
    """x -> (sum |x - a|^p)^(1/p)."""
    require_positive(p, "p")
    return lambda x: torch.cdist(x, anchors, p=float(p))


def project_mahalanobis(x: A, anchors: Array, *, points: Array | None = None, shrinkage: float = 0.1) -> A:
    """sqrt((x - a) S^-1 (x - a)^T) with the covariance S of `points` (default: of the anchors), shrunk as in
    `fit_whitening`.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        points: sample `(m, d)` for the covariance; None: the anchors.
        shrinkage: of the covariance, in [0, 1].

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> before, after = (project_mahalanobis(s, s[:8], shrinkage=0.0) for s in (x, sheared))
        >>> bool(torch.allclose(before, after, atol=1e-3))
        True
    """
    return relate(x, anchors, mahalanobis, points=points, shrinkage=shrinkage)


def mahalanobis(anchors: torch.Tensor, *, points: Array | None = None, shrinkage: float = 0.1) -> Relation:
    """x -> |(x - a) @ root|, root @ root^T = S^-1."""
    source = anchors if points is None else convert(to_tensor(points, "points", min_rows=1), anchors, "points")
    same_width(source, anchors, "points", "anchors")
    weight = fit_whitening(source, shrinkage=shrinkage).weight.double()
    # Any root of S^-1 gives the same distances; the triangular one takes half the work.
    root = torch.linalg.cholesky(weight @ weight).to(anchors)
    center = anchors.mean(0)
    white = (anchors - center) @ root
    return lambda x: distances(x, white, center, root)


def project_dot(x: A, anchors: Array) -> A:
    """The inner product. Invariant to rotation only.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_dot(x, anchors)
        tensor([[3., 8.]])
    """
    return relate(x, anchors, dot)


def dot(anchors: torch.Tensor) -> Relation:
    """x -> x @ a."""
    return lambda x: product(x, anchors.T)


def project_basis(x: A, anchors: Array, *, rtol: float | None = None) -> A:
    """Change of basis: the least-squares coordinates of x_i in the anchors, c with c @ anchors nearest to x (of least
    norm, where many).

    Invariant to every invertible linear map where the anchors span the space. `rtol`: singular values below rtol times
    the largest count as 0 (default: as in the pseudo-inverse, eps * max(k, d)), so that duplicated anchors share
    their weight.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        rtol: relative size below which a singular value counts as 0; None: eps * max(k, d).

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> c = project_basis(x, anchors).round(decimals=3)
        >>> c, c @ anchors
        (tensor([[3., 2.]]), tensor([[3., 4.]]))
    """
    return relate(x, anchors, basis, rtol=rtol)


def basis(anchors: torch.Tensor, *, rtol: float | None = None) -> Relation:
    """x -> x @ pinv(anchors)."""
    # The inverse of tiny anchors would overflow.
    size = anchors.detach().abs().max()
    size = torch.where(size > 0, size, torch.ones_like(size))
    inverse: torch.Tensor = torch.linalg.pinv(anchors / size, rtol=rtol)
    return lambda x: product(x / size, inverse)


def project_kernel_ridge(x: A, anchors: Array, *, penalty: float = 1e-3) -> A:
    """The weights of kernel ridge regression on the anchors: K(x, A) (K(A, A) + penalty I)^-1.

    These weights times what the anchors are in another space predict what x is there, by a smooth map that need not be
    linear. The kernel is the arc-cosine kernel of order 1 (Cho and Saul 2009, "Kernel methods for deep learning"), that
    of one infinitely wide ReLU layer, of samples, their directions from the origin, and a constant 1: short samples are
    told apart by directions. Samples and directions are each relative to the anchors' mean and in units of their root
    mean square distance from it; the kernel is 1 in the mean of K(A, A)'s diagonal. Computed in float64. The anchors'
    part takes O(k^3) time and O(k^2) memory.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        penalty: on the norm of the map, above 0: the larger, the smoother.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> anchors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, -4.0]])
        >>> project_kernel_ridge(anchors[:1], anchors).round(decimals=2)
        tensor([[1., 0., 0.]])
    """
    return relate(x, anchors, kernel_ridge, penalty=penalty)


def kernel_ridge(anchors: torch.Tensor, *, penalty: float = 1e-3, inverse: torch.Tensor | None = None) -> Relation:
    """x -> K(x, A) (K(A, A) + penalty I)^-1; `inverse`: the latter factor, where it is known (`kernel_inverse`)."""
    kernel = _arc_cosine_kernel(anchors)
    weights = kernel_inverse(anchors, penalty=penalty) if inverse is None else inverse.to(anchors.device)
    return lambda x: (kernel(x) @ weights).to(x)


def kernel_inverse(anchors: torch.Tensor, *, penalty: float = 1e-3) -> torch.Tensor:
    """The inverse of K(A, A) + penalty I, float64 `(k, k)`, with the kernel of `project_kernel_ridge`."""
    require_positive(penalty, "penalty")
    gram = _arc_cosine_kernel(anchors)(anchors)
    gram.diagonal().add_(penalty)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if int(failed):
        raise InvalidInputError(f"penalty must be large enough for these anchors to be told apart, found {penalty!r}")
    return torch.cholesky_inverse(factor).contiguous()


def _arc_cosine_kernel(anchors: torch.Tensor) -> Relation:
    """x -> |u| |v| (sin t + (pi - t) cos t) / 2 pi in float64: u and v stand for x and an anchor, t is their angle."""

    def with_directions(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.double(), unit_rows(x.double())], dim=1)

    points = with_directions(anchors)
    center = points.mean(0)
    square = 2 * (points - center).square().sum(2, keepdim=True).mean(0)
    size = torch.where(square > 0, square, torch.ones_like(square)).sqrt()

    def prepared(x: torch.Tensor) -> torch.Tensor:
        return functional.pad(((with_directions(x) - center) / size).flatten(1), (0, 1), value=1.0)

    v = prepared(anchors)
    v_length = torch.linalg.vector_norm(v, dim=1)
    # The slope of arccos is infinite at -1 and 1.
    edge = 1 - 4 * torch.finfo(torch.float64).eps

    def kernel(x: torch.Tensor) -> torch.Tensor:
        u = prepared(x)
        lengths = torch.linalg.vector_norm(u, dim=1)[:, None] * v_length
        c = (u @ v.T / lengths).clamp(-edge, edge)
        sine = (1 - c * c).sqrt()
        angle = _traceable_angle(c, sine) if torch.compiler.is_compiling() else torch.arccos(c)
        return lengths * (sine + (torch.pi - angle) * c) / (2 * torch.pi)

    return kernel


def _traceable_angle(cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """The angle in float64, as onnxruntime can compute it, whose arccos takes float32 alone.

    What float32 misses is d = angle - near, and sin(d) = sine cos(near) - cosine sin(near) is d to its third power.
    """
    near = torch.arccos(cosine.float()).double()
    return near + sine * near.cos() - cosine * near.sin()


def project_geodesic(x: A, anchors: Array, *, points: Array | None = None, neighbours: int = 10) -> A:
    """The length of the shortest way from x_i to anchor j along a graph of nearest neighbours (as in Isomap), at
    least 0.

    The nodes of the graph are the anchors and `points` (m, d), a sample of the space: each is joined with its nearest
    `neighbours` by Euclidean edges, and parts that do not meet are joined by their shortest edge. Each row of x steps
    on to the graph at its own nearest `neighbours`, so that rows do not depend on one another. Memory: k * (k + m)
    distances. No gradient.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        points: further nodes of the graph `(m, d)`, a sample of the space.
        neighbours: edges per node.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> circle = torch.arange(24.0)[:, None] * torch.pi / 12
        >>> circle = torch.cat([circle.cos(), circle.sin()], dim=1)
        >>> way = project_geodesic(circle[12:13], circle[:1], points=circle, neighbours=2)
        >>> round(float(way) / torch.pi, 2)
        1.0
    """
    return relate(x, anchors, geodesic, points=points, neighbours=neighbours)


def geodesic(anchors: torch.Tensor, *, points: Array | None = None, neighbours: int = 10) -> Relation:
    """The graph work for `anchors` (k, d), and the function of x (n, d) -> (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    nodes = anchors.detach()
    if points is not None:
        extra = convert(to_tensor(points, "points"), nodes, "points")
        same_width(extra, nodes, "points", "anchors")
        nodes = torch.cat([nodes, extra])
    require_count(neighbours, 1_000_000, "neighbours", "a number of neighbours")
    data = nodes.cpu().double().numpy()
    index = NearestNeighbors(n_neighbors=min(neighbours, len(data))).fit(data)
    ways = anchor_distances(neighbour_graph(data, neighbours), len(anchors))

    def relation(x: torch.Tensor) -> torch.Tensor:
        out = x.new_empty(len(x), len(anchors))
        rows = x.detach().cpu().double().numpy()
        step = max(1, min(_BATCH, _FLOATS // len(anchors)))
        for start in range(0, len(x), step):
            edge, node = index.kneighbors(rows[start : start + step])
            best = ways[node[:, 0]] + edge[:, :1]
            for column in range(1, node.shape[1]):
                np.minimum(best, ways[node[:, column]] + edge[:, column : column + 1], out=best)
            out[start : start + step] = torch.from_numpy(best).to(out)
        return out

    return relation


def anchor_distances(graph: Any, k: int) -> NDArray[np.float64]:
    """Shortest ways from each node to the first k along a symmetric graph (m, m), as of `neighbour_graph`: (m, k)."""
    from scipy.sparse.csgraph import dijkstra

    # Every edge is stored both ways; with directed=False SciPy would follow each of them twice.
    ways = dijkstra(graph, directed=True, indices=np.arange(k))
    if not np.isfinite(ways).all():
        raise InvalidInputError("points must be joined into one graph, but some anchors cannot be reached")
    return np.ascontiguousarray(ways.T)


def neighbour_graph(nodes: NDArray[np.float64], neighbours: int) -> Any:
    """The graph of nearest neighbours of nodes (m, d) in one piece, a SciPy CSR array (m, m) of Euclidean edge
    lengths.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors

    m = len(nodes)
    if m == 1:
        return csr_array((1, 1), dtype=np.float64)
    length, node = NearestNeighbors(n_neighbors=min(neighbours, m - 1)).fit(nodes).kneighbors()
    rows, columns, lengths = np.repeat(np.arange(m), node.shape[1]), node.ravel(), length.ravel()
    # A stored 0 would be no edge: duplicates are joined by the shortest edge that there is.
    lengths = np.maximum(lengths, np.finfo(np.float64).tiny)
    graph = csr_array((lengths, (rows, columns)), shape=(m, m))
    pieces, label = connected_components(graph, directed=False)
    while pieces > 1:
        bridges = [_bridge(nodes, label == piece) for piece in range(pieces)]
        starts, ends, spans = (np.array(part) for part in zip(*bridges, strict=True))
        rows, columns = np.concatenate([rows, starts]), np.concatenate([columns, ends])
        lengths = np.concatenate([lengths, np.maximum(spans, np.finfo(np.float64).tiny)])
        graph = _symmetric(rows, columns, lengths, m)
        pieces, label = connected_components(graph, directed=False)
    return _symmetric(rows, columns, lengths, m)


def _bridge(nodes: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[int, int, float]:
    """The shortest edge from a piece of the graph to the rest: (node inside, node outside, length)."""
    from sklearn.metrics import pairwise_distances_argmin_min

    own, other = np.flatnonzero(inside), np.flatnonzero(~inside)
    nearest, length = pairwise_distances_argmin_min(nodes[own], nodes[other])
    best = int(length.argmin())
    return int(own[best]), int(other[nearest[best]]), float(length[best])


def _symmetric(rows: NDArray[Any], columns: NDArray[Any], lengths: NDArray[np.float64], m: int) -> Any:
    """Each edge once in either direction; the same edge found twice counts once."""
    from scipy.sparse import csr_array

    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    _, first = np.unique(low.astype(np.int64) * m + high, return_index=True)
    low, high, lengths = low[first], high[first], lengths[first]
    ends = (np.concatenate([low, high]), np.concatenate([high, low]))
    return csr_array((np.concatenate([lengths, lengths]), ends), shape=(m, m))


METHODS: dict[str, Bind] = {
    "cosine": cosine,
    "angular": angular,
    "gaussian": gaussian,
    "euclidean": euclidean,
    "l1": l1,
    "linf": linf,
    "lp": lp,
    "mahalanobis": mahalanobis,
    "dot": dot,
    "basis": basis,
    "kernel_ridge": kernel_ridge,
    "geodesic": geodesic,
}
"""Name -> similarity, as a function of the anchors."""
