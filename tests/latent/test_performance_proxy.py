"""Latent evaluation: a planted population whose noise is its lack of performance."""

import numpy as np
import pytest
import torch
from scipy import stats

from rlstitch.errors import InvalidInputError
from rlstitch.latent.performance_proxy import evaluate_population, reference_similarity
from rlstitch.latent.projection.similarities import project_cosine
from rlstitch.latent.similarity import linear_cka, matched_cosine


def planted(seed=0, models=8):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(60, 6))
    noise = rng.permutation(np.linspace(0.1, 2, models))
    spaces = [reference @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + s * rng.normal(size=(60, 6)) for s in noise]
    return spaces, reference, (1 - noise / 3).tolist(), np.arange(0, 60, 4)


def test_likeness_predicts_planted_performance():
    spaces, reference, measured, anchors = planted()
    result = evaluate_population(spaces, reference, measured, anchors)
    assert result.pearson > 0.9
    assert result.spearman > 0.9
    assert result.pearson_p < 0.01
    assert result.performance == pytest.approx(measured)
    assert result.pearson == pytest.approx(stats.pearsonr(result.similarity, measured)[0])
    assert result.spearman == pytest.approx(stats.spearmanr(result.similarity, measured)[0])


def test_likeness_is_its_definition_and_forgets_rotation():
    spaces, reference, _, anchors = planted()
    x = spaces[0]
    expected = matched_cosine(project_cosine(x, x[anchors]), project_cosine(reference, reference[anchors]))
    assert reference_similarity(x, reference, anchors) == pytest.approx(expected)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    assert reference_similarity(5 * reference @ rotation, reference, anchors) == pytest.approx(1)
    moved = reference_similarity(reference + 9, reference, anchors)
    assert moved < 0.9
    assert reference_similarity(reference + 9, reference, anchors, normalization="center") == pytest.approx(1)
    assert reference_similarity(x, reference, torch.from_numpy(anchors)) == pytest.approx(expected)


def test_another_proxy():
    spaces, reference, measured, anchors = planted()
    assert evaluate_population(spaces, reference, measured, anchors, proxy=linear_cka).spearman > 0.8


def test_refusals():
    spaces, reference, measured, anchors = planted()
    with pytest.raises(InvalidInputError, match="at least 3 models"):
        evaluate_population(spaces[:2], reference, measured[:2], anchors)
    with pytest.raises(InvalidInputError, match="one performance each, found 8 and 7"):
        evaluate_population(spaces, reference, measured[:7], anchors)
    with pytest.raises(InvalidInputError, match="performance must differ"):
        evaluate_population(spaces, reference, [0.5] * 8, anchors)
    with pytest.raises(InvalidInputError, match="population must differ"):
        evaluate_population([reference] * 8, reference, measured, anchors)
    with pytest.raises(InvalidInputError, match="performance must be finite"):
        evaluate_population(spaces, reference, [np.nan] * 8, anchors)
    with pytest.raises(InvalidInputError, match=r"\[0, 59\]"):
        reference_similarity(spaces[0], reference, np.array([60]))
    with pytest.raises(InvalidInputError, match="indices"):
        reference_similarity(spaces[0], reference, np.array([0.5]))
    with pytest.raises(InvalidInputError, match="paired"):
        reference_similarity(spaces[0][1:], reference, anchors)
