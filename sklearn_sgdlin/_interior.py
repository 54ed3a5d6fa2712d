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
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ._scatter import Scatter
from ._search import conjugate_steps, response_sums

STEPS = 5  # an epoch, at most
QUADRATIC_STEPS = 50  # of a quadratic loss, where they need no pass over the rows
PRODUCT_STEPS = 12  # and where they need just products with its Hessian
START = 0.1  # of a product of residual and bound: that of slacks and multipliers at the start
QUADRATIC_TOL = 0.01  # of tol: what a quadratic loss is solved to, so that zeros are clear
DAMPING = 1e-13  # relative, added to the diagonal of the Hessian: rounding of its sums
MOST_DAMPING = 1e-3  # beyond, the Hessian is nothing but rounding errors
TO_BOUND = 0.95  # of the way to the nearest bound: leaves room for the next step
CENTRING_POWER = 2  # of what is left of the products after a direct step
ROUNDING = 1e-15  # sum of products, relative to the first one, that is rounding error
COORDINATES = 4097  # beyond, a matrix is too large to keep
MATRIX_WORK = 3e3  # products for each entry of X, beyond which it costs too much,
MATRIX_WORK_LEAST = 1e7  # unless it is so little that products cost as much
MATRIX_WORK_MOST = 5e9  # what it may take where products did not lead to the optimum
PRODUCT_EPOCHS = 3  # after which they did not
INNER_STEPS = 400  # of conjugate gradients instead, at most
INNER_TOL = 1e-3  # of what a step should do: the error they may leave
CLEAR_ROOM = 0.01  # of the weight of an absolute value: far from its bounds
KINK_SHARE = 1e-4  # of the product of a row, that of a kink of the penalty; of all together, 1
L1_MARGIN = 2.0  # of the largest slope: an l1 beyond this keeps its coordinate at 0 all the same
BINADES = 2200  # powers of two that a float64 may have, and some more
SUM_ROUNDING = 1e-13  # of a sum over rows, relative: of a difference of two such sums
GAP_ROUNDING = 1e-12  # of the objective: a gap where steps end in rounding errors
DUAL_RESIDUAL = 1e-8  # of a slope of a coordinate without penalty: what may be left of it,
INNER_DUAL_RESIDUAL = 1e-4  # and what conjugate gradients leave
LEAST_TYPICAL = 1e-14  # of the loss, that of a typical row at least: beyond is rounding error


class Box(NamedTuple):
    """Bounds of multipliers; a dead zone makes two of each, one for either side.

    Attributes
    ----------
    offset, lower, upper : ndarray, broadcast to (n_rows, n_sides)
    compliance : float
    """

    offset: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    compliance: float

    @classmethod
    def of(cls, loss):
        """Of a row of the table of losses."""
        if loss.dead_zone == 0:
            sides = [0.0], [loss.lower], [loss.upper]
        else:
            sides = [loss.dead_zone, -loss.dead_zone], [0.0, loss.lower], [loss.upper, 0.0]
        return cls(*map(np.array, sides), loss.compliance)

    def allowed(self, outside):
        """The nearest residual of finite cost."""
        if self.compliance > 0:
            return outside
        return np.where(np.isinf(self.upper), np.minimum(outside, 0.0), outside)

    def best(self, outside):
        """The multiplier of each residual."""
        if self.compliance > 0:
            return np.clip(outside / self.compliance, self.lower, self.upper)
        return np.where(outside > 0, self.upper, np.where(outside < 0, self.lower, 0.0))

    def start(self, outside, product, room):
        """Return multipliers m inside their bounds, and positive slacks u and v.

        The multipliers of a row add up to 0, so their sums over rows, which the optimum wants to be
        the slopes of the penalty, are feasible from the start, and stay so. The slacks carry all of
        a residual, ``s = compliance m + u - v``, and are at least about as large as the product
        asks for. Where a bound of the multiplier is missing, `room` stands for it.
        """
        outside = self.allowed(outside)
        upper = np.where(np.isfinite(self.upper), self.upper, room) + np.zeros_like(outside)
        lower = np.where(np.isfinite(self.lower), self.lower, -room) + np.zeros_like(outside)
        farthest = np.stack([upper.max(axis=1), -lower.min(axis=1)])[..., np.newaxis]
        nearest = farthest.min(axis=0)
        one_sided = np.where(nearest > 0, nearest, farthest.max(axis=0)) / 2
        m = np.where(lower == 0, one_sided, np.where(upper == 0, -one_sided, 0.0))
        carried, least = outside - self.compliance * m, 2 * product / (upper - lower)
        large = (np.abs(carried) + np.hypot(carried, 2 * least)) / 2
        u, v = np.where(carried > 0, [large, least**2 / large], [least**2 / large, large])
        u, v = u * np.isfinite(self.upper), v * np.isfinite(self.lower)
        return np.stack(np.broadcast_arrays(m, u, v))

    def value(self, outside, multiplier):
        """What a multiplier says of the cost: at most the cost."""
        product = np.multiply(multiplier, outside, where=outside != 0, out=np.zeros_like(outside))
        return product - self.compliance * multiplier**2 / 2

    def gap(self, outside, multiplier):
        """How far the cost of residuals is above what a multiplier proves of it.

        That is ``cost - (m s - compliance m**2 / 2)``, written as a product so that large costs
        do not cancel.
        """
        best = self.best(outside)
        return (best - multiplier) * (outside - self.compliance * (best + multiplier) / 2)


