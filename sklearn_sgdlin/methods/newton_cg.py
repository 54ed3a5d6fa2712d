"""The solver "newton-cg": conjugate gradients, which need only products with the Hessian.

A few Lanczos steps on the way bound the smallest eigenvalue, and with it the distance to the
optimum. Where eigenvalues are too far apart for that, a Hessian helps if it can be afforded: the
exact one leads to the optimum at once, an estimated one is a preconditioner.
"""

from functools import partial

import numpy as np

from ..linalg.cg import conjugate_gradient
from ..linalg.eigenvalue_bound import SmallestEigenvalueBound
from .base import MIN_TOL, EpochResult, Solver
from .newton_cholesky import NewtonCholesky
from .sgd import at_most
from .subspace import SearchSubspace, gradient_and_hessian_products, hessian_product

# Iterations of an epoch.
MAX_ITERATIONS = 30


class NewtonCG(Solver):
    """Conjugate gradients for a quadratic objective, restarted at each epoch.

    `hessian`: prepared where eigenvalues are far apart; several targets share it.
    `n_averages`: averages of the sweep of SGD that the first epoch begins with; 0 for no sweep.
    """

    def __init__(self, rows, objective, tol, *, hessian, seed, n_averages):
        super().__init__(rows, objective)
        self.tol, self.hessian, self.n_averages = max(tol, MIN_TOL), hessian, n_averages
        self.eigenvalue = SmallestEigenvalueBound(rows.n_coordinates, seed, rows.scaling.scale > 0)
        self.subspace = SearchSubspace(rows.n_coordinates)
        self.gradient, self.decreases = None, []
        self.start, self.newton, self.preconditioned = None, None, False

    def run(self, theta, sweep):
        """Return the model after some iterations, at the optimum if they are enough."""
        if self.newton is not None:
            return self.newton.run(theta)
        if self.start is None:
            self.start = theta
        directions = self._directions(theta, sweep)
        if not np.isfinite(directions).all():
            return EpochResult(theta, np.nan, None)
        before, gradient, images = gradient_and_hessian_products(
            self.rows, self.objective, theta, directions
        )
        if self.gradient is None:
            self.eigenvalue.add(images[:, -1])
        step, change, decrease = self.subspace.search(directions, images, gradient)
        theta, self.gradient = theta + step, gradient + change
        theta, loss, remaining = self._iterate(theta, before - decrease)
        if remaining is None:
            return self.newton.run(theta)
        theta, loss = self._with_all_digits(theta, loss, before)
        distance = float(np.sqrt(max(remaining, 0) / loss)) if loss > 0 else None
        return EpochResult(theta, loss, distance)

    def _directions(self, theta, sweep):
        """Return directions of unit length, as columns, to search before the iterations."""
        if self.gradient is not None:
            columns = [self.gradient]
        else:
            columns = [self.eigenvalue.vector]
            if self.n_averages:
                points = [
                    at_most(points - theta[:, np.newaxis])
                    for points in sweep(theta, self.n_averages)
                ]
                columns = [*points, *columns]
        directions = np.column_stack(columns)
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(directions, axis=0)
            return directions / np.where(length > 0, length, 1.0)

    def _iterate(self, theta, loss):
        """Return the model, its loss, and the remaining decrease; None for that of `newton`."""
        target, remaining = self.tol**2 * loss, np.inf
        if not self.preconditioned:  # by its own need: other targets may share the Hessian
            theta, decrease, remaining = self._conjugate(
                theta,
                target,
                eigenvalue_bound=self.eigenvalue,
                continue_if_ill_conditioned=self.hessian is None,
            )
            loss -= decrease
        if self.hessian is None or remaining <= target:
            return theta, loss, remaining
        self.hessian.prepare(self.rows, self.objective.l2)
        self.preconditioned = True
        if self.hessian.exact:
            theta = self.start + self.hessian.project(theta - self.start)
            self.newton = NewtonCholesky(self.rows, self.objective, self.tol, self.hessian)
            return theta, loss, None
        theta, decrease, remaining = self._conjugate(
            theta, target, preconditioner=self.hessian.solve
        )
        return theta, loss - decrease, remaining

    def _conjugate(self, theta, target, **options):
        result = conjugate_gradient(
            partial(hessian_product, self.rows, self.objective),
            self.gradient,
            target,
            max_iter=MAX_ITERATIONS,
            earlier_decreases=self.decreases,
            **options,
        )
        self.decreases = self.decreases + result.decreases
        self.gradient = self.gradient + result.change
        self.subspace.add(
            np.column_stack([result.step, result.direction]),
            np.column_stack([result.change, result.image]),
        )
        return theta + result.step, sum(result.decreases), result.remaining
