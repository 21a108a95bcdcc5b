"""Speed and memory of the latent core, each method beside its peer in the same run.

    python benchmarks/latent_core.py [--tiny] [--only NAME ...] [--repeats 5] [--json FILE]

Ours and the peer take turns on the same data in one process with the same number of threads; the figure is the median
of the repeats. Peak memory is that of a fresh process, above what the data takes. A bar says what is asked of `ours /
peer`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import rlstitch.latent as latent

Call = Callable[[], Any]


@dataclass
class Case:
    """Two calls on the same data; `bar` is the most that ours / peer may be; `quality` compares the results."""

    ours: Call
    peer: Call
    peer_name: str
    bar: float
    quality: Callable[[Any, Any], dict[str, float]] = field(default=lambda ours, peer: {})


def data(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Standard normal samples (n, d), float32."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def difference(ours: Any, peer: Any) -> dict[str, float]:
    """How far two results lie apart."""
    return {"largest difference": float(np.abs(np.asarray(ours) - np.asarray(peer)).max())}


def cosine(tiny: bool) -> Case:
    """Cosine of many samples on many anchors."""
    from sklearn.metrics.pairwise import cosine_similarity

    x, anchors = (data(2000, 64, 0), data(32, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    return Case(
        lambda: latent.project_cosine(x, anchors),
        lambda: cosine_similarity(x, anchors),
        "sklearn cosine_similarity",
        1.0,
        difference,
    )


def cosine_streamed(tiny: bool) -> Case:
    """The same in batches, for its memory."""
    from sklearn.metrics.pairwise import cosine_similarity

    x, anchors = (data(2000, 64, 0), data(32, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    return Case(
        lambda: drain(latent.project_stream(x, anchors)),
        lambda: cosine_similarity(x, anchors),
        "sklearn cosine_similarity",
        1.0,
    )


def drain(stream: Any) -> float:
    """Use up a stream, as a writer would, and keep nothing."""
    return sum(float(part[-1, -1]) for part in stream)


def l1(tiny: bool) -> Case:
    """L1 distances."""
    x, anchors = (data(500, 64, 0), data(32, 64, 1)) if tiny else (data(20_000, 768, 0), data(1024, 768, 1))
    a, b = torch.from_numpy(x), torch.from_numpy(anchors)
    return Case(lambda: latent.project_l1(a, b), lambda: torch.cdist(a, b, p=1), "torch.cdist", 1.0, difference)


def mahalanobis(tiny: bool) -> Case:
    """Mahalanobis distances, once the anchors are prepared."""
    x, anchors = (data(2000, 64, 0), data(128, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    # Fitted once outside, as the covariance of the anchors is: the bar is on the projection of many samples.
    ours, peer = latent.projector(anchors, "mahalanobis"), latent.projector(anchors, "cosine")
    ours(x[:2]), peer(x[:2])
    return Case(lambda: ours(x), lambda: peer(x), "our cosine", 1.5)


def geodesic(tiny: bool) -> Case:
    """Shortest ways on one graph of nearest neighbours."""
    from scipy.sparse.csgraph import dijkstra

    from rlstitch.latent.projection_graph import anchor_distances, neighbour_graph

    points, k = (data(300, 8, 0), 16) if tiny else (data(5000, 32, 0), 512)
    graph = neighbour_graph(points.astype(np.float64), 10)

    def peer() -> Any:
        return dijkstra(graph, directed=False, indices=np.arange(k)).T

    return Case(lambda: anchor_distances(graph, k), peer, "scipy dijkstra, same graph", 1.0, difference)


def held_out(translation: Any, predict: Callable[[Any], Any], x: Any, y: Any) -> dict[str, float]:
    """Residuals on pairs that no fit has seen."""
    theirs = float(np.sqrt(np.square(predict(x) - y).sum(1).mean()))
    return {"held-out residual": latent.evaluate_translation(translation, x, y).residual, "peer's": theirs}


def regression(tiny: bool) -> tuple[Any, Any, Any, Any]:
    """Pairs with a planted affine map and noise: x, y and the same held out."""
    n, d = (300, 32) if tiny else (3000, 512)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((d, d)) / np.sqrt(d)
    x, test = rng.standard_normal((n, d)), rng.standard_normal((1000, d))
    noisy = [v @ matrix + 0.3 * rng.standard_normal((len(v), d)) + 1 for v in (x, test)]
    x, y, test, target = (v.astype(np.float32) for v in (x, noisy[0], test, noisy[1]))
    return x, y, test, target


def affine_lstsq(tiny: bool) -> Case:
    """An affine fit with cross-validated ridge, beside least squares."""
    x, y, test, target = regression(tiny)

    def peer() -> Any:
        return np.linalg.lstsq(np.c_[x, np.ones(len(x), x.dtype)].astype(np.float64), y, rcond=None)[0]

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, lambda v: v @ theirs[:-1] + theirs[-1], test, target)

    return Case(lambda: latent.fit_affine(x, y), peer, "numpy lstsq", 1.0, quality)


def affine_ridge(tiny: bool) -> Case:
    """An affine fit with a given ridge."""
    from sklearn.linear_model import Ridge

    x, y, test, target = regression(tiny)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, theirs.predict, test, target)

    peer = Ridge(alpha=1.0)
    return Case(lambda: latent.fit_affine(x, y, ridge=1.0), lambda: peer.fit(x, y), "sklearn Ridge", 1.0, quality)


def affine_ridge_cv(tiny: bool) -> Case:
    """An affine fit with cross-validated ridge, beside the same of scikit-learn."""
    from sklearn.linear_model import RidgeCV

    x, y, test, target = regression(tiny)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, theirs.predict, test, target)

    peer = RidgeCV(alphas=np.logspace(-4, 4, 9))
    return Case(lambda: latent.fit_affine(x, y), lambda: peer.fit(x, y), "sklearn RidgeCV, 9 strengths", 1.0, quality)


def procrustes(tiny: bool) -> Case:
    """The orthogonal fit."""
    from scipy.linalg import orthogonal_procrustes

    n, d = (300, 32) if tiny else (3000, 512)
    x = data(n, d, 0)
    y = x @ np.linalg.qr(data(d, d, 1))[0] + np.float32(0.1) * data(n, d, 2)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return difference(ours.matrix, theirs[0])

    return Case(
        lambda: latent.fit_orthogonal(x, y, center=False),
        lambda: orthogonal_procrustes(x, y),
        "scipy orthogonal_procrustes",
        1.0,
        quality,
    )


def farthest(tiny: bool) -> Case:
    """Farthest-point sampling."""
    (n, d, k) = (1000, 16, 20) if tiny else (100_000, 256, 1000)
    points = data(n, d, 0)

    def textbook() -> Any:
        chosen = [int(latent.choose_random(points, 1, 0)[0])]
        nearest = np.full(n, np.inf)
        # The full loop takes many minutes: the first tenth of the steps tells.
        for _ in range(max(1, k // 10) - 1):
            nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
            chosen.append(int(nearest.argmax()))
        return np.array(chosen)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return {"equal choices": float((ours[: len(theirs)] == theirs).mean())}

    # Ours takes ten times the steps, so a fifth of the textbook's time a step is a ratio of 2.
    return Case(lambda: latent.choose_farthest(points, k, seed=0), textbook, "NumPy loop, a tenth of it", 2.0, quality)


CASES: dict[str, Callable[[bool], Case]] = {
    "cosine": cosine,
    "cosine_streamed": cosine_streamed,
    "l1": l1,
    "mahalanobis": mahalanobis,
    "geodesic": geodesic,
    "affine_lstsq": affine_lstsq,
    "affine_ridge": affine_ridge,
    "affine_ridge_cv": affine_ridge_cv,
    "procrustes": procrustes,
    "farthest": farthest,
}
MEMORY = {"cosine_streamed": 0.25}


@dataclass
class Row:
    """One line of the table."""

    name: str
    peer: str
    ours_s: float
    peer_s: float
    ratio: float
    bar: float
    ok: bool
    quality: dict[str, float]


def measure(name: str, tiny: bool, repeats: int) -> Row:
    """Run one case."""
    case = CASES[name](tiny)
    results = case.ours(), case.peer()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, taken in zip((case.ours, case.peer), times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    ours, peer = statistics.median(times[0]), statistics.median(times[1])
    return Row(name, case.peer_name, ours, peer, ours / peer, case.bar, ours <= case.bar * peer, case.quality(*results))


def peak_mib(name: str, role: str, tiny: bool) -> float:
    """Peak memory of one call above what was there before, in a fresh process."""
    command = [sys.executable, __file__, "--peak", name, role, *(["--tiny"] if tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_peak(name: str, role: str, tiny: bool) -> None:
    """What the fresh process of `peak_mib` does."""
    case = CASES[name](tiny)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case.ours() if role == "ours" else case.peer()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small data: shows that it runs, says nothing of speed")
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak, arguments.tiny)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), median of {arguments.repeats}")
    print(f"{'case':<18}{'ours s':>10}{'peer s':>10}{'ratio':>8}{'bar':>6}  peer")
    rows: list[dict[str, Any]] = []
    for name in arguments.only:
        row = measure(name, arguments.tiny, arguments.repeats)
        rows.append(asdict(row))
        told = "; ".join(f"{key} {value:.4g}" for key, value in row.quality.items())
        mark = "" if row.ok or arguments.tiny else "  ABOVE THE BAR"
        figures = f"{name:<18}{row.ours_s:>10.4f}{row.peer_s:>10.4f}{row.ratio:>8.2f}{row.bar:>6}"
        print(f"{figures}  {row.peer}; {told}{mark}")
        if name in MEMORY:
            ours, peer = (peak_mib(name, role, arguments.tiny) for role in ("ours", "peer"))
            rows[-1] |= {"ours_mib": ours, "peer_mib": peer, "memory_bar": MEMORY[name]}
            print(f"{'':<18}peak memory {ours:.1f} MiB, peer {peer:.1f} MiB, at most {MEMORY[name]} of it")
    if arguments.json:
        arguments.json.write_text(json.dumps({"tiny": arguments.tiny, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
