"""The search: the best model in the span of stretches of SGD.

Each stretch of a sweep leaves one average, a point near the optimum but for noise. The
objective is minimised exactly over the affine span of these points, so the noise averages
out with optimal weights (sequential subspace optimisation: Narkiss & Zibulevsky, 2005;
nonlinear acceleration of stochastic algorithms: Scieur, Bach & d'Aspremont, 2017).
One pass over X gives the gradient g at the best model, and H d for every new direction d
(H the Hessian of the objective), which is all that a quadratic objective needs.

The same pass sums up H, or where that costs more than a few passes, sketches it by random signed
sums of rows. The Newton step, or conjugate gradients with the sketch as preconditioner, refine the
model, and the decrement tells how far the optimum is.
"""

from functools import partial

import numpy as np
from scipy.linalg import pinvh
from scipy.linalg.lapack import dpotrf, dpotrs  # as cho_factor, but in no time where d is small

SEGMENTS = 16  # averages a sweep leaves, while they can span a good part of the space
SEGMENTS_WIDE = 8  # where they can't
LEAST_TOL = 1e-8  # distance up to which rounding errors let an epoch go on
SKETCH_ROWS = 6  # per coordinate: conjugate gradients then leave about 1/6 of the excess a step
SKETCH_ROWS_LEAST = 1000  # so that the distance to the optimum is known within some 5%
EXACT_ROWS = 40  # per coordinate up to which the rows themselves are taken
EXACT_COORDINATES = 257  # and up to which their products cost less than a sketch and some passes
EXACT_LEFT = 1e-6  # of the distance: what rounding may leave after a step with the exact Hessian
SIGNED_ROWS = 64  # summed up by one matrix of signs
SKETCH_COORDINATES = 1025  # beyond, a matrix of n_coordinates**2 numbers is too large to keep
SKETCH_BUFFER = 256  # rows of the sketch multiplied together
REMEMBERED = 80  # directions: data with fewer columns are solved exactly in a few epochs
REMEMBERED_LEAST = 8  # where columns are so many that
REMEMBERED_NUMBERS = 1 << 23  # more than so many numbers would be kept
CONJUGATE_STEPS = 30  # after a search without a sketch, at most
RECENT = 10  # of these steps, whose decrease tells how much is left
ROUNDING = 1e-8  # length H^(1/2) d, relative to the longest, below which it is rounding error
RANK_TOLERANCE = 1e-12  # relative eigenvalue below which a direction is a combination of others


class CurvatureSketch:
    """An estimate of the Hessian, mean of z z', from few random signed sums of rows.

    With independent random signs the sums r satisfy E[r r'] = sum of z z', whatever the
    order of rows and however rare a column: every row takes part (Pilanci & Wainwright,
    Iterative Hessian Sketch, 2016). Where it costs little, the rows are taken as they are.
    """

    def __init__(self, n_rows, n_coordinates, seed):
        self.n_rows, self.n_coordinates = n_rows, n_coordinates
        self.exact = (
            n_rows <= max(EXACT_ROWS * n_coordinates, SKETCH_ROWS_LEAST)
            or n_coordinates <= EXACT_COORDINATES
        )
        self.rng = None if self.exact else np.random.default_rng(seed)
        n_sums = max(SKETCH_ROWS * n_coordinates, SKETCH_ROWS_LEAST)
        self.fraction = min(n_sums / n_rows, 0.25)
        self.total = np.zeros((n_coordinates, n_coordinates))
        self.solve = None  # once filled: multiplies with about the inverse of the Hessian
        self._buffer = np.empty((SKETCH_BUFFER, n_coordinates))
        self._filled = 0

    def add(self, chunk, weight=None):
        """Take in the rows of a chunk with their weights."""
        for z, part in chunk.parts(weight):
            self._add(z if part is None else z * np.sqrt(part)[:, np.newaxis])

    def _add(self, z):
        if self.exact:
            self.total += z.T @ z
            return
        step = max(SIGNED_ROWS, round(1 / self.fraction))
        for start in range(0, len(z), step):
            part = z[start : start + step]
            n_sums = max(round(self.fraction * len(part)), 1)
            signs = self.rng.integers(0, 2, (n_sums, len(part)), dtype=np.int8) * 2.0 - 1
            self._append((signs @ part) / np.sqrt(n_sums))

    def _append(self, rows):
        while len(rows):
            room = SKETCH_BUFFER - self._filled
            part, rows = rows[:room], rows[room:]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == SKETCH_BUFFER:
                self._multiply()

    def _multiply(self):
        rows = self._buffer[: self._filled]
        self.total += rows.T @ rows
        self._filled = 0

    def finish(self, weight, l2):
        """Take the rows for all: get ready to solve with the Hessian of mean loss and penalty."""
        self._multiply()
        hessian = self.total / weight
        hessian.flat[:: self.n_coordinates + 1] += l2
        rank = self.n_coordinates if l2.any() else min(self.n_rows, self.n_coordinates)
        self.solve = inverse_of(hessian, rank)


