"""Triangular factors: R with R'R = A'A, by orthogonal transformations or from products.

A factor found by orthogonal transformations of the rows of A has the singular values of A to
rounding errors of the largest one. The products A'A have their squares, so a factor found from
products has half as many digits for the smallest ones.
"""

import numpy as np
from scipy.linalg.lapack import dpotrf, dtpqrt, dtrtrs

from .blas import transposed_product
from .blocks import divided
from .factorization import RANK_TOLERANCE

# Columns of a panel of the blocked QR decomposition, LAPACK's block size `nb`. Smaller panels leave
# more of the work to slow matrix-vector products, larger ones do more work in all.
QR_PANEL_COLUMNS = 16

# Rows per column that are collected before one QR decomposition. With fewer, most of the work would
# be to transform the factor so far again and again; more would need more memory.
QR_ROWS_PER_COLUMN = 3

# Squared pivot of a Cholesky factor, relative to its diagonal entry, up to which orthogonal
# transformations of the rows replace their products, where these cost little. Above it the products
# lose at most about 3 of their 16 digits.
WELL_CONDITIONED = 1e-3


def triangular_factor(blocks):
    """Return the triangular factor R of the QR decomposition of rows, read block after block.

    Returns
    -------
    ndarray of shape (n_columns, n_columns) or (n_rows, n_columns)
        The factor; the rows themselves where they are fewer than columns.
    """
    factor, stack, n_stacked = None, [], 0
    for block in blocks:
        stack.append(block)
        n_stacked += len(block)
        if n_stacked >= QR_ROWS_PER_COLUMN * block.shape[1]:
            factor, stack, n_stacked = _append_blocks(factor, stack), [], 0
    if factor is None and n_stacked < stack[0].shape[1]:
        return np.concatenate(stack)
    return _append_blocks(factor, stack) if stack else factor


def _append_blocks(factor, blocks):
    """Return the triangular factor of a factor, or of nothing (None), and some blocks of rows."""
    rows = np.asfortranarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))
    n_columns = rows.shape[1]
    factor = np.zeros((n_columns, n_columns), order="F") if factor is None else factor
    return append_rows(factor, rows)


def append_rows(factor, rows):
    """Return the triangular factor of the rows of a triangular factor and of more rows.

    `factor` of shape (n_columns, n_columns): upper triangular; overwritten.
    `rows` of shape (n_rows, n_columns): overwritten.
    """
    n_panel = min(QR_PANEL_COLUMNS, len(factor))
    return dtpqrt(0, n_panel, factor, rows, overwrite_a=True, overwrite_b=True)[0]


def append_factor(factor, other):
    """Return the triangular factor of the rows of two triangular factors, both overwritten."""
    n_columns = len(factor)
    n_panel = min(QR_PANEL_COLUMNS, n_columns)
    return dtpqrt(n_columns, n_panel, factor, other, overwrite_a=True, overwrite_b=True)[0]


def factor_by_products(first, others):
    """Return a triangular factor of rows by Cholesky, or None where that would lose digits.

    Only the first columns must be independent. Of the other columns the factor has the products
    with the first ones and with themselves, but not with each other.

    `first` of shape (n_rows, n_first): its last column is the first one of the factor.
    `others` of shape (n_others, n_rows): the columns after those.
    """
    products, n_first = _products(first, others), first.shape[1]
    norm = np.sqrt(products.diagonal())
    inverse_norm = divided(1.0, norm)
    normalised = products[:n_first, :n_first]
    normalised = normalised * np.multiply.outer(inverse_norm[:n_first], inverse_norm[:n_first])
    normalised.flat[:: n_first + 1] = 1.0
    cholesky, failed = dpotrf(normalised.T, overwrite_a=True)
    if failed or (cholesky.diagonal() ** 2 <= WELL_CONDITIONED).any():
        return None
    factor = np.zeros(products.shape, order="F")
    factor[:n_first, :n_first] = cholesky * norm[:n_first]
    mixed = inverse_norm[:n_first, np.newaxis] * products[:n_first, n_first:]
    factor[:n_first, n_first:], _ = dtrtrs(cholesky, mixed, trans=1)
    square = products.diagonal()[n_first:] - (factor[:n_first, n_first:] ** 2).sum(axis=0)
    if (square <= WELL_CONDITIONED * products.diagonal()[n_first:]).any():
        coef, _ = dtrtrs(cholesky, factor[:n_first, n_first:])
        coef *= inverse_norm[:n_first, np.newaxis]
        residual = others - coef[1:].T @ first[:, :-1].T - coef[:1].T * first[:, -1]
        square = (residual**2).sum(axis=1)
    last = range(n_first, len(factor))
    factor[last, last] = np.sqrt(np.maximum(square, 0.0))
    return factor


def _products(first, others):
    """Return the products of all columns; of others with each other only the squares, else 0."""
    n_first, n_columns = first.shape[1], first.shape[1] + len(others)
    products = np.zeros((n_columns, n_columns))
    products[:n_first, :n_first] = transposed_product(first, first)
    products[:n_first, n_first:] = transposed_product(first, others.T)
    products.flat[n_first * (n_columns + 1) :: n_columns + 1] = [y @ y for y in others]
    order = np.append(n_first - 1, np.delete(np.arange(n_columns), n_first - 1))
    return products[order][:, order]


def factor_of_products(products):
    """Return a triangular factor of products that were summed up, by an eigendecomposition.

    Directions whose eigenvalue is a rounding error of the largest, in columns of norm 1, are left
    out.

    `products` of shape (n_first, n_columns): of the first columns, with all columns.

    Returns
    -------
    F-ordered ndarray of shape (n_columns, n_columns)
    """
    n_first, n_columns = products.shape
    norm = np.sqrt(np.maximum(products.diagonal(), 0.0))
    inverse_norm = divided(1.0, norm)
    normalised = inverse_norm[:, np.newaxis] * products[:, :n_first] * inverse_norm
    values, vectors = np.linalg.eigh(normalised)
    kept = values > RANK_TOLERANCE * values.max(initial=0.0)
    root = np.sqrt(values[kept])
    rows = np.zeros((kept.sum(), n_columns))
    rows[:, :n_first] = (vectors[:, kept] * root).T * norm
    mixed = inverse_norm[:, np.newaxis] * products[:, n_first:]
    rows[:, n_first:] = (vectors[:, kept] / root).T @ mixed
    factor = np.zeros((n_columns, n_columns), order="F")
    return append_rows(factor, np.asfortranarray(rows)) if len(rows) else factor
