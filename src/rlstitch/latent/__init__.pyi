from .aggregation import (
    AttentionAggregation as AttentionAggregation,
)
from .aggregation import (
    MLPSum as MLPSum,
)
from .aggregation import (
    WeightedSum as WeightedSum,
)
from .aggregation import (
    aggregate_concat as aggregate_concat,
)
from .aggregation import (
    aggregate_sum as aggregate_sum,
)
from .aggregation import (
    project_product as project_product,
)
from .anchors.choice import (
    ANCHOR_METHODS as ANCHOR_METHODS,
)
from .anchors.choice import (
    choose_anchors as choose_anchors,
)
from .anchors.choice import (
    choose_central as choose_central,
)
from .anchors.choice import (
    choose_farthest as choose_farthest,
)
from .anchors.choice import (
    choose_kmedoids as choose_kmedoids,
)
from .anchors.choice import (
    choose_random as choose_random,
)
from .anchors.choice import (
    choose_ranked as choose_ranked,
)
from .anchors.coverage import (
    Coverage as Coverage,
)
from .anchors.coverage import (
    coverage as coverage,
)
from .asif import (
    Coupling as Coupling,
)
from .asif import (
    couple as couple,
)
from .bootstrap import (
    BootstrappedAnchors as BootstrappedAnchors,
)
from .bootstrap import (
    bootstrap_anchors as bootstrap_anchors,
)
from .evaluation import (
    LatentEvaluation as LatentEvaluation,
)
from .evaluation import (
    evaluate_population as evaluate_population,
)
from .evaluation import (
    reference_similarity as reference_similarity,
)
from .functional_maps import (
    Eigenbasis as Eigenbasis,
)
from .functional_maps import (
    FunctionalMap as FunctionalMap,
)
from .functional_maps import (
    fit_functional_map as fit_functional_map,
)
from .functional_maps import (
    laplacian_eigenbasis as laplacian_eigenbasis,
)
from .functional_maps import (
    refine_functional_map as refine_functional_map,
)
from .inversion import (
    InverseProjection as InverseProjection,
)
from .inversion import (
    InversionReport as InversionReport,
)
from .inversion import (
    decode_relative as decode_relative,
)
from .inversion import (
    encode_relative as encode_relative,
)
from .inversion import (
    fit_inverse_projection as fit_inverse_projection,
)
from .inversion import (
    prune_anchors as prune_anchors,
)
from .matching import (
    Matching as Matching,
)
from .matching import (
    match_gromov_wasserstein as match_gromov_wasserstein,
)
from .matching import (
    structure_agreement as structure_agreement,
)
from .merging import (
    Atlas as Atlas,
)
from .merging import (
    Chart as Chart,
)
from .merging import (
    merge_charts as merge_charts,
)
from .modules import (
    RelativeProjection as RelativeProjection,
)
from .modules import (
    Stitched as Stitched,
)
from .modules import (
    stitch as stitch,
)
from .normalization import (
    NORMALIZATIONS as NORMALIZATIONS,
)
from .normalization import (
    Normalization as Normalization,
)
from .normalization import (
    fit_centering as fit_centering,
)
from .normalization import (
    fit_identity as fit_identity,
)
from .normalization import (
    fit_isotropic as fit_isotropic,
)
from .normalization import (
    fit_mean_norm as fit_mean_norm,
)
from .normalization import (
    fit_normalization as fit_normalization,
)
from .normalization import (
    fit_standardization as fit_standardization,
)
from .normalization import (
    fit_whitening as fit_whitening,
)
from .normalization import (
    unit_norm as unit_norm,
)
from .projection.graph import project_geodesic as project_geodesic
from .projection.projection import (
    SIMILARITIES as SIMILARITIES,
)
from .projection.projection import (
    project as project,
)
from .projection.projection import (
    project_angular as project_angular,
)
from .projection.projection import (
    project_basis as project_basis,
)
from .projection.projection import (
    project_cosine as project_cosine,
)
from .projection.projection import (
    project_dot as project_dot,
)
from .projection.projection import (
    project_euclidean as project_euclidean,
)
from .projection.projection import (
    project_gaussian as project_gaussian,
)
from .projection.projection import (
    project_l1 as project_l1,
)
from .projection.projection import (
    project_linf as project_linf,
)
from .projection.projection import (
    project_lp as project_lp,
)
from .projection.projection import (
    project_mahalanobis as project_mahalanobis,
)
from .projection.projection import (
    projector as projector,
)
from .projection.projection import (
    relative_projection as relative_projection,
)
from .projection.stream import (
    project_into as project_into,
)
from .projection.stream import (
    project_stream as project_stream,
)
from .retrieval import (
    METRICS as METRICS,
)
from .retrieval import (
    Neighbours as Neighbours,
)
from .retrieval import (
    RetrievalReport as RetrievalReport,
)
from .retrieval import (
    csls as csls,
)
from .retrieval import (
    evaluate_retrieval as evaluate_retrieval,
)
from .retrieval import (
    match_ranks as match_ranks,
)
from .retrieval import (
    nearest as nearest,
)
from .retrieval import (
    nearest_approximate as nearest_approximate,
)
from .retrieval import (
    neighbour_jaccard as neighbour_jaccard,
)
from .similarity.cca import (
    pwcca as pwcca,
)
from .similarity.cca import (
    svcca as svcca,
)
from .similarity.similarity import (
    linear_cka as linear_cka,
)
from .similarity.similarity import (
    matched_cosine as matched_cosine,
)
from .similarity.similarity import (
    minibatch_cka as minibatch_cka,
)
from .similarity.similarity import (
    mutual_knn as mutual_knn,
)
from .similarity.similarity import (
    procrustes_distance as procrustes_distance,
)
from .similarity.similarity import (
    rbf_cka as rbf_cka,
)
from .similarity.similarity import (
    rsa as rsa,
)
from .space import (
    LatentSpace as LatentSpace,
)
from .space import (
    parallel_anchors as parallel_anchors,
)
from .translation.iterative import (
    fit_affine_gradient as fit_affine_gradient,
)
from .translation.iterative import (
    fit_robust as fit_robust,
)
from .translation.linear import (
    fit_affine as fit_affine,
)
from .translation.linear import (
    fit_linear as fit_linear,
)
from .translation.linear import (
    fit_ridge as fit_ridge,
)
from .translation.low_rank import (
    fit_cca as fit_cca,
)
from .translation.low_rank import (
    fit_low_rank as fit_low_rank,
)
from .translation.low_rank import (
    fit_pls as fit_pls,
)
from .translation.orthogonal import (
    fit_l_orthogonal as fit_l_orthogonal,
)
from .translation.orthogonal import (
    fit_orthogonal as fit_orthogonal,
)
from .translation.orthogonal import (
    fit_scaled_orthogonal as fit_scaled_orthogonal,
)
from .translation.screening import screen_pairs as screen_pairs
from .translation.translation import (
    FitReport as FitReport,
)
from .translation.translation import (
    Translation as Translation,
)
from .translation.translation import (
    evaluate_translation as evaluate_translation,
)
from .translation.translation import (
    fit as fit,
)
from .translation.translation import (
    translation_methods as translation_methods,
)
from .universal import (
    Universal as Universal,
)
from .universal import (
    fit_universal as fit_universal,
)
