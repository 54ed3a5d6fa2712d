"""The solver "newton-cholesky": the Hessian of a quadratic objective is summed up and factorised.

One Newton step leads to the optimum. Where the Hessian is well-conditioned, one correction makes
the step exact to rounding. Where it is not, the rows are factorised by orthogonal transformations
and steps are repeated with residuals from the rows (iterative refinement: Bjorck, 1996).
"""

import numpy as np

from ..linalg.factorization import corrected_solution
from ..model.cross_products import CrossProducts
from .base import MIN_TOL, EpochResult, Solver
from .subspace import loss_and_gradient, quadratic_sums

# Newton steps of an epoch where rounding errors matter.
MAX_REFINEMENTS = 3

# A refinement that leaves more than this part of the remaining decrease gains nothing.
MIN_REFINEMENT_GAIN = 0.25

# Rounding error of a prediction z . theta, relative to ||z|| ||theta||.
PREDICTION_ROUNDING = 2 * np.finfo(np.float64).eps


class NewtonCholesky(Solver):
    """Newton's method for a quadratic objective, with its Hessian as a matrix.

    `hessian`: the exact one; several targets share it.
    """

    def __init__(self, rows, objective, tol, hessian):
        super().__init__(rows, objective)
        self.tol, self.hessian = max(tol, MIN_TOL), hessian

    def run(self, theta, sweep=None):
        """Return the optimum, as far as rounding errors allow."""
        self.hessian.prepare(self.rows, self.objective.l2)
        before, gradient = self._loss_and_gradient(theta, quadratic_slope)
        if self.hessian.well_conditioned:
            theta, loss, remaining = self._corrected_step(theta, before, gradient)
        else:
            theta, loss, remaining = self._refined_steps(theta, before)
        theta, loss = self._with_all_digits(theta, loss, before)
        distance = float(np.sqrt(max(remaining, 0) / loss)) if loss > 0 else None
        return EpochResult(theta, loss, distance)

    def _corrected_step(self, theta, loss, gradient):
        """Take a Newton step, and one more with what rounding errors have left of the gradient."""
        step, residual, correction = corrected_solution(
            self.hessian.solve, self.hessian.total.__matmul__, gradient
        )
        return theta - step, loss - gradient @ step / 2, residual @ correction / 2

    def _refined_steps(self, theta, loss):
        """Take Newton steps with gradients from the rows as long as they gain something.

        The loss itself may have too few digits to tell which model is better, so the remaining
        decrease g' H^-1 g / 2 decides.
        """
        solve, target = self.hessian.solve, self.tol**2 * loss
        loss, gradient = self._loss_and_gradient(theta, exact_residual_sums)
        step = solve(gradient)
        remaining = gradient @ step / 2
        for _ in range(MAX_REFINEMENTS):
            next_theta, last = theta - step, remaining
            next_loss, gradient = self._loss_and_gradient(next_theta, exact_residual_sums)
            next_step = solve(gradient)
            next_remaining = gradient @ next_step / 2
            if next_remaining < last:
                theta, loss, step, remaining = next_theta, next_loss, next_step, next_remaining
            rounding = PREDICTION_ROUNDING**2 * (self.hessian.trace * theta @ theta) / 2
            if remaining >= MIN_REFINEMENT_GAIN * last and loss <= rounding:
                remaining = 0.0  # residuals are rounding errors of predictions
            if remaining <= target or remaining >= MIN_REFINEMENT_GAIN * last:
                break
        if 0 < remaining <= target:
            theta = theta - step
        return theta, loss, remaining

    def _loss_and_gradient(self, theta, task):
        square, slope = self.rows.sum(task, theta)
        return loss_and_gradient(self.rows.weight, self.objective, theta, square, slope)

    def cross_products(self, theta, moments):
        """Return the cross products of the rows; see `Solver`."""
        hessian, rows, l2 = self.hessian, self.rows, self.objective.l2
        if hessian.factor is not None and rows.scaling.scale[-1] > 0 and not l2.any():
            return CrossProducts.from_factor(hessian.factor, theta, rows.scaling, moments)
        if hessian.total is None:
            products = hessian.factor.T @ hessian.factor
        else:
            products = hessian.total - np.diag(l2)
        slope = products @ theta + l2 * theta
        return CrossProducts.from_hessian(products, slope, rows.scaling, moments)


def quadratic_slope(rows, theta):
    """Return the sum of squared residuals, and that of z times residuals."""
    square, sums = quadratic_sums(rows, theta, np.empty((len(theta), 0)))
    return square, sums[:, 0]


def exact_residual_sums(rows, theta):
    """Return the same sums as `quadratic_slope`, from dense rows z.

    Products with sparse rows are differences of numbers that may be large far from zero, and have
    fewer digits.
    """
    square, slope = 0.0, np.zeros(len(theta))
    for z, residual, weighted, _ in residual_blocks(rows, theta):
        square += weighted @ residual
        slope += weighted @ z
    return float(square), slope


def residual_blocks(rows, theta):
    """Yield dense rows z, their residuals, these times the weights, and the weights or None."""
    for chunk, y, weight in rows.chunks():
        start = 0
        for z, part in chunk.dense_blocks(weight):
            residual = y[start : start + len(z)] - z @ theta
            start += len(z)
            yield z, residual, residual if part is None else part * residual, part
