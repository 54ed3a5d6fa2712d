"""Fewer rows than columns and no penalty: of all models with the least loss, the nearest one.

SGD moves along rows, so it ends at the model of least loss that is nearest to its start in the
coordinates of the metric. That one is known from a system with one unknown a row::

    theta = start + Z' a,    Z Z' a = y - Z start

Z being the rows z times the roots of their weights, y the targets times these.
"""

import numpy as np
from scipy.linalg import pinvh

from ._curvature import CHEAP_COORDINATES, RANK_TOLERANCE, inverse_of
from ._metric import chunk_rows, slices
from ._threads import blas_threads

FEW_ROWS = 3000  # so that a matrix of them costs little
STEPS = 3  # an epoch: the later ones mend rounding errors


class NearestSystem:
    """Z Z' of some rows, and its (pseudo-)inverse.

    Parameters
    ----------
    rows : Rows
        Dense ones; their targets have no say in it.
    """

    def __init__(self, rows):
        self.X, self.metric = rows.X, rows.metric
        weight = np.ones(rows.n_rows) if rows.sample_weight is None else rows.sample_weight
        self.root = np.sqrt(weight)
        self.last = rows.metric.scale[-1] * self.root  # column of the intercept
        with blas_threads(rows.n_rows, rows.n_rows):
            self.matrix = np.outer(self.last, self.last)
            for z in self._parts():
                self.matrix += z @ z.T
            self.solve, sure = inverse_of(self.matrix.copy(), rows.n_rows)
            if not sure:  # rows are nearly combinations of others
                self.solve = pinvh(self.matrix, rtol=RANK_TOLERANCE).__matmul__

    @staticmethod
    def serves(X, settings):
        """Whether it is the fastest way for such rows and settings."""
        n_rows, n_features = X.shape
        wide = isinstance(X, np.ndarray) and n_features >= max(n_rows, CHEAP_COORDINATES)
        return wide and n_rows <= FEW_ROWS and settings.implicit and settings.l2 == 0

    def _parts(self):
        """Yield the columns of Z, as many at a time as fit the cache."""
        centre, scale = self.metric.centre, self.metric.scale
        for part in slices(self.X.shape[1], chunk_rows(len(self.root))):
            yield (self.X[:, part] - centre[part]) * scale[:-1][part] * self.root[:, np.newaxis]

    def way(self, values):
        """Z' times a number for each row."""
        return np.concatenate([*(values @ z for z in self._parts()), [values @ self.last]])


class NearestEpoch:
    """Go to the nearest model of least loss, without a sweep.

    The distance is that of `SearchingEpoch`: what of the residuals the columns can explain.

    Parameters
    ----------
    rows : Rows
    objective : Objective
        Squared error without penalty.
    system : NearestSystem
        Of these rows; several targets share it.
    """

    def __init__(self, rows, objective, system):
        self.rows, self.objective, self.system = rows, objective, system

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, its loss twice, and the distance."""
        system = self.system
        for _ in range(STEPS):
            theta = theta + system.way(system.solve(self._residual(theta)))
        residual = self._residual(theta)
        explained, square = system.solve(residual) @ system.matrix @ residual, residual @ residual
        distance = float(np.sqrt(max(explained, 0.0) / square)) if square > 0 else None
        loss = self.objective.value(self.rows, theta)
        return theta, loss, loss, distance

    def _residual(self, theta):
        residual = np.concatenate([residual for residual, _ in self.rows.residuals(theta)])
        return self.system.root * residual
