"""Balanced and robust maps, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import fit, fit_affine, screen_pairs
from rlstitch.stitching.maps import TRANSLATIONS, balancing_weights, fit_map

RNG = np.random.default_rng(0)


def pairs(count: int = 200, width: int = 8, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of one affine map, of lengths that differ by two orders of magnitude, with errors in proportion."""
    x = RNG.normal(size=(count, width)) * np.exp(RNG.uniform(-2.3, 2.3, size=(count, 1)))
    y = x @ RNG.normal(size=(width, width))
    y += noise * np.linalg.norm(y, axis=1, keepdims=True) * RNG.normal(size=y.shape) / width**0.5
    return torch.from_numpy(x), torch.from_numpy(y)


def test_weights_are_one_over_both_lengths():
    x, y = pairs()
    weights = balancing_weights(x, y).numpy()
    expected = 1 / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    np.testing.assert_allclose(weights / weights.mean(), expected / expected.mean(), rtol=1e-6)
    scaled = balancing_weights(5 * x, 0.2 * y).numpy()
    np.testing.assert_allclose(scaled, weights, rtol=1e-6)


def test_rows_of_no_length_have_a_finite_weight():
    x, y = pairs(count=9)
    x[0], y[1] = 0, 0
    assert bool(torch.isfinite(balancing_weights(x, y)).all())
    assert torch.equal(balancing_weights(torch.zeros(5, 2), torch.zeros(5, 3)), torch.ones(5))
    assert bool(torch.isfinite(fit_map("balanced", x, y).matrix).all())


def test_balanced_directions_come_nearer_where_lengths_differ():
    x, y = pairs()
    mean = {}
    for method in ("affine", "balanced"):
        mapped = fit_map(method, x[:60], y[:60])(x[60:])
        mean[method] = float(torch.nn.functional.cosine_similarity(mapped, y[60:]).mean())
    assert mean["balanced"] > mean["affine"]


def test_robust_is_balanced_on_the_pairs_that_screening_trusts():
    x, y = pairs(noise=0.1)
    y[:40] = y[:40].roll(1, 0)
    found, trusted = fit_map("robust", x, y), screen_pairs(x, y)
    expected = fit_affine(x[trusted], y[trusted], weights=balancing_weights(x[trusted], y[trusted]))
    torch.testing.assert_close(found.matrix, expected.matrix)
    assert (found.method, found.report.n_pairs) == ("robust", int(trusted.sum()))


@pytest.mark.parametrize("method", sorted(set(TRANSLATIONS) - {"balanced", "robust"}))
def test_the_others_are_those_of_the_latent_core(method):
    x, y = pairs(count=40)
    found, expected = fit_map(method, x, y), fit(method, x, y)
    assert torch.equal(found.matrix, expected.matrix)
    assert found.method == expected.method


def test_too_few_pairs_and_unknown_names():
    x, y = pairs(count=4)
    with pytest.raises(InvalidInputError, match="needs at least 4 pairs, found 3"):
        fit_map("robust", x[:3], y[:3])
    with pytest.raises(InvalidInputError, match="needs at least 3 pairs, found 2"):
        fit_map("balanced", x[:2], y[:2])
    with pytest.raises(UnknownNameError, match="afine"):
        fit_map("afine", x, y)
    assert bool(torch.isfinite(fit_map("robust", x, y).matrix).all())
