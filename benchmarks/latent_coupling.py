"""Speed and memory of ASIF, CKA and exact retrieval, each beside the obvious way in the same run.

    python benchmarks/latent_coupling.py [--tiny] [--only NAME ...] [--seconds 15] [--out docs/results]

See `latent_timing.py` for how it is measured. (In float32 the k-th and the next similarity can change places:
differences near 1e-4 in ASIF scores come from there.)

- asif-product: scores of 1,000 queries and 1,000 candidates whose similarities to 100,000 pairs are known: sparse
  descriptions against the dense product. Bar: a third of the time.
- asif: the same from the embeddings on. Bar: 4 GiB.
- cka: two spaces of 50,000 x 512; the peer is the textbook way with Gram matrices, on the 4,000 rows it can take.
  Bar: a tenth of the memory of one 50,000 x 50,000 matrix in float32.
- nearest: 10 neighbours of 2,000 queries among 100,000 keys, against scikit-learn's brute force.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_timing import Case, Cases, difference, main
from rlstitch.latent import couple, linear_cka, nearest

Float = NDArray[np.float32]


def normal(n: int, d: int, seed: int) -> Float:
    """Standard normal samples (n, d)."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def coupled(tiny: bool) -> tuple[Float, Float, Float, Float, int]:
    """Pairs of two spaces, queries of one and candidates of the other, and how many similarities are kept."""
    pairs, width, count, k = (2000, 32, 50, 50) if tiny else (100_000, 512, 1000, 800)
    hidden, rest = normal(pairs, 16, 0), normal(count, 16, 1)
    maps = normal(16, width, 2), normal(16, width, 3)
    return hidden @ maps[0], hidden @ maps[1], rest @ maps[0], rest @ maps[1], k


def dense_description(samples: Float, anchors: Float, k: int) -> Float:
    """The description as a full (n, N) matrix, in one piece."""
    samples, anchors = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (samples, anchors))
    cosine = samples @ anchors.T
    threshold = -np.partition(-cosine, k - 1, axis=1)[:, k - 1 : k]
    kept: Float = np.where(cosine >= threshold, np.maximum(cosine, 0), 0).astype(np.float32) ** 8
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)


def asif(tiny: bool) -> Case:
    """From embeddings to scores."""
    x, y, queries, candidates, k = coupled(tiny)
    return Case(
        lambda: couple(x, y, k=k).scores(queries, candidates),
        lambda: dense_description(queries, x, k) @ dense_description(candidates, y, k).T,
        "ASIF, 100,000 pairs × 512, 1,000 queries, 1,000 candidates",
        "dense descriptions",
        None,
        memory_mib=4096,
        quality=difference,
    )


def asif_product(tiny: bool) -> Case:
    """The product of descriptions alone."""
    x, y, queries, candidates, k = coupled(tiny)
    coupling = couple(x, y, k=k)
    sparse = coupling.describe_x(queries), coupling.describe_y(candidates)
    dense = dense_description(queries, x, k), dense_description(candidates, y, k)
    return Case(
        lambda: coupling.scores(*sparse),
        lambda: dense[0] @ dense[1].T,
        "its product of descriptions",
        "dense product",
        1 / 3,
        quality=difference,
    )


def related(n: int, width: int) -> tuple[Float, Float]:
    """Two spaces that share a part of their structure."""
    hidden = normal(n, width // 4, 0)
    return (
        hidden @ normal(width // 4, width, 1) + 4 * normal(n, width, 2),
        hidden @ normal(width // 4, width, 3) + 4 * normal(n, width, 4),
    )


def cka(tiny: bool) -> Case:
    """Linear CKA of all rows, both estimates; the textbook way on as many rows as its n x n matrices allow."""
    n, rows, width = (500, 200, 32) if tiny else (50_000, 4000, 512)
    x, y = related(n, width)
    few = x[:rows], y[:rows]

    def ours(x: Float = x, y: Float = y) -> Any:
        return np.array([linear_cka(x, y), linear_cka(x, y, debiased=True)])

    def gram_way() -> Any:
        x, y = few
        k, m = (np.asarray(s, dtype=np.float64) @ s.T for s in (x, y))
        n = len(k)
        centred = [g - g.mean(0) - g.mean(1, keepdims=True) + g.mean() for g in (k, m)]
        biased = (centred[0] * centred[1]).sum() / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1])
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)

        def hsic(a: Any, b: Any) -> float:
            sums = a.sum(1), b.sum(1)
            inner = (a * b).sum() - 2 / (n - 2) * sums[0] @ sums[1]
            return float(inner + sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2)))

        return np.array([biased, hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))])

    def quality(ours_found: Any, peer: Any) -> dict[str, float]:
        return {"largest difference on the same 4,000 rows": float(np.abs(ours(*few) - peer).max())}

    return Case(
        ours,
        gram_way,
        "linear CKA and its debiased form, 50,000 × 512",
        "Gram matrices of 4,000 rows only",
        None,
        memory_mib=50_000**2 * 4 / 2**20 / 10,
        quality=quality,
    )


def exact_neighbours(tiny: bool) -> Case:
    """Exact neighbours in blocks, against scikit-learn's brute force."""
    from sklearn.neighbors import NearestNeighbors

    queries, keys = (normal(50, 16, 0), normal(500, 16, 1)) if tiny else (normal(2000, 256, 0), normal(100_000, 256, 1))
    index = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(keys)

    def quality(ours: Any, peer: Any) -> dict[str, float]:
        return {"equal neighbours": float((np.sort(ours) == np.sort(peer)).mean())}

    return Case(
        lambda: nearest(queries, keys, 10).indices,
        lambda: index.kneighbors(queries, return_distance=False),
        "10 neighbours of 2,000 among 100,000 × 256",
        "scikit-learn, brute force",
        quality=quality,
    )


CASES: Cases = {"asif": asif, "asif-product": asif_product, "cka": cka, "nearest": exact_neighbours}

if __name__ == "__main__":
    main(CASES, __doc__)
