"""Interior-point steps, for objectives with kinks: bounded multipliers, absolute values, bounds.

A loss of the table is ``l(e) = max of m e - dead_zone |m| - compliance m**2 / 2`` over
multipliers m in a box, and the absolute value and the bound in a penalty are of the same form.
Newton steps on the conditions of the optimum, with the product of each multiplier's distance to
its bound and of the slack beside it held at a common value that falls to zero, reach the optimum
in some five to thirty steps on any data, and the multipliers prove how near it is (Mehrotra,
1992; for quantiles Portnoy & Koenker, 1997). The matrix of a step is factorised, or where it is
too large to keep, its products with vectors are enough (Kim, Koh, Lustig, Boyd & Gorinevsky, 2007).
"""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import sqrt
from operator import add

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..data.partitions import InMemory
from ..linalg.cg import conjugate_gradient
from ..model.cross_products import CrossProducts
from .base import EpochResult
from .distributed import ClusterConditions
from .kkt import (
    BINADES,
    FRACTION_TO_BOUNDARY,
    MultiplierBounds,
    NewtonSystem,
    PenaltyKKT,
    RowKKT,
    SmoothRows,
    joined,
)

INTERIOR_STEPS = 5  # an epoch, at most
QUADRATIC_STEPS = 50  # of a quadratic loss, where they need no pass over the rows
PRODUCT_STEPS = 12  # and where they need just products with its Hessian
START = 0.1  # of a product of residual and bound: that of slacks and multipliers at the start
QUADRATIC_TOL = 0.01  # of tol: what a quadratic loss is solved to, so that zeros are clear
DAMPING = 1e-13  # relative, added to the diagonal of the Hessian: rounding of its sums
MOST_DAMPING = 1e-3  # beyond, the Hessian is nothing but rounding errors
CENTRING_POWER = 2  # of what is left of the products after a direct step
COMPLEMENTARITY_ROUNDING = (
    1e-15  # sum of products, relative to the first one, that is rounding error
)
MATRIX_COORDINATES_MOST = 4097  # beyond, a matrix is too large to keep
MATRIX_WORK = 3e3  # products for each entry of X, beyond which it costs too much,
MATRIX_WORK_LEAST = 1e7  # unless it is so little that products cost as much
MATRIX_WORK_MOST = 5e9  # what it may take where products did not lead to the optimum
PRODUCT_EPOCHS = 3  # after which they did not
INNER_STEPS = 400  # of conjugate gradients instead, at most
INNER_TOL = 1e-3  # of what a step should do: the error they may leave
L1_MARGIN = 2.0  # of the largest slope: an l1 beyond this keeps its coordinate at 0 all the same
SUM_ROUNDING = 1e-13  # of a sum over rows, relative: of a difference of two such sums
GAP_ROUNDING = 1e-12  # of the objective: a gap where steps end in rounding errors
DUAL_RESIDUAL = 1e-8  # of a slope of a coordinate without penalty: what may be left of it,
INNER_DUAL_RESIDUAL = 1e-4  # and what conjugate gradients leave
LEAST_TYPICAL = 1e-14  # of the loss, that of a typical row at least: beyond is rounding error


def matrix_work(rows):
    """Return the products that the sums of a Hessian and its factor take."""
    return rows.n_coordinates**2 * (rows.n_rows + rows.n_coordinates / 3)


def worth_a_matrix(rows):
    """Whether to sum up the Hessian, or only its diagonal and its products with vectors."""
    affordable = max(MATRIX_WORK * rows.n_entries, MATRIX_WORK_LEAST)
    return rows.n_coordinates <= MATRIX_COORDINATES_MOST and matrix_work(rows) <= affordable


def absolute_residuals(rows, theta):
    """Return their weighted sum."""
    total = 0.0
    for residual, weight in rows.residuals(theta):
        total += np.abs(residual).sum() if weight is None else weight @ np.abs(residual)
    return total


class RoundingError(ArithmeticError):
    """Numbers are beyond all bounds: a step would only make the model worse."""


def finite(array):
    """Return the array, or raise the error."""
    if not np.isfinite(array).all():
        raise RoundingError
    return array


def factorize_damped(hessian, diagonal):
    """Return a function that solves with a Hessian, given as a matrix and a diagonal to be added.

    What is added besides is relative to each entry: the curvature of columns whose multipliers are
    at a bound may be many orders of magnitude below that of others. A second solve, with what the
    first has left, mends what that changes.
    """
    total = hessian.diagonal() + diagonal
    total[total <= 0] = 1.0  # of a coordinate without curvature, which stays where it is
    damping = DAMPING
    while damping <= MOST_DAMPING:
        damped = hessian.copy(order="F")
        damped.flat[:: len(damped) + 1] = (1 + damping) * total
        with suppress(LinAlgError):
            factor = cho_factor(damped, overwrite_a=True, check_finite=False)
            return partial(_solve_twice, hessian, diagonal, factor)
        damping *= 100
    raise RoundingError


