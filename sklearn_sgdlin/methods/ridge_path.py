"""Ridge regression for many penalties at once, from one eigendecomposition.

With fewer rows than columns there is one unknown a row, and the products of all rows with each
other serve every split. With centred rows Z and targets r of the training rows, and H their weights
with sum W, the coefficients are ``Z' H^(1/2) u`` where ``(H^(1/2) Z Z' H^(1/2) + alpha W I) u =
H^(1/2) r`` (Saunders, Gammerman & Vovk, 1998).
"""

import numpy as np
from scipy.linalg import eigh

from ..linalg.blocks import chunk_rows, slices

# Eigenvalue with the shift, relative to the largest eigenvalue, from which on rounding errors of
# the eigendecomposition are less than a millionth of the solution. Corrections do the rest.
MIN_EIGENVALUE = 1e-9

# Corrections, and what the last one may leave, relative to the decrease of the objective.
N_CORRECTIONS = 3
MAX_REMAINING = 1e-20


def shifted_solutions(matrix, right, shifts):
    """Return the solutions of ``(matrix + shift * I) x = right`` for each shift.

    With ``matrix = V diag(e) V'`` they are ``V (V' right / (e + shift))``.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        Symmetric, positive semidefinite.
    right : ndarray of shape (n, n_targets)
    shifts : ndarray of shape (n_shifts,)

    Returns
    -------
    solutions : ndarray of shape (n_shifts, n_targets, n)
        NaN where rounding errors matter.
    """
    eigenvalues, vectors = eigh(matrix)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    solutions = np.full((len(shifts), right.shape[1], len(matrix)), np.nan)
    accurate = np.flatnonzero(shifts + eigenvalues[0] > MIN_EIGENVALUE * eigenvalues[-1])
    shift = shifts[accurate, np.newaxis]
    for target, column in enumerate(right.T):
        x = correction = (vectors.T @ column) / (eigenvalues + shift) @ vectors.T
        for _ in range(N_CORRECTIONS):
            residual = column - x @ matrix - shift * x
            correction = (residual @ vectors) / (eigenvalues + shift) @ vectors.T
            x = x + correction
        remaining = np.abs(residual * correction).sum(axis=1)
        proved = remaining <= MAX_REMAINING * np.maximum(x @ column, 0.0)
        solutions[accurate[proved], target] = x[proved]
    return solutions


def row_products(X, centred):
    """Return the products of the rows of dense X, less their mean or as they are, in float64."""
    total = np.zeros((len(X), len(X)))
    for part in slices(X.shape[1], chunk_rows(len(X))):
        z = X[:, part].astype(np.float64)
        if centred:
            z -= z.mean(axis=0)
        total += z @ z.T
    return total


def kernel_solutions(products, data, rows, alphas, fit_intercept):
    """Return the models of training rows for each alpha.

    Parameters
    ----------
    products : ndarray of shape (n_rows, n_rows)
        Of all rows, less any centre with an intercept, or zero without.
    data : tuple of X, targets of shape (n_rows, n_targets), and sample_weight or None
    rows : ndarray of int
        The training rows.
    alphas : ndarray of shape (n_alphas,)
    fit_intercept : bool

    Returns
    -------
    coef : ndarray of shape (n_alphas, n_targets, n_features)
        NaN where rounding errors matter.
    centre : ndarray of shape (n_features + n_targets,)
        Row, and its targets, that all models go through.
    """
    X, targets, weight = data[0][rows], data[1][rows], data[2]
    weight = np.ones(len(rows)) if weight is None else weight[rows]
    share, root = weight / weight.sum(), np.sqrt(weight)
    centre = np.zeros(X.shape[1] + targets.shape[1])
    kernel = products[np.ix_(rows, rows)]
    if fit_intercept:
        centre = np.concatenate([share @ X, share @ targets])
        mean = share @ kernel
        kernel += share @ mean - np.add.outer(mean, mean)
    targets = root[:, np.newaxis] * (targets - centre[X.shape[1] :])
    kernel *= np.multiply.outer(root, root)
    unknowns = root * shifted_solutions(kernel, targets, alphas * weight.sum())
    coef = unknowns @ X - unknowns.sum(axis=2, keepdims=True) * centre[: X.shape[1]]
    return coef, centre
