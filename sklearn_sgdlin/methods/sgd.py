"""Stochastic gradient descent: sweeps, averages of their path, and the search in their span."""

from functools import cached_property

import numpy as np

from ..linalg.eigenvalue_bound import SmallestEigenvalueBound
from ..model.settings import constant_model, raise_if_diverged, sweep_rng
from .base import EpochResult, Solver
from .subspace import SearchSubspace, gradient_and_hessian_products, hessian_product

# Each epoch takes one Lanczos step at next to no cost, so a proof may take many.
MAX_LANCZOS_STEPS = 100

# Lanczos steps, each a pass over the rows, that an epoch takes where its search has gained nothing.
LANCZOS_STEPS_AT_END = 30

# Points of a kind, last iterates or averages, that are directions of a search. Where there are more
# places, means over groups of them are, so that a search costs no more.
MAX_POINTS = 16


class Sweeps:
    """Passes of SGD over the rows of a problem, in a new order each.

    `problem`: in the coordinates of the steps.
    `scaling`: of the models that come and go. With ``precondition=False`` it is not that of the
    steps.

    Attributes
    ----------
    rate : float
        Learning rate of the next sweep.
    rows_seen : int
        Steps taken so far.
    """

    def __init__(self, settings, problem, seed, scaling):
        self.settings, self.problem, self.seed, self.scaling = settings, problem, seed, scaling
        self.rate, self.rows_seen = settings.learning_rate, 0

    def __call__(self, theta, n_averages=1):
        """Return where a sweep leads that begins at theta.

        Parameters
        ----------
        theta : ndarray of shape (n_coordinates,)
        n_averages : int, default=1
            Averages of the paths of all places together; each has one at least.

        Returns
        -------
        ends : ndarray of shape (n_coordinates, n_places)
            Last iterates, one for each place where rows lie.
        averages : ndarray of shape (n_coordinates, n_averages)
            Averages of their paths.

        Raises
        ------
        DivergedError
            Where explicit steps have led to a loss far above that of a constant prediction.
        """
        settings, problem, rows = self.settings, self.problem, self.problem.rows
        rng = sweep_rng(settings, self.seed, self.rows_seen)
        start = self._between(self.scaling, rows.scaling, theta[:, np.newaxis])[:, 0]
        ends, averages = rows.sweep(
            rng,
            problem.objective,
            problem.step_rule(settings, self.rate),
            self.rows_seen,
            start,
            n_averages=n_averages,
        )
        self.rows_seen += rows.n_rows
        if not settings.implicit:
            loss = problem.objective.value(rows, rows.mean_of(ends))
            raise_if_diverged(loss, self._constant_loss, f"epoch {self.rows_seen // rows.n_rows}")
        return tuple(
            self._between(rows.scaling, self.scaling, points) for points in (ends, averages)
        )

    @cached_property
    def _constant_loss(self):
        """Loss of a constant prediction, which diverged steps are far above."""
        _, intercept = constant_model(self.settings, self.problem.moments)
        return self.problem.rows.constant_loss(self.settings.loss, intercept)

    @staticmethod
    def _between(scaling, other, points):
        """Return points of a scaling, one a column, in the coordinates of another."""
        if scaling is other:
            return points
        models = [other.to_scaled(*scaling.to_original(point)) for point in points.T]
        return np.stack(models, axis=1)


def at_most(points, n_points=MAX_POINTS):
    """Return points, one a column, or where they are more, means over as many groups of them."""
    if points.shape[1] <= n_points:
        return points
    groups = [points[:, first::n_points].mean(axis=1) for first in range(n_points)]
    return np.stack(groups, axis=1)


class LastIterate(Solver):
    """SGD without averaging: the model is the last iterate of each sweep."""

    def run(self, theta, sweep):
        """Return the last iterate of a sweep and its objective."""
        ends, _ = sweep(theta)
        theta = self.rows.mean_of(ends)
        return EpochResult(theta, self.objective.value(self.rows, theta), None)


class QuadraticSGD(Solver):
    """A sweep an epoch, then the minimum over the span of averages, gradients and earlier steps.

    The distance is sqrt(g' H^-1 g / mean squared residual). It is known where a few Lanczos steps
    bound the smallest eigenvalue of H, or where the directions span all coordinates.
    """

    def __init__(self, rows, objective, tol, seed):
        super().__init__(rows, objective)
        self.tol = tol
        self.eigenvalue = SmallestEigenvalueBound(
            rows.n_coordinates, seed, rows.scaling.scale > 0, MAX_LANCZOS_STEPS
        )
        self.subspace = SearchSubspace(rows.n_coordinates)
        self.gradient, self.loss = None, np.inf

    def run(self, theta, sweep):
        """Return the best model in the span after one more sweep."""
        directions = self._directions(theta, *sweep(theta))
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(directions, axis=0)
        if not np.isfinite(length).all():
            return EpochResult(theta, np.nan, None)
        directions /= np.where(length > 0, length, 1.0)
        n_searched, probed = directions.shape[1], directions
        if self.eigenvalue.undecided:  # in the same pass; its vector is no direction of the search
            probed = np.column_stack([directions, self.eigenvalue.vector])
        loss, gradient, images = gradient_and_hessian_products(
            self.rows, self.objective, theta, probed
        )
        if self.eigenvalue.undecided:
            self.eigenvalue.add(images[:, -1])
        images = images[:, :n_searched]
        step, change, decrease = self.subspace.search(directions, images, gradient)
        complete = self.subspace.rank == np.count_nonzero(self.rows.scaling.scale)
        found, lower = self._with_all_digits(theta + step, loss - decrease, loss)
        if lower > loss:  # What the step changes is nothing but rounding errors.
            found, lower, change, decrease = theta, loss, 0.0, 0.0
        # The same model may have another loss in another pass, by rounding errors.
        theta, loss, self.gradient = found, min(lower, self.loss), gradient + change
        self.loss = loss
        if decrease <= self.tol**2 * loss and not complete:
            self._bound_eigenvalues()
        return EpochResult(theta, loss, self._distance(loss, complete))

    def _directions(self, theta, ends, averages):
        """Return the directions of this epoch: ends, averages and the gradient, as columns."""
        columns = [at_most(points - theta[:, np.newaxis]) for points in (ends, averages)]
        if self.gradient is not None:
            columns.append(self.gradient)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the epoch
            return np.column_stack(columns)

    def _bound_eigenvalues(self):
        """Take more Lanczos steps where searches gain nothing: the optimum may be near."""
        for _ in range(LANCZOS_STEPS_AT_END):
            if not self.eigenvalue.undecided:
                break
            image = hessian_product(self.rows, self.objective, self.eigenvalue.vector)
            self.eigenvalue.add(image)

    def _distance(self, loss, complete):
        """Return the distance to the optimum, or None where it is not known."""
        square = self.gradient @ self.gradient
        if self.eigenvalue.lower_bound is not None:
            above = square / (2 * self.eigenvalue.lower_bound)
        elif complete:
            above = self.subspace.minimize(self.gradient)[2]
        else:
            return None
        return float(np.sqrt(max(above, 0.0) / loss)) if loss > 0 else None
