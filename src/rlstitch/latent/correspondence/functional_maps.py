"""Latent functional maps: align functions on two spaces, not points (Fumero et al. 2024, 2406.14183).

A space becomes the k-nearest-neighbour graph of its samples; the low eigenvectors of the graph's Laplacian are a basis
of smooth functions. A functional map is the small matrix that takes coefficients of functions on x to those of the
same functions on y, found from a few functions (descriptors) known on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, follow, require_count, to_numpy, to_tensor
from rlstitch.latent.retrieval import Metric, nearest

_DENSE = 300  # below this many samples a dense eigensolver is faster and more robust


@dataclass(frozen=True)
class Eigenbasis(Generic[A]):
    """The k smoothest functions on n samples: `values` (k,) in [0, 2], rising; `functions` (n, k), orthonormal; both in
    float64.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> basis = laplacian_eigenbasis(x, 4, neighbours=6)
        >>> basis.functions.shape, round(float(abs(basis.values[0])), 6)
        ((20, 4), 0.0)
    """

    values: A
    functions: A


@dataclass(frozen=True)
class FunctionalMap(Generic[A]):
    """`matrix` C (k_y, k_x) takes coefficients in x's basis to those in y's; arrays of the kind of x's basis.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> basis = laplacian_eigenbasis(x, 8, neighbours=6)
        >>> fitted = fit_functional_map(basis, basis, np.eye(20), np.eye(20))
        >>> round(fitted.similarity(), 3), fitted.transfer(np.eye(20)[:, :2]).shape
        (1.0, (20, 2))
    """

    matrix: A
    x_basis: Eigenbasis[A]
    y_basis: Eigenbasis[A]

    def transfer(self, functions: Array) -> A:
        """Functions on x (n, q) to functions on y (m, q), smoothed by the two bases."""
        values = _functions(functions, "functions", len(self.x_basis.functions))
        x_functions, y_functions, matrix = (
            to_numpy(part) for part in (self.x_basis.functions, self.y_basis.functions, self.matrix)
        )
        return follow(y_functions @ (matrix @ (x_functions.T @ values)), self.matrix)

    def matches(self) -> A:
        """For each sample of x the sample of y (n,) whose indicator function is nearest to its own, transferred."""
        moved: A = self.x_basis.functions @ self.matrix.T
        return nearest(moved, self.y_basis.functions, 1, metric="euclidean").indices[:, 0]

    def similarity(self) -> float:
        """How near to an isometry the map is, in [0, 1]: 1 - ||off-diagonal of C^T C||^2 / ||C^T C||^2; 0 for a map of
        nothing. Says little of a refined map, which is orthogonal by construction.
        """
        matrix = to_numpy(self.matrix)
        gram = matrix.T @ matrix
        whole = float((gram**2).sum())
        return float((np.diag(gram) ** 2).sum()) / whole if whole > 0 else 0.0


def laplacian_eigenbasis(x: A, k: int, *, neighbours: int = 20, metric: Metric = "cosine") -> Eigenbasis[A]:
    """The k lowest eigenvectors of the symmetric normalised Laplacian of the neighbour graph of x (n, d).

    Two samples are joined where either is among the `neighbours` nearest of the other. Memory O(n (neighbours + k)).
    k lies in [1, n], neighbours in [1, n - 1]. Signs are fixed: each column's entry of largest size is positive. A
    graph in c parts has c eigenvalues of 0, whose eigenvectors are arbitrary within their span.

    Args:
        x: samples `(n, d)`.
        k: eigenvectors, in [1, n].
        neighbours: edges per sample, in [1, n - 1].
        metric: `cosine`, `dot` or `euclidean`.

    Returns:
        Eigenvalues and eigenvectors, of the kind of x.

    Raises:
        InvalidInputError: for values outside their ranges, NaN or infinity.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> functions = laplacian_eigenbasis(x, 4, neighbours=6).functions
        >>> bool(np.allclose(functions.T @ functions, np.eye(4)))
        True
    """
    points = to_tensor(x, "x", min_rows=2).detach().double().cpu()
    n = len(points)
    require_count(k, n, "k", "the number of samples")
    require_count(neighbours, n - 1, "neighbours", "one less than the number of samples")
    near = nearest(points, points, neighbours, metric=metric, exclude_self=True).indices.numpy()
    rows = np.repeat(np.arange(n), neighbours)
    edges = scipy.sparse.csr_array((np.ones(near.size), (rows, near.ravel())), shape=(n, n))
    edges = edges.maximum(edges.T)
    root = 1 / np.sqrt(edges.sum(axis=1))
    scaled = edges.multiply(root[:, None]).multiply(root[None, :]).tocsr()
    values, functions = _lowest(scaled, k) if n <= _DENSE or k > n // 3 else _lowest_of_parts(scaled, k)
    signs = np.sign(functions[np.abs(functions).argmax(0), np.arange(k)])
    return Eigenbasis(follow(np.clip(values, 0.0, 2.0), x), follow(functions * signs, x))


def _lowest(scaled: Any, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The k lowest eigenvalues, rising, and eigenvectors (n, k) of I - scaled (n, n)."""
    n = scaled.shape[0]
    if n <= _DENSE or k > n // 3:
        values, functions = np.linalg.eigh(np.eye(n) - scaled.toarray())
        return values[:k], functions[:, :k]
    start = np.random.default_rng(0).normal(size=n)
    values, functions = scipy.sparse.linalg.eigsh(scaled, k=k, which="LA", v0=start)
    return 1 - values[::-1], functions[:, ::-1]


