"""Fewer rows than columns: the optimum by what each row lacks.

With a penalty ``l2 coef**2 / 2`` on each coefficient, the optimum of squared error is a sum of
rows (dual ridge regression: Saunders, Gammerman & Vovk, 1998)::

    coef = X' a / l2          (K + W) a = y          K = X X' / l2

X and y centred and times the roots of the weights, W the sum of the weights: a are the residuals
over W. Whatever a is, with ``rest = y - (K + W) a`` the objective of its coef is at most
``rest**2 / (2 W)`` above the least, for that is the gap between the objective and its dual.

There are as few unknowns as rows. Of few dense rows K + W is summed up and factorised. Of sparse
ones, what a product with K reads and writes here and there, column by column, stays in the cache;
and rows seldom share a rare column: near K + W is a matrix M that takes the columns of the largest
variance as they are, and the others as if no rows shared them and rows were more alike. Conjugate
gradients preconditioned by M take some 25 steps where they would take hundreds.
"""

from math import sqrt

import numpy as np
from scipy.linalg.blas import dsymv, dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse import csc_array, issparse

from ..data.csr import FAR
from ..data.sorted_csc import CentredColumns, OtherColumns
from ..linalg.blas import blas_threads
from ..linalg.blocks import chunk_rows, slices
from ..linalg.hessian_estimate import COORDINATES
from ..model.cross_products import STREAM_GRAM_FEATURES
from .base import EpochResult
from .search import LEAST_TOL

DUAL_PIVOT_ROUNDING = 1e-14  # of a diagonal entry: what is left of it in a factor may be wrong
FEW_ROWS = COORDINATES - 1  # beyond, a matrix of either rows or columns is too large to keep
BLOCK_COLUMNS = 256  # at least so many added at a time, as each time all of the matrix is read
COPIED = 16  # entries a column, up to which a copy of them takes no more memory than some vectors
SHARED = 1000  # columns that M takes as they are, at most,
SHARED_WORK = 20.0  # products for each entry of X that this may cost
FLATTENED = 0.8  # power of the diagonal, as the rest counts long rows and short ones alike
DUAL_STEPS = 60  # an epoch, at most


def wide(X):
    """Whether there are at most as many rows as columns.

    Of columns so few that a stream goes on from their products, a fit sums up these.
    """
    n_rows, n_features = X.shape
    return n_features >= max(n_rows, STREAM_GRAM_FEATURES + 1)


def few_dense_rows(X):
    """Whether they are so few that a matrix of them costs less than one of columns."""
    return not issparse(X) and wide(X) and X.shape[0] <= FEW_ROWS


def centred_parts(X, centre, root):
    """Yield slices of dense columns, and these, centred and weighted; some megabytes at a time."""
    n_rows, n_features = X.shape
    for part in slices(n_features, max(chunk_rows(n_rows), BLOCK_COLUMNS)):
        z = X[:, part] - centre[part]
        z *= root[:, np.newaxis]
        yield part, z


def add_row_products(z, matrix, factor=1.0):
    """Add factor * z @ z.T to the lower triangle of a matrix in Fortran's order."""
    dsyrk(factor, z.T, 1.0, matrix, trans=True, lower=True, overwrite_c=True)


def kind_of_system(X, settings):
    """Return the class of a system of rows that serves such rows and settings, or None."""
    searches = settings.average and settings.quadratic and settings.implicit
    if not (searches and settings.l2 > 0):
        return None
    if not issparse(X):
        return DenseSystem if few_dense_rows(X) else None
    serves = wide(X) and X.shape[1] >= COORDINATES and X.nnz <= COPIED * X.shape[1]
    return SparseSystem if serves else None


class DualSystem:
    """K + W of the rows, and M near it; see the module.

    Attributes
    ----------
    root : ndarray of shape (n_rows,)
        Of the weights.
    weight : float
        W.
    centre : ndarray of shape (n_features,)
        Mean of each column; zeros without intercept.
    definite : bool
        Whether M is, in spite of rounding errors.
    """

    def __init__(self, X, sample_weight, mean, settings):
        self.l2 = settings.l2
        self.centre = mean if settings.fit_intercept else np.zeros(len(mean))
        self.root = np.ones(X.shape[0]) if sample_weight is None else np.sqrt(sample_weight)
        self.weight = float(self.root @ self.root)

    def _factorise(self, matrix):
        """Cholesky; where a matrix is nearly singular, rounding errors are all that is left."""
        self.factor, failed = dpotrf(matrix, lower=True)
        with np.errstate(over="ignore"):  # of what has not been factorize_damped
            left = self.factor.diagonal() ** 2 > DUAL_PIVOT_ROUNDING * matrix.diagonal()
        self.definite = not failed and left.all()

    @classmethod
    def of(cls, X, sample_weight, moments, settings):
        """Return the system of rows with these moments, or None where it is of no use."""
        spread = moments.variance(settings.fit_intercept)
        if not spread.any():
            return None
        with blas_threads(X.shape[1], cls.size(X)):
            system = cls(X, sample_weight, moments.mean, spread, settings)
        return system if system.definite else None


class DenseSystem(DualSystem):
    """Of rows so few that K + W itself is summed up: M is the same."""

    def __init__(self, X, sample_weight, mean, spread, settings):
        super().__init__(X, sample_weight, mean, settings)
        self.X = X
        self.matrix = np.diag(np.full(len(self.root), self.weight)).T  # its lower triangle is used
        for _, z in centred_parts(X, self.centre, self.root):
            add_row_products(z, self.matrix, 1 / self.l2)
        self._factorise(self.matrix)

    @staticmethod
    def size(X):
        """Of the matrix to be factorize_damped, at most."""
        return len(X)

    def times(self, values):
        """Multiply with K + W."""
        return dsymv(1.0, self.matrix, values, lower=True)

    def solve(self, values):
        """Multiply with the inverse of M."""
        return dpotrs(self.factor, values, lower=True)[0]

    def beside(self, values):
        """Multiply with K + W - M."""
        return 0.0

    def coef(self, values):
        """The coefficients that are this sum of rows."""
        parts = centred_parts(self.X, self.centre, self.root)
        return np.concatenate([values @ z for _, z in parts]) / self.l2


