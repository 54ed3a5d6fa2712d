"""Optimality conditions of rows and of the penalty, linear in a step of the interior point."""

from functools import partial
from typing import NamedTuple

import numpy as np

from .search import response_sums

ZERO_INDICATOR_MARGIN = 0.01  # of the weight of an absolute value: far from its bounds
KINK_SHARE = 1e-4  # of the product of a row, that of a kink of the penalty; of all together, 1
FRACTION_TO_BOUNDARY = 0.95  # of the way to the nearest bound: leaves room for the next step
BINADES = 2200  # powers of two that a float64 may have, and some more


class MultiplierBounds(NamedTuple):
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


class LinearizedKKT:
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
        return 1 / np.maximum([slack, multiplier], FRACTION_TO_BOUNDARY)

    def products_after(self, step):
        """Coefficients of the sum of products after p du, p dv and d dm: of 1, p, d and p d."""
        dm, du, dv = step
        changes = _times(du, self.a) + _times(dv, self.b), dm * (self.v - self.u), dm * (dv - du)
        return np.stack([self.products(), *(change.sum(axis=1) for change in changes)])


def _times(slack, room):
    """Their product; 0 where there is no bound."""
    return np.multiply(slack, room, where=np.isfinite(room), out=np.zeros_like(slack))


class NewtonSystem(NamedTuple):
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
        slope, pull = z.rmatvec(vectors).T
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


def hessian_of(z, weight, matrix):
    """z.T @ diag(weight) @ z, or its diagonal."""
    return z.gram(weight) if matrix else z.column_squares(weight)


def joined(looks):
    """What `RowKKT.look` tells of several sets of rows: shortest lengths, sums of the rest."""
    longest, *sums = zip(*looks, strict=True)
    return np.min(longest, axis=0), *map(sum, sums)


class RowKKT:
    """The conditions of the optimum for many rows, chunk by chunk.

    Parameters
    ----------
    chunks : callable
        Returns an iterator over (z, target, weight) of consecutive rows.
    n_rows : int
    weight : float
        The sum of weights.
    box : MultiplierBounds
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
            yield (
                part,
                z,
                weight,
                LinearizedKKT(self.box, outside, self.state[:, part]),
                images[:, 1:].T,
            )

    def begin(self, theta, product, room):
        """Start with multipliers inside their bounds, and slacks that fit the residuals."""
        for part, z, target, _ in self._parts():
            outside = (target - z @ theta)[:, np.newaxis] - self.box.offset
            self.state[:, part] = self.box.start(outside, self.share * product, room)

    def assess(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        return NewtonSystem.added(self._systems(theta))

    def _systems(self, theta):
        for part, z, weight, local, _ in self._locals(theta):
            self.curvature[part] = curvature = weight * local.curvature.sum(axis=1)
            yield NewtonSystem.of(z, weight, local, hessian_of(z, curvature, self.matrix))

    def times(self, direction):
        """Return the product of the part of the rows in the Hessian with a direction."""
        total = np.zeros_like(direction)
        for part, z, _, _ in self._parts():
            total += z.rmatvec(self.curvature[part] * (z @ direction))
        return total

    def look(self, theta, direct):
        """Follow the direct step: longest length, products after it, and corrections."""
        longest, products = np.full(2, np.inf), np.zeros(4)
        corrections = np.zeros((len(theta), 2))
        for _, z, weight, local, (response,) in self._locals(theta, direct):
            step = local.direct(response)
            longest = np.minimum(longest, local.longest(step))
            products += local.products_after(step) @ weight
            corrections += z.rmatvec(weight[:, np.newaxis] * local.corrections(step))
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

    def rmatvec(self, values):
        """z.T @ values."""
        total = np.zeros((self.n_coordinates, *values.shape[1:]))
        total[self.index] = values
        return total

    def column_squares(self, weight):
        """Diagonal of z.T @ diag(weight) @ z."""
        return self.rmatvec(weight)


class PenaltyKKT(RowKKT):
    """The conditions of the penalty: a coordinate is a row whose residual is -theta."""

    def __init__(self, objective):
        l1, floor = objective.l1, objective.floor
        self.index = np.flatnonzero((l1 > 0) | np.isfinite(floor))
        n_kinks, n_coordinates = len(self.index), len(l1)
        self.l1 = l1[self.index, np.newaxis]
        upper = np.where(np.isfinite(floor[self.index, np.newaxis]), np.inf, self.l1)
        chunk = Coordinates(self.index, n_coordinates), np.zeros(n_kinks), None
        box = MultiplierBounds(np.zeros(1), -self.l1, upper, 0.0)
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
        before = LinearizedKKT(self.box, 0.0, self.state.copy())
        super().move(*step)
        after = LinearizedKKT(self.box, 0.0, self.state)
        above = _times(after.u, before.a) <= _times(before.u, after.a)
        shrinks = above & (_times(after.v, before.b) <= _times(before.v, after.b))
        clear = shrinks & (np.minimum(after.a, after.b) >= ZERO_INDICATOR_MARGIN * self.l1)
        self.zeros = [self.index[clear[:, 0]], self.index[shrinks[:, 0]]]


class SmoothRows:
    """What `RowKKT` tells of rows whose multipliers have no bounds: no steps of their own."""

    n_products = 0.0

    def __init__(self, rows, loss, matrix):
        self.rows, self.matrix = rows, matrix
        self.scale = 1 / (rows.weight * loss.compliance)
        self.hessian = None

    def begin(self, theta, product=None, room=None):
        """Expand the loss about theta, and keep it exact there; one pass."""
        hessian = partial(hessian_of, matrix=self.matrix) if self.hessian is None else None
        value, slope, total = self.rows.sum(loss_and_gradient_sums, theta, hessian)
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
        return NewtonSystem(value, 0.0, np.zeros(BINADES), 0.0, slope, nothing, self.hessian)

    def times(self, direction):
        """Return the product of the Hessian with a direction."""
        if self.matrix:
            return self.hessian @ direction
        total = self.rows.sum(response_sums, direction)
        return total * self.scale

    def look(self, theta, direct):
        """No bound is in the way."""
        return np.full(2, np.inf), np.zeros(4), np.zeros((len(theta), 2))

    def reach(self, *step):
        """No bound is in the way."""
        return np.full(2, np.inf)

    def move(self, *step):
        """Multipliers follow theta."""


def loss_and_gradient_sums(rows, theta, hessian):
    """Return sums over rows: half squared residuals, z times them, and of a function or None."""
    value, slope, total = 0.0, 0.0, 0.0
    for z, y, weight in rows.chunks():
        weight = np.ones(len(y)) if weight is None else weight
        residual = y - z @ theta
        value += weight @ residual**2 / 2
        slope += z.rmatvec(weight * residual)
        if hessian is not None:
            total += hessian(z, weight)
    return value, slope, total
