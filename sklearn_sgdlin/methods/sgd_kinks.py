"""SGD for objectives with kinks: sweeps, averages, and the minimum over their span.

The minimum over the span of a few directions is a problem with few unknowns: rows seen through the
directions, and penalised coordinates as linear functions of the unknowns. Interior-point steps
solve it (see `PrimalDualIterate`). Besides the points of the sweep, the directions are a
subgradient of the objective, a proximal gradient step where the penalty has kinks, and the latest
steps.
"""

import numpy as np

from ..data.dense import Rows
from ..model.objective import Objective
from ..model.scaling import Scaling
from .base import EpochResult, Solver
from .newton_system import RoundingError
from .penalty_kkt import PenaltyKKT
from .predictor_corrector import PrimalDualIterate
from .sgd import at_most

PROJECTION = "projection"  # the key of projected rows in the memory of a partition

# Interior-point steps of a search, at most.
SEARCH_STEPS = 15

# Duality gap that ends a search, relative to the objective: this part of ``tol**2``, but no less
# than the second number. A more exact minimum in the span brings the optimum hardly nearer.
SEARCH_TOL = 0.1
MIN_SEARCH_TOL = 1e-7

# Lengths of proximal gradient steps that are tried. In scaled coordinates the curvature of the loss
# is at most 1, so 1 is the longest step that never overshoots; most directions are less curved.
PROXIMAL_LENGTHS = 4.0 ** np.arange(-2, 5)

# Steps of earlier epochs that are searched as well. Each costs a number for every row.
EARLIER_STEPS = 6

# Singular value of the directions at unit length, relative to the largest, below which a
# combination of them is a rounding error: there they depend on each other.
DEPENDENT = 1e-8


class ProjectedRows:
    """Rows seen through some directions: the unknowns are the lengths along these.

    Row z of target y is ``z @ directions`` with the target ``y - z @ theta``. A last coordinate of
    scale 0 stands where rows have their intercept.
    """

    share, linear = 1.0, None  # all of the rows

    def __init__(self, rows, theta, directions):
        n_directions = directions.shape[1]
        self.rows, self.n_rows, self.weight = rows, rows.n_rows, rows.weight
        self.n_coordinates, self.n_entries = n_directions + 1, rows.n_rows * n_directions
        self.scaling = Scaling(np.zeros(n_directions), np.append(np.ones(n_directions), 0.0))
        rows.sum(project, theta, directions, self.scaling)

    def sum(self, task, *args):
        """Return the sum of a task over the projected rows of all partitions."""
        return self.rows.sum(on_projection, task, *args)


def project(partition, theta, directions, scaling):
    """Keep the projected rows in the memory of their partition; a task."""
    points = np.column_stack([theta, directions])
    images = np.concatenate([z @ points for z, _, _ in partition.chunks()])
    X = np.ascontiguousarray(images[:, 1:])
    target = partition.y - images[:, 0]
    partition.memory[PROJECTION] = Rows(X, target, partition.sample_weight, scaling)


def on_projection(partition, task, *args):
    """Return what a task returns for the projected rows of a partition; a task."""
    return task(partition.memory[PROJECTION], *args)


