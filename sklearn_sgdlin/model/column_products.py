"""Products of columns: what squared error needs to know of the rows, from one pass over them."""

from dataclasses import dataclass

import numpy as np

from .cross_products import CrossProducts
from .moments import Moments


@dataclass(frozen=True)
class ColumnProducts:
    """Moments of the columns of X and of the targets, and the products of these columns."""

    moments: Moments  # of the columns of X, then of the targets
    # Weighted sums of the products of the centred columns of X with each other, and with the
    # centred targets, of shape (n_features, n_features + n_targets).
    sums: np.ndarray

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # Moments.check raises the error.
    def from_shifted(cls, products, squares, shift, n_rows):
        """Return the products about the means from those about a shift.

        Products and squares are as `add_cross_products` sums them up, over rows of positive weight.
        """
        n_features = products.shape[1] - 1
        square = products[: n_features + 1]
        diagonal = square.diagonal().copy()
        square += square.T
        square.flat[:: n_features + 2] = diagonal
        weight = float(products[n_features, n_features])
        rows = np.concatenate([products[:n_features], products[n_features + 1 :]])
        offset, sums = rows[:, n_features] / weight, rows[:, :n_features].T
        sums -= np.multiply.outer(weight * offset[:n_features], offset)
        squares = np.append(sums.diagonal(), squares - weight * offset[n_features:] ** 2)
        moments = Moments(n_rows, weight, shift + offset, np.maximum(squares, 0.0))
        return cls(moments, sums)

    @property
    def n_features(self):
        """Number of columns of X."""
        return len(self.sums)

    @np.errstate(over="ignore", invalid="ignore")  # Moments.check raises the error.
    def is_centred(self, shift, max_ratio):
        """Return whether a shift was near enough to the means that few digits have cancelled.

        That is where the square of its distance from each mean is at most `max_ratio` times the
        variance of the column.
        """
        moments = self.moments
        square = moments.weight * (moments.mean - shift) ** 2
        return bool((square <= max_ratio * moments.sum_of_squares).all())

    def cross_products(self, target, moments):
        """Return the `CrossProducts` of a target, for a stream that goes on from these rows.

        The moments are those of X and that target, in the units of the user's weights.
        """
        n_features = self.n_features
        constant = self.moments.of_columns(slice(n_features)).variance(True) == 0
        sums = self.sums[:, [*range(n_features), n_features + target]]
        sums *= moments.weight / self.moments.weight
        sums[constant], sums[:, np.flatnonzero(constant)] = 0.0, 0.0
        return CrossProducts(moments, None, sums)
