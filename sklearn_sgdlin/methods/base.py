"""What all solvers share.

A solver has ``run(theta, sweep)``, which returns the `EpochResult` of one epoch that begins with
the model theta. ``sweep(theta)`` is one pass of SGD from a model; see `Sweeps`. A solver that
needs no steps of SGD never calls it.
"""

from typing import NamedTuple

import numpy as np

from ..model.cross_products import CrossProducts

# A distance below this is rounding error; a smaller tol asks for no more.
MIN_TOL = 1e-8

# A loss that is smaller than this fraction of the one it was subtracted from has lost digits.
CANCELLED = 1e-6


class EpochResult(NamedTuple):
    """The model at the end of an epoch, and what is known of it."""

    theta: np.ndarray  # of shape (n_coordinates,)
    loss: float  # the objective at theta
    # Root mean square distance of the predictions from those of the optimum, in residual standard
    # deviations; None where it is not known.
    distance: float | None


class Solver:
    """A way to the optimum of an objective on rows, epoch by epoch.

    Solvers take the `Partitions` of the rows and the `Objective`; most also take `tol`, the
    distance to be reached, and the `Tuning`.

    Attributes
    ----------
    note : str
        What is to be added to the reason why the solver was chosen.
    substitute : str
        Name of the solver that has taken over; "" as long as none has.
    """

    note, substitute = "", ""

    def __init__(self, rows, objective):
        self.rows, self.objective = rows, objective

    def run(self, theta, sweep):
        """Return the `EpochResult` of an epoch that begins at theta."""
        raise NotImplementedError

    def cross_products(self, theta, moments):
        """Return the `CrossProducts` of the rows, with products where the solver knows them.

        A stream that goes on from the fit then knows what squared error needs of its rows.

        `theta` of shape (n_coordinates,): the model of the last epoch.
        `moments`: of all columns of X, then of y.
        """
        return CrossProducts(moments, None)

    def _feasible_values(self, points):
        """Return the points above the lower bounds as columns, and the objective at each.

        The objective is infinite where it is too large for a number.
        """
        points = np.maximum(np.column_stack(points), self.objective.floor[:, np.newaxis])
        values = self.rows.mean_loss(points, self.objective.loss) + self.objective.penalty(points)
        return points, np.where(np.isfinite(values), values, np.inf)

    def _with_all_digits(self, theta, loss, before):
        """Return theta and its loss, computed anew where it is a difference of near numbers."""
        if loss < CANCELLED * before:
            loss = self.objective.value(self.rows, theta)
        return theta, loss
