"""Geodesic distances to anchors along a graph of nearest neighbours (Isomap: Tenenbaum, de Silva and Langford 2000)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, require_count, same_width, to_tensor
from rlstitch.latent.projection.similarities import Relation, relate

# Rows of x whose neighbours are looked up at once, and floats that a step may hold beside its result.
_BATCH, _FLOATS = 4096, 16_000_000


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
        extra = to_tensor(points, "points").to(nodes)
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

    # Every edge is stored both ways: told that the graph is undirected, SciPy would walk each of them twice.
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
