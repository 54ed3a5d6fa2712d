"""Least squares with one unknown per row, where there are fewer rows than columns.

With Z the centred and scaled rows, times the square roots of their weights, and y the same of the
targets less the predictions of a first model::

    theta = start + Z' a,      (Z Z' + w I) a = y

- Dual ridge regression (Saunders, Gammerman & Vovk, 1998) has w = W, the sum of the weights, and
  columns in units that make the penalty that on ``|Z' a|**2``. It starts at the constant model.
- Minimum-norm least squares has w = 0: of all models with the least loss it is the one that is
  nearest to the start in the coordinates of the scaling. Steps of SGD are combinations of rows, so
  they lead there, too.

The residual of the system certifies the model: ``|y - (Z Z' + w I) a|**2 / (2 W)`` is the gap
between the objective of ridge regression and its dual, so the objective is at most so much above
the least, whatever a is.
"""

from collections import deque
from itertools import chain
from math import sqrt

import numpy as np
from scipy.linalg import svd
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs, dtpqrt

from ..data.row_ranges import in_threads
from ..linalg.blas import blas_threads
from ..linalg.blocks import chunk_rows, slices
from ..linalg.factorization import PIVOT_RATIO, RANK_TOLERANCE
from .base import MIN_TOL, EpochResult, Solver

# Columns that are added to the kernel matrix at a time, at least: each time all of it is read.
BLOCK_COLUMNS = 256
# Rows of a kernel matrix from which on threads add to blocks of its rows, and how many blocks: more
# of them serve more threads, but BLAS rearranges all rows for each.
MIN_THREADED_ROWS, PRODUCT_BLOCKS = 1024, 8
# Columns that are added to so large a matrix at a time, at least: each time threads are started.
THREADED_COLUMNS = 1024
# Squared pivot of a Cholesky factor relative to the diagonal entry. At or below it the pivot may
# be nothing but rounding errors, and ridge regression is left to a method that has no such matrix.
DUAL_PIVOT_ROUNDING = 1e-14
# Newton steps in an epoch, at most. The first one solves the system; the others correct it.
MAX_REFINEMENTS = 5
# Share of the squared residual. A correction that leaves more has met rounding errors.
MIN_REFINEMENT_GAIN = 0.25
# Columns of Z that one block reflection eliminates, so that its products are those of matrices.
REFLECTED = 32


def sqrt_weights(rows):
    """Return the square roots of the weights of rows."""
    weight = rows.sample_weight
    return np.ones(rows.n_rows) if weight is None else np.sqrt(weight)


def factorize_kernel(matrix, pivot_ratio):
    """Return the lower Cholesky factor, or None where a pivot is below a ratio of its diagonal.

    The matrix, whose lower triangle is read, is overwritten.
    """
    diagonal = matrix.diagonal().copy()
    factor, failed = dpotrf(matrix, lower=True, clean=False, overwrite_a=True)
    with np.errstate(over="ignore"):  # a factor that failed is not finished
        positive = factor.diagonal() ** 2 > pivot_ratio * diagonal
    return None if failed or not positive.all() else factor


