"""Gromov-Wasserstein matching: right where the geometry says so, and open about it where it does not."""

import sys

import numpy as np
import pytest
import torch

from rlstitch.errors import IncompatibleError, InvalidInputError, MissingExtraError
from rlstitch.latent import project_cosine
from rlstitch.latent.correspondence.optimal_transport import _surrogate, match_gromov_wasserstein, structure_agreement


def shuffled_twin(n=40, d=3, noise=0.0, seed=0, width=5):
    """A skewed cloud and a rotated, shuffled copy in another width; `truth[i]` is the row of y that belongs to x[i]."""
    rng = np.random.default_rng(seed)
    hidden = rng.exponential(size=(n, d)) * [3.0, 2.0, 1.0]
    order = rng.permutation(n)
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0][:d]
    y = hidden @ rotation + noise * rng.normal(size=(n, width)) + 2
    return hidden, y[order], order.argsort()


@pytest.fixture(autouse=True)
def _pot():
    pytest.importorskip("ot")


def test_a_rotated_shuffled_copy_is_matched():
    x, y, truth = shuffled_twin()
    result = match_gromov_wasserstein(x, y)
    assert (result.matches == truth).mean() > 0.95
    assert result.structure > 0.99
    assert result.mutual_share > 0.9
    assert result.chance < 0.9
    assert result.confidence.mean() > 0.9
    pairs = result.pairs(min_structure=0.9)
    assert (truth[pairs[:, 0]] == pairs[:, 1]).mean() > 0.95
    assert np.all(np.diff(result.confidence[pairs[:, 0]]) <= 0)


def test_unrelated_spaces_are_matched_but_not_trusted():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 10)), rng.normal(size=(40, 10))
    result = match_gromov_wasserstein(x, y)
    assert result.structure < 0.5
    assert result.confidence.max() < 0.2
    with pytest.raises(IncompatibleError, match=r"structure 0\.900"):
        result.pairs(min_structure=0.9)
    assert result.distance > match_gromov_wasserstein(*shuffled_twin()[:2], surrogates=0).distance


def test_confidence_counts_what_is_above_chance():
    x, y, _ = shuffled_twin()
    result, alone = match_gromov_wasserstein(x, y), match_gromov_wasserstein(x, y, surrogates=0)
    evidence = (result.structure - result.chance) / (1 - result.chance)
    np.testing.assert_allclose(result.confidence, alone.confidence / alone.structure * evidence)
    assert (alone.chance, alone.structure) == (0.0, result.structure)
    np.testing.assert_array_equal(alone.mutual, result.mutual)


def test_surrogates_keep_mean_and_covariance_only():
    x, _, _ = shuffled_twin()
    other = _surrogate(x, 0)
    np.testing.assert_allclose(other.mean(0), x.mean(0))
    np.testing.assert_allclose(np.cov(other.T), np.cov(x.T))
    assert np.corrcoef((x @ x.T).ravel(), (other @ other.T).ravel())[0, 1] < 0.9
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(_surrogate(x @ turn, 0), other @ turn)


def test_order_rotation_scale_and_kind_do_not_matter():
    x, y, truth = shuffled_twin(noise=0.02)
    plain = match_gromov_wasserstein(x, y, surrogates=0)
    order = np.random.default_rng(3).permutation(len(x))
    agree = match_gromov_wasserstein(x[order], y, surrogates=0).matches == plain.matches[order]
    assert agree.mean() > 0.95
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    turned = match_gromov_wasserstein(torch.from_numpy(4 * x @ rotation + 1), y, surrogates=0)
    assert isinstance(turned.matches, torch.Tensor)
    assert (turned.matches.numpy() == plain.matches).mean() > 0.95
    assert isinstance(turned.pairs(min_structure=0.5), torch.Tensor)
    assert (plain.matches == truth).mean() > 0.8


def test_the_objective_is_that_of_pots_exact_solver() -> None:
    ot = pytest.importorskip("ot")
    x, y, truth = shuffled_twin(noise=0.05)
    distances = [np.maximum(1 - project_cosine(s - s.mean(0), s - s.mean(0)), 0) for s in (x, y)]
    distances = [d / d.mean() for d in distances]
    uniform = np.full(40, 1 / 40)
    start = np.eye(40)[truth] / 40
    # From the truth, where the exact solver cannot end in a worse optimum.
    exact = ot.gromov.gromov_wasserstein2(*distances, uniform, uniform, "square_loss", symmetric=True, G0=start)
    assert match_gromov_wasserstein(x, y, surrogates=0).distance == pytest.approx(float(exact), abs=5e-3)


def test_unequal_numbers_of_samples():
    x, y, _ = shuffled_twin()
    result = match_gromov_wasserstein(x[:32], y, surrogates=0)
    assert result.matches.shape == (32,)
    assert result.matches.max() < 40
    assert 0 < result.mutual_share <= 1
    assert np.isfinite(result.structure)


def test_structure_agreement_is_a_correlation_of_submatrices():
    rng = np.random.default_rng(0)
    first, second = (m + m.T for m in rng.normal(size=(2, 6, 6)))
    pairs = np.array([[0, 3], [2, 1], [4, 5], [5, 0]])
    a = [first[i, j] for k, (i, _) in enumerate(pairs) for j, _ in pairs[k + 1 :]]
    b = [second[i, j] for k, (_, i) in enumerate(pairs) for _, j in pairs[k + 1 :]]
    assert structure_agreement(first, second, pairs) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert structure_agreement(first, second, pairs[:2]) == 0.0
    assert structure_agreement(np.ones((6, 6)), second, pairs) == 0.0


def test_perfectly_symmetric_data_is_finite_and_not_sure():
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    result = match_gromov_wasserstein(corners, corners)
    assert np.isfinite(result.confidence).all()
    assert np.isfinite(result.structure)


def test_refusals():
    x, y, _ = shuffled_twin(20)
    with pytest.raises(InvalidInputError, match="at least 3 row"):
        match_gromov_wasserstein(x[:2], y)
    with pytest.raises(InvalidInputError, match="x must be finite"):
        match_gromov_wasserstein(np.full_like(x, np.nan), y)
    with pytest.raises(InvalidInputError, match="y must vary"):
        match_gromov_wasserstein(x, np.full((20, 2), 0.1))
    with pytest.raises(InvalidInputError, match="epsilon"):
        match_gromov_wasserstein(x, y, epsilon=-1)
    with pytest.raises(InvalidInputError, match="surrogates"):
        match_gromov_wasserstein(x, y, surrogates=-1)
    with pytest.raises(InvalidInputError, match="iterations"):
        match_gromov_wasserstein(x, y, iterations=0)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ot\]"):
        match_gromov_wasserstein(*shuffled_twin()[:2])
