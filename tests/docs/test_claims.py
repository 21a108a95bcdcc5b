"""What the pages say of invariance, where the tests of the methods have no table of their own.

Orthogonal maps, Scale, Translation, invertible Linear maps are done to x; a method gives the same numbers, or others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rlstitch.latent as latent

Floats = NDArray[np.float64]
N, D = 60, 5


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape or (N, D))


X = normal(0) * np.linspace(2, 0.5, D) + 0.5
Y = X @ np.linalg.qr(normal(1, D, D))[0] + 0.3 * normal(2)
ANCHORS = np.arange(0, N, 3)
SEEDS = np.stack([np.arange(8), np.arange(8)], axis=1)
CHANGES: dict[str, Callable[[Floats], Floats]] = {
    "O": lambda x: x @ np.linalg.qr(normal(3, D, D))[0],
    "S": lambda x: 3.7 * x,
    "T": lambda x: x + 3 * normal(4, D),
    "L": lambda x: x @ (normal(5, D, D) + np.diag(np.arange(D))),
}


def charts(x: Floats) -> Any:
    return latent.merge_charts([latent.Chart(range(N), x, x[ANCHORS]), latent.Chart(range(9), Y[:9], Y[ANCHORS])])


def spectrum(x: Floats, metric: Any) -> Floats:
    return latent.laplacian_eigenbasis(x, 10, neighbours=8, metric=metric).values


def proxy(x: Floats, normalization: str) -> float:
    return latent.reference_similarity(x, Y, ANCHORS, normalization=normalization)


# Each is a function of x alone; y stays as it is.
CLAIMS: dict[str, tuple[Callable[[Floats], Any], str]] = {
    "normalization: center": (lambda x: latent.fit_centering(x)(x), "T"),
    "normalization: standardize": (lambda x: latent.fit_standardization(x)(x), "ST"),
    "normalization: mean_norm": (lambda x: latent.fit_mean_norm(x)(x), "S"),
    "normalization: isotropic": (lambda x: latent.fit_isotropic(x)(x), "ST"),
    "normalization: whiten": (lambda x: latent.fit_whitening(x, shrinkage=0)(x), "ST"),
    "normalization: whiten, up to a rotation": (lambda x: gram(latent.fit_whitening(x, shrinkage=0)(x)), "OSTL"),
    "normalization: shrunk, up to a rotation": (lambda x: gram(latent.fit_whitening(x)(x)), "OST"),
    "anchors: random": (lambda x: latent.choose_random(x, 10), "OSTL"),
    "anchors: farthest": (lambda x: latent.choose_farthest(x, 10), "OST"),
    "anchors: farthest_cosine": (lambda x: latent.choose_farthest(x, 10, metric="cosine"), "OS"),
    "anchors: kmedoids": (lambda x: latent.choose_kmedoids(x, 4), "OST"),
    "products: concat": (
        lambda x: latent.aggregate_concat(latent.project_product(x, x[ANCHORS], ["cosine", "euclidean"])),
        "O",
    ),
    "inverse projection": (lambda x: latent.fit_inverse_projection(x[ANCHORS], Y[ANCHORS])(x), "OST"),
    "bootstrap": (lambda x: latent.bootstrap_anchors(x, Y, SEEDS, 30).match_confidence, "OST"),
    "bootstrap, not centred": (
        lambda x: latent.bootstrap_anchors(x, Y, SEEDS, 30, center=False).match_confidence,
        "OS",
    ),
    "no pairs": (
        lambda x: latent.match_gromov_wasserstein(x[::3], Y[::3], iterations=20, surrogates=0).confidence,
        "OST",
    ),
    "functional maps, cosine": (lambda x: spectrum(x, "cosine"), "OS"),
    "functional maps, euclidean": (lambda x: spectrum(x, "euclidean"), "OST"),
    "ASIF": (lambda x: latent.couple(x[ANCHORS], Y[ANCHORS], k=8).scores(x, Y), "OS"),
    "merging": (lambda x: charts(x).vectors, "OS"),
    "universal": (lambda x: latent.fit_universal([Y, x, X]).losses[-1], "OT"),
    "universal, scaled": (lambda x: latent.fit_universal([Y, x, X], scale=True).losses[-1], "OST"),
    "retrieval: cosine": (lambda x: latent.match_ranks(x, Y), "S"),
    "retrieval: dot": (lambda x: latent.match_ranks(x, Y, metric="dot"), "S"),
    "retrieval: csls": (lambda x: latent.csls(x, Y, 5).scores, "S"),
    "evaluation": (lambda x: proxy(x, "identity"), "OS"),
    "evaluation, centred": (lambda x: proxy(x, "center"), "OST"),
    "similarity: pwcca, done to y": (lambda x: latent.pwcca(Y, x), "OSTL"),
    **{
        f"translation: {method}": (lambda x, m=method: latent.fit(m, x, Y)(x), "T")
        for method in ("affine", "low_rank", "pls", "cca", "orthogonal")
    },
}
# Both sides alike.
RANKS = {"cosine": "OS", "dot": "OS", "euclidean": "OST"}


def gram(x: Floats) -> Floats:
    return x @ x.T


@functools.cache
def unchanged(name: str) -> Any:
    """What a method gives for x as it is."""
    return CLAIMS[name][0](X)


@pytest.mark.parametrize("letter", CHANGES)
@pytest.mark.parametrize("name", CLAIMS)
def test_invariance(name: str, letter: str) -> None:
    if name.startswith(("bootstrap", "no pairs")):
        pytest.importorskip("ot")
    method, blind = CLAIMS[name]
    before, after = unchanged(name), method(CHANGES[letter](X))
    # A translation with a bias undoes a shift; some undo more.
    if letter in blind:
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    elif not name.startswith("translation"):
        assert not np.allclose(after, before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("letter", CHANGES)
@pytest.mark.parametrize("metric", RANKS)
def test_ranks_where_both_sides_change_alike(metric: Any, letter: str) -> None:
    before = latent.match_ranks(X, Y, metric=metric)
    after = latent.match_ranks(CHANGES[letter](X), CHANGES[letter](Y), metric=metric)
    assert (after == before).all() == (letter in RANKS[metric])


def test_shared_functions_are_carried_over_whatever_the_order() -> None:
    order = normal(6, N).argsort()
    basis, shuffled = (latent.laplacian_eigenbasis(s, 10, neighbours=8, metric="euclidean") for s in (X, X[order]))
    np.testing.assert_allclose(basis.values, shuffled.values, atol=1e-9)


def test_linear_and_ridge_do_not_undo_a_shift() -> None:
    for method in ("linear", "ridge"):
        before, after = latent.fit(method, X, Y)(X), latent.fit(method, X, Y + 9)(X) - 9
        assert not np.allclose(before, after, atol=0.1)
