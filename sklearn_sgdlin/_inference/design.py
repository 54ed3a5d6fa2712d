"""The design matrix of a fitted model: a column of ones, and the columns of X less their means.

In these coordinates covariances lose no digits where columns are far from zero.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrcon, dtrtri

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
    """

    centre: np.ndarray
    fit_intercept: bool

    @property
    def size(self):
        """Number of coefficients, with the intercept."""
        return len(self.centre) + self.fit_intercept

    def theta(self, coef, intercept):
        """Return the coefficients: the prediction at the centre first, if there is an intercept."""
        if not self.fit_intercept:
            return coef
        return np.append(intercept + self.centre @ coef, coef)

    def rows(self, X, out):
        """Write the coordinates of rows of X, and return them."""
        np.subtract(X, self.centre, out=out[:, self.fit_intercept :])
        out[:, : self.fit_intercept] = 1.0
        return out

    def of_rows(self, X):
        """Yield slices of dense X, and the coordinates of these rows; the next overwrite them."""
        step = min(chunk_rows(self.size), len(X))
        buffer = np.empty((step, self.size))
        for part in slices(len(X), step):
            yield part, self.rows(X[part], buffer[: part.stop - part.start])

    def in_units_of_data(self, covariance):
        """Return the covariance of intercept and coef from that of `theta`."""
        if not self.fit_intercept:
            return covariance
        transform = np.eye(self.size)
        transform[0, 1:] = -self.centre
        return transform @ covariance @ transform.T


class DependentColumnsError(ValueError):
    """Columns are combinations of others, so their coefficients are not determined."""


def inverse_factor(upper, names):
    """Return the inverse of a triangular factor of the design; raise if columns are dependent."""
    norm = np.linalg.norm(upper, axis=0)
    pivots = np.abs(upper.diagonal())
    unit = upper / np.where(norm > 0, norm, 1.0)
    if not (pivots > DEPENDENT * norm).all() or dtrcon(unit)[0] <= DEPENDENT:
        smallest = np.argmin(np.divide(pivots, norm, out=np.zeros(len(norm)), where=norm > 0))
        dependent = np.flatnonzero(pivots <= DEPENDENT * norm)
        columns = dependent if len(dependent) else [smallest]
        listed = ", ".join(repr(names[j]) for j in columns[:5]) + (", ..." * (len(columns) > 5))
        raise DependentColumnsError(
            f"Columns are constant, or combinations of those before them: {listed}. Their "
            "coefficients are not determined, and have no standard errors. Leave these columns "
            'out, as OneHotEncoder(drop="first") does, or the intercept.'
        )
    return dtrtri(unit)[0] / norm[:, np.newaxis]


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
