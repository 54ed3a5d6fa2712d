"""Rows whose loss is quadratic everywhere, in an interior-point step: a quadratic form of theta."""

import numpy as np

from .duality_gap import square_sums
from .hessian import gram
from .multipliers import N_EXPONENTS
from .newton_cholesky import quadratic_slope
from .newton_system import NewtonSystem
from .subspace import hessian_sums


class SmoothRows:
    """The part of rows without bounded multipliers in the Newton system.

    Multipliers follow theta, so there is nothing to keep beside the rows, and no step of their own.

    `loss`: with a compliance, and without a dead zone or bounds.
    `matrix`: whether to sum up the Hessian, or only its diagonal.

    Attributes
    ----------
    origin : ndarray of shape (n_coordinates,)
        Where the loss and its slope are exact.
    slope : ndarray of shape (n_coordinates,)
        Minus the gradient there.
    hessian : ndarray of shape (n_coordinates, n_coordinates), or its diagonal
    """

    def __init__(self, rows, loss, matrix):
        self.rows, self.matrix = rows, matrix
        self.scale = 1 / (rows.weight * loss.compliance)
        self.hessian = rows.sum(gram if matrix else square_sums) * self.scale

    def expand(self, theta):
        """Expand the loss about theta in one pass: its value and slope are exact there."""
        square, slope = self.rows.sum(quadratic_slope, theta)
        self.origin, self.value, self.slope = theta, square / 2 * self.scale, slope * self.scale

    def newton_system(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        step = theta - self.origin
        change = self.hessian_product(step)
        value = self.value - self.slope @ step + change @ step / 2
        none, histogram = np.zeros_like(theta), np.zeros(N_EXPONENTS)
        return NewtonSystem(value, 0.0, histogram, 0.0, self.slope - change, none, self.hessian)

    def hessian_product(self, direction):
        """Return the product of the Hessian with a direction."""
        if self.matrix:
            return self.hessian @ direction
        return self.rows.sum(hessian_sums, direction) * self.scale
