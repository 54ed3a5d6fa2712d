"""Sequential subspace optimisation of a quadratic objective.

The objective is minimised exactly over the affine span of directions seen so far (Narkiss &
Zibulevsky, 2005; of averages of SGD: Scieur, Bach & d'Aspremont, 2017). One pass over X gives the
gradient g at the best model and H d for every new direction d, with H the Hessian of the
objective. That is all a quadratic objective needs.
"""

import numpy as np

from ..linalg.factorization import RANK_TOLERANCE

# Directions that are kept at most. Data with fewer columns than this are solved exactly once the
# directions span them. The smaller bound holds where more than 64 MB of directions would be kept.
MAX_DIRECTIONS = 80
MIN_DIRECTIONS = 8
MAX_DIRECTION_ENTRIES = 1 << 23

# A direction whose length ||H^(1/2) d|| is below this fraction of the longest is rounding error.
DIRECTION_ROUNDING = 1e-8


def gradient_and_hessian_products(rows, objective, theta, directions):
    """Return a quadratic objective, its gradient and Hessian-vector products, in one pass.

    `objective`: squared error, and a penalty without kinks.

    Returns
    -------
    loss : float
    gradient : ndarray of shape (n_coordinates,)
    images : ndarray of shape (n_coordinates, n_directions)
        H times each direction.
    """
    square, sums = rows.sum(quadratic_sums, theta, directions)
    loss, gradient = loss_and_gradient(rows.weight, objective, theta, square, sums[:, 0])
    images = sums[:, 1:] / rows.weight + objective.l2[:, np.newaxis] * directions
    return loss, gradient, images


def loss_and_gradient(weight, objective, theta, square, slope):
    """Return a quadratic objective and its gradient from sums over all rows.

    `weight`: sum of the weights h.
    `square`: sum of h times squared residuals.
    `slope` of shape (n_coordinates,): sum of h z times residuals.
    """
    loss = square / (2 * weight) + float(objective.penalty(theta))
    return loss, objective.l2 * theta - slope / weight


def quadratic_sums(rows, theta, directions):
    """Return the sum of squared residuals, and those of z times residuals and times z . d."""
    return rows.products(np.column_stack([-theta, directions]), residuals=True)


def hessian_product(rows, objective, directions):
    """Return H d, for a direction or for each column of several; one pass over the rows."""
    total = rows.sum(hessian_sums, directions)
    return total / rows.weight + (objective.l2 * directions.T).T


def hessian_sums(rows, directions):
    """Return the sums over rows of z times z . d."""
    return rows.products(directions)[1]


class SearchSubspace:
    """Directions d with their products H d, and the minimum over their span.

    Attributes
    ----------
    rank : int
        Dimension of the span at the last search.
    """

    def __init__(self, n_coordinates):
        affordable = max(MAX_DIRECTION_ENTRIES // n_coordinates, MIN_DIRECTIONS)
        self.memory = min(MAX_DIRECTIONS, affordable, n_coordinates)
        self.directions = np.empty((0, n_coordinates))
        self.images = np.empty((0, n_coordinates))
        self.curvature = np.empty((0, 0))  # d' H d of each pair
        self.rank = 0

    def add(self, directions, images):
        """Take in directions and their images, each a column."""
        n_old = len(self.directions)
        self.directions = np.concatenate([self.directions, directions.T])
        self.images = np.concatenate([self.images, images.T])
        block = self.directions @ images
        block[n_old:] = (block[n_old:] + block[n_old:].T) / 2
        old = np.concatenate([self.curvature, block[:n_old].T])
        self.curvature = np.concatenate([old, block], axis=1)

    def search(self, directions, images, gradient):
        """Return `minimize` with more directions; keep as many of the latest as memory allows."""
        self.add(directions, images)
        found = self.minimize(gradient)
        self.directions = self.directions[-self.memory :]
        self.images = self.images[-self.memory :]
        self.curvature = self.curvature[-self.memory :, -self.memory :]
        return found

    def minimize(self, gradient):
        """Return the step to the minimum over the span.

        Returns
        -------
        step, change : ndarray of shape (n_coordinates,)
            The step, and H step, by which the gradient changes.
        decrease : float
            How much lower the objective is after the step.
        """
        size = np.sqrt(np.maximum(self.curvature.diagonal(), 0))
        seen = size > DIRECTION_ROUNDING * size.max(initial=0.0)
        size = size[seen]
        curvature = self.curvature[seen][:, seen] / (size[:, None] * size)
        eigenvalues, eigenvectors = np.linalg.eigh(curvature)
        kept = eigenvalues > RANK_TOLERANCE * eigenvalues.max(initial=0.0)
        self.rank = int(kept.sum())
        basis = eigenvectors[:, kept] / size[:, None]
        slope = self.directions @ gradient
        weights = np.zeros(len(slope))
        weights[seen] = -basis @ ((basis.T @ slope[seen]) / eigenvalues[kept])
        step, change = weights @ self.directions, weights @ self.images
        return step, change, -(gradient @ step + step @ change / 2)
