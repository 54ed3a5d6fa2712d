"""Which rows matter to a kinked loss, and what stands for all others: a linear function.

A row far from the kinks of its loss has the same multiplier m at every model that is a candidate,
so its loss is linear there, ``m e - dead_zone |m|``. By convex duality that is a lower bound of the
loss everywhere: the problem with some rows replaced by such functions never has a larger minimum.
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from ..data.partitions import InMemory, merged
from ..kernels import losses
from .hessian import gram
from .kkt import row_chunks
from .multipliers import N_EXPONENTS

SELECTION = "selection"  # the key of a Selection in the memory of the rows

# What is added to the products of columns, relative to their diagonal: columns may be dependent.
RIDGE = 1e-9

# Random directions by which the leverage of a row is estimated, at most: its error then is a fifth.
LEVERAGE_DIRECTIONS = 12


class LinearSums(NamedTuple):
    """Sums over rows whose loss is taken as linear; they add up."""

    value: float  # loss at a model
    slope: np.ndarray  # of shape (n_coordinates,), minus the gradient
    residual_histogram: np.ndarray  # of shape (N_EXPONENTS,), as in `NewtonSystem`

    def __add__(self, other):
        return LinearSums(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class LinearLoss:
    """Loss of the rows that are left out, linear in theta."""

    origin: np.ndarray  # of shape (n_coordinates,), where the value is exact to all digits
    sums: LinearSums  # at the origin

    def at(self, points):
        """Return the loss at a model, or at each column of several."""
        return self.sums.value - self.sums.slope @ (points.T - self.origin).T

    def without(self, theta, sums):
        """Return the loss without that of some rows, expanded about theta."""
        value, slope = self.at(theta) - sums.value, self.sums.slope - sums.slope
        rest = LinearSums(value, slope, self.sums.residual_histogram)
        return LinearLoss(theta, rest)


class Selection(NamedTuple):
    """Rows of a partition that are left out, and the multiplier of each."""

    left_out: np.ndarray  # of shape (n_rows,), uint8
    multiplier: np.ndarray  # of shape (n_rows,)


class Band(NamedTuple):
    """How far from a kink a residual may be for its row to be selected."""

    width: float  # relative to the leverage of the row
    # Of shape (n_coordinates, n_directions), the root of the leverage of row z is about
    # ``norm(z @ directions)``.
    directions: np.ndarray


def sample(rows, seed, n_sampled, total_weight):
    """Return some rows, drawn in proportion to their weights from equal strata; a task.

    The weight of what is drawn is that of all rows.
    """
    n_drawn = max(1, round(n_sampled * rows.weight / total_weight))
    position = np.arange(n_drawn) + np.random.default_rng([seed, rows.n_rows]).random(n_drawn)
    if rows.sample_weight is None:
        drawn = (position * (rows.n_rows / n_drawn)).astype(np.intp)
    else:
        below = np.cumsum(rows.sample_weight)
        drawn = np.searchsorted(below, position * (below[-1] / n_drawn), side="right")
    drawn, count = np.unique(np.minimum(drawn, rows.n_rows - 1), return_counts=True)
    return [rows.take(drawn, count * (rows.weight / n_drawn))]


def sampled_rows(rows, seed, n_sampled):
    """Return a sample of the rows of `Partitions`, as an `InMemory`; see `sample`."""
    return InMemory(merged(rows.sum(sample, seed, n_sampled, rows.weight)))


def band_of(sampled, theta, loss, deviations):
    """Return the `Band` of a model that is the optimum of sampled rows, an `InMemory`.

    The error of its prediction of row z is about ``sqrt(z' C z)`` with the covariance C of quantile
    regression (Koenker, 2005), and the share of rows within some standard errors of a kink does
    not depend on how many there are near it. So the width is read off the distances of the sample.

    Returns None where the sample does not tell.
    """
    products = sampled.sum(gram) / sampled.weight
    n_coordinates = len(products)
    products.flat[:: n_coordinates + 1] *= 1 + RIDGE
    products.flat[:: n_coordinates + 1] += np.finfo(float).tiny
    try:
        factor = cholesky(products)
    except LinAlgError:
        return None
    directions = np.eye(n_coordinates)
    if n_coordinates > LEVERAGE_DIRECTIONS:
        rng = np.random.default_rng(0)
        directions = rng.standard_normal((n_coordinates, LEVERAGE_DIRECTIONS))
        directions /= sqrt(LEVERAGE_DIRECTIONS)
    directions = solve_triangular(factor, directions)
    residual, leverage, share = sampled_arrays(sampled, theta, directions)
    distance = np.abs(np.abs(residual) - loss.dead_zone)  # of each residual from a kink
    distance /= np.maximum(leverage, np.finfo(float).tiny)
    jump = loss.bound if loss.dead_zone > 0 else loss.upper - loss.lower
    variance = share @ loss.multiplier(residual) ** 2 / jump**2
    within = 2 * deviations * sqrt(variance / len(share)) * (share @ leverage)
    order = np.argsort(distance)
    first = np.searchsorted(np.cumsum(share[order]), within)
    if first >= len(share):
        return None
    return Band(float(distance[order[first]]), directions)


def sampled_arrays(sampled, theta, directions):
    """Return residual, root of the leverage, and share of the weight of each row."""
    chunks = [
        (y - z @ theta, np.linalg.norm(z @ directions, axis=1), weight / sampled.weight)
        for part in sampled.parts
        for _, z, y, weight in row_chunks(part)
    ]
    return map(np.concatenate, zip(*chunks, strict=True))


def select(rows, theta, loss, band, total_weight):
    """Leave out all rows but those within a band about the kinks; a task.

    Returns
    -------
    sums : LinearSums
        At theta, of the rows that are left out.
    selected : list of Rows
    """
    left_out, multipliers = np.empty(rows.n_rows, dtype=np.uint8), np.empty(rows.n_rows)
    rows.memory[SELECTION] = Selection(left_out, multipliers)
    value, slope, histogram = 0.0, 0.0, np.zeros(N_EXPONENTS)
    for part, z, y, weight in row_chunks(rows):
        residual, leverage = y - z @ theta, np.ascontiguousarray(z @ band.directions)
        of_rows, linear = (residual, weight / total_weight, leverage), np.empty(len(residual))
        out = left_out[part], multipliers[part], linear
        value += losses.select(loss, *of_rows, band.width, *out, histogram)
        slope += z.rmatvec(linear)
    selected = np.flatnonzero(left_out == 0)
    return LinearSums(value, slope, histogram), [rows.take(selected)] if len(selected) else []


def check(rows, theta, loss, total_weight):
    """Select the rows that were left out with a multiplier that is not theirs at theta; a task.

    Returns
    -------
    value : float
        Mean loss of all rows.
    sums : LinearSums
        At theta, of the rows that are selected now and were left out before.
    selected : list of Rows
    """
    left_out, multipliers = rows.memory[SELECTION]
    value, linear_value, slope, joining = 0.0, 0.0, np.zeros_like(theta), []
    for part, z, y, weight in row_chunks(rows):
        residual = y - z @ theta
        wrong = np.empty(len(residual), dtype=np.uint8)
        value += losses.check(loss, residual, weight, left_out[part], multipliers[part], wrong)
        index = np.flatnonzero(wrong)
        if not len(index):
            continue
        share, before = weight[index] / total_weight, multipliers[part][index]
        linear_value += share @ (before * residual[index] - loss.dead_zone * np.abs(before))
        slope += z.take(index).rmatvec(share * before)
        joining.append(part.start + index)
    joining = np.concatenate(joining) if joining else np.array([], dtype=np.intp)
    left_out[joining] = 0
    sums = LinearSums(linear_value, slope, np.zeros(N_EXPONENTS))
    return value / total_weight, sums, [rows.take(joining)] if len(joining) else []