def _lowest_of_parts(scaled: Any, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`_lowest`, each connected part of the graph by itself: from one start the sparse solver misses equal values."""
    pieces, label = connected_components(scaled, directed=False)
    parts = np.split(np.argsort(label, kind="stable"), np.bincount(label).cumsum()[:-1])
    each = [_lowest(scaled[part][:, part], min(k, len(part))) for part in parts]
    owner = np.repeat(np.arange(pieces), [len(values) for values, _ in each])
    column = np.concatenate([np.arange(len(values)) for values, _ in each])
    values = np.concatenate([values for values, _ in each])
    lowest = values.argsort(kind="stable")[:k]
    functions = np.zeros((scaled.shape[0], k))
    for place, index in enumerate(lowest):
        functions[parts[owner[index]], place] = each[owner[index]][1][:, column[index]]
    return values[lowest], functions


def fit_functional_map(
    x_basis: Eigenbasis[A],
    y_basis: Eigenbasis[A],
    x_descriptors: Array,
    y_descriptors: Array,
    *,
    regularization: float = 0.1,
) -> FunctionalMap[A]:
    """The C that takes descriptors of x (n, q) to those of y (m, q) and commutes with the Laplacians.

    Minimises ||C A - B||^2 + r ||diag(v_y) C - C diag(v_x)||^2, A and B the descriptors' coefficients, row by row of C
    in closed form; r is `regularization` times ||A||^2, at least 0. Descriptors are functions known on both spaces:
    relative projections on paired anchors, class memberships, indicators of paired samples. Each pair of columns is
    scaled to length 1.

    Args:
        x_basis: of x.
        y_basis: of y.
        x_descriptors: functions on x `(n, q)`.
        y_descriptors: the same functions on y `(m, q)`.
        regularization: weight of the commutator, at least 0.

    Returns:
        The fitted map.

    Raises:
        InvalidInputError: for descriptors that are not equally many or all 0, NaN or infinity.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> x_basis, y_basis = (laplacian_eigenbasis(s, 8, neighbours=6) for s in (x, x[::-1].copy()))
        >>> fitted = fit_functional_map(x_basis, y_basis, np.eye(20), np.eye(20)[::-1].copy())
        >>> float((fitted.matches() == np.arange(20)[::-1]).mean())
        1.0
    """
    if not (np.isfinite(regularization) and regularization >= 0):
        raise InvalidInputError(f"regularization must be finite and at least 0, found {regularization!r}")
    first = _functions(x_descriptors, "x_descriptors", len(x_basis.functions))
    second = _functions(y_descriptors, "y_descriptors", len(y_basis.functions))
    if first.shape[1] != second.shape[1]:
        raise InvalidInputError(
            f"x_descriptors and y_descriptors must be equally many, found {first.shape[1]} and {second.shape[1]}"
        )
    a = to_numpy(x_basis.functions).T @ _unit_columns(first)
    b = to_numpy(y_basis.functions).T @ _unit_columns(second)
    gram, cross = a @ a.T, b @ a.T
    size = float(np.trace(gram))
    if size <= 0:
        raise InvalidInputError("x_descriptors must hold a function that is not 0 everywhere, found none")
    x_values, y_values = to_numpy(x_basis.values), to_numpy(y_basis.values)
    matrix = np.empty((len(y_values), len(x_values)))
    for i, value in enumerate(y_values):
        penalty = regularization * size * (x_values - value) ** 2
        # The ridge settles directions that neither descriptors nor penalty determine.
        matrix[i] = np.linalg.solve(gram + np.diag(penalty + 1e-9 * size), cross[i])
    return FunctionalMap(follow(matrix, x_basis.functions), x_basis, y_basis)


def refine_functional_map(fitted: FunctionalMap[A], *, rounds: int = 10) -> FunctionalMap[A]:
    """Alternate between points and functions: match samples, then take the orthogonal C nearest to that matching.

    The iterative closest points of Ovsjanikov et al. 2012 in the spectral domain. Ends early
    when the matching no longer changes.

    Args:
        fitted: the map to start from.
        rounds: rounds at most.

    Returns:
        The refined map.

    Raises:
        InvalidInputError: for rounds below 1.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> basis = laplacian_eigenbasis(x, 8, neighbours=6)
        >>> refined = refine_functional_map(fit_functional_map(basis, basis, np.eye(20)[:, :4], np.eye(20)[:, :4]))
        >>> bool(np.allclose(refined.matrix.T @ refined.matrix, np.eye(8)))
        True
    """
    require_count(rounds, 10**4, "rounds", "rounds")
    matches = to_numpy(fitted.matches())
    x_functions, y_functions = to_numpy(fitted.x_basis.functions), to_numpy(fitted.y_basis.functions)
    for _ in range(rounds):
        left, _, right = np.linalg.svd(y_functions[matches].T @ x_functions, full_matrices=False)
        fitted = FunctionalMap(follow(left @ right, fitted.matrix), fitted.x_basis, fitted.y_basis)
        again = to_numpy(fitted.matches())
        if np.array_equal(again, matches):
            break
        matches = again
    return fitted


def _functions(values: Array, name: str, samples: int) -> NDArray[np.float64]:
    functions: NDArray[np.float64] = to_tensor(values, name).detach().double().cpu().numpy()
    if len(functions) != samples:
        raise InvalidInputError(f"{name} must have one row a sample ({samples}), found shape {functions.shape}")
    return functions


def _unit_columns(functions: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(functions, axis=0)
    return functions / np.where(lengths > 0, lengths, 1.0)
