"""The Hessian of squared error: summed up, or estimated from random signed sums of rows."""

import numpy as np

from ..linalg.blas import transposed_product
from ..linalg.factorization import PIVOT_RATIO, cholesky_solver, factorize_hessian
from ..linalg.least_squares import LeastSquares
from ..linalg.triangular import triangular_factor

# Rows that one random matrix of signs sums up.
SIGNED_ROWS = 64

# Sums that are collected before their products are taken in one multiplication.
BUFFER = 256


class Hessian:
    """The Hessian H of squared error, exact or estimated, and a way to solve with it.

    Parameters
    ----------
    n_sums : int or None
        None: H is the sum of z z' over the rows. Otherwise it is estimated from that many sums of
        rows with independent random signs: they satisfy E[r r'] = sum of z z', whatever the order
        of rows and however rare a column (iterative Hessian sketch: Pilanci & Wainwright, 2016).
    pivot_ratio : float
        Where a pivot of Cholesky is below this part of its diagonal entry, products of columns have
        lost too many digits, and the rows themselves are factorised.
    by_products : bool
        Whether products of columns may do; otherwise the rows themselves are factorised at once.

    Attributes
    ----------
    exact : bool
        Whether H is the sum over the rows.
    total : ndarray of shape (n_coordinates, n_coordinates) or None
        H of mean loss and penalty, once summed up.
    solve : callable or None
        Multiplies with the (pseudo-)inverse of H.
    well_conditioned : bool
        Whether one correction makes a solution exact to rounding.
    factor : ndarray of shape (at most n_coordinates, n_coordinates) or None
        Rows with the same mean products, where they were factorised.
    trace : float
        Of H without the penalty: the mean square of a row.
    """

    def __init__(
        self,
        n_rows,
        n_coordinates,
        n_sums=None,
        pivot_ratio=PIVOT_RATIO,
        seed=0,
        *,
        by_products=True,
    ):
        self.by_products = by_products
        self.n_rows, self.n_coordinates, self.n_sums = n_rows, n_coordinates, n_sums
        self.exact, self.pivot_ratio, self.seed = n_sums is None, pivot_ratio, seed
        self.total, self.solve, self.well_conditioned, self.factor = None, None, False, None

    def prepare(self, rows, l2):
        """Sum up and factorise; nothing to do where that was done for another target.

        `l2` of shape (n_coordinates,): curvature of the penalty, the same for all targets.
        """
        if self.solve is not None:
            return
        full_rank = l2.any() or self.n_rows >= self.n_coordinates
        if self.exact and not (full_rank and self.by_products):  # of few rows they are singular
            self._factorize_rows(rows, l2)
            return
        sums_a_row = None if self.exact else self.n_sums / self.n_rows
        total = rows.sum(gram) if self.exact else rows.sum(signed_gram, sums_a_row, self.seed)
        self.total = total / rows.weight
        self.trace = self.total.trace()
        self.total.flat[:: self.n_coordinates + 1] += l2
        if not self.exact:
            self.solve = factorize_hessian(self.total)
            return
        self.solve, self.well_conditioned = cholesky_solver(
            self.total.copy(), self.n_coordinates, self.pivot_ratio
        )
        if not self.well_conditioned:
            self._factorize_rows(rows, l2)

    def _factorize_rows(self, rows, l2):
        """Factorise by orthogonal transformations of the rows, which lose no digits."""
        factors = rows.each(factor_of_rows, [()] * len(rows.shares))
        self.factor = triangular_factor(factors) if len(factors) > 1 else factors[0]
        self.factor = root = self.factor / np.sqrt(rows.weight)
        self.trace = np.vdot(root, root)
        if l2.any():
            root = triangular_factor([root, np.diag(np.sqrt(l2))])
        solver = LeastSquares(root)
        self.solve, self.project = solver.solve_normal, solver.project

    @staticmethod
    def project(theta):
        """Return the projection of theta on the directions that the rows have."""
        return theta  # as far as is known, the rows have all of them


def weighted_blocks(rows):
    """Yield dense rows z times the roots of their weights; a block may be overwritten later."""
    for chunk, _, weight in rows.chunks():
        for z, part in chunk.dense_blocks(weight):
            yield z if part is None else z * np.sqrt(part)[:, np.newaxis]


def gram(rows):
    """Return the sum of z z' over the rows."""
    total = np.zeros((rows.n_coordinates, rows.n_coordinates))
    for z in weighted_blocks(rows):
        total += transposed_product(z, z)
    return total


def signed_gram(rows, sums_a_row, seed):
    """Return the sum of r r' over sums r of rows with random signs.

    `sums_a_row`: how many sums there are for each row.
    """
    rng = np.random.default_rng([seed, rows.first_row])  # ranges of rows have signs of their own
    total = np.zeros((rows.n_coordinates, rows.n_coordinates))
    step, sums = max(SIGNED_ROWS, round(1 / sums_a_row)), []
    for z in weighted_blocks(rows):
        for start in range(0, len(z), step):
            part = z[start : start + step]
            n_sums = max(round(sums_a_row * len(part)), 1)
            signs = rng.integers(0, 2, (n_sums, len(part)), dtype=np.int8) * 2.0 - 1
            sums.append((signs @ part) / np.sqrt(n_sums))
        if sum(map(len, sums)) >= BUFFER:
            sums = [np.concatenate(sums)]
            total += transposed_product(sums[0], sums[0])
            sums = []
    if sums:
        sums = np.concatenate(sums)
        total += transposed_product(sums, sums)
    return total


def factor_of_rows(place):
    """Return a triangular factor of all rows at a place; see `triangular_factor`."""
    return triangular_factor(z.copy() for rows in place.parts for z in weighted_blocks(rows))
