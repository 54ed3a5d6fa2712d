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
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ._scatter import Scatter
from ._search import conjugate_steps, response_sums

STEPS = 5  # an epoch, at most
QUADRATIC_STEPS = 50  # of a quadratic loss, where they need no pass over the rows
PRODUCT_STEPS = 12  # and where they need just products with its Hessian
QUADRATIC_TOL = 0.01  # of tol: what a quadratic loss is solved to, so that zeros are clear
DAMPING = 1e-13  # multiple of the mean curvature added to the Hessian: rounding of its sums
TO_BOUND = 0.95  # of the way to the nearest bound: leaves room for the next step
CENTRING_POWER = 2  # of what is left of the products after a direct step
ROUNDING = 1e-15  # sum of products, relative to the first one, that is rounding error
COORDINATES = 4097  # beyond, a matrix is too large to keep
MATRIX_WORK = 3e3  # products for each entry of X, beyond which it costs too much,
MATRIX_WORK_LEAST = 1e9  # unless it is so little that sparse data can take the path of dense
INNER_STEPS = 100  # of conjugate gradients instead, at most
INNER_TOL = 0.01  # of what a step should do: the error they may leave
CLEAR_ROOM = 0.01  # of the weight of an absolute value: far from its bounds
KINK_SHARE = 1e-4  # of the product of a row, that of a kink of the penalty; of all together, 1


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

    def centre(self, outside, product, room):
        """m, u and v with u a = v b = product, that about fit the residuals; see `Local`.

        The slacks carry what is left of a residual at its best multiplier; with two bounds this
        is a quadratic equation for m. Where one is missing, a step of `room` stands for it.
        """
        outside = self.allowed(outside)
        best = self.best(outside)
        lower = np.where(np.isfinite(self.lower), self.lower, best - room)
        upper = np.where(np.isfinite(self.upper), self.upper, best + room)
        carried = (outside - self.compliance * best) * (upper - lower)
        a = (upper - lower) / (1 + (carried + np.hypot(carried, 2 * product)) / (2 * product))
        m = upper - a
        return np.stack([m, product / (self.upper - m), product / (m - self.lower)])

    def value(self, outside, multiplier):
        """What a multiplier says of the cost: at most the cost."""
        product = np.multiply(multiplier, outside, where=outside != 0, out=np.zeros_like(outside))
        return product - self.compliance * multiplier**2 / 2


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
        return value.sum(axis=1), (value - self.box.value(outside, self.m)).sum(axis=1)

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
    product : float
        Sum of the products.
    slope, pull : ndarray of shape (n_coordinates,)
        Minus the gradient as the multipliers have it, and what their step adds to it.
    hessian : ndarray of shape (n_coordinates, n_coordinates), or its diagonal
    """

    value: float
    gap: float
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
        product = weight @ local.products()
        return cls(weight @ value, weight @ gap, product, slope, pull, hessian)

    @classmethod
    def added(cls, systems):
        """Of all rows: one matrix is kept, however many are added up."""
        systems = iter(systems)
        total = [part + 0.0 for part in next(systems)]
        for system in systems:
            for i, part in enumerate(system):
                total[i] += part
        return cls(*total)


def worth_a_matrix(rows):
    """Whether to sum up the Hessian, or only its diagonal and its products with vectors."""
    work = rows.n_coordinates**2 * rows.n_rows
    affordable = max(MATRIX_WORK * rows.n_entries, MATRIX_WORK_LEAST)
    return rows.n_coordinates <= COORDINATES and work <= affordable


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
        """Fit multipliers and slacks to the residuals, all products equal."""
        for part, z, target, _ in self._parts():
            outside = (target - z @ theta)[:, np.newaxis] - self.box.offset
            self.state[:, part] = self.box.centre(outside, self.share * product, room)

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

    def gram(self, weight):
        """z.T @ diag(weight) @ z."""
        return np.diag(self.squares(weight))

    def squares(self, weight):
        """Diagonal of z.T @ diag(weight) @ z."""
        return self.transposed_times(weight)


class Kinks(Conditions):
    """The conditions of the penalty: a coordinate is a row whose residual is -theta."""

    def __init__(self, objective, matrix):
        l1, floor = objective.l1, objective.floor
        self.index = np.flatnonzero((l1 > 0) | np.isfinite(floor))
        n_kinks, n_coordinates = len(self.index), len(l1)
        self.l1 = l1[self.index, np.newaxis]
        upper = np.where(np.isfinite(floor[self.index, np.newaxis]), np.inf, self.l1)
        chunk = Coordinates(self.index, n_coordinates), np.zeros(n_kinks), None
        box = Box(np.zeros(1), -self.l1, upper, 0.0)
        share = min(KINK_SHARE, 1 / max(n_kinks, 1))
        super().__init__(lambda: iter([chunk]), n_kinks, 1.0, box, matrix, share)
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
        return System(value, 0.0, 0.0, self.slope - change, np.zeros_like(theta), self.hessian)

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


def factorised(hessian):
    """Return a function that solves with a Hessian."""
    damping = DAMPING * np.trace(hessian) / len(hessian)
    while True:
        try:
            hessian[np.diag_indices_from(hessian)] += damping
            factor = cho_factor(hessian)
            return lambda rhs, start=None: cho_solve(factor, rhs)
        except LinAlgError:
            damping *= 100


class Interior:
    """A model on its way through the inside of all bounds."""

    def __init__(self, rows, objective, theta):
        self.rows, self.objective, self.theta = rows, objective, theta
        self.first_product = None
        loss = objective.loss
        bounded = np.isfinite(loss.bound) or loss.dead_zone > 0
        self.matrix = worth_a_matrix(rows)
        self.quadratic = None if bounded else Quadratic(rows, loss, self.matrix)
        self.kinks = None if objective.smooth else Kinks(objective, self.matrix)
        data = self.quadratic or rows.conditions(Box.of(loss), self.matrix)
        self.sides = [side for side in (data, self.kinks) if side is not None]
        self.n_products = sum(side.n_products for side in self.sides)
        (total,) = rows.total(absolute_residuals, theta)
        residual = total / rows.weight
        room = min(loss.bound, residual / loss.compliance) if loss.compliance > 0 else loss.bound
        for side in self.sides:
            side.begin(theta, residual * room, room)

    def expand(self):
        """Keep a quadratic loss exact where the model has come; from the start it is."""
        if self.quadratic is not None and self.quadratic.origin is not self.theta:
            self.quadratic.begin(self.theta)

    def assess(self):
        """Return the objective, and how far above the least it may be."""
        l2 = self.objective.l2
        system = System.added([side.assess(self.theta) for side in self.sides])
        if self.first_product is None:
            self.first_product = system.product
        self.system = system = system._replace(slope=system.slope - l2 * self.theta)
        self.solve = self._solver(finite(system.hessian))
        self.direct = self.solve(finite(system.pull + system.slope))
        value = system.value + float(l2 @ self.theta**2 / 2)
        return value, system.gap + abs(system.slope @ self.direct)

    def _solver(self, hessian):
        """Return a function that solves with the Hessian, of the objective too."""
        if self.matrix:
            return factorised(hessian + np.diag(self.objective.l2))
        return partial(self._conjugate, hessian + self.objective.l2)

    def _conjugate(self, diagonal, rhs, start=None):
        """Solve by conjugate gradients, from a vector that is near or from zero."""
        diagonal = np.where(diagonal > 0, diagonal, 1.0)
        gradient = -rhs if start is None else self._times(start) - rhs
        enough = INNER_TOL**2 * (rhs @ (rhs / diagonal)) / 2
        step, *_ = conjugate_steps(
            self._times, gradient, enough, lambda residual: residual / diagonal, INNER_STEPS
        )
        return step if start is None else start + step

    def _times(self, direction):
        return sum(side.times(direction) for side in self.sides) + self.objective.l2 * direction

    def step(self):
        """One step: predict, see what it leads to, correct (Mehrotra)."""
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
    """Sweep, then go on from where SGD arrived by interior-point steps."""

    def __init__(self, rows, objective, tol):
        self.rows, self.objective, self.tol = rows, objective, tol
        self.interior = None
        self.n_steps = STEPS

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, the objective, that of the last iterate, and the distance."""
        end, average, _ = self.rows.sweep(order, self.objective, step_rule, rows_seen, theta)
        start = theta
        theta, value, values = self._best([start, end, average])
        end_value = float(values[1])
        if value == 0:
            return theta, value, end_value, None
        if self.interior is None:
            self._begin(start, theta)
        with np.errstate(all="ignore"):
            distance = self._steps()
        known = np.nan_to_num(value * min(distance or 0.0, self.tol) ** 2)
        theta, value, _ = self._best([theta, self.interior.theta, *self._clean()], known)
        return theta, value, end_value, distance

    def scatter(self, theta, moments):
        """Return the scatter of the rows, which have these moments, as far as it is known here."""
        quadratic = None if self.interior is None else self.interior.quadratic
        if quadratic is None or not quadratic.matrix:
            return Scatter(moments, None)
        slope = quadratic.slope + quadratic.hessian @ quadratic.origin
        return Scatter.of_hessian(quadratic.hessian, slope, self.rows.metric, moments)

    def _begin(self, start, theta):
        """Begin with the best model so far; where columns are many, without SGD's noise in zeros.

        To undo it there takes longer than the way from the start of the fit.
        """
        if len(theta) > COORDINATES:
            theta = np.where(self.objective.l1 > 0, start, theta)
        self.interior = Interior(self.rows, self.objective, theta)
        if self.interior.quadratic is not None:
            self.tol *= QUADRATIC_TOL
            self.n_steps = QUADRATIC_STEPS if self.interior.matrix else PRODUCT_STEPS

    def _steps(self):
        """Go on until the model is near enough, or nothing but rounding errors are left."""
        interior, distance = self.interior, None
        interior.expand()
        with suppress(RoundingError):
            for n_steps in range(self.n_steps + 1):
                value, gap = interior.assess()
                if not interior.system.product > ROUNDING * interior.first_product:
                    break
                distance = float(np.sqrt(max(gap, 0) / value))
                if n_steps == self.n_steps or distance <= self.tol:
                    break
                interior.step()
        return distance

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
