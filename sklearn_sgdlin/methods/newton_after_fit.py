"""What a stream of any other loss than squared error goes on with after a fit: `NewtonSums`.

Few rows are kept as they are, as those at the beginning of a stream. For many rows stands a
quadratic function around the optimum: the variances of the columns are those of all rows, and a
sample of rows gives the correlations of the columns and the curvature of the loss.
"""

from math import inf

import numpy as np
from scipy.sparse import issparse

from ..linalg.blocks import divided
from ..model.cross_products import CrossProducts
from ..model.moments import Moments
from .newton_stream import (
    CURVATURE_ROWS,
    FIRST_OPTIMUM_ROWS,
    NewtonSums,
    clear_residuals,
    kept_rows,
    mean_curvature,
)

# Numbers of few rows that are kept after a fit, and of a sample of more rows, which is large enough
# for extreme quantiles. The sums that stand for more rows take as many numbers at most.
MAX_KEPT_NUMBERS = 1 << 16


def rows_of_fit(settings, n_features, sample_weight, n_rows, seed):
    """Return the numbers of the rows to go on with, and whether these are all rows.

    Rows of a sample are as frequent as their weights say, and count alike.

    Parameters
    ----------
    settings : Settings
    n_features : int
    sample_weight : ndarray of shape (n_rows,) or None
    n_rows : int
        Number of rows of the fit.
    seed : int
        Of the sample.
    """
    share = None if sample_weight is None else sample_weight / sample_weight.sum()
    counted = np.arange(n_rows) if share is None else np.flatnonzero(share)
    few = len(counted) < kept_rows(settings.loss, n_features)[1]
    if few and len(counted) * (n_features + 1) <= MAX_KEPT_NUMBERS:
        return counted, True
    size = max(FIRST_OPTIMUM_ROWS * (n_features + 1), MAX_KEPT_NUMBERS // (n_features + 1))
    size = min(size, len(counted))
    rng = np.random.default_rng(seed)
    return rng.choice(n_rows, size, replace=share is not None, p=share), False


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is not used
def with_sums_of_fit(settings, chunk, state, complete):
    """Return the state of a fit with the `NewtonSums` of its rows.

    Parameters
    ----------
    settings : Settings
    chunk : Chunk
        Rows of the fit, see `rows_of_fit`.
    state : State
    complete : bool
        Whether these are all rows.
    """
    sums = NewtonSums(settings.loss, (), int(state.moments.rows), 0, None, 0.0, np.empty(0))
    if complete:
        return state._replace(newton=sums._replace(kept=(chunk.kept(),)))
    loss, coef, intercept = settings.loss, state.returned_coef, state.returned_intercept
    columns = state.moments.of_columns(slice(-1))
    residual = chunk.y - (chunk.X @ coef + intercept)
    clear = clear_residuals(loss, residual, len(coef) + 1)
    curvature = mean_curvature(loss, clear, chunk.y - residual)
    hessian = curvature * _products(columns, chunk.X)
    if not np.isfinite(hessian).all():
        return state  # y hardly varies, which says nothing of the loss of other rows
    sample_gradient = chunk.X.T @ loss.multiplier(residual) / len(residual)
    gradient = _gradient_at_optimum(settings, coef, sample_gradient)
    slope = hessian @ coef + columns.weight * gradient
    moments = Moments(
        columns.rows,
        curvature * columns.weight,
        np.append(columns.mean, columns.mean @ coef + intercept),
        np.append(hessian.diagonal(), coef @ hessian @ coef),
    )
    sums = sums._replace(
        cross_products=CrossProducts(moments, None, np.column_stack([hessian, slope])),
        weight=columns.weight,
        residuals=clear[-CURVATURE_ROWS:],
    )
    return state._replace(newton=sums)


def _products(columns, X):
    """Return sums of the products of centred columns, with the correlations of some rows.

    A column that is constant in these rows counts as uncorrelated.

    Parameters
    ----------
    columns : Moments
        Of all rows.
    X : ndarray or CSR matrix of shape (n_rows, n_features)
    """
    norm = np.sqrt(columns.sum_of_squares)
    deviation = ((X.toarray() if issparse(X) else X) - columns.mean) * divided(1.0, norm)
    products = deviation.T @ deviation
    norm *= divided(1.0, np.sqrt(products.diagonal()))
    products *= np.multiply.outer(norm, norm)
    np.fill_diagonal(products, columns.sum_of_squares)
    return products


def _gradient_at_optimum(settings, coef, sample_gradient):
    """Return the mean of the multipliers times x at the optimum, which the penalty balances.

    For coefficients of 0 it has bounds, and is estimated by that of a sample.
    """
    lower = -inf if settings.positive else -settings.l1
    balanced = settings.l2 * coef + settings.l1 * np.sign(coef)
    return np.where(coef == 0, np.clip(sample_gradient, lower, settings.l1), balanced)
