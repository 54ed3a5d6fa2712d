"""Fewer rows than columns and no penalty: of all models with the least loss, the nearest one.

SGD moves along rows, so it ends at the model of least loss that is nearest to its start in the
coordinates of the scaling. That one is known from a system with one unknown a row::

    theta = start + Z' a,    Z Z' a = y - Z start

Z being the rows z times the roots of their weights, y the targets times these.
"""

from itertools import chain

import numpy as np
from scipy.linalg import svd
from scipy.linalg.lapack import dpotrf, dpotrs, dtpqrt

from ..linalg.blas import blas_threads
from ..linalg.factorization import PIVOT_RATIO, RANK_TOLERANCE
from .base import EpochResult
from .dual import add_row_products, centred_parts, few_dense_rows

MIN_NORM_STEPS = 5  # an epoch: the later ones mend rounding errors, as long as they
MIN_NORM_GAIN = 0.25  # leave no more than this of the squared residuals
REFLECTED = 32  # rows at a time that reflections combine: their products are those of matrices


class NearestSystem:
    """The (pseudo-)inverse of Z.

    Parameters
    ----------
    rows : Rows
        Dense ones; their targets have no say in it.

    Attributes
    ----------
    step : callable
        Multiplies with it: the shortest step that leaves the least of the residuals.
    """

    def __init__(self, rows):
        self.rows, self.scaling = rows, rows.scaling
        weight = np.ones(rows.n_rows) if rows.sample_weight is None else rows.sample_weight
        self.root = np.sqrt(weight)
        self.last = rows.scaling.scale[-1] * self.root  # column of the intercept
        with blas_threads(rows.n_coordinates, rows.n_rows):
            self.step = self._by_products() or self._by_reflections()

    def _by_products(self):
        """Return a function as `step` that solves with Z Z', or None where that is too inexact.

        In Z Z' the singular values of Z are squared, which costs half of their digits.
        """
        matrix = np.multiply.outer(self.last, self.last).T  # its lower triangle is used
        for z in self._parts():
            add_row_products(z, matrix)
        diagonal = matrix.diagonal().copy()
        zero = diagonal == 0  # rows of no weight, whose number is of no effect
        matrix[zero, zero] = diagonal[zero] = 1.0
        factor, failed = dpotrf(matrix, lower=True, clean=False, overwrite_a=True)
        if failed or (factor.diagonal() ** 2 <= PIVOT_RATIO * diagonal).any():
            return None
        return lambda values: self._way(dpotrs(factor, values, lower=True)[0])

    def _by_reflections(self):
        """Return a function as `step`, for rows that are nearly combinations of others.

        Z' = Q R, and R = S D T', its singular value decomposition. Q is as large as Z, so it is
        not kept: with T D**-2 T' instead of its own (T D**-1) (Q S)', the pseudo-inverse has an
        error as if singular values were squared; the second step, with what the first one leaves
        of the values, removes it (corrected semi-normal equations: Bjorck, 1987).
        """
        factor = np.zeros((len(self.root), len(self.root)), order="F")
        block = min(REFLECTED, len(self.root))
        for z in chain(self._parts(), [self.last[:, np.newaxis].copy()]):
            factor, *_ = dtpqrt(0, block, factor, z.T, overwrite_a=True, overwrite_b=True)
        _, size, basis = svd(factor, overwrite_a=True)
        kept = size > RANK_TOLERANCE * size.max(initial=0.0)
        size, basis = size[kept], basis[kept]

        def near(values):
            return self._way((basis @ values / size / size) @ basis)

        def step(values):
            first = near(values)
            return first + near(values - self._times(first))

        return step

    @staticmethod
    def serves(X, settings):
        """Whether it is the fastest way for such rows and settings."""
        return few_dense_rows(X) and settings.implicit and settings.l2 == 0

    def _parts(self):
        """Yield the columns of Z, some megabytes at a time."""
        for part, z in centred_parts(self.rows.X, self.scaling.centre, self.root):
            z *= self.scaling.scale[part]
            yield z

    def _times(self, step):
        """Z times a step."""
        return self.root * np.concatenate([z @ step for z, _, _ in self.rows.chunks()])

    def _way(self, values):
        """Z' times a number for each row."""
        return np.concatenate([*(values @ z for z in self._parts()), [values @ self.last]])


class NearestEpoch:
    """Go to the nearest model of least loss, without a sweep.

    The distance is 0 where another step gains nothing: rounding errors are all that is left.

    Parameters
    ----------
    rows : Rows
    system : NearestSystem
        Of these rows; several targets share it.
    """

    def __init__(self, rows, system):
        self.rows, self.system = rows, system

    def run(self, theta, sweep):
        """Return the new model, its loss and its distance."""
        residual, distance = self._residual(theta), None
        for _ in range(MIN_NORM_STEPS):
            nearer = theta + self.system.step(residual)
            rest = self._residual(nearer)
            square, left = residual @ residual, rest @ rest
            if left < square:
                theta, residual = nearer, rest
            if left >= MIN_NORM_GAIN * square:
                distance = 0.0
                break
        loss = float(residual @ residual) / (2 * self.rows.weight)
        return EpochResult(theta, loss, distance)

    def _residual(self, theta):
        residual = np.concatenate([residual for residual, _ in self.rows.residuals(theta)])
        return self.system.root * residual