def add_lower_products(z, matrix):
    """Add the lower triangle of z z' to a matrix in Fortran order; of many rows, in threads.

    Each thread writes rows of the result, so they are the same bits on any number of threads, which
    those of BLAS do not promise.
    """
    size = len(matrix)
    if size < MIN_THREADED_ROWS:
        dsyrk(1.0, z.T, 1.0, matrix, trans=True, lower=True, overwrite_c=True)
        return

    def add(part):
        matrix[part, : part.start] += np.dot(z[part], z[: part.start].T)
        matrix[part, part] += np.dot(z[part], z[part].T)  # NumPy multiplies half of it

    deque(in_threads(add, [*slices(size, -(-size // PRODUCT_BLOCKS))][::-1]), maxlen=0)


class DenseKernel:
    """Kernel matrix Z Z' + w I of dense rows, and solutions of its linear systems.

    `rows`: dense ones; their targets are not used.
    `l2`: penalty on the coefficients; 0 for minimum-norm least squares.

    Attributes
    ----------
    sqrt_weight : ndarray of shape (n_rows,)
    ridge : float
        w
    size : int
        Order of the matrix that is factorized.
    solve : callable or None
        Multiplies with the inverse, or the pseudo-inverse where w is 0. None where the matrix
        with a ridge is singular to rounding errors.
    semi_normal : bool
        Whether it is from a factor R of Z' = Q R without Q; see `newton_step`.
    """

    def __init__(self, rows, l2, tuning):
        scale = rows.scaling.scale
        self.rows, self.size, self.tuning = rows, rows.n_rows, tuning
        self.sqrt_weight = sqrt_weights(rows)
        self.ridge = float(rows.weight) if l2 else 0.0
        # Z has the coordinates of the scaling times these units. With l2 the intercept has no
        # column: the centre is the weighted mean, so the mean of the targets is its optimum.
        self.unit, self.column_scale = 1.0, scale
        if l2:
            self.unit = np.divide(1 / sqrt(l2), scale, out=np.zeros(len(scale)), where=scale > 0)
            self.unit[-1] = 0.0
            self.column_scale = scale * self.unit
        self.intercept_column = self.column_scale[-1] * self.sqrt_weight
        with blas_threads(rows.n_coordinates, self.size, tuning):
            self.solve = self._solve_by_cholesky()
            self.semi_normal = self.solve is None and not l2
            if self.semi_normal:
                self.solve = self._solve_by_reflections()

    def _solve_by_cholesky(self):
        """Return a function that solves with the kernel matrix, or None where it is too inexact.

        The matrix has the squares of the singular values of Z, which cost half of their digits.
        """
        matrix = np.multiply.outer(self.intercept_column, self.intercept_column).T
        for _, z in self._column_blocks():
            add_lower_products(z, matrix)
        matrix.T.flat[:: self.size + 1] += self.ridge
        zero = np.flatnonzero(matrix.diagonal() == 0)  # rows of weight 0 have any dual coefficient
        matrix[zero, zero] = 1.0
        factor = factorize_kernel(matrix, DUAL_PIVOT_ROUNDING if self.ridge else PIVOT_RATIO)
        return None if factor is None else lambda values: dpotrs(factor, values, lower=True)[0]

    def _solve_by_reflections(self):
        """Return a function that solves with Z Z' whose rows are nearly combinations of others.

        Z' = Q R, and R = S D T', its singular value decomposition; the function multiplies with
        T D**-2 T'. Q is as large as Z, so it is not kept; see `newton_step`.
        """
        factor = np.zeros((self.size, self.size), order="F")
        block = min(REFLECTED, self.size)
        blocks = (z for _, z in self._column_blocks())
        for z in chain(blocks, [self.intercept_column[:, np.newaxis].copy()]):
            factor, *_ = dtpqrt(0, block, factor, z.T, overwrite_a=True, overwrite_b=True)
        _, size, basis = svd(factor, overwrite_a=True)
        kept = size > RANK_TOLERANCE * size.max(initial=0.0)
        size, basis = size[kept], basis[kept]
        return lambda values: (basis @ values / size / size) @ basis

    def newton_step(self, dual_residual):
        """Return the step of the dual coefficients, and that of the model.

        Without the orthogonal factor Q the pseudo-inverse of Z has an error as if singular values
        were squared. A second solution, with what the step of the model leaves of the residuals,
        removes it (corrected semi-normal equations: Bjorck, 1987).
        """
        dual_step = self.solve(dual_residual)
        step = self.apply_transpose(dual_step)
        if self.semi_normal:
            correction = self.solve(dual_residual - self._responses(step))
            dual_step, step = dual_step + correction, step + self.apply_transpose(correction)
        return dual_step, step

    def _column_blocks(self):
        """Yield slices of the columns, and these columns of Z, some megabytes at a time."""
        rows, centre = self.rows, self.rows.scaling.centre
        least = BLOCK_COLUMNS if self.size < MIN_THREADED_ROWS else THREADED_COLUMNS
        for part in slices(len(centre), max(chunk_rows(self.size), least)):
            z = rows.X[:, part] - centre[part]
            if rows.sample_weight is not None:
                z *= self.sqrt_weight[:, np.newaxis]
            z *= self.column_scale[part]
            yield part, z

    def _responses(self, theta):
        """Return the predictions of a model, times the roots of the weights."""
        predictions = np.concatenate([z @ theta for z, _, _ in self.rows.chunks()])
        return self.sqrt_weight * predictions

    def apply_transpose(self, dual_coef):
        """Return Z' times dual coefficients, in the coordinates of the scaling."""
        theta = np.empty(self.rows.n_coordinates)
        for part, z in self._column_blocks():
            theta[part] = dual_coef @ z
        theta[-1] = dual_coef @ self.intercept_column
        theta *= self.unit
        return theta


class RowSystem(Solver):
    """Dual ridge regression, or minimum-norm least squares, of one target.

    An epoch is a Newton step from the residuals of the rows, and as many more as correct it.

    `kernel`: of these rows; several targets share it.
    `tol`: distance from the optimum to be reached.

    Attributes
    ----------
    dual_coef, dual_residual : ndarray of shape (n_rows,)
        a, and y - (Z Z' + w I) a.
    """

    def __init__(self, rows, kernel, tol):
        self.rows, self.kernel, self.tol = rows, kernel, max(tol, MIN_TOL)
        self.theta = None

    def run(self, theta, sweep):
        """Return the new model, its objective, and its distance from the optimum.

        Without a ridge, distance is 0 where another step gains nothing, and None elsewhere.
        """
        if self.theta is None:
            self.start(theta)
        refinable = True
        with blas_threads(self.kernel.size, self.kernel.size, self.kernel.tuning):
            for _ in range(MAX_REFINEMENTS):
                gap, loss = self.gap(self.dual_coef, self.dual_residual)
                if not refinable or gap <= self.tol**2 * loss:
                    break
                refinable = self._refine()
        gap, loss = self.gap(self.dual_coef, self.dual_residual)
        distance = sqrt(gap / loss) if loss > 0 else 0.0
        if not self.kernel.ridge and distance > 0:
            distance = None if refinable else 0.0
        return EpochResult(self.theta, loss, distance)

    def start(self, theta):
        """Begin with a model; the optimum with a ridge depends on no start but the constant one."""
        rows, scale = self.rows, self.rows.scaling.scale[-1]
        if self.kernel.ridge:
            theta = np.zeros(rows.n_coordinates)
            if scale > 0:
                mean = (self.kernel.sqrt_weight**2 @ rows.y) / rows.weight
                theta[-1] = mean / scale
        self.theta, self.dual_coef = theta, np.zeros(rows.n_rows)
        self.y = self.dual_residual = self._residual(theta)

    def gap(self, dual_coef, dual_residual):
        """Return the duality gap of a system with a ridge, and the objective."""
        ridge, weight = self.kernel.ridge, self.rows.weight
        residual = dual_residual + ridge * dual_coef
        objective = residual @ residual
        if ridge:
            objective += ridge * (dual_coef @ (self.y - residual))  # w a' Z Z' a
        return float(dual_residual @ dual_residual) / weight / 2, float(objective) / weight / 2

    def _refine(self):
        """Go a Newton step from the residuals of the rows, if it leaves less of them.

        Return whether it leaves so much less that rounding errors cannot be all that is left.
        """
        dual_step, step = self._newton_step()
        theta, dual_coef = self.theta + step, self.dual_coef + dual_step
        dual_residual = self._residual(theta) - self.kernel.ridge * dual_coef
        before, after = self.dual_residual @ self.dual_residual, dual_residual @ dual_residual
        if after < before:
            self.theta, self.dual_coef, self.dual_residual = theta, dual_coef, dual_residual
        return after < MIN_REFINEMENT_GAIN * before

    def _newton_step(self):
        """Return the step of the dual coefficients, and that of the model."""
        return self.kernel.newton_step(self.dual_residual)

    def _residual(self, theta):
        """Return the residuals of the rows, times the roots of their weights."""
        if not theta[:-1].any():
            residual = self.rows.y - self.rows.scaling.scale[-1] * theta[-1]
        else:
            residual = np.concatenate([residual for residual, _ in self.rows.residuals(theta)])
        return self.kernel.sqrt_weight * residual
