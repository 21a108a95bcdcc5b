from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression, Ridge

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import (
    Translation,
    evaluate_translation,
    fit,
    fit_affine,
    fit_affine_gradient,
    fit_calibrated,
    fit_cca,
    fit_l_orthogonal,
    fit_linear,
    fit_low_rank,
    fit_orthogonal,
    fit_pls,
    fit_ridge,
    fit_robust,
    fit_scaled_orthogonal,
    match_ranks,
    translation_methods,
)
from rlstitch.latent.translation.iterative import BASES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) @ np.diag([3, 2, 1, 1, 0.3]) + 1
Y = X @ RNG.normal(size=(5, 4)) + 0.3 * RNG.normal(size=(60, 4)) - 2
SQUARE = X @ np.linalg.qr(RNG.normal(size=(5, 5)))[0] + 0.2 * RNG.normal(size=(60, 5))
WEIGHTS = RNG.integers(1, 4, size=60)


def test_orthogonal_agrees_with_scipy() -> None:
    expected, _ = orthogonal_procrustes(X, SQUARE)
    np.testing.assert_allclose(fit_orthogonal(X, SQUARE, center=False, scale=False).matrix, expected, atol=1e-12)
    centred, _ = orthogonal_procrustes(X - X.mean(0), SQUARE - SQUARE.mean(0))
    np.testing.assert_allclose(fit_orthogonal(X, SQUARE, scale=False).matrix, centred, atol=1e-12)


def test_scaled_orthogonal_reaches_scipys_disparity() -> None:
    _, _, disparity = procrustes(SQUARE, X)
    report = fit_scaled_orthogonal(X, SQUARE).report
    assert report is not None
    assert 1 - report.r2 == pytest.approx(disparity)


def test_the_default_finds_the_partners_of_another_scale_and_offset() -> None:
    x = RNG.normal(size=(200, 8))
    y = 10 * x @ np.linalg.qr(RNG.normal(size=(8, 8)))[0] + 5
    fitted = {scale: fit_orthogonal(x[:50], y[:50], scale=scale)(x[50:]) for scale in (True, False)}
    ranks = {scale: match_ranks(mapped, y[50:], np.arange(150), metric="euclidean") for scale, mapped in fitted.items()}
    assert (ranks[True] == 1).all()
    assert (1 / ranks[False]).mean() < 0.5
    np.testing.assert_allclose(fit_orthogonal(x[:50], y[:50])(x), y, atol=1e-9)


def test_widths_that_differ_are_padding_with_zeros() -> None:
    padded = np.pad(Y, ((0, 0), (0, 1)))
    expected, _ = orthogonal_procrustes(X, padded)
    np.testing.assert_allclose(fit_orthogonal(X, Y, center=False, scale=False).matrix, expected[:, :4], atol=1e-10)
    backward, _ = orthogonal_procrustes(padded, X)
    np.testing.assert_allclose(fit_orthogonal(Y, X, center=False, scale=False).matrix, backward[:4], atol=1e-10)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(("x", "y"), [(X, Y), (Y, X), (X, SQUARE)], ids=["narrower", "wider", "equal"])
def test_the_factor_is_the_least_squares_one(x: Any, y: Any, weights: Any) -> None:
    """A turn into fewer dimensions cuts a part of x away, so that lengths before it do not tell the factor."""
    turn = fit_orthogonal(x, y, scale=False, weights=weights).matrix.numpy()
    centred_x, centred_y = (z - np.average(z, axis=0, weights=weights) for z in (x, y))
    repeated = None if weights is None else np.repeat(weights, y.shape[1])
    model = LinearRegression(fit_intercept=False).fit((centred_x @ turn).reshape(-1, 1), centred_y.ravel(), repeated)
    scaled = fit_orthogonal(x, y, weights=weights).matrix.numpy()
    np.testing.assert_allclose(scaled, model.coef_[0] * turn, atol=1e-9)


