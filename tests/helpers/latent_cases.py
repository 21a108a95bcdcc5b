"""What every public function of the latent core does with the same small spaces: the list that the laws run over.

A case is found by the public name that it calls: `test_laws.py` fails where a name of `rlstitch.latent` has none, and
the names of methods come from the registries, so that a new one is under the laws as soon as it is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import nn

import rlstitch.latent as latent
from rlstitch.latent.translation.registry import METHODS


@dataclass(frozen=True)
class Spaces:
    """Paired samples x, y (n, d) and parallel anchors a, b (k, d) of the same two spaces."""

    x: Any
    y: Any
    a: Any
    b: Any

    def map(self, function: Callable[[Any], Any]) -> Spaces:
        return Spaces(*(function(part) for part in (self.x, self.y, self.a, self.b)))


def spaces(n: int = 16, k: int = 9, d: int = 4, seed: int = 0) -> Spaces:
    """y is x turned, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + k, d)) * np.linspace(2, 0.5, d) + 0.4
    y = x @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 0.2 * rng.normal(size=(n + k, d)) - 0.3
    return Spaces(x[:n].copy(), y[:n].copy(), x[n:].copy(), y[n:].copy())


@dataclass(frozen=True)
class Case:
    """One call.

    `order` says what shuffling the rows of x and y together does to the result: "rows" shuffles its rows, "same"
    nothing, "choice" (row numbers) names the same rows, "" is left to the tests of the function, as the result hangs
    on a seed or on row numbers that are given. `alone`: the row of a result is that of its sample alone.
    `reads`: the arrays in which NaN must be refused. `tensors`: takes tensors only.
    `plain`: the result is of Python numbers, or of one kind whatever comes in.
    """

    call: Callable[[Spaces], Any]
    reads: str = "xa"
    order: str = "rows"
    alone: bool = False
    tensors: bool = False
    plain: bool = False
    extra: str = ""


def rowwise(call: Callable[[Spaces], Any], reads: str = "xa", **options: Any) -> Case:
    return Case(call, reads, alone=True, **options)


def measure(call: Callable[[Any, Any], float]) -> Case:
    return Case(lambda s: call(s.x, s.y), "xy", "same", plain=True)


def parameters(module: nn.Module, like: Any) -> nn.Module:
    """A module of the width of a tensor, with weights that are always the same, of its dtype and device."""
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.copy_((torch.arange(weight.numel()) + number).cos().reshape(weight.shape) / 2)
    return module.to(like)


def blocks(s: Spaces) -> list[Any]:
    return latent.project_product(s.x, s.a, ["cosine", "euclidean"])


def aggregated(make: Callable[[int], nn.Module]) -> Case:
    return rowwise(lambda s: parameters(make(len(s.a)), s.x)(blocks(s)).detach(), tensors=True)


def basis(x: Any) -> Any:
    return latent.laplacian_eigenbasis(x, min(4, len(x)), neighbours=min(6, max(1, len(x) - 1)))


def functional(s: Spaces) -> Any:
    descriptors = (latent.project_cosine(s.x, s.a), latent.project_cosine(s.y, s.b))
    return latent.fit_functional_map(basis(s.x), basis(s.y), *descriptors)


def seeds(s: Spaces) -> Any:
    return np.stack([np.arange(4), np.arange(4)], axis=1)[: len(s.x)]


def stream(s: Spaces, **options: Any) -> Any:
    parts = list(latent.project_stream(s.x, s.a, batch_size=5, **options))
    return parts and (torch.cat(parts) if isinstance(s.x, torch.Tensor) else np.concatenate(parts))


def into(s: Spaces) -> Any:
    empty = s.x.new_empty if isinstance(s.x, torch.Tensor) else lambda shape: np.empty(shape, s.x.dtype)
    return latent.project_into(empty((len(s.x), len(s.a))), s.x, s.a, batch_size=5)


def rows_of(space: Any) -> Any:
    return space.vectors, list(space.keys)


def named(vectors: Any) -> Any:
    return latent.LatentSpace(vectors, tuple(f"sample {row}" for row in range(len(vectors))))


def stitched(s: Spaces) -> Any:
    via = latent.fit_orthogonal(s.a, s.b)
    return latent.stitch(nn.Identity(), nn.Identity(), via, example=(s.x[:1],))(s.x)


# Functions that stand under a name in a registry: the cases go by the registry, and these are the same functions.
FITS = {
    method: function.__name__
    for method, function in METHODS.items()
    if function.__name__ in latent.__all__  # a new method needs no public name of its own
}
PROJECTIONS = {name: f"project_{name}" for name in latent.SIMILARITIES if f"project_{name}" in latent.__all__}
NORMALIZATIONS = {
    "identity": "fit_identity",
    "center": "fit_centering",
    "standardize": "fit_standardization",
    "mean_norm": "fit_mean_norm",
    "isotropic": "fit_isotropic",
    "whiten": "fit_whitening",
    "pca_whiten": "fit_whitening",
}
CHOICES = {
    "random": "choose_random",
    "farthest": "choose_farthest",
    "farthest_cosine": "choose_farthest",
    "kmedoids": "choose_kmedoids",
    "central": "choose_central",
}

