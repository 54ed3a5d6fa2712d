"""The design matrix of a fitted model: a column of ones, and the columns of X less their means.

In these coordinates covariances lose no digits where columns are far from zero.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrcon, dtrtri

from ..data.layouts import Places, pieces
from ..data.one_pass import MAX_TILE_ROWS, MIN_TILE_ROWS
from ..kernels.products import add_cross_products
from ..linalg.blocks import chunk_rows, slices
from ..linalg.least_squares import DEPENDENT
from ..linalg.triangular import WELL_CONDITIONED, triangular_factor

# Squared pivot of a Cholesky factor, relative to its diagonal entry, above which products of
# columns have lost at most about 8 of their 16 digits.
MIN_PIVOT = 1e-7


class Design(NamedTuple):
    """Coordinates of the rows of X, one for each coefficient, that of the intercept first.

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
        Taken off the columns; zeros without an intercept.
    fit_intercept : bool
        Whether there is a column of ones.
    near : bool
        Whether columns are so near to zero that sums over their rows lose few digits; the centre
        then is taken off the sums.
    """

    centre: np.ndarray
    fit_intercept: bool
    near: bool

    @property
    def size(self):
        """Number of coefficients, with the intercept."""
        return len(self.centre) + self.fit_intercept

    @property
    def chunk_rows(self):
        """Number of rows that are multiplied at a time."""
        return min(max(chunk_rows(self.size), MIN_TILE_ROWS), MAX_TILE_ROWS)

    def theta(self, coef, intercept):
        """Return the coefficients: the prediction at the centre first, if there is an intercept."""
        if not self.fit_intercept:
            return coef
        return np.append(intercept + self.centre @ coef, coef)

    def chunks(self, X, part):
        """Yield some of the rows of a slice at a time, and the slice of all rows that they are.

        Parameters
        ----------
        X : see `pieces`
        part : slice

        Yields
        ------
        rows : DesignRows
            Overwritten by the next ones.
        numbers : slice
        """
        step = self.chunk_rows
        shift, buffer = (self.centre if self.near else np.zeros_like(self.centre)), None
        for piece, rows in pieces(X, part, step):
            for within in slices(len(rows), step):
                x = rows[within]
                if not self.near:
                    buffer = np.empty((step, len(self.centre))) if buffer is None else buffer
                    x = np.subtract(x, self.centre, out=buffer[: len(x)])
                numbers = slice(piece.start + within.start, piece.start + within.stop)
                yield DesignRows(x, shift, self.fit_intercept), numbers

    def in_units_of_data(self, covariance):
        """Return the covariance of intercept and coef from that of `theta`."""
        if not self.fit_intercept:
            return covariance
        transform = np.eye(self.size)
        transform[0, 1:] = -self.centre
        return transform @ covariance @ transform.T


class DesignRows(NamedTuple):
    """Some rows z of a design: a one, if there is an intercept, and x less a shift.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_features)
    shift : ndarray of shape (n_features,)
        What is still to be taken off.
    fit_intercept : bool
    """

    x: np.ndarray
    shift: np.ndarray
    fit_intercept: bool

    def dense(self):
        """Return z as an array."""
        z = np.ones((len(self.x), len(self.shift) + self.fit_intercept))
        np.subtract(self.x, self.shift, out=z[:, self.fit_intercept :])
        return z

    def __matmul__(self, points):
        slopes = points[self.fit_intercept :]
        constant = np.dot(self.shift, slopes)
        constant = points[0] - constant if self.fit_intercept else -constant
        return np.dot(self.x, slopes) + constant

    def rmatvec(self, values):
        """Return the sum of z times values, one for each row."""
        total = values.sum()
        sums = np.dot(values, self.x) - total * self.shift
        return np.append(total, sums) if self.fit_intercept else sums

    def add_gram(self, weight, sums):
        """Add weight z z' to sums that `gram_of` understands; None before the first."""
        n_features = len(self.shift)
        if sums is None:
            sums = np.zeros((n_features + 2, n_features + 1)), np.zeros(1)
        target = np.zeros((len(self.x), 1))  # the kernel multiplies with one at least
        shift = np.append(self.shift, 0.0)
        add_cross_products(Places.of(self.x), (target, weight), shift, len(self.x), sums)
        return sums


def gram_of(sums, fit_intercept):
    """Return the products that `DesignRows.add_gram` has summed up, as a symmetric matrix."""
    if sums is None:
        return 0.0
    products = sums[0][:-1]
    products += np.triu(products, 1).T
    if not fit_intercept:
        return products[:-1, :-1]
    return np.roll(products, 1, axis=(0, 1))


def inverse_factor(upper, names):
    """Return the inverse of a triangular factor of the design; raise if columns are dependent."""
    norm = np.linalg.norm(upper, axis=0)
    pivots = np.abs(upper.diagonal())
    unit = upper / np.where(norm > 0, norm, 1.0)
    if not (pivots > DEPENDENT * norm).all() or dtrcon(unit)[0] <= DEPENDENT:
        smallest = np.argmin(np.divide(pivots, norm, out=np.zeros(len(norm)), where=norm > 0))
        dependent = np.flatnonzero(pivots <= DEPENDENT * norm)
        raise _dependent(dependent if len(dependent) else [smallest], names)
    return dtrtri(unit)[0] / norm[:, np.newaxis]


def refuse_constant(variance, names):
    """Raise if columns are constant; names are of the columns, or of the intercept and these."""
    constant = np.flatnonzero(variance == 0)
    if len(constant):
        raise _dependent(constant + len(names) - len(variance), names)


def _dependent(columns, names):
    """Return the error for columns that have no coefficients of their own."""
    listed = ", ".join(repr(names[j]) for j in columns[:5]) + (", ..." * (len(columns) > 5))
    return ValueError(
        f"Columns are constant, or combinations of those before them: {listed}. Their "
        "coefficients are not determined, and have no standard errors. Leave these columns "
        'out, as OneHotEncoder(drop="first") does, or the intercept.'
    )


def is_well_conditioned(upper):
    """Return whether products of the columns of a triangular factor lose few digits."""
    return bool((upper.diagonal() ** 2 > WELL_CONDITIONED * (upper**2).sum(axis=0)).all())


def factor_of_gram(gram):
    """Return the triangular factor of products of columns; None where they have lost digits."""
    norm = np.sqrt(np.maximum(gram.diagonal(), 0.0))
    if not norm.all():
        return None
    factor, failed = dpotrf(gram / np.multiply.outer(norm, norm))
    if failed or (factor.diagonal() ** 2 <= MIN_PIVOT).any():
        return None
    return factor * norm


def factor_of_blocks(blocks):
    """Return the triangular factor of rows, read block after block, as a square matrix."""
    factor = triangular_factor(blocks)
    square = np.zeros((factor.shape[1], factor.shape[1]))
    square[: len(factor)] = factor
    return square