def test_no_turn_beats_the_orthogonal_fit() -> None:
    best = evaluate_translation(fit_orthogonal(X, SQUARE, scale=False), X, SQUARE).residual
    centred, target = X - X.mean(0), SQUARE - SQUARE.mean(0)
    for _ in range(50):
        turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
        assert np.sqrt(((centred @ turn - target) ** 2).sum(1).mean()) >= best


def test_l_orthogonal_is_the_polar_part_of_least_squares() -> None:
    solution = np.linalg.lstsq(X - X.mean(0), SQUARE - SQUARE.mean(0), rcond=None)[0]
    u, _, vh = np.linalg.svd(solution)
    np.testing.assert_allclose(fit_l_orthogonal(X, SQUARE).matrix, u @ vh, atol=1e-12)
    assert torch.equal(fit_l_orthogonal(X, SQUARE, center=False).bias, torch.zeros(5, dtype=torch.float64))


def test_linear_agrees_with_numpy_also_where_pairs_are_few() -> None:
    padded = np.pad(X, ((0, 0), (0, 20)))
    for x, y in ((X, Y), (X[:3], Y[:3]), (padded, Y), (padded[:8], Y[:8]), (np.tile(X, 2), Y), (X[[0, 1] * 5], Y[:10])):
        expected = np.linalg.lstsq(x, y, rcond=None)[0]
        np.testing.assert_allclose(fit_linear(x, y).matrix, expected, atol=1e-10)


