"""The rows that a model was fitted to: passes over them in threads, whatever their layout."""

from functools import partial

import numpy as np
from sklearn.utils import assert_all_finite

from .._validation import as_c_ordered, validated
from ..data.row_ranges import in_threads, row_ranges
from ..data.sums import add_up


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

    def each(self, task, design, target, *args):
        """Yield ``task(chunks, *args)`` of ranges of the rows, in their order.

        Chunks are tuples: some `DesignRows`, which the next ones overwrite, their targets and
        weights, and the slice of all rows that they are.
        """
        run = partial(self._run, task, design, target, args)
        yield from in_threads(run, row_ranges(self.X, self.tuning))

    def sum(self, task, *args):
        """Return the sum of the results of `each`."""
        return add_up(self.each(task, *args))

    def _run(self, task, design, target, args, part):
        return task(self._chunks(design, target, part), *args)

    def _chunks(self, design, target, part):
        for z, numbers in design.chunks(self.X, part):
            weight = None if self.sample_weight is None else self.sample_weight[numbers]
            yield z, self.y[numbers, target], weight, numbers

    def check_finite(self, sums):
        """Raise scikit-learn's error for values of X that are not finite, if sums are not."""
        if not np.isfinite(sums).all():
            assert_all_finite(as_c_ordered(self.X), input_name="X")
            raise ValueError("Sums over the rows are too large for dtype('float64'). Rescale X.")