def inverse_of(hessian, rank):
    """Return a function that multiplies with the (pseudo-)inverse of a Hessian of some rank."""
    n_coordinates = len(hessian)
    if rank >= n_coordinates:
        diagonal = hessian.diagonal().copy()
        hessian.flat[:: n_coordinates + 1] += RANK_TOLERANCE * diagonal.mean()
        factor, failed = dpotrf(hessian.T, clean=False, overwrite_a=True)
        if not failed:
            return lambda gradient: dpotrs(factor, gradient)[0]
        # It leaves the lower half as it was.
        hessian = np.tril(hessian.T, -1) + np.tril(hessian.T, -1).T + np.diag(diagonal)
    if rank > n_coordinates // 2:
        inverse = pinvh(hessian, rtol=RANK_TOLERANCE)
        return lambda gradient: inverse @ gradient
    # Few rows: all they span shows in the images of as many random vectors.
    vectors = np.random.default_rng(0).standard_normal((n_coordinates, rank))
    basis, _ = np.linalg.qr(hessian @ vectors)
    inverse = pinvh(basis.T @ hessian @ basis, rtol=RANK_TOLERANCE)
    return lambda gradient: basis @ (inverse @ (basis.T @ gradient))


def survey(rows, objective, theta, directions, sketch=None):
    """One pass over the rows: a quadratic objective and its gradient at theta, images H d.

    Parameters
    ----------
    rows : Rows
    objective : Objective
        Squared error, and a penalty without kinks.
    theta : ndarray of shape (n_coordinates,)
    directions : ndarray of shape (n_coordinates, n_directions)
    sketch : CurvatureSketch or None
        Filled on the way.

    Returns
    -------
    loss : float
    gradient : ndarray of shape (n_coordinates,)
    images : ndarray of shape (n_coordinates, n_directions)
    """
    loss, sums = rows.total(survey_sums, theta, directions, sketch)
    return quadratic_model(rows.weight, objective, theta, directions, loss, sums)


def quadratic_model(weight, objective, theta, directions, loss, sums):
    """Return what `survey` returns, from the sums over all rows and their weight."""
    sums = sums / weight
    loss = loss / (2 * weight) + float(objective.penalty(theta))
    gradient = objective.l2 * theta - sums[:, 0]
    return loss, gradient, sums[:, 1:] + objective.l2[:, None] * directions


def survey_sums(rows, theta, directions, sketch=None):
    """Return the sums over rows of squared residuals, and of z times residuals and responses."""
    points = np.column_stack([-theta, directions])
    sums = np.zeros_like(points)
    loss = 0.0
    for z, y, weight in rows.chunks():
        response = z @ points
        response[:, 0] += y
        if weight is None:
            loss += response[:, 0] @ response[:, 0]
        else:
            loss += (weight * response[:, 0]) @ response[:, 0]
            response *= weight[:, None]
        sums += z.transposed_times(response)
        if sketch is not None:
            sketch.add(z, weight)
    return loss, sums


def conjugate_steps(times, gradient, enough, solve=None, most=CONJUGATE_STEPS):
    """Conjugate gradients from a point with this gradient (Hestenes & Stiefel, 1952).

    Parameters
    ----------
    times : callable
        Multiplies with the Hessian.
    gradient : ndarray of shape (n_coordinates,)
    enough : float
        They end where the objective is no more than this above the least: as `solve` tells, or
        else as the latest steps together have lowered it.
    solve : callable or None
        Multiplies with about the inverse of the Hessian.
    most : int
        Steps.

    Returns
    -------
    step, change : ndarray of shape (n_coordinates,)
        All the way, and by how much the gradient changes.
    direction, image : ndarray of shape (n_coordinates,)
        The last direction d, and H d: a search that has it and the gradient goes on as if
        there had been no end.
    decrease, left : float
        How much lower the objective is, and how much lower it may become.
    """
    step, change, direction, image = np.zeros((4, len(gradient)))
    residual, last_square, decreases = -gradient, np.inf, []
    for n_steps in range(most + 1):
        towards = residual if solve is None else solve(residual)
        square = residual @ towards
        left = square / 2
        if solve is None and square > 0:
            left = sum(decreases[-RECENT:]) if n_steps >= RECENT else np.inf
        if left <= enough or n_steps == most:
            break
        direction = towards + (square / last_square) * direction
        image = times(direction)
        length = square / (direction @ image)
        step += length * direction
        change += length * image
        residual -= length * image
        last_square = square
        decreases.append(length * square / 2)
    return step, change, direction, image, sum(decreases), left


