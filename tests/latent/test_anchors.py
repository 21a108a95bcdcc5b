from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import LatentSpace, parallel_anchors, project_cosine
from rlstitch.latent import anchors as module
from rlstitch.latent.anchors import (
    ANCHOR_METHODS,
    choose_anchors,
    choose_central,
    choose_farthest,
    choose_kmedoids,
    choose_random,
    choose_ranked,
    coverage,
)


def sample(n: int = 80, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + 2


@pytest.mark.parametrize("method", ANCHOR_METHODS)
@pytest.mark.parametrize("k", [1, 7, 80])
def test_k_different_rows_the_same_for_the_same_seed(method: str, k: int) -> None:
    points = sample()
    rows = choose_anchors(method, points, k, 3)
    assert isinstance(rows, np.ndarray)
    assert rows.dtype == np.int64
    assert rows.shape == (k,)
    assert len(set(rows.tolist())) == k
    assert rows.min() >= 0
    assert rows.max() < 80
    np.testing.assert_array_equal(choose_anchors(method, points, k, 3), rows)
    as_tensor = choose_anchors(method, torch.from_numpy(points), k, 3)
    assert isinstance(as_tensor, torch.Tensor)
    np.testing.assert_array_equal(as_tensor.numpy(), rows)


@pytest.mark.parametrize("method", ["random", "farthest", "farthest_cosine", "kmedoids"])
def test_seeds_differ(method: str) -> None:
    assert set(choose_anchors(method, sample(), 5, 0).tolist()) != set(choose_anchors(method, sample(), 5, 1).tolist())


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "euclidean": lambda p: cdist(p, p),
    "cosine": lambda p: cdist(p, p, "cosine"),
    "abs_cosine": lambda p: 1 - np.abs(1 - cdist(p, p, "cosine")),
    "l1": lambda p: cdist(p, p, "cityblock"),
}


@pytest.mark.parametrize("metric", METRICS)
def test_farthest_agrees_with_the_naive_twin(metric: str) -> None:
    points = sample()
    between = METRICS[metric](points)
    expected = [int(choose_random(points, 1, 4)[0])]
    while len(expected) < 20:
        nearest = between[:, expected].min(1)
        nearest[expected] = -np.inf
        expected.append(int(nearest.argmax()))
    assert choose_farthest(points, 20, metric=metric, seed=4).tolist() == expected


def test_farthest_takes_a_function_and_golden_order() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [8.5], [10.0]])
    chosen = choose_farthest(line, 5, seed=1).tolist()
    assert chosen[0] == int(choose_random(line, 1, 1)[0])
    squared = choose_farthest(line, 5, metric=lambda p, q: (p - q).square().sum(1), seed=1)
    assert squared.tolist() == chosen
    starts = {
        choose_farthest(line, 2, seed=seed).tolist()[0]: choose_farthest(line, 2, seed=seed) for seed in range(30)
    }
    assert all(int(pair[1]) == (4 if start < 3 else 0) for start, pair in starts.items())


def test_duplicates_come_last() -> None:
    points = np.repeat(np.array([[0.0, 1], [5, 1], [9, -3]]), 4, axis=0)
    rows = choose_farthest(points, 12, seed=0)
    assert len({tuple(point) for point in points[rows[:3]]}) == 3
    assert sorted(rows.tolist()) == list(range(12))


@pytest.mark.parametrize("apart", [1e2, 1e4])
def test_duplicates_come_after_points_that_float32_tells_apart(apart: float) -> None:
    steps = np.linspace(0, 2, 6)[:, None] * [[1.0, 0, 0, 0]]
    points = np.concatenate([np.tile(steps, (5, 1)) + side for side in (-apart, apart)]).astype(np.float32)
    for seed in range(10):
        rows = choose_farthest(points, 14, seed=seed)
        assert len(np.unique(points[rows[:12]], axis=0)) == 12
        assert len(set(rows.tolist())) == 14


@pytest.mark.parametrize("metric", ["cosine", "abs_cosine"])
def test_rows_of_no_length_come_last(metric: str) -> None:
    points = sample(30)
    points[:5] = 0
    for seed in range(5):
        rows = choose_farthest(points, 30, metric=metric, seed=seed)
        assert (rows[1:20] >= 5).all()
        assert sorted(rows.tolist()) == list(range(30))


