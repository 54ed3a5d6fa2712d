"""The optimality (KKT) conditions of all rows, for interior-point steps.

What belongs to each row, its multipliers and slacks, lies beside the rows in the memory of their
partition. Each operation is a task of a partition whose results add up, so the same class serves
rows in memory and rows on a cluster.
"""

from typing import NamedTuple

import numpy as np

from ..data.sums import Smallest, add_up
from .multipliers import N_EXPONENTS, LinearizedKKT, MultiplierBounds
from .newton_system import NewtonSystem, weighted_gram

KKT = "kkt"  # the key of a RowPoint in the memory of a partition


class RowPoint(NamedTuple):
    """Where the rows of a partition are on the central path.

    Attributes
    ----------
    bounds : MultiplierBounds
    total_weight : float
        Of the rows of all partitions.
    point : ndarray of shape (3, n_rows, n_sides)
        Multipliers, upper slacks, and lower slacks.
    curvature : ndarray of shape (n_rows,)
        Weights in the Hessian.
    """

    bounds: MultiplierBounds
    total_weight: float
    point: np.ndarray
    curvature: np.ndarray


class Predictor(NamedTuple):
    """What an affine step leads to; adds up over rows.

    Attributes
    ----------
    max_lengths : Smallest
        Largest feasible lengths in the slacks and in the multipliers.
    complementarity : ndarray of shape (4,)
        Coefficients of 1, p, d and p d in the sum after lengths p in slacks, d in multipliers.
    second_order, centring : ndarray of shape (n_coordinates,)
        What the corrector adds to the right-hand side, the latter for each unit of complementarity.
    """

    max_lengths: Smallest
    complementarity: np.ndarray
    second_order: np.ndarray
    centring: np.ndarray


def initialize_rows(partition, bounds, total_weight, theta, complementarity, initial_gap):
    """Place multipliers inside their bounds, with slacks that fit the residuals; a task."""
    n_rows, n_sides = partition.n_rows, bounds.offset.size
    rows = RowPoint(bounds, total_weight, np.empty((3, n_rows, n_sides)), np.empty(n_rows))
    partition.memory[KKT] = rows
    for part, z, target, _ in _chunks(partition):
        outside = (target - z @ theta)[:, np.newaxis] - bounds.offset
        rows.point[:, part] = bounds.initial_point(outside, complementarity, initial_gap)


def newton_sums(partition, theta, matrix):
    """Return the part of the rows in the Newton system at theta; a task."""
    sums, hessian = [], 0.0
    for part, z, weight, kkt, _ in _linearized(partition, theta):
        curvature = weight * kkt.curvature.sum(axis=1)
        partition.memory[KKT].curvature[part] = curvature
        sums.append(_vector_sums(z, weight, kkt))
        hessian += weighted_gram(z, curvature, matrix)  # one matrix is kept, however many there are
    return add_up(sums)._replace(hessian=hessian)


def _vector_sums(z, weight, kkt):
    """Return a Newton system of some rows without its Hessian."""
    cost, gap = kkt.cost_and_gap()
    residual = (kkt.curvature * kkt.multiplier_residual).sum(axis=1)
    vectors = np.column_stack([kkt.multiplier.sum(axis=1), residual]) * weight[:, np.newaxis]
    exponent = kkt.residual_exponent()
    histogram = np.bincount(exponent, weights=weight, minlength=N_EXPONENTS)
    complementarity = weight @ kkt.complementarity()
    slopes = z.rmatvec(vectors).T
    return NewtonSystem(weight @ cost, weight @ gap, histogram, complementarity, *slopes, 0.0)


def hessian_product_sums(partition, direction):
    """Return the product of the Hessian of the last Newton system with a direction; a task."""
    total = np.zeros_like(direction)
    for part, z, _, _ in _chunks(partition):
        curvature = partition.memory[KKT].curvature[part]
        total += z.rmatvec(curvature * (z @ direction))
    return total


def predictor_sums(partition, theta, affine):
    """Return the `Predictor` of an affine step of the model; a task."""
    return add_up(
        _predictor(z, weight, kkt, response)
        for _, z, weight, kkt, (response,) in _linearized(partition, theta, affine)
    )


