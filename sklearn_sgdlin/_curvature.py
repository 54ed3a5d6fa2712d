"""What is known of the Hessian H of squared error: a matrix near it, or its least eigenvalue.

Where columns are few, H is summed up in the pass that takes the gradient. Where they are many,
conjugate gradients need just products with H, as long as its eigenvalues are not far apart, which
a few Lanczos steps tell. Where they are, H is sketched by random signed sums of rows; the inverse
of the sketch is a preconditioner, and measures how far the optimum is.
"""

from functools import partial

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, pinvh, qr
from scipy.linalg.lapack import (  # as cho_factor, but in no time where d is small
    dpotrf,
    dpotrs,
    dtpqrt,
    dtrcon,
    dtrtrs,
)

from ._threads import transposed_product

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
PANEL = 16  # columns, that are eliminated together
FACTOR_ROWS = 3  # per coordinate, that are factorised together
PIVOT_RATIO = 1e-7  # of a column's own square: rounding errors are below 1e-8 of a step
WELL_CONDITIONED = 1e-3  # the same, where it costs little to do better: products lose 3 digits
RANK_TOLERANCE = 1e-12  # relative eigenvalue below which a direction is a combination of others
DEPENDENT = 1e-13  # relative singular value of the rows below which there is no such direction
TINY = np.finfo(np.float64).tiny  # the square of a column without a part in anything
LANCZOS_STEPS = 7  # worth while to learn the least eigenvalue
LUCK = 0.05  # of a fair part of the random vector: it may have so little in a direction
RITZ_LEFT = 0.8  # of the least Ritz value, that the least eigenvalue may be


class CurvatureSketch:
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
        for z, part in chunk.parts(weight):
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
        rows have, so it is factorised by orthogonal transformations of the rows themselves.

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
            self.solve, sure = inverse_of(self.total.copy(), rank)
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
            for z, part in chunk.parts(weight):
                yield z.copy() if part is None else z * np.sqrt(part)[:, np.newaxis]


def triangular_factor(blocks):
    """Return the triangular factor R of a QR decomposition of rows, block after block.

    It has the singular values of the rows, to rounding errors of the largest. Products of the
    rows have their squares, and lose half of their digits. Fewer rows than columns are
    returned as they are.
    """
    factor, stack, n_stacked = None, [], 0
    for block in blocks:
        stack.append(block)
        n_stacked += len(block)
        if n_stacked >= FACTOR_ROWS * block.shape[1]:
            factor, stack, n_stacked = _appended(factor, stack), [], 0
    if factor is None and n_stacked < stack[0].shape[1]:
        return np.concatenate(stack)
    return _appended(factor, stack) if stack else factor


def _appended(factor, stack):
    rows = np.asfortranarray(stack[0] if len(stack) == 1 else np.concatenate(stack))
    n_columns = rows.shape[1]
    factor = np.zeros((n_columns, n_columns), order="F") if factor is None else factor
    return append_rows(factor, rows)


def append_rows(factor, rows):
    """Return the triangular factor of the rows of a triangular factor and of some more.

    Parameters
    ----------
    factor : F-ordered ndarray of shape (n_columns, n_columns)
        Upper triangular; overwritten.
    rows : F-ordered ndarray of shape (n_rows, n_columns)
        Overwritten.
    """
    return dtpqrt(0, min(PANEL, len(factor)), factor, rows, overwrite_a=True, overwrite_b=True)[0]


def factor_by_products(rows, n_first):
    """Return a triangular factor of rows by Cholesky, or None where that would lose digits.

    Only the first columns must be independent; the rest has no products with each other in it.
    """
    products = transposed_product(rows, rows)
    length = np.sqrt(products.diagonal())
    unit = np.divide(1.0, length, out=np.zeros(len(length)), where=length > 0)
    first = products[:n_first, :n_first] * np.multiply.outer(unit[:n_first], unit[:n_first])
    first.flat[:: n_first + 1] = 1.0
    factor, failed = dpotrf(first.T, overwrite_a=True)
    if failed or (factor.diagonal() ** 2 <= WELL_CONDITIONED).any():
        return None
    whole = np.zeros(products.shape, order="F")
    whole[:n_first, :n_first] = factor * length[:n_first]
    beside = unit[:n_first, np.newaxis] * products[:n_first, n_first:]
    whole[:n_first, n_first:], _ = dtrtrs(factor, beside, trans=1)
    square = products.diagonal()[n_first:] - (whole[:n_first, n_first:] ** 2).sum(axis=0)
    whole[range(n_first, len(whole)), range(n_first, len(whole))] = np.sqrt(np.maximum(square, 0.0))
    return whole


