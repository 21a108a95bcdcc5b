import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.manifold import Isomap

from rlstitch.errors import InvalidInputError
from rlstitch.latent import project_geodesic
from rlstitch.latent.projection.similarities import anchor_distances, neighbour_graph


def naive_geodesic(x: np.ndarray, nodes: np.ndarray, k: int, neighbours: int) -> np.ndarray:
    """Floyd and Warshall on the graph of nearest neighbours, for a graph in one piece."""
    m = len(nodes)
    between = cdist(nodes, nodes)
    ways = np.full((m, m), np.inf)
    for i in range(m):
        ways[i, i] = 0
        for j in sorted(set(range(m)) - {i}, key=lambda other: between[i, other])[:neighbours]:
            ways[i, j] = ways[j, i] = between[i, j]
    for j in range(m):
        ways = np.minimum(ways, ways[:, j : j + 1] + ways[j : j + 1, :])
    result = np.empty((len(x), k))
    for row, point in enumerate(x):
        step = np.linalg.norm(nodes - point, axis=1)
        near = np.argsort(step)[:neighbours]
        result[row] = (step[near, None] + ways[near, :k]).min(0)
    return result


def test_agrees_with_the_naive_twin() -> None:
    rng = np.random.default_rng(0)
    anchors, points, x = rng.normal(size=(6, 3)), rng.normal(size=(40, 3)), rng.normal(size=(9, 3))
    nodes = np.concatenate([anchors, points])
    result = project_geodesic(x, anchors, points=points, neighbours=6)
    np.testing.assert_allclose(result, naive_geodesic(x, nodes, 6, 6), atol=1e-10)


def test_agrees_with_scikit_learns_isomap() -> None:
    nodes = np.random.default_rng(2).normal(size=(60, 3))
    expected = Isomap(n_neighbors=6).fit(nodes).dist_matrix_
    np.testing.assert_allclose(project_geodesic(nodes, nodes[:9], points=nodes[9:], neighbours=6), expected[:, :9])


def test_follows_an_arc_where_the_straight_way_leaves_it() -> None:
    angle = torch.linspace(0, torch.pi, 200, dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], 1)
    result = project_geodesic(arc[-1:], arc[:1], points=arc, neighbours=4)
    assert abs(float(result) - torch.pi) < 1e-3


def test_many_neighbours_give_the_euclidean_distance() -> None:
    rng = np.random.default_rng(1)
    x, anchors = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    np.testing.assert_allclose(project_geodesic(x, anchors, neighbours=100), cdist(x, anchors), atol=1e-10)


def test_parts_that_do_not_meet_are_joined_by_their_shortest_edge() -> None:
    left = np.array([[0.0], [1.0], [2.0]])
    nodes = np.concatenate([left, left + 10, left + 100])
    ways = anchor_distances(neighbour_graph(nodes, 1), 1)
    np.testing.assert_allclose(ways[:, 0], nodes[:, 0], atol=1e-12)
    graph = neighbour_graph(nodes, 1)
    assert abs(graph - graph.T).max() == 0
    assert graph[2, 3] == 8
    assert graph[5, 6] == 88


def test_duplicates_and_a_single_anchor() -> None:
    same = np.ones((4, 2))
    np.testing.assert_allclose(project_geodesic(same, same), np.zeros((4, 4)), atol=1e-12)
    np.testing.assert_allclose(project_geodesic(same + [[3, 4]], same[:1]), np.full((4, 1), 5.0))


def test_options_are_checked() -> None:
    x = np.ones((2, 3))
    with pytest.raises(InvalidInputError, match="neighbours must be a whole number"):
        project_geodesic(x, x, neighbours=0)
    with pytest.raises(InvalidInputError, match="points and anchors must be equally wide"):
        project_geodesic(x, x, points=np.ones((2, 4)))
    with pytest.raises(InvalidInputError, match="points must be finite"):
        project_geodesic(x, x, points=x * np.nan)
