"""Least squares: the pseudo-inverse of rows, and ridge regression on rows."""

import numpy as np
from scipy.linalg import qr
from scipy.linalg.lapack import dtrcon, dtrtrs

from .blocks import divided
from .triangular import append_factor

# Singular value of rows with columns of norm 1, relative to the largest one, up to which its
# direction is taken for a rounding error: columns are combinations of others there.
DEPENDENT = 1e-13


class LeastSquares:
    """The pseudo-inverse of rows A, by orthogonal transformations.

    Columns are scaled to norm 1 first. Directions whose singular value then is below `DEPENDENT`
    of the largest count as not there, so a solution has the smallest norm in these columns.

    The factors are ``A / column norms = left @ factor @ basis.T``, with a triangular factor; None
    stands for an identity.

    `rows` of shape (n_rows, n_coordinates): A, with no more rows than columns; triangular where it
    is square.
    """

    def __init__(self, rows):
        norm = np.linalg.norm(rows, axis=0)
        self.norm, self.inverse_norm = norm, divided(1.0, norm)
        rows = rows * self.inverse_norm
        square, zero = rows.shape[0] == rows.shape[1], norm == 0
        # A zero column with a zero row gets a unit pivot, so that the triangle can be regular.
        if square and zero.any() and not rows[zero].any():
            rows[zero, zero] = 1.0
        self.left, self.factor, self.basis, self.lower = None, rows, None, False
        if square and _is_regular(rows):
            return
        self.lower = True
        if not square:
            self._factorise_transpose(rows)
        if square or not _is_regular(self.factor.T):
            left, pivoted, order = qr(rows, mode="economic", pivoting=True, check_finite=False)
            size = np.abs(pivoted.diagonal())
            rank = int((size > DEPENDENT * size.max(initial=0.0)).sum())
            self.left = left[:, :rank]
            self._factorise_transpose(pivoted[:rank, np.argsort(order)])

    def _factorise_transpose(self, rows):
        """Set factor and basis from the QR decomposition of the transposed rows."""
        self.basis, upper = np.linalg.qr(rows.T)
        self.factor = upper.T

    def _solve_factor(self, values, transposed):
        """Return the solution of the triangular system, or of its transpose."""
        if not len(values):
            return values
        return dtrtrs(self.factor, values, lower=self.lower, trans=transposed)[0]

    def solve(self, values):
        """Return the pseudo-inverse of A times values of shape (n_rows,)."""
        values = values if self.left is None else self.left.T @ values
        solution = self._solve_factor(values, False)
        return self.inverse_norm * (solution if self.basis is None else self.basis @ solution)

    def solve_normal(self, gradient):
        """Return the pseudo-inverse of A'A times a gradient of shape (n_coordinates,)."""
        solution = self.inverse_norm * gradient
        solution = solution if self.basis is None else self.basis.T @ solution
        solution = self._solve_factor(self._solve_factor(solution, True), False)
        return self.inverse_norm * (solution if self.basis is None else self.basis @ solution)

    def project(self, theta):
        """Return the projection of theta, of shape (n_coordinates,), on the row space of A."""
        if self.basis is None:
            return theta
        return self.inverse_norm * (self.basis @ (self.basis.T @ (self.norm * theta)))


def ridge_least_squares(rows, values, l2):
    """Return the coefficients that minimise ``|values - rows @ coef|**2 + l2 @ coef**2``.

    `rows` of shape (n_features, n_features): triangular.
    `l2` of shape (n_features,)
    """
    factor, penalty = (np.zeros((len(values) + 1,) * 2, order="F") for _ in range(2))
    factor[:-1, :-1], factor[:-1, -1] = rows, values
    penalty[np.diag_indices(len(values))] = np.sqrt(l2)
    factor = append_factor(factor, penalty)
    return LeastSquares(factor[:-1, :-1]).solve(factor[:-1, -1])


def _is_regular(upper):
    """Return whether an upper triangular matrix is regular, by an estimate of its condition."""
    return len(upper) > 0 and bool(upper.diagonal().all()) and dtrcon(upper)[0] > DEPENDENT
