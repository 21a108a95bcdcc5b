"""Charts to an atlas: agreement of models that are rotations of each other, the naive average, refusals."""

import numpy as np
import pytest
import torch

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent.merging import Chart, merge_charts
from rlstitch.latent.projection.similarities import project_cosine


def world(seed=0):
    """Twenty samples and five anchors of a hidden space, and three models: rotations of it into two widths."""
    rng = np.random.default_rng(seed)
    hidden, anchors = rng.normal(size=(20, 4)), rng.normal(size=(5, 4))
    maps = [np.linalg.qr(rng.normal(size=(d, d)))[0][:4] for d in (4, 6, 4)]
    return hidden, anchors, maps


def chart(number, keys, weight=1.0):
    hidden, anchors, maps = world()
    return Chart(list(keys), hidden[list(keys)] @ maps[number], anchors @ maps[number], weight)


def test_rotated_models_merge_into_the_space_of_one():
    hidden, anchors, _ = world()
    atlas = merge_charts([chart(0, range(8)), chart(1, range(5, 14)), chart(2, range(12, 20))])
    assert atlas.keys == tuple(range(20))
    np.testing.assert_allclose(atlas.vectors, project_cosine(hidden, anchors), atol=1e-12)
    np.testing.assert_array_equal(atlas.seen_by, [1] * 5 + [2] * 3 + [1] * 4 + [2] * 2 + [1] * 6)
    np.testing.assert_allclose(atlas.disagreement, 0, atol=1e-12)


def test_overlaps_are_averaged_by_weight():
    rng = np.random.default_rng(1)
    parts = [(list("abc"), rng.normal(size=(3, 2)), 1.0), (list("cad"), rng.normal(size=(3, 3)), 3.0)]
    anchors = [rng.normal(size=(4, 2)), rng.normal(size=(4, 3))]
    atlas = merge_charts([Chart(k, v, a, w) for (k, v, w), a in zip(parts, anchors, strict=True)])
    assert atlas.keys == tuple("abcd")
    rows = [
        {key: project_cosine(vectors, a)[i] for i, key in enumerate(keys)}
        for (keys, vectors, _), a in zip(parts, anchors, strict=True)
    ]
    expected = (rows[0]["a"] + 3 * rows[1]["a"]) / 4
    np.testing.assert_allclose(atlas.vectors[0], expected)
    np.testing.assert_allclose(atlas.vectors[1], rows[0]["b"])
    gap = np.linalg.norm(rows[0]["a"] - rows[1]["a"])
    assert atlas.disagreement[0] == pytest.approx((1 * 0.75 * gap + 3 * 0.25 * gap) / 4)
    assert atlas.disagreement[1] == 0


def test_order_of_charts_changes_the_order_of_keys_only():
    charts = [chart(0, range(8)), chart(1, range(5, 20))]
    forth, back = merge_charts(charts), merge_charts(charts[::-1])
    place = [back.keys.index(key) for key in forth.keys]
    np.testing.assert_allclose(forth.vectors, back.vectors[place], atol=1e-12)


def test_options_and_kind():
    hidden, anchors, _ = world()
    moved = Chart(range(20), torch.from_numpy(hidden).float() * 3 + 1, torch.from_numpy(anchors).float() * 3 + 1)
    atlas = merge_charts([moved], similarity="euclidean", normalization="isotropic")
    assert isinstance(atlas.vectors, torch.Tensor)
    assert atlas.vectors.dtype == torch.float32
    plain = merge_charts([Chart(range(20), hidden, anchors)], similarity="euclidean", normalization="isotropic")
    np.testing.assert_allclose(atlas.vectors.numpy(), plain.vectors, atol=1e-5)


def test_refusals():
    with pytest.raises(InvalidInputError, match="at least 1 chart"):
        merge_charts([])
    with pytest.raises(InvalidInputError, match="one key a vector"):
        merge_charts([Chart(["a"], np.eye(2), np.eye(2))])
    with pytest.raises(InvalidInputError, match="repeat"):
        merge_charts([Chart(["a", "a"], np.eye(2), np.eye(2))])
    with pytest.raises(IncompatibleError, match=r"charts\[1\] must have the 2 anchors"):
        merge_charts([Chart("ab", np.eye(2), np.eye(2)), Chart("ab", np.eye(2), np.ones((3, 2)))])
    with pytest.raises(InvalidInputError, match="equally wide"):
        merge_charts([Chart("ab", np.eye(2), np.eye(3))])
    with pytest.raises(InvalidInputError, match="weight"):
        merge_charts([Chart("ab", np.eye(2), np.eye(2), weight=0)])
    with pytest.raises(InvalidInputError, match="finite"):
        merge_charts([Chart("ab", np.full((2, 2), np.inf), np.eye(2))])
