"""Generalised Procrustes: planted rotations, its law, equality with Procrustes for two spaces."""

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import fit_orthogonal
from rlstitch.latent.merging import fit_universal


def spaces(widths=(5, 5, 5), noise=0.0, n=40, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, min(widths)))
    made = []
    for i, d in enumerate(widths):
        rotation = np.linalg.qr(rng.normal(size=(d, d)))[0][: min(widths)]
        made.append(hidden @ rotation + i + noise * rng.normal(size=(n, d)))
    return made


@pytest.mark.parametrize("widths", [(5, 5), (5, 5, 5), (4, 7, 5, 4)])
def test_planted_rotations_are_recovered(widths):
    given = spaces(widths)
    result = fit_universal(given)
    assert result.converged
    assert result.unexplained < 1e-20
    for i, source in enumerate(given):
        np.testing.assert_allclose(result.translations[i](source), result.consensus, atol=1e-10)
        for j, target in enumerate(given):
            np.testing.assert_allclose(result.between(i, j)(source), target, atol=1e-8)


def test_maps_are_orthogonal_and_the_loss_never_rises():
    given = spaces(noise=0.5)
    result = fit_universal(given)
    assert result.converged
    assert np.all(np.diff(result.losses) <= 1e-12)
    assert 0 < result.unexplained < 1
    for translation in result.translations:
        np.testing.assert_allclose(translation.matrix @ translation.matrix.T, np.eye(5), atol=1e-10)
    mapped = np.stack([t(x) for t, x in zip(result.translations, given, strict=True)])
    np.testing.assert_allclose(mapped.mean(0), result.consensus, atol=1e-10)
    loss = ((mapped - mapped.mean(0)) ** 2).sum((0, 2)).mean()
    assert loss == pytest.approx(result.losses[-1])


def test_two_spaces_are_a_procrustes_problem():
    x, y = spaces((5, 5), noise=0.5)
    through, direct = fit_universal([x, y]).between(0, 1), fit_orthogonal(x, y, scale=False)
    np.testing.assert_allclose(through.matrix, direct.matrix, atol=1e-6)
    np.testing.assert_allclose(through.bias, direct.bias, atol=1e-6)


def test_ways_through_the_universal_space_compose():
    result = fit_universal(spaces(noise=0.5))
    np.testing.assert_allclose(
        result.between(0, 1).then(result.between(1, 2)).matrix, result.between(0, 2).matrix, atol=1e-10
    )
    np.testing.assert_allclose(result.between(1, 1).matrix, np.eye(5), atol=1e-10)


def test_order_of_samples_and_spaces():
    given = spaces(noise=0.3)
    order = np.random.default_rng(0).permutation(40)
    plain = fit_universal(given)
    moved = fit_universal([x[order] for x in given])
    np.testing.assert_allclose(moved.between(0, 2).matrix, plain.between(0, 2).matrix, atol=1e-6)
    turned = fit_universal(given[::-1])
    assert turned.losses[-1] == pytest.approx(plain.losses[-1], rel=1e-6)
    np.testing.assert_allclose(turned.between(2, 0).matrix, plain.between(0, 2).matrix, atol=1e-3)


def test_scale_brings_spaces_to_one_size():
    given = spaces()
    given[1] = given[1] * 9 + 4
    assert fit_universal(given).unexplained > 0.1
    result = fit_universal(given, scale=True)
    assert result.unexplained < 1e-20
    np.testing.assert_allclose(result.between(0, 1)(given[0]), given[1], atol=1e-8)


def test_more_spaces_average_noise_away():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(60, 5))
    noisy = [hidden @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 0.5 * rng.normal(size=(60, 5)) for _ in range(8)]
    truth = hidden - hidden.mean(0)

    def error(consensus):
        return fit_orthogonal(consensus, truth).report.residual

    assert error(fit_universal(noisy).consensus) < 0.6 * error(noisy[0])


def test_kinds():
    given = [torch.from_numpy(x).float() for x in spaces(noise=0.1)]
    result = fit_universal(given)
    assert isinstance(result.consensus, torch.Tensor)
    assert result.consensus.dtype == result.translations[0].matrix.dtype == torch.float32
    np.testing.assert_allclose(result.consensus.numpy(), fit_universal(spaces(noise=0.1)).consensus, atol=1e-4)


def test_refusals():
    x, y = spaces((5, 5))
    with pytest.raises(InvalidInputError, match="at least 2 spaces"):
        fit_universal([x])
    with pytest.raises(InvalidInputError, match=r"39 in spaces\[1\]"):
        fit_universal([x, y[1:]])
    with pytest.raises(InvalidInputError, match="at least 2 row"):
        fit_universal([x[:1], y[:1]])
    with pytest.raises(InvalidInputError, match=r"spaces\[1\] must vary"):
        fit_universal([x, np.full((40, 3), 0.1)])
    with pytest.raises(InvalidInputError, match=r"spaces\[0\] must be finite"):
        fit_universal([np.full((4, 2), np.nan), x[:4]])
    with pytest.raises(InvalidInputError, match="iterations"):
        fit_universal([x, y], iterations=0)
    with pytest.raises(InvalidInputError, match=r"target must be the index of a space, in \[0, 1\]"):
        fit_universal([x, y]).between(0, 2)


def test_too_few_iterations_say_so():
    assert not fit_universal(spaces(noise=0.8), iterations=1).converged
