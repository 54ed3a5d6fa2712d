"""Ridge regression for many penalties at once, from one eigendecomposition."""

import numpy as np
from scipy.linalg import eigh

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