@pytest.mark.parametrize("large", [False, True])
def test_kmedoids_finds_planted_clusters(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(module, "LARGE", 10)
    rng = np.random.default_rng(0)
    centres = 30 * np.eye(4)
    label = np.repeat(np.arange(4), [40, 30, 20, 10])
    rows = choose_kmedoids(centres[label] + rng.normal(size=(100, 4)), 4, 0)
    assert label[rows].tolist() == [0, 1, 2, 3]


def test_kmedoids_are_the_rows_nearest_to_scikit_learns_centres() -> None:
    points = sample(200)
    model = KMeans(6, random_state=5, n_init=1).fit(points)
    expected = cdist(model.cluster_centers_, points).argmin(1)
    order = np.argsort(-np.bincount(model.labels_), kind="stable")
    np.testing.assert_array_equal(choose_kmedoids(points, 6, 5), expected[order])


@pytest.mark.parametrize("method", ANCHOR_METHODS)
def test_equal_points_still_give_different_rows(method: str) -> None:
    rows = choose_anchors(method, np.ones((6, 2), np.float32), 4, 0)
    assert len(set(rows.tolist())) == 4


def test_central_and_ranked() -> None:
    points = np.array([[10.0], [1.0], [2.0], [-9.0], [1.5]])
    assert choose_central(points, 3).tolist() == [1, 4, 2]
    scores = np.array([0.5, 2.0, -1.0, 2.0])
    assert choose_ranked(scores, 3).tolist() == [1, 3, 0]
    assert choose_ranked(torch.from_numpy(scores), 2, largest=False).tolist() == [2, 0]
    whole = 2**40 + np.arange(5)
    assert choose_ranked(whole, 2).tolist() == choose_ranked(torch.from_numpy(whole), 2).tolist() == [4, 3]


@pytest.mark.parametrize("method", ANCHOR_METHODS)
@pytest.mark.parametrize("k", [0, -1, 81, 2.0, True])
def test_k_is_checked(method: str, k: int) -> None:
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 80\] .* found"):
        choose_anchors(method, sample(), k)


def test_other_errors() -> None:
    with pytest.raises(UnknownNameError, match="farthest"):
        choose_anchors("furthest", sample(), 3)
    with pytest.raises(UnknownNameError, match="unknown metric"):
        choose_farthest(sample(), 3, metric="manhattan")
    with pytest.raises(InvalidInputError, match="points must be finite"):
        choose_random(sample() * np.nan, 3)
    with pytest.raises(InvalidInputError, match="at least 1 row"):
        choose_random(sample()[:0], 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99), st.sampled_from(ANCHOR_METHODS), st.data())
def test_any_small_set_works(n: int, d: int, seed: int, method: str, data: st.DataObject) -> None:
    points = np.random.default_rng(seed).integers(0, 3, size=(n, d))
    k = data.draw(st.integers(1, n))
    assert len(set(choose_anchors(method, points, k, seed).tolist())) == k


def test_coverage_of_a_line() -> None:
    points = np.arange(5.0)[:, None]
    report = coverage(points, points[[0, 4, 4]])
    assert (report.n_points, report.n_anchors, report.distinct, report.rank) == (5, 3, 2, 1)
    assert (report.nearest_mean, report.nearest_median, report.nearest_max) == (0.8, 1.0, 2.0)
    assert report.relative == pytest.approx(0.8 / 2**0.5)
    assert report.condition_number == 1.0


def test_anchors_from_another_domain() -> None:
    """Two models agree up to a rotation on samples of their task, and on others: the others serve as anchors."""
    rng = np.random.default_rng(0)
    task, elsewhere = rng.normal(size=(50, 4)), rng.normal(size=(40, 4)) * [3, 1, 1, 0.5] + [4, -4, 0, 0]
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    names = tuple(f"other {row}" for row in range(40))
    ours, theirs = LatentSpace(elsewhere, names), LatentSpace((elsewhere @ turn)[::-1], names[::-1])
    a, b = parallel_anchors([ours, theirs], 12, method="farthest")
    assert not set(a.keys) & set(LatentSpace(task).keys)
    np.testing.assert_allclose(project_cosine(task, a.vectors), project_cosine(task @ turn, b.vectors), atol=1e-12)
    # The report tells how far from the task they lie.
    far, near = coverage(task, a.vectors), coverage(task, task[:12])
    assert (far.n_points, far.n_anchors, far.rank) == (50, 12, 4)
    assert far.relative > near.relative


def test_coverage_does_not_see_where_the_space_lies() -> None:
    points, far = np.round(8 * sample(200)) / 8, 2**19
    here = coverage(points, points[:60])
    moved = coverage((points + far).astype(np.float32), (points[:60] + far).astype(np.float32))
    assert (moved.rank, moved.distinct) == (here.rank, here.distinct) == (3, 60)
    ours, theirs = ((c.relative, c.nearest_max, c.condition_number) for c in (here, moved))
    assert theirs == pytest.approx(ours, rel=1e-3)
    equal = np.full((50, 3), 0.1, np.float32)
    assert coverage(equal, equal[:4]).relative == 0
    assert coverage(equal, equal[:4]).rank == 0


def test_coverage_laws() -> None:
    points = sample(200)
    few, many = (coverage(points, points[choose_farthest(points, k)], batch_size=17) for k in (4, 60))
    assert many.nearest_max < few.nearest_max
    assert many.relative < few.relative
    assert many.rank == 3
    every = coverage(points, points)
    assert every.nearest_max == 0 == every.relative
    singular = np.linalg.svd(points - points.mean(0), compute_uv=False)
    assert every.condition_number == pytest.approx(singular[0] / singular[-1])
    alone = coverage(np.ones((3, 2)), np.ones((2, 2)))
    assert (alone.rank, alone.distinct, alone.relative, alone.condition_number) == (0, 1, 0.0, 1.0)
    with pytest.raises(InvalidInputError, match="equally wide"):
        coverage(points, np.ones((2, 5)))
