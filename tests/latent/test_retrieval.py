"""Retrieval: exact neighbours against NumPy's, ranks, CSLS, recall; approximate neighbours with and without FAISS."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlstitch.errors import InvalidInputError, MissingExtraError, UnknownNameError
from rlstitch.latent import retrieval
from rlstitch.latent.retrieval import (
    METRICS,
    csls,
    evaluate_retrieval,
    match_ranks,
    nearest,
    nearest_approximate,
    neighbour_jaccard,
)


def data(n=30, m=50, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def naive_scores(q, c, metric):
    if metric == "dot":
        return q @ c.T
    if metric == "euclidean":
        return -np.linalg.norm(q[:, None] - c, axis=2)
    return (q / np.linalg.norm(q, axis=1, keepdims=True)) @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 7, 50])
def test_nearest_is_a_full_sort(metric, k):
    q, c = data()
    scores = naive_scores(q, c, metric)
    order = (-scores).argsort(1)[:, :k]
    result = nearest(q, c, k, metric=metric)
    assert result.indices.dtype == np.int64
    np.testing.assert_array_equal(result.indices, order)
    np.testing.assert_allclose(result.scores, np.take_along_axis(scores, order, 1), atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_loops_and_kinds_agree(metric, monkeypatch):
    q, c = data()
    whole = nearest(q, c, 4, metric=metric)
    one_by_one = np.concatenate([nearest(row[None], c, 4, metric=metric).indices for row in q])
    np.testing.assert_array_equal(whole.indices, one_by_one)
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 150)
    np.testing.assert_array_equal(nearest(q, c, 4, metric=metric).indices, whole.indices)
    tensors = nearest(torch.from_numpy(q).float(), torch.from_numpy(c), 4, metric=metric)
    assert isinstance(tensors.indices, torch.Tensor)
    assert tensors.scores.dtype == torch.float32
    np.testing.assert_array_equal(tensors.indices.numpy(), whole.indices)


def test_exclude_self_in_every_block(monkeypatch):
    q, _ = data()
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 150)
    result = nearest(q, q, 29, exclude_self=True)
    assert all(sorted([*row, i]) == list(range(30)) for i, row in enumerate(result.indices))
    with pytest.raises(InvalidInputError, match="as many queries as keys"):
        nearest(q[:5], q, 3, exclude_self=True)
    with pytest.raises(InvalidInputError, match=r"\[1, 29\]"):
        nearest(q, q, 30, exclude_self=True)


def test_invariances_of_each_metric():
    q, c = data(d=4)
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    for metric in METRICS:
        plain = nearest(q, c, 5, metric=metric).indices
        assert (nearest(q @ rotation, c @ rotation, 5, metric=metric).indices == plain).all()
        assert (nearest(3 * q, 3 * c, 5, metric=metric).indices == plain).all()
        moved = (nearest(q + 2, c + 2, 5, metric=metric).indices == plain).all()
        assert moved == (metric == "euclidean")
        lengthened = c * np.linspace(0.2, 5, len(c))[:, None]
        assert (nearest(q, lengthened, 5, metric=metric).indices == plain).all() == (metric == "cosine")


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input_is_refused(metric):
    q, c = data()
    bad = c.copy()
    bad[2, 1] = np.nan
    with pytest.raises(InvalidInputError, match="keys must be finite"):
        nearest(q, bad, 3, metric=metric)
    with pytest.raises(InvalidInputError, match="equally wide"):
        nearest(q, c[:, :3], 3, metric=metric)
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 50\]"):
        nearest(q, c, 51, metric=metric)
    with pytest.raises(InvalidInputError, match="at least 1 row"):
        nearest(q, c[:0], 1, metric=metric)
    with pytest.raises(InvalidInputError, match="at least 1 row"):
        nearest(q[:0], c, 1, metric=metric)


def test_unknown_metric_offers_the_near_one():
    q, c = data()
    with pytest.raises(UnknownNameError, match="euclidean"):
        nearest(q, c, 3, metric="euclidian")  # type: ignore[arg-type]


def test_a_zero_vector_is_similar_to_nothing():
    scores = nearest(np.zeros((1, 2)), np.eye(2), 2).scores
    np.testing.assert_array_equal(scores, 0)


def test_csls_is_its_equation():
    q, c = data()
    cosine = naive_scores(q, c, "cosine")
    near_q = np.sort(cosine, 1)[:, -4:].mean(1, keepdims=True)
    near_c = np.sort(cosine, 0)[-4:].mean(0, keepdims=True)
    expected = 2 * cosine - near_q - near_c
    result = csls(q, c, 50, neighbourhood=4)
    np.testing.assert_allclose(result.scores, -np.sort(-expected, 1), atol=1e-12)
    np.testing.assert_array_equal(result.indices, (-expected).argsort(1))
    assert csls(q[:1], c, 3, neighbourhood=100).indices.shape == (1, 3)


def test_csls_takes_a_hub_down():
    # Key 0 is the mean direction, near to every query; keys 1.. are each query's own, a little farther.
    rng = np.random.default_rng(0)
    q = np.abs(rng.normal(size=(20, 40))) + 0.3
    own = q + rng.normal(size=q.shape) * 0.9
    keys = np.r_[q.mean(0, keepdims=True), own]
    plain = (nearest(q, keys, 1).indices[:, 0] == 0).mean()
    corrected = (csls(q, keys, 1).indices[:, 0] == 0).mean()
    assert plain > 0.5
    assert corrected < plain / 2


def test_ranks_and_report():
    q, c = data(30, 30)
    scores = naive_scores(q, c, "cosine")
    ranks = np.array([1 + (row > row[i]).sum() for i, row in enumerate(scores)])
    np.testing.assert_array_equal(match_ranks(q, c), ranks)
    report = evaluate_retrieval(q, c, ks=(1, 5, 100))
    assert report.mrr == pytest.approx((1 / ranks).mean())
    assert report.mean_rank == pytest.approx(ranks.mean())
    assert report.recall == pytest.approx({1: (ranks <= 1).mean(), 5: (ranks <= 5).mean(), 100: 1.0})
    assert report.queries == 30
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(match_ranks(q, c[order], order.argsort()), ranks)
    assert match_ranks(torch.from_numpy(q), c).dtype == torch.float64


def test_a_collapsed_space_gets_the_mean_rank():
    same = np.ones((9, 3))
    np.testing.assert_array_equal(match_ranks(same, same), 5.0)


def test_bad_targets_are_refused():
    q, c = data()
    with pytest.raises(InvalidInputError, match="targets given"):
        match_ranks(q, c)
    with pytest.raises(InvalidInputError, match="below 50"):
        match_ranks(q, c, np.full(30, 50))
    with pytest.raises(InvalidInputError, match="targets"):
        match_ranks(q, c, np.zeros(3, dtype=int))
    with pytest.raises(InvalidInputError, match="ks"):
        evaluate_retrieval(q, q, ks=(0,))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_euclidean_neighbours_far_from_the_origin(kind):
    x = (np.random.default_rng(0).normal(size=(200, 8)) + 1000).astype(kind)
    exact = naive_scores(x.astype(np.float64), x.astype(np.float64), "euclidean")
    result = nearest(x, x, 6, metric="euclidean")
    np.testing.assert_array_equal(result.indices, (-exact).argsort(1)[:, :6])
    np.testing.assert_allclose(result.scores[:, 0], 0, atol=1e-6)
    assert result.scores.dtype == kind
    assert evaluate_retrieval(x, x, metric="euclidean").mrr == 1
    shifted = nearest_approximate(x, x, 6, metric="euclidean", cells=4, probes=4).indices
    assert neighbour_jaccard(shifted, result.indices) > 0.999


@pytest.mark.parametrize("metric", METRICS)
def test_keys_that_the_dtype_of_the_queries_does_not_hold(metric):
    q, c = data()
    ranks = match_ranks(q[:10].astype(np.float32), c[:10] * 1e45, metric=metric)
    np.testing.assert_array_equal(ranks, match_ranks(q[:10].astype(np.float32), c[:10] * 1e45 + 0, metric=metric))
    assert np.ptp(ranks) > 0


def test_jaccard_takes_what_is_missing_for_no_neighbour():
    first, second = np.array([[0, -1, -1], [3, 4, 5]]), np.array([[1, -1, -1], [4, 3, -1]])
    assert neighbour_jaccard(first, second) == pytest.approx((0 + 2 / 3) / 2)
    assert neighbour_jaccard(-np.ones((2, 3)), -np.ones((2, 3))) == 1


def test_jaccard():
    first, second = np.array([[0, 1, 2], [3, 4, 5]]), np.array([[2, 1, 0], [5, 6, 7]])
    assert neighbour_jaccard(first, second) == pytest.approx((1 + 1 / 5) / 2)
    assert neighbour_jaccard(first, first[:, :1]) == pytest.approx(1 / 3)
    with pytest.raises(InvalidInputError, match=r"\(2, 3\)"):
        neighbour_jaccard(first, second[:1])


@settings(max_examples=40, deadline=None)
@given(
    x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-4, 4, width=32)),
    metric=st.sampled_from(METRICS),
)
def test_any_shape_gives_finite_sorted_scores(x, metric):
    result = nearest(x, x, len(x), metric=metric)
    assert np.isfinite(result.scores).all()
    assert (np.diff(result.scores, axis=1) <= 0).all()
    assert (np.sort(result.indices, 1) == np.arange(len(x))).all()
    assert ((match_ranks(x, x) >= 1) & (match_ranks(x, x) <= len(x))).all()


def test_approximate_without_faiss_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    q, c = data()
    with pytest.raises(MissingExtraError, match=r"rlstitch\[faiss\]"):
        nearest_approximate(q, c, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_neighbours(metric):
    pytest.importorskip("faiss")
    q, c = data(40, 600, 8)
    exact = nearest(q, c, 5, metric=metric)
    every_list = nearest_approximate(q, c, 5, metric=metric, cells=10, probes=10)
    np.testing.assert_array_equal(every_list.indices, exact.indices)
    np.testing.assert_allclose(every_list.scores, exact.scores, atol=1e-4)
    assert (
        neighbour_jaccard(nearest_approximate(q, c, 5, metric=metric, cells=10, probes=4).indices, exact.indices) > 0.5
    )
    with pytest.raises(InvalidInputError, match="probes"):
        nearest_approximate(q, c, 5, metric=metric, cells=10, probes=11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("metric", METRICS)
def test_cuda_agrees_with_the_cpu(metric):
    q, c = (torch.from_numpy(side) for side in data())
    result = nearest(q.cuda(), c.cuda(), 5, metric=metric)
    assert result.indices.is_cuda
    np.testing.assert_array_equal(result.indices.cpu(), nearest(q, c, 5, metric=metric).indices)
    np.testing.assert_allclose(match_ranks(q.cuda(), q.cuda(), metric=metric).cpu(), match_ranks(q, q, metric=metric))
    np.testing.assert_array_equal(csls(q.cuda(), c, 5).indices.cpu(), csls(q, c, 5).indices)
