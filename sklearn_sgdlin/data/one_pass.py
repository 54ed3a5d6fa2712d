"""Products of columns in one pass over the rows: ranges of rows in threads, tiles in the cache."""

from functools import partial

import numpy as np

from ..kernels.products import add_cross_products
from ..linalg.blocks import chunk_rows, slices
from ..model.column_products import ColumnProducts
from .layouts import Places, pieces, take
from .row_ranges import in_threads, row_ranges
from .sums import add_up

# Rows of a tile: as many as fit the cache, but as many as columns or so many at least, for with
# fewer BLAS would spend its time on the matrix of sums, and so many at most.
MIN_TILE_ROWS, MAX_TILE_ROWS = 512, 1024

# Rows, evenly spaced, whose mean the columns are shifted by.
SHIFT_ROWS = 64

# Square of the distance of that shift from the mean of a column, relative to its variance, above
# which the pass is repeated with the mean itself: products would lose more than two digits.
MAX_SHIFT_RATIO = 100.0


def column_products(X, targets, sample_weight, tuning):
    """Return the `ColumnProducts` of all rows; raise ValueError if X is not finite.

    `X` (see `pieces`)
    """
    n_rows = X.shape[0] if sample_weight is None else int(np.count_nonzero(sample_weight))
    shift = approximate_mean(X, targets, sample_weight)
    blocks = (rows for _, rows in pieces(X, slice(0, X.shape[0]), chunk_rows(X.shape[1])))
    for _ in range(2):
        task = partial(sums_of_rows, X, targets, sample_weight, shift)
        sums = add_up(in_threads(task, row_ranges(X, tuning, targets.shape[1])))
        result = ColumnProducts.from_shifted(*sums, shift, n_rows)
        result.moments.of_columns(slice(result.n_features)).check(blocks)
        if result.is_centred(shift, MAX_SHIFT_RATIO):
            break
        shift = result.moments.mean
    return result


@np.errstate(over="ignore", invalid="ignore")  # What is not finite shows in the products.
def sums_of_rows(X, targets, sample_weight, shift, part):
    """Return the sums of `add_cross_products` of some rows, a slice or an array of numbers."""
    n_columns = X.shape[1] + 1
    n_targets = targets.shape[1]
    sums = np.zeros((n_columns + n_targets, n_columns)), np.zeros(n_targets)
    least = min(n_columns, MIN_TILE_ROWS)
    tile_rows = min(max(chunk_rows(n_columns + n_targets), least), MAX_TILE_ROWS)
    for piece, columns in _places(X, part, tile_rows):
        weight = None if sample_weight is None else sample_weight[piece]
        add_cross_products(columns, (targets[piece], weight), shift, tile_rows, sums)
    return sums


def _places(X, part, step):
    """Yield pairs of some rows of a part, a slice or an array of numbers, and their `Places`."""
    places = Places.of(X)
    if not isinstance(part, slice):
        for chunk in slices(len(part), step):
            rows = take(X, part[chunk])  # a name keeps the memory while the places are in use
            yield part[chunk], Places.of(rows)
    elif places is not None:
        yield part, places.from_row(part.start)
    else:
        for piece, rows in pieces(X, part, step):
            yield piece, Places.of(rows)


@np.errstate(over="ignore", invalid="ignore")
def approximate_mean(X, targets, sample_weight):
    """Return the mean of some rows, of the columns of X and of the targets.

    Means of distances from one row are added to it, so that constant columns have an exact mean.
    """
    n_rows, size = X.shape[0], min(X.shape[0], SHIFT_ROWS)
    heaviest = 0 if sample_weight is None else int(sample_weight.argmax())
    numbers = np.append(np.arange(size) * (n_rows - 1) // max(size - 1, 1), heaviest)
    rows = np.concatenate([take(X, numbers), targets[numbers]], axis=1)
    weight = np.ones(len(numbers)) if sample_weight is None else sample_weight[numbers]
    return rows[-1] + weight @ (rows - rows[-1]) / weight.sum()


def squared_residuals(X, targets, sample_weight, coef, centre, tuning):
    """Return the weighted sum of squared residuals of each target, from the rows.

    `X`, `targets`, `sample_weight`, `tuning` (see `column_products`)
    `centre` of shape (n_features + n_targets,): row, and its targets, that the models go through.
    """
    task = partial(_squared_residuals_of_range, X, targets, sample_weight, coef, centre)
    return add_up(in_threads(task, row_ranges(X, tuning)))


def _squared_residuals_of_range(X, targets, sample_weight, coef, centre, part):
    """Return the sums of `squared_residuals` of a range of rows."""
    total, n_features = np.zeros(len(coef)), X.shape[1]
    step = chunk_rows(n_features)
    for piece, rows in pieces(X, part, step):
        for chunk in slices(len(rows), step):
            numbers = slice(piece.start + chunk.start, piece.start + chunk.stop)
            residual = targets[numbers] - centre[n_features:]
            residual -= (rows[chunk] - centre[:n_features]) @ coef.T
            weight = np.ones(len(residual)) if sample_weight is None else sample_weight[numbers]
            total += weight @ residual**2
    return total