def _solve_twice(hessian, diagonal, factor, rhs, start=None):
    first = cho_solve(factor, rhs, check_finite=False)
    left = rhs - hessian @ first - diagonal * first
    return first + cho_solve(factor, left, check_finite=False)


def squares_of_rows(rows):
    """Return the weighted sum of the square of each coordinate of the rows."""
    total = 0.0
    for z, y, weight in rows.chunks():
        total += z.squares(np.ones(len(y)) if weight is None else weight)
    return total


def bounded_l1(rows, objective, theta):
    """Return the objective with no more l1 than keeps a coordinate at 0.

    No slope of a model that is as good as theta is larger than the root mean squares of its
    multipliers and of the coordinate, multiplied. Any l1 beyond that has the same optimum, but
    numbers far apart.
    """
    loss, largest = objective.loss, objective.loss.bound
    if not np.isfinite(largest):
        largest = sqrt(2 * objective.value(rows, theta) / loss.compliance)
    squares = rows.sum(squares_of_rows)
    largest = L1_MARGIN * largest * np.sqrt(squares / rows.weight)
    return replace(objective, l1=np.minimum(objective.l1, largest))


def conditions_of(rows, box, matrix):
    """Return the conditions of the optimum for all rows, wherever they lie."""
    if not isinstance(rows, InMemory):
        return ClusterConditions(rows, box, matrix)
    (part,) = rows.parts
    return RowKKT(part.chunks, part.n_rows, part.weight, box, matrix)


