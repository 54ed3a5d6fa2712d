"""Derivatives of the loss of each row, of which the covariance of an M-estimator is made."""

from math import exp, pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from ..model.loss import Loss

# Level of the confidence interval for which the bandwidth of Hall and Sheather is best.
BANDWIDTH_LEVEL = 0.95

# Residual, relative to the bandwidth, up to which a row lies on the model but for rounding errors.
ROUNDING = 1e-8


class Score(NamedTuple):
    """Derivatives of a loss by the prediction, of each residual."""

    loss: Loss
    # Of the kernel that stands for the second derivative of a loss without curvature.
    bandwidth: float | None = None

    def of(self, residual):
        """Return minus the first derivative, its expected square, and the second derivative.

        For quantiles the square is the same for all rows, a kernel stands for the second
        derivative, and the first is 0 where the sign of a residual is but a rounding error.
        """
        psi = self.loss.multiplier(residual)
        if self.bandwidth is None:
            return psi, psi**2, self.loss.curvature(residual)
        psi[np.abs(residual) <= ROUNDING * self.bandwidth] = 0.0
        variance = self.loss.level * (1 - self.loss.level)
        kernel = 0.75 * np.maximum(1.0 - (residual / self.bandwidth) ** 2, 0.0)  # Epanechnikov's
        return psi, np.full(len(psi), variance), kernel / self.bandwidth


def quantile_bandwidth(residual, sample_weight, deviation, level):
    """Return the bandwidth of Hall and Sheather at the level of a quantile, in units of y.

    `sample_weight` are frequencies, and `deviation` is the standard deviation of y.
    """
    n_rows = sample_weight.sum()
    normal = ndtri(level)
    density = exp(-(normal**2) / 2) / sqrt(2 * pi)
    width = ndtri((1 + BANDWIDTH_LEVEL) / 2) ** (2 / 3)
    width *= (1.5 * density**2 / (2 * normal**2 + 1) / n_rows) ** (1 / 3)
    lower, upper = quantiles(residual, sample_weight, [0.25, 0.75])
    spread = min(deviation, (upper - lower) / 1.34)
    if spread == 0 or not width < min(level, 1 - level):
        raise ValueError(
            f"The density of the residuals at the quantile {level} cannot be estimated: "
            f"{n_rows:g} rows are too few, or half of them lie on the model. Take more rows, or a "
            "bootstrap."
        )
    return float(spread * (ndtri(level + width) - ndtri(level - width)))


def quantiles(values, sample_weight, levels):
    """Return quantiles by linear interpolation, where a value of weight k counts as k values."""
    order = np.argsort(values)
    last = np.cumsum(sample_weight[order])
    place = np.asarray(levels) * (last[-1] - 1)
    at = values[order][np.searchsorted(last, [np.floor(place), np.ceil(place)], side="right")]
    return at[0] + (place - np.floor(place)) * (at[1] - at[0])
