"""The optimality (KKT) conditions of all rows, for interior-point steps.

What belongs to each row, its multipliers and slacks, lies beside the rows in the memory of their
partition. Each operation is a task of a partition whose results add up, so the same class serves
rows in memory and rows on a cluster.
"""

from typing import NamedTuple

import numpy as np

from ..data.sums import Smallest
from ..kernels.kkt import Sides, correct, evaluate, predict
from .multipliers import FRACTION_TO_BOUNDARY, N_EXPONENTS, MultiplierBounds
from .newton_system import NewtonSystem

# Complementarity of a start on the central path, relative to that of other starts. The slope of the
# multipliers does not fit yet: with less, steps that mend that are short; with more, it takes
# further steps until nothing is left of it.
CENTRAL_COMPLEMENTARITY = 30.0

KKT = "kkt"  # the key of a RowPoint in the memory of a partition


class RowPoint(NamedTuple):
    """Where the rows of a partition are on the central path."""

    bounds: MultiplierBounds
    share: np.ndarray  # of shape (n_rows,), of the weight of all partitions
    # `point` and `step`, of shape (3, n_rows, n_sides), multipliers, upper slacks, and lower
    # slacks, and their corrector step.
    point: np.ndarray
    step: np.ndarray
    # `residual`, `response` and `curvature`, of shape (n_rows,), at the model; of an affine
    # step; and weights in the Hessian.
    residual: np.ndarray
    response: np.ndarray
    curvature: np.ndarray

    def sides(self, part):
        """Return the `Sides` of some rows, as the kernels take them."""
        bounds = self.bounds
        limits = [
            array if len(array) == 1 else array[part]
            for array in map(np.atleast_2d, (bounds.offset, bounds.lower, bounds.upper))
        ]
        return Sides(*limits, bounds.compliance, self.point[:, part])


class Predictor(NamedTuple):
    """What an affine step leads to; adds up over rows."""

    max_lengths: Smallest  # largest feasible lengths in the slacks and in the multipliers
    # Of shape (4,), coefficients of 1, p, d and p d in the sum after lengths p in slacks, d in
    # multipliers.
    complementarity: np.ndarray
    # `second_order` and `centring`, of shape (n_coordinates,), what the corrector adds to the
    # right-hand side, the latter for each unit of complementarity.
    second_order: np.ndarray
    centring: np.ndarray


def initialize_rows(partition, bounds, total_weight, theta, start, central):
    """Place multipliers inside their bounds, with slacks that fit the residuals; a task."""
    complementarity, initial_gap = start
    shape, n_rows = (3, partition.n_rows, bounds.offset.size), partition.n_rows
    share, point, step = np.empty(n_rows), np.empty(shape), np.empty(shape)
    rows = RowPoint(bounds, share, point, step, *np.empty((3, n_rows)))
    partition.memory[KKT] = rows
    for part, z, target, weight in row_chunks(partition):
        share[part] = weight / total_weight
        outside = (target - z @ theta)[:, np.newaxis] - bounds.offset
        if central:
            point[:, part] = bounds.central_point(
                outside, CENTRAL_COMPLEMENTARITY * complementarity
            )
        else:
            point[:, part] = bounds.initial_point(outside, complementarity, initial_gap)


def newton_sums(partition, theta, matrix):
    """Return the part of the rows in the Newton system at theta; a task."""
    rows, sums, hessian = partition.memory[KKT], np.zeros(3), 0.0
    histogram, slopes = np.zeros(N_EXPONENTS), 0.0
    for part, z, target, _ in row_chunks(partition):
        residual = rows.residual[part] = target - z @ theta
        share, curvature = rows.share[part], rows.curvature[part]
        vectors = np.empty((2, len(share)))
        sums += evaluate(rows.sides(part), residual, share, curvature, vectors, histogram)
        slopes += z.rmatvec(vectors.T)
        hessian += z.gram(curvature) if matrix else z.column_squares(curvature)
    value, gap, complementarity = sums.tolist()
    return NewtonSystem(value, gap, histogram, complementarity, *slopes.T, hessian)


