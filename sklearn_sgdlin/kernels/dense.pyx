# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over dense rows.

`sweep` walks once over given rows and takes one stochastic gradient step for each. `add_products`
multiplies all rows with some vectors, there and back. `standardise` writes rows in the coordinates
the steps are taken in, and `moments` gathers the mean and variance that define those coordinates.

Rows are visited in tiles: while the steps go through the rows of one tile in random order,
the rows of the next are fetched into the cache in the order of the file. So a shuffled pass
costs little more than a sequential one. X is read where it is, float32 or float64, and all
arithmetic is double.
"""

from sklearn_sgdlin.kernels.common cimport (
    AVERAGE_EVERY, CACHE_LINE_BYTES, Penalty, Step, StepRule, Loss, Sweep, Targets, fetch, floating,
    inlined_void, list_rows, midway, permute, prefetch, rate_after, rate_of_penalty, read_sweep,
    read_targets, shrink, step_of_row, unaliased, vectorised_void, weight_of_next,
)

import numpy as np

cdef enum:
    # A sequential pass asks for rows so many bytes ahead.
    FETCH_AHEAD = 1 << 14
    # Of a long row so many bytes are asked for at a time: more would wait for each other.
    FETCH_PIECE = 512
    # Rows that such a pass multiplies at a time: their sums do not wait for each other.
    ROWS = 4


def aligned_empty(Py_ssize_t n_numbers):
    """Return an uninitialised vector of float64 that starts at a cache line."""
    cdef Py_ssize_t start, number = sizeof(double)
    cdef double[::1] view
    buffer = np.empty(n_numbers + CACHE_LINE_BYTES // number)
    view = buffer
    start = (CACHE_LINE_BYTES - <size_t> &view[0] % CACHE_LINE_BYTES) // number
    return buffer[start:start + n_numbers]


def aligned_copy(const double[:] vector):
    """Return a copy that starts at a cache line, so that no vector load straddles two."""
    copy = aligned_empty(vector.shape[0])
    cdef double[::1] view = copy
    view[:] = vector
    return copy


cdef struct Columns:                # of rows in the scaling, z = scale * x - offset
    const double* offset
    const double* scale             # one more, for the intercept
    Py_ssize_t n_features


cdef struct RowPair:                # two rows, and the two to be fetched meanwhile
    Py_ssize_t first
    Py_ssize_t second
    Py_ssize_t coming_first
    Py_ssize_t coming_second


cdef struct Pending:                # the steps of the last two rows, before theta has taken them
    double step_1
    double step_2
    double* last_1                  # the rows: x if float64, z if float32
    double* last_2


cdef struct PairProducts:           # of theta and two rows in the scaling, z_1 and z_2
    double first                    # theta . z_1
    double second                   # theta . z_2
    double first_norm               # z_1 . z_1
    double second_norm              # z_2 . z_2
    double cross                    # z_1 . z_2


cdef inline double pending_update(Pending pending, double last_1, double last_2, double scale,
                                  double offset, floating kind) noexcept nogil:
    """A coordinate of step_1 * z_1 + step_2 * z_2, for the last two rows.

    Of float64 the rows x are read once more, which costs less than to keep z = scale * x - offset;
    of float32 z is kept, for x would have to be converted once more.
    """
    cdef double along = pending.step_1 * last_1 + pending.step_2 * last_2
    if floating is float:
        return along
    else:
        return scale * along - offset * (pending.step_1 + pending.step_2)


cdef inline PairProducts step_and_multiply(
    const floating* X, RowPair pair, Columns columns, Pending pending, unaliased theta,
    unaliased last_1, unaliased last_2,
) noexcept nogil:
    """Finish the steps of the last two rows and return the products with the next two.

    All in one pass: theta and the scaling are read once for two rows, and one latency is paid
    where there were two. The coming rows are asked for little by little, so that they arrive
    while others are multiplied. The last rows are those that are pending: compilers heed that
    pointers are unaliased only where they are arguments.
    """
    cdef Py_ssize_t start = 0, stop, j, n_features = columns.n_features
    cdef const floating* x_1 = X + pair.first * n_features
    cdef const floating* x_2 = X + pair.second * n_features
    cdef const floating* coming_1 = X + pair.coming_first * n_features
    cdef const floating* coming_2 = X + pair.coming_second * n_features
    cdef double o, s, t, z_1, z_2
    cdef double first = 0, second = 0, first_norm = 0, second_norm = 0, cross = 0
    while start < n_features:
        stop = min(start + FETCH_PIECE // <Py_ssize_t> sizeof(floating), n_features)
        fetch(<const char*> (coming_1 + start), (stop - start) * sizeof(floating))
        fetch(<const char*> (coming_2 + start), (stop - start) * sizeof(floating))
        for j in range(start, stop):
            o = columns.offset[j]
            s = columns.scale[j]
            t = theta[j] + pending_update(pending, last_1[j], last_2[j], s, o, x_1[j])
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
    s = columns.scale[n_features]   # the intercept: a column of ones
    t = theta[n_features] + s * (pending.step_1 + pending.step_2)
    theta[n_features] = t
    return PairProducts(first + t * s, second + t * s,
                        first_norm + s * s, second_norm + s * s, cross + s * s)


cdef inline void step_and_average(unaliased theta, Pending pending, Columns columns,
                                  Penalty penalty, unaliased mean, double weight,
                                  floating kind) noexcept nogil:
    """Finish the steps of the last two rows, take that of the penalty, move the average."""
    cdef const double* last_1 = pending.last_1
    cdef const double* last_2 = pending.last_2
    cdef const double* scale = columns.scale
    cdef const double* offset = columns.offset
    cdef Py_ssize_t j, n_features = columns.n_features
    cdef double t, before
    if penalty.any:
        for j in range(n_features):
            before = theta[j] + pending_update(pending, last_1[j], last_2[j], scale[j], offset[j],
                                               kind)
            t = shrink(before, penalty.rate * penalty.l1[j], penalty.rate * penalty.l2[j],
                       penalty.floor[j])
            theta[j] = t
            mean[j] += weight * (midway(before, t) - mean[j])
    else:
        for j in range(n_features):
            t = theta[j] + pending_update(pending, last_1[j], last_2[j], scale[j], offset[j], kind)
            theta[j] = t
            mean[j] += weight * (t - mean[j])
    theta[n_features] += scale[n_features] * (pending.step_1 + pending.step_2)
    mean[n_features] += weight * (theta[n_features] - mean[n_features])


cdef vectorised_void sweep_rows(const floating* X, Targets targets, Columns columns,
                                Pending pending, Sweep* sweep, Py_ssize_t* tiles) noexcept nogil:
    cdef const double* y = targets.y
    cdef const double* sample_weight = targets.sample_weight
    cdef double* theta = sweep.theta
    cdef double* mean = sweep.average.mean
    cdef Loss loss = sweep.loss
    cdef StepRule rule = sweep.rule
    cdef Penalty penalty = sweep.penalty
    cdef Py_ssize_t tile_blocks = sweep.order.tile_rows // sweep.order.block_rows
    cdef Py_ssize_t* tile = tiles
    cdef Py_ssize_t* coming = tiles + sweep.order.tile_rows
    cdef Py_ssize_t first_block = 0, i, partner, n_tile, n_since
    cdef Py_ssize_t n_coming = list_rows(sweep.order, 0, coming)
    cdef RowPair pair
    cdef PairProducts product
    cdef Step first, second
    cdef bint ends
    cdef double rate_1, rate_2, residual_1, residual_2, weight, rows_seen = sweep.rows_seen
    cdef double intercept_norm = columns.scale[columns.n_features] ** 2
    cdef double rate = rate_after(rows_seen, rule)

    while n_coming > 0:
        n_tile = permute(sweep.order, coming, n_coming, tile)
        first_block += tile_blocks
        n_coming = list_rows(sweep.order, first_block, coming)
        n_since = 0
        for i in range(0, n_tile, 2):
            # Rows go in pairs. The second sees the step of the first through z_1 . z_2, as if
            # it came after it; the odd one out is its own partner, at weight 0.
            partner = min(i + 1, n_tile - 1)
            # Where no more rows are coming, those of this tile still stand there.
            pair = RowPair(tile[i], tile[partner], coming[i], coming[partner])
            rate_1 = rate if sample_weight == NULL else rate * sample_weight[pair.first]
            rate_2 = rate if sample_weight == NULL else rate * sample_weight[pair.second]
            if i + 1 == n_tile:
                rate_2 = 0
            prefetch(y + pair.coming_first)
            if sample_weight != NULL:
                prefetch(sample_weight + pair.coming_first)
            product = step_and_multiply(X, pair, columns, pending, theta, pending.last_1,
                                        pending.last_2)
            if floating is double:      # only read
                pending.last_1 = <double*> (X + pair.first * columns.n_features)
                pending.last_2 = <double*> (X + pair.second * columns.n_features)
            residual_1 = y[pair.first] - product.first
            residual_2 = y[pair.second] - product.second
            first = step_of_row(residual_1, product.first_norm, rate_1, loss, rule)
            residual_2 -= first.length * product.cross
            second = step_of_row(residual_2, product.second_norm, rate_2, loss, rule)
            pending.step_1 = first.length
            pending.step_2 = second.length
            if penalty.any:
                penalty.rate += rate_of_penalty(first, product.first_norm - intercept_norm, loss,
                                                rule)
                penalty.rate += rate_of_penalty(second, product.second_norm - intercept_norm,
                                                loss, rule)

            n_since += min(2, n_tile - i)
            ends = n_since == AVERAGE_EVERY or i + 2 >= n_tile
            weight = 0
            if ends:
                weight = weight_of_next(&sweep.average, n_since)
                rows_seen += n_since
                n_since = 0
                rate = rate_after(rows_seen, rule)
            if ends or (penalty.any and n_since % penalty.every == 0):
                step_and_average(theta, pending, columns, penalty, mean, weight, X[0])
                pending.step_1 = 0
                pending.step_2 = 0
                penalty.rate = 0


def sweep(const floating[:, ::1] X, targets, columns, plan):
    """One stochastic gradient step for each row of the given blocks, in place.

    With ``z = (scale * x - offset, scale[-1])`` a row with weight h moves theta by
    ``rate * h * m * z``, where m is the multiplier of the loss: at the residual before the
    step (explicit), or after it (implicit, the softness below), and the iterates, midway in
    the penalty's step, are averaged every 16 steps::

        m = clip(s(y - z . theta) / (compliance + rate * h * ||z||**2), lower, upper)

    The penalty's step, after `penalty_every` rows of the plan and before the average, is the
    proximal one, ``max(shrink(theta, rate * l1) / (1 + rate * l2), floor)``, at the sum of rates
    that balance the steps of the rows, see `rate_of_penalty`. As rows go in pairs, that number is
    even.

    Parameters
    ----------
    X : C-ordered array of shape (n_rows, n_features), float32 or float64
    targets : (y, sample_weight)
        float64 arrays of shape (n_rows,); None for weights of one.
    columns : (offset, scale, last_1, last_2)
        Arrays of shape (n_features,), of the scale (n_features + 1,). The last two are work space
        with finite numbers, which is written where X is float32.
    plan : SweepPlan

    Returns
    -------
    float
        Rows in the average now.
    """
    cdef const double[::1] offset, scale, last_1, last_2
    cdef Py_ssize_t[::1] tiles
    cdef Targets c_targets = read_targets(targets, X.shape[0])
    cdef Sweep c_sweep = read_sweep(plan, X.shape[0])
    offset, scale, last_1, last_2 = columns
    cdef Columns c_columns = Columns(&offset[0], &scale[0], X.shape[1])
    cdef Pending pending = Pending(0, 0, <double*> &last_1[0], <double*> &last_2[0])
    tiles = np.empty(2 * c_sweep.order.tile_rows, dtype=np.intp)
    with nogil:
        sweep_rows(&X[0, 0], c_targets, c_columns, pending, &c_sweep, &tiles[0])
    return c_sweep.average.rows


cdef inline void write_row(const floating* x, Py_ssize_t n_features, const double* centre,
                           const double* scale, unaliased z) noexcept nogil:
    """z = (scale * (x - centre), scale of the intercept)."""
    cdef Py_ssize_t j
    for j in range(n_features):
        z[j] = scale[j] * (x[j] - centre[j])
    z[n_features] = scale[n_features]


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


cdef struct ProductSums:            # of all rows, for several slopes
    const double* slopes
    Py_ssize_t n_slopes
    double* totals
    double square


cdef inline inlined_void fetch_ahead(const char* rows, Py_ssize_t n_bytes) noexcept nogil:
    """Ask for rows of a sequential pass, unless they are so long that the processor does."""
    if n_bytes <= FETCH_AHEAD:
        fetch(rows + FETCH_AHEAD, n_bytes)


cdef inline void respond(const floating** x, const double* centre, const double* slope,
                         Py_ssize_t n_features, double* responses) noexcept nogil:
    """(x - centre, 1) . slope of some rows."""
    cdef Py_ssize_t j, k
    cdef double r[ROWS]             # a local array stays in registers
    for k in range(ROWS):
        r[k] = 0
    for j in range(n_features):
        for k in range(ROWS):
            r[k] += slope[j] * (x[k][j] - centre[j])
    for k in range(ROWS):
        responses[k] = r[k] + slope[n_features]


cdef inline void add_centred(const floating** x, const double* r, const double* centre,
                             Py_ssize_t n_features, unaliased total) noexcept nogil:
    """Add r (x - centre, 1) of some rows."""
    cdef Py_ssize_t j, k
    cdef double sum_of_rows
    for j in range(n_features):
        sum_of_rows = 0
        for k in range(ROWS):
            sum_of_rows += r[k] * (x[k][j] - centre[j])
        total[j] += sum_of_rows
    for k in range(ROWS):
        total[n_features] += r[k]


cdef vectorised_void add_products_of_rows(const floating* X, Targets targets,
                                          const double* centre, Py_ssize_t n_features,
                                          ProductSums* sums) noexcept nogil:
    cdef Py_ssize_t i = 0, k, point, row
    cdef const floating* x[ROWS]
    cdef double h[ROWS]
    cdef double y[ROWS]
    cdef double r[ROWS]
    while i < targets.n_rows:
        fetch_ahead(<const char*> (X + i * n_features), ROWS * n_features * sizeof(floating))
        for k in range(ROWS):       # beyond the end: the row again, at weight 0
            row = i + k if i + k < targets.n_rows else i
            x[k] = X + row * n_features
            y[k] = targets.y[row] if targets.y != NULL else 0
            h[k] = 0
            if i + k < targets.n_rows:
                h[k] = 1 if targets.sample_weight == NULL else targets.sample_weight[i + k]
        for point in range(sums.n_slopes):
            respond(x, centre, sums.slopes + point * (n_features + 1), n_features, r)
            for k in range(ROWS):
                if point == 0 and targets.y != NULL:
                    r[k] += y[k]
                    sums.square += h[k] * r[k] * r[k]
                r[k] *= h[k]
            add_centred(x, r, centre, n_features, sums.totals + point * (n_features + 1))
        i += ROWS


def add_products(const floating[:, ::1] X, targets, const double[::1] centre,
                 const double[:, ::1] slopes, double[:, ::1] totals):
    """Add h r (x - centre, 1) over all rows to the total of each slope; X is read once.

    With a slope in the units of the data and the response ``r = (x - centre, 1) . slope`` this is
    the weighted second moment of the rows times the slope. If there are targets, the first response
    is y + that: with minus a model as slope, the residual.

    Parameters
    ----------
    targets : (y, sample_weight)
        Either may be None.

    Returns
    -------
    float
        Sum of h times squared residuals; 0 without targets.
    """
    cdef Targets c_targets = read_targets(targets, X.shape[0])
    cdef ProductSums sums = ProductSums(&slopes[0, 0], slopes.shape[0], &totals[0, 0], 0)
    with nogil:
        add_products_of_rows(&X[0, 0], c_targets, &centre[0], X.shape[1], &sums)
    return sums.square


cdef struct ChunkSums:              # of the distances of the rows of a chunk from a shift
    double* total                   # sum of h (x - shift)
    double* square                  # sum of h (x - shift)**2
    double weight                   # sum of h


cdef inline void add_distances_of(const floating** x, const double* h, const floating* shift,
                                  Py_ssize_t n_features, unaliased total,
                                  unaliased square) noexcept nogil:
    """Add weighted distances of some rows from the shift, and their squares."""
    cdef Py_ssize_t j, k
    cdef double s, distance, first, second
    for j in range(n_features):
        s = shift[j]                # as a double, so that differences of float32 are exact
        first = second = 0
        for k in range(ROWS):
            distance = x[k][j] - s
            first += h[k] * distance
            second += h[k] * distance * distance
        total[j] += first
        square[j] += second


cdef vectorised_void add_distances(const floating* X, const double* sample_weight,
                                   Py_ssize_t n_rows, Py_ssize_t n_features,
                                   const floating* shift, ChunkSums sums) noexcept nogil:
    cdef Py_ssize_t i = 0, k
    cdef const floating* x[ROWS]
    cdef double h[ROWS]
    while i < n_rows:
        fetch_ahead(<const char*> (X + i * n_features), ROWS * n_features * sizeof(floating))
        for k in range(ROWS):       # beyond the end: the shift, at weight 0
            x[k] = X + (i + k) * n_features if i + k < n_rows else shift
            h[k] = 0
            if i + k < n_rows:
                h[k] = 1 if sample_weight == NULL else sample_weight[i + k]
        add_distances_of(x, h, shift, n_features, sums.total, sums.square)
        i += ROWS


cdef inline void merge(const floating* shift, ChunkSums chunk, double before,
                       Py_ssize_t n_features, unaliased mean,
                       unaliased sum_of_squares) noexcept nogil:
    """Merge the moments of one more chunk (Chan, Golub & LeVeque, 1983)."""
    cdef Py_ssize_t j
    cdef double here, gap, own, total, share = chunk.weight / (before + chunk.weight)
    for j in range(n_features):
        total = chunk.total[j]
        if chunk.weight == 0:       # not a number if there is one in the chunk
            mean[j] += total
            continue
        here = shift[j] + total / chunk.weight
        gap = here - mean[j]
        own = chunk.square[j] - total * (total / chunk.weight)
        if before > 0:
            mean[j] += gap * share
            sum_of_squares[j] += gap * gap * (before * share)
        else:
            mean[j] += here
        sum_of_squares[j] += 0 if own < 0 else own


def moments(const floating[:, ::1] X, const double[::1] sample_weight, Py_ssize_t chunk_rows,
            double[:, ::1] sums, double[::1] mean, double[::1] sum_of_squares):
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
    mean, sum_of_squares : zeros of shape (n_features,), written

    Returns
    -------
    tuple
        Number of rows of positive weight, and the sum of weights.
    """
    cdef const double* weights = NULL
    cdef Py_ssize_t start = 0, stop, row, shift, n_seen = 0
    cdef double h, before = 0
    cdef ChunkSums chunk = ChunkSums(&sums[0, 0], &sums[1, 0], 0)
    with nogil:
        while start < X.shape[0]:
            stop = min(start + chunk_rows, X.shape[0])
            shift, chunk.weight = start, stop - start
            if sample_weight is not None:
                weights, chunk.weight = &sample_weight[start], 0
                for row in range(start, stop):
                    h = sample_weight[row]
                    chunk.weight += h
                    n_seen += h > 0
                    if h > sample_weight[shift]:
                        shift = row
            sums[:] = 0
            add_distances(&X[start, 0], weights, stop - start, X.shape[1], &X[shift, 0], chunk)
            merge(&X[shift, 0], chunk, before, X.shape[1], &mean[0], &sum_of_squares[0])
            before += chunk.weight
            start = stop
    return (X.shape[0] if sample_weight is None else n_seen), before
