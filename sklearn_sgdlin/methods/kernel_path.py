"""Paths of ridge regression with fewer rows than columns: one unknown a row for every penalty.

The products of all rows with each other serve every split. With centred rows Z and targets r of the
training rows, and H their weights with sum W, the coefficients are ``Z' H^(1/2) u`` where
``(H^(1/2) Z Z' H^(1/2) + alpha W I) u = H^(1/2) r`` (Saunders, Gammerman & Vovk, 1998).
"""

import numpy as np

from ..linalg.blocks import chunk_rows, slices
from .ridge_path import shifted_solutions


def row_products(X, centre):
    """Return the products of the rows of dense X, less the centre, with each other."""
    total = np.zeros((len(X), len(X)))
    for part in slices(X.shape[1], chunk_rows(len(X))):
        z = X[:, part] - centre[part]
        total += z @ z.T
    return total


def kernel_solutions(products, data, rows, alphas, fit_intercept):
    """Return the models of training rows for each alpha.

    Parameters
    ----------
    products : ndarray of shape (n_rows, n_rows)
        Of all rows, less any centre with an intercept, or zero without.
    data : tuple of X, targets of shape (n_rows, n_targets), and sample_weight or None
    rows : ndarray of int
        The training rows.
    alphas : ndarray of shape (n_alphas,)
    fit_intercept : bool

    Returns
    -------
    coef : ndarray of shape (n_alphas, n_targets, n_features)
        NaN where rounding errors matter.
    centre : ndarray of shape (n_features + n_targets,)
        Row, and its targets, that all models go through.
    """
    X, targets, weight = data[0][rows], data[1][rows], data[2]
    weight = np.ones(len(rows)) if weight is None else weight[rows]
    share, root = weight / weight.sum(), np.sqrt(weight)
    centre = np.zeros(X.shape[1] + targets.shape[1])
    kernel = products[np.ix_(rows, rows)]
    if fit_intercept:
        centre = np.concatenate([share @ X, share @ targets])
        mean = share @ kernel
        kernel += share @ mean - np.add.outer(mean, mean)
    targets = root[:, np.newaxis] * (targets - centre[X.shape[1] :])
    kernel *= np.multiply.outer(root, root)
    unknowns = root * shifted_solutions(kernel, targets, alphas * weight.sum())
    coef = unknowns @ X - unknowns.sum(axis=2, keepdims=True) * centre[: X.shape[1]]
    return coef, centre