class PrimalDualIterate:
    """A model on its way through the inside of all bounds."""

    def __init__(self, rows, objective, theta, matrix=None):
        self.rows, self.objective, self.theta = rows, objective, theta
        if objective.l1.any():
            self.objective = bounded_l1(rows, objective, theta)
        self.first_product = None
        objective, loss = self.objective, objective.loss
        bounded = np.isfinite(loss.bound) or loss.dead_zone > 0
        self.matrix = worth_a_matrix(rows) if matrix is None else matrix
        self.quadratic = None if bounded else SmoothRows(rows, loss, self.matrix)
        self.kinks = None if objective.smooth else PenaltyKKT(objective)
        self.data = self.quadratic or conditions_of(rows, MultiplierBounds.of(loss), self.matrix)
        self.sides = [side for side in (self.data, self.kinks) if side is not None]
        self.n_products = sum(side.n_products for side in self.sides)
        total = rows.sum(absolute_residuals, theta)
        residual = total / rows.weight
        if residual == 0:  # then all of the objective is penalty
            value = objective.penalty(theta)
            residual = sqrt(2 * value) if loss.compliance > 0 else value / loss.bound
        room = min(loss.bound, residual / loss.compliance) if loss.compliance > 0 else loss.bound
        self.residual, self.room = residual, room
        for side in self.sides:
            side.begin(theta, START * residual * room, room)

    def expand(self):
        """Keep a quadratic loss exact where the model has come; from the start it is."""
        if self.quadratic is not None and self.quadratic.origin is not self.theta:
            self.quadratic.begin(self.theta)

    def assess(self):
        """Return the objective, and how far above the least it may be."""
        data, l2 = self.data.assess(self.theta), self.objective.l2
        system, diagonal = data, l2
        if self.kinks is not None:
            kinks = self.kinks.assess(self.theta)
            diagonal = kinks.hessian + l2
            system = NewtonSystem(*map(add, data[:-1], kinks[:-1]), data.hessian)
        if self.first_product is None:
            self.first_product = system.product
        self.system = system = system._replace(slope=system.slope - l2 * self.theta)
        self.solve = self._solver(finite(system.hessian), finite(diagonal))
        self.direct = self.solve(finite(system.pull + system.slope))
        penalty = self.objective.penalty(np.maximum(self.theta, self.objective.floor))
        data = data._replace(value=max(data.value, 0.0))  # in spite of rounding errors
        self.value, self.size = data.value + penalty, self._size(data, penalty)
        return self.value, self._gap(data)

    def _gap(self, data):
        """Return how far the objective may be above the least, as the multipliers of rows prove.

        With the sum g of their rows, F(theta) - F(best) is at most their own gap and the sum of
        ``P(theta) - P(best) - g (theta - best)`` over coordinates, P being the penalty of each. The
        multiplier of l1 or a bound takes up of g what it may. Of the rest,

        - l2 takes up all, at a cost of ``rest**2 / (2 l2)``;
        - l1 bounds ``rest * best``, for the sum of ``l1 |best|`` is at most F;
        - else nothing is proved, unless it is so little that how far a coordinate may be from the
          best one hardly matters.
        """
        objective, theta = self.objective, self.theta
        l1, l2 = objective.l1, objective.l2
        slope = data.slope - l2 * theta
        taken = np.clip(slope, np.where(np.isfinite(objective.floor), -np.inf, -l1), l1)
        rest = np.abs(slope - taken)
        inside = np.maximum(theta, objective.floor)
        gap = data.gap + l1 @ np.abs(inside) - taken @ theta
        with np.errstate(divide="ignore", invalid="ignore"):  # of what has no penalty, or no rest
            by_l2 = rest**2 / (2 * l2)
            relative = np.where(rest > 0, rest / l1, 0.0)
        farthest = np.abs(theta) + np.abs(self.direct) + self.residual * sqrt(len(theta))
        most = DUAL_RESIDUAL if self.matrix else INNER_DUAL_RESIDUAL
        near = rest <= most * self.room / sqrt(len(theta))
        moved = np.where(rest > 0, by_l2, 0.0)
        moved[near] = np.minimum(moved, rest * farthest)[near]
        kinks = l1 > 0
        if kinks.any():
            by_l1 = rest[kinks] @ np.abs(theta[kinks]) + self.value * relative[kinks].max()
            gap += min(moved[kinks].sum(), by_l1)
        gap += moved[~kinks].sum()
        if np.isnan(gap):
            raise RoundingError
        return max(float(gap), 0.0)

    def _size(self, data, penalty):
        """Return the objective, without what gross outliers add to it.

        A better model hardly changes that, so a tolerance relative to it would mean nothing. Rows
        count as much as one of typical size: the median of those that the model does not meet
        exactly, which as many as there are coordinates may be.
        """
        loss = self.objective.loss
        if not np.isfinite(loss.bound):
            return data.value + penalty
        met = min(len(self.theta) / self.rows.n_rows, 1.0)
        below = np.cumsum(data.sizes)
        binade = int(np.searchsorted(below, below[-1] * (1 + met) / 2))
        typical = np.ldexp(0.75, min(binade, BINADES - 1) - BINADES // 2)
        typical = loss._replace(dead_zone=0.0).value(np.array([-typical, typical])).max()
        return max(min(data.value, typical) + penalty, LEAST_TYPICAL * data.value)

    def _solver(self, hessian, diagonal):
        """Return a function that solves with the Hessian of rows and that of the penalty."""
        if self.matrix:
            return factorize_damped(hessian, diagonal)
        return partial(self._conjugate, hessian + diagonal)

    def _conjugate(self, diagonal, rhs, start=None):
        """Solve by conjugate gradients, from a vector that is near or from zero."""
        diagonal = np.where(diagonal > 0, diagonal, 1.0)
        gradient = -rhs if start is None else self._times(start) - rhs
        enough = INNER_TOL**2 * (rhs @ (rhs / diagonal)) / 2
        step, change, *_ = conjugate_gradient(
            self._times, gradient, enough, lambda residual: residual / diagonal, INNER_STEPS
        )
        step[-1] -= (gradient[-1] + change[-1]) / diagonal[-1]  # no penalty takes up its slope
        return step if start is None else start + step

    def _times(self, direction):
        return sum(side.times(direction) for side in self.sides) + self.objective.l2 * direction

    def step(self):
        """One step: predict, see what it leads to, correct (Mehrotra)."""
        if self.n_products == 0:  # no bounds: a Newton step leads to the optimum
            if abs(self.system.slope @ self.direct) <= COMPLEMENTARITY_ROUNDING * self.value:
                raise RoundingError
            self.theta = self.theta + self.direct
            return
        if not self.system.product > COMPLEMENTARITY_ROUNDING * self.first_product:
            raise RoundingError
        looks = [side.look(self.theta, self.direct) for side in self.sides]
        longest, products, corrections = joined(looks)
        p, d = np.minimum(self._lengths(longest), 1.0)
        left = float(products @ [1, p, d, p * d])
        before = self.system.product
        product = (left / before) ** CENTRING_POWER * before / self.n_products
        bent, centring = corrections.T
        rhs = self.system.pull + self.system.slope + bent + product * centring
        step = self.theta, self.direct, finite(self.solve(finite(rhs), self.direct)), product
        longest = np.min([side.reach(*step) for side in self.sides], axis=0)
        lengths = np.minimum(FRACTION_TO_BOUNDARY * self._lengths(longest), 1.0)
        for side in self.sides:
            side.move(*step, lengths)
        self.theta = self.theta + lengths[0] * step[2]

    def _lengths(self, longest):
        """Slacks and multipliers go apart unless the loss is curved."""
        if self.objective.loss.compliance > 0:
            return np.full(2, longest.min())
        return longest


class InteriorPoint:
    """Sweep, then go on from where SGD arrived by interior-point steps.

    Parameters
    ----------
    rows : Rows
        In the coordinates of the sweep.
    objective : Objective
    tol : float
        The distance to be reached.
    """

    def __init__(self, rows, objective, tol):
        self.rows, self.objective = rows, objective
        self.tol = self.asked_tol = tol
        self.interior = None
        self.least, self.at_rounding = -np.inf, False
        self.n_steps, self.n_epochs = INTERIOR_STEPS, 0

    def run(self, theta, sweep):
        """Return the best model known after some steps, its objective, and the distance."""
        start = theta
        theta, value = self._best([start, *sweep(theta)])
        if value == 0:
            return EpochResult(theta, value, 0.0)
        with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
            if self.interior is None:
                self._begin(start, theta)
            elif not self.interior.matrix and self._may_have_a_matrix():
                self._begin(start, theta, matrix=True)  # products alone were not enough
            known, size = self._steps()
        self.n_epochs += 1
        known = min(known, self.tol**2 * value / 2)  # a model found before is not given up,
        known = max(known, SUM_ROUNDING / 64 * value)  # but for rounding errors
        theta, value = self._best([theta, self.interior.theta, *self._clean()], known)
        distance = None if size is None else self._distance(value, min(size, value))
        return EpochResult(theta, value, distance)

    def scatter(self, theta, moments):
        """Return the scatter of the rows, which have these moments, as far as it is known here."""
        quadratic = None if self.interior is None else self.interior.quadratic
        if quadratic is None or not quadratic.matrix:
            return CrossProducts(moments, None)
        slope = quadratic.slope + quadratic.hessian @ quadratic.origin
        return CrossProducts.of_hessian(quadratic.hessian, slope, self.rows.scaling, moments)

    def _may_have_a_matrix(self):
        small = matrix_work(self.rows) <= MATRIX_WORK_MOST
        small = small and self.rows.n_coordinates <= MATRIX_COORDINATES_MOST
        return small and self.n_epochs >= PRODUCT_EPOCHS

    def _distance(self, value, size):
        """Return the distance to the optimum; 0 where it is nothing but rounding errors."""
        if self.least > value * (1 + GAP_ROUNDING):
            self.least = -np.inf  # a contradiction: numbers are too far apart to prove anything
        gap = max(value - self.least, 0.0)
        if self.at_rounding and gap <= GAP_ROUNDING * value:
            return 0.0
        return sqrt(gap / size) if size > 0 else np.inf

    def _begin(self, start, theta, matrix=None):
        """Begin with the best model so far; where columns are many, without SGD's noise in zeros.

        To undo it there takes longer than the way from the start of the fit.
        """
        if len(theta) > MATRIX_COORDINATES_MOST:
            theta = np.where(self.objective.l1 > 0, start, theta)
        self.interior = PrimalDualIterate(self.rows, self.objective, theta, matrix)
        if self.interior.quadratic is not None:
            self.tol = self.asked_tol * QUADRATIC_TOL
            self.n_steps = QUADRATIC_STEPS if self.interior.matrix else PRODUCT_STEPS

    def _steps(self):
        """Go on until the model is near enough, or nothing but rounding errors are left.

        Returns
        -------
        known : float
            How much higher another model may be that is as good as can be known.
        size : float or None
            Of the objective, which the distance is relative to; None where numbers are beyond all
            bounds.
        """
        interior, known, size = self.interior, 0.0, None
        interior.expand()
        try:
            for n_steps in range(self.n_steps + 1):
                value, gap = interior.assess()
                self.least = max(self.least, value - gap - SUM_ROUNDING * (value / 64 + gap))
                size = interior.size
                enough = self.tol**2 * size / 2  # the other half is for a model with exact zeros
                known = max(min(gap, enough), 0.0)
                if n_steps == self.n_steps or gap <= enough:
                    break
                interior.step()
        except RoundingError:
            self.at_rounding = True
            size = None if size is None else value
        return known, size

    def _clean(self):
        """The model with exact zeros: those that are clear, and all."""
        kinks, theta = self.interior.kinks, self.interior.theta
        for zeros in kinks.zeros if kinks is not None else ():
            cleaned = theta.copy()
            cleaned[zeros] = 0
            yield cleaned

    def _best(self, points, known=0.0):
        """The best point; the last of those that, as far as is known, may be the best."""
        points = np.maximum(np.column_stack(points), self.objective.floor[:, None])
        values = candidate_values(self.rows, self.objective, points)
        finite = np.where(np.isfinite(values), values, np.inf)
        best = int(np.flatnonzero(finite <= finite.min() + known)[-1])
        return points[:, best], float(values[best])


def candidate_values(rows, objective, points):
    """Objective at each column of points, in one pass."""
    return rows.mean_loss(points, objective.loss) + objective.penalty(points)