class Local:
    """The conditions of the optimum for some rows, linear in a step.

    With the residual s outside the dead zone, room to the bounds a = upper - m and
    b = m - lower, and slacks u and v beside them: ``s = compliance m + u - v``, ``u a = v b =
    product``.
    """

    def __init__(self, box, outside, state):
        self.box, self.outside = box, outside
        self.m, self.u, self.v = state
        with np.errstate(divide="ignore"):  # a bound at infinity is never near: 1 / inf = 0
            self.a, self.b = box.upper - self.m, self.m - box.lower
            self.per_a, self.per_b = 1 / self.a, 1 / self.b
        self.curvature = 1 / (box.compliance + self.u * self.per_a + self.v * self.per_b)
        self.pull = outside - box.compliance * self.m

    def value(self):
        """Cost of each row, and how much more that is than the multipliers prove."""
        outside = self.box.allowed(self.outside)
        value = self.box.value(outside, self.box.best(outside))
        return value.sum(axis=1), self.box.gap(outside, self.m).sum(axis=1)

    def binade(self):
        """Number of the power of two above the size of each residual, from 0 on."""
        size = np.abs(self.outside[:, 0] + self.box.offset[0])
        return np.where(size > 0, np.frexp(size)[1] + BINADES // 2, 0)

    def products(self):
        """Sum of u a and v b of each row."""
        return (_times(self.u, self.a) + _times(self.v, self.b)).sum(axis=1)

    def direct(self, response):
        """Step of m, u, v that goes straight for products of zero; response is z . step."""
        return self._step(response, 0.0, 0.0)

    def centred(self, response, direct, product):
        """Step towards equal products, with the direct step's curvature made up for."""
        u = (product + direct[1] * direct[0]) * self.per_a
        v = (product - direct[2] * direct[0]) * self.per_b
        return self._step(response, u, v)

    def _step(self, response, u, v):
        """Step of m, u, v where the linear conditions put new slacks so far above 0."""
        dm = self.curvature * (self.pull - u + v - response[:, np.newaxis])
        return np.stack(
            [dm, u + self.u * (dm * self.per_a - 1), v - self.v * (dm * self.per_b + 1)]
        )

    def corrections(self, direct):
        """What u and v in `centred` take from the pull, for no product and for one more."""
        bent = direct[0] * (direct[1] * self.per_a + direct[2] * self.per_b)
        pulls = np.stack([-bent, self.per_b - self.per_a])
        return (self.curvature * pulls).sum(axis=2).T

    def longest(self, step):
        """How far slacks, and multipliers, can go along a step up to their bounds."""
        slack = max(
            np.max(np.divide(-step[1], self.u, where=self.u > 0, out=np.zeros_like(self.u))),
            np.max(np.divide(-step[2], self.v, where=self.v > 0, out=np.zeros_like(self.v))),
        )
        multiplier = np.max(np.maximum(step[0] * self.per_a, -step[0] * self.per_b))
        return 1 / np.maximum([slack, multiplier], TO_BOUND)

    def products_after(self, step):
        """Coefficients of the sum of products after p du, p dv and d dm: of 1, p, d and p d."""
        dm, du, dv = step
        changes = _times(du, self.a) + _times(dv, self.b), dm * (self.v - self.u), dm * (dv - du)
        return np.stack([self.products(), *(change.sum(axis=1) for change in changes)])


def _times(slack, room):
    """Their product; 0 where there is no bound."""
    return np.multiply(slack, room, where=np.isfinite(room), out=np.zeros_like(slack))


class System(NamedTuple):
    """The Newton system at a model, and what the model costs; adds up over rows.

    Attributes
    ----------
    value, gap : float
        Cost, and how much more than the least the multipliers allow.
    sizes : ndarray of shape (BINADES,)
        Weight of residuals by the power of two above their size.
    product : float
        Sum of the products.
    slope, pull : ndarray of shape (n_coordinates,)
        Minus the gradient as the multipliers have it, and what their step adds to it.
    hessian : ndarray of shape (n_coordinates, n_coordinates), or its diagonal
    """

    value: float
    gap: float
    sizes: np.ndarray
    product: float
    slope: np.ndarray
    pull: np.ndarray
    hessian: np.ndarray

    @classmethod
    def of(cls, z, weight, local, hessian):
        """Of some rows."""
        value, gap = local.value()
        pull = (local.curvature * local.pull).sum(axis=1)
        vectors = np.column_stack([local.m.sum(axis=1), pull]) * weight[:, np.newaxis]
        slope, pull = z.transposed_times(vectors).T
        sizes = np.bincount(local.binade(), weights=weight, minlength=BINADES)
        product = weight @ local.products()
        return cls(weight @ value, weight @ gap, sizes, product, slope, pull, hessian)

    @classmethod
    def added(cls, systems):
        """Of all rows: one matrix is kept, however many are added up."""
        systems = iter(systems)
        total = [part + 0.0 for part in next(systems)]
        for system in systems:
            for i, part in enumerate(system):
                total[i] += part
        return cls(*total)


def matrix_work(rows):
    """Return the products that the sums of a Hessian and its factor take."""
    return rows.n_coordinates**2 * (rows.n_rows + rows.n_coordinates / 3)


def worth_a_matrix(rows):
    """Whether to sum up the Hessian, or only its diagonal and its products with vectors."""
    affordable = max(MATRIX_WORK * rows.n_entries, MATRIX_WORK_LEAST)
    return rows.n_coordinates <= COORDINATES and matrix_work(rows) <= affordable


def hessian_of(z, weight, matrix):
    """z.T @ diag(weight) @ z, or its diagonal."""
    return z.gram(weight) if matrix else z.squares(weight)


def joined(looks):
    """What `Conditions.look` tells of several sets of rows: shortest lengths, sums of the rest."""
    longest, *sums = zip(*looks, strict=True)
    return np.min(longest, axis=0), *map(sum, sums)


class Conditions:
    """The conditions of the optimum for many rows, chunk by chunk.

    Parameters
    ----------
    chunks : callable
        Returns an iterator over (z, target, weight) of consecutive rows.
    n_rows : int
    weight : float
        The sum of weights.
    box : Box
    matrix : bool
        Whether to sum up their Hessian.
    share : float
        Of the common product, that of a row.
    """

    def __init__(self, chunks, n_rows, weight, box, matrix, share=1.0):
        self.chunks, self.weight, self.box, self.share = chunks, weight, box, share
        self.matrix = matrix
        self.state = np.empty((3, n_rows, box.offset.size))  # m, u, v
        self.curvature = np.empty(n_rows)
        n_bounds = np.isfinite(box.lower) + np.isfinite(box.upper) * 1.0
        self.n_products = float(n_bounds.reshape(-1, box.offset.size).sum(axis=1).mean())

    def _parts(self):
        start = 0
        for z, target, weight in self.chunks():
            part = slice(start, start + len(target))
            start = part.stop
            weight = np.ones(len(target)) if weight is None else weight
            yield part, z, target, weight / self.weight

    def _locals(self, theta, *directions):
        """Yield part, z, weight, the conditions at theta, and the images of directions."""
        points = np.column_stack([theta, *directions])
        for part, z, target, weight in self._parts():
            images = z @ points
            outside = (target - images[:, 0])[:, np.newaxis] - self.box.offset
            yield part, z, weight, Local(self.box, outside, self.state[:, part]), images[:, 1:].T

    def begin(self, theta, product, room):
        """Start with multipliers inside their bounds, and slacks that fit the residuals."""
        for part, z, target, _ in self._parts():
            outside = (target - z @ theta)[:, np.newaxis] - self.box.offset
            self.state[:, part] = self.box.start(outside, self.share * product, room)

    def assess(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        return System.added(self._systems(theta))

    def _systems(self, theta):
        for part, z, weight, local, _ in self._locals(theta):
            self.curvature[part] = curvature = weight * local.curvature.sum(axis=1)
            yield System.of(z, weight, local, hessian_of(z, curvature, self.matrix))

    def times(self, direction):
        """Return the product of the part of the rows in the Hessian with a direction."""
        total = np.zeros_like(direction)
        for part, z, _, _ in self._parts():
            total += z.transposed_times(self.curvature[part] * (z @ direction))
        return total

    def look(self, theta, direct):
        """Follow the direct step: longest length, products after it, and corrections."""
        longest, products = np.full(2, np.inf), np.zeros(4)
        corrections = np.zeros((len(theta), 2))
        for _, z, weight, local, (response,) in self._locals(theta, direct):
            step = local.direct(response)
            longest = np.minimum(longest, local.longest(step))
            products += local.products_after(step) @ weight
            corrections += z.transposed_times(weight[:, np.newaxis] * local.corrections(step))
        return longest, products, corrections * [1.0, self.share]

    def _centred(self, theta, direct, centred, product):
        """Yield part, the conditions, and the centred step with its product."""
        for part, _, _, local, responses in self._locals(theta, direct, centred):
            step = local.direct(responses[0])
            yield part, local, local.centred(responses[1], step, self.share * product)

    def reach(self, theta, direct, centred, product):
        """Longest length of the centred step."""
        longest = np.full(2, np.inf)
        for _, local, step in self._centred(theta, direct, centred, product):
            longest = np.minimum(longest, local.longest(step))
        return longest

    def move(self, theta, direct, centred, product, lengths):
        """Take it, by the first length in the slacks and the second in the multipliers."""
        p, d = lengths
        for part, _, step in self._centred(theta, direct, centred, product):
            self.state[:, part] += np.array([d, p, p])[:, np.newaxis, np.newaxis] * step


class Coordinates:
    """Some coordinates of theta as rows, an operator like a chunk."""

    def __init__(self, index, n_coordinates):
        self.index, self.n_coordinates = index, n_coordinates

    def __matmul__(self, points):
        return points[self.index]

    def transposed_times(self, values):
        """z.T @ values."""
        total = np.zeros((self.n_coordinates, *values.shape[1:]))
        total[self.index] = values
        return total

    def squares(self, weight):
        """Diagonal of z.T @ diag(weight) @ z."""
        return self.transposed_times(weight)


class Kinks(Conditions):
    """The conditions of the penalty: a coordinate is a row whose residual is -theta."""

    def __init__(self, objective):
        l1, floor = objective.l1, objective.floor
        self.index = np.flatnonzero((l1 > 0) | np.isfinite(floor))
        n_kinks, n_coordinates = len(self.index), len(l1)
        self.l1 = l1[self.index, np.newaxis]
        upper = np.where(np.isfinite(floor[self.index, np.newaxis]), np.inf, self.l1)
        chunk = Coordinates(self.index, n_coordinates), np.zeros(n_kinks), None
        box = Box(np.zeros(1), -self.l1, upper, 0.0)
        share = min(KINK_SHARE, 1 / max(n_kinks, 1))
        super().__init__(lambda: iter([chunk]), n_kinks, 1.0, box, False, share)  # a diagonal
        self.zeros = []

    def begin(self, theta, product, room):
        """As in rows; the room of a bound alone is a share of theirs."""
        share = np.maximum(self.l1, room / np.sqrt(len(theta)))
        super().begin(theta, product, np.where(np.isfinite(self.box.upper), self.l1, share))

    def move(self, *step):
        """Take the step; a coordinate is 0 where slacks shrink faster than the room beside them.

        At the optimum one of each pair is zero, and which is seen from their quotients (Tapia's
        indicators: El-Bakry, Tapia & Zhang, 1994). First those where much room is left as well.
        """
        before = Local(self.box, 0.0, self.state.copy())
        super().move(*step)
        after = Local(self.box, 0.0, self.state)
        above = _times(after.u, before.a) <= _times(before.u, after.a)
        shrinks = above & (_times(after.v, before.b) <= _times(before.v, after.b))
        clear = shrinks & (np.minimum(after.a, after.b) >= CLEAR_ROOM * self.l1)
        self.zeros = [self.index[clear[:, 0]], self.index[shrinks[:, 0]]]


class Quadratic:
    """What `Conditions` tells of rows whose multipliers have no bounds: no steps of their own."""

    n_products = 0.0

    def __init__(self, rows, loss, matrix):
        self.rows, self.matrix = rows, matrix
        self.scale = 1 / (rows.weight * loss.compliance)
        self.hessian = None

    def begin(self, theta, product=None, room=None):
        """Expand the loss about theta, and keep it exact there; one pass."""
        hessian = partial(hessian_of, matrix=self.matrix) if self.hessian is None else None
        value, slope, total = self.rows.total(quadratic_sums, theta, hessian)
        self.origin, self.value, self.slope = theta, value * self.scale, slope * self.scale
        if hessian is not None:
            self.hessian = total * self.scale

    def assess(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        step = theta - self.origin
        change = self.times(step)
        value = self.value - self.slope @ step + change @ step / 2
        slope = self.slope - change
        nothing = np.zeros_like(theta)
        return System(value, 0.0, np.zeros(BINADES), 0.0, slope, nothing, self.hessian)

    def times(self, direction):
        """Return the product of the Hessian with a direction."""
        if self.matrix:
            return self.hessian @ direction
        (total,) = self.rows.total(response_sums, direction)
        return total * self.scale

    def look(self, theta, direct):
        """No bound is in the way."""
        return np.full(2, np.inf), np.zeros(4), np.zeros((len(theta), 2))

    def reach(self, *step):
        """No bound is in the way."""
        return np.full(2, np.inf)

    def move(self, *step):
        """Multipliers follow theta."""


def quadratic_sums(rows, theta, hessian):
    """Return sums over rows: half squared residuals, z times them, and of a function or None."""
    value, slope, total = 0.0, 0.0, 0.0
    for z, y, weight in rows.chunks():
        weight = np.ones(len(y)) if weight is None else weight
        residual = y - z @ theta
        value += weight @ residual**2 / 2
        slope += z.transposed_times(weight * residual)
        if hessian is not None:
            total += hessian(z, weight)
    return value, slope, total


def absolute_residuals(rows, theta):
    """Return their weighted sum."""
    total = 0.0
    for residual, weight in rows.residuals(theta):
        total += np.abs(residual).sum() if weight is None else weight @ np.abs(residual)
    return (total,)


class RoundingError(ArithmeticError):
    """Numbers are beyond all bounds: a step would only make the model worse."""


def finite(array):
    """Return the array, or raise the error."""
    if not np.isfinite(array).all():
        raise RoundingError
    return array


def factorised(hessian, diagonal):
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
    return (total,)


def bounded_l1(rows, objective, theta):
    """Return the objective with no more l1 than keeps a coordinate at 0.

    No slope of a model that is as good as theta is larger than the root mean squares of its
    multipliers and of the coordinate, multiplied. Any l1 beyond that has the same optimum, but
    numbers far apart.
    """
    loss, largest = objective.loss, objective.loss.bound
    if not np.isfinite(largest):
        largest = sqrt(2 * objective.value(rows, theta) / loss.compliance)
    (squares,) = rows.total(squares_of_rows)
    largest = L1_MARGIN * largest * np.sqrt(squares / rows.weight)
    return replace(objective, l1=np.minimum(objective.l1, largest))


class Interior:
    """A model on its way through the inside of all bounds."""

    def __init__(self, rows, objective, theta, matrix=None):
        self.rows, self.objective, self.theta = rows, objective, theta
        if objective.l1.any():
            self.objective = bounded_l1(rows, objective, theta)
        self.first_product = None
        objective, loss = self.objective, objective.loss
        bounded = np.isfinite(loss.bound) or loss.dead_zone > 0
        self.matrix = worth_a_matrix(rows) if matrix is None else matrix
        self.quadratic = None if bounded else Quadratic(rows, loss, self.matrix)
        self.kinks = None if objective.smooth else Kinks(objective)
        self.data = self.quadratic or rows.conditions(Box.of(loss), self.matrix)
        self.sides = [side for side in (self.data, self.kinks) if side is not None]
        self.n_products = sum(side.n_products for side in self.sides)
        (total,) = rows.total(absolute_residuals, theta)
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
            system = System(*map(add, data[:-1], kinks[:-1]), data.hessian)
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
            return factorised(hessian, diagonal)
        return partial(self._conjugate, hessian + diagonal)

    def _conjugate(self, diagonal, rhs, start=None):
        """Solve by conjugate gradients, from a vector that is near or from zero."""
        diagonal = np.where(diagonal > 0, diagonal, 1.0)
        gradient = -rhs if start is None else self._times(start) - rhs
        enough = INNER_TOL**2 * (rhs @ (rhs / diagonal)) / 2
        step, change, *_ = conjugate_steps(
            self._times, gradient, enough, lambda residual: residual / diagonal, INNER_STEPS
        )
        step[-1] -= (gradient[-1] + change[-1]) / diagonal[-1]  # no penalty takes up its slope
        return step if start is None else start + step

    def _times(self, direction):
        return sum(side.times(direction) for side in self.sides) + self.objective.l2 * direction

    def step(self):
        """One step: predict, see what it leads to, correct (Mehrotra)."""
        if self.n_products == 0:  # no bounds: a Newton step leads to the optimum
            if abs(self.system.slope @ self.direct) <= ROUNDING * self.value:
                raise RoundingError
            self.theta = self.theta + self.direct
            return
        if not self.system.product > ROUNDING * self.first_product:
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
        lengths = np.minimum(TO_BOUND * self._lengths(longest), 1.0)
        for side in self.sides:
            side.move(*step, lengths)
        self.theta = self.theta + lengths[0] * step[2]

    def _lengths(self, longest):
        """Slacks and multipliers go apart unless the loss is curved."""
        if self.objective.loss.compliance > 0:
            return np.full(2, longest.min())
        return longest


class InteriorEpoch:
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
        self.n_steps, self.n_epochs = STEPS, 0

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, the objective, that of the last iterate, and the distance."""
        end, average, _ = self.rows.sweep(order, self.objective, step_rule, rows_seen, theta)
        start = theta
        theta, value, values = self._best([start, end, average])
        end_value = float(values[1])
        if value == 0:
            return theta, value, end_value, 0.0
        with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
            if self.interior is None:
                self._begin(start, theta)
            elif not self.interior.matrix and self._may_have_a_matrix():
                self._begin(start, theta, matrix=True)  # products alone were not enough
            known, size = self._steps()
        self.n_epochs += 1
        known = min(known, self.tol**2 * value / 2)  # a model found before is not given up,
        known = max(known, SUM_ROUNDING / 64 * value)  # but for rounding errors
        theta, value, _ = self._best([theta, self.interior.theta, *self._clean()], known)
        distance = None if size is None else self._distance(value, min(size, value))
        return theta, value, end_value, distance

    def scatter(self, theta, moments):
        """Return the scatter of the rows, which have these moments, as far as it is known here."""
        quadratic = None if self.interior is None else self.interior.quadratic
        if quadratic is None or not quadratic.matrix:
            return Scatter(moments, None)
        slope = quadratic.slope + quadratic.hessian @ quadratic.origin
        return Scatter.of_hessian(quadratic.hessian, slope, self.rows.metric, moments)

    def _may_have_a_matrix(self):
        small = matrix_work(self.rows) <= MATRIX_WORK_MOST
        small = small and self.rows.n_coordinates <= COORDINATES
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
        if len(theta) > COORDINATES:
            theta = np.where(self.objective.l1 > 0, start, theta)
        self.interior = Interior(self.rows, self.objective, theta, matrix)
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
        return points[:, best], float(values[best]), values


def candidate_values(rows, objective, points):
    """Objective at each column of points, in one pass."""
    return rows.mean_loss(points, objective.loss) + objective.penalty(points)
