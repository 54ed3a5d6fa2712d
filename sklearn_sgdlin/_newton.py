"""Newton steps for objectives with kinks: bounded multipliers, absolute values, bounds.

A piecewise linear-quadratic loss has its curvature where its multiplier is not at a bound. Where
it has none at all (quantiles), its kinks are rounded off over a width that shrinks as the
optimum comes near; the multipliers of the rounded loss then bound what is lost by it (Fenchel
duality). The quadratic model at the best point so far, with the kinks of the penalty kept, is
minimised exactly, and points along the way there are candidates beside those that SGD left.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq

from ._descent import descend
from ._search import CurvatureSketch

STEPS = np.array([1.0, 0.5, 0.2, 0.05])  # of the way to the minimum of the model
WIDTH_DIVISOR = 5.0  # of the rounding, when the optimum of the rounded loss is near
WIDENINGS = 8  # at most, where no row lies on a kink
DAMPING = 1e-10  # least multiple of the mean curvature that is added to the Hessian
FIRST_DAMPING = 1e-6  # keeps rounding errors out of directions that no row has
DAMPINGS = np.array([0.01, 1.0, 100.0])  # tried beside each other, relative to the last
DESCENT_ROUNDS = 1000
RELATIVE = 1e-14  # of the objective: what a coordinate of the model must gain to go on


def candidate_values(rows, objective, points):
    """Objective at each column of points, in one pass."""
    return rows.mean_loss(points, objective.loss) + objective.penalty(points)


def model_sums(rows, loss, smoothed, theta, rng):
    """Return the sums over rows of loss, gap, gradient and curvature: what a `Model` is made of."""
    sketch = CurvatureSketch(rows.n_rows, rows.n_coordinates, rng)
    total, gap, gradient = 0.0, 0.0, np.zeros(rows.n_coordinates)
    for z, y, weight in rows.chunks():
        h = 1.0 if weight is None else weight
        residual = y - z @ theta
        multiplier = smoothed.multiplier(residual)
        total += np.sum(h * loss.value(residual))
        gap += np.sum(h * loss.conjugate_gap(residual, multiplier))
        gradient -= z.transposed_times(h * multiplier)
        sketch.add(z, h * smoothed.curvature(residual))
    return total, gap, gradient, sketch.sums()


class Model:
    """The quadratic model of an objective at a point, and the way to its minimum.

    Attributes
    ----------
    value, gap : float
        The objective, and what rounding the kinks may have cost.
    gradient : ndarray of shape (n_coordinates,)
        Of the rounded loss and the smooth part of the penalty.
    hessian : ndarray of shape (n_coordinates, n_coordinates)
    curved : bool
        Whether any row is where the loss has curvature; else the model knows nothing.
    """

    def __init__(self, rows, objective, theta, width, rng):
        loss, smoothed = objective.loss, objective.loss.smoothed(width)
        total, gap, gradient, curvature = rows.total(model_sums, loss, smoothed, theta, rng)
        self.objective, self.theta = objective, theta
        self.value = total / rows.weight + float(objective.penalty(theta))
        self.gap = max(float(gap / rows.weight), 0.0)
        self.gradient = gradient / rows.weight + objective.l2 * theta
        self.hessian = curvature / rows.weight
        self.hessian[np.diag_indices(rows.n_coordinates)] += objective.l2
        self.curved = bool(curvature.any())

    def step(self, damping):
        """Return the step to the minimum of the model, and how much lower the model is there."""
        hessian = self.hessian.copy()
        curvature = np.trace(hessian) / len(hessian)
        hessian[np.diag_indices(len(hessian))] += damping * curvature
        if self.objective.smooth:
            step = self._solve(hessian)
        else:
            theta, gradient = self.theta.copy(), self.gradient.copy()
            tol = RELATIVE * abs(self.value)
            descend(hessian, self.objective.l1, self.objective.floor, theta, gradient, tol,
                    DESCENT_ROUNDS)  # fmt: skip
            step = theta - self.theta
        kinks = self.objective.l1 @ (np.abs(self.theta + step) - np.abs(self.theta))
        decrease = -(self.gradient @ step + step @ (hessian @ step) / 2 + kinks)
        return step, max(float(decrease), 0.0)

    def _solve(self, hessian):
        try:
            return cho_solve(cho_factor(hessian), -self.gradient)
        except LinAlgError:
            return lstsq(hessian, -self.gradient)[0]


class NewtonEpoch:
    """Sweep, take the best of what SGD left, model the objective there and step."""

    def __init__(self, rows, objective, rng, tol):
        self.rows, self.objective, self.rng = rows, objective, rng
        self.target = max(tol, 1e-6) ** 2 / 2  # what rounding may cost, relative
        self.damping = FIRST_DAMPING
        self.width = None if np.isfinite(objective.loss.bound) else 0.0

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, the objective, that of the last iterate, and the distance."""
        end, average, _ = self.rows.sweep(order, self.objective, step_rule, rows_seen, theta)
        theta, value, values = self._best([theta, end, average])
        end_value = float(values[1])
        if value == 0:
            return theta, value, end_value, None
        if self.width is None:  # about the size of a residual
            self.width = value / self.objective.loss.bound / self.objective.loss.bound
        model = self._model(theta)
        dampings = np.maximum(self.damping * DAMPINGS, DAMPING)
        steps, decreases = zip(*[model.step(damping) for damping in dampings], strict=True)
        decrease = decreases[0]
        if model.gap > self.target * value and decrease <= model.gap:
            near = decrease <= model.gap / WIDTH_DIVISOR**2
            self.width /= WIDTH_DIVISOR**2 if near else WIDTH_DIVISOR
        theta, new_value, values = self._best(
            [theta, *(theta + t * step for step in steps for t in STEPS)]
        )
        chosen = (int(np.argmin(values)) - 1) // len(STEPS)  # -1: none was better
        self.damping = dampings[chosen] * (DAMPINGS[-1] if chosen < 0 else 1.0)
        # Of the model before the step: the one after it is nearer.
        return theta, new_value, end_value, float(np.sqrt((decrease + model.gap) / value))

    def _model(self, theta):
        """Model the objective, its kinks rounded off widely enough that some row is on one.

        Where all rows lie in the dead zone, none ever is, and none has a say.
        """
        for _ in range(WIDENINGS):
            model = Model(self.rows, self.objective, theta, self.width, self.rng)
            if model.curved or self.width == 0:
                break
            self.width *= WIDTH_DIVISOR**2
        return model

    def _best(self, points):
        points = np.maximum(np.column_stack(points), self.objective.floor[:, None])
        values = candidate_values(self.rows, self.objective, points)
        best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
        return points[:, best], float(values[best]), values
