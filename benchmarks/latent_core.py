"""Speed and memory of projections, translations and anchors, each beside its peer or the obvious way in the same run.

    python benchmarks/latent_core.py [--tiny] [--only NAME ...] [--seconds 15] [--out docs/results]

See `latent_timing.py` for how it is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import rlstitch.latent as latent
from latent_timing import Case, Cases, difference, main


def data(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Standard normal samples (n, d), float32."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def cosine(tiny: bool) -> Case:
    """Cosine of many samples on many anchors."""
    from sklearn.metrics.pairwise import cosine_similarity

    x, anchors = (data(2000, 64, 0), data(32, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    return Case(
        lambda: latent.project_cosine(x, anchors),
        lambda: cosine_similarity(x, anchors),
        "cosine, 100,000 × 768 on 1,024 anchors",
        "scikit-learn's `cosine_similarity`",
        quality=difference,
    )


def cosine_streamed(tiny: bool) -> Case:
    """The same in batches, for its memory."""
    from sklearn.metrics.pairwise import cosine_similarity

    x, anchors = (data(2000, 64, 0), data(32, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    return Case(
        lambda: drain(latent.project_stream(x, anchors)),
        lambda: cosine_similarity(x, anchors),
        "the same, streamed",
        "scikit-learn's `cosine_similarity`",
        memory_share=0.25,
    )


def drain(stream: Any) -> float:
    """Use up a stream, as a writer would, and keep nothing."""
    return sum(float(part[-1, -1]) for part in stream)


def l1(tiny: bool) -> Case:
    """L1 distances."""
    x, anchors = (data(500, 64, 0), data(32, 64, 1)) if tiny else (data(20_000, 768, 0), data(1024, 768, 1))
    a, b = torch.from_numpy(x), torch.from_numpy(anchors)
    return Case(
        lambda: latent.project_l1(a, b),
        lambda: torch.cdist(a, b, p=1),
        "L1, 20,000 × 768 on 1,024 anchors",
        "`torch.cdist`",
        quality=difference,
    )


def mahalanobis(tiny: bool) -> Case:
    """Mahalanobis distances, once the anchors are prepared."""
    x, anchors = (data(2000, 64, 0), data(128, 64, 1)) if tiny else (data(100_000, 768, 0), data(1024, 768, 1))
    # Fitted once outside, as the covariance of the anchors is: the bar is on the projection of many samples.
    ours, peer = latent.projector(anchors, "mahalanobis"), latent.projector(anchors, "cosine")
    ours(x[:2]), peer(x[:2])
    return Case(lambda: ours(x), lambda: peer(x), "Mahalanobis, 100,000 × 768 on 1,024 anchors", "our cosine", 1.5)


def geodesic(tiny: bool) -> Case:
    """Shortest ways on one graph of nearest neighbours."""
    from scipy.sparse.csgraph import dijkstra

    from rlstitch.latent.projection.similarities import anchor_distances, neighbour_graph

    points, k = (data(300, 8, 0), 16) if tiny else (data(5000, 32, 0), 512)
    graph = neighbour_graph(points.astype(np.float64), 10)

    def peer() -> Any:
        return dijkstra(graph, directed=False, indices=np.arange(k)).T

    return Case(
        lambda: anchor_distances(graph, k),
        peer,
        "geodesic, 5,000 points, 512 anchors",
        "SciPy's `dijkstra`, same graph",
        quality=difference,
    )


def held_out(translation: Any, predict: Callable[[Any], Any], x: Any, y: Any) -> dict[str, float]:
    """Residuals on pairs that no fit has seen."""
    theirs = float(np.sqrt(np.square(predict(x) - y).sum(1).mean()))
    return {"held-out residual": latent.evaluate_translation(translation, x, y).residual, "the peer's": theirs}


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

    return Case(
        lambda: latent.fit_affine(x, y),
        peer,
        "affine, strength by cross-validation, 3,000 pairs × 512",
        "`numpy.linalg.lstsq`",
        quality=quality,
    )


def affine_ridge(tiny: bool) -> Case:
    """An affine fit with a given ridge."""
    from sklearn.linear_model import Ridge

    x, y, test, target = regression(tiny)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, theirs.predict, test, target)

    peer = Ridge(alpha=1.0)
    return Case(
        lambda: latent.fit_affine(x, y, ridge=1.0),
        lambda: peer.fit(x, y),
        "affine, given strength",
        "scikit-learn's `Ridge`",
        quality=quality,
    )


def affine_ridge_cv(tiny: bool) -> Case:
    """An affine fit with cross-validated ridge, beside the same of scikit-learn."""
    from sklearn.linear_model import RidgeCV

    x, y, test, target = regression(tiny)

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, theirs.predict, test, target)

    peer = RidgeCV(alphas=np.logspace(-4, 4, 9))
    return Case(
        lambda: latent.fit_affine(x, y),
        lambda: peer.fit(x, y),
        "affine, strength by cross-validation, 37 tried",
        "scikit-learn's `RidgeCV`, 9 tried",
        quality=quality,
    )


def affine_steps(tiny: bool) -> Case:
    """An affine fit beside gradient steps, as latentis 0.0.8 takes them for its affine map; for the record."""
    x, y, test, target = regression(tiny)
    source, goal = torch.from_numpy(x), torch.from_numpy(y)

    def peer() -> Any:
        torch.manual_seed(0)
        layer = torch.nn.Linear(x.shape[1], y.shape[1])
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        for _ in range(300):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(layer(source), goal).backward()
            optimizer.step()
        return layer

    def quality(ours: Any, theirs: Any) -> dict[str, float]:
        return held_out(ours, lambda v: theirs(torch.from_numpy(v)).detach().numpy(), test, target)

    return Case(
        lambda: latent.fit_affine(x, y),
        peer,
        "affine, strength by cross-validation",
        "300 Adam steps (latentis 0.0.8's way)",
        None,
        quality=quality,
    )


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
        "orthogonal, 3,000 pairs × 512",
        "SciPy's `orthogonal_procrustes`",
        quality=quality,
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

    return Case(
        lambda: latent.choose_farthest(points, k, seed=0),
        textbook,
        "farthest 1,000 of 100,000 × 256",
        "textbook NumPy loop, a tenth of it × 10",
        0.2,
        scale=10.0,
        quality=quality,
    )


CASES: Cases = {
    "cosine": cosine,
    "cosine_streamed": cosine_streamed,
    "l1": l1,
    "mahalanobis": mahalanobis,
    "geodesic": geodesic,
    "affine_lstsq": affine_lstsq,
    "affine_ridge": affine_ridge,
    "affine_ridge_cv": affine_ridge_cv,
    "affine_steps": affine_steps,
    "procrustes": procrustes,
    "farthest": farthest,
}


if __name__ == "__main__":
    main(CASES, __doc__)
