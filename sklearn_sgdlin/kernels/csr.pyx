# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over the rows of a CSR matrix: sweeps and products.

They cost as much as there are stored entries, and believe the indices, which `_validation.py` has
checked. Rows and the numbers of their columns are asked for some rows ahead, as no processor
foresees them. The data are float32 or float64, and all arithmetic is double.
"""

from sklearn_sgdlin.kernels.common cimport (
    AVERAGE_EVERY, ENTRIES_AHEAD, Loss, Penalty, RowOrder, Step, StepRule, Sweep, Targets, fetch,
    floating, inlined_void, integer, list_rows, midway, permute, prefetch, rate_after,
    rate_of_penalty, read_sweep, read_targets, shrink, step_of_row, weight_of_next,
)

import numpy as np

cdef enum:
    # A sweep asks for what a row needs so many rows ahead, see `fetch_later_rows`.
    ROWS_AHEAD = 8
    # Products ask ahead for columns only where there are more numbers of them than this: less than
    # that stay in the second-level cache.
    CACHED_COLUMNS = 1 << 14


cdef struct Coordinate:             # of a column: side by side, one cache miss fetches all
    double theta
    double mean
    double scale
    double offset


cdef struct Columns:                # of rows in the scaling, z = scale * (x - centre)
    const double* centre
    const double* scale             # one more, for the intercept
    Py_ssize_t n_features
    Coordinate* coordinates         # work space


cdef struct Visits:                 # the rows in the order of the steps
    const Py_ssize_t* rows
    Py_ssize_t count


cdef struct StoredProducts:         # of theta and the offset with the stored part of a row
    double prediction
    double norm
    double crossing


cdef inline Py_ssize_t list_visits(RowOrder order, Py_ssize_t* tile,
                                   Py_ssize_t* visits) noexcept nogil:
    """Write the rows of all tiles in the order of the steps; return how many."""
    cdef Py_ssize_t first_block = 0, n_tile, n_visits = 0
    while first_block < order.n_blocks:
        n_tile = list_rows(order, first_block, tile)
        n_visits += permute(order, tile, n_tile, visits + n_visits)
        first_block += order.tile_rows // order.block_rows
    return n_visits


cdef inline Py_ssize_t count_rows(RowOrder order, Py_ssize_t first_block) noexcept nogil:
    """Rows of the tile that starts with a block."""
    cdef Py_ssize_t stop = min(first_block + order.tile_rows // order.block_rows, order.n_blocks)
    cdef Py_ssize_t k, n_counted = 0
    for k in range(first_block, stop):
        n_counted += min(order.block_rows, order.n_rows - order.blocks[k] * order.block_rows)
    return n_counted


cdef inline Py_ssize_t visited(Visits visits, Py_ssize_t i) noexcept nogil:
    """The i-th row, or the last one."""
    return visits.rows[min(i, visits.count - 1)]


cdef inline inlined_void fetch_later_rows(const floating* data, const integer* indices,
                                          const integer* indptr, Visits visits, Py_ssize_t i,
                                          const Coordinate* coordinates) noexcept nogil:
    """Ask for what the steps after the i-th need: where a row lies, the row, its coordinates.

    Each leads to the next, so each is asked for some rows earlier than the next.
    """
    cdef Py_ssize_t row, start, last, k
    prefetch(indptr + visited(visits, i + 3 * ROWS_AHEAD))
    row = visited(visits, i + 2 * ROWS_AHEAD)
    start, last = indptr[row], max(indptr[row], indptr[row + 1] - 1)  # of an empty row, too
    fetch(<const char*> (data + start), (last - start) * sizeof(floating))
    fetch(<const char*> (indices + start), (last - start) * sizeof(integer))
    prefetch(data + last)
    prefetch(indices + last)
    row = visited(visits, i + ROWS_AHEAD)
    for k in range(indptr[row], indptr[row + 1]):
        prefetch(coordinates + indices[k])


cdef inline StoredProducts multiply(const floating* data, const integer* indices,
                                    Py_ssize_t n_entries, const Coordinate* coordinates,
                                    double shift) noexcept nogil:
    cdef Py_ssize_t k
    cdef Coordinate c
    cdef double z, prediction = 0, norm = 0, crossing = 0
    for k in range(n_entries):
        c = coordinates[indices[k]]
        z = c.scale * data[k]
        prediction += (c.theta - shift * c.offset) * z
        norm += z * (z - 2 * c.offset)
        crossing += z * c.offset
    return StoredProducts(prediction, norm, crossing)


cdef inline void add_step(const floating* data, const integer* indices, Py_ssize_t n_entries,
                          Coordinate* coordinates, double step, double mean_step) noexcept nogil:
    cdef Py_ssize_t k
    cdef Coordinate* c
    cdef double z
    for k in range(n_entries):
        c = coordinates + indices[k]
        z = c.scale * data[k]
        c.theta += step * z
        c.mean -= mean_step * z


cdef inline double pay(const floating* data, const integer* indices, Py_ssize_t n_entries,
                       Coordinate* coordinates, double shift, double per_mean, double rate,
                       Penalty penalty) noexcept nogil:
    """Take the penalty's step in the columns of a row, in proportion to z**2; see `sweep`.

    Return by how much theta . offset has grown.
    """
    cdef Py_ssize_t k, j
    cdef Coordinate* c
    cdef double z, share, t, change, along = 0
    for k in range(n_entries):
        j = indices[k]
        c = coordinates + j
        z = c.scale * data[k] - c.offset
        share = rate * z * z
        t = c.theta - shift * c.offset
        change = shrink(t, share * penalty.l1[j], share * penalty.l2[j], penalty.floor[j]) - t
        c.theta += change
        c.mean -= per_mean * change
        along += change * c.offset
    return along


cdef void sweep_rows(const floating* data, const integer* indices, const integer* indptr,
                     Targets targets, Columns columns, Sweep* sweep,
                     Visits visits) noexcept nogil:
    """The same steps as in `dense.pyx`, at the cost of the stored entries.

    A row is z = scale * x - offset, with offset = scale * centre. The dense part of all steps,
    -sum(step) * offset, is one number times a vector, and so is that of the average; the
    average is kept as its distance from theta, which shrinks by a factor at each block, and
    is nothing until the first block ends:

        theta := theta - shift * offset
        mean  := theta - mean_shift * offset + mean_scale * mean
    """
    cdef Py_ssize_t n_features = columns.n_features
    cdef Coordinate* coordinates = columns.coordinates
    cdef Loss loss = sweep.loss
    cdef StepRule rule = sweep.rule
    cdef Penalty penalty = sweep.penalty
    cdef double* theta = sweep.theta
    cdef double* mean = sweep.average.mean
    cdef double intercept_scale = columns.scale[n_features]
    cdef double intercept_norm = intercept_scale * intercept_scale
    cdef Py_ssize_t every = max(penalty.every if penalty.any else 0, AVERAGE_EVERY)
    cdef double rows_seen = sweep.rows_seen, rate = rate_after(sweep.rows_seen, rule)
    cdef double averaging = 1 if sweep.average.rows > 0 else 0
    cdef double shift = 0, mean_shift = 0, mean_scale = 1, offset_norm = 0, along = 0
    cdef Py_ssize_t first_block = 0, stop = 0, i, j, row, n_entries, n_since = 0
    cdef double prediction, norm, rate_h, weight, t
    cdef StoredProducts stored
    cdef Step step
    cdef Coordinate* c

    for j in range(n_features):
        c = coordinates + j
        c.theta = theta[j]
        c.mean = averaging * (mean[j] - theta[j])
        c.scale = columns.scale[j]
        c.offset = columns.scale[j] * columns.centre[j]
        offset_norm += c.offset * c.offset
        along += c.theta * c.offset         # theta . offset, without the shift
    for i in range(visits.count):
        if i == stop:
            stop += count_rows(sweep.order, first_block)
            first_block += sweep.order.tile_rows // sweep.order.block_rows
        prefetch(targets.y + visited(visits, i + 2 * ROWS_AHEAD))
        fetch_later_rows(data, indices, indptr, visits, i, coordinates)
        row = visits.rows[i]
        n_entries = indptr[row + 1] - indptr[row]
        stored = multiply(data + indptr[row], indices + indptr[row], n_entries, coordinates, shift)
        prediction = (stored.prediction + theta[n_features] * intercept_scale
                      - along + shift * offset_norm)
        norm = stored.norm + offset_norm + intercept_norm

        rate_h = rate if targets.sample_weight == NULL else rate * targets.sample_weight[row]
        step = step_of_row(targets.y[row] - prediction, norm, rate_h, loss, rule)
        if penalty.any and penalty.every > 0:
            penalty.rate += rate_of_penalty(step, norm - intercept_norm, loss, rule)
        add_step(data + indptr[row], indices + indptr[row], n_entries, coordinates, step.length,
                 averaging * step.length / mean_scale)
        along += step.length * stored.crossing
        shift += step.length
        theta[n_features] += step.length * intercept_scale
        if penalty.any and penalty.every == 0:
            along += pay(data + indptr[row], indices + indptr[row], n_entries, coordinates, shift,
                         averaging / mean_scale, rate_of_penalty(step, rule.mean_norm, loss, rule),
                         penalty)

        n_since += 1
        weight = 0
        if (n_since == every or i + 1 == visits.count
                or (i + 1 == stop and every == AVERAGE_EVERY)):
            weight = weight_of_next(&sweep.average, n_since)
            mean[n_features] += weight * (theta[n_features] - mean[n_features])
            if averaging:
                mean_scale *= 1 - weight
            mean_shift += weight * (shift - mean_shift)
            averaging = 1
            rows_seen += n_since
            n_since = 0
            rate = rate_after(rows_seen, rule)
        if penalty.any and penalty.every > 0 and n_since % penalty.every == 0:
            along = 0
            for j in range(n_features):
                c = coordinates + j
                t = c.theta - shift * c.offset
                c.mean = c.theta + mean_scale * c.mean - mean_shift * c.offset
                c.theta = shrink(t, penalty.rate * penalty.l1[j], penalty.rate * penalty.l2[j],
                                 penalty.floor[j])
                c.mean += weight * (midway(t, c.theta) - t) - c.theta
                c.mean *= averaging     # nothing until the first block ends
                along += c.theta * c.offset
            shift = 0
            mean_shift = 0
            mean_scale = 1
            penalty.rate = 0

    for j in range(n_features):
        c = coordinates + j
        mean[j] = max(c.theta + mean_scale * c.mean - mean_shift * c.offset, penalty.floor[j])
        theta[j] = c.theta - shift * c.offset


def sweep(const floating[::1] data, const integer[::1] indices, const integer[::1] indptr,
          targets, columns, plan):
    """Stochastic gradient steps for the rows of a CSR matrix, in place; see `dense.pyx`.

    The penalty's step touches every coordinate, so `penalty_every` of the plan, a power of two, is
    larger than for dense rows; the average waits for it. If it is 0, each row takes the penalty's
    step in its own columns, z**2 times the penalty of the plan.

    Parameters
    ----------
    data, indices, indptr : arrays of a CSR matrix without duplicate entries
    targets : (y, sample_weight)
        float64 arrays of shape (n_rows,); None for weights of one.
    columns : (centre, scale, coordinates)
        Arrays of shape (n_features,) and (n_features + 1,), and work space of shape
        (n_features, 4), best where no row of it straddles two cache lines.
    plan : SweepPlan

    Returns
    -------
    float
        Rows in the average now.
    """
    cdef Targets c_targets = read_targets(targets, indptr.shape[0] - 1)
    cdef Sweep c_sweep = read_sweep(plan, c_targets.n_rows)
    cdef const double[::1] centre, scale
    cdef double[:, ::1] coordinates
    cdef Py_ssize_t[::1] buffer
    cdef Visits visits
    cdef const floating* values = NULL
    cdef const integer* places = NULL
    centre, scale, coordinates = columns
    cdef Columns c_columns = Columns(&centre[0], &scale[0], centre.shape[0],
                                     <Coordinate*> &coordinates[0, 0])
    cdef Py_ssize_t tile_rows = c_sweep.order.tile_rows
    buffer = np.empty(tile_rows + c_sweep.order.n_blocks * c_sweep.order.block_rows, dtype=np.intp)
    if data.shape[0] > 0:           # a matrix of zeros stores nothing
        values = &data[0]
        places = &indices[0]
    if c_sweep.order.n_blocks > 0:
        with nogil:
            visits.rows = &buffer[0] + tile_rows
            visits.count = list_visits(c_sweep.order, &buffer[0], &buffer[0] + tile_rows)
            sweep_rows(values, places, &indptr[0], c_targets, c_columns, &c_sweep, visits)
    return c_sweep.average.rows


cdef struct Column:                 # of a product: side by side, as above
    double slope
    double total


cdef struct ProductSums:            # of all rows, for several points
    Py_ssize_t n_points
    Column* columns                 # those of the points beside each other
    const double* base              # of each response: what all rows have in common
    double* responses               # sum of each
    double square
    bint scattered                  # whether the columns are more than the cache holds


cdef inline double respond(const floating* data, const integer* indices, Py_ssize_t n_entries,
                           const Column* columns, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t k
    cdef double r = 0
    for k in range(n_entries):
        r += columns[indices[k] * stride].slope * data[k]
    return r


cdef inline void add_response(const floating* data, const integer* indices, Py_ssize_t n_entries,
                              double r, Column* columns, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n_entries):
        columns[indices[k] * stride].total += r * data[k]


cdef void add_products_of_rows(const floating* data, const integer* indices,
                               const integer* indptr, Targets targets,
                               ProductSums* sums) noexcept nogil:
    cdef Py_ssize_t i, k, entry, start, n_entries, last = indptr[targets.n_rows] - 1
    cdef Py_ssize_t n_points = sums.n_points
    cdef Column* columns = sums.columns
    cdef const double* base = sums.base
    cdef bint scattered = sums.scattered
    cdef double r, h
    for i in range(targets.n_rows):
        h = 1 if targets.sample_weight == NULL else targets.sample_weight[i]
        start, n_entries = indptr[i], indptr[i + 1] - indptr[i]
        if scattered:
            for entry in range(start + ENTRIES_AHEAD, start + ENTRIES_AHEAD + n_entries):
                prefetch(columns + indices[min(entry, last)] * n_points)
        for k in range(n_points):
            r = base[k] + respond(data + start, indices + start, n_entries, columns + k,
                                  n_points)
            if k == 0 and targets.y != NULL:
                r += targets.y[i]
                sums.square += h * r * r
            r *= h
            add_response(data + start, indices + start, n_entries, r, columns + k, n_points)
            sums.responses[k] += r


def products(const floating[::1] data, const integer[::1] indices, const integer[::1] indptr,
             targets, columns, const double[:, ::1] points):
    """Sum h r z over the rows of a CSR matrix, for the responses r = z . point; read once.

    With targets and columns as in `sweep`, which may be None; the work space has 2 numbers for each
    point and column. If there are targets, the first response is y + that: with minus a model as
    point, the residual.

    Returns
    -------
    square : float
        Sum of h times squared residuals; 0 without targets.
    totals : ndarray of shape (n_points, n_features + 1)
    """
    cdef Targets c_targets = read_targets(targets, indptr.shape[0] - 1)
    cdef const double[::1] centre, scale
    cdef double[:, ::1] coordinates
    cdef const floating* values = NULL
    cdef const integer* places = NULL
    centre, scale, coordinates = columns
    cdef Py_ssize_t j, k, n_points = points.shape[0], last = centre.shape[0]
    cdef double[:, ::1] totals = np.empty((n_points, last + 1))
    cdef double[::1] base = np.zeros(n_points)
    cdef double[::1] responses = np.zeros(n_points)
    cdef Column* column
    cdef ProductSums sums = ProductSums(n_points, <Column*> &coordinates[0, 0], &base[0],
                                        &responses[0], 0, last * n_points > CACHED_COLUMNS)
    if data.shape[0] > 0:           # a matrix of zeros stores nothing
        values = &data[0]
        places = &indices[0]
    with nogil:
        for k in range(n_points):
            base[k] = scale[last] * points[k, last]
            column = sums.columns + k
            for j in range(last):
                column.slope = scale[j] * points[k, j]
                column.total = 0
                base[k] -= centre[j] * column.slope
                column += n_points
        add_products_of_rows(values, places, &indptr[0], c_targets, &sums)
        for k in range(n_points):
            column = sums.columns + k
            for j in range(last):
                totals[k, j] = scale[j] * (column.total - centre[j] * responses[k])
                column += n_points
            totals[k, last] = scale[last] * responses[k]
    return sums.square, np.asarray(totals)
