"""Scaling: the coordinates that SGD steps are taken in, centred columns of equal scale.

Plain SGD has one step size for all features, so it needs scaled data. Here the data stay
as they are, and the scaling says how long a step is in each direction::

    z = (scale * (x - centre), scale_intercept)       a row in the scaling
    prediction = z . theta                            the same model in other coordinates

with ``scale_j = 1 / sqrt(Q * (variance_j + l2))``, ``scale_intercept = 1 / sqrt(Q)`` and
``Q = 1 + sum(variance_j / (variance_j + l2))``, where l2 is the effective penalty (see
`effective_l2`). So the mean of ``||z||**2`` is 1 on any data, and `learning_rate` has no unit and 1
as its natural value.
"""

from dataclasses import dataclass

import numpy as np

from ..linalg.blocks import divided, with_last

# Ratio of the effective penalties after and before a Newton step. Above it the iteration ends:
# later steps change the penalty by much less, and step lengths need no more digits.
EFFECTIVE_L2_RATIO = 0.9


def effective_l2(variance, l2, n_rows):
    """Return the effective ridge penalty of one of many independent columns.

    It solves ``l2 = effective * (1 - sum(variance / (variance + effective)) / n_rows)``: a column
    can explain only what the other columns leave unexplained, which acts like a larger penalty. The
    diagonal of the inverse of the Hessian is about ``effective / l2 / (variance + effective)``
    (Silverstein, 1995; Bach, High-dimensional analysis of double descent, 2024). With few columns
    it is about l2.

    """
    if l2 == 0:
        return l2
    # Newton's method converges from above, monotonically.
    effective, last = l2 + variance.sum() / n_rows, np.inf
    while effective < EFFECTIVE_L2_RATIO * last:
        complement = effective / (variance + effective)
        shrinkage = variance / (variance + effective)
        last, effective = effective, l2 + effective * (shrinkage @ complement) / n_rows
        # The squares of shrinkages near 1 are subtracted as 1 less what their complements leave,
        # which keeps its digits: with as many columns as rows hardly anything may be left.
        near_one = shrinkage > 0.5
        left = np.where(near_one, complement * (1 + shrinkage), -(shrinkage**2)).sum()
        effective /= (n_rows - np.count_nonzero(near_one) + left) / n_rows
    return effective


@dataclass(frozen=True)
class Scaling:
    """Centre and scale of the coordinates, and the conversion of models to and from them."""

    centre: np.ndarray  # of shape (n_features,)
    # Of shape (n_features + 1,), that of the intercept last; 0 for what is not learned, which is a
    # constant column or an intercept that is not fitted.
    scale: np.ndarray

    @classmethod
    def from_moments(cls, moments, fit_intercept, l2=0.0):
        """Return the scaling of the formula above for the moments of the columns of X."""
        variance = with_last(moments.variance(fit_intercept), fit_intercept)
        varies = variance > 0
        l2 = effective_l2(variance[:-1], l2, moments.rows)
        curvature = variance + with_last(l2, 0.0, len(variance))
        scale = np.zeros(len(variance))
        n_effective = np.divide(variance, curvature, out=scale, where=varies).sum() or 1.0
        np.divide(1.0, np.sqrt(n_effective * curvature), out=scale, where=varies)
        centre = moments.mean if fit_intercept else np.zeros(len(moments.mean))
        return cls(centre, scale)

    @classmethod
    def identity(cls, n_features, fit_intercept):
        """Return the scaling of textbook SGD, which takes steps in the units of the data."""
        return cls(np.zeros(n_features), np.append(np.ones(n_features), float(fit_intercept)))

    def mean_square(self, moments):
        """Return the mean of ||z||**2, without the intercept, of rows with these moments."""
        # Squares in the units of the data may overflow to infinity.
        with np.errstate(over="ignore"):
            mean = self.scale[:-1] * (moments.mean - self.centre)
            deviation = self.scale[:-1] * np.sqrt(moments.variance(True))
            return float(mean @ mean + deviation @ deviation)

    def to_scaled(self, coef, intercept):
        """Return theta, of shape (n_coordinates,), of a model in the units of the data."""
        return divided(with_last(coef, intercept + self.centre @ coef), self.scale)

    def to_original(self, theta):
        """Return coefficients and intercept, in the units of the data, of a model theta."""
        model = self.scale * theta
        return model[:-1], float(model[-1] - self.centre @ model[:-1])
