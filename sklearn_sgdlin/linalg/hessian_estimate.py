"""The Hessian of squared error, exact or estimated from random signed sums of rows."""

from functools import partial

import numpy as np

from .blas import transposed_product
from .factorization import PIVOT_RATIO, cholesky_solver, factorize_hessian
from .least_squares import WELL_CONDITIONED, LeastSquares, triangular_factor

COORDINATES = 4097  # beyond, a matrix of n_coordinates**2 numbers is too large to keep
CHEAP_COORDINATES = 257  # up to which H costs less than some products with it
CHEAP_WORK = 1e9  # products, up to which it costs little anyway
EXACT_ROWS = 40  # per coordinate, up to which the rows themselves are taken instead of sums
SKETCH_ROWS = 6  # per coordinate: conjugate gradients then leave about 1/6 of the excess a step
SKETCH_ROWS_LEAST = 1000  # so that the distance to the optimum is known within some 5%
SKETCH_WORK = 3e3  # products for each entry of X, beyond which it costs too much,
SKETCH_WORK_LEAST = 6e10  # unless there are no more than so many
DENSE_WORK = 50  # products, that making an entry of sparse X dense costs as much as
SIGNED_ROWS = 64  # summed up by one matrix of signs
BUFFER = 256  # sums multiplied together


class HessianEstimate:
    """An estimate of the Hessian, mean of z z', from few random signed sums of rows.

    With independent random signs the sums r satisfy E[r r'] = sum of z z', whatever the
    order of rows and however rare a column: every row takes part (Pilanci & Wainwright,
    Iterative Hessian Sketch, 2016). Where it costs little, the rows are taken as they are.

    Attributes
    ----------
    exact : bool
        Whether the rows are taken as they are.
    cheap : bool
        Whether that costs about as much as a pass over them.
    total : ndarray of shape (n_coordinates, n_coordinates) or None
        The estimate, once finished.
    solve : callable or None
        Multiplies with about the inverse of the Hessian, once finished.
    sure : bool
        Whether that is the inverse, and rounding errors are nothing to care about.
    factor : ndarray of shape (at most n_coordinates, n_coordinates) or None
        Rows with about the same mean products, where products are too ill-conditioned.
    size : float
        Trace of the Hessian, once finished by exact rows: the mean square of a row.
    """

    def __init__(self, n_rows, n_coordinates, seed):
        self.n_rows, self.n_coordinates = n_rows, n_coordinates
        self.cheap = n_coordinates <= CHEAP_COORDINATES or n_rows * n_coordinates**2 <= CHEAP_WORK
        self.exact = self.cheap or n_rows <= max(EXACT_ROWS * n_coordinates, SKETCH_ROWS_LEAST)
        self.n_sums = n_rows
        if not self.exact:
            self.n_sums = min(max(SKETCH_ROWS * n_coordinates, SKETCH_ROWS_LEAST), n_rows // 4)
        self.total, self.solve, self.sure, self.factor = None, None, False, None
        if not self.exact:
            self._rng, self._sums = np.random.default_rng(seed), []

    @classmethod
    def affordable(cls, n_rows, n_coordinates, n_entries, seed):
        """Return a sketch, or None where it is too large, or costs too much beside X."""
        if n_coordinates > COORDINATES:
            return None
        sketch = cls(n_rows, n_coordinates, seed)
        work = (sketch.n_sums * n_coordinates + DENSE_WORK * n_rows) * n_coordinates
        affordable = max(SKETCH_WORK * n_entries, SKETCH_WORK_LEAST)
        return sketch if sketch.cheap or work <= affordable else None

    def add(self, chunk, weight=None):
        """Take in the rows of a chunk with their weights."""
        for z, part in chunk.dense_blocks(weight):
            z = z if part is None else z * np.sqrt(part)[:, np.newaxis]
            if self.exact:
                self._multiply(z)
            else:
                self._add_sums(z)

    def _add_sums(self, z):
        step = max(SIGNED_ROWS, round(self.n_rows / self.n_sums))
        for start in range(0, len(z), step):
            part = z[start : start + step]
            n_sums = max(round(self.n_sums / self.n_rows * len(part)), 1)
            signs = self._rng.integers(0, 2, (n_sums, len(part)), dtype=np.int8) * 2.0 - 1
            self._sums.append((signs @ part) / np.sqrt(n_sums))
        if sum(map(len, self._sums)) >= BUFFER:
            self._multiply_sums()

    def _multiply_sums(self):
        self._multiply(np.concatenate(self._sums))
        self._sums = []

    def _multiply(self, rows):
        if self.total is None:
            self.total = np.zeros((self.n_coordinates, self.n_coordinates))
        self.total += transposed_product(rows, rows)

    def fill(self, parts, weight, l2):
        """Take in all rows, of several parts, and get ready; unless another target has."""
        if self.solve is not None:
            return
        blocks = partial(dense_blocks, parts)
        if self.cheap or l2.any() or not self.exact or self.n_rows >= self.n_coordinates:
            for rows in parts:
                for z, _, row_weight in rows.chunks():
                    self.add(z, row_weight)
            self.finish(weight, l2, blocks)
        else:  # products would not help
            self._by_rows(blocks, weight, l2)

    def finish(self, weight, l2, blocks=None):
        """Take the rows for all: get ready to solve with the Hessian of mean loss and penalty.

        Where the products of exact rows are ill-conditioned, they have lost digits which the
        rows have, so it is factorize_damped by orthogonal transformations of the rows themselves.

        Parameters
        ----------
        weight : float
            Sum of the weights.
        l2 : ndarray of shape (n_coordinates,)
        blocks : callable or None
            Returns an iterable of dense rows, times the roots of their weights, with the same
            products; None if the products are all there is.
        """
        if not self.exact and self._sums:
            self._multiply_sums()
        self.total /= weight
        self.size = self.total.trace()
        self.total.flat[:: self.n_coordinates + 1] += l2
        rank = self.n_coordinates if l2.any() else min(self.n_rows, self.n_coordinates)
        if self.exact and blocks is not None:
            pivot_ratio = WELL_CONDITIONED if self.cheap else PIVOT_RATIO
            self.solve, self.sure = cholesky_solver(self.total.copy(), rank, pivot_ratio)
            if not self.sure:
                self._by_rows(blocks, weight, l2)
        else:
            self.solve, sure = factorize_hessian(self.total.copy(), rank)
            self.sure = sure and self.exact

    def _by_rows(self, blocks, weight, l2):
        self.factor = rows = triangular_factor(blocks()) / np.sqrt(weight)
        self.size = np.vdot(rows, rows)
        if l2.any():
            rows = triangular_factor([rows, np.diag(np.sqrt(l2))])
        solver = LeastSquares(rows)
        self.solve, self.project = solver.solve_normal, solver.project

    @staticmethod
    def project(theta):
        """Project on the directions that the rows have: all, as far as is known."""
        return theta


def dense_blocks(parts):
    """Yield the rows of several parts, dense and times the roots of their weights."""
    for rows in parts:
        for chunk, _, weight in rows.chunks():
            for z, part in chunk.dense_blocks(weight):
                yield z.copy() if part is None else z * np.sqrt(part)[:, np.newaxis]
