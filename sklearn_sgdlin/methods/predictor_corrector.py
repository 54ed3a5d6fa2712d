"""A primal-dual iterate of the interior-point method, and Mehrotra's predictor-corrector step."""

from functools import partial
from math import sqrt
from operator import add

import numpy as np

from ..data.sums import add_up
from .duality_gap import DualityGap, absolute_residual_sum, typical_objective, with_bounded_l1
from .kkt import RowKKT
from .multipliers import FRACTION_TO_BOUNDARY, MultiplierBounds
from .newton_system import (
    NewtonSystem,
    RoundingError,
    factorize_damped,
    require_finite,
    solve_by_products,
)
from .penalty_kkt import PenaltyKKT
from .smooth_rows import SmoothRows

# Complementarity at the start, relative to the product of a typical residual and its multiplier.
# Much less begins too near the bounds, much more takes further steps.
START_COMPLEMENTARITY = 0.1

# Power of the share of complementarity that an affine step leaves: what the corrector aims at
# (Mehrotra's heuristic, there with 3).
CENTRING_POWER = 2

# Complementarity relative to the first, and decrement of a Newton step relative to the objective,
# below which there is nothing but rounding errors.
COMPLEMENTARITY_ROUNDING = 1e-15

# Slope of a coordinate without a penalty that may be left over, relative to the largest: what a
# factorised Hessian leaves, and conjugate gradients.
DUAL_RESIDUAL = 1e-8
INNER_DUAL_RESIDUAL = 1e-4

# Coordinate, relative to the largest one, up to which it is a rounding error.
COORDINATE_ROUNDING = 16 * np.finfo(np.float64).eps