class KinkedSGD(Solver):
    """A sweep an epoch, then the minimum over the span of its end, its average and earlier steps.

    The search yields no bound of the distance from the optimum, so that is None.
    """

    def __init__(self, rows, objective, tol):
        super().__init__(rows, objective)
        self.search_tol = max(SEARCH_TOL * tol**2, MIN_SEARCH_TOL)
        self.earlier_steps = []

    def run(self, theta, sweep):
        """Return the best model in the span after one more sweep."""
        points = [at_most(points - theta[:, np.newaxis]) for points in sweep(theta)]
        descent = self._descent(theta)
        # The average of iterates that are mostly zero is not exactly zero. Where the gradient keeps
        # a coordinate at its kink, no direction of the sweep moves it: none could be followed.
        held = (theta == 0) & (descent[0] == 0)
        points = [np.where(held[:, np.newaxis], 0.0, steps) for steps in points]
        columns = [*points, *descent, *self.earlier_steps]
        directions = _orthonormal(np.column_stack(columns))
        candidates = [theta]
        if directions.shape[1]:
            with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
                candidates += self._search(theta, directions)
        candidates += [theta + step for step in np.column_stack(points).T]
        best, loss = self._best(candidates)
        self.earlier_steps = [best - theta, *self.earlier_steps][:EARLIER_STEPS]
        return EpochResult(best, loss, None)

    def _descent(self, theta):
        """Return directions of descent: minus the gradient, and a proximal gradient step.

        Where the penalty has kinks, the gradient soon meets one in some coordinate. A proximal
        step lets each coordinate go to its own kink; of some lengths the best is taken.
        """
        objective = self.objective
        slope = self.rows.sum(slope_sums, theta, objective.loss) / self.rows.weight
        slope -= objective.l2 * theta
        if objective.smooth:
            return [slope]
        unit = np.sqrt(2 * objective.value(self.rows, theta)) or 1.0
        lengths = PROXIMAL_LENGTHS * (objective.loss.compliance or unit / objective.loss.bound)
        points = [objective.proximal(theta + length * slope, length) for length in lengths]
        best, _ = self._best([theta, *points])
        return [_feasible_slope(objective, theta, slope), best - theta]

    def _search(self, theta, directions):
        """Return models at the minimum over the span, the last with exact zeros."""
        objective = self.objective
        directions, l2, shift = _with_diagonal_l2(objective.l2, theta, directions)
        origin = theta - directions @ shift
        projected = ProjectedRows(self.rows, origin, directions)
        none = np.zeros(projected.n_coordinates)
        reduced = Objective(objective.loss, none, np.append(l2, 0.0), none - np.inf)
        penalty = None
        if not objective.smooth:
            operator = np.column_stack([directions, np.zeros(len(theta))])
            penalty = PenaltyKKT(objective, operator, -origin)
        start = np.append(shift, 0.0)
        iterate = PrimalDualIterate(projected, reduced, start, True, penalty)
        try:
            for _ in range(SEARCH_STEPS):
                value, gap = iterate.evaluate()
                if gap <= self.search_tol * value:
                    break
                iterate.step()
        except RoundingError:
            pass
        found = [origin + directions @ iterate.theta[:-1]]
        for zeros in () if penalty is None else penalty.zeros:
            found.append(found[0].copy())
            found[-1][zeros] = 0.0
        return found

    def _best(self, points):
        """Return the best of the points that are finite, and its objective.

        Of several that are equal to rounding it is the one with most zeros.
        """
        points, values = self._feasible_values(points)
        equal = np.flatnonzero(values == values.min())
        best = equal[np.count_nonzero(points[:, equal], axis=0).argmin()]
        return points[:, best], float(values[best])


def _feasible_slope(objective, theta, slope):
    """Return minus the gradient with the penalty, 0 where a coordinate stays at its kink.

    There the slope of the loss has to exceed the weight of the absolute value, or point away from
    the lower bound.
    """
    l1 = objective.l1
    at_kink = np.sign(slope) * np.maximum(np.abs(slope) - l1, 0.0)
    slope = np.where(theta == 0, at_kink, slope - l1 * np.sign(theta))
    return np.where(theta <= objective.floor, np.maximum(slope, 0.0), slope)


def slope_sums(rows, theta, loss):
    """Return the sum over rows of z times the multiplier of the residual; a task."""
    total = 0.0
    for z, y, weight in rows.chunks():
        multiplier = loss.multiplier(y - z @ theta)
        total += z.rmatvec(multiplier if weight is None else weight * multiplier)
    return total


def _orthonormal(directions):
    """Return an orthonormal basis of the span of the directions that are finite, as columns."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(directions, axis=0)
    kept = np.isfinite(length) & (length > 0)
    basis, size, _ = np.linalg.svd(directions[:, kept] / length[kept], full_matrices=False)
    return basis[:, size > DEPENDENT * size.max(initial=0.0)]


def _with_diagonal_l2(l2, theta, directions):
    """Return an orthonormal basis of the same span in which the l2 penalty is a diagonal form.

    Returns
    -------
    directions : ndarray of shape (n_coordinates, n_directions)
    curvature : ndarray of shape (n_directions,)
    shift : ndarray of shape (n_directions,)
        The penalty of ``theta + directions @ step`` is, but for a constant, half the curvature
        times ``(step + shift)**2``.
    """
    if not l2.any():
        return directions, np.zeros(directions.shape[1]), np.zeros(directions.shape[1])
    curvature, rotation = np.linalg.eigh(directions.T @ (l2[:, np.newaxis] * directions))
    directions, curvature = directions @ rotation, np.maximum(curvature, 0.0)
    slope = directions.T @ (l2 * theta)
    seen = curvature > np.finfo(float).eps * curvature.max()
    curvature[~seen] = 0.0
    shift = np.divide(slope, curvature, out=np.zeros(len(slope)), where=seen)
    return directions, curvature, shift