CASES: dict[str, Case] = {
    **{f"project: {s}": rowwise(lambda d, s=s: latent.project(d.x, d.a, s)) for s in latent.SIMILARITIES},
    "project: a function of the user's": rowwise(
        lambda s: latent.project(s.x, s.a, lambda x, a: torch.exp(-torch.cdist(x, a)))
    ),
    "projector": rowwise(lambda s: latent.projector(s.a)(s.x)),
    "project_stream": Case(stream, order="rows", alone=True),
    "project_into": rowwise(into),
    "project_product": rowwise(lambda s: blocks(s)[1]),
    "aggregate_concat": rowwise(lambda s: latent.aggregate_concat(blocks(s))),
    "aggregate_sum": rowwise(lambda s: latent.aggregate_sum(blocks(s))),
    "WeightedSum": aggregated(lambda k: latent.WeightedSum(k, 2)),
    "MLPSum": aggregated(lambda k: latent.MLPSum([k, k], 3)),
    "AttentionAggregation": aggregated(lambda k: latent.AttentionAggregation(k, 2)),
    **{
        f"relative_projection: {n}": rowwise(lambda d, n=n: latent.relative_projection(d.x, d.a, normalization=n))
        for n in latent.NORMALIZATIONS
    },
    **{
        f"RelativeProjection: {s}": rowwise(
            lambda d, s=s: latent.RelativeProjection(d.a, similarity=s)(d.x), "a", tensors=True
        )
        for s in latent.SIMILARITIES
        if s != "geodesic"
    },
    # Normalisations
    "unit_norm": rowwise(lambda s: latent.unit_norm(s.x), "x"),
    **{
        f"fit_normalization: {n}": rowwise(lambda d, n=n: latent.fit_normalization(n, d.a)(d.x), "a")
        for n in latent.NORMALIZATIONS
    },
    "Normalization": rowwise(lambda s: (n := latent.fit_whitening(s.a)).inverse(n(s.x)), "a"),
    # Translations
    **{f"fit: {m}": rowwise(lambda d, m=m: latent.fit(m, d.a, d.b)(d.x), "ab") for m in latent.translation_methods()},
    "fit_robust: rank": rowwise(lambda s: latent.fit_robust(s.a, s.b, loss="rank")(s.x), "ab"),
    "Translation": rowwise(lambda s: (t := latent.fit_affine(s.a, s.b)).then(t.inverse())(s.x), "ab"),
    "evaluate_translation": Case(
        lambda s: latent.evaluate_translation(latent.fit_orthogonal(s.a, s.b), s.x, s.y), "xyab", "same", plain=True
    ),
    "screen_pairs": Case(lambda s: latent.screen_pairs(s.x, s.y), "xy", ""),  # folds are drawn by row number
    "stitch": rowwise(stitched, "ab", tensors=True),
    "Stitched": rowwise(lambda s: latent.Stitched(nn.Identity(), nn.Identity())(s.x), "", tensors=True),
    # Inverse relative projection
    "encode_relative": rowwise(lambda s: latent.encode_relative(s.x, s.a)),
    "decode_relative": rowwise(lambda s: latent.decode_relative(latent.encode_relative(s.x, s.a), s.b), "xab"),
    "fit_inverse_projection": rowwise(lambda s: latent.fit_inverse_projection(s.a, s.b)(s.x), "ab"),
    "fit_inverse_projection: spectrum": rowwise(
        lambda s: latent.fit_inverse_projection(s.a, s.b, pruning="spectrum")(s.x), "ab"
    ),
    "InverseProjection": rowwise(
        lambda s: latent.fit_inverse_projection(s.a, s.b, norm="mean", center=False)(s.x), "ab"
    ),
    "prune_anchors": Case(lambda s: latent.prune_anchors(s.x, len(s.x)), "x", ""),  # a random first row
    # Anchors
    **{
        # All but central begin with a random row, or with scikit-learn's random centres.
        f"choose_anchors: {m}": Case(
            lambda d, m=m: latent.choose_anchors(m, d.x, 3), "x", "choice" if m == "central" else ""
        )
        for m in latent.ANCHOR_METHODS
    },
    **{
        f"choose_farthest: {m}": Case(lambda d, m=m: latent.choose_farthest(d.x, 3, metric=m), "x", "")
        for m in ("abs_cosine", "l1")
    },
    "choose_ranked": Case(lambda s: latent.choose_ranked(s.x[:, 0], 3), "x", "choice"),
    "coverage": Case(lambda s: latent.coverage(s.x, s.a), "xa", "same", plain=True),
    # Spaces
    "LatentSpace": Case(lambda s: rows_of(named(s.x).pair(named(s.y))[1]), "xy", ""),
    "parallel_anchors": Case(
        lambda s: [rows_of(p) for p in latent.parallel_anchors([named(s.x), named(s.y)], 3)], "xy", ""
    ),
    # Similarity
    "linear_cka": measure(latent.linear_cka),
    "linear_cka: debiased": measure(lambda x, y: latent.linear_cka(x, y, debiased=True)),
    "rbf_cka": measure(latent.rbf_cka),
    "rbf_cka: debiased": measure(lambda x, y: latent.rbf_cka(x, y, debiased=True)),
    "minibatch_cka": measure(lambda x, y: latent.minibatch_cka([(x, y)])),
    "minibatch_cka: rbf": measure(lambda x, y: latent.minibatch_cka([(x, y)], kernel="rbf")),
    "procrustes_distance": measure(latent.procrustes_distance),
    "rsa": measure(latent.rsa),
    "mutual_knn": measure(lambda x, y: latent.mutual_knn(x, y, 3)),
    "matched_cosine": measure(latent.matched_cosine),
    "svcca": measure(lambda x, y: latent.svcca(x, y, variance=0.9)),
    "pwcca": measure(latent.pwcca),
    "reference_similarity": Case(lambda s: latent.reference_similarity(s.x, s.y, np.arange(4)), "xy", "", plain=True),
    "evaluate_population": Case(
        lambda s: latent.evaluate_population([s.x, s.y, 2 * s.x + s.y], s.x, [0.9, 0.1, 0.5], np.arange(4)),
        "xy",
        "",
        plain=True,
    ),
    # Retrieval
    **{f"nearest: {m}": rowwise(lambda d, m=m: latent.nearest(d.x, d.a, 3, metric=m).indices) for m in latent.METRICS},
    "nearest_approximate": rowwise(
        lambda s: latent.nearest_approximate(s.x, s.a, 3, cells=2, probes=2).indices, extra="faiss"
    ),
    "csls": Case(lambda s: latent.csls(s.x, s.a, 3).scores),
    "match_ranks": Case(lambda s: latent.match_ranks(s.x, s.y), "xy"),
    "evaluate_retrieval": Case(lambda s: latent.evaluate_retrieval(s.x, s.y), "xy", "same", plain=True),
    "neighbour_jaccard": Case(
        lambda s: latent.neighbour_jaccard(latent.nearest(s.x, s.a, 3).indices, latent.nearest(s.y, s.b, 3).indices),
        "xyab",
        "same",
        plain=True,
    ),
    # Few or no pairs; matches are row numbers of y
    "bootstrap_anchors": Case(
        lambda s: latent.bootstrap_anchors(s.x, s.y, seeds(s), 6, rounds=3), "xy", "", extra="ot"
    ),
    "match_gromov_wasserstein": Case(
        lambda s: latent.match_gromov_wasserstein(s.x, s.y, surrogates=1, iterations=3), "xy", "", extra="ot"
    ),
    "structure_agreement": Case(
        lambda s: latent.structure_agreement(
            latent.project_cosine(s.x, s.x), latent.project_cosine(s.y, s.y), np.stack([np.arange(len(s.x))] * 2, 1)
        ),
        "xy",
        "same",
        plain=True,
    ),
    "laplacian_eigenbasis": Case(lambda s: basis(s.x).functions, "x"),
    "fit_functional_map": Case(lambda s: functional(s).transfer(s.x), "xyab"),
    "refine_functional_map": Case(lambda s: latent.refine_functional_map(functional(s)).matches(), "xyab", ""),
    # Several spaces
    "couple": rowwise(lambda s: latent.couple(s.a, s.b, k=min(3, len(s.a))).scores(s.x, s.b), "xab"),
    "Coupling": rowwise(lambda s: latent.couple(s.a, s.b, k=min(3, len(s.a))).classify(s.x, s.b), "xab"),
    "merge_charts": Case(
        lambda s: (
            latent.merge_charts(
                [latent.Chart(range(len(s.x)), s.x, s.a), latent.Chart(range(len(s.y)), s.y, s.b)]
            ).vectors
        ),
        "xyab",
    ),
    "fit_universal": Case(lambda s: latent.fit_universal([s.x, s.y]).consensus, "xy"),
}


def numbers(result: Any) -> Iterator[Any]:
    """Every array and number in a result, in one order."""
    if isinstance(result, torch.Tensor | np.ndarray | float | int | str):
        yield result
    elif scipy.sparse.issparse(result):
        yield result.toarray()
    elif isinstance(result, dict):
        for key in result:
            yield from numbers(result[key])
    elif isinstance(result, list | tuple):
        for part in result:
            yield from numbers(part)
    elif is_dataclass(result):
        for field in fields(result):
            yield from numbers(getattr(result, field.name))
    elif isinstance(result, nn.Module):
        yield from numbers(result.state_dict())
    elif result is not None:
        raise TypeError(f"what is in a {type(result).__name__}?")


def as_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def shuffled(s: Spaces, order: Any) -> Spaces:
    return replace(s, x=s.x[order], y=s.y[order])
