from pathlib import Path

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent.normalization import NORMALIZATIONS, fit_normalization
from rlstitch.latent.projection.registry import SIMILARITIES, project, project_into, project_stream, relative_projection

RNG = np.random.default_rng(0)
X, ANCHORS = RNG.normal(size=(23, 5)), RNG.normal(size=(7, 5))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_batches_join_to_the_whole(similarity: str) -> None:
    parts = list(project_stream(X, ANCHORS, similarity, batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 4, 4, 4, 3]
    np.testing.assert_allclose(np.concatenate(parts), project(X, ANCHORS, similarity), atol=1e-12)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_a_normalisation_is_applied_to_anchors_and_batches(kind: str) -> None:
    expected = relative_projection(X, ANCHORS, normalization=kind, similarity="l1")
    normalize = fit_normalization(kind, ANCHORS)
    parts = list(project_stream(X, ANCHORS, "l1", batch_size=6, normalization=normalize))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-12)
    out = project_into(np.empty((23, 7)), X, ANCHORS, "l1", batch_size=6, normalization=normalize)
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_an_iterable_of_batches_is_taken_lazily() -> None:
    taken = []

    def batches() -> object:
        for start in (0, 10, 20):
            taken.append(start)
            yield torch.from_numpy(X[start : start + 10])

    stream = project_stream(batches(), ANCHORS, "lp", p=2)
    assert taken == []
    first = next(stream)
    assert taken == [0]
    assert isinstance(first, torch.Tensor)
    torch.testing.assert_close(first.numpy(), project(X[:10], ANCHORS, "euclidean"))


def test_from_one_memory_map_into_another(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (23, 7))
    assert project_into(out, x, ANCHORS, "cosine", batch_size=6) is out
    out.flush()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), project(X, ANCHORS), atol=1e-6)


def test_kinds_may_differ() -> None:
    out = torch.empty(23, 7, dtype=torch.float64)
    project_into(out, X, ANCHORS)
    np.testing.assert_allclose(out.numpy(), project(X, ANCHORS))
    array = np.empty((23, 7))
    project_into(array, [torch.from_numpy(X[:20]), torch.from_numpy(X[20:])], ANCHORS)
    np.testing.assert_allclose(array, project(X, ANCHORS))


def test_errors() -> None:
    with pytest.raises(InvalidInputError, match=r"out must have shape \(n, 7\), found \(23, 6\)"):
        project_into(np.empty((23, 6)), X, ANCHORS)
    with pytest.raises(InvalidInputError, match="found 24 rows and 23 in x"):
        project_into(np.empty((24, 7)), X, ANCHORS)
    with pytest.raises(InvalidInputError, match="found 22 rows and more in x"):
        project_into(np.empty((22, 7)), X, ANCHORS)
    with pytest.raises(InvalidInputError, match="batch_size"):
        project_stream(X, ANCHORS, batch_size=0)
    with pytest.raises(UnknownNameError):
        list(project_stream(X, ANCHORS, "cos"))
    with pytest.raises(InvalidInputError, match="x must be finite"):
        list(project_stream(X * np.nan, ANCHORS))
