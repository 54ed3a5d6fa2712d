# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""Products of columns, summed up in one pass over dense rows of any memory layout.

Rows are copied into a tile that fits the cache, less a shift near the mean of their columns, so
that few digits cancel later. BLAS adds the products of the tile to the sums: those of all columns
of X with each other by `dsyrk`, and with the targets by `dgemm`.
"""

from libc.math cimport fabs, sqrt
from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk

from sklearn_sgdlin.kernels.common cimport unaliased, vectorised_void

import numpy as np

ctypedef fused number:
    float
    double
    int
    long long

cdef enum:
    # Rows and columns of a block of an X whose columns lie together in memory. With more, the rows
    # they are written to would no longer fit the first-level cache.
    BLOCK = 32
    # Columns of X and 1 and targets, up to which this module multiplies them itself, and the rows
    # that it takes at a time, for which their columns fit the first-level cache.
    NARROW = 32
    NARROW_ROWS = 128


cdef struct Source:                 # rows of X, and what goes with them
    Py_ssize_t n_features
    Py_ssize_t row_stride           # in numbers
    Py_ssize_t column_stride
    bint by_columns                 # whether neighbours in memory are those of a column
    const double* shift             # of the columns of X, then of the targets
    const double* targets           # of shape (n_rows, n_targets)
    const double* sample_weight     # or NULL
    Py_ssize_t n_targets


cdef struct Tile:                   # rows (x, 1) and their targets, both times roots of weights
    double* rows
    double* targets
    double* roots
    double* columns                 # work space for a few rows, column after column
    int n_rows


cdef inline void write_row(const number* x, Source source, double root,
                           unaliased z) noexcept nogil:
    """z = root * (x - shift)."""
    cdef Py_ssize_t j
    if source.column_stride == 1:
        for j in range(source.n_features):
            z[j] = root * (x[j] - source.shift[j])
    else:
        for j in range(source.n_features):
            z[j] = root * (x[j * source.column_stride] - source.shift[j])


cdef inline void write_block(const number* x, Source source, const double* shift,
                             Py_ssize_t n_rows, Py_ssize_t n_columns, unaliased z) noexcept nogil:
    """z = x - shift for some rows and columns of X, in the order in which X lies in memory."""
    cdef Py_ssize_t i, j
    cdef const number* column
    for j in range(n_columns):
        column = x + j * source.column_stride
        for i in range(n_rows):
            z[i * (source.n_features + 1) + j] = column[i * source.row_stride] - shift[j]


cdef inline void write_columns(const number* x, Source source, Tile tile) noexcept nogil:
    """Copy rows of an X whose columns lie together in memory into a tile, block by block."""
    cdef Py_ssize_t first = 0, i, j, width = source.n_features + 1
    while first < source.n_features:
        i = 0
        while i < tile.n_rows:
            write_block(x + i * source.row_stride + first * source.column_stride, source,
                        source.shift + first, min(<Py_ssize_t> BLOCK, tile.n_rows - i),
                        min(<Py_ssize_t> BLOCK, source.n_features - first),
                        tile.rows + i * width + first)
            i += BLOCK
        first += BLOCK
    if source.sample_weight != NULL:
        for i in range(tile.n_rows):
            for j in range(source.n_features):
                tile.rows[i * width + j] *= tile.roots[i]


cdef vectorised_void write_tile(const number* X, Source source, Py_ssize_t start,
                                Tile tile) noexcept nogil:
    """Copy rows from `start` on, and their targets, into a tile."""
    cdef Py_ssize_t i, j, n_features = source.n_features, n_targets = source.n_targets
    cdef const number* x = X + start * source.row_stride
    cdef const double* y = source.targets + start * n_targets
    for i in range(tile.n_rows):
        tile.roots[i] = 1
        if source.sample_weight != NULL:
            tile.roots[i] = sqrt(source.sample_weight[start + i])
        tile.rows[i * (n_features + 1) + n_features] = tile.roots[i]
        for j in range(n_targets):
            tile.targets[i * n_targets + j] = tile.roots[i] * (
                y[i * n_targets + j] - source.shift[n_features + j]
            )
    if source.by_columns:
        write_columns(x, source, tile)
    else:
        for i in range(tile.n_rows):
            write_row(x + i * source.row_stride, source, tile.roots[i],
                      tile.rows + i * (n_features + 1))


cdef inline void transpose(const double* rows, Py_ssize_t n_rows, Py_ssize_t n_columns,
                           Py_ssize_t step, unaliased columns) noexcept nogil:
    """Write rows one after the other as columns that begin `step` numbers apart."""
    cdef Py_ssize_t i, j
    for i in range(n_rows):
        for j in range(n_columns):
            columns[j * step + i] = rows[i * n_columns + j]


cdef inline void add_dot_products(const double* column, const double** others, Py_ssize_t n_rows,
                                  double** totals) noexcept nogil:
    """Add the dot products of a column with four others to four totals."""
    cdef const double* other_0 = others[0]
    cdef const double* other_1 = others[1]
    cdef const double* other_2 = others[2]
    cdef const double* other_3 = others[3]
    cdef double t_0 = 0, t_1 = 0, t_2 = 0, t_3 = 0
    cdef Py_ssize_t i
    for i in range(n_rows):
        t_0 += column[i] * other_0[i]
        t_1 += column[i] * other_1[i]
        t_2 += column[i] * other_2[i]
        t_3 += column[i] * other_3[i]
    totals[0][0] += t_0
    totals[1][0] += t_1
    totals[2][0] += t_2
    totals[3][0] += t_3


cdef vectorised_void multiply_narrow_tile(Tile tile, Py_ssize_t n_columns, Py_ssize_t n_targets,
                                          double* sums) noexcept nogil:
    """Do what `multiply_tile` does, for so few columns that BLAS would mostly copy them."""
    cdef Py_ssize_t start = 0, n_rows, j, k, other, last = n_columns + n_targets - 1
    cdef double* columns = tile.columns
    cdef const double* others[4]
    cdef double* totals[4]
    cdef double none = 0
    while start < tile.n_rows:
        n_rows = min(<Py_ssize_t> NARROW_ROWS, tile.n_rows - start)
        transpose(tile.rows + start * n_columns, n_rows, n_columns, NARROW_ROWS, columns)
        transpose(tile.targets + start * n_targets, n_rows, n_targets, NARROW_ROWS,
                  columns + n_columns * NARROW_ROWS)
        for j in range(n_columns):
            for k in range(j, n_columns + n_targets, 4):
                for other in range(4):      # beyond the end: the last one, for nothing
                    others[other] = columns + min(k + other, last) * NARROW_ROWS
                    totals[other] = &none
                    if k + other < n_columns:
                        totals[other] = sums + j * n_columns + k + other
                    elif k + other <= last:
                        totals[other] = sums + (k + other) * n_columns + j
                add_dot_products(columns + j * NARROW_ROWS, others, n_rows, totals)
        start += NARROW_ROWS


cdef vectorised_void add_squares(Tile tile, Py_ssize_t n_targets,
                                 unaliased squares) noexcept nogil:
    """Add the squares of the targets of a tile to those of each target."""
    cdef Py_ssize_t i, j
    cdef const double* y
    for i in range(tile.n_rows):
        y = tile.targets + i * n_targets
        for j in range(n_targets):
            squares[j] += y[j] * y[j]


cdef void multiply_tile(Tile tile, int n_columns, int n_targets, double* sums) noexcept nogil:
    """Add the products of the columns (x, 1) with each other, and with the targets, to the sums."""
    cdef char lower = b"L", normal = b"N", transposed = b"T"
    cdef int step = 1
    cdef double one = 1
    cdef double* mixed = sums + <Py_ssize_t> n_columns * n_columns
    if n_columns + n_targets <= NARROW:
        multiply_narrow_tile(tile, n_columns, n_targets, sums)
        return
    dsyrk(&lower, &normal, &n_columns, &tile.n_rows, &one, tile.rows, &n_columns, &one, sums,
          &n_columns)
    if n_targets == 1:
        dgemv(&normal, &n_columns, &tile.n_rows, &one, tile.rows, &n_columns, tile.targets, &step,
              &one, mixed, &step)
    else:
        dgemm(&normal, &transposed, &n_columns, &n_targets, &tile.n_rows, &one, tile.rows,
              &n_columns, tile.targets, &n_targets, &one, mixed, &n_columns)


cdef vectorised_void weigh_by_residuals(Source source, Tile tile, const double* coef,
                                        bint squared_weights, double* squares) noexcept nogil:
    """Multiply the rows of a tile by their residuals, and add the squares of these.

    Targets become such that their product with a row is that of its weight and residual.
    """
    cdef Py_ssize_t i, j, n_features = source.n_features
    cdef double residual, root, factor
    cdef double* z
    for i in range(tile.n_rows):
        z = tile.rows + i * (n_features + 1)
        residual = 0
        for j in range(n_features):
            residual += z[j] * coef[j]
        residual = tile.targets[i] - residual
        squares[0] += residual * residual
        root = 1 if squared_weights else tile.roots[i]
        factor = fabs(residual) / root if root > 0 else 0
        for j in range(n_features + 1):
            z[j] *= factor
        tile.targets[i] = root if residual > 0 else -root


def add_cross_products(const number[:, :] X, targets, const double[::1] shift,
                       Py_ssize_t tile_rows, sums, coef=None, bint squared_weights=False):
    """Add the products of the shifted columns of X and 1 with each other and with the targets.

    With rows ``z = (x - shift_x, 1)`` and targets ``r = y - shift_y``, each row of weight h adds
    ``h z z'``, ``h z r'`` and ``h r**2``.

    Parameters
    ----------
    X : array of shape (n_rows, n_features), in any memory layout
        Of float32, float64, or signed integers of 32 or 64 bits.
    targets : (y, sample_weight)
        float64 arrays of shape (n_rows, n_targets) and (n_rows,), C-ordered; None for weights of
        one.
    shift : array of shape (n_features + n_targets,)
    tile_rows : int
        Rows of a tile.
    sums : (products, squares)
        Arrays of shape (n_features + 1 + n_targets, n_features + 1) and (n_targets,). The first
        n_features + 1 rows of the products are symmetric: of these the upper triangle is written.
    coef : array of shape (n_features,), default=None
        With one target and the residuals ``e = r - z coef``, each row adds ``h e**2 z z'``,
        ``h e z`` and ``h e**2`` instead.
    squared_weights : bool
        Whether it adds ``h**2 e**2 z z'``, not ``h e**2 z z'``; with `coef`.
    """
    y, weights = targets
    cdef const double[:, ::1] c_y = y
    cdef const double[::1] sample_weight = weights
    cdef const double[::1] slopes = coef
    cdef bint by_residuals = coef is not None
    cdef double[:, ::1] products = sums[0]
    cdef double[::1] squares = sums[1]
    cdef Py_ssize_t n_features = X.shape[1], n_targets = c_y.shape[1], n_rows = X.shape[0]
    cdef Py_ssize_t start, size = sizeof(number)
    cdef Source source = Source(n_features, X.strides[0] // size, X.strides[1] // size, False,
                                &shift[0], &c_y[0, 0], NULL, n_targets)
    source.by_columns = abs(source.row_stride) < abs(source.column_stride)
    if weights is not None:
        source.sample_weight = &sample_weight[0]
    tile_rows = min(tile_rows, n_rows)
    cdef double[::1] space = np.empty(tile_rows * (n_features + 1 + n_targets + 1)
                                      + NARROW * NARROW_ROWS)
    cdef Tile tile = Tile(&space[0], &space[tile_rows * (n_features + 1)],
                          &space[tile_rows * (n_features + 1 + n_targets)],
                          &space[tile_rows * (n_features + 1 + n_targets + 1)], 0)
    with nogil:
        start = 0
        while start < n_rows:
            tile.n_rows = <int> min(tile_rows, n_rows - start)
            write_tile(&X[0, 0], source, start, tile)
            if by_residuals:
                weigh_by_residuals(source, tile, &slopes[0], squared_weights, &squares[0])
            else:
                add_squares(tile, n_targets, &squares[0])
            multiply_tile(tile, <int> (n_features + 1), <int> n_targets, &products[0, 0])
            start += tile_rows


cdef vectorised_void gather(const Py_ssize_t* addresses, const Py_ssize_t* strides,
                            Py_ssize_t n_columns, Py_ssize_t start, Py_ssize_t n_rows,
                            double* out) noexcept nogil:
    cdef Py_ssize_t first = 0, i, j, stop
    cdef const double* column
    while first < n_rows:
        stop = min(first + BLOCK, n_rows)
        for j in range(n_columns):
            column = <const double*> addresses[j] + start * strides[j]
            for i in range(first, stop):
                out[i * n_columns + j] = column[i * strides[j]]
        first = stop


def gather_columns(const Py_ssize_t[::1] addresses, const Py_ssize_t[::1] strides,
                   Py_ssize_t start, double[:, ::1] out):
    """Write rows of a table whose columns lie apart in memory, from `start` on, as float64.

    Parameters
    ----------
    addresses, strides : arrays of shape (n_columns,)
        Where each column of float64 begins, and the step from row to row, in numbers. The caller
        keeps the columns alive.
    start : int
    out : array of shape (n_rows, n_columns)
    """
    with nogil:
        gather(&addresses[0], &strides[0], addresses.shape[0], start, out.shape[0], &out[0, 0])
