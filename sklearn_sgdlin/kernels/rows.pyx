# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops: all that touches every row of X.

`sweep` walks once over given rows and takes one stochastic gradient step for each.
`standardise` writes rows in the coordinates the steps are taken in, and `moments` gathers
the mean and variance that define those coordinates.

Rows are visited in tiles: while the steps go through the rows of one tile in random order,
the rows of the next are fetched into the cache in the order of the file. So a shuffled pass
costs little more than a sequential one. X is read where it is, float32 or float64, and all
arithmetic is double.
"""

from libc.math cimport INFINITY, fabs, pow

from sklearn_sgdlin.kernels.prefetch cimport prefetch

import numpy as np

cdef extern from *:
    """
    /* One copy of the loops for each generation of x86-64; the loader picks the best one.
       That needs the GNU indirect-function mechanism, hence the guards. */
    #if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 \\
        && defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__)
    #define SGDLIN_VECTORISED \\
        __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
    #else
    #define SGDLIN_VECTORISED
    #endif

    #if defined(__GNUC__) || defined(__clang__)
    /* GCC takes a function that only prefetches for one without effect and drops its calls,
       unless it is inlined before. */
    #define SGDLIN_INLINED __attribute__((always_inline))
    #else
    #define SGDLIN_INLINED
    #endif
    """
    ctypedef void vectorised_void "SGDLIN_VECTORISED void"
    ctypedef void inlined_void "SGDLIN_INLINED void"
    ctypedef double* unaliased "double *__restrict"   # what a loop writes, nothing else reads

ctypedef fused floating:
    float
    double

ctypedef fused integer:
    int
    long long

cdef enum:
    CACHE_LINE = 64             # bytes
    FETCH_AHEAD = 1 << 14       # bytes: how early to ask for a row in sequential passes
    FETCH_PIECE = 512           # bytes of a row asked for at a time: more have to wait for each other
    AVERAGE_EVERY = 16          # steps between two contributions to the average
    ROWS_AHEAD = 8              # how early to ask for what a sparse row needs
    ENTRIES_AHEAD = 64          # the same in products, which visit them in the order of the file
    CACHED_COLUMNS = 1 << 14    # of products, that stay in the second-level cache


cdef struct Loss:               # see _loss.py
    double dead_zone
    double compliance
    double lower
    double upper


cdef struct Schedule:           # rate of a step: learning_rate / rows_seen**power_t
    double learning_rate
    double power_t
    bint implicit
    double norm                 # mean of ||z||**2 without the intercept


cdef struct Penalty:            # of each coordinate, see _objective.py
    const double* l1
    const double* l2
    const double* floor
    bint any                    # whether there is one


cdef struct Average:            # weight of a new iterate: (1 + forget) rows / (rows so far + ...)
    double forget
    double rows


cdef inline double clip(double number, double lower, double upper) noexcept nogil:
    """The nearest number between the bounds; NaN stays visible."""
    number = lower if number < lower else number
    return upper if number > upper else number


cdef inline double step_along(double residual, double rate, double softness,
                              Loss loss) noexcept nogil:
    """How far theta moves along z: rate * clip(outside / softness, lower, upper).

    The rate is that of the row, rate h, and softness = compliance + rate ||z||^2. Every row waits
    for the step before it. So a dead zone and bounds are passed over where the loss has none, for
    such branches always go the same way; the reciprocal is ready before the residual is; and
    there is no branch on the sign of the residual, which nobody can predict.
    """
    cdef double outside = residual
    if loss.dead_zone > 0:
        outside -= clip(residual, -loss.dead_zone, loss.dead_zone)
    if loss.lower == -INFINITY and loss.upper == INFINITY:      # and a compliance
        return outside * (rate / softness)
    if outside == 0:                # also where the softness is
        return 0
    return rate * clip(outside * (1 / softness), loss.lower, loss.upper)


cdef inline double rate_of_penalty(double residual, double step, double rate, double softness,
                                   double norm, Loss loss, Schedule schedule) noexcept nogil:
    """The rate of the penalty that balances the step of a row.

    An implicit step is shorter than an explicit one; a penalty at the full rate would win. A loss
    without bounds shortens all steps along z alike, by compliance / softness. Its rows of large
    norm move theta most and are shortened most, so they count by their norm. With bounds, what
    counts is how much shorter the step has become.
    """
    cdef double outside
    if not schedule.implicit:
        return rate
    if loss.lower == -INFINITY and loss.upper == INFINITY:
        return rate * (loss.compliance / softness) * (norm / schedule.norm)
    outside = residual - clip(residual, -loss.dead_zone, loss.dead_zone)
    if outside == 0:
        return rate * (loss.compliance / softness) if loss.compliance > 0 else rate
    return step / clip(outside / loss.compliance, loss.lower, loss.upper)


cdef inline void write_row(const floating* x, Py_ssize_t n_features, const double* centre,
                             const double* scale, unaliased z) noexcept nogil:
    """z = (scale * (x - centre), scale of the intercept)."""
    cdef Py_ssize_t j
    for j in range(n_features):
        z[j] = scale[j] * (x[j] - centre[j])
    z[n_features] = scale[n_features]


cdef struct Products:           # of theta and two rows in the metric, z_1 and z_2
    double first                # theta . z_1
    double second               # theta . z_2
    double first_norm           # z_1 . z_1
    double second_norm          # z_2 . z_2
    double cross                # z_1 . z_2


cdef inline inlined_void fetch(const char* row, Py_ssize_t n_bytes) noexcept nogil:
    """Ask for a row before it is needed."""
    cdef Py_ssize_t byte = 0
    while byte < n_bytes:
        prefetch(row + byte)
        byte += CACHE_LINE


cdef inline inlined_void fetch_ahead(const char* rows, Py_ssize_t n_bytes) noexcept nogil:
    """Ask for rows of a sequential pass, unless they are so long that the processor does."""
    if n_bytes <= FETCH_AHEAD:
        fetch(rows + FETCH_AHEAD, n_bytes)


cdef inline double change(double step_1, double last_1, double step_2, double last_2,
                          double scale, double offset, floating x) noexcept nogil:
    """A coordinate of step_1 * z_1 + step_2 * z_2, for the last two rows.

    Of float64 the rows x are read once more, which costs less than to keep z = scale * x - offset;
    of float32 z is kept, for x would have to be converted once more.
    """
    if floating is float:
        return step_1 * last_1 + step_2 * last_2
    else:
        return scale * (step_1 * last_1 + step_2 * last_2) - offset * (step_1 + step_2)


cdef inline double shrink(double t, double l1, double l2, double floor) noexcept nogil:
    """The point that minimises l1 |u| + l2 u**2 / 2 + (u - t)**2 / 2 over u >= floor."""
    t -= clip(t, -l1, l1)
    t /= 1 + l2
    return t if t > floor else floor


cdef inline Products step_and_multiply(
    unaliased theta, double step_1, unaliased last_1, double step_2, unaliased last_2,
    const floating* x_1, const floating* x_2, Py_ssize_t n_features,
    const double* offset, const double* scale,
    const floating* coming_1, const floating* coming_2,
) noexcept nogil:
    """Finish the steps of the last two rows and return the products with the next two.

    All in one pass: theta and the metric are read once for two rows, and one latency is paid
    where there were two. The coming rows are asked for little by little, so that they arrive
    while others are multiplied.
    """
    cdef Py_ssize_t start = 0, stop, j
    cdef double o, s, t, z_1, z_2
    cdef double first = 0, second = 0, first_norm = 0, second_norm = 0, cross = 0
    while start < n_features:
        stop = min(start + FETCH_PIECE // <Py_ssize_t> sizeof(floating), n_features)
        fetch(<const char*> (coming_1 + start), (stop - start) * sizeof(floating))
        fetch(<const char*> (coming_2 + start), (stop - start) * sizeof(floating))
        for j in range(start, stop):
            o = offset[j]
            s = scale[j]
            t = theta[j] + change(step_1, last_1[j], step_2, last_2[j], s, o, x_1[j])
            z_1 = s * x_1[j] - o
            z_2 = s * x_2[j] - o
            theta[j] = t
            if floating is float:
                last_1[j] = z_1
                last_2[j] = z_2
            first += t * z_1
            second += t * z_2
            first_norm += z_1 * z_1
            second_norm += z_2 * z_2
            cross += z_1 * z_2
        start = stop
    s = scale[n_features]           # the intercept: a column of ones
    t = theta[n_features] + s * (step_1 + step_2)
    theta[n_features] = t
    return Products(first + t * s, second + t * s,
                    first_norm + s * s, second_norm + s * s, cross + s * s)


cdef inline double midway(double before, double after) noexcept nogil:
    """The point of the penalty's step that is averaged: its middle, for its ends are extremes.

    Zeros count as zeros, and what is near zero as at most twice as far from it.
    """
    cdef double size = fabs(after)
    return after + clip((before - after) / 2, -size, size)


cdef inline void step_and_average(
    unaliased theta, double step_1, const double* last_1, double step_2, const double* last_2,
    Py_ssize_t n_features, const double* offset, const double* scale, Penalty penalty,
    double penalty_rate, unaliased mean, double weight, floating kind,
) noexcept nogil:
    """Finish the steps of the last two rows, take that of the penalty, move the average."""
    cdef Py_ssize_t j
    cdef double t, before
    if penalty.any:
        for j in range(n_features):
            before = theta[j] + change(step_1, last_1[j], step_2, last_2[j], scale[j], offset[j],
                                       kind)
            t = shrink(before, penalty_rate * penalty.l1[j], penalty_rate * penalty.l2[j],
                       penalty.floor[j])
            theta[j] = t
            mean[j] += weight * (midway(before, t) - mean[j])
    else:
        for j in range(n_features):
            t = theta[j] + change(step_1, last_1[j], step_2, last_2[j], scale[j], offset[j], kind)
            theta[j] = t
            mean[j] += weight * (t - mean[j])
    theta[n_features] += scale[n_features] * (step_1 + step_2)
    mean[n_features] += weight * (theta[n_features] - mean[n_features])


cdef inline Penalty penalty_of(const double[::1] l1, const double[::1] l2,
                               const double[::1] floor) noexcept nogil:
    cdef Py_ssize_t j
    cdef bint any = False
    for j in range(l1.shape[0]):
        any |= l1[j] != 0 or l2[j] != 0 or floor[j] != -INFINITY
    return Penalty(&l1[0], &l2[0], &floor[0], any)


cdef inline Py_ssize_t list_rows(const Py_ssize_t* blocks, Py_ssize_t n_blocks,
                                 Py_ssize_t block_rows, Py_ssize_t n_rows,
                                 Py_ssize_t* rows) noexcept nogil:
    """Write the rows of the blocks in the order of the file; return how many."""
    cdef Py_ssize_t k, row, n_listed = 0
    for k in range(n_blocks):
        for row in range(blocks[k] * block_rows, min((blocks[k] + 1) * block_rows, n_rows)):
            rows[n_listed] = row
            n_listed += 1
    return n_listed


cdef inline Py_ssize_t permute(const Py_ssize_t* rows, Py_ssize_t n_listed,
                               const Py_ssize_t* within, Py_ssize_t tile_rows,
                               Py_ssize_t* permuted) noexcept nogil:
    """Write the rows in the order `within`, which skips the positions a short tile lacks."""
    cdef Py_ssize_t i, n_permuted = 0
    for i in range(tile_rows):
        if within[i] < n_listed:
            permuted[n_permuted] = rows[within[i]]
            n_permuted += 1
    return n_permuted


cdef vectorised_void sweep_rows(
    const floating* X, const double* y, const double* sample_weight,
    Py_ssize_t n_rows, Py_ssize_t n_features,
    const Py_ssize_t* blocks, Py_ssize_t n_blocks, Py_ssize_t block_rows,
    const Py_ssize_t* within, Py_ssize_t tile_rows, Py_ssize_t* tile, Py_ssize_t* coming,
    const double* offset, const double* scale, Loss loss, Penalty penalty, Schedule schedule,
    double rows_seen, double* theta, double* mean, Average* average, double* last_1, double* last_2,
) noexcept nogil:
    cdef Py_ssize_t tile_blocks = tile_rows // block_rows
    cdef Py_ssize_t first = 0, i, partner, n_tile, row_1, row_2, n_since
    cdef Py_ssize_t n_coming = list_rows(blocks, min(tile_blocks, n_blocks), block_rows, n_rows,
                                         coming)
    cdef Products product
    cdef bint ends
    cdef double implicit = 1 if schedule.implicit else 0
    cdef double rate_1, rate_2, residual_1, residual_2, softness_1, softness_2
    cdef double step_1 = 0, step_2 = 0, penalty_rate = 0, weight
    cdef double intercept_norm = scale[n_features] * scale[n_features]
    cdef double rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)

    while n_coming > 0:
        n_tile = permute(coming, n_coming, within, tile_rows, tile)
        first += tile_blocks
        n_coming = list_rows(blocks + first, min(tile_blocks, n_blocks - first), block_rows,
                             n_rows, coming)
        n_since = 0
        for i in range(0, n_tile, 2):
            # Rows go in pairs. The second sees the step of the first through z_1 . z_2, as if
            # it came after it; the odd one out is its own partner, at weight 0.
            partner = min(i + 1, n_tile - 1)
            row_1 = tile[i]
            row_2 = tile[partner]
            rate_1 = rate if sample_weight == NULL else rate * sample_weight[row_1]
            rate_2 = rate if sample_weight == NULL else rate * sample_weight[row_2]
            if i + 1 == n_tile:
                rate_2 = 0
            # Where no more rows are coming, those of this tile still stand there.
            prefetch(y + coming[i])
            if sample_weight != NULL:
                prefetch(sample_weight + coming[i])
            product = step_and_multiply(
                theta, step_1, last_1, step_2, last_2, X + row_1 * n_features,
                X + row_2 * n_features, n_features, offset, scale,
                X + coming[i] * n_features, X + coming[partner] * n_features)
            if floating is double:      # only read
                last_1 = <double*> (X + row_1 * n_features)
                last_2 = <double*> (X + row_2 * n_features)
            softness_1 = loss.compliance + implicit * rate_1 * product.first_norm
            residual_1 = y[row_1] - product.first
            step_1 = step_along(residual_1, rate_1, softness_1, loss)
            softness_2 = loss.compliance + implicit * rate_2 * product.second_norm
            residual_2 = y[row_2] - product.second - step_1 * product.cross
            step_2 = step_along(residual_2, rate_2, softness_2, loss)
            if penalty.any:
                penalty_rate = rate_of_penalty(residual_1, step_1, rate_1, softness_1,
                                               product.first_norm - intercept_norm, loss, schedule)
                penalty_rate += rate_of_penalty(residual_2, step_2, rate_2, softness_2,
                                                product.second_norm - intercept_norm, loss,
                                                schedule)

            n_since += min(2, n_tile - i)
            ends = n_since == AVERAGE_EVERY or i + 2 >= n_tile
            weight = 0
            if ends:
                average.rows += n_since
                weight = (1 + average.forget) * n_since
                weight /= average.rows + average.forget * n_since
                rows_seen += n_since
                n_since = 0
                rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)
            if ends or penalty.any:
                step_and_average(theta, step_1, last_1, step_2, last_2, n_features, offset, scale,
                                 penalty, penalty_rate, mean, weight, X[0])
                step_1 = 0
                step_2 = 0


def sweep(const floating[:, ::1] X, const double[::1] y, const double[::1] sample_weight,
          const Py_ssize_t[::1] blocks, Py_ssize_t block_rows, const Py_ssize_t[::1] within,
          const double[::1] offset, const double[::1] scale, loss, const double[::1] l1,
          const double[::1] l2, const double[::1] floor, schedule, double rows_seen,
          double[::1] theta, double[::1] mean, double mean_rows, double forget,
          Py_ssize_t[:, ::1] tiles, double[::1] last_1, double[::1] last_2):
    """One stochastic gradient step for each row of the given blocks, in place.

    With ``z = (scale * x - offset, scale[-1])`` a row with weight h moves theta by
    ``rate * h * m * z``, where m is the multiplier of the loss: at the residual before the
    step (explicit), or after it (implicit, the softness below), and the iterates, midway in
    the penalty's step, are averaged every 16 steps::

        m = clip(s(y - z . theta) / (compliance + rate * h * ||z||**2), lower, upper)

    Parameters
    ----------
    X : C-ordered array of shape (n_rows, n_features), float32 or float64
    y, sample_weight : float64 arrays of shape (n_rows,); None for weights of one
    blocks : which blocks of `block_rows` consecutive rows to visit, in which order
    within : permutation of the positions in a tile; its length is a multiple of block_rows
    offset, scale : arrays of shape (n_features,) and (n_features + 1,)
    loss : dead_zone, compliance, lower, upper
    l1, l2, floor : arrays of shape (n_features + 1,): the penalty's step, once every 2 rows, is
        the proximal one, ``max(shrink(theta, rate * l1) / (1 + rate * l2), floor)``, at the sum
        of rates that balance the steps of the rows, see `rate_of_penalty`
    schedule : learning_rate, power_t, implicit, mean of ||z||**2 without the intercept
    rows_seen : rows before this call, for the schedule
    theta, mean : arrays of shape (n_features + 1,), changed in place: iterate and average
    mean_rows, forget : rows in the average so far, and how fast it forgets them
    tiles : work space of shape (2, len(within))
    last_1, last_2 : work space of shape (n_features,), with finite numbers

    Returns
    -------
    float
        Rows in the average now.
    """
    cdef Loss c_loss
    cdef Penalty c_penalty
    cdef Schedule c_schedule
    cdef Average average
    cdef const double* weights = NULL
    c_loss.dead_zone, c_loss.compliance, c_loss.lower, c_loss.upper = loss
    c_penalty = penalty_of(l1, l2, floor)
    (c_schedule.learning_rate, c_schedule.power_t, c_schedule.implicit,
     c_schedule.norm) = schedule
    average.rows = mean_rows
    average.forget = forget
    if sample_weight is not None:
        weights = &sample_weight[0]
    if blocks.shape[0] > 0:
        with nogil:
            sweep_rows(
                &X[0, 0], &y[0], weights, X.shape[0], X.shape[1],
                &blocks[0], blocks.shape[0], block_rows, &within[0], within.shape[0],
                &tiles[0, 0], &tiles[1, 0], &offset[0], &scale[0], c_loss, c_penalty,
                c_schedule, rows_seen, &theta[0], &mean[0], &average, &last_1[0],
                &last_2[0])
    return average.rows


cdef struct Coordinate:         # of a sparse row's column: side by side, one cache miss fetches all
    double theta
    double mean
    double scale
    double offset


cdef struct SparseProducts:     # of theta and the offset with the stored part of a row
    double prediction
    double norm
    double crossing


cdef inline Py_ssize_t list_visits(
    const Py_ssize_t* blocks, Py_ssize_t n_blocks, Py_ssize_t block_rows, Py_ssize_t n_rows,
    const Py_ssize_t* within, Py_ssize_t tile_rows, Py_ssize_t* tile, Py_ssize_t* visits,
) noexcept nogil:
    """Write the rows of all tiles in the order of the steps; return how many."""
    cdef Py_ssize_t tile_blocks = tile_rows // block_rows
    cdef Py_ssize_t first = 0, n_tile, n_visits = 0
    while first < n_blocks:
        n_tile = list_rows(blocks + first, min(tile_blocks, n_blocks - first), block_rows,
                           n_rows, tile)
        n_visits += permute(tile, n_tile, within, tile_rows, visits + n_visits)
        first += tile_blocks
    return n_visits


cdef inline Py_ssize_t count_rows(const Py_ssize_t* blocks, Py_ssize_t n_blocks,
                                  Py_ssize_t block_rows, Py_ssize_t n_rows) noexcept nogil:
    cdef Py_ssize_t k, n_counted = 0
    for k in range(n_blocks):
        n_counted += min(block_rows, n_rows - blocks[k] * block_rows)
    return n_counted


cdef inline inlined_void fetch_sparse(
    const floating* data, const integer* indices, const integer* indptr, const double* y,
    const Py_ssize_t* visits, Py_ssize_t n_visits, Py_ssize_t i, const Coordinate* coordinates,
) noexcept nogil:
    """Ask for what the steps after the i-th need: where a row lies, the row, its coordinates.

    Each leads to the next, so each is asked for some rows earlier than the next.
    """
    cdef Py_ssize_t row, start, last, k
    prefetch(indptr + visits[min(i + 3 * ROWS_AHEAD, n_visits - 1)])
    row = visits[min(i + 2 * ROWS_AHEAD, n_visits - 1)]
    start, last = indptr[row], max(indptr[row], indptr[row + 1] - 1)  # of an empty row, too
    prefetch(y + row)
    fetch(<const char*> (data + start), (last - start) * sizeof(floating))
    fetch(<const char*> (indices + start), (last - start) * sizeof(integer))
    prefetch(data + last)
    prefetch(indices + last)
    row = visits[min(i + ROWS_AHEAD, n_visits - 1)]
    for k in range(indptr[row], indptr[row + 1]):
        prefetch(coordinates + indices[k])


cdef inline SparseProducts multiply_sparse(
    const floating* data, const integer* indices, Py_ssize_t n_entries,
    const Coordinate* coordinates, double shift,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef Coordinate c
    cdef double z, prediction = 0, norm = 0, crossing = 0
    for k in range(n_entries):
        c = coordinates[indices[k]]
        z = c.scale * data[k]
        prediction += (c.theta - shift * c.offset) * z
        norm += z * (z - 2 * c.offset)
        crossing += z * c.offset
    return SparseProducts(prediction, norm, crossing)


cdef inline void step_sparse(
    const floating* data, const integer* indices, Py_ssize_t n_entries, Coordinate* coordinates,
    double step, double mean_step,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef Coordinate* c
    cdef double z
    for k in range(n_entries):
        c = coordinates + indices[k]
        z = c.scale * data[k]
        c.theta += step * z
        c.mean -= mean_step * z


cdef void sweep_sparse_rows(
    const floating* data, const integer* indices, const integer* indptr, const double* y,
    const double* sample_weight, Py_ssize_t n_rows, Py_ssize_t n_features,
    const Py_ssize_t* blocks, Py_ssize_t n_blocks, Py_ssize_t block_rows, Py_ssize_t tile_blocks,
    const Py_ssize_t* visits, Py_ssize_t n_visits, const double* centre, const double* scale,
    Coordinate* coordinates, Loss loss, Penalty penalty, Py_ssize_t penalty_every,
    Schedule schedule,
    double rows_seen, double* theta, double* mean, Average* average,
) noexcept nogil:
    """The same steps as in `sweep_rows`, at the cost of the stored entries.

    The penalty has its turn after `penalty_every` rows, a power of two; the average after 16, or
    as many.

    A row is z = scale * x - offset, with offset = scale * centre. The dense part of all steps,
    -sum(step) * offset, is one number times a vector, and so is that of the average; the
    average is kept as its distance from theta, which shrinks by a factor at each block, and
    is nothing until the first block ends:

        theta := theta - shift * offset
        mean  := theta - mean_shift * offset + mean_scale * mean
    """
    cdef Py_ssize_t first = 0, stop = 0, i, j, row, n_since = 0
    cdef double shift = 0, mean_shift = 0, mean_scale = 1, offset_norm = 0, along = 0
    cdef double intercept_scale = scale[n_features]
    cdef double intercept_norm = intercept_scale * intercept_scale
    cdef double rate_h, residual, softness, step, weight, t, prediction, norm, penalty_rate = 0
    cdef Py_ssize_t every = max(penalty_every, AVERAGE_EVERY)
    cdef double implicit = 1 if schedule.implicit else 0
    cdef double rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)
    cdef double averaging = 1 if average.rows > 0 else 0
    cdef SparseProducts stored
    cdef Coordinate* c

    for j in range(n_features):
        c = coordinates + j
        c.theta = theta[j]
        c.mean = averaging * (mean[j] - theta[j])
        c.scale = scale[j]
        c.offset = scale[j] * centre[j]
        offset_norm += c.offset * c.offset
        along += c.theta * c.offset         # theta . offset, without the shift
    for i in range(n_visits):
        if i == stop:
            stop += count_rows(blocks + first, min(tile_blocks, n_blocks - first), block_rows,
                               n_rows)
            first += tile_blocks
        fetch_sparse(data, indices, indptr, y, visits, n_visits, i, coordinates)
        row = visits[i]
        stored = multiply_sparse(data + indptr[row], indices + indptr[row],
                                 indptr[row + 1] - indptr[row], coordinates, shift)
        prediction = (stored.prediction + theta[n_features] * intercept_scale
                      - along + shift * offset_norm)
        norm = stored.norm + offset_norm + intercept_norm

        rate_h = rate if sample_weight == NULL else rate * sample_weight[row]
        softness = loss.compliance + implicit * rate_h * norm
        residual = y[row] - prediction
        step = step_along(residual, rate_h, softness, loss)
        if penalty.any:
            penalty_rate += rate_of_penalty(residual, step, rate_h, softness,
                                            norm - intercept_norm, loss, schedule)
        step_sparse(data + indptr[row], indices + indptr[row], indptr[row + 1] - indptr[row],
                    coordinates, step, averaging * step / mean_scale)
        along += step * stored.crossing
        shift += step
        theta[n_features] += step * intercept_scale

        n_since += 1
        weight = 0
        if (n_since == every or i + 1 == n_visits
                or (i + 1 == stop and every == AVERAGE_EVERY)):
            average.rows += n_since
            weight = (1 + average.forget) * n_since / (average.rows + average.forget * n_since)
            mean[n_features] += weight * (theta[n_features] - mean[n_features])
            if averaging:
                mean_scale *= 1 - weight
            mean_shift += weight * (shift - mean_shift)
            averaging = 1
            rows_seen += n_since
            n_since = 0
            rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)
        if penalty.any and n_since % penalty_every == 0:
            along = 0
            for j in range(n_features):
                c = coordinates + j
                t = c.theta - shift * c.offset
                c.mean = c.theta + mean_scale * c.mean - mean_shift * c.offset
                c.theta = shrink(t, penalty_rate * penalty.l1[j], penalty_rate * penalty.l2[j],
                                 penalty.floor[j])
                c.mean += weight * (midway(t, c.theta) - t) - c.theta
                c.mean *= averaging     # nothing until the first block ends
                along += c.theta * c.offset
            shift = 0
            mean_shift = 0
            mean_scale = 1
            penalty_rate = 0

    for j in range(n_features):
        c = coordinates + j
        mean[j] = max(c.theta + mean_scale * c.mean - mean_shift * c.offset, penalty.floor[j])
        theta[j] = c.theta - shift * c.offset


def sweep_sparse(const floating[::1] data, const integer[::1] indices, const integer[::1] indptr,
                 Py_ssize_t n_features, const double[::1] y, const double[::1] sample_weight,
                 const Py_ssize_t[::1] blocks, Py_ssize_t block_rows,
                 const Py_ssize_t[::1] within, const double[::1] centre,
                 const double[::1] scale, loss, const double[::1] l1, const double[::1] l2,
                 const double[::1] floor, Py_ssize_t penalty_every, schedule, double rows_seen,
                 double[::1] theta, double[::1] mean, double mean_rows,
                 double forget, Py_ssize_t[:, ::1] tiles, double[:, ::1] coordinates):
    """`sweep` for the data, indices and indptr of a CSR matrix without duplicate entries.

    The penalty's step, which touches every coordinate, is taken once every `penalty_every`
    steps, a power of two. Work space: `coordinates` of shape (n_features, 4), best where no row of it straddles
    two cache lines.
    """
    cdef Loss c_loss
    cdef Penalty c_penalty
    cdef Schedule c_schedule
    cdef Average average
    cdef const double* weights = NULL
    cdef Py_ssize_t n_visits
    cdef Py_ssize_t[::1] visits = np.empty(blocks.shape[0] * block_rows, dtype=np.intp)
    cdef const floating* values = NULL
    cdef const integer* columns = NULL
    c_loss.dead_zone, c_loss.compliance, c_loss.lower, c_loss.upper = loss
    c_penalty = penalty_of(l1, l2, floor)
    (c_schedule.learning_rate, c_schedule.power_t, c_schedule.implicit,
     c_schedule.norm) = schedule
    average.rows = mean_rows
    average.forget = forget
    if sample_weight is not None:
        weights = &sample_weight[0]
    if data.shape[0] > 0:           # a matrix of zeros stores nothing
        values = &data[0]
        columns = &indices[0]
    if blocks.shape[0] > 0:
        with nogil:
            n_visits = list_visits(&blocks[0], blocks.shape[0], block_rows, y.shape[0],
                                   &within[0], within.shape[0], &tiles[0, 0], &visits[0])
            sweep_sparse_rows(
                values, columns, &indptr[0], &y[0], weights, y.shape[0], n_features,
                &blocks[0], blocks.shape[0], block_rows, within.shape[0] // block_rows,
                &visits[0], n_visits, &centre[0], &scale[0],
                <Coordinate*> &coordinates[0, 0], c_loss, c_penalty,
                penalty_every if c_penalty.any else AVERAGE_EVERY, c_schedule, rows_seen,
                &theta[0], &mean[0], &average)
    return average.rows


cdef struct Column:             # of a product: side by side, as above
    double slope
    double total


cdef inline double respond_sparse(const floating* data, const integer* indices,
                                  Py_ssize_t n_entries, const Column* columns,
                                  Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t k
    cdef double r = 0
    for k in range(n_entries):
        r += columns[indices[k] * stride].slope * data[k]
    return r


cdef inline void add_sparse(const floating* data, const integer* indices, Py_ssize_t n_entries,
                            double r, Column* columns, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n_entries):
        columns[indices[k] * stride].total += r * data[k]


cdef void add_sparse_products_of_rows(
    const floating* data, const integer* indices, const integer* indptr, const double* y,
    const double* sample_weight, Py_ssize_t n_rows, Py_ssize_t n_points, bint scattered,
    const double* base, Column* columns, double* sums, double* square,
) noexcept nogil:
    cdef Py_ssize_t i, k, entry, start, n_entries, last = indptr[n_rows] - 1
    cdef double r, h
    for i in range(n_rows):
        h = 1 if sample_weight == NULL else sample_weight[i]
        start, n_entries = indptr[i], indptr[i + 1] - indptr[i]
        if scattered:
            for entry in range(start + ENTRIES_AHEAD, start + ENTRIES_AHEAD + n_entries):
                prefetch(columns + indices[min(entry, last)] * n_points)
        for k in range(n_points):
            r = base[k] + respond_sparse(data + start, indices + start, n_entries, columns + k,
                                         n_points)
            if k == 0 and y != NULL:
                r += y[i]
                square[0] += h * r * r
            r *= h
            add_sparse(data + start, indices + start, n_entries, r, columns + k, n_points)
            sums[k] += r


def sparse_products(const floating[::1] data, const integer[::1] indices,
                    const integer[::1] indptr, const double[::1] y,
                    const double[::1] sample_weight, const double[::1] centre,
                    const double[::1] scale, const double[:, ::1] points,
                    double[:, ::1] totals, double[:, ::1] coordinates):
    """Sum h r z over the rows of a CSR matrix, for the responses r = z . point; read once.

    With z as in `sweep_sparse`. If there are targets, the first response is y + that: with minus a
    model as point, the residual. Totals are of the shape of points, (n_points, n_features + 1).
    Work space: `coordinates` of shape (n_features, 2 * n_points) at least.

    Returns
    -------
    float
        Sum of h times squared residuals; 0 without targets.
    """
    cdef Py_ssize_t j, k, n_points = points.shape[0], last = centre.shape[0]
    cdef const double* targets = NULL
    cdef const double* weights = NULL
    cdef const floating* values = NULL
    cdef const integer* places = NULL
    cdef double square = 0
    cdef double[::1] base = np.zeros(n_points)
    cdef double[::1] sums = np.zeros(n_points)
    cdef Column* columns = <Column*> &coordinates[0, 0]
    cdef Column* column
    if y is not None:
        targets = &y[0]
    if sample_weight is not None:
        weights = &sample_weight[0]
    if data.shape[0] > 0:           # a matrix of zeros stores nothing
        values = &data[0]
        places = &indices[0]
    with nogil:
        for k in range(n_points):
            base[k] = scale[last] * points[k, last]
            column = columns + k
            for j in range(last):
                column.slope = scale[j] * points[k, j]
                column.total = 0
                base[k] -= centre[j] * column.slope
                column += n_points
        add_sparse_products_of_rows(values, places, &indptr[0], targets, weights,
                                    indptr.shape[0] - 1, n_points,
                                    last * n_points > CACHED_COLUMNS, &base[0], columns,
                                    &sums[0], &square)
        for k in range(n_points):
            column = columns + k
            for j in range(last):
                totals[k, j] = scale[j] * (column.total - centre[j] * sums[k])
                column += n_points
            totals[k, last] = scale[last] * sums[k]
    return square


cdef vectorised_void standardise_rows(const floating* X, Py_ssize_t n_rows,
                                      Py_ssize_t n_features, const double* centre,
                                      const double* scale, double* out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_rows):
        fetch(<const char*> (X + i * n_features) + FETCH_AHEAD, n_features * sizeof(floating))
        write_row(X + i * n_features, n_features, centre, scale, out + i * (n_features + 1))


def standardise(const floating[:, ::1] X, Py_ssize_t start, Py_ssize_t stop,
                const double[::1] centre, const double[::1] scale, double[:, ::1] out):
    """Write rows start:stop as z = (scale * (x - centre), scale[-1]) into out."""
    with nogil:
        standardise_rows(&X[start, 0], stop - start, X.shape[1], &centre[0], &scale[0],
                         &out[0, 0])


cdef struct Four:               # numbers of four rows
    double r_0
    double r_1
    double r_2
    double r_3


cdef inline Four respond(
    const floating* x_0, const floating* x_1, const floating* x_2, const floating* x_3,
    const double* centre, const double* slope, Py_ssize_t n_features,
) noexcept nogil:
    """(x - centre) . slope of four rows."""
    cdef Py_ssize_t j
    cdef double m, p, r_0 = 0, r_1 = 0, r_2 = 0, r_3 = 0
    for j in range(n_features):
        m = centre[j]
        p = slope[j]
        r_0 += p * (x_0[j] - m)
        r_1 += p * (x_1[j] - m)
        r_2 += p * (x_2[j] - m)
        r_3 += p * (x_3[j] - m)
    return Four(r_0, r_1, r_2, r_3)


cdef inline void add_centred(
    const floating* x_0, const floating* x_1, const floating* x_2, const floating* x_3,
    Four r, const double* centre, Py_ssize_t n_features, unaliased total,
) noexcept nogil:
    """Add r (x - centre) of four rows."""
    cdef Py_ssize_t j
    cdef double m
    for j in range(n_features):
        m = centre[j]
        total[j] += (r.r_0 * (x_0[j] - m) + r.r_1 * (x_1[j] - m)
                     + r.r_2 * (x_2[j] - m) + r.r_3 * (x_3[j] - m))


cdef vectorised_void add_products_of_rows(
    const floating* X, const double* y, const double* sample_weight, Py_ssize_t n_rows,
    Py_ssize_t n_features, const double* centre, const double* slopes, Py_ssize_t n_slopes,
    double* totals, double* square,
) noexcept nogil:
    cdef Py_ssize_t i, k, n_left, last = n_features     # of a slope or total: the intercept's
    cdef const floating* x[4]
    cdef double h[4]
    cdef double target[4]
    cdef Four r
    cdef const double* slope
    cdef double* total
    for i in range(0, n_rows, 4):
        fetch_ahead(<const char*> (X + i * n_features), 4 * n_features * sizeof(floating))
        for k in range(4):          # beyond the end: the row again, at weight 0
            n_left = i + k if i + k < n_rows else i
            x[k] = X + n_left * n_features
            target[k] = y[n_left] if y != NULL else 0
            h[k] = 0
            if i + k < n_rows:
                h[k] = 1 if sample_weight == NULL else sample_weight[i + k]
        for k in range(n_slopes):
            slope = slopes + k * (last + 1)
            total = totals + k * (last + 1)
            r = respond(x[0], x[1], x[2], x[3], centre, slope, n_features)
            r = Four(r.r_0 + slope[last], r.r_1 + slope[last],
                     r.r_2 + slope[last], r.r_3 + slope[last])
            if k == 0 and y != NULL:
                r = Four(target[0] + r.r_0, target[1] + r.r_1,
                         target[2] + r.r_2, target[3] + r.r_3)
                square[0] += (h[0] * r.r_0 * r.r_0 + h[1] * r.r_1 * r.r_1
                              + h[2] * r.r_2 * r.r_2 + h[3] * r.r_3 * r.r_3)
            r = Four(h[0] * r.r_0, h[1] * r.r_1, h[2] * r.r_2, h[3] * r.r_3)
            add_centred(x[0], x[1], x[2], x[3], r, centre, n_features, total)
            total[last] += r.r_0 + r.r_1 + r.r_2 + r.r_3


def add_products(const floating[:, ::1] X, const double[::1] y, const double[::1] sample_weight,
                 const double[::1] centre, const double[:, ::1] slopes, double[:, ::1] totals):
    """Add h r (x - centre, 1) over all rows to the total of each slope; X is read once.

    With a slope in the units of the data and the response ``r = (x - centre, 1) . slope`` this is
    the weighted second moment of the rows times the slope. If there are targets, the first response
    is y + that: with minus a model as slope, the residual.

    Returns
    -------
    float
        Sum of h times squared residuals; 0 without targets.
    """
    cdef const double* targets = NULL
    cdef const double* weights = NULL
    cdef double square = 0
    if y is not None:
        targets = &y[0]
    if sample_weight is not None:
        weights = &sample_weight[0]
    with nogil:
        add_products_of_rows(&X[0, 0], targets, weights, X.shape[0], X.shape[1], &centre[0],
                             &slopes[0, 0], slopes.shape[0], &totals[0, 0], &square)
    return square


cdef inline void add_four(
    const floating* x_0, double h_0, const floating* x_1, double h_1,
    const floating* x_2, double h_2, const floating* x_3, double h_3,
    const floating* shift, Py_ssize_t n_features, unaliased total, unaliased square,
) noexcept nogil:
    """Add weighted distances of four rows from the shift, and their squares."""
    cdef Py_ssize_t j
    cdef double s, d_0, d_1, d_2, d_3
    for j in range(n_features):
        s = shift[j]
        d_0 = x_0[j] - s
        d_1 = x_1[j] - s
        d_2 = x_2[j] - s
        d_3 = x_3[j] - s
        total[j] += (h_0 * d_0 + h_1 * d_1) + (h_2 * d_2 + h_3 * d_3)
        square[j] += (h_0 * d_0 * d_0 + h_1 * d_1 * d_1) + (h_2 * d_2 * d_2 + h_3 * d_3 * d_3)


cdef vectorised_void moments_of_rows(
    const floating* X, const double* sample_weight, Py_ssize_t n_rows, Py_ssize_t n_features,
    const floating* shift, double* total, double* square,
) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef const floating* x[4]
    cdef double h[4]
    for i in range(0, n_rows, 4):
        fetch_ahead(<const char*> (X + i * n_features), 4 * n_features * sizeof(floating))
        for k in range(4):          # beyond the end: the shift, at weight 0
            x[k] = X + (i + k) * n_features if i + k < n_rows else shift
            h[k] = 0
            if i + k < n_rows:
                h[k] = 1 if sample_weight == NULL else sample_weight[i + k]
        add_four(x[0], h[0], x[1], h[1], x[2], h[2], x[3], h[3], shift, n_features, total,
                 square)


cdef inline void merge(
    const floating* shift, const double* total, const double* square, double weight, double before,
    Py_ssize_t n_features, unaliased mean, unaliased deviation,
) noexcept nogil:
    """Merge the moments of one more chunk (Chan, Golub & LeVeque, 1983)."""
    cdef Py_ssize_t j
    cdef double here, gap, own, share = weight / (before + weight)
    for j in range(n_features):
        if weight == 0:             # not a number if there is one in the chunk
            mean[j] += total[j]
            continue
        here = shift[j] + total[j] / weight
        gap = here - mean[j]
        own = square[j] - total[j] * (total[j] / weight)
        if before > 0:
            mean[j] += gap * share
            deviation[j] += gap * gap * (before * share)
        else:
            mean[j] += here
        deviation[j] += 0 if own < 0 else own


def moments(const floating[:, ::1] X, const double[::1] sample_weight, Py_ssize_t chunk_rows,
            double[:, ::1] sums, double[::1] mean, double[::1] deviation):
    """Write the weighted mean, and the sum of squared distances from it, of every column.

    In each chunk distances are from a row s of the largest weight: its squared distance from the
    mean of the chunk is at most chunk_rows variances, so the variance is exact to that many
    roundings. All distances in a constant column are exactly zero::

        total = sum of h (x - s),    square = sum of h (x - s)**2

    Parameters
    ----------
    X : C-ordered array of shape (n_rows, n_features), float32 or float64
    sample_weight : float64 array of shape (n_rows,); None for weights of one
    chunk_rows : rows of a chunk
    sums : work space of shape (2, n_features)
    mean, deviation : zeros of shape (n_features,), written

    Returns
    -------
    tuple
        Number of rows of positive weight, and the sum of weights.
    """
    cdef const double* weights = NULL
    cdef Py_ssize_t start = 0, stop, row, shift, n_seen = 0
    cdef double h, weight, before = 0
    with nogil:
        while start < X.shape[0]:
            stop = min(start + chunk_rows, X.shape[0])
            shift, weight = start, stop - start
            if sample_weight is not None:
                weights, weight = &sample_weight[start], 0
                for row in range(start, stop):
                    h = sample_weight[row]
                    weight += h
                    n_seen += h > 0
                    if h > sample_weight[shift]:
                        shift = row
            sums[:] = 0
            moments_of_rows(&X[start, 0], weights, stop - start, X.shape[1], &X[shift, 0],
                            &sums[0, 0], &sums[1, 0])
            merge(&X[shift, 0], &sums[0, 0], &sums[1, 0], weight, before, X.shape[1], &mean[0],
                  &deviation[0])
            before += weight
            start = stop
    return (X.shape[0] if sample_weight is None else n_seen), before