def _predictor(z, weight, kkt, response):
    step = kkt.affine_step(response)
    terms = z.rmatvec(weight[:, np.newaxis] * kkt.corrector_terms(step))
    complementarity = kkt.complementarity_after(step) @ weight
    return Predictor(Smallest(kkt.max_step_lengths(step)), complementarity, *terms.T)


def corrector_lengths(partition, theta, affine, corrector, complementarity):
    """Return the largest feasible lengths of the corrector step; a task."""
    steps = _corrector_steps(partition, theta, affine, corrector, complementarity)
    return add_up(Smallest(kkt.max_step_lengths(step)) for _, kkt, step in steps)


def move_rows(partition, theta, affine, corrector, complementarity, lengths):
    """Move slacks and multipliers along the corrector step, by a length each; a task."""
    p, d = lengths
    point = partition.memory[KKT].point
    for part, _, step in _corrector_steps(partition, theta, affine, corrector, complementarity):
        point[:, part] += np.array([d, p, p])[:, np.newaxis, np.newaxis] * step


def _corrector_steps(partition, theta, affine, corrector, complementarity):
    """Yield slices of rows, their conditions, and their corrector steps."""
    for part, _, _, kkt, responses in _linearized(partition, theta, affine, corrector):
        step = kkt.affine_step(responses[0])
        yield part, kkt, kkt.corrector_step(responses[1], step, complementarity)


def _chunks(partition):
    """Yield slices of rows, the rows as an operator, their targets and their weights."""
    start = 0
    for z, target, weight in partition.chunks():
        part = slice(start, start + len(target))
        start = part.stop
        yield part, z, target, np.ones(len(target)) if weight is None else weight


def _linearized(partition, theta, *directions):
    """Yield slices of rows, operators, weights, conditions at theta, responses to directions."""
    rows = partition.memory[KKT]
    points = np.column_stack([theta, *directions])
    for part, z, target, weight in _chunks(partition):
        images = z @ points
        outside = (target - images[:, 0])[:, np.newaxis] - rows.bounds.offset
        kkt = LinearizedKKT(rows.bounds, outside, rows.point[:, part])
        yield part, z, weight / rows.total_weight, kkt, images[:, 1:].T


class RowKKT:
    """The KKT conditions of all rows, wherever they lie.

    Parameters
    ----------
    rows : Partitions
    bounds : MultiplierBounds
    matrix : bool
        Whether to sum up their Hessian, or only its diagonal.
    share : float
        Complementarity of a row, relative to the common target.
    """

    def __init__(self, rows, bounds, matrix, share=1.0):
        self.rows, self.bounds, self.matrix, self.share = rows, bounds, matrix, share
        self.n_pairs = bounds.n_pairs()

    def initialize(self, theta, complementarity, initial_gap):
        """Place multipliers inside their bounds, with slacks that fit the residuals."""
        start = theta, self.share * complementarity, initial_gap
        self.rows.sum(initialize_rows, self.bounds, self.rows.weight, *start)

    def newton_system(self, theta):
        """Return the part of the rows in the Newton system at theta."""
        return self.rows.sum(newton_sums, theta, self.matrix)

    def hessian_product(self, direction):
        """Return the product of their Hessian with a direction."""
        return self.rows.sum(hessian_product_sums, direction)

    def predictor(self, theta, affine):
        """Return what an affine step of the model leads to."""
        predictor = self.rows.sum(predictor_sums, theta, affine)
        return predictor._replace(centring=predictor.centring * self.share)

    def max_step_lengths(self, theta, affine, corrector, complementarity):
        """Return the largest lengths of the corrector step that keep rows feasible."""
        step = theta, affine, corrector, self.share * complementarity
        return self.rows.sum(corrector_lengths, *step)

    def apply_step(self, step, lengths):
        """Move slacks by the first length and multipliers by the second along a step.

        The step consists of the arguments of `max_step_lengths`.
        """
        *points, complementarity = step
        self.rows.sum(move_rows, *points, self.share * complementarity, lengths)
