"""The rows that a model was fitted to: passes over them in threads, whatever their layout."""

from functools import partial

import numpy as np
from sklearn.utils import assert_all_finite

from .._validation import as_c_ordered, validated
from ..data.layouts import Places, pieces
from ..data.row_ranges import in_threads, row_ranges
from ..data.sums import add_up
from ..kernels.products import add_cross_products
from .design import gram_of


class RowsInMemory:
    """Rows of X, of targets and weights in this process.

    Parameters
    ----------
    model : SGDLinearRegressor
    X, y, sample_weight : array-like
        As `fit` takes them.

    Attributes
    ----------
    n_rows : int
        Number of rows of positive weight.
    weight : float
        Sum of the weights.
    """

    def __init__(self, model, X, y, sample_weight):
        X, y, self.sample_weight = validated(
            model, X, y, sample_weight, reset=False, any_layout=True
        )
        if y.shape[1:] != model.coef_.shape[:-1]:
            raise ValueError(
                f"y has the shape {y.shape}, but the model was fitted to "
                f"{model.coef_.shape[0] if model.coef_.ndim > 1 else 'one'} target(s)."
            )
        self.X, self.y, self.tuning = X, y.reshape(len(y), -1), model._tuning
        weight = self.sample_weight
        self.n_rows = len(y) if weight is None else int(np.count_nonzero(weight))
        self.weight = float(len(y) if weight is None else weight.sum())

    def _map(self, run):
        """Return the results of a function of ranges of the rows, in their order."""
        return in_threads(run, row_ranges(self.X, self.tuning))

    def each(self, task, design, target, *args):
        """Yield ``task(chunks, *args)`` of ranges of the rows, in their order.

        Chunks are tuples: some `DesignRows`, which the next ones overwrite, their targets and
        weights, and the slice of all rows that they are.
        """
        yield from self._map(partial(self._run, task, design, target, args))

    def sum(self, task, *args):
        """Return the sum of the results of `each`."""
        return add_up(self.each(task, *args))

    def _run(self, task, design, target, args, part):
        return task(self._chunks(design, target, part), *args)

    def _chunks(self, design, target, part):
        for z, numbers in design.chunks(self.X, part):
            weight = None if self.sample_weight is None else self.sample_weight[numbers]
            yield z, self.y[numbers, target], weight, numbers

    def sums_by_residuals(self, design, target, theta, analytic):
        """Return sums for squared error, in one compiled pass.

        Returns
        -------
        gradient : ndarray of shape (size,)
            Of h e z, with weights h, residuals e and rows z of the design.
        square : float
            Of h e**2.
        meat : ndarray of shape (size, size)
            Of h e**2 z z', or h**2 e**2 z z' for analytic weights.
        """
        y = np.ascontiguousarray(self.y[:, target, np.newaxis])
        model = design, theta, analytic
        run = partial(_sums_by_residuals, self.X, y, self.sample_weight, model)
        return add_up(self._map(run))

    def check_finite(self, sums):
        """Raise scikit-learn's error for values of X that are not finite, if sums are not."""
        if not np.isfinite(sums).all():
            assert_all_finite(as_c_ordered(self.X), input_name="X")
            raise ValueError("Sums over the rows are too large for dtype('float64'). Rescale X.")


def _sums_by_residuals(X, y, sample_weight, model, part):
    """Return the `sums_by_residuals` of a range of rows."""
    design, theta, analytic = model
    n_features, first = len(design.centre), int(design.fit_intercept)
    sums = np.zeros((n_features + 2, n_features + 1)), np.zeros(1)
    shift = np.append(design.centre, theta[0] if first else 0.0)
    for piece, rows in pieces(X, part, design.chunk_rows):
        targets = y[piece], None if sample_weight is None else sample_weight[piece]
        columns = Places.of(rows)
        add_cross_products(
            columns, targets, shift, design.chunk_rows, sums, theta[first:], analytic
        )
    gradient = np.roll(sums[0][-1], 1) if first else sums[0][-1, :-1]
    return gradient, float(sums[1][0]), gram_of(sums, design.fit_intercept)