class SparseSystem(DualSystem):
    """Of sparse rows, given as `SortedColumns`."""

    def __init__(self, X, sample_weight, mean, spread, settings):
        super().__init__(X, sample_weight, mean, settings)
        self.order = X.order
        centre, largest = self.centre[X.order], self._largest(X, spread[X.order])
        self.columns = CentredColumns(*self._near(X.columns, centre, spread[X.order]))
        self.shared = self.columns.few(largest)
        self.others = OtherColumns(self.columns, largest)
        own = self.others.squares() / self.l2 + self.weight  # the diagonal beside shared columns
        self.own = own**FLATTENED * np.median(own) ** (1 - FLATTENED)
        matrix = self.shared.gram(1 / self.own)
        matrix.flat[:: len(largest) + 1] += self.l2
        self._factorise(matrix.T)

    @staticmethod
    def size(X):
        """Of the matrix to be factorize_damped, at most."""
        return SHARED

    def _near(self, columns, centre, spread):
        """Centre what is far from zero in every row; return the columns, the root, and the rest.

        Products with such a column are differences of large numbers; of others, see `recentred`.
        """
        data, near = columns.data, centre.copy()
        for j in np.flatnonzero(np.abs(centre) > FAR * np.sqrt(spread)):
            part = slice(columns.indptr[j], columns.indptr[j + 1])
            root = self.root[columns.indices[part]]
            if np.count_nonzero(root) == np.count_nonzero(self.root):
                data = data.copy() if data is columns.data else data
                data[part] -= centre[j] * root
                near[j] = 0.0
        columns = csc_array((data, columns.indices, columns.indptr), shape=columns.shape)
        return columns, self.root, near

    @staticmethod
    def _largest(X, spread):
        """The columns to be taken as they are."""
        largest = np.argpartition(-spread, min(SHARED, len(spread) - 1))[:SHARED]
        largest = largest[np.argsort(-spread[largest])]
        entries = np.cumsum(X.frequency[largest])
        largest = largest[: np.searchsorted(entries, sqrt(SHARED_WORK * X.shape[0] * X.nnz))]
        return np.sort(largest[spread[largest] > 0])

    def solve(self, values):
        """Multiply with the inverse of M (Woodbury)."""
        own = values / self.own
        along, _ = dpotrs(self.factor, self.shared.rmatvec(own), lower=True)
        return own - (self.shared @ along) / self.own

    def beside(self, values):
        """Multiply with K + W - M: what rows share of the other columns."""
        return self.others.products(values) / self.l2 - (self.own - self.weight) * values

    def times(self, values):
        """Multiply with K + W."""
        shared = self.shared @ self.shared.rmatvec(values)
        return (shared + self.others.products(values)) / self.l2 + self.weight * values

    def coef(self, values):
        """The coefficients that are this sum of rows."""
        coef = np.empty(len(self.order))
        coef[self.order] = self.columns.rmatvec(values / self.l2)
        return coef


class DualEpoch:
    """Conjugate steps to the optimum, without a sweep; the distance is that of `SearchingEpoch`.

    Parameters
    ----------
    rows : Rows
    system : DualSystem
        Of these rows; several targets share it.
    tol : float
        The distance to be reached.
    """

    def __init__(self, rows, system, tol):
        self.scaling, self.system, self.tol = rows.scaling, system, tol
        self.mean = (system.root**2 @ rows.y) / system.weight if self.scaling.scale[-1] else 0.0
        self.y = system.root * (rows.y - self.mean)
        self.point, self.rest = np.zeros(len(self.y)), self.y

    def run(self, theta, sweep):
        """Return the new model, its loss and its distance."""
        system = self.system
        with blas_threads(*system.factor.shape):
            self.point = self._steps()
        self.rest = self.y - system.times(self.point)  # without the rounding errors of the steps
        gap, loss = self._gap(self.point, self.rest)
        coef = system.coef(self.point)
        theta = self.scaling.to_scaled(coef, self.mean - system.centre @ coef)
        return EpochResult(theta, loss, sqrt(gap / loss) if loss > 0 else None)

    def _gap(self, point, rest):
        """How far the objective may be from the least, and the objective."""
        weight = self.system.weight
        residual = rest + weight * point
        loss = residual @ residual / weight + point @ (self.y - residual)
        return rest @ rest / weight / 2, loss / 2

    def _steps(self):
        """Conjugate gradients; return the point of the least gap in their span, step by step."""
        system, enough = self.system, max(self.tol, LEAST_TOL) ** 2
        best, best_rest = point, rest = self.point, self.rest
        direction, near, last = 0.0, 0.0, np.inf
        for _ in range(DUAL_STEPS):
            gap, loss = self._gap(best, best_rest)
            if gap <= enough * loss:
                break
            towards = system.solve(rest)
            square = rest @ towards
            direction = towards + square / last * direction
            near = rest + square / last * near  # M direction, without a product
            image = near + system.beside(direction)
            length = square / (direction @ image)
            point, rest, last = point + length * direction, rest - length * image, square
            change = rest - best_rest
            share = -(change @ best_rest) / (change @ change)
            best, best_rest = best + share * (point - best), best_rest + share * change
        return best
