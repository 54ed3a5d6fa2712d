"""Semismooth Newton method: losses with curvature, whose gradient has kinks but no jumps.

The objective is quadratic wherever no row changes sides between the pieces of its loss. A Newton
step with the Hessian of the rows in a curved piece ends at the optimum of these pieces, and where
no row has changed sides, that of the objective (Qi & Sun, 1993; for Huber's loss Madsen & Nielsen,
1990). After the first step, only rows that change sides are summed up.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np

from ..kernels import losses
from ..linalg.factorization import PIVOT_RATIO, cholesky_solver
from .base import EpochResult, Solver
from .duality_gap import DualityGap, typical_objective
from .interior_point import GAP_ROUNDING, SUM_ROUNDING, InteriorPoint
from .kkt import row_chunks
from .multipliers import N_EXPONENTS
from .newton_system import NewtonSystem, RoundingError, factorize_damped, require_finite
from .predictor_corrector import DUAL_RESIDUAL
from .row_selection import sampled_rows

PIECES = "pieces"  # the key of what is kept of rows in the memory of a partition

# Steps until the interior-point method takes over. Where the Hessian tells what is near, some five
# to ten are enough; where hardly any row is curved, no number might be.
MAX_STEPS = 25

# Decrease of the objective, relative to that of the quadratic piece, which a step must reach.
SUFFICIENT_DECREASE = 1e-3

# Decrement of a Newton step, relative to the objective, below which nothing is left.
NEWTON_ROUNDING = 1e-26

# Decrement of a Newton step, relative to the objective and to the square of the tolerance, up to
# which it is worth while to ask how near the optimum is: the objective still falls by half of it.
CERTIFIED_DECREASE = 2.0

# Length along a Newton step below which hardly any row is curved where it leads: another step then
# goes further.
SHORT_STEP = 0.01

# Evaluations of the slope along a step, and its remaining size that ends the search.
LINE_EVALUATIONS = 30
LINE_TOL = 0.1

# Rows a coordinate of a sample that finds the start of the method on many rows; and how many times
# as many there must be.
SAMPLE_ROWS = 100
MIN_ROWS_PER_SAMPLE = 4

# That decrement on the sample, whose optimum is off by about a hundredth of the objective anyway.
# At 1e-26 it takes up to 1.5 times the evaluations, and as many follow on all rows; at 1e-2 there
# are fewer, and on all rows sometimes one more, sometimes one less.
SAMPLE_DECREMENT = 1e-3

# Share of the rows that lie in a curved piece below which they are taken out to be summed up.
FEW_CURVED = 0.3


class Pieces(NamedTuple):
    """What is kept of the rows of a partition, at the last model and at the one before."""

    # `residual` and `before`, of shape (n_rows,).
    residual: np.ndarray
    before: np.ndarray
    # Of shape (n_rows,), bool, whether the residual is in a piece of the loss with curvature.
    curved: np.ndarray


class PieceSums(NamedTuple):
    """Sums over rows at a model: see `NewtonSystem`; adds up over rows."""

    residual_size: float  # mean absolute residual
    value: float
    residual_histogram: np.ndarray
    slope: np.ndarray
    hessian: np.ndarray
    n_changed: int  # rows that have changed sides since the last call

    def newton_system(self):
        """Return the `NewtonSystem`: multipliers that follow the model leave no gap."""
        none = np.zeros_like(self.slope)
        return NewtonSystem(
            self.value, 0.0, self.residual_histogram, 0.0, self.slope, none, self.hessian
        )


def newton_sums(rows, theta, loss, total_weight):
    """Return the `PieceSums` at theta; a task.

    The Hessian is that of the rows whose curvature has changed since the last call.
    """
    if PIECES not in rows.memory:
        none_curved = np.zeros(rows.n_rows, dtype=bool)
        rows.memory[PIECES] = Pieces(*np.empty((2, rows.n_rows)), none_curved)
    before, residual, curved = rows.memory[PIECES]
    rows.memory[PIECES] = Pieces(residual, before, curved)
    sums, slope, hessian, histogram = np.zeros(3), 0.0, 0.0, np.zeros(N_EXPONENTS)
    for part, z, y, weight in row_chunks(rows):
        of_rows, vectors = (y, z @ theta, weight, total_weight), np.empty((2, len(y)))
        arrays = curved[part], residual[part], vectors, histogram
        *added, n_changed = losses.evaluate(loss, *of_rows, *arrays)
        sums += *added, n_changed
        slope += z.rmatvec(vectors[0])
        if n_changed >= FEW_CURVED * len(y):
            hessian += z.gram(vectors[1])
        elif n_changed:
            changed = np.flatnonzero(vectors[1])
            hessian += z.take(changed).gram(vectors[1, changed])
    size, value, n_changed = sums.tolist()
    return PieceSums(size, value, histogram, slope, hessian, n_changed)


def majorizing_sums(rows, loss, model):
    """Return the Hessian of parabolas that touch the losses; a task.

    They do where the residuals are those of `Pieces` of that name.
    """
    total = 0.0
    for part, z, _, weight in row_chunks(rows):
        residual = getattr(rows.memory[PIECES], model)[part]
        quotient = np.full(len(residual), 1 / loss.compliance)
        multiplier = loss.multiplier(residual)
        np.divide(multiplier, residual, out=quotient, where=residual != 0)
        total += z.gram(weight * quotient)
    return total


def line_slope(rows, loss, length, total_weight):
    """Return the slope of the loss at some length of the last step; a task."""
    pieces = rows.memory[PIECES]
    response = pieces.before - pieces.residual
    multiplier = loss.multiplier(pieces.before - length * response)
    weight = 1.0 if rows.sample_weight is None else rows.sample_weight
    return -float(weight * multiplier @ response) / total_weight


class SemismoothNewton(Solver):
    """The solver "newton-cholesky" for losses with curvature that are not quadratic.

    `objective`: with a smooth penalty.
    `seed`: of the sample.
    """

    def __init__(self, rows, objective, tol, tuning, seed):
        super().__init__(rows, objective)
        self.tol, self.tuning, self.seed = tol, tuning, seed
        self.hessian = np.zeros((rows.n_coordinates, rows.n_coordinates))
        self.lower_bound, self.settled = -np.inf, False
        self.least_decrement = NEWTON_ROUNDING
        self.interior_point = None  # where Newton steps have not led to the optimum

    def run(self, theta, sweep):
        """Return the best model known, its objective, and the distance; see `Solver`."""
        if self.interior_point is None:
            with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
                result = self._newton_steps(self._start(theta))
            if result.distance is not None and result.distance <= self.tol:
                return result
            theta = result.theta if np.isfinite(result.loss) else theta
            self.interior_point = InteriorPoint(self.rows, self.objective, self.tol, self.tuning)
            self.note = " They did not lead to the optimum, so interior-point steps took over."
        return self.interior_point.run(theta, None)

    def _start(self, theta):
        """Return the optimum of a sample where there are many rows."""
        rows = self.rows
        n_sampled = SAMPLE_ROWS * rows.n_coordinates
        if rows.n_rows < MIN_ROWS_PER_SAMPLE * n_sampled:
            return theta
        sampled = sampled_rows(rows, self.seed, n_sampled)
        newton = SemismoothNewton(sampled, self.objective, 0.0, self.tuning, 0)
        newton.least_decrement = SAMPLE_DECREMENT
        return newton._newton_steps(theta).theta

    def _newton_steps(self, theta):
        """Return the result of Newton steps from a model."""
        value, system = self._evaluate(theta)
        self.settled = False
        best = EpochResult(theta, value, None)
        for _ in range(MAX_STEPS):
            try:
                slope = system.slope - self.objective.l2 * theta
                step = factorize_damped(self.hessian, self.objective.l2)(slope)
                require_finite(step)
                decrease, distance = slope @ step, None
                if decrease <= max(CERTIFIED_DECREASE * self.tol**2, NEWTON_ROUNDING) * value:
                    distance = self._distance(theta, step, system, value)
            except RoundingError:
                return best
            best = EpochResult(theta, value, distance)
            near = distance is not None and distance <= self.tol
            if near or decrease <= self.least_decrement * value:
                return best
            if decrease > 2 * value or not self.hessian[-1, -1] > 0:
                # More than there is to gain: hardly any row tells the curvature.
                step = self._majorizing_step(slope, "residual")
                decrease = slope @ step
            theta, before = theta + step, theta
            value, system = self._evaluate(theta)
            if value <= best.loss - SUFFICIENT_DECREASE * decrease + SUM_ROUNDING * best.loss:
                continue  # a full step
            length = self._search(before, step)
            if length < SHORT_STEP:
                step, length = self._majorizing_step(slope, "before"), 1.0
            theta = before + length * step
            value, system = self._evaluate(theta)
            self.settled = False
            if not value < best.loss:
                return best
        return best

    def _majorizing_step(self, slope, model):
        """Return the step to the minimum of a quadratic function that is nowhere below the loss.

        It leads down from everywhere (iteratively reweighted least squares: Huber, 1981).
        """
        hessian = self.rows.sum(majorizing_sums, self.objective.loss, model) / self.rows.weight
        return factorize_damped(hessian, self.objective.l2)(slope)

    def _evaluate(self, theta):
        """Return the objective at theta, and the Newton system of the rows."""
        loss, rows = self.objective.loss, self.rows
        sums = rows.sum(newton_sums, theta, loss, rows.weight)
        self.hessian = self.hessian + sums.hessian
        self.residual_size, system = sums.residual_size, sums.newton_system()
        self.settled = sums.n_changed == 0
        return float(system.value + self.objective.penalty(theta)), system

    def _distance(self, theta, step, system, value):
        """Return the distance to the optimum, as the multipliers at theta prove."""
        loss, objective = self.objective.loss, self.objective
        multiplier = min(loss.bound, self.residual_size / loss.compliance)
        max_dual_residual = DUAL_RESIDUAL * multiplier / sqrt(len(theta))
        slope = system.slope - objective.l2 * theta
        if self.lower_bound == -np.inf and np.abs(slope[-1]) > max_dual_residual:
            return np.inf  # no penalty takes up the slope of the intercept: nothing is proved
        certificate = DualityGap(objective, self.residual_size, max_dual_residual)
        gap = certificate.bound(theta, step, system, value)
        if self.settled and np.abs(slope).max() <= max_dual_residual:
            total = self.hessian + np.diag(objective.l2)
            if cholesky_solver(total, len(total), PIVOT_RATIO)[1]:
                gap = min(gap, step @ slope)  # a full step has ended at the optimum of its pieces
        bound = value - gap - SUM_ROUNDING * (value / 64 + gap)
        self.lower_bound = max(self.lower_bound, bound)
        gap = value - self.lower_bound
        met = min(len(theta) / self.rows.n_rows, 1.0)
        size = typical_objective(loss, met, system, objective.penalty(theta))
        if gap <= GAP_ROUNDING * value:
            return 0.0
        return sqrt(gap / size) if size > 0 else np.inf

    def _search(self, theta, step):
        """Return the length of the step at which the objective is least, about."""
        loss, l2, rows = self.objective.loss, self.objective.l2, self.rows

        def slope_at(length):
            of_loss = rows.sum(line_slope, loss, length, rows.weight)
            return of_loss + (l2 * (theta + length * step)) @ step

        low, high = 0.0, 1.0
        first = low_slope = slope_at(0.0)
        high_slope = slope_at(1.0)
        for _ in range(LINE_EVALUATIONS):
            if not (first < 0 < high_slope):
                return high if high_slope <= 0 else low
            middle = low - low_slope * (high - low) / (high_slope - low_slope)
            middle = min(max(middle, low + 0.05 * (high - low)), high - 0.05 * (high - low))
            slope = slope_at(middle)
            if abs(slope) <= LINE_TOL * abs(first):
                return middle
            if slope < 0:
                low, low_slope = middle, slope
            else:
                high, high_slope = middle, slope
        return low
