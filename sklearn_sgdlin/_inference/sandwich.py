"""Covariance of an M-estimator from passes over the rows.

With residuals e, minus the derivative psi of the loss, its second derivative psi' and rows z of the
design, the covariance is inv(A) B inv(A), where A is the sum of psi' z z', the bread, and B that of
psi**2 z z', the meat (Huber, 1967; White, 1980).
"""

from dataclasses import dataclass
from math import exp, pi, sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

from ..data.sums import add_up
from ..linalg.blas import weighted_products
from ..model.loss import SQUARED_ERROR, Loss
from ..model.moments import Moments
from .design import Design, factor_of_blocks, factor_of_gram

# Leverage of a row from which its residual is known to be 0 but for rounding errors.
FULL_LEVERAGE = 1 - 1e-10

# Level of the confidence interval for which the bandwidth of Hall and Sheather is best.
BANDWIDTH_LEVEL = 0.95

# Residual, relative to the bandwidth, up to which a row lies on the model but for rounding errors.
ON_MODEL = 1e-8


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
        psi[np.abs(residual) <= ON_MODEL * self.bandwidth] = 0.0
        variance = self.loss.level * (1 - self.loss.level)
        kernel = 0.75 * np.maximum(1.0 - (residual / self.bandwidth) ** 2, 0.0)  # Epanechnikov's
        return psi, np.full(len(psi), variance), kernel / self.bandwidth


class RowSums(NamedTuple):
    """Sums over rows of weight h."""

    gradient: np.ndarray  # of h psi z
    squares: float  # of h psi**2
    curvature: float  # of h psi'
    squared_curvature: float  # of h psi'**2
    gram: Any  # of h z z' or h psi' z z'; 0.0 where not asked for
    meat: Any  # of psi**2 z z' with its weight; 0.0 where not asked for


@dataclass(frozen=True)
class MEstimator:
    """A model at its optimum, and the rows it was fitted to."""

    rows: Any  # RowsInMemory, or anything with its methods
    design: Design
    target: int
    score: Score
    theta: np.ndarray
    of_y: Moments  # of the target
    analytic: bool  # whether weights are inverse variances, not frequencies
    names: list  # of the coefficients

    @property
    def n_observations(self):
        """Number of rows, where weights are frequencies their sum."""
        return self.rows.n_rows if self.analytic else self.rows.weight

    def sums(self, gram=None, meat=None, inverse=None):
        """Return the `RowSums` of one pass.

        Parameters
        ----------
        gram : {None, "plain", "curved"}
            Products of the design to sum up, plain or times the second derivative.
        meat : {None, "plain", "jackknife"}
            Whether to sum up the meat, and to correct residuals for the leverage of their row.
        inverse : ndarray of shape (size, size) or None
            Of the triangular factor of the bread. The meat is that of the rows times this.
        """
        where, wanted = (self.design, self.target), (gram, meat, inverse, self.analytic)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite shows in the sums
            compiled = gram is None and meat == "plain" and inverse is None
            if compiled and self.score.loss == SQUARED_ERROR:
                weight = self.rows.weight
                gradient, square, meat = self.rows.sums_by_residuals(
                    *where, self.theta, self.analytic
                )
                sums = RowSums(gradient, square, weight, weight, 0.0, meat)
            else:
                sums = self.rows.sum(_sums_of_range, *where, self.score, self.theta, wanted)
        self.rows.check_finite(sums.gradient)
        return sums

    def factor(self, sums, gram):
        """Return the triangular factor of products of the design in some sums."""
        upper = factor_of_gram(sums.gram)
        if upper is None:  # products have lost digits that the rows have
            arguments = self.score, self.theta, gram
            parts = self.rows.each(_factor_of_range, self.design, self.target, *arguments)
            upper = factor_of_blocks(list(parts))
        return upper

    def sums_of_groups(self, codes):
        """Return the sums of h psi z over the rows of each group, which has a number."""
        total = np.zeros((codes.max() + 1, self.design.size))
        arguments = self.score, self.theta, codes
        for found, sums in self.rows.each(_sums_of_groups, self.design, self.target, *arguments):
            total[found] += sums
        return total


def _sums_of_range(chunks, score, theta, wanted):
    """Return the `RowSums` of chunks."""
    return add_up(_sums_of_chunk(z, y - z @ theta, h, score, wanted) for z, y, h, _ in chunks)


def _sums_of_chunk(z, residual, h, score, wanted):
    gram, meat, inverse, analytic = wanted
    psi, squares, curvature = score.of(residual)
    grams = meats = 0.0
    if gram is not None:
        grams = weighted_products(z, h if gram == "plain" else h * curvature)
    if meat is not None:
        unit = z if inverse is None else np.dot(z, inverse)
        outer = squares * (h**2 if analytic else h)
        if meat == "jackknife":
            leverage = curvature * np.einsum("ij,ij->i", unit, unit)
            outer /= _distance_to_full(leverage * h if analytic else leverage) ** 2
        meats = weighted_products(unit, outer)
    sums = h @ squares, h @ curvature, h @ curvature**2
    return RowSums(np.dot(h * psi, z), *sums, grams, meats)


def _distance_to_full(leverage):
    """Return 1 less leverages; raise where that is a rounding error."""
    if leverage.max(initial=0.0) > FULL_LEVERAGE:
        raise ValueError(
            'cov_type="HC3" divides residuals by 1 less the leverage of their row, and some row '
            'has a column to itself, so that its leverage is 1. Use cov_type="HC1", or leave out '
            "that column and its row."
        )
    return 1.0 - leverage


def _factor_of_range(chunks, score, theta, gram):
    """Return the triangular factor of the rows of chunks, by orthogonal transformations."""

    def blocks():
        for z, y, h, _ in chunks:
            if gram == "curved":
                h = h * score.of(y - z @ theta)[2]
            yield z * np.sqrt(h)[:, np.newaxis]

    return factor_of_blocks(blocks())


def _sums_of_groups(chunks, score, theta, codes):
    """Return the numbers of the groups in chunks, and the sums of h psi z of each."""
    found, sums = [], []
    for z, y, h, part in chunks:
        psi, _, _ = score.of(y - z @ theta)
        groups, code = np.unique(codes[part], return_inverse=True)
        indicator = csr_array((h * psi, code, np.arange(len(y) + 1)), shape=(len(y), len(groups)))
        found.append(groups)
        sums.append(indicator.T @ z)
    groups, code = np.unique(np.concatenate(found), return_inverse=True)
    total = np.zeros((len(groups), len(theta)))
    np.add.at(total, code, np.concatenate(sums))
    return groups, total


def residuals_of_range(chunks, theta):
    """Return the residuals of chunks, in their order, and the weights."""
    return np.hstack([(y - z @ theta, h) for z, y, h, _ in chunks])


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
