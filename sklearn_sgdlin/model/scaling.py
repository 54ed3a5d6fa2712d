"""The coordinates the steps are taken in: centred columns of equal scale.

Plain SGD has one step size for all features, so it needs scaled data. Here the data stay
as they are, and the scaling says how long a step is in each direction::

    z = (scale * (x - centre), scale_intercept)       a row in the scaling
    prediction = z . theta                             the same model, other coordinates

with ``scale_j = 1 / sqrt(Q * (variance_j + l2))``, ``scale_intercept = 1 / sqrt(Q)`` and
``Q = 1 + sum(variance_j / (variance_j + l2))``, l2 the curvature of a penalty as one of so many
columns feels it, so that the mean of ``||z||**2`` is 1 on any data. Hence `learning_rate` has no
unit, and 1 is its natural scale.
"""

from dataclasses import dataclass

import numpy as np

from ..linalg.blocks import with_last

NEAR = 0.9  # of the last step: near enough for a scale


def effective_l2(variance, l2, n_rows):
    """The penalty that one of many independent columns feels beside the others.

    It solves ``l2 = effective * (1 - sum(variance / (variance + effective)) / n_rows)``: what the
    others explain is not left for a column to explain. The diagonal of the inverse of the Hessian
    is about ``effective / l2 / (variance + effective)`` (Silverstein, 1995; Bach, High-dimensional
    analysis of double descent, 2024). Few columns feel l2 itself.
    """
    if l2 == 0:
        return l2
    effective, last = l2 + variance.sum() / n_rows, np.inf  # from above Newton steps only fall
    while effective < NEAR * last:
        share = variance / (variance + effective)
        square = share @ share / n_rows
        last, effective = effective, l2 + effective * (share.sum() / n_rows - square)
        effective /= 1 - square
    return effective


@dataclass(frozen=True)
class Scaling:
    """Centre and scale of the coordinates, and the way there and back.

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features + 1,)
        Last the scale of the intercept; 0 for what is not learned.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def from_moments(cls, moments, fit_intercept, l2=0.0):
        """The scaling of the module's formula; a constant column has scale 0."""
        spread = with_last(moments.variance(fit_intercept), fit_intercept)
        varies = spread > 0
        l2 = effective_l2(spread[:-1], l2, moments.rows)
        curvature = spread + with_last(l2, 0.0, len(spread))
        scale = np.zeros(len(spread))
        n_effective = np.divide(spread, curvature, out=scale, where=varies).sum() or 1.0
        np.divide(1.0, np.sqrt(n_effective * curvature), out=scale, where=varies)
        centre = moments.mean if fit_intercept else np.zeros(len(moments.mean))
        return cls(centre, scale)

    @classmethod
    def identity(cls, n_features, fit_intercept):
        """Steps in the units of the data, as in a textbook."""
        return cls(np.zeros(n_features), np.append(np.ones(n_features), float(fit_intercept)))

    def mean_square(self, moments):
        """Mean of ||z||**2, without the intercept, of rows with these moments."""
        with np.errstate(over="ignore"):  # in the units of the data
            distance = self.scale[:-1] * (moments.mean - self.centre)
            deviation = self.scale[:-1] * np.sqrt(moments.variance(True))
            return float(distance @ distance + deviation @ deviation)

    def to_scaled(self, coef, intercept):
        """Coordinates of a model."""
        model = with_last(coef, intercept + self.centre @ coef)
        return np.divide(model, self.scale, out=np.zeros(len(model)), where=self.scale > 0)

    def to_original(self, theta):
        """Coefficients and intercept, in the units of the data."""
        model = self.scale * theta
        return model[:-1], float(model[-1] - self.centre @ model[:-1])
