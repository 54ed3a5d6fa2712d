"""The rows that a model was fitted to: passes over them in threads, whatever their layout."""

from functools import partial

import numpy as np
from sklearn.utils import assert_all_finite

from .._validation import as_c_ordered, validated
from ..data.one_pass import places_of_rows
from ..data.row_ranges import in_threads, row_ranges
from ..data.sums import add_up
from ..kernels.products import add_cross_products


class RowsInMemory:
    """Rows of X, targets and weights in this process, given as `fit` takes them."""

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
        weight = self.weights(slice(None))
        self.n_rows, self.weight = int(np.count_nonzero(weight)), float(weight.sum())

    def weights(self, part):
        """Return the weights of some rows."""
        if self.sample_weight is None:
            return np.ones(len(self.y[part]))
        return self.sample_weight[part]

    def _map(self, run):
        """Return the results of a function of ranges of the rows, in their order."""
        return in_threads(run, row_ranges(self.X, self.tuning))

    def each(self, task, design, target, *args):
        """Yield ``task(chunks, *args)`` of ranges of the rows, in their order.

        Chunks are tuples: some rows of the design, which the next ones overwrite, their targets and
        weights, and the slice of all rows that they are.
        """
        yield from self._map(lambda part: task(self._chunks(design, target, part), *args))

    def sum(self, task, *args):
        """Return the sum of the results of `each`."""
        return add_up(self.each(task, *args))

    def _chunks(self, design, target, part):
        for z, numbers in design.chunks(self.X, part):
            yield z, self.y[numbers, target], self.weights(numbers), numbers

    def sums_by_residuals(self, design, target, theta, analytic):
        """Return sums for squared error, in one compiled pass.

        Of weights h, residuals e and rows z of the design: those of h e z, of h e**2, and of
        h e**2 z z', or h**2 e**2 z z' for analytic weights.
        """
        y = np.ascontiguousarray(self.y[:, target, np.newaxis])
        model = design, theta, analytic
        run = partial(_sums_by_residuals, self.X, y, self.sample_weight, model)
        (*upper, gradient), (square,) = add_up(self._map(run))
        gram = np.array(upper)
        gram += np.triu(gram, 1).T
        if design.fit_intercept:  # its column is the last one of the compiled loop
            return np.roll(gradient, 1), square, np.roll(gram, 1, axis=(0, 1))
        return gradient[:-1], square, gram[:-1, :-1]

    def check_finite(self, sums):
        """Raise scikit-learn's error for values of X that are not finite, if sums are not."""
        if not np.isfinite(sums).all():
            assert_all_finite(as_c_ordered(self.X), input_name="X")
            raise ValueError("Sums over the rows are too large for dtype('float64'). Rescale X.")


def _sums_by_residuals(X, y, sample_weight, model, part):
    """Return the sums of `add_cross_products` of a range of rows."""
    (centre, fit_intercept), theta, analytic = model
    step = model[0].chunk_rows
    sums = np.zeros((len(centre) + 2, len(centre) + 1)), np.zeros(1)
    shift = np.append(centre, theta[0] if fit_intercept else 0.0)
    slopes = theta[fit_intercept:]
    for piece, columns in places_of_rows(X, part, step):
        targets = y[piece], None if sample_weight is None else sample_weight[piece]
        add_cross_products(columns, targets, shift, step, sums, slopes, analytic)
    return sums