class PrimalDualIterate:
    """A model with the multipliers and slacks of rows and penalty, inside all bounds.

    `theta` of shape (n_coordinates,): the first model.
    `matrix`: whether to sum up the Hessian and factorise it, or to use its products with vectors.
    `penalty`: kinks instead of those of the objective, which then must have none: rows like all
    others.

    Attributes
    ----------
    typical_value : float
        The objective of the last evaluation without what gross outliers add.
    zero_at_optimum : ndarray of shape (n_coordinates,), bool
        Coordinates whose l1 is above any slope of a model as good as the first.
    system : NewtonSystem
    affine_step : ndarray of shape (n_coordinates,)
    """

    def __init__(self, rows, objective, theta, matrix=True, penalty=None):
        l1 = objective.l1
        if l1.any():
            objective = with_bounded_l1(rows, objective, theta)
        self.zero_at_optimum = l1 > objective.l1
        self.rows, self.objective, self.theta, self.matrix = rows, objective, theta, matrix
        self.penalty, self.penalty_is_rows = penalty, penalty is not None
        if penalty is None and not objective.smooth:
            self.penalty = PenaltyKKT(objective)
        loss = objective.loss
        bounded = np.isfinite(loss.bound) or loss.dead_zone > 0
        self.smooth_rows = None if bounded else SmoothRows(rows, loss, matrix)
        row_kkt = RowKKT(rows, MultiplierBounds.from_loss(loss), matrix) if bounded else None
        self.data = row_kkt or self.smooth_rows
        self.conditions = [side for side in (row_kkt, self.penalty) if side is not None]
        self.first_complementarity = self.evaluated = None
        self._initialize()

    def _initialize(self):
        """Place multipliers and slacks as the size of a typical residual asks for."""
        rows, objective, loss = self.rows, self.objective, self.objective.loss
        residual = rows.sum(absolute_residual_sum, self.theta) / (rows.weight * rows.share)
        if residual == 0:  # then all of the objective is penalty
            value = objective.penalty(self.theta)
            residual = sqrt(2 * value) if loss.compliance > 0 else value / loss.bound
        multiplier = loss.bound
        if loss.compliance > 0:
            multiplier = min(multiplier, residual / loss.compliance)
        for side in self.conditions:
            side.initialize(self.theta, START_COMPLEMENTARITY * residual * multiplier, multiplier)
        if self.smooth_rows is not None:
            self.smooth_rows.expand(self.theta)
        dual_residual = DUAL_RESIDUAL if self.matrix else INNER_DUAL_RESIDUAL
        max_dual_residual = dual_residual * multiplier / sqrt(len(self.theta))
        self.certificate = DualityGap(objective, residual, max_dual_residual)

    def refresh(self):
        """Make the quadratic form of smooth rows exact where the model is now."""
        if self.smooth_rows is not None and self.smooth_rows.origin is not self.theta:
            self.smooth_rows.expand(self.theta)

    def evaluate(self):
        """Return the objective, and an upper bound of what it is above the least.

        The Newton system and its affine step are kept for `step`. A model that has been evaluated
        is not evaluated again where its rows are in the Newton system one by one.
        """
        theta, l2 = self.theta, self.objective.l2
        if self.evaluated is theta and self.smooth_rows is None:
            return self.value, self.gap
        data = system = self.data.newton_system(theta)
        hessian, diagonal = data.hessian, l2
        if self.penalty is not None:
            kinks = self.penalty.newton_system(theta)
            system = NewtonSystem(*map(add, data[:-1], kinks[:-1]), None)
            if self.penalty.matrix:
                hessian = hessian + kinks.hessian
            else:
                diagonal = kinks.hessian + l2
        if self.penalty_is_rows:
            data = system._replace(residual_histogram=data.residual_histogram)
        if self.first_complementarity is None:
            self.first_complementarity = system.complementarity
        self.system = system = system._replace(slope=system.slope - l2 * theta)
        hessian, diagonal = require_finite(hessian), require_finite(diagonal)
        if self.matrix:
            self.solve = factorize_damped(hessian, diagonal)
        else:
            self.solve = partial(solve_by_products, self._hessian_product, hessian + diagonal)
        self.affine_step = self.solve(require_finite(system.multiplier_residual + system.slope))
        penalty = self.objective.penalty(np.maximum(theta, self.objective.floor))
        data = data._replace(value=max(data.value, 0.0))  # in spite of rounding errors
        value = self.value = data.value + penalty
        met = min(len(theta) / self.rows.n_rows, 1.0)
        self.typical_value = typical_objective(self.objective.loss, met, data, penalty)
        self.gap = self.certificate.bound(theta, self.affine_step, data, value)
        self.evaluated = theta
        return value, self.gap

    def _hessian_product(self, direction):
        product = self.data.hessian_product(direction) + self.objective.l2 * direction
        if self.penalty is not None:
            product += self.penalty.hessian_product(direction)
        return product

    def step(self):
        """Take one step of Mehrotra's predictor-corrector method from the last evaluation."""
        system, theta, affine = self.system, self.theta, self.affine_step
        # 1. Without any bounds the affine step is a Newton step, which leads to the optimum.
        if not self.conditions:
            if abs(system.slope @ affine) <= COMPLEMENTARITY_ROUNDING * self.value:
                raise RoundingError
            self.theta = theta + affine
            return
        before = system.complementarity
        if not before > COMPLEMENTARITY_ROUNDING * self.first_complementarity:
            raise RoundingError
        # 2. Predictor: the complementarity that the affine step would leave at the boundary.
        predictor = add_up(side.predictor(affine) for side in self.conditions)
        p, d = np.minimum(self._lengths(predictor.max_lengths), 1.0)
        left = float(predictor.complementarity @ [1, p, d, p * d])
        # 3. Centring: the less it leaves, the less the corrector aims at, in every pair the same.
        n_pairs = sum(side.n_pairs for side in self.conditions)
        target = (left / before) ** CENTRING_POWER * before / n_pairs
        # 4. Corrector: the same system, with the second-order terms of the affine step.
        rhs = system.multiplier_residual + system.slope
        rhs = rhs + predictor.second_order + target * predictor.centring
        corrector = require_finite(self.solve(require_finite(rhs), affine))
        # 5. Step lengths: a fraction of the way to the boundary.
        longest = add_up(side.max_step_lengths(corrector, target) for side in self.conditions)
        lengths = np.minimum(FRACTION_TO_BOUNDARY * self._lengths(longest), 1.0)
        # 6. Move multipliers, slacks, and the model.
        for side in self.conditions:
            side.apply_step(lengths)
        self.theta = theta + lengths[0] * corrector

    def _lengths(self, smallest):
        """Return lengths of slacks and multipliers: apart, unless the loss is curved."""
        lengths = smallest.value
        return np.full(2, lengths.min()) if self.objective.loss.compliance > 0 else lengths

    def candidates(self):
        """Yield the model as it is, with exact zeros that are clear, and with all that may be.

        A coordinate whose l1 is above any slope is zero at the optimum; what steps leave of it may
        cost more than all the rest, so it is zero in each. So is a coordinate with a kink at zero
        that is a rounding error beside the largest one.
        """
        guesses = [] if self.penalty is None else self.penalty.zeros
        size = np.abs(self.theta)
        tiny = self.objective.kinked & (size <= COORDINATE_ROUNDING * size.max())
        for guess in [np.array([], dtype=int), *guesses]:
            theta = np.where(self.zero_at_optimum | tiny, 0.0, self.theta)
            theta[guess] = 0.0
            yield theta
