# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops: all that touches every row of X.

`sweep` walks once over given rows and takes one stochastic gradient step for each.
`standardise` writes rows in the coordinates the steps are taken in, and
`update_moments` gathers the mean and variance that define those coordinates.

Rows are visited in tiles. A tile is copied, centred and scaled into a buffer that stays
in cache, while the rows of the next tile are already on their way from memory; the steps
then read nothing but that buffer. So a shuffled pass costs little more than a sequential
one, and float32 and float64 input meet the same double arithmetic.
"""

from libc.math cimport pow, sqrt

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
    #define SGDLIN_PREFETCH(address) __builtin_prefetch(address, 0, 1)
    #else
    #define SGDLIN_PREFETCH(address) (void)(address)
    #endif
    """
    ctypedef void vectorised_void "SGDLIN_VECTORISED void"
    void prefetch "SGDLIN_PREFETCH" (const void* address) noexcept nogil

ctypedef fused floating:
    float
    double

cdef enum:
    CACHE_LINE = 64             # bytes
    AVERAGE_EVERY = 16          # steps between two contributions to the average


cdef struct Loss:               # see _loss.py
    double dead_zone
    double compliance
    double lower
    double upper


cdef struct Schedule:           # rate of a step: learning_rate / rows_seen**power_t
    double learning_rate
    double power_t
    bint implicit


cdef struct Average:            # weight of a new iterate: (1 + forget) rows / (rows so far + ...)
    double forget
    double rows


cdef inline double multiplier(double residual, double softness, Loss loss) noexcept nogil:
    """-d loss / d prediction at the end of a step; softness = compliance + rate h ||z||^2."""
    cdef double outside, m
    if residual > loss.dead_zone:
        outside = residual - loss.dead_zone
    elif residual < -loss.dead_zone:
        outside = residual + loss.dead_zone
    else:                       # 0 in the dead zone, and NaN stays visible
        return residual - residual
    m = outside / softness
    if m < loss.lower:
        return loss.lower
    if m > loss.upper:
        return loss.upper
    return m


cdef inline double write_row(const floating* x, Py_ssize_t n_features, const double* centre,
                             const double* scale, double* z) noexcept nogil:
    """z = (scale * (x - centre), scale of the intercept); returns ||z||^2."""
    cdef Py_ssize_t j
    cdef double z_j, norm = 0
    for j in range(n_features):
        z_j = scale[j] * (x[j] - centre[j])
        z[j] = z_j
        norm += z_j * z_j
    z[n_features] = scale[n_features]
    return norm + scale[n_features] * scale[n_features]


cdef inline double step_and_predict(double* theta, double step, const double* last,
                                    const double* z, Py_ssize_t width) noexcept nogil:
    """Finish the step of the last row, theta += step * last, and return z . theta.

    Both in one pass over theta: the latency of one loop a row, not two.
    """
    cdef Py_ssize_t j
    cdef double theta_j, prediction = 0
    for j in range(width):
        theta_j = theta[j] + step * last[j]
        theta[j] = theta_j
        prediction += theta_j * z[j]
    return prediction


cdef inline void step_and_average(double* theta, double step, const double* last,
                                  double* mean, double weight, Py_ssize_t width) noexcept nogil:
    """Finish the step of the last row and move the average towards theta."""
    cdef Py_ssize_t j
    for j in range(width):
        theta[j] += step * last[j]
        mean[j] += weight * (theta[j] - mean[j])


cdef vectorised_void sweep_rows(
    const floating* X, const double* y, const double* sample_weight,
    Py_ssize_t n_rows, Py_ssize_t n_features,
    const Py_ssize_t* blocks, Py_ssize_t n_blocks, Py_ssize_t block_rows,
    const Py_ssize_t* within, Py_ssize_t tile_rows,
    const double* centre, const double* scale, Loss loss, Schedule schedule, double rows_seen,
    double* theta, double* mean, Average* average,
    double* tile, double* tile_norm, Py_ssize_t* tile_row, Py_ssize_t width,
) noexcept nogil:
    cdef Py_ssize_t blocks_per_tile = tile_rows // block_rows
    cdef Py_ssize_t first = 0, filled, k, row, position, i, ahead, byte, n_since
    cdef Py_ssize_t row_bytes = n_features * sizeof(floating)
    cdef const double* z
    cdef const double* last
    cdef double residual, h, rate, step, rate_norm

    while first < n_blocks:
        # Fill the tile: blocks in the given order, rows in file order.
        filled = 0
        for k in range(first, min(first + blocks_per_tile, n_blocks)):
            for row in range(blocks[k] * block_rows, min((blocks[k] + 1) * block_rows, n_rows)):
                tile_norm[filled] = write_row(
                    X + row * n_features, n_features, centre, scale, tile + filled * width)
                tile_row[filled] = row
                filled += 1
        first += blocks_per_tile

        # Step through the tile in the order `within`; a short tile skips what it lacks.
        last = tile
        step = 0
        ahead = 0
        n_since = 0
        rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)
        for i in range(tile_rows):
            position = within[i]
            if position >= filled:
                continue
            k = first + ahead // block_rows
            if k < n_blocks:
                row = blocks[k] * block_rows + ahead % block_rows
                if row < n_rows:
                    byte = 0
                    while byte < row_bytes:
                        prefetch(<const char*> (X + row * n_features) + byte)
                        byte += CACHE_LINE
            ahead += 1

            row = tile_row[position]
            h = 1 if sample_weight == NULL else sample_weight[row]
            rate_norm = rate * h * tile_norm[position] if schedule.implicit else 0
            z = tile + position * width
            residual = y[row] - step_and_predict(theta, step, last, z, width)
            step = 0
            if h > 0:
                step = rate * h * multiplier(residual, loss.compliance + rate_norm, loss)
            last = z

            n_since += 1
            if n_since == AVERAGE_EVERY or ahead == filled:
                average.rows += n_since
                step_and_average(theta, step, last, mean, (1 + average.forget) * n_since
                                 / (average.rows + average.forget * n_since), width)
                step = 0
                rows_seen += n_since
                n_since = 0
                rate = schedule.learning_rate * pow(rows_seen + 1, -schedule.power_t)


