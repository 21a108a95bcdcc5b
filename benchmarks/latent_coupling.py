"""Time and peak memory of ASIF, CKA and exact retrieval, each beside the obvious way in the same run.

    python benchmarks/latent_coupling.py [--tiny] [--only NAME ...] [--repeats 3] [--json FILE]

Every side of every case runs in a process of its own, on the same data and with the same number of threads; the figures
are the median time of the repeats, the peak memory above what the data takes, and how far the two results lie apart.
(In float32 the k-th and the next similarity can change places: differences near 1e-4 in ASIF scores come from there.)

- asif-product: scores of 1,000 queries and 1,000 candidates whose similarities to 100,000 pairs are known: sparse
  descriptions against the dense product. Bar: a third of the time.
- asif: the same from the embeddings on. Bar: 4 GiB.
- cka: two spaces of 50,000 x 512; the peer is the textbook way with Gram matrices, on the 4,000 rows it can take.
- nearest: 10 neighbours of 2,000 queries among 100,000 keys, against scikit-learn's brute force.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.latent import couple, linear_cka, nearest

Float = NDArray[np.float32]
# What a side of a case does on its data: preparation outside the clock, then the call that is measured.
Side = Callable[[bool], Callable[[], Any]]


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


def asif_ours(tiny: bool) -> Callable[[], Any]:
    """From embeddings to scores, sparse."""
    x, y, queries, candidates, k = coupled(tiny)
    return lambda: couple(x, y, k=k).scores(queries, candidates)


def asif_peer(tiny: bool) -> Callable[[], Any]:
    """From embeddings to scores, dense."""
    x, y, queries, candidates, k = coupled(tiny)
    return lambda: dense_description(queries, x, k) @ dense_description(candidates, y, k).T


def product_ours(tiny: bool) -> Callable[[], Any]:
    """Product of sparse descriptions."""
    x, y, queries, candidates, k = coupled(tiny)
    coupling = couple(x, y, k=k)
    described = coupling.describe_x(queries), coupling.describe_y(candidates)
    return lambda: coupling.scores(*described)


def product_peer(tiny: bool) -> Callable[[], Any]:
    """Product of dense descriptions."""
    x, y, queries, candidates, k = coupled(tiny)
    described = dense_description(queries, x, k), dense_description(candidates, y, k)
    return lambda: described[0] @ described[1].T


def related(n: int, width: int) -> tuple[Float, Float]:
    """Two spaces that share a part of their structure."""
    hidden = normal(n, width // 4, 0)
    return (
        hidden @ normal(width // 4, width, 1) + 4 * normal(n, width, 2),
        hidden @ normal(width // 4, width, 3) + 4 * normal(n, width, 4),
    )


def cka_ours(tiny: bool) -> Callable[[], Any]:
    """Linear CKA of all rows, both estimates."""
    x, y = related(500, 32) if tiny else related(50_000, 512)
    return lambda: np.array([linear_cka(x, y), linear_cka(x, y, debiased=True)])


def cka_peer(tiny: bool) -> Callable[[], Any]:
    """The textbook way, on as many rows as its n x n matrices allow."""
    x, y = related(200, 32) if tiny else related(4000, 512)

    def gram_way() -> Any:
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

    return gram_way


def nearest_ours(tiny: bool) -> Callable[[], Any]:
    """Exact neighbours in blocks."""
    queries, keys = (normal(50, 16, 0), normal(500, 16, 1)) if tiny else (normal(2000, 256, 0), normal(100_000, 256, 1))
    return lambda: nearest(queries, keys, 10).indices


def nearest_peer(tiny: bool) -> Callable[[], Any]:
    """scikit-learn's brute force."""
    from sklearn.neighbors import NearestNeighbors

    queries, keys = (normal(50, 16, 0), normal(500, 16, 1)) if tiny else (normal(2000, 256, 0), normal(100_000, 256, 1))
    index = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(keys)
    return lambda: index.kneighbors(queries, return_distance=False)


CASES: dict[str, tuple[Side, Side]] = {
    "asif-product": (product_ours, product_peer),
    "asif": (asif_ours, asif_peer),
    "cka": (cka_ours, cka_peer),
    "nearest": (nearest_ours, nearest_peer),
}


def run_side(name: str, role: str, tiny: bool, repeats: int, out: Path) -> None:
    """What each process does: the median seconds and the peak memory in MiB to stdout, the result to a file."""
    call = CASES[name][role == "peer"](tiny)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        taken.append(time.perf_counter() - start)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    np.save(out, np.asarray(result))
    print(json.dumps({"seconds": statistics.median(taken), "peak_mib": peak, "with_data_mib": before / 1024 + peak}))


def measure(name: str, tiny: bool, repeats: int, folder: Path) -> dict[str, Any]:
    """Both sides of a case."""
    row: dict[str, Any] = {"case": name}
    results = []
    for role in ("ours", "peer"):
        out = folder / f"{name}-{role}.npy"
        command = [sys.executable, __file__, "--side", name, role, str(out), "--repeats", str(repeats)]
        done = subprocess.run([*command, *(["--tiny"] if tiny else [])], capture_output=True, text=True, check=True)
        row |= {f"{role}_{key}": value for key, value in json.loads(done.stdout).items()}
        results.append(np.load(out))
    row["speedup"] = row["peer_seconds"] / row["ours_seconds"]
    row["largest_difference"] = float(np.abs(results[0] - results[1]).max())
    return row


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small data: shows that it runs, says nothing of speed")
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        name, role, out = arguments.side
        run_side(name, role, arguments.tiny, arguments.repeats, Path(out))
        return
    import tempfile

    about = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "repeats": arguments.repeats,
        "tiny": arguments.tiny,
    }
    print(about)
    print(f"{'case':<14}{'ours s':>9}{'peer s':>9}{'speedup':>9}{'ours MiB':>10}{'peer MiB':>10}  largest difference")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            row = measure(name, arguments.tiny, arguments.repeats, Path(folder))
            rows.append(row)
            print(
                f"{name:<14}{row['ours_seconds']:>9.3f}{row['peer_seconds']:>9.3f}{row['speedup']:>9.2f}"
                f"{row['ours_peak_mib']:>10.0f}{row['peer_peak_mib']:>10.0f}  {row['largest_difference']:.2g}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
