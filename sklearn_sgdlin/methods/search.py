"""The search: the best model in the span of averages of SGD.

Each sweep leaves its average, a point near the optimum but for noise. The
objective is minimised exactly over the affine span of these points, so the noise averages
out with optimal weights (sequential subspace optimisation: Narkiss & Zibulevsky, 2005;
nonlinear acceleration of stochastic algorithms: Scieur, Bach & d'Aspremont, 2017).
One pass over X gives the gradient g at the best model, and H d for every new direction d
(H the Hessian of the objective), which is all that a quadratic objective needs.

From there conjugate gradients go on to the optimum. What is known of H beforehand makes them short,
and tells how far the optimum is; see `_curvature`.
"""

from functools import partial

import numpy as np

from ..linalg.cg import conjugate_gradient
from ..linalg.eigenvalue_bound import SmallestEigenvalueBound
from ..linalg.factorization import RANK_TOLERANCE
from ..model.cross_products import CrossProducts
from .base import EpochResult

LEAST_TOL = 1e-8  # distance up to which rounding errors let an epoch go on
NEWTON_STEPS = 3  # an epoch, where rounding errors matter
MAX_DIRECTIONS = 80  # directions: data with fewer columns are solved exactly in a few epochs
MIN_DIRECTIONS = 8  # where columns are so many that
MAX_DIRECTION_ENTRIES = 1 << 23  # more than so many numbers would be kept
PREDICTION = 2 * np.finfo(np.float64).eps  # of |z| |theta|: rounding error of a prediction
GAIN = 0.25  # of what is left: a step that leaves more does no more than rounding errors
DIRECTION_ROUNDING = (
    1e-8  # length H^(1/2) d, relative to the longest, below which it is rounding error
)


def gradient_and_hessian_products(rows, objective, theta, directions):
    """One pass over the rows: a quadratic objective and its gradient at theta, images H d.

    Parameters
    ----------
    rows : Rows
    objective : Objective
        Squared error, and a penalty without kinks.
    theta : ndarray of shape (n_coordinates,)
    directions : ndarray of shape (n_coordinates, n_directions)

    Returns
    -------
    loss : float
    gradient : ndarray of shape (n_coordinates,)
    images : ndarray of shape (n_coordinates, n_directions)
    """
    loss, sums = rows.sum(quadratic_sums, theta, directions)
    return normalize_sums(rows.weight, objective, theta, directions, loss, sums)


def normalize_sums(weight, objective, theta, directions, loss, sums):
    """Return the loss, gradient and images from the sums over all rows and their weight."""
    sums = sums / weight
    loss = loss / (2 * weight) + float(objective.penalty(theta))
    gradient = objective.l2 * theta - sums[:, 0]
    return loss, gradient, sums[:, 1:] + objective.l2[:, None] * directions


def quadratic_sums(rows, theta, directions):
    """Return the sums over rows of squared residuals, and of z times residuals and responses."""
    return rows.products(np.column_stack([-theta, directions]), residuals=True)


def residual_sums(rows, theta):
    """Return the sums over rows of squared residuals and of z times residuals, of dense rows z.

    Products with sparse rows are differences, which have fewer digits far from zero.
    """
    square, sums = 0.0, np.zeros(len(theta))
    for chunk, y, weight in rows.chunks():
        start = 0
        for z, part in chunk.parts(weight):
            residual = y[start : start + len(z)] - z @ theta
            start += len(z)
            weighted = residual if part is None else part * residual
            square += weighted @ residual
            sums += weighted @ z
    return float(square), sums[:, np.newaxis]


def hessian_times(rows, objective, directions):
    """H d, for a direction or each column of several; one pass over the rows."""
    total = rows.sum(response_sums, directions)
    return total / rows.weight + (objective.l2 * directions.T).T


def response_sums(rows, directions):
    """Return the sums over rows of z times their responses to directions."""
    return rows.products(directions)[1]


