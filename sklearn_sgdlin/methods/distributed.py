"""Solvers for rows in several places, as on the workers of a Dask cluster.

In each round every place sweeps its own rows from the shared model. The ends and averages
they reach are directions of the same search as on one machine. Where columns are few, the Hessian
is added up over places, and the exact Newton step follows. Else a few more searches do, among
the Newton steps of the places, each the gradient times the inverse of the place's own Hessian
(GIANT: Wang, Roosta-Khorasani, Xu & Mahoney, 2018).
"""

from functools import partial

import numpy as np

from ..data.sums import add_up
from ..linalg.hessian_estimate import HessianEstimate
from .kkt import NewtonSystem, RowKKT, joined
from .search import SearchingEpoch, hessian_times, normalize_sums, quadratic_sums

# Coordinates up to which a worker keeps a Hessian of its own rows, of as many rows and columns.
# With more, no Newton steps of workers are searched among.
NEWTON_COORDINATES = 1025
# Averages that the sweeps of a round have on all workers together; each has one at least. More make
# a round converge faster, but are as many vectors to send and products to take.
SWEEP_AVERAGES = 16
# Searches among Newton steps in a round, at most. Each takes two more calls of all workers.
REFINEMENTS = 3
# Directions of a kind, as the ends of sweeps, at most. With more workers they are means over groups
# of workers, so that a round costs no more.
MAX_DIRECTIONS_PER_KIND = 16


