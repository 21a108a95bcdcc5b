"""ASIF: the sparse coupling against the dense, obvious one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlstitch.errors import InvalidInputError
from rlstitch.latent.correspondence import asif
from rlstitch.latent.correspondence.asif import couple


def two_spaces(n=200, seed=0):
    """Pairs, and fresh queries and candidates, of two spaces that are views of one hidden space in ten clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(10, 6)) * 2
    to_x, to_y = rng.normal(size=(6, 12)), rng.normal(size=(6, 9))

    def sample(labels):
        hidden = centres[labels] + 0.3 * rng.normal(size=(len(labels), 6))
        return hidden @ to_x, hidden @ to_y

    return sample(np.arange(n) % 10), sample(np.arange(40) % 10), centres @ to_y, np.arange(40) % 10


def dense_description(samples, anchors, k, power):
    cosine = (samples / np.linalg.norm(samples, axis=1, keepdims=True)) @ (
        anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    ).T
    for row in cosine:
        row[np.argsort(row)[: len(row) - k]] = 0
    described = np.maximum(cosine, 0) ** power
    return described / np.linalg.norm(described, axis=1, keepdims=True)


@pytest.mark.parametrize(("k", "power"), [(1, 8.0), (20, 8.0), (20, 1.0), (200, 3.0)])
def test_scores_are_those_of_dense_descriptions(k, power, monkeypatch):
    (x, y), (qx, qy), _, _ = two_spaces()
    coupling = couple(x, y, k=k, power=power)
    expected = dense_description(qx, x, k, power) @ dense_description(qy, y, k, power).T
    np.testing.assert_allclose(coupling.scores(qx, qy), expected, atol=1e-12)
    monkeypatch.setattr(asif, "_BLOCK_ELEMENTS", 500)
    np.testing.assert_allclose(coupling.scores(qx, qy), expected, atol=1e-12)
    described = coupling.describe_x(qx)
    assert described.nnz <= k * len(qx)
    np.testing.assert_allclose(described.toarray(), dense_description(qx, x, k, power), atol=1e-12)


def test_retrieval_and_classification_follow_the_scores():
    (x, y), (qx, qy), classes, labels = two_spaces()
    coupling = couple(x, y, k=20)
    scores = coupling.scores(qx, qy)
    result = coupling.retrieve(qx, qy, 3)
    np.testing.assert_array_equal(result.indices[:, 0], scores.argmax(1))
    np.testing.assert_allclose(result.scores, -np.sort(-scores, 1)[:, :3])
    predicted = coupling.classify(qx, classes)
    assert predicted.dtype == np.int64
    assert (predicted == labels).mean() > 0.9
    shuffled = couple(x, y[np.random.default_rng(0).permutation(len(y))], k=20)
    assert (shuffled.classify(qx, classes) == labels).mean() < 0.5


def test_descriptions_can_be_made_once():
    (x, y), (qx, qy), _, _ = two_spaces()
    coupling = couple(x, y, k=20)
    np.testing.assert_array_equal(
        coupling.scores(coupling.describe_x(qx), coupling.describe_y(qy)), coupling.scores(qx, qy)
    )
    with pytest.raises(InvalidInputError, match="described by 200 pairs, found 100"):
        coupling.scores(couple(x[:100], y[:100]).describe_x(qx), qy)


def test_order_of_pairs_and_lengths_of_vectors_do_not_matter():
    (x, y), (qx, qy), _, _ = two_spaces()
    plain = couple(x, y, k=20).scores(qx, qy)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(couple(x[order], y[order], k=20).scores(qx, qy), plain, atol=1e-12)
    np.testing.assert_allclose(couple(3 * x, 0.1 * y, k=20).scores(7 * qx, qy), plain, atol=1e-12)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    np.testing.assert_allclose(couple(x @ rotation, y, k=20).scores(qx @ rotation, qy), plain, atol=1e-10)
    assert not np.allclose(couple(x + 5, y, k=20).scores(qx + 5, qy), plain, atol=1e-2)


def test_kinds_and_widths():
    (x, y), (qx, qy), _, _ = two_spaces()
    tensors = couple(torch.from_numpy(x).float(), torch.from_numpy(y))
    scores = tensors.scores(torch.from_numpy(qx), qy)
    assert isinstance(scores, torch.Tensor)
    np.testing.assert_allclose(scores.numpy(), couple(x, y).scores(qx, qy), atol=1e-4)
    assert isinstance(tensors.retrieve(torch.from_numpy(qx), qy, 2).indices, torch.Tensor)
    assert isinstance(tensors.classify(qx, qy), np.ndarray)
    assert len(tensors) == 200


def test_opposites_are_not_neighbours():
    coupling = couple(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), power=2.0)
    np.testing.assert_array_equal(coupling.scores(np.array([[-1.0, -1.0]]), np.eye(2)), 0.0)
    np.testing.assert_array_equal(coupling.scores(np.zeros((1, 2)), np.eye(2)), 0.0)


def test_bad_input_is_refused():
    (x, y), (qx, qy), _, _ = two_spaces()
    with pytest.raises(InvalidInputError, match="paired"):
        couple(x, y[:-1])
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 200\]"):
        couple(x, y, k=201)
    with pytest.raises(InvalidInputError, match="power"):
        couple(x, y, power=0)
    with pytest.raises(InvalidInputError, match="equally wide"):
        couple(x, y).scores(qy, qy)
    with pytest.raises(InvalidInputError, match="finite"):
        couple(x, y).scores(np.full_like(qx, np.nan), qy)
    with pytest.raises(InvalidInputError, match=r"\[1, 40\]"):
        couple(x, y).retrieve(qx, qy, 41)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 12), d=st.integers(1, 4), k=st.integers(1, 12), power=st.floats(0.5, 60), seed=st.integers(0, 999)
)
def test_scores_are_cosines_of_non_negative_vectors(n, d, k, power, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-2, 3, size=(n, d)).astype(np.float32), rng.normal(size=(n, d)).astype(np.float32) * 1e-3
    scores = couple(x, y, k=min(k, n), power=power).scores(x, y)
    assert np.isfinite(scores).all()
    assert scores.min() >= 0
    assert scores.max() <= 1 + 1e-5
