"""Fewer rows than columns and no penalty: of all models with the least loss, the nearest one.

SGD moves along rows, so it ends at the model of least loss that is nearest to its start in the
coordinates of the metric. That one is known from a system with one unknown a row::

    theta = start + Z' a,    Z Z' a = y - Z start

Z being the rows z times the roots of their weights, y the targets times these.
"""

import numpy as np
from scipy.linalg import svd

from ._curvature import RANK_TOLERANCE, inverse_of
from ._dual import centred_parts, few_dense_rows
from ._threads import blas_threads

STEPS = 5  # an epoch: the later ones mend rounding errors, as long as they
GAIN = 0.25  # leave no more than this of the squared residuals


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
        self.X, self.metric = rows.X, rows.metric
        weight = np.ones(rows.n_rows) if rows.sample_weight is None else rows.sample_weight
        self.root = np.sqrt(weight)
        self.last = rows.metric.scale[-1] * self.root  # column of the intercept
        with blas_threads(rows.n_coordinates, rows.n_rows):
            matrix = np.outer(self.last, self.last)
            for z in self._parts():
                matrix += z @ z.T
            solve, sure = inverse_of(matrix, rows.n_rows)
            self.step = (lambda values: self._way(solve(values))) if sure else self._by_svd()

    def _by_svd(self):
        """Return a function as `step`, for rows that are nearly combinations of others.

        In Z Z' the singular values of Z are squared, which costs half of their digits.
        """
        z = np.column_stack([*self._parts(), self.last])
        left, values, right = svd(z, full_matrices=False, overwrite_a=True)
        kept = values > RANK_TOLERANCE * values.max(initial=0.0)
        left, right = left[:, kept] / values[kept], right[kept]
        return lambda values: (values @ left) @ right

    @staticmethod
    def serves(X, settings):
        """Whether it is the fastest way for such rows and settings."""
        return few_dense_rows(X) and settings.implicit and settings.l2 == 0

    def _parts(self):
        """Yield the columns of Z, as many at a time as fit the cache."""
        for part, z in centred_parts(self.X, self.metric.centre, self.root):
            yield z * self.metric.scale[part]

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

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, its loss twice, and the distance."""
        residual, distance = self._residual(theta), None
        for _ in range(STEPS):
            nearer = theta + self.system.step(residual)
            rest = self._residual(nearer)
            square, left = residual @ residual, rest @ rest
            if left < square:
                theta, residual = nearer, rest
            if left >= GAIN * square:
                distance = 0.0
                break
        loss = float(residual @ residual) / (2 * self.rows.weight)
        return theta, loss, loss, distance

    def _residual(self, theta):
        residual = np.concatenate([residual for residual, _ in self.rows.residuals(theta)])
        return self.system.root * residual