class ClusterEpoch(SearchingEpoch):
    """Every worker sweeps; then the best model in the span of where they got."""

    def directions(self, theta, sweep):
        """Return ends and averages of the workers' sweeps, and the gradient."""
        points = self._points(*sweep.begin(), theta) - theta[:, np.newaxis]
        kinds = np.split(points.T, points.shape[1] // len(self.rows.shares))
        directions = [direction for kind in kinds for direction in grouped(kind)]
        return np.column_stack([*directions, *self._more()])

    def _points(self, *args):
        n_averages = max(SWEEP_AVERAGES // len(self.rows.shares), 1)
        return np.hstack(self.rows.sweep_places(*args, n_averages))


class NewtonClusterEpoch(ClusterEpoch):
    """Then further searches, among the Newton steps of the workers."""

    def __init__(self, rows, objective, tol, seed):
        super().__init__(rows, objective, tol)
        self.least = None  # the Newton steps tell what is left
        l2, places = objective.l2, range(len(rows.shares))
        self._unsent = [((seed, number), l2) for number in places]  # with the first gradient

    def _refine(self, theta, loss):
        """Search as long as it is worth while.

        The mean decrement of the Newton steps tells what is left. It is not too small: the mean of
        H_k^-1 is at least the inverse of the mean of H_k (Jensen), and near it where partitions
        are alike.
        """
        total = 0.0
        for n_searches in range(REFINEMENTS + 1):
            newton = self._local_steps()
            left = self.rows.shares @ [self.gradient @ step for step in newton] / 2
            if left <= self.tol**2 * loss or n_searches == REFINEMENTS:
                return theta, total, left
            directions = np.column_stack([self.gradient, *grouped(newton)])
            length = np.linalg.norm(directions, axis=0)
            directions /= np.where(length > 0, length, 1.0)
            self.span.add(directions, hessian_times(self.rows, self.objective, directions))
            step, change, decrease = self.span.search(self.gradient)
            self.span.forget()
            theta, self.gradient = theta + step, self.gradient + change
            total += decrease

    def _local_steps(self):
        """Return the Newton step of each worker for the gradient of all rows."""
        steps = self.rows.each(local_newton_step, [(self.gradient, *own) for own in self._unsent])
        self._unsent = [()] * len(steps)
        return steps


class ExactClusterEpoch(ClusterEpoch):
    """Then the Newton step of all rows: their scatter tells the Hessian.

    So the model is that of one machine to rounding, whichever worker holds which rows. What
    the first search needs to know of them, the scatter tells, too. Later ones see the residuals,
    which have more digits: sweep and sums then come in one call.
    """

    def __init__(self, rows, objective, tol, scatter):
        sketch = HessianEstimate(rows.n_rows, rows.n_coordinates, seed=0)  # no sums, so no seed
        super().__init__(rows, objective, tol, sketch)
        self.known = scatter

    def _points(self, rng, *args):
        if self.sketch.solve is None:
            return np.hstack(self.rows.sweep_places(rng, *args))
        calls = self.rows.each(sweep_and_sum, [(seed, *args) for seed in self.rows.seeds(rng)])
        points, sums = zip(*calls, strict=True)
        self.sums = add_up(sums)
        return np.stack(points, axis=2).reshape(self.rows.n_coordinates, -1)

    def _survey(self, theta, directions):
        if self.sketch.solve is None:
            rows = self.rows
            *self.sums, self.sketch.total = self.known.residual_sums(
                rows.target, rows.scaling, theta
            )
            blocks = partial(self.known.rows, rows.scaling)
            self.sketch.finish(rows.weight, self.objective.l2, blocks)
        none = np.empty((len(theta), 0))
        loss, gradient, _ = normalize_sums(
            self.rows.weight, self.objective, theta, none, *self.sums
        )
        return loss, gradient, self.sketch.total @ directions

    def _by_sketch(self, theta, loss, enough):
        return self._newton(theta, loss, enough)


def local_newton_step(place, gradient, seed=None, l2=None):
    """Return a gradient times the inverse Hessian of the rows of a place, given l2 at first."""
    if l2 is not None:
        local = HessianEstimate(place.n_rows, place.n_coordinates, seed)
        local.fill(place.parts, place.weight, l2)
        place.memory["hessian"] = local
    return place.memory["hessian"].solve(gradient)


def sweep_and_sum(place, seed, objective, step_rule, rows_seen, theta):
    """Return the end and the average of a sweep, and the sums for the gradient at its start."""
    rng = None if seed is None else np.random.default_rng(seed)
    points = np.hstack(place.sweep_places(rng, objective, step_rule, rows_seen, theta))
    return points, place.sum(quadratic_sums, theta, np.empty((len(theta), 0)))


class ClusterConditions:
    """`RowKKT` of the rows of all workers."""

    def __init__(self, rows, box, matrix):
        self.rows = rows
        self.n_products = self._ask("__init__", rows.weight, box, matrix)[0]

    def _ask(self, name, *args):
        return self.rows.each(_condition, [(name, *args)] * len(self.rows.shares))

    def begin(self, *args):
        """See `RowKKT`."""
        self._ask("begin", *args)

    def assess(self, theta):
        """See `RowKKT`."""
        return NewtonSystem.added(self._ask("assess", theta))

    def times(self, direction):
        """See `RowKKT`."""
        return np.sum(self._ask("times", direction), axis=0)

    def look(self, theta, direct):
        """See `RowKKT`."""
        return joined(self._ask("look", theta, direct))

    def reach(self, *step):
        """See `RowKKT`."""
        return np.min(self._ask("reach", *step), axis=0)

    def move(self, *step):
        """See `RowKKT`."""
        self._ask("move", *step)


def _condition(place, name, *args):
    """Return what a method of `RowKKT` tells of all partitions of a place."""
    if name == "__init__":
        place.memory["conditions"] = conditions = [
            RowKKT(part.chunks, part.n_rows, *args) for part in place.parts
        ]
        return conditions[0].n_products
    told = [getattr(conditions, name)(*args) for conditions in place.memory["conditions"]]
    join = {
        "assess": NewtonSystem.added,
        "times": partial(np.sum, axis=0),
        "look": joined,
        "reach": partial(np.min, axis=0),
    }
    return join[name](told) if name in join else None


def grouped(directions):
    """Return the directions of the workers, or where they are many, means over groups of them."""
    if len(directions) <= MAX_DIRECTIONS_PER_KIND:
        return list(directions)
    return [
        np.mean(directions[first::MAX_DIRECTIONS_PER_KIND], axis=0)
        for first in range(MAX_DIRECTIONS_PER_KIND)
    ]
