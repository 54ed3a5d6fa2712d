"""Faces of a penalised quadratic function: where signs are known, it has no kinks.

On the face of a model, coordinates that are zero stay zero and the others keep their signs, so a
Newton step leads to the optimum of the face. Coordinate descent finds the face, and the step ends
on it exactly: a primal active-set method that may change many signs at a time.
"""

import numpy as np

from ..kernels.coordinate_descent import descend, subtract_products
from ..linalg.factorization import cholesky_solver, corrected_solution

# Epochs of coordinate descent between Newton steps, at least, and as a share of the coordinates
# that are not zero: a factor of theirs takes as long as so many epochs.
EPOCHS = 20
EPOCHS_PER_COORDINATE = 0.04

# Epochs over the whole set that may let a coordinate leave zero, before those on the face.
SET_EPOCHS = 2

# Decrease of an epoch on a face, relative to the loss at the start, that a Newton step follows.
FACE_DECREASE = 1e-12

# Rounds of descent and Newton steps, at most, and those with one Newton step.
MAX_ROUNDS = 200
HASTY_ROUNDS = 3

# Added to the diagonal, relative to it, where the products of a face have no factor.
FACE_RIDGE = 1e-9

# Decrease of an epoch relative to the objective, and excess of a slope relative to the largest
# possible one and to l1, that are nothing but rounding errors.
DECREASE_ROUNDING = 1e-16
SLOPE_ROUNDING = 1e-14
L1_ROUNDING = 1e-9


def slope_rounding(curvature, value, l1):
    """Return the size of the rounding errors of slopes of the loss, where it is `value`."""
    return SLOPE_ROUNDING * np.sqrt(2 * value * curvature) + L1_ROUNDING * l1


def penalty_of(objective):
    """Return the penalty of an objective as the compiled loops take it: l1, l2 and lower bounds."""
    return objective.l1, objective.l2, objective.floor


def excess_slope(theta, slope, penalty):
    """Return by how much the slope of each coordinate that is zero exceeds what keeps it there."""
    l1, _, floor = penalty
    size = np.where(floor == 0, slope, np.abs(slope)) - l1
    return np.where((theta == 0) & ((l1 > 0) | (floor == 0)), size, -np.inf)


def minimise_in_set(gram, slope, theta, penalty, value):
    """Return the optimum over a set of coordinates.

    `gram` of shape (n, n): Hessian of the loss.
    `slope`, `theta` of shape (n,): minus the gradient of the loss at a model, and that model.
    `value`: the loss at a model that is worse, as the unit of rounding errors.
    """
    first_theta, first_slope = theta, slope
    theta, slope, curvature = theta.copy(), slope.copy(), gram.diagonal().copy()
    rounding = slope_rounding(curvature, value, penalty[0])
    enough = DECREASE_ROUNDING * value
    for number in range(MAX_ROUNDS):
        descend(gram, curvature, penalty, theta, slope, SET_EPOCHS, enough)
        full = _descend_on_face(gram, slope, theta, penalty, value, number < HASTY_ROUNDS)
        slope = first_slope.copy()
        subtract_products(gram, theta - first_theta, slope)
        excess = excess_slope(theta, slope, penalty) - rounding
        if full and (excess[curvature > 0] <= 0).all():
            break
    return theta


def _descend_on_face(gram, slope, theta, penalty, value, hasty):
    """Descend along the coordinates that are not zero, then take Newton steps, in place.

    Return whether the last step was one to the optimum of the face. Where that is near, hasty steps
    find it; where they do not, as between nearly dependent columns, no coordinate joins before.
    """
    active = Face(theta, slope, penalty, gram.diagonal()).active
    if not len(active):
        return True
    gram, start, slope = gram[np.ix_(active, active)], theta[active], slope[active]
    penalty, curvature = tuple(p[active] for p in penalty), gram.diagonal().copy()
    part, now = start.copy(), slope.copy()
    n_epochs = EPOCHS + int(EPOCHS_PER_COORDINATE * len(active))
    descend(gram, curvature, penalty, part, now, n_epochs, FACE_DECREASE * value)
    for _ in range(1 if hasty else len(part) + 1):
        face = Face(part, slope - gram @ (part - start), penalty, curvature)
        hessian = gram if len(face.active) == len(part) else gram[np.ix_(face.active, face.active)]
        hessian = hessian.copy()
        hessian.flat[:: len(hessian) + 1] += face.l2
        change, full = face.change(face_solver(hessian), hessian.__matmul__)
        part[face.active] += change
        part[face.active[face.vanishing]] = 0.0
        if full:
            break
    theta[active] = part
    return full


def face_solver(hessian):
    """Return a function that solves with the Hessian of a face, or one that is damped."""
    solve = cholesky_solver(hessian.copy(), len(hessian), 0.0)[0]
    ridge = FACE_RIDGE
    while solve is None and ridge < 1:
        damped = hessian.copy()
        damped.flat[:: len(hessian) + 1] *= 1 + ridge
        solve, ridge = cholesky_solver(damped, len(hessian), 0.0)[0], 10 * ridge
    return solve or (lambda gradient: gradient / hessian.diagonal())


class Face:
    """The face of a model.

    `theta`, `slope` of shape (n,)
    `curvature` of shape (n,): a coordinate without any stays as it is.

    Attributes
    ----------
    active : ndarray of int
        Coordinates that are not zero, or without a kink.
    gradient : ndarray
        Minus the gradient of the objective by these.
    vanishing : ndarray of bool
        Those of them that the last change sets to zero.
    """

    def __init__(self, theta, slope, penalty, curvature):
        l1, l2, floor = penalty
        kinked = (l1 > 0) | (floor == 0)
        self.active = np.flatnonzero((curvature > 0) & ((theta != 0) | ~kinked))
        self.theta, self.l2 = theta[self.active], l2[self.active]
        self.sign = np.where(kinked[self.active], np.sign(self.theta), 0.0)
        self.gradient = slope[self.active] - self.l2 * self.theta - l1[self.active] * self.sign
        self.vanishing = np.zeros(len(self.active), dtype=bool)

    def change(self, solve, product):
        """Return the change of a Newton step that changes no sign, and whether it is all of it.

        `solve`, `product` (callable): multiply with the inverse of the Hessian of the face, and
        with the Hessian.
        """
        if not len(self.active):
            return self.gradient, True
        step, _, _ = corrected_solution(solve, product, self.gradient)
        crossing = (self.theta + step) * self.sign < 0
        if not crossing.any():
            return step, True
        # As far as the first, second, fourth ... zero, those passed staying zero, or all the way.
        # The first lowers the objective; others mostly more.
        fraction = np.full(len(step), np.inf)
        fraction[crossing] = -self.theta[crossing] / step[crossing]
        zeros = np.sort(fraction[crossing])
        lengths = [*zeros[2 ** np.arange(int(np.log2(len(zeros))) + 1) - 1], 1.0]
        steps = [np.where(fraction <= length, -self.theta, length * step) for length in lengths]
        best = min(range(len(steps)), key=lambda i: self._increase(steps[i], product))
        self.vanishing = fraction <= lengths[best]
        return steps[best], False

    def _increase(self, step, product):
        """Return what a step that changes no sign adds to the objective."""
        return product(step) @ step / 2 - self.gradient @ step
