"""Averaged SGD over a chunk of sparse rows, at the cost of their entries.

The columns in which the chunk has entries become a problem of their own, on which `sweep_chunk`
takes its steps. All other columns stay as they are: columns are not centred, but for those that
most rows have an entry in; a row takes the penalty's step in its own columns only, at a multiple
that makes up for the rows without an entry (as in Hogwild: Niu, Recht, Ré & Wright, 2011); and a
coefficient is averaged over the rows with an entry in its column.
"""

import numpy as np
from scipy.sparse import csr_array

from ..model.cross_products import CrossProducts
from ..model.moments import Moments
from ..model.sparse_columns import ColumnVersion
from ..model.state import FEW_ROWS_PER_COORDINATE, VARIANCE_GROWTH, State
from .averaged_sgd import sweep_chunk
from .column_sample import ColumnSample


def sweep_sparse_chunk(settings, chunk, state):
    """Return the state after one SGD step per row of a chunk.

    Parameters
    ----------
    settings : Settings
    chunk : Chunk
        Its X is a CSR matrix.
    state : SparseState

    Raises
    ------
    ValueError
        Where values are not finite, or their squares are not.
    """
    numbers, X = _compressed(chunk.X, state.far)
    y, sample_weight = chunk.y, chunk.sample_weight
    of_entries = None
    if sample_weight is not None:
        of_entries = np.repeat(sample_weight, np.diff(X.indptr))
    before = state.version.arrays.take(numbers)
    with np.errstate(over="ignore", invalid="ignore"):  # Moments.check raises the error.
        after = before.with_entries(X.indices, X.data.astype(np.float64), of_entries)
        target = state.target.merge(Moments.of(y[:, np.newaxis], sample_weight, "y"))
        moments = after.moments_of_scaling(target)
    moments.of_columns(slice(-1)).check([chunk.X])
    n_columns = state.n_columns + int(np.count_nonzero((before.weight == 0) & (after.weight > 0)))

    sample = ColumnSample.of(state, before.weight, after.weight, target, len(y), n_columns)
    shrunk, (intercept, returned_intercept) = _shrunk_where_grown(state, before, after, moments)
    swept = sweep_chunk(
        settings,
        chunk._replace(X=X),
        State(
            CrossProducts(moments, None),
            shrunk.coef,
            intercept,
            shrunk.returned_coef,
            returned_intercept,
            rows_seen=state.rows_seen,
            steps=state.steps,
            average_rows=state.average_rows,
            residuals=state.residuals,
            fitted=state.fitted,
            grown_at=np.zeros(len(numbers)),
            given_coef=before.given_coef,
            seed=state.seed,
        ),
        moments,
        sample,
    )
    after = after._replace(coef=swept.coef, returned_coef=swept.returned_coef)
    if swept.average_rows < state.average_rows + len(y):  # the average was restarted
        version = _restarted(state.version, numbers, after)
    else:
        version = state.version.changed(numbers, before, after)
    is_far = moments.mean[:-1] != 0
    return state._replace(
        version=version,
        far=numbers[is_far],
        n_columns=n_columns,
        target=target,
        intercept=swept.intercept,
        returned_intercept=swept.returned_intercept,
        rows_seen=swept.rows_seen,
        steps=swept.steps,
        average_rows=swept.average_rows,
        residuals=swept.residuals,
    )


def _compressed(X, far):
    """Return the numbers of the columns with entries, and of far ones, and X in these alone."""
    ordered = np.sort(np.append(X.indices, far.astype(X.indices.dtype)))
    numbers = ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered
    if len(numbers) == 0:
        numbers = np.zeros(1, dtype=X.indices.dtype)
    numbers = numbers.astype(np.intp)
    place = np.empty(X.shape[1], dtype=X.indices.dtype)  # only those of these columns are written
    place[numbers] = np.arange(len(numbers), dtype=place.dtype)
    shape = X.shape[0], len(numbers)
    return numbers, csr_array((X.data, place[X.indices], X.indptr), shape=shape)


def _shrunk_where_grown(state, before, after, moments):
    """Return the columns with coefficients shrunk where entries have grown, and the intercepts.

    See `State.rescaled_to`. Of columns that are not centred the mean square of the entries counts,
    because the share of rows with an entry does not change how large a prediction may be.
    """
    intercepts = state.intercept, state.returned_intercept
    known = before.weight > 0
    if not known.any():
        return before, intercepts
    far = moments.mean[:-1] != 0
    old, new = (
        np.divide(
            np.where(far, part.sum_of_squares, part.square),
            part.weight,
            out=np.zeros(len(known)),
            where=known,
        )
        for part in (before, after)
    )
    few_rows = moments.rows < FEW_ROWS_PER_COORDINATE * (state.n_columns + 1)
    grown = new > np.where(far & few_rows, 1.0, VARIANCE_GROWTH) * old
    if not grown.any():
        return before, intercepts
    lost = np.where(grown, 1 - np.divide(old, new, out=np.ones(len(old)), where=grown), 0.0)
    mean = np.where(far, before.mean, 0.0)
    parts = [lost * (coef - before.given_coef) for coef in (before.coef, before.returned_coef)]
    shrunk = before._replace(
        coef=before.coef - parts[0], returned_coef=before.returned_coef - parts[1]
    )
    return shrunk, [b + float(mean @ part) for b, part in zip(intercepts, parts, strict=True)]


def _restarted(version, numbers, changed):
    """Return the version of the columns in which all averages begin at the last iterate."""
    columns = version.columns
    columns.put(numbers, changed)
    return ColumnVersion(columns._replace(returned_coef=columns.coef.copy()))