class LeastSquares:
    """The pseudo-inverse of rows A, by orthogonal transformations.

    Directions whose singular value, in columns of equal length, is below `DEPENDENT` of the
    largest are combinations of others but for rounding errors: they count as not there, so the
    solution is the shortest in these columns.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_coordinates)
        A, with no more rows than columns; triangular where it is square.
    """

    def __init__(self, rows):
        length = np.linalg.norm(rows, axis=0)
        self.length, self.unit = length, np.zeros(len(length))
        np.divide(1.0, length, out=self.unit, where=length > 0)
        rows = rows * self.unit
        square, gone = rows.shape[0] == rows.shape[1], length == 0
        if square and gone.any() and not rows[gone].any():
            rows[gone, gone] = 1.0  # columns without a part in anything
        # A / length = left factor basis', with a triangular factor, and None for the identity.
        self.left, self.factor, self.basis, self.lower = None, rows, None, False
        if square and _independent(rows):
            return
        self.lower = True
        if not square:
            self._transpose(rows)
        if square or not _independent(self.factor.T):
            left, pivoted, order = qr(rows, mode="economic", pivoting=True, check_finite=False)
            size = np.abs(pivoted.diagonal())
            rank = int((size > DEPENDENT * size.max(initial=0.0)).sum())
            self.left = left[:, :rank]
            self._transpose(pivoted[:rank, np.argsort(order)])

    def _transpose(self, rows):
        self.basis, upper = np.linalg.qr(rows.T)
        self.factor = upper.T

    def _divide(self, values, transposed):
        if not len(values):
            return values
        return dtrtrs(self.factor, values, lower=self.lower, trans=transposed)[0]

    def solve(self, values):
        """Multiply with the pseudo-inverse of A."""
        values = values if self.left is None else self.left.T @ values
        along = self._divide(values, False)
        return self.unit * (along if self.basis is None else self.basis @ along)

    def solve_normal(self, gradient):
        """Multiply with the pseudo-inverse of A'A."""
        along = self.unit * gradient
        along = along if self.basis is None else self.basis.T @ along
        along = self._divide(self._divide(along, True), False)
        return self.unit * (along if self.basis is None else self.basis @ along)

    def project(self, theta):
        """Project on the directions that the rows have."""
        if self.basis is None:
            return theta
        return self.unit * (self.basis @ (self.basis.T @ (self.length * theta)))


def _independent(upper):
    """Whether a triangular matrix is not singular but for rounding errors, about."""
    return len(upper) > 0 and bool(upper.diagonal().all()) and dtrcon(upper)[0] > DEPENDENT


def cholesky_solver(hessian, rank, pivot_ratio):
    """Return a function that multiplies with the inverse, and whether it is well-conditioned.

    That it is where no pivot is below a ratio of its diagonal entry. The function is None where
    there is no Cholesky factor.
    """
    n_coordinates = len(hessian)
    if rank < n_coordinates:
        return None, False
    diagonal = hessian.diagonal().copy()
    hessian.flat[:: n_coordinates + 1] = (1 + RANK_TOLERANCE) * diagonal + TINY
    factor, failed = dpotrf(hessian.T, clean=False, overwrite_a=True)
    if failed:
        return None, False
    sure = bool((factor.diagonal() ** 2 > pivot_ratio * diagonal).all())
    return lambda gradient: dpotrs(factor, gradient)[0], sure


def inverse_of(hessian, rank):
    """Return a function that multiplies with the (pseudo-)inverse of a Hessian of some rank.

    And whether it is well-conditioned, as far as the pivots tell.
    """
    n_coordinates = len(hessian)
    solve, sure = cholesky_solver(hessian.copy(), rank, PIVOT_RATIO)
    if solve is not None:
        return solve, sure
    if rank > n_coordinates // 2:
        inverse = pinvh(hessian, rtol=RANK_TOLERANCE)
        return lambda gradient: inverse @ gradient, False
    # Few rows: all they span shows in the images of as many random vectors.
    vectors = np.random.default_rng(0).standard_normal((n_coordinates, rank))
    basis, _ = np.linalg.qr(hessian @ vectors)
    inverse = pinvh(basis.T @ hessian @ basis, rtol=RANK_TOLERANCE)
    return lambda gradient: basis @ (inverse @ (basis.T @ gradient)), False


class LeastCurvature:
    """The least eigenvalue of a Hessian, by Lanczos steps from a random vector.

    A random vector has a part in every direction. Below other eigenvalues from a to b, one near
    zero shows in the Ritz values after k more steps, if its direction has a larger part than
    ``1 / cosh(k * arccosh((b + a) / (b - a)))``, the size from a to b of a polynomial of degree k
    that is 1 at zero (Kuczynski & Wozniakowski, 1992). So where eigenvalues are not far apart, it
    is soon known that there is none.

    Parameters
    ----------
    n_coordinates, seed : int

    Attributes
    ----------
    vector : ndarray of shape (n_coordinates,)
        The next one to multiply with.
    value : float or None
        A lower bound, once a lower eigenvalue would have shown.
    far : bool
        Whether eigenvalues are so far apart that it is not worth while to go on.
    """

    def __init__(self, n_coordinates, seed):
        vector = np.random.default_rng(seed).standard_normal(n_coordinates)
        self.vector = vector / np.linalg.norm(vector)
        self.value, self.far = None, False
        self._last = np.zeros(n_coordinates)
        self._diagonal, self._beside = [], [0.0]

    @property
    def open(self):
        """Whether neither is known."""
        return self.value is None and not self.far

    def add(self, image):
        """Take in H times the vector, and go on to the next one."""
        self._diagonal.append(self.vector @ image)
        image = image - self._diagonal[-1] * self.vector - self._beside[-1] * self._last
        ritz = eigvalsh_tridiagonal(self._diagonal, self._beside[1:])
        self._beside.append(np.linalg.norm(image))
        self._last, self.vector = self.vector, image / (self._beside[-1] or 1.0)
        self._judge(ritz)

    def _judge(self, ritz):
        least, largest, steps = max(ritz[0], 0.0), ritz[-1], np.inf
        part = LUCK / np.sqrt(len(self.vector))
        if least > 0 and self._beside[-1] <= RANK_TOLERANCE * largest:
            steps = 0  # these are all there are
        elif largest > least > 0:
            steps = np.arccosh(1 / part) / np.arccosh((largest + least) / (largest - least))
        self.far = len(ritz) > 1 and steps >= LANCZOS_STEPS
        if steps <= len(ritz) - 1:
            self.value = RITZ_LEFT * least
