"""Nothing is quadratic in the number of samples but what says so.

Every case runs on many samples and few anchors, with the blocks of work made small. The largest tensor that torch makes
and the peak of what NumPy allocates must stay far below n x n numbers, or the docstring must say "quadratic in memory".
"""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_cases import CASES, spaces
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import rlstitch.latent as latent
from rlstitch.latent import retrieval, similarity
from rlstitch.latent.correspondence import asif
from rlstitch.latent.translation import iterative

N, K, D = 2000, 8, 4
# Floats a sample that a method may hold beside its input: a handful of arrays as wide as the anchors or the space.
LIMIT = N * 160 * 8
QUADRATIC = {"rsa", "structure_agreement", "bootstrap_anchors", "match_gromov_wasserstein"}


class Largest(TorchDispatchMode):
    """The bytes of the largest storage that an operation gave back."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return result


@pytest.fixture(scope="module", autouse=True)
def _compiler_loaded() -> None:
    """What torch imports when its operations are first followed would count as memory of the first case."""
    with Largest():
        torch.ones(1) + 1


def peak(name: str) -> int:
    case = CASES[name]
    s = spaces(N, K, D)
    s = s.map(torch.from_numpy) if case.tensors else s
    case.call(s.map(lambda part: part[:40]))  # what is imported or set up once does not count
    tracemalloc.start()
    try:
        with Largest() as largest:
            case.call(s)
        return max(largest.bytes, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 50_000)
    monkeypatch.setattr(asif, "_BLOCK_ELEMENTS", 50_000)
    monkeypatch.setattr(similarity, "_BLOCK", 16)
    monkeypatch.setattr(similarity, "_MARKS", 50_000)
    monkeypatch.setattr(similarity, "_SAMPLED", 200)
    monkeypatch.setattr(iterative, "_BLOCK", 64)


@pytest.mark.parametrize("name", sorted(set(CASES) - QUADRATIC))
def test_memory_is_linear_in_the_samples(name: str) -> None:
    if CASES[name].extra:
        pytest.importorskip(CASES[name].extra)
    assert peak(name) < LIMIT < N * N * 8 / 10


@pytest.mark.parametrize("similarity", latent.SIMILARITIES)
def test_streams_hold_a_batch(similarity: str, tmp_path: Path) -> None:
    """From one file into another: what is held does not grow with the number of samples."""
    anchors = spaces(1, K, D).a
    np.save(tmp_path / "x.npy", spaces(20_000, 1, D).x)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float64, (len(x), K))
    latent.project(x[:9], anchors, similarity)  # imports
    tracemalloc.start()
    with Largest() as largest:
        latent.project_into(out, x, anchors, similarity, batch_size=500)
    held = max(largest.bytes, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert held < 20 * 500 * (D + K) * 8 < out.nbytes
    np.testing.assert_allclose(out[-3:], latent.project(x[-3:], anchors, similarity), atol=1e-9)


@pytest.mark.parametrize("name", sorted(QUADRATIC))
def test_what_is_quadratic_says_so(name: str) -> None:
    assert re.search(r"quadratic in\s+memory", str(getattr(latent, name).__doc__).lower())


def test_a_matrix_of_all_pairs_would_be_seen() -> None:
    x = spaces(N, K, D).x
    with Largest() as largest:
        torch.cdist(torch.from_numpy(x), torch.from_numpy(x))
    assert largest.bytes > LIMIT
    tracemalloc.start()
    x @ x.T
    assert tracemalloc.get_traced_memory()[1] > LIMIT
    tracemalloc.stop()