@pytest.mark.parametrize("n", [60, 4])
@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_ridge_and_affine_agree_with_scikit_learn(n: int, strength: float) -> None:
    x, y = X[:n], Y[:n]
    theirs = Ridge(alpha=strength, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(fit_ridge(x, y, ridge=strength).matrix, theirs.coef_.T, atol=1e-10)
    theirs = Ridge(alpha=strength).fit(x, y)
    ours = fit_affine(x, y, ridge=strength)
    np.testing.assert_allclose(ours.matrix, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(ours.bias, theirs.intercept_, atol=1e-10)


def test_affine_without_ridge_is_linear_regression() -> None:
    theirs = LinearRegression().fit(X, Y)
    np.testing.assert_allclose(fit_affine(X, Y, ridge=0).matrix, theirs.coef_.T, atol=1e-10)


def test_whole_weights_are_repeated_pairs() -> None:
    again_x, again_y = np.repeat(X, WEIGHTS, axis=0), np.repeat(Y, WEIGHTS, axis=0)
    total = WEIGHTS.sum()
    for method, options, scaled in (
        (fit_orthogonal, {}, {}),
        (fit_orthogonal, {"center": False}, {"center": False}),
        (fit_scaled_orthogonal, {}, {}),
        (fit_linear, {}, {}),
        # Weights are scaled to sum to n, and the penalty is not.
        (fit_ridge, {"ridge": 2.0 * total / 60}, {"ridge": 2.0}),
        (fit_affine, {"ridge": 2.0 * total / 60}, {"ridge": 2.0}),
        (fit_l_orthogonal, {}, {}),
        (fit_l_orthogonal, {"center": False}, {"center": False}),
        (fit_low_rank, {"rank": 2, "ridge": 2.0 * total / 60}, {"rank": 2, "ridge": 2.0}),
        (fit_calibrated, {"ridge": 2.0 * total / 60}, {"ridge": 2.0}),
        (fit_pls, {"components": 2}, {"components": 2}),
        (fit_cca, {"components": 2}, {"components": 2}),
        (fit_affine_gradient, {"steps": 500}, {"steps": 500}),
        (fit_affine_gradient, {"steps": 500, "loss": "huber", "decay": 0.1}, None),
    ):
        scaled = options if scaled is None else scaled
        repeated, weighted = method(again_x, again_y, **options), method(X, Y, weights=WEIGHTS, **scaled)
        # L-BFGS stops where the loss rests, a little beside the optimum.
        tolerance = {"atol": 1e-4, "rtol": 1e-4} if method is fit_affine_gradient else {}
        torch.testing.assert_close(weighted.matrix, repeated.matrix, **tolerance)
        torch.testing.assert_close(weighted.bias, repeated.bias, **tolerance)


def naive_gcv(x: np.ndarray, y: np.ndarray, strength: float) -> float:
    """The score by the hat matrix, with the mean as one more column."""
    centred = x - x.mean(0)
    hat = centred @ np.linalg.solve(centred.T @ centred + strength * np.eye(x.shape[1]), centred.T) + 1 / len(x)
    rest = y - hat @ y
    return float((rest**2).sum() / (len(x) - np.trace(hat)) ** 2)


@pytest.mark.parametrize("noise", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("n", [9, 60])
def test_the_strength_by_cross_validation_agrees_with_the_naive_twin(n: int, noise: float) -> None:
    x = X[:n]
    y = x[:, :3] + noise * np.random.default_rng(1).normal(size=(n, 3))
    centred = x - x.mean(0)
    grid = np.logspace(-10, 2, 37) * np.linalg.eigvalsh(centred.T @ centred).max()
    best = grid[np.argmin([naive_gcv(x, y, strength) for strength in grid])]
    torch.testing.assert_close(
        fit_affine(x, y, ridge="cv").matrix, fit_affine(x, y, ridge=float(best)).matrix, atol=1e-8, rtol=1e-8
    )


def naive_leave_one_out(x: np.ndarray, y: np.ndarray, strength: float, weights: np.ndarray) -> float:
    """Fit n times, each time without one pair; weights stay as they are."""
    total = 0.0
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        w = weights[rest, None]
        means = [(w * z[rest]).sum(0) / w.sum() for z in (x, y)]
        a, b = (z[rest] - mean for z, mean in zip((x, y), means, strict=True))
        matrix = np.linalg.solve((w * a).T @ a + strength * np.eye(x.shape[1]), (w * a).T @ b)
        total += weights[i] * float(((y[i] - means[1] - (x[i] - means[0]) @ matrix) ** 2).sum())
    return total


@pytest.mark.parametrize("noise", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("n", [4, 9, 60])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_strength_by_leaving_one_out_agrees_with_the_naive_twin(n: int, noise: float, weighted: bool) -> None:
    x = X[:n]
    y = x[:, :3] + noise * np.random.default_rng(1).normal(size=(n, 3))
    weights = WEIGHTS[:n] * n / WEIGHTS[:n].sum() if weighted else np.ones(n)
    centred = np.sqrt(weights)[:, None] * (x - (weights[:, None] * x).sum(0) / n)
    grid = np.logspace(-10, 2, 37) * np.linalg.eigvalsh(centred.T @ centred).max()
    best = grid[np.argmin([naive_leave_one_out(x, y, strength, weights) for strength in grid])]
    given = weights if weighted else None
    torch.testing.assert_close(
        fit_affine(x, y, ridge="loo", weights=given).matrix,
        fit_affine(x, y, ridge=float(best), weights=given).matrix,
        atol=1e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_one", [fit_affine, fit_ridge, fit_low_rank])
def test_pairs_are_left_out_one_by_one_below_four_a_dimension(fit_one: Any, weighted: bool) -> None:
    y, chosen_apart = Y + 20 * np.random.default_rng(1).normal(size=Y.shape), False
    for n in (4, 6, 9, 14, 19, 20, 60):
        weights = WEIGHTS[:n] if weighted else None
        default, loo, cv = (
            fit_one(X[:n], y[:n], weights=weights, **options).matrix
            for options in ({}, {"ridge": "loo"}, {"ridge": "cv"})
        )
        torch.testing.assert_close(default, loo if n < 4 * X.shape[1] else cv, atol=0, rtol=0)
        chosen_apart |= n < 4 * X.shape[1] and not torch.allclose(loo, cv)
    assert chosen_apart


def test_leaving_one_out_holds_where_pairs_are_as_many_as_dimensions_and_errors_are_unlike() -> None:
    rng = np.random.default_rng(0)
    matrix, scale = rng.normal(size=(60, 20)), np.exp(rng.normal(size=(60, 1)))
    x, more = np.exp(rng.normal(size=(60, 1))) * rng.normal(size=(60, 60)), rng.normal(size=(500, 60))
    y = x @ matrix + scale * rng.normal(size=(60, 20))
    errors = {
        ridge: evaluate_translation(fit_affine(x, y, ridge=ridge), more, more @ matrix).residual
        for ridge in ("loo", "cv", 0)
    }
    assert errors["loo"] <= min(errors.values()) * 1.001
    assert errors["loo"] < 0.5 * errors[0]


def test_cross_validation_helps_where_pairs_are_few_and_noisy() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(40, 10))
    x, y = (rng.normal(size=(30, 40)), rng.normal(size=(500, 40)))
    noisy = x @ matrix + 4 * rng.normal(size=(30, 10))
    by_cv = evaluate_translation(fit_affine(x, noisy), y, y @ matrix).residual
    without = evaluate_translation(fit_affine(x, noisy, ridge=0), y, y @ matrix).residual
    assert by_cv < without


def test_wide_and_tall_forms_agree() -> None:
    # Zero columns change nothing but the form: d > n.
    wide = np.pad(X[:8], ((0, 0), (0, 20)))
    for ridge in ("cv", "loo", 0.7, 0):
        np.testing.assert_allclose(
            fit_affine(wide, Y[:8], ridge=ridge).matrix[:5], fit_affine(X[:8], Y[:8], ridge=ridge).matrix, atol=1e-8
        )


def test_low_rank_is_reduced_rank_regression() -> None:
    x, y = X - X.mean(0), Y - Y.mean(0)
    solution = np.linalg.lstsq(x, y, rcond=None)[0]
    _, _, vh = np.linalg.svd(x @ solution)
    for rank in (1, 2, 4):
        ours = fit_low_rank(X, Y, rank=rank, ridge=0).matrix
        np.testing.assert_allclose(ours, solution @ vh[:rank].T @ vh[:rank], atol=1e-10)
        assert np.linalg.matrix_rank(ours.numpy()) == rank
    planted = X @ RNG.normal(size=(5, 1)) @ RNG.normal(size=(1, 4))
    assert np.linalg.matrix_rank(fit_low_rank(X, planted).matrix.numpy()) == 1


def test_a_calibrated_map_is_the_estimator_of_multivariate_calibration() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=(3000, 3)) * [3, 2, 1]
    noise = rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 6))
    x = y @ rng.normal(size=(3, 6)) + noise + 5
    centred_x, centred_y = x - x.mean(0), y - y.mean(0)
    # Brown 1982: x given y by least squares, then y by generalised least squares.
    coefficients = np.linalg.lstsq(centred_y, centred_x, rcond=None)[0]
    left = centred_x - centred_y @ coefficients
    weights = np.linalg.solve(left.T @ left, coefficients.T)
    expected = weights @ np.linalg.inv(coefficients @ weights)
    ours = fit_calibrated(x, y, ridge=0)
    np.testing.assert_allclose(ours.matrix, expected, atol=1e-8)
    # The mean of what is predicted, given y, is y; least squares shrinks it.
    for translation, unit in ((ours, True), (fit_affine(x, y, ridge=0), False)):
        slope = np.linalg.lstsq(centred_y, translation(x) - y.mean(0), rcond=None)[0]
        assert np.allclose(slope, np.eye(3), atol=1e-8) is unit


def test_a_calibrated_map_is_the_affine_one_where_x_determines_y_or_nothing_of_it() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 6))
    for y in (x @ rng.normal(size=(6, 8)), rng.normal(size=(200, 8))):
        np.testing.assert_allclose(fit_calibrated(x, y).matrix, fit_affine(x, y).matrix, atol=1e-6)


