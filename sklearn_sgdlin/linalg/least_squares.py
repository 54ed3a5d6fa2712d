"""Least squares by orthogonal transformations of rows: QR factors and the pseudo-inverse."""

import numpy as np
from scipy.linalg import qr
from scipy.linalg.lapack import dpotrf, dtpqrt, dtrcon, dtrtrs

from .blas import transposed_product

PANEL = 16  # columns, that are eliminated together
FACTOR_ROWS = 3  # per coordinate, that are factorize_damped together
WELL_CONDITIONED = 1e-3  # the same, where it costs little to do better: products lose 3 digits
DEPENDENT = 1e-13  # relative singular value of the rows below which there is no such direction


def triangular_factor(blocks):
    """Return the triangular factor R of a QR decomposition of rows, block after block.

    It has the singular values of the rows, to rounding errors of the largest. Products of the
    rows have their squares, and lose half of their digits. Fewer rows than columns are
    returned as they are.
    """
    factor, stack, n_stacked = None, [], 0
    for block in blocks:
        stack.append(block)
        n_stacked += len(block)
        if n_stacked >= FACTOR_ROWS * block.shape[1]:
            factor, stack, n_stacked = _appended(factor, stack), [], 0
    if factor is None and n_stacked < stack[0].shape[1]:
        return np.concatenate(stack)
    return _appended(factor, stack) if stack else factor


def _appended(factor, stack):
    rows = np.asfortranarray(stack[0] if len(stack) == 1 else np.concatenate(stack))
    n_columns = rows.shape[1]
    factor = np.zeros((n_columns, n_columns), order="F") if factor is None else factor
    return append_rows(factor, rows)


def append_rows(factor, rows):
    """Return the triangular factor of the rows of a triangular factor and of some more.

    Parameters
    ----------
    factor : F-ordered ndarray of shape (n_columns, n_columns)
        Upper triangular; overwritten.
    rows : F-ordered ndarray of shape (n_rows, n_columns)
        Overwritten.
    """
    return dtpqrt(0, min(PANEL, len(factor)), factor, rows, overwrite_a=True, overwrite_b=True)[0]


def factor_by_products(rows, n_first):
    """Return a triangular factor of rows by Cholesky, or None where that would lose digits.

    Only the first columns must be independent; the rest has no products with each other in it.
    """
    products = transposed_product(rows, rows)
    length = np.sqrt(products.diagonal())
    unit = np.divide(1.0, length, out=np.zeros(len(length)), where=length > 0)
    first = products[:n_first, :n_first] * np.multiply.outer(unit[:n_first], unit[:n_first])
    first.flat[:: n_first + 1] = 1.0
    factor, failed = dpotrf(first.T, overwrite_a=True)
    if failed or (factor.diagonal() ** 2 <= WELL_CONDITIONED).any():
        return None
    whole = np.zeros(products.shape, order="F")
    whole[:n_first, :n_first] = factor * length[:n_first]
    beside = unit[:n_first, np.newaxis] * products[:n_first, n_first:]
    whole[:n_first, n_first:], _ = dtrtrs(factor, beside, trans=1)
    square = products.diagonal()[n_first:] - (whole[:n_first, n_first:] ** 2).sum(axis=0)
    whole[range(n_first, len(whole)), range(n_first, len(whole))] = np.sqrt(np.maximum(square, 0.0))
    return whole


class LeastSquares:
    """The pseudo-inverse of rows A, by orthogonal transformations.

    Directions whose singular value, in columns of equal length, is below `DEPENDENT` of the
    largest are combinations of others but for rounding errors: they count as not there, so the
    solution is the shortest in these columns.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_coordinates)
        A, with no more rows than columns; triangular where it is square.
    """

    def __init__(self, rows):
        length = np.linalg.norm(rows, axis=0)
        self.length, self.unit = length, np.zeros(len(length))
        np.divide(1.0, length, out=self.unit, where=length > 0)
        rows = rows * self.unit
        square, gone = rows.shape[0] == rows.shape[1], length == 0
        if square and gone.any() and not rows[gone].any():
            rows[gone, gone] = 1.0  # columns without a part in anything
        # A / length = left factor basis', with a triangular factor, and None for the identity.
        self.left, self.factor, self.basis, self.lower = None, rows, None, False
        if square and _independent(rows):
            return
        self.lower = True
        if not square:
            self._transpose(rows)
        if square or not _independent(self.factor.T):
            left, pivoted, order = qr(rows, mode="economic", pivoting=True, check_finite=False)
            size = np.abs(pivoted.diagonal())
            rank = int((size > DEPENDENT * size.max(initial=0.0)).sum())
            self.left = left[:, :rank]
            self._transpose(pivoted[:rank, np.argsort(order)])

    def _transpose(self, rows):
        self.basis, upper = np.linalg.qr(rows.T)
        self.factor = upper.T

    def _divide(self, values, transposed):
        if not len(values):
            return values
        return dtrtrs(self.factor, values, lower=self.lower, trans=transposed)[0]

    def solve(self, values):
        """Multiply with the pseudo-inverse of A."""
        values = values if self.left is None else self.left.T @ values
        along = self._divide(values, False)
        return self.unit * (along if self.basis is None else self.basis @ along)

    def solve_normal(self, gradient):
        """Multiply with the pseudo-inverse of A'A."""
        along = self.unit * gradient
        along = along if self.basis is None else self.basis.T @ along
        along = self._divide(self._divide(along, True), False)
        return self.unit * (along if self.basis is None else self.basis @ along)

    def project(self, theta):
        """Project on the directions that the rows have."""
        if self.basis is None:
            return theta
        return self.unit * (self.basis @ (self.basis.T @ (self.length * theta)))


def _independent(upper):
    """Whether a triangular matrix is not singular but for rounding errors, about."""
    return len(upper) > 0 and bool(upper.diagonal().all()) and dtrcon(upper)[0] > DEPENDENT
