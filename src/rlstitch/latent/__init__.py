"""Latent spaces and their mathematics, with no reinforcement learning: `from rlstitch.latent import project_cosine,
fit_affine`.

Names are imported from their modules when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES: dict[str, tuple[str, ...]] = {
    "normalization": (
        "NORMALIZATIONS",
        "Normalization",
        "fit_centering",
        "fit_identity",
        "fit_isotropic",
        "fit_mean_norm",
        "fit_normalization",
        "fit_standardization",
        "fit_whitening",
        "unit_norm",
    ),
    "projection.projection": (
        "SIMILARITIES",
        "project",
        "project_angular",
        "project_basis",
        "project_cosine",
        "project_dot",
        "project_euclidean",
        "project_gaussian",
        "project_l1",
        "project_linf",
        "project_lp",
        "project_mahalanobis",
        "projector",
        "relative_projection",
    ),
    "anchors.choice": (
        "ANCHOR_METHODS",
        "choose_anchors",
        "choose_central",
        "choose_farthest",
        "choose_kmedoids",
        "choose_random",
        "choose_ranked",
    ),
    "projection.graph": ("project_geodesic",),
    "projection.stream": ("project_into", "project_stream"),
    "anchors.coverage": ("Coverage", "coverage"),
    "space": ("LatentSpace", "parallel_anchors"),
    "aggregation": (
        "AttentionAggregation",
        "MLPSum",
        "WeightedSum",
        "aggregate_concat",
        "aggregate_sum",
        "project_product",
    ),
    "inversion": (
        "InverseProjection",
        "InversionReport",
        "decode_relative",
        "encode_relative",
        "fit_inverse_projection",
        "prune_anchors",
    ),
    "translation.iterative": ("fit_affine_gradient", "fit_robust"),
    "translation.low_rank": ("fit_cca", "fit_low_rank", "fit_pls"),
    "translation.translation": ("FitReport", "Translation", "evaluate_translation", "fit", "translation_methods"),
    "translation.linear": ("fit_affine", "fit_linear", "fit_ridge"),
    "translation.screening": ("screen_pairs",),
    "translation.orthogonal": ("fit_l_orthogonal", "fit_orthogonal", "fit_scaled_orthogonal"),
    "similarity.similarity": (
        "linear_cka",
        "matched_cosine",
        "minibatch_cka",
        "mutual_knn",
        "procrustes_distance",
        "rbf_cka",
        "rsa",
    ),
    "similarity.cca": ("pwcca", "svcca"),
    "retrieval": (
        "METRICS",
        "Neighbours",
        "RetrievalReport",
        "csls",
        "evaluate_retrieval",
        "match_ranks",
        "nearest",
        "nearest_approximate",
        "neighbour_jaccard",
    ),
    "bootstrap": ("BootstrappedAnchors", "bootstrap_anchors"),
    "matching": ("Matching", "match_gromov_wasserstein", "structure_agreement"),
    "functional_maps": (
        "Eigenbasis",
        "FunctionalMap",
        "fit_functional_map",
        "laplacian_eigenbasis",
        "refine_functional_map",
    ),
    "asif": ("Coupling", "couple"),
    "merging": ("Atlas", "Chart", "merge_charts"),
    "universal": ("Universal", "fit_universal"),
    "evaluation": ("LatentEvaluation", "evaluate_population", "reference_similarity"),
    "modules": ("RelativeProjection", "Stitched", "stitch"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