def test_a_calibrated_map_leaves_directions_alone_that_x_hardly_shows() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=(3000, 2)) * [3, 1]
    x = y + rng.normal(size=(3000, 2)) * [1, 5]
    affine, ours = (fit(x, y).matrix.diagonal() for fit in (fit_affine, fit_calibrated))
    np.testing.assert_allclose(affine, [9 / 10, 1 / 26], atol=0.01)
    np.testing.assert_allclose(ours, [1, 1 / 26], atol=0.02)


@pytest.mark.parametrize("components", [1, 2, 3, 5])
def test_pls_agrees_with_scikit_learn(components: int) -> None:
    theirs = PLSRegression(components, scale=False, tol=1e-14, max_iter=10_000).fit(X, Y)
    np.testing.assert_allclose(fit_pls(X, Y, components=components)(X), theirs.predict(X), atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("dependent", ["a duplicate", "a constant", "rank 3 of 10"])
def test_pls_ends_where_nothing_covaries_any_more(dependent: str, noise: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    x = {
        "a duplicate": np.c_[x, x[:, :1]],
        "a constant": np.c_[x, np.full(200, 0.1)],
        "rank 3 of 10": x[:, :3] @ rng.normal(size=(3, 10)),
    }[dependent]
    y = x @ rng.normal(size=(x.shape[1], 3)) + noise * rng.normal(size=(200, 3))
    rank = np.linalg.matrix_rank(x - x.mean(0))
    theirs = PLSRegression(rank, scale=False, tol=1e-14, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(fit_pls(x, y)(x), theirs.predict(x), atol=1e-6)
    np.testing.assert_allclose(fit_cca(x, y, shrinkage=0.0)(x), LinearRegression().fit(x, y).predict(x), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", translation_methods())
def test_of_a_constant_x_nothing_is_learned(method: str, dtype: type) -> None:
    x, y = np.full((20, 3), 0.1, dtype), Y[:20].astype(dtype)
    translation = fit(method, x, y)
    if "orthogonal" not in method and method not in ("linear", "ridge", "robust"):
        np.testing.assert_allclose(translation(x), np.tile(y.mean(0), (20, 1)), atol=1e-5)
    assert float(translation.matrix.abs().max()) < 1e3


def test_more_pairs_do_not_take_directions_from_least_squares() -> None:
    x = np.random.default_rng(0).normal(size=(30_000, 8)).astype(np.float32) + 200
    y = x @ np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    report = fit_linear(x, y).report
    assert report is not None
    assert report.r2 > 1 - 1e-8


def test_all_components_give_least_squares() -> None:
    expected = LinearRegression().fit(X, Y).predict(X)
    np.testing.assert_allclose(fit_pls(X, Y)(X), expected, atol=1e-8)
    np.testing.assert_allclose(fit_cca(X, Y, shrinkage=0.0)(X), expected, atol=1e-8)
    np.testing.assert_allclose(fit_low_rank(X, Y, rank=4, ridge=0)(X), expected, atol=1e-8)


def test_cca_keeps_the_direction_that_correlates_most() -> None:
    rng = np.random.default_rng(4)
    shared, x, y = rng.normal(size=(400, 1)), rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    x[:, :1], y[:, 2:] = shared, 0.1 * shared
    # The largest variance of y is elsewhere; correlation finds the small shared part.
    matrix = fit_cca(x, y, components=1, shrinkage=0.0).matrix.numpy()
    assert matrix[0, 2] == pytest.approx(0.1, abs=0.02)
    assert np.abs(matrix).sum() - abs(matrix[0, 2]) < 0.25


@pytest.mark.parametrize("loss", ["mse", "huber", "cosine"])
def test_gradient_reaches_least_squares_or_the_planted_directions(loss: str) -> None:
    if loss == "mse":
        expected = LinearRegression().fit(X, Y)
        ours = fit_affine_gradient(X, Y, steps=500)
        np.testing.assert_allclose(ours.matrix, expected.coef_.T, atol=1e-4)
        np.testing.assert_allclose(ours.bias, expected.intercept_, atol=1e-4)
        return
    planted = X @ RNG.normal(size=(5, 4)) + 0.5
    report = fit_affine_gradient(X, planted, loss=loss, steps=500).report
    assert report is not None
    assert report.mean_cosine > 0.9999


def test_gradient_works_where_gradients_are_off_and_leaves_the_input_alone() -> None:
    x, y = torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)
    free = fit_affine_gradient(x, y)
    with torch.inference_mode():
        inside = fit_affine_gradient(torch.from_numpy(X), y)
    torch.testing.assert_close(inside.matrix.clone(), free.matrix)
    assert x.grad is None
    strong = fit_affine_gradient(X, Y, decay=1e3)
    assert strong.matrix.abs().max() < 0.1 * free.matrix.abs().max()


@pytest.mark.parametrize("loss", ["tukey", "huber", "trimmed"])
@pytest.mark.parametrize("base", ["orthogonal", "scaled_orthogonal", "l_orthogonal", "affine", "low_rank", "pls"])
def test_robust_fits_withstand_wrong_pairs(base: str, loss: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    y = x @ turn + 1 + 0.01 * rng.normal(size=(200, 5))
    y[:50] = 5 * rng.normal(size=(50, 5)) + 4
    plain = fit_orthogonal(x, y, scale=False) if base == "orthogonal" else fit_affine(x, y)
    robust = fit_robust(x, y, base=base, loss=loss, keep=0.7)
    error = np.linalg.norm(robust(x[50:]) - y[50:], axis=1).mean()
    assert error < (0.15 if loss == "huber" else 0.05)
    assert error < 0.2 * np.linalg.norm(plain(x[50:]) - y[50:], axis=1).mean()
    assert robust.method == f"robust {base}"


def test_every_method_but_the_robust_takes_weights_and_those_in_closed_form_serve_as_its_base() -> None:
    for method in translation_methods():
        if method == "robust":
            continue
        assert fit(method, X, Y, weights=WEIGHTS).report is not None
        with pytest.raises(InvalidInputError, match="weights must be non-negative"):
            fit(method, X, Y, weights=-np.ones(60))
    for base in BASES:
        assert fit_robust(X, Y, base=base, rounds=2).method == f"robust {base}"


def test_pairs_without_weight_have_no_say() -> None:
    wrong = Y.copy()
    wrong[:20] = 1e3
    weights = np.r_[np.zeros(20), np.ones(40)]
    for method in sorted(set(translation_methods()) - {"robust"}):
        left, weighed = fit(method, X[20:], Y[20:]), fit(method, X, wrong, weights=weights)
        torch.testing.assert_close(weighed.matrix, left.matrix, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(weighed.bias, left.bias, atol=1e-2, rtol=1e-2)


def test_robust_agrees_with_its_base_where_all_pairs_fit() -> None:
    x = RNG.normal(size=(50, 4))
    y = x @ np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    torch.testing.assert_close(fit_robust(x, y).matrix, fit_orthogonal(x, y, scale=False).matrix)
    kept = fit_robust(x, y + 0.1 * RNG.normal(size=y.shape), loss="trimmed", keep=1.0)
    assert kept.report is not None


def test_options_are_checked() -> None:
    torch.testing.assert_close(fit_affine(X, Y, ridge=np.int64(2)).matrix, fit_affine(X, Y, ridge=2.0).matrix)
    for bad in (-1.0, float("nan"), float("inf"), np.float32("nan"), "gcv"):
        with pytest.raises(InvalidInputError, match="ridge must be 'auto', 'cv', 'loo' or a finite number"):
            fit_affine(X, Y, ridge=bad)
    with pytest.raises(InvalidInputError, match="fit_affine needs at least 3 pairs, found 2"):
        fit_affine(X[:2], Y[:2])
    with pytest.raises(InvalidInputError, match=r"rank must be a whole number in \[1, 4\]"):
        fit_low_rank(X, Y, rank=5)
    with pytest.raises(InvalidInputError, match=r"components must be a whole number in \[1, 3\]"):
        fit_pls(X[:4], Y[:4], components=4)
    with pytest.raises(InvalidInputError, match=r"components must be a whole number in \[1, 4\]"):
        fit_cca(X, Y, components=5)
    with pytest.raises(InvalidInputError, match="shrinkage must lie in"):
        fit_cca(X, Y, shrinkage=1.0)
    with pytest.raises(UnknownNameError, match="loss"):
        fit_affine_gradient(X, Y, loss="l2")
    with pytest.raises(InvalidInputError, match="decay"):
        fit_affine_gradient(X, Y, decay=-1)
    with pytest.raises(UnknownNameError, match="base of fit_robust"):
        fit_robust(X, Y, base="affine_gradient")
    with pytest.raises(UnknownNameError, match="robust loss"):
        fit_robust(X, Y, loss="l1")
    with pytest.raises(InvalidInputError, match=r"keep must lie in \[0.5, 1\]"):
        fit_robust(X, Y, loss="trimmed", keep=0.3)
    with pytest.raises(InvalidInputError, match="weights must have one value a pair"):
        fit_orthogonal(X, Y, weights=np.ones(3))


@pytest.mark.parametrize("n", [60, 8])
@pytest.mark.parametrize("strength", [1e-6, 1.0, 100.0])
def test_float32_is_solved_in_the_precision_that_it_needs(n: int, strength: float) -> None:
    # The last dimension is nearly a copy of the first: normal equations in float32 would lose it.
    x = np.c_[X, X[:, 0] + 1e-3 * RNG.normal(size=60)][:n].astype(np.float32)
    y = Y[:n].astype(np.float32)
    theirs = Ridge(alpha=strength).fit(x.astype(np.float64), y.astype(np.float64))
    ours = fit_affine(x, y, ridge=strength)
    assert ours.matrix.dtype == torch.float32
    np.testing.assert_allclose(ours.matrix, theirs.coef_.T, atol=1e-3, rtol=1e-3)


def test_a_strength_that_cannot_be_told_from_nothing_is_refused() -> None:
    x = np.tile(X[:, :1], 3) * 1e6
    with pytest.raises(InvalidInputError, match="ridge must be large enough for x to be solved"):
        fit_affine(x, Y, ridge=1e-300)


def test_a_large_fit_reports_all_its_pairs_from_some_of_them() -> None:
    x = np.random.default_rng(5).normal(size=(5000, 3))
    y = x @ np.diag([1.0, 2, 3]) + np.random.default_rng(6).normal(size=(5000, 3))
    translation = fit_affine(x, y)
    report, full = translation.report, evaluate_translation(translation, x, y)
    assert report is not None
    assert report.n_pairs == full.n_pairs == 5000
    assert report.residual == pytest.approx(full.residual, rel=0.05)
    assert report.condition_number == full.condition_number == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("n", [256, 257, 511, 1000])
def test_the_rows_of_a_report_come_from_all_pairs(n: int) -> None:
    x, y = torch.ones(n, 1), torch.ones(n, 1)
    y[n // 2 :] = 3
    translation = Translation.identity(1)
    translation.record(x, y, None)
    assert translation.report is not None
    assert translation.report.residual == pytest.approx(2**0.5, rel=0.01)


def test_the_report_is_that_of_the_fit_however_late_it_is_asked_for() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = 2 * x + 1
    fitted, asked = fit_affine(x, y), fit_affine(x, y).report
    x[:], y[:] = 0, 7  # the caller's arrays are the caller's
    copy = deepcopy(fitted)
    fitted.load_state_dict({"matrix": torch.zeros(3, 3), "bias": torch.zeros(3)})
    assert fitted.report == copy.report == asked
