"""The KKT conditions of a penalty: its absolute values and lower bounds as rows of their own.

A kinked coordinate is a row whose residual is minus the coordinate, and whose cost is the absolute
value or the bound. So the penalty needs no code of its own in an interior-point step.
"""

import numpy as np

from ..data.dense import DenseChunk
from .kkt import KKT, RowKKT
from .multipliers import MultiplierBounds, complementary_products

# Distance of a multiplier of l1 from its bounds, relative to the weight of the absolute value,
# from which on a coordinate with a positive indicator is zero clearly, not just perhaps.
ZERO_INDICATOR_MARGIN = 0.01

# Complementarity of a kink of the penalty, relative to that of all rows. Many kinks have less each:
# together they have at most as much as the rows.
KINK_SHARE = 1e-4


class SelectedCoordinates:
    """The operator that selects some coordinates of theta: rows of the identity."""

    def __init__(self, index, n_coordinates):
        self.index, self.n_coordinates = index, n_coordinates

    def __matmul__(self, points):
        return points[self.index]

    def rmatvec(self, values):
        """Return z.T @ values."""
        total = np.zeros((self.n_coordinates, *values.shape[1:]))
        total[self.index] = values
        return total

    def column_squares(self, weight):
        """Return the diagonal of z.T @ diag(weight) @ z, which is all of it."""
        return self.rmatvec(weight)


class PenaltyRows:
    """A partition of rows with the residual ``target - operator @ theta``, all of weight 1."""

    weight, share, linear = 1.0, 1.0, None

    def __init__(self, operator, target):
        self.operator, self.target = operator, target
        self.n_rows, self.memory = len(target), {}

    def chunks(self):
        """Yield the only chunk: operator, target, and no weights."""
        yield self.operator, self.target, None

    def sum(self, task, *args):
        """Return the result of a task."""
        return task(self, *args)


class PenaltyKKT(RowKKT):
    """The KKT conditions of the kinks of a penalty.

    `objective`: coordinates with l1 or a lower bound are kinked.
    `operator` of shape (n_coordinates, n_unknowns) or None: the coordinates as linear functions of
    the unknowns, where those are not the coordinates themselves: of a search in a subspace, its
    directions as columns.
    `target` of shape (n_coordinates,) or None: coordinate j is
    ``operator[j] @ unknowns - target[j]``; None for zeros.

    Attributes
    ----------
    zeros : list of ndarray
        Indices of the coordinates that are clearly zero, and of all that seem to be; none before
        the first step.
    """

    def __init__(self, objective, operator=None, target=None):
        l1, floor = objective.l1, objective.floor
        self.n_coordinates = len(l1)
        self.index = np.flatnonzero((l1 > 0) | np.isfinite(floor))
        self.l1 = l1[self.index, np.newaxis]
        n_kinks, matrix = len(self.index), operator is not None
        if operator is None:
            operator = SelectedCoordinates(self.index, self.n_coordinates)
        else:
            operator = DenseChunk(operator[self.index])
        target = np.zeros(n_kinks) if target is None else target[self.index]
        upper = np.where(np.isfinite(floor[self.index, np.newaxis]), np.inf, self.l1)
        bounds = MultiplierBounds(np.zeros(1), -self.l1, upper, 0.0)
        share = min(KINK_SHARE, 1 / max(n_kinks, 1))
        super().__init__(PenaltyRows(operator, target), bounds, matrix, share)
        self.zeros = []

    def initialize(self, theta, complementarity, initial_gap):
        """Place multipliers as in rows; that of a lower bound alone as far as its share of theirs.

        The multipliers of rows add up to those of all coordinates.
        """
        share = np.maximum(self.l1, initial_gap / np.sqrt(self.n_coordinates))
        initial_gap = np.where(np.isfinite(self.bounds.upper), self.l1, share)
        super().initialize(theta, complementarity, initial_gap)

    def apply_step(self, lengths):
        """Take the step; a coordinate is zero where slacks shrink faster than gaps beside them.

        At the optimum one of each pair is zero, and which is seen from their quotients (Tapia's
        indicators: El-Bakry, Tapia & Zhang, 1994). It is clear where a wide gap is left as well.
        """
        point = self.rows.memory[KKT].point
        upper_before, lower_before = _slacks_and_gaps(self.bounds, point.copy())
        super().apply_step(lengths)
        upper, lower = _slacks_and_gaps(self.bounds, point)
        shrinks = _slack_shrinks_faster(upper_before, upper)
        shrinks &= _slack_shrinks_faster(lower_before, lower)
        gap = np.minimum(upper[1], lower[1])
        clear = shrinks & (gap >= ZERO_INDICATOR_MARGIN * self.l1)
        self.zeros = [self.index[clear[:, 0]], self.index[shrinks[:, 0]]]


def _slacks_and_gaps(bounds, point):
    """Return the slack and the gap of each multiplier at its upper bound, and at its lower one."""
    multiplier, upper_slack, lower_slack = point
    return (upper_slack, bounds.upper - multiplier), (lower_slack, multiplier - bounds.lower)


def _slack_shrinks_faster(before, after):
    """Return where a slack has fallen by a larger factor than its gap; true without a bound."""
    (slack_before, gap_before), (slack, gap) = before, after
    return complementary_products(slack, gap_before) <= complementary_products(slack_before, gap)