def hessian_product_sums(partition, direction):
    """Return the product of the Hessian of the last Newton system with a direction; a task."""
    total = np.zeros_like(direction)
    for part, z, _, _ in row_chunks(partition):
        curvature = partition.memory[KKT].curvature[part]
        total += z.rmatvec(curvature * (z @ direction))
    return total


def predictor_sums(partition, affine):
    """Return the `Predictor` of an affine step of the model; a task."""
    rows, longest, complementarity, terms = partition.memory[KKT], np.zeros(2), np.zeros(4), 0.0
    for part, z, _, _ in row_chunks(partition):
        response, share = rows.response[part], rows.share[part]
        response[:] = z @ affine
        vectors = np.empty((2, len(share)))
        *inverse, after = predict(rows.sides(part), response, rows.residual[part], share, vectors)
        longest = np.maximum(longest, inverse)
        complementarity += after
        terms += z.rmatvec(vectors.T)
    return Predictor(_step_lengths(longest), complementarity, *terms.T)


def corrector_lengths(partition, corrector, complementarity):
    """Return the largest feasible lengths of the corrector step, which is kept; a task."""
    rows, longest = partition.memory[KKT], np.zeros(2)
    for part, z, _, _ in row_chunks(partition):
        inverse = correct(
            rows.sides(part),
            rows.response[part],
            z @ corrector,
            rows.residual[part],
            complementarity,
            rows.step[:, part],
        )
        longest = np.maximum(longest, inverse)
    return _step_lengths(longest)


def _step_lengths(inverse):
    """Return step lengths, none more than ``1 / FRACTION_TO_BOUNDARY``, from their inverses."""
    return Smallest(1 / np.maximum(inverse, FRACTION_TO_BOUNDARY))


def move_rows(partition, lengths):
    """Move slacks and multipliers along the corrector step, by a length each; a task."""
    rows, (p, d) = partition.memory[KKT], lengths
    for values, step, length in zip(rows.point, rows.step, (d, p, p), strict=True):
        values += length * step


def row_chunks(partition):
    """Yield slices of rows, the rows as an operator, their targets and their weights."""
    start, ones = 0, None
    for z, target, weight in partition.chunks():
        part = slice(start, start + len(target))
        start = part.stop
        if weight is None:
            ones = np.ones(len(target)) if ones is None else ones
            weight = ones[: len(target)]
        yield part, z, target, weight


class RowKKT:
    """The KKT conditions of all rows, wherever they lie.

    `matrix`: whether to sum up their Hessian, or only its diagonal.
    `share`: complementarity of a row, relative to the common target.
    """

    def __init__(self, rows, bounds, matrix, share=1.0):
        self.rows, self.bounds, self.matrix, self.share = rows, bounds, matrix, share
        self.n_pairs = bounds.n_pairs() * rows.share

    def initialize(self, theta, complementarity, initial_gap):
        """Place multipliers inside their bounds, with slacks that fit the residuals."""
        start, central = (self.share * complementarity, initial_gap), self.rows.linear is not None
        self.rows.sum(initialize_rows, self.bounds, self.rows.weight, theta, start, central)

    def newton_system(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        system = self.rows.sum(newton_sums, theta, self.matrix)
        linear = self.rows.linear
        if linear is None:
            return system
        return system._replace(
            value=system.value + linear.at(theta),
            residual_histogram=system.residual_histogram + linear.sums.residual_histogram,
            slope=system.slope + linear.sums.slope,
        )

    def hessian_product(self, direction):
        """Return the product of their Hessian with a direction."""
        return self.rows.sum(hessian_product_sums, direction)

    def predictor(self, affine):
        """Return what an affine step of the model leads to."""
        predictor = self.rows.sum(predictor_sums, affine)
        return predictor._replace(centring=predictor.centring * self.share)

    def max_step_lengths(self, corrector, complementarity):
        """Return the largest lengths of the corrector step that keep rows feasible."""
        return self.rows.sum(corrector_lengths, corrector, self.share * complementarity)

    def apply_step(self, lengths):
        """Move slacks by the first length and multipliers by the second along that step."""
        self.rows.sum(move_rows, lengths)