class SearchSubspace:
    """Directions seen so far with their images, and the best step within their span."""

    def __init__(self, n_coordinates):
        affordable = max(MAX_DIRECTION_ENTRIES // n_coordinates, MIN_DIRECTIONS)
        self.memory = min(MAX_DIRECTIONS, affordable, n_coordinates)
        self.directions = np.empty((0, n_coordinates))
        self.images = np.empty((0, n_coordinates))
        self.curvature = np.empty((0, 0))  # of each direction with each

    def add(self, directions, images):
        """Take in directions and their images, each a column."""
        n_old = len(self.directions)
        self.directions = np.concatenate([self.directions, directions.T])
        self.images = np.concatenate([self.images, images.T])
        block = self.directions @ images
        block[n_old:] = (block[n_old:] + block[n_old:].T) / 2
        left = np.concatenate([self.curvature, block[:n_old].T])
        self.curvature = np.concatenate([left, block], axis=1)

    def forget(self):
        """Keep the latest directions, as many as memory allows."""
        self.directions = self.directions[-self.memory :]
        self.images = self.images[-self.memory :]
        self.curvature = self.curvature[-self.memory :, -self.memory :]

    def search(self, gradient):
        """Return the step to the minimum over the whole span.

        Returns
        -------
        step, change : ndarray of shape (n_coordinates,)
            The step, and H step, by which the gradient changes.
        decrease : float
            How much lower the objective is after the step.
        """
        size = np.sqrt(np.maximum(self.curvature.diagonal(), 0))
        seen = size > DIRECTION_ROUNDING * size.max(initial=0.0)
        size = size[seen]
        curvature = self.curvature[seen][:, seen] / (size[:, None] * size)
        eigenvalues, eigenvectors = np.linalg.eigh(curvature)
        kept = eigenvalues > RANK_TOLERANCE * eigenvalues.max(initial=0.0)
        basis = eigenvectors[:, kept] / size[:, None]
        slope = self.directions @ gradient
        weights = np.zeros(len(slope))
        weights[seen] = -basis @ ((basis.T @ slope[seen]) / eigenvalues[kept])
        step, change = weights @ self.directions, weights @ self.images
        return step, change, -(gradient @ step + step @ change / 2)


class SearchingEpoch:
    """Sweep, then take the best model in the span of averages, and go on.

    The distance is sqrt(g' H^-1 g / mean squared residual): the root mean square of what
    predictions lack, in its units.

    Parameters
    ----------
    rows : Rows
    objective : Objective
    tol : float
        The distance to be reached.
    sketch : HessianEstimate or None
        Filled when it is needed; several targets share it.
    seed : int
    """

    def __init__(self, rows, objective, tol, sketch=None, seed=0):
        self.rows, self.objective, self.tol, self.sketch = rows, objective, tol, sketch
        self.by_sketch = sketch is not None and sketch.cheap  # or once it is needed
        self.least = None if self.by_sketch else SmallestEigenvalueBound(rows.n_coordinates, seed)
        self.span = SearchSubspace(rows.n_coordinates)
        self.gradient, self.decreases, self.start = None, [], None

    def directions(self, theta, sweep):
        """Return the end of the sweep, its average, and a gradient step."""
        end, average = sweep(theta)
        return np.column_stack([end - theta, average - theta, *self._more()])

    def _more(self):
        """The gradient; in the first pass, a random vector to learn the least curvature from."""
        if self.gradient is not None:
            return [self.gradient]
        return [] if self.least is None else [self.least.vector]

    def run(self, theta, sweep):
        """Return the new model, its loss and its distance."""
        self.start = theta
        directions = self.directions(theta, sweep)
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(directions, axis=0)
        if not np.isfinite(length).all():
            return EpochResult(theta, np.nan, None)
        directions /= np.where(length > 0, length, 1.0)
        old_loss, gradient, images = self._survey(theta, directions)
        if self.gradient is None and self.least is not None:
            self.least.add(images[:, -1])
        loss, self.gradient = old_loss, gradient
        if not (self.by_sketch and self.sketch.exact):  # else Newton steps lead to the optimum
            self.span.add(directions, images)
            step, change, decrease = self.span.search(gradient)
            self.span.forget()
            theta, self.gradient = theta + step, gradient + change
            loss -= decrease
        theta, decrease, left = self._refine(theta, loss)
        loss -= decrease
        if loss < 1e-6 * old_loss:  # the difference of two numbers that agree in all digits
            loss = self.objective.value(self.rows, theta)
        distance = float(np.sqrt(max(left, 0) / loss)) if loss > 0 else None
        return EpochResult(theta, loss, distance)

    def scatter(self, theta, moments):
        """Return the scatter of the rows, which have these moments, as far as it is known here."""
        sketch = self.sketch
        if self.gradient is None or sketch is None or sketch.solve is None or not sketch.exact:
            return CrossProducts(moments, None)
        with_intercept = self.rows.scaling.scale[-1] > 0
        if sketch.factor is not None and with_intercept and not self.objective.l2.any():
            return CrossProducts.of_factor(sketch.factor, theta, self.rows.scaling, moments)
        slope = sketch.total @ theta - self.gradient
        hessian = sketch.total - np.diag(self.objective.l2)
        return CrossProducts.of_hessian(hessian, slope, self.rows.scaling, moments)

    def _survey(self, theta, directions):
        """Return loss, gradient and images; where the Hessian is cheap, images come from it."""
        if self.sketch is None or not self.sketch.cheap:
            return gradient_and_hessian_products(self.rows, self.objective, theta, directions)
        self.sketch.fill(self.rows.parts, self.rows.weight, self.objective.l2)
        nothing = np.empty((len(theta), 0))
        loss, gradient, _ = gradient_and_hessian_products(self.rows, self.objective, theta, nothing)
        return loss, gradient, self.sketch.total @ directions

    def _refine(self, theta, loss):
        """Go on to the optimum; return the model, the decrease, and what may be left of it."""
        enough = max(self.tol, LEAST_TOL) ** 2 * loss
        decrease, left = 0.0, np.inf
        if not self.by_sketch:
            theta, decrease, left = self._conjugate(
                theta, enough, least=self.least, patient=self.sketch is None
            )
        if self.sketch is not None and left > enough:
            self.by_sketch = True
            theta, more, left = self._by_sketch(theta, loss - decrease, enough)
            decrease += more
        return theta, decrease, left

    def _by_sketch(self, theta, loss, enough):
        self.sketch.fill(self.rows.parts, self.rows.weight, self.objective.l2)
        if self.sketch.exact:
            return self._newton(theta, loss, enough)
        return self._conjugate(theta, enough, solve=self.sketch.solve)

    def _newton(self, theta, loss, enough):
        """One step with the exact Hessian; where rounding errors matter, look and step again."""
        solve, gradient, new_loss = self.sketch.solve, self.gradient, loss
        if self.sketch.sure:
            step = solve(gradient)
            rest = gradient - self.sketch.total @ step
            mend = solve(rest)
            self.gradient = np.zeros_like(theta)
            return theta - step - mend, gradient @ (step + mend) / 2, rest @ mend / 2
        theta = self.start + self.sketch.project(theta - self.start)
        new_loss, gradient = self._exact_sums(theta)
        step = solve(gradient)
        left = gradient @ step / 2
        for _ in range(NEWTON_STEPS):
            nearer, last = theta - step, left
            loss_there, gradient = self._exact_sums(nearer)
            step_there = solve(gradient)
            left_there = gradient @ step_there / 2
            if left_there < last:  # the loss itself may have too few digits to tell
                theta, new_loss, step, left = nearer, loss_there, step_there, left_there
            rounding = PREDICTION**2 * (self.sketch.size * theta @ theta) / 2
            if left >= GAIN * last and new_loss <= rounding:
                left = 0.0  # residuals are rounding errors of predictions
            if left <= enough or left >= GAIN * last:
                break
        if 0 < left <= enough:
            theta = theta - step
        self.gradient = np.zeros_like(theta)
        return theta, loss - new_loss, left

    def _exact_sums(self, theta):
        """Return the objective and its gradient, from the same rows that have been factorised."""
        sums = self.rows.sum(residual_sums, theta)
        nothing = np.empty((len(theta), 0))
        return normalize_sums(self.rows.weight, self.objective, theta, nothing, *sums)[:2]

    def _conjugate(self, theta, enough, **how):
        times = partial(hessian_times, self.rows, self.objective)
        step, change, direction, image, decreases, left = conjugate_gradient(
            times, self.gradient, enough, before=self.decreases, **how
        )
        self.decreases = self.decreases + decreases
        self.gradient = self.gradient + change
        self.span.add(np.column_stack([step, direction]), np.column_stack([change, image]))
        return theta + step, sum(decreases), left
