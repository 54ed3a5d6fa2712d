"""Interior-point method for objectives with kinks: bounded multipliers, absolute values, bounds.

Newton steps on the KKT conditions, with the complementarity held at a common value that falls to
zero, reach the optimum in some five to thirty steps on any data, and the multipliers prove how near
it is (Mehrotra, 1992; for quantiles Portnoy & Koenker, 1997). The Hessian of a step is factorised,
or where it is too large to keep, its products with vectors are enough (Kim, Koh, Lustig, Boyd &
Gorinevsky, 2007).
"""

from math import sqrt

import numpy as np

from ..model.cross_products import CrossProducts
from .base import EpochResult, Solver
from .newton_system import RoundingError
from .predictor_corrector import PrimalDualIterate

# Steps of an epoch, at most. With a bounded loss each takes three passes over the rows, so an epoch
# ends after few, and the stop rule decides. A quadratic loss needs no pass over the rows where its
# Hessian is kept, and two passes for each product where it is not.
INTERIOR_STEPS = 5
QUADRATIC_STEPS = 50
PRODUCT_STEPS = 12

# Tolerance to which a quadratic loss is solved, relative to that asked for. Its steps are cheap,
# and coefficients that are exactly zero are seen only near the optimum.
QUADRATIC_TOL = 0.01

# Epochs after which conjugate gradients count as not leading to the optimum, so that a Hessian may
# take more multiplications than before.
PRODUCT_EPOCHS = 3

# Rounding error of a sum over rows, relative to it.
SUM_ROUNDING = 1e-13

# Duality gap, relative to the objective, that counts as none where steps end in rounding errors.
GAP_ROUNDING = 1e-12


def hessian_work(rows):
    """Return the multiplications that the sums of a Hessian and its factor take."""
    return rows.n_coordinates**2 * (rows.n_rows + rows.n_coordinates / 3)


class InteriorPoint(Solver):
    """The solver "interior-point": steps from where one sweep of SGD has arrived.

    A sweep is a better start than any constant; later epochs only go on, and take none.
    """

    def __init__(self, rows, objective, tol, tuning):
        self.rows, self.objective, self.tol, self.tuning = rows, objective, tol, tuning
        self.few_columns = rows.n_coordinates - 1 <= tuning.max_hessian_features
        self.iterate, self.value, self.n_epochs = None, None, 0
        self.lower_bound, self.at_rounding, self.size = -np.inf, False, None

    def run(self, theta, sweep):
        """Return the best model known after some steps, its objective, and the distance."""
        # 1. Begin with the best model of the first sweep, where that may be a start.
        if self.value is None:
            points = [theta]
            if sweep is not None and (self.few_columns or not self.objective.l1.any()):
                ends, averages = sweep(theta)
                points += [self.rows.mean_of(ends), averages.mean(axis=1)]
            theta, self.value = self._best(points)
        value = self.value
        if value == 0:
            return EpochResult(theta, value, 0.0)
        # 2. Step towards the optimum.
        with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
            if self.iterate is None:
                self._begin(theta, self._hessian_is_affordable())
            elif not self.iterate.matrix and self._hessian_is_worth_more():
                self._begin(theta, True)  # products alone were not enough
            margin, size = self._take_steps()
        self.size = size if size is None else min(size, self.value)
        self.n_epochs += 1
        # 3. Keep the best: with exact zeros, or as it was, where no difference can be seen.
        margin = min(margin, self.step_tol**2 * value / 2)
        margin = max(margin, SUM_ROUNDING / 64 * value, 0.0)
        theta, self.value = self._best([theta, *self.iterate.candidates()], margin)
        distance = None if size is None else self._distance(self.value, min(size, self.value))
        return EpochResult(theta, self.value, distance)

    def cross_products(self, theta, moments):
        """Return the cross products of the rows; see `Solver`."""
        smooth = None if self.iterate is None else self.iterate.smooth_rows
        if smooth is None or not smooth.matrix:
            return CrossProducts(moments, None)
        slope = smooth.slope + smooth.hessian @ smooth.origin
        return CrossProducts.from_hessian(smooth.hessian, slope, self.rows.scaling, moments)

    def _begin(self, theta, matrix):
        """Begin at a model, with multipliers and slacks that suit it."""
        self.iterate = PrimalDualIterate(self.rows, self.objective, theta, matrix)
        self.step_tol, self.max_steps = self.tol, INTERIOR_STEPS
        if self.iterate.smooth_rows is not None:
            self.step_tol *= QUADRATIC_TOL
            self.max_steps = QUADRATIC_STEPS if matrix else PRODUCT_STEPS

    def _hessian_is_affordable(self):
        """Whether to sum up the Hessian, or only its diagonal and its products with vectors."""
        affordable = self.tuning.interior_products_per_entry * self.rows.n_entries
        affordable = max(affordable, self.tuning.min_interior_products)
        return self.few_columns and hessian_work(self.rows) <= affordable

    def _hessian_is_worth_more(self):
        """Whether to sum up the Hessian where its products have not led to the optimum."""
        affordable = hessian_work(self.rows) <= self.tuning.max_interior_products
        return self.few_columns and affordable and self.n_epochs >= PRODUCT_EPOCHS

    def _take_steps(self):
        """Step until the model is near enough, or nothing but rounding errors are left.

        Returns
        -------
        margin : float
            How much higher another model may be that is as good as can be known.
        size : float or None
            Of the objective, which the distance is relative to; None where numbers are beyond all
            bounds.
        """
        iterate, margin, size = self.iterate, 0.0, None
        iterate.refresh()
        try:
            for steps_left in reversed(range(self.max_steps + 1)):
                value, gap = iterate.evaluate()
                bound = value - gap - SUM_ROUNDING * (value / 64 + gap)
                self.lower_bound = max(self.lower_bound, bound)
                size = iterate.typical_value
                enough = self.step_tol**2 * size / 2  # the other half is for exact zeros
                margin = max(min(gap, enough), 0.0)
                if steps_left == 0 or gap <= enough:
                    break
                iterate.step()
        except RoundingError:
            self.at_rounding = True
            size = None if size is None else value
        return margin, size

    def _distance(self, value, size):
        """Return the distance to the optimum; 0 where it is nothing but rounding errors."""
        if self.lower_bound > value * (1 + GAP_ROUNDING):
            self.lower_bound = -np.inf  # a contradiction: such numbers prove nothing
        gap = max(value - self.lower_bound, 0.0)
        if self.at_rounding and gap <= GAP_ROUNDING * value:
            return 0.0
        return sqrt(gap / size) if size > 0 else np.inf

    def _best(self, points, margin=0.0):
        """Return the last of the points that is the best but for a margin, and its objective."""
        points, values = self._feasible_values(points)
        best = int(np.flatnonzero(values <= values.min() + margin)[-1])
        return points[:, best], float(values[best])
