"""Sparse matrices minus a centre, as operators: what is subtracted is never written down."""

import numpy as np


class CentredMatrix:
    """The matrix ``X - root centre'`` of a sparse X, for products with vectors or matrices.

    `root` of shape (n_rows,) or None: how often the centre is subtracted from each row; None for
    once.
    """

    def __init__(self, X, root, centre):
        self.X, self.root, self.centre = X, root, centre

    def __matmul__(self, coef):
        means = self.centre @ coef
        if self.root is not None:
            means = np.multiply.outer(self.root, means)
        return self.X @ coef - means

    def rmatvec(self, values):
        """Return the product of the transpose with values, one or several for each row."""
        total = values.sum(axis=0) if self.root is None else self.root @ values
        product = self.X.T @ values
        product -= np.multiply.outer(self.centre, total)
        return product
