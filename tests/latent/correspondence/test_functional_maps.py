"""Functional maps: eigenbases against dense NumPy, planted isometries, a naive least-squares twin."""

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import project_cosine
from rlstitch.latent.correspondence import functional_maps
from rlstitch.latent.correspondence.functional_maps import (
    Eigenbasis,
    FunctionalMap,
    fit_functional_map,
    laplacian_eigenbasis,
    refine_functional_map,
)


def twins(n=150, seed=0, noise=0.0):
    """A cloud and a rotated copy of it, shuffled; truth[i] is the row of y that belongs to x[i]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) * [3.0, 2.0, 1.5, 1.0]
    order = rng.permutation(n)
    y = (2 * x @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + noise * rng.normal(size=(n, 4)))[order]
    return x, y, order.argsort()


def dense_laplacian(x, neighbours):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    adjacency = np.zeros_like(cosine)
    for i, row in enumerate(cosine):
        adjacency[i, row.argsort()[-neighbours:]] = 1
    adjacency = np.maximum(adjacency, adjacency.T)
    degree = adjacency.sum(1)
    return np.eye(len(x)) - adjacency / np.sqrt(degree[:, None] * degree)


@pytest.mark.parametrize("dense_below", [0, 1000])
def test_eigenbasis_is_that_of_the_dense_laplacian(dense_below, monkeypatch):
    monkeypatch.setattr(functional_maps, "_DENSE", dense_below)
    x, _, _ = twins()
    basis = laplacian_eigenbasis(x, 12, neighbours=9)
    laplacian = dense_laplacian(x, 9)
    np.testing.assert_allclose(basis.values, np.linalg.eigvalsh(laplacian)[:12], atol=1e-9)
    np.testing.assert_allclose(basis.functions.T @ basis.functions, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(laplacian @ basis.functions, basis.functions * basis.values, atol=1e-8)
    assert (basis.functions[np.abs(basis.functions).argmax(0), np.arange(12)] > 0).all()


def test_a_graph_in_many_parts_has_as_many_eigenvalues_of_zero(monkeypatch):
    monkeypatch.setattr(functional_maps, "_DENSE", 40)
    rng = np.random.default_rng(0)
    # 30 clusters of 10, and one of 60 that the sparse solver takes.
    x = np.concatenate([rng.normal(size=(n, 3)) * 0.01 + rng.normal(size=3) * 10 for n in [10] * 30 + [60]])
    basis = laplacian_eigenbasis(x, 40, neighbours=5, metric="euclidean")
    monkeypatch.setattr(functional_maps, "_DENSE", 1000)
    dense = laplacian_eigenbasis(x, 40, neighbours=5, metric="euclidean")
    np.testing.assert_allclose(basis.values, dense.values, atol=1e-9)
    assert (basis.values < 1e-9).sum() == 31
    np.testing.assert_allclose(basis.functions.T @ basis.functions, np.eye(40), atol=1e-9)
    within = dense.functions[:, :31] @ dense.functions[:, :31].T
    np.testing.assert_allclose(within @ basis.functions[:, :31], basis.functions[:, :31], atol=1e-8)


def test_eigenbasis_laws():
    x, _, _ = twins()
    plain = laplacian_eigenbasis(x, 8)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(laplacian_eigenbasis(x[order], 8).functions, plain.functions[order], atol=1e-8)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    np.testing.assert_allclose(laplacian_eigenbasis(3 * x @ rotation, 8).functions, plain.functions, atol=1e-8)
    assert not np.allclose(laplacian_eigenbasis(x + 3, 8).values, plain.values, atol=1e-3)
    moved = laplacian_eigenbasis(x + 3, 8, metric="euclidean").values
    np.testing.assert_allclose(moved, laplacian_eigenbasis(x, 8, metric="euclidean").values, atol=1e-10)
    tensor = laplacian_eigenbasis(torch.from_numpy(x), 8)
    np.testing.assert_allclose(tensor.functions, plain.functions, atol=1e-10)
    assert plain.values[0] == pytest.approx(0, abs=1e-10)


def planted(noise=0.0, k=40, anchors=25):
    x, y, truth = twins(noise=noise)
    chosen = np.random.default_rng(3).choice(len(x), anchors, replace=False)
    bases = laplacian_eigenbasis(x, k), laplacian_eigenbasis(y, k)
    descriptors = project_cosine(x, x[chosen]), project_cosine(y, y[truth[chosen]])
    return *bases, *descriptors, truth


def test_an_isometry_is_found():
    x_basis, y_basis, x_descriptors, y_descriptors, truth = planted()
    fitted = fit_functional_map(x_basis, y_basis, x_descriptors, y_descriptors)
    assert (fitted.matches() == truth).mean() > 0.9
    assert fitted.similarity() > 0.8
    refined = refine_functional_map(fitted)
    assert (refined.matches() == truth).mean() >= (fitted.matches() == truth).mean()
    np.testing.assert_allclose(refined.matrix @ refined.matrix.T, np.eye(40), atol=1e-9)
    # A function of x, and the same function of y, are one another's transfer as far as the bases resolve them.
    smooth = x_basis.functions[:, :5]
    np.testing.assert_allclose(refined.transfer(smooth)[truth], smooth, atol=1e-6)


def test_refinement_improves_a_noisy_map():
    *given, truth = planted(noise=0.3)
    fitted = fit_functional_map(*given)
    before, after = (fitted.matches() == truth).mean(), (refine_functional_map(fitted).matches() == truth).mean()
    assert after > before
    shuffled = given[3][np.random.default_rng(0).permutation(len(truth))]
    wrong = fit_functional_map(*given[:3], shuffled)
    assert wrong.similarity() < fitted.similarity()


@pytest.mark.parametrize("regularization", [0.0, 0.3])
def test_the_closed_form_is_the_least_squares_solution(regularization):
    rng = np.random.default_rng(0)
    x_basis = Eigenbasis(np.sort(rng.uniform(0, 2, 3)), np.linalg.qr(rng.normal(size=(9, 3)))[0])
    y_basis = Eigenbasis(np.sort(rng.uniform(0, 2, 4)), np.linalg.qr(rng.normal(size=(8, 4)))[0])
    f, g = rng.normal(size=(9, 6)), rng.normal(size=(8, 6))
    f, g = f / np.linalg.norm(f, axis=0), g / np.linalg.norm(g, axis=0)
    a, b = x_basis.functions.T @ f, y_basis.functions.T @ g
    # vec(C) solves one large least-squares problem, stacked from both terms.
    root = np.sqrt(regularization * (a**2).sum())
    gap = (y_basis.values[:, None] - x_basis.values).ravel()
    system = np.r_[np.kron(np.eye(4), a.T), root * np.diag(gap)]
    expected = np.linalg.lstsq(system, np.r_[b.ravel(), np.zeros(12)], rcond=None)[0].reshape(4, 3)
    result = fit_functional_map(x_basis, y_basis, f, g, regularization=regularization).matrix
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_similarity_of_known_matrices():
    basis = Eigenbasis(np.zeros(2), np.eye(2))
    assert FunctionalMap(np.array([[0.0, 1.0], [-1.0, 0.0]]), basis, basis).similarity() == pytest.approx(1)
    assert FunctionalMap(np.ones((2, 2)), basis, basis).similarity() == pytest.approx(0.5)
    assert FunctionalMap(np.zeros((2, 2)), basis, basis).similarity() == 0.0


def test_edge_cases_and_refusals():
    x, y, _ = twins(30)
    basis = laplacian_eigenbasis(x, 30, neighbours=29)
    assert np.isfinite(basis.functions).all()
    parts = laplacian_eigenbasis(np.r_[np.eye(2)[[0] * 5], np.eye(2)[[1] * 5]], 3, neighbours=3)
    np.testing.assert_allclose(parts.values[:2], 0, atol=1e-10)
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 30\]"):
        laplacian_eigenbasis(x, 31)
    with pytest.raises(InvalidInputError, match=r"neighbours must be a whole number in \[1, 29\]"):
        laplacian_eigenbasis(x, 5, neighbours=30)
    with pytest.raises(InvalidInputError, match="x must be finite"):
        laplacian_eigenbasis(np.full((9, 2), np.inf), 2)
    with pytest.raises(InvalidInputError, match="at least 2 row"):
        laplacian_eigenbasis(x[:1], 1)
    with pytest.raises(InvalidInputError, match="equally many"):
        fit_functional_map(basis, basis, x, y[:, :2])
    with pytest.raises(InvalidInputError, match="one row a sample"):
        fit_functional_map(basis, basis, x[:5], y[:5])
    with pytest.raises(InvalidInputError, match="not 0 everywhere"):
        fit_functional_map(basis, basis, 0 * x, y)
    with pytest.raises(InvalidInputError, match="regularization"):
        fit_functional_map(basis, basis, x, y, regularization=-1)
    with pytest.raises(InvalidInputError, match="one row a sample"):
        fit_functional_map(basis, basis, x, y).transfer(x[:3])
    with pytest.raises(InvalidInputError, match="rounds"):
        refine_functional_map(fit_functional_map(basis, basis, x, y), rounds=0)
