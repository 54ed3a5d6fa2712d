"""Dual ridge regression of sparse rows, by preconditioned conjugate gradients.

The kernel matrix K = Z Z' + W I of `row_system` is not summed up. What a product with it reads and
writes here and there, column by column, are as few numbers as rows, which stay in the cache. Rows
seldom share a rare column, so K is near a matrix M that takes the columns of the largest variance
as they are, and of the others no more than a diagonal. Conjugate gradients preconditioned by M take
some 25 steps where they would take hundreds.
"""

from math import sqrt

import numpy as np
from scipy.linalg.lapack import dpotrs
from scipy.sparse import csc_array

from ..data.csr import FAR
from ..data.sorted_csc import CentredColumns
from ..linalg.blas import blas_threads
from ..linalg.blocks import divided
from ..linalg.cg import conjugate_gradient
from .row_system import DUAL_PIVOT_ROUNDING, RowSystem, factorize_kernel, sqrt_weights

# Power of the diagonal of M. Below 1 it lies between the diagonal of the rare columns and its
# median, as what these columns share counts long rows and short ones alike.
DIAGONAL_POWER = 0.8
# Conjugate gradient steps for one Newton step, at most.
DUAL_STEPS = 60


class SparseKernel:
    """Kernel matrix K = Z Z' + W I of sparse rows as an operator, and the matrix M near it.

    `columns`: the same numbers as the rows.
    `rows`: their targets are not used.
    `l2`: penalty on the coefficients, above 0.

    Attributes
    ----------
    sqrt_weight : ndarray of shape (n_rows,)
    ridge : float
        W
    size : int
        Order of the matrix that is factorized.
    columns, frequent_columns, rare_columns : CentredColumns
        All, those that M takes as they are, and the others that are not empty.
    diagonal : ndarray of shape (n_rows,)
        What M has instead of the rare columns and W I.
    solve : callable or None
        Multiplies with the inverse of M; None where it is singular to rounding errors.
    """

    def __init__(self, columns, rows, l2, tuning):
        self.l2, self.tuning = l2, tuning
        self.scale, self.ridge = rows.scaling.scale, float(rows.weight)
        self.sqrt_weight, self.solve = sqrt_weights(rows), None
        self.order, centre = columns.order, rows.scaling.centre[columns.order]
        variance = columns.moments.variance(self.scale[-1] > 0)[columns.order]
        frequent = _largest_columns(columns, variance, tuning)
        rare = columns.frequency > 0
        rare[frequent] = False
        self.columns = _centre_far_columns(columns.columns, self.sqrt_weight, centre, variance)
        self.frequent_columns = self.columns.select(frequent, "csr")
        self.rare_columns = self.columns.select(rare)
        self.size = len(frequent)
        diagonal = self.rare_columns.row_squares() / l2 + self.ridge
        self.diagonal = diagonal**DIAGONAL_POWER * np.median(diagonal) ** (1 - DIAGONAL_POWER)
        with blas_threads(len(centre), self.size, tuning):
            matrix = self.frequent_columns.gram(1 / self.diagonal)
            matrix.flat[:: self.size + 1] += l2
            self.factor = factorize_kernel(matrix.T, DUAL_PIVOT_ROUNDING)
        if self.factor is not None:
            self.solve = self._solve

    def _solve(self, values):
        """Return the inverse of M times values (Woodbury)."""
        columns, scaled = self.frequent_columns, values / self.diagonal
        if self.size == 0:  # No column varies.
            return scaled
        inner, _ = dpotrs(self.factor, columns.rmatvec(scaled), lower=True)
        return scaled - (columns @ inner) / self.diagonal

    def residual_matvec(self, values):
        """Return (K - M) values: what rows share of the rare columns."""
        shared = self.rare_columns.row_products(values) / self.l2
        return shared - (self.diagonal - self.ridge) * values

    def apply_transpose(self, dual_coef):
        """Return Z' times dual coefficients, in the coordinates of the scaling."""
        coef = np.zeros(len(self.scale))
        coef[self.order] = self.columns.rmatvec(dual_coef / self.l2)
        return divided(coef, self.scale)


def _centre_far_columns(columns, sqrt_weight, centre, variance):
    """Return `CentredColumns`, those far from zero in every row being stored centred.

    Products with such a column are differences of large numbers; of others, see `recentred`.
    """
    data, centre_left = columns.data, centre.copy()
    for j in np.flatnonzero(np.abs(centre) > FAR * np.sqrt(variance)):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        weight = sqrt_weight[columns.indices[part]]
        if np.count_nonzero(weight) == np.count_nonzero(sqrt_weight):
            data = data.copy() if data is columns.data else data
            data[part] -= centre[j] * weight
            centre_left[j] = 0.0
    columns = csc_array((data, columns.indices, columns.indptr), shape=columns.shape)
    return CentredColumns(columns, sqrt_weight, centre_left)


def _largest_columns(columns, variance, tuning):
    """Return the columns of the largest variance, as many as their products may cost."""
    n_most = min(tuning.max_frequent_columns, len(variance) - 1)
    largest = np.argpartition(-variance, n_most)[: tuning.max_frequent_columns]
    largest = largest[np.argsort(-variance[largest])]
    n_entries = np.cumsum(columns.frequency[largest])
    most = sqrt(tuning.frequent_products_per_entry * columns.shape[0] * columns.nnz)
    largest = largest[: np.searchsorted(n_entries, most)]
    return np.sort(largest[variance[largest] > 0])


class SparseRowSystem(RowSystem):
    """Dual ridge regression of one target with the `SparseKernel` of its rows."""

    def _newton_step(self):
        """Return the step of the dual coefficients by conjugate gradients, and of the model."""
        smoothed = SmoothedResidual(self)
        conjugate_gradient(
            self.kernel.residual_matvec,
            -self.dual_residual,
            self.tol**2,
            preconditioner=self.kernel.solve,
            max_iter=DUAL_STEPS,
            excess=smoothed.relative_gap,
            product_is_split=True,
        )
        return smoothed.step, self.kernel.apply_transpose(smoothed.step)


class SmoothedResidual:
    """Of the steps between those of conjugate gradients, the one of the least duality gap.

    The residual of conjugate gradients rises and falls. Each new step is combined with the best
    one so far such that the residual is shortest (minimal residual smoothing: Schonauer, 1987).
    """

    def __init__(self, system):
        self.system = system
        self.step, self.residual = np.zeros(system.rows.n_rows), system.dual_residual

    def relative_gap(self, step, residual):
        """Take in the next step; return the gap relative to the objective."""
        change = residual - self.residual
        square = change @ change
        if square > 0:
            share = -(change @ self.residual) / square
            self.step = self.step + share * (step - self.step)
            self.residual = self.residual + share * change
        gap, loss = self.system.gap(self.system.dual_coef + self.step, self.residual)
        return gap / loss if loss > 0 else 0.0