def hessian_times(rows, objective, directions):
    """H d, for a direction or each column of several; one pass over the rows."""
    (total,) = rows.total(response_sums, directions)
    return total / rows.weight + (objective.l2 * directions.T).T


def response_sums(rows, directions):
    """Return the sums over rows of z times their responses to directions."""
    total = np.zeros_like(directions)
    for z, _, weight in rows.chunks():
        response = z @ directions
        total += z.transposed_times(response if weight is None else (weight * response.T).T)
    return (total,)


class Span:
    """Directions seen so far with their images, and the best step within their span."""

    def __init__(self, n_coordinates):
        affordable = max(REMEMBERED_NUMBERS // n_coordinates, REMEMBERED_LEAST)
        self.memory = min(REMEMBERED, affordable, n_coordinates)
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
        seen = size > ROUNDING * size.max(initial=0.0)
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
    """Sweep in stretches, then take the best model in the span of their averages.

    The distance is sqrt(g' H^-1 g / mean squared residual): the root mean square of what
    predictions lack, in its units.
    """

    def __init__(self, rows, objective, sketch, tol):
        self.rows, self.objective, self.sketch, self.tol = rows, objective, sketch, tol
        self.span = Span(rows.n_coordinates)
        self.gradient = None
        self.n_segments = SEGMENTS if rows.n_coordinates <= self.span.memory else SEGMENTS_WIDE
        self.n_segments = min(self.n_segments, rows.n_coordinates)
        if self.sketch is not None and self.sketch.exact:  # more would be for nothing
            self.n_segments = 1

    def directions(self, theta, order, step_rule, rows_seen):
        """Return the end of the sweep, the averages of its stretches, and gradient steps."""
        blocks, within = order
        averages, iterate = [], theta
        for stretch in np.array_split(blocks, min(self.n_segments, len(blocks))):
            iterate, average, n_averaged = self.rows.sweep(
                (stretch, within), self.objective, step_rule, rows_seen, iterate
            )
            rows_seen += int(n_averaged)
            averages.append(average - theta)
        directions = [iterate - theta, *averages]
        if self.gradient is not None:
            directions.append(self.gradient)
        return np.column_stack(directions)

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, its loss, that of the last iterate, and the distance."""
        directions = self.directions(theta, order, step_rule, rows_seen)
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(directions, axis=0)
        if not np.isfinite(length).all():
            return theta, np.nan, np.nan, None
        directions /= np.where(length > 0, length, 1.0)
        old_loss, gradient, images = self._survey(theta, directions)
        end_loss = old_loss + length[0] * (
            gradient @ directions[:, 0] + length[0] * (directions[:, 0] @ images[:, 0]) / 2
        )
        self.span.add(directions, images)
        step, change, decrease = self.span.search(gradient)
        self.span.forget()
        theta, self.gradient = theta + step, gradient + change
        loss = old_loss - decrease
        theta, decrease, left = self._refine(theta, loss)
        loss -= decrease
        if loss < 1e-6 * old_loss:  # the difference of two numbers that agree in all digits
            loss = self.objective.value(self.rows, theta)
        distance = float(np.sqrt(max(left, 0) / loss)) if loss > 0 else None
        return theta, loss, end_loss, distance

    def _refine(self, theta, loss):
        """Go on to the optimum; return the model, the decrease, and what may be left of it."""
        if self.sketch is not None and self.sketch.exact:
            step = self.sketch.solve(self.gradient)
            decrease = self.gradient @ step / 2
            self.gradient = np.zeros_like(theta)
            return theta - step, decrease, decrease * EXACT_LEFT**2
        enough = max(self.tol, LEAST_TOL) ** 2 * loss
        step, change, direction, image, decrease, left = conjugate_steps(
            partial(hessian_times, self.rows, self.objective),
            self.gradient,
            enough,
            self.sketch and self.sketch.solve,
        )
        self.gradient = self.gradient + change
        self.span.add(np.column_stack([step, direction]), np.column_stack([change, image]))
        return theta + step, decrease, left

    def _survey(self, theta, directions):
        """Return what `survey` does; fill the sketch if nobody has."""
        unfilled = self.sketch is not None and self.sketch.solve is None
        sketch = self.sketch if unfilled else None
        model = survey(self.rows, self.objective, theta, directions, sketch)
        if unfilled:
            sketch.finish(self.rows.weight, self.objective.l2)
        return model
