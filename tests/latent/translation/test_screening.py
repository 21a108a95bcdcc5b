"""Screening of pairs: wrong ones are found, right ones are kept, whatever moves the two spaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import evaluate_translation, fit, fit_robust
from rlstitch.latent.translation.iterative import screen_pairs


def planted(noise: float, share: float, *, n: int = 300, d: int = 16, width: int | None = None, seed: int = 0):
    """Pairs of a map near a rotation, with noise on y, of which a share (the first ones) is mixed up."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.linspace(0.5, 2, d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0][:, :width]
    y = x @ (turn + 0.1 * rng.normal(size=turn.shape)) + 3 + noise * rng.normal(size=(n, turn.shape[1]))
    wrong = round(share * n)
    y[:wrong] = np.roll(y[:wrong], 1, axis=0)
    return torch.from_numpy(x), torch.from_numpy(y), wrong


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_wrong_pairs_are_found_and_right_ones_kept(share, noise):
    x, y, wrong = planted(noise, share)
    trusted = screen_pairs(x, y)
    assert float(trusted[:wrong].double().mean()) < 0.15
    assert float(trusted[wrong:].double().mean()) > 0.9


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_without_wrong_pairs_all_are_kept(noise):
    x, y, _ = planted(noise, 0.0)
    assert bool(screen_pairs(x, y).all())


def test_unrelated_spaces_keep_half():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 8))
    kept = int(screen_pairs(x, y).sum())
    assert 100 <= kept <= 130


def test_ranks_against_a_loop():
    from rlstitch.latent.translation.iterative import _ranks

    rng = np.random.default_rng(1)
    mapped, y = torch.from_numpy(rng.normal(size=(2, 30, 4)))
    trusted = torch.ones(30, dtype=torch.bool)
    a, b = (z.numpy() - y.median(0).values.numpy() for z in (mapped, y))
    cosine = [[p @ q / np.linalg.norm(p) / np.linalg.norm(q) for q in b] for p in a]
    expected = [np.mean([other > row[i] + 1e-6 for other in row]) for i, row in enumerate(cosine)]
    np.testing.assert_allclose(_ranks(mapped, y, trusted).numpy(), expected)


def test_moving_or_scaling_a_space_changes_nothing():
    x, y, _ = planted(0.3, 0.2)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    before = screen_pairs(x, y)
    assert torch.equal(screen_pairs(7 * x @ turn - 2, y), before)
    # The median of y, unlike its mean, does not turn with it.
    assert torch.equal(screen_pairs(x, 0.1 * y + 4), before)


def test_widths_may_differ():
    x, y, wrong = planted(0.1, 0.2, width=10)
    trusted = screen_pairs(x, y)
    assert float(trusted[:wrong].double().mean()) < 0.2 < 0.9 < float(trusted[wrong:].double().mean())


@pytest.mark.parametrize("base", ["orthogonal", "linear", "ridge", "affine"])
def test_a_robust_fit_by_rank_comes_near_the_fit_of_the_right_pairs(base):
    x, y, wrong = planted(0.5, 0.3)
    y = y - y.mean(0) if base in ("linear", "ridge") else y
    clean_x, clean_y, _ = planted(0.5, 0.0)
    clean_y = clean_y - clean_y.mean(0) if base in ("linear", "ridge") else clean_y
    robust, plain, oracle = (
        evaluate_translation(result, clean_x, clean_y).residual
        for result in (fit_robust(x, y, base=base, loss="rank"), fit(base, x, y), fit(base, x[wrong:], y[wrong:]))
    )
    assert robust < oracle * 1.05
    assert robust < plain
    assert fit_robust(x, y, base=base, loss="rank").method == f"robust {base}"


def test_few_and_degenerate_pairs():
    x, y, _ = planted(0.1, 0.0, n=4)
    assert int(screen_pairs(x, y).sum()) == 4
    constant = torch.ones(10, 3)
    assert bool(screen_pairs(constant, constant).all())
    with pytest.raises(InvalidInputError, match="screen_pairs needs at least 4 pairs, found 3"):
        screen_pairs(x[:3], y[:3])
    with pytest.raises(InvalidInputError, match="rounds must be a whole number"):
        screen_pairs(x, y, rounds=0)


def test_many_pairs_are_compared_with_some():
    x, y, wrong = planted(0.3, 0.2, n=3000)
    trusted = screen_pairs(x, y)
    assert float(trusted[:wrong].double().mean()) < 0.1 < 0.9 < float(trusted[wrong:].double().mean())