def sweep(const floating[:, ::1] X, const double[::1] y, const double[::1] sample_weight,
          const Py_ssize_t[::1] blocks, Py_ssize_t block_rows, const Py_ssize_t[::1] within,
          const double[::1] centre, const double[::1] scale, loss, schedule, double rows_seen,
          double[::1] theta, double[::1] mean, double mean_rows, double forget,
          double[:, ::1] tile, double[::1] tile_norm, Py_ssize_t[::1] tile_row):
    """One stochastic gradient step for each row of the given blocks, in place.

    With ``z = (scale * (x - centre), scale[-1])`` a row with weight h moves theta by
    ``rate * h * m * z``, where m is the multiplier of the loss: at the residual before the
    step (explicit), or after it (implicit, the softness below), and the iterates are
    averaged every 16 steps::

        m = clip(s(y - z . theta) / (compliance + rate * h * ||z||**2), lower, upper)

    Parameters
    ----------
    X : C-ordered array of shape (n_rows, n_features), float32 or float64
    y, sample_weight : float64 arrays of shape (n_rows,); None for weights of one
    blocks : which blocks of `block_rows` consecutive rows to visit, in which order
    within : permutation of the positions in a tile; its length is a multiple of block_rows
    centre, scale : arrays of shape (n_features,) and (n_features + 1,)
    loss : dead_zone, compliance, lower, upper
    schedule : learning_rate, power_t, implicit
    rows_seen : rows before this call, for the schedule
    theta, mean : arrays of shape (width,), changed in place: the iterate and its average
    mean_rows, forget : rows in the average so far, and how fast it forgets them
    tile, tile_norm, tile_row : work space of shape (len(within), width) and (len(within),);
        what tile holds beyond column n_features must be zero

    Returns
    -------
    float
        Rows in the average now.
    """
    cdef Loss c_loss
    cdef Schedule c_schedule
    cdef Average average
    cdef const double* weights = NULL
    c_loss.dead_zone, c_loss.compliance, c_loss.lower, c_loss.upper = loss
    c_schedule.learning_rate, c_schedule.power_t, c_schedule.implicit = schedule
    average.rows = mean_rows
    average.forget = forget
    if sample_weight is not None:
        weights = &sample_weight[0]
    if blocks.shape[0] > 0:
        with nogil:
            sweep_rows(
                &X[0, 0], &y[0], weights, X.shape[0], X.shape[1],
                &blocks[0], blocks.shape[0], block_rows, &within[0], within.shape[0],
                &centre[0], &scale[0], c_loss, c_schedule, rows_seen, &theta[0], &mean[0],
                &average, &tile[0, 0], &tile_norm[0], &tile_row[0], tile.shape[1])
    return average.rows


cdef vectorised_void standardise_rows(const floating* X, Py_ssize_t n_rows,
                                      Py_ssize_t n_features, const double* centre,
                                      const double* scale, double* out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_rows):
        write_row(X + i * n_features, n_features, centre, scale, out + i * (n_features + 1))


def standardise(const floating[:, ::1] X, Py_ssize_t start, Py_ssize_t stop,
                const double[::1] centre, const double[::1] scale, double[:, ::1] out):
    """Write rows start:stop as z = (scale * (x - centre), scale[-1]) into out."""
    with nogil:
        standardise_rows(&X[start, 0], stop - start, X.shape[1], &centre[0], &scale[0],
                         &out[0, 0])


cdef vectorised_void moments_of_chunk(const floating* X, const double* sample_weight,
                                      Py_ssize_t n_rows, Py_ssize_t n_features,
                                      double total, double* mean,
                                      double* deviation) noexcept nogil:
    """Weighted mean and sum of squared deviations; two passes over a chunk in cache."""
    cdef Py_ssize_t i, j
    cdef double h = 1, d
    for j in range(n_features):
        mean[j] = 0
        deviation[j] = 0
    for i in range(n_rows):
        if sample_weight != NULL:
            h = sample_weight[i]
        # The first row is the shift: a constant column has mean and deviation exact.
        for j in range(n_features):
            mean[j] += h * (<double> X[i * n_features + j] - X[j])
    for j in range(n_features):
        mean[j] = X[j] + mean[j] / total
    for i in range(n_rows):
        if sample_weight != NULL:
            h = sample_weight[i]
        for j in range(n_features):
            d = X[i * n_features + j] - mean[j]
            deviation[j] += h * d * d


def moments(const floating[:, ::1] X, Py_ssize_t start, Py_ssize_t stop,
            const double[::1] sample_weight, double total, double[::1] mean,
            double[::1] deviation):
    """Weighted mean and sum of squared deviations of each column of rows start:stop."""
    cdef const double* weights = NULL
    if sample_weight is not None:
        weights = &sample_weight[start]
    with nogil:
        moments_of_chunk(&X[start, 0], weights, stop - start, X.shape[1], total, &mean[0],
                         &deviation[0])
