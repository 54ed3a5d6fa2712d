"""The design matrix of a fitted model: a column of ones, and the columns of X less their means.

In these coordinates covariances lose no digits where columns are far from zero.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrcon, dtrtri

from ..data.layouts import pieces
from ..data.one_pass import MIN_TILE_ROWS
from ..linalg.blocks import chunk_rows, slices
from ..linalg.least_squares import DEPENDENT
from ..linalg.triangular import triangular_factor

# Squared pivot of a Cholesky factor, relative to its diagonal entry, above which products of
# columns have lost at most about 8 of their 16 digits.
MIN_PIVOT = 1e-7


class Design(NamedTuple):
    """Coordinates of the rows of X, one for each coefficient, that of the intercept first."""

    centre: np.ndarray  # taken off the columns; zeros without an intercept
    fit_intercept: bool

    @property
    def size(self):
        """Number of coefficients, with the intercept."""
        return len(self.centre) + self.fit_intercept

    @property
    def chunk_rows(self):
        """Number of rows that are multiplied at a time."""
        return max(chunk_rows(self.size), MIN_TILE_ROWS)

    def theta(self, coef, intercept):
        """Return the coefficients: the prediction at the centre first, if there is an intercept."""
        if not self.fit_intercept:
            return coef
        return np.append(intercept + self.centre @ coef, coef)

    def chunks(self, X, part):
        """Yield rows of the design, overwritten by the next, and the slice of rows they are.

        They cover a slice of the rows of X, which is as in `pieces`.
        """
        z = np.ones((self.chunk_rows, self.size))
        for piece, rows in pieces(X, part, len(z)):
            for within in slices(len(rows), len(z)):
                x = rows[within]
                np.subtract(x, self.centre, out=z[: len(x), self.fit_intercept :])
                yield z[: len(x)], slice(piece.start + within.start, piece.start + within.stop)

    def in_units_of_data(self, covariance):
        """Return the covariance of intercept and coef from that of `theta`."""
        if not self.fit_intercept:
            return covariance
        transform = np.eye(self.size)
        transform[0, 1:] = -self.centre
        return transform @ covariance @ transform.T


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
