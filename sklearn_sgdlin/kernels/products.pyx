# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""Products of columns, summed up in one pass over dense rows of any memory layout.

Rows are copied into a tile that fits the cache, less a shift near the mean of their columns, so
that few digits cancel later. The products of the tile are added to the sums here; those of many
columns by BLAS, with each other by `dsyrk` and with the targets by `dgemm`.
"""

from libc.math cimport fabs, sqrt
from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk

from sklearn_sgdlin.kernels.common cimport prefetch, unaliased, vector_registers, vectorised_void

import numpy as np

ctypedef fused number:
    double
    float
    int
    long long

cdef enum:
    DOUBLE, FLOAT, INT, LONG

# Types of numbers that are read as they are, in the order of the codes above.
NUMBERS = [np.float64, np.float32, np.int32, np.int64]

cdef enum:
    # Columns of X and 1, up to which this module multiplies them itself: where the processor has 16
    # vector registers, and where it has more. Measured with 100 and 250 columns: 0.9 and 1.0 times
    # the time of BLAS with AVX2; with these and 1000: 0.7, 1.0 and 1.2 times with AVX-512. Some
    # processors have the latter, but BLAS takes the former: 0.6, 0.6 and 0.7 times its time.
    NARROW = 256
    NARROW_WITH_MORE = 1024
    # Rows of a tile of theirs.
    NARROW_ROWS = 256
    # Rows of them that are written as columns at a time: as many as a vector of numbers.
    BLOCK = 8
    # Numbers of X that a loop over rows asks for ahead: long enough for memory to answer.
    AHEAD = 1024
    # Numbers of a cache line: tiles begin with one, as loads across two take twice the time.
    ALIGNMENT = 8
    # Numbers between columns of a tile. Without them, columns would be multiples of the page size
    # apart, and displace each other from the first-level cache.
    GAP = 8


cdef struct Source:                 # rows of X, and what goes with them
    Py_ssize_t n_features
    Py_ssize_t n_targets
    const Py_ssize_t* addresses     # of the first number of each column
    const Py_ssize_t* strides       # from row to row, in bytes
    const Py_ssize_t* types         # DOUBLE, FLOAT, INT or LONG
    bint by_rows                    # whether they are an array whose rows lie together in memory
    const double* shift             # of the columns of X, then of the targets
    const double* targets           # of shape (n_rows, n_targets)
    const double* sample_weight     # or NULL


cdef struct Tile:                   # rows (x, 1) and their targets, both times roots of weights
    int n_rows
    double* values
    Py_ssize_t row_step
    Py_ssize_t column_step
    double* targets
    Py_ssize_t target_row_step
    Py_ssize_t target_step
    double* roots


cdef inline void prefetch_row(const number* x, Py_ssize_t row_stride, Py_ssize_t stride,
                              Py_ssize_t n_features) noexcept nogil:
    """Ask memory for a row some rows ahead."""
    cdef Py_ssize_t j, n_numbers = n_features * stride
    x += (1 + AHEAD // n_features) * row_stride
    for j in range(0, n_numbers, 8):
        prefetch(x + j)


cdef inline void write_rows(const number* x, Py_ssize_t row_stride, Py_ssize_t stride,
                            Source source, Tile tile) noexcept nogil:
    """z = root * (x - shift) for rows that lie together in memory, as rows."""
    cdef Py_ssize_t i, j
    cdef double root
    cdef unaliased z
    for i in range(tile.n_rows):
        z, root = tile.values + i * tile.row_step, tile.roots[i]
        if stride == 1:
            for j in range(source.n_features):
                z[j] = root * (x[j] - source.shift[j])
        else:
            for j in range(source.n_features):
                z[j] = root * (x[j * stride] - source.shift[j])
        x += row_stride


cdef inline void write_transposed(const number* x, Py_ssize_t row_stride, Py_ssize_t stride,
                                  Source source, Py_ssize_t step, Py_ssize_t n_rows,
                                  unaliased z) noexcept nogil:
    """z = x - shift for at most `BLOCK` rows that lie together in memory, as columns."""
    cdef Py_ssize_t i, j
    for i in range(n_rows):
        prefetch_row(x + i * row_stride, row_stride, stride, source.n_features)
    if n_rows == BLOCK:             # a number of rows that the compiler knows
        for j in range(source.n_features):
            for i in range(BLOCK):
                z[j * step + i] = x[i * row_stride + j * stride] - source.shift[j]
    else:
        for j in range(source.n_features):
            for i in range(n_rows):
                z[j * step + i] = x[i * row_stride + j * stride] - source.shift[j]


cdef inline void write_column(const number* x, Py_ssize_t stride, double shift, int n_rows,
                              unaliased z) noexcept nogil:
    """z = x - shift for a column; memory is asked for what the next tile begins with."""
    cdef Py_ssize_t i
    if stride == 1:
        for i in range(0, min(n_rows, NARROW_ROWS), 8):
            prefetch(x + n_rows + i)
        for i in range(n_rows):
            z[i] = x[i] - shift
    else:
        for i in range(n_rows):
            z[i] = x[i * stride] - shift


cdef inline void write_numbers(const number* x, Source source, Py_ssize_t start, Py_ssize_t j,
                               Tile tile) noexcept nogil:
    """Copy all columns of an array whose rows lie together in memory, or one column."""
    cdef Py_ssize_t size = sizeof(number), row_stride = source.strides[j] // size, stride = 1
    cdef Py_ssize_t i = 0
    x += start * row_stride
    if not source.by_rows:
        write_column(x, row_stride, source.shift[j], tile.n_rows,
                     tile.values + j * tile.column_step)
        return
    if source.n_features > 1:
        stride = (source.addresses[1] - source.addresses[0]) // size
    if tile.column_step == 1:
        write_rows(x, row_stride, stride, source, tile)
        return
    while i < tile.n_rows:
        write_transposed(x + i * row_stride, row_stride, stride, source, tile.column_step,
                         min(<Py_ssize_t> BLOCK, tile.n_rows - i), tile.values + i)
        i += BLOCK


cdef inline void write_any(Source source, Py_ssize_t start, Py_ssize_t j,
                           Tile tile) noexcept nogil:
    """Do what `write_numbers` does, for numbers of the type of column j."""
    cdef const void* first = <const void*> source.addresses[j]
    if source.types[j] == DOUBLE:
        write_numbers(<const double*> first, source, start, j, tile)
    elif source.types[j] == FLOAT:
        write_numbers(<const float*> first, source, start, j, tile)
    elif source.types[j] == INT:
        write_numbers(<const int*> first, source, start, j, tile)
    else:
        write_numbers(<const long long*> first, source, start, j, tile)


cdef inline void write_targets(Source source, Py_ssize_t start, Tile tile) noexcept nogil:
    """Copy the targets of rows from `start` on, less their shift, in the order of the tile."""
    cdef Py_ssize_t i = 0, j, n_targets = source.n_targets
    cdef const double* y = source.targets + start * n_targets
    source.shift += source.n_features
    source.n_features = n_targets
    if tile.target_step != 1:
        while i < tile.n_rows:
            write_transposed(y + i * n_targets, n_targets, 1, source, tile.target_step,
                             min(<Py_ssize_t> BLOCK, tile.n_rows - i), tile.targets + i)
            i += BLOCK
        return
    for i in range(tile.n_rows):
        for j in range(n_targets):
            tile.targets[i * tile.target_row_step + j] = y[i * n_targets + j] - source.shift[j]


cdef vectorised_void write_tile(Source source, Py_ssize_t start, Tile tile) noexcept nogil:
    """Copy rows from `start` on, and their targets, into a tile."""
    cdef Py_ssize_t i, j, n_features = source.n_features, n_targets = source.n_targets
    for i in range(tile.n_rows):
        tile.roots[i] = 1
        if source.sample_weight != NULL:
            tile.roots[i] = sqrt(source.sample_weight[start + i])
        tile.values[i * tile.row_step + n_features * tile.column_step] = tile.roots[i]
    write_targets(source, start, tile)
    for j in range(1 if source.by_rows else n_features):
        write_any(source, start, j, tile)
    if source.sample_weight == NULL:
        return
    for i in range(tile.n_rows):
        for j in range(n_targets):
            tile.targets[i * tile.target_row_step + j * tile.target_step] *= tile.roots[i]
    if tile.row_step == 1:
        for j in range(n_features):
            for i in range(tile.n_rows):
                tile.values[j * tile.column_step + i] *= tile.roots[i]


cdef inline void add_dot_products(const double* a, const double* b, Py_ssize_t step,
                                  Py_ssize_t n_rows, int height, unaliased sums,
                                  Py_ssize_t width) noexcept nogil:
    """Add the dot products of `height` <= 4 columns with four others to sums in rows of `width`.

    The caller gives the height as a constant, so that the compiler keeps the block in registers.
    """
    cdef Py_ssize_t i, j, k
    cdef double block[4][4]
    for j in range(height):
        for k in range(4):
            block[j][k] = 0
    for i in range(n_rows):
        for j in range(height):
            for k in range(4):
                block[j][k] += a[j * step + i] * b[k * step + i]
    for j in range(height):
        for k in range(4):
            sums[j * width + k] += block[j][k]


cdef vectorised_void multiply_narrow_tile(const double* columns, Py_ssize_t step, Py_ssize_t n_rows,
                                          Py_ssize_t n_columns, Py_ssize_t n_all, double* sums,
                                          Py_ssize_t width) noexcept nogil:
    """Add the products of each column (x, 1) with those from it on to the rows of the sums.

    Sixteen of them at a time need more registers than most processors have, and eight fill those.
    """
    cdef Py_ssize_t j, k
    if vector_registers() > 16:
        for k in range(0, n_all, 4):
            for j in range(0, min(k + 4, n_columns), 4):
                add_dot_products(columns + j * step, columns + k * step, step, n_rows, 4,
                                 sums + j * width + k, width)
    else:
        for k in range(0, n_all, 4):
            for j in range(0, min(k + 4, n_columns), 2):
                add_dot_products(columns + j * step, columns + k * step, step, n_rows, 2,
                                 sums + j * width + k, width)


cdef void exchange(Py_ssize_t n_columns, Py_ssize_t n_all, double[:, ::1] narrow_sums,
                   double[:, ::1] products, bint back) noexcept nogil:
    """Copy the sums so far to where `multiply_narrow_tile` adds to them, or back."""
    cdef Py_ssize_t j, k
    cdef double* place
    for j in range(n_columns):
        for k in range(j, n_all):
            place = &products[j, k] if k < n_columns else &products[k, j]
            if back:
                place[0] = narrow_sums[j, k]
            else:
                narrow_sums[j, k] = place[0]


cdef vectorised_void add_squares(Tile tile, Py_ssize_t n_targets,
                                 unaliased squares) noexcept nogil:
    """Add the squares of the targets of a tile to those of each target."""
    cdef Py_ssize_t i, j
    cdef double y
    for j in range(n_targets):
        for i in range(tile.n_rows):
            y = tile.targets[i * tile.target_row_step + j * tile.target_step]
            squares[j] += y * y


cdef void multiply_tile(Tile tile, int n_columns, int n_targets, double* sums) noexcept nogil:
    """Add the products of the columns (x, 1) with each other, and with the targets, to the sums."""
    cdef char lower = b"L", normal = b"N", transposed = b"T"
    cdef bint by_rows = tile.column_step == 1
    cdef char* rows = &normal if by_rows else &transposed
    cdef char* columns = &transposed if by_rows else &normal
    cdef int step = 1, n_rows = tile.n_rows, height = n_columns if by_rows else n_rows
    cdef int width = n_rows if by_rows else n_columns
    cdef int leading = <int> (tile.row_step if by_rows else tile.column_step)
    cdef double one = 1
    cdef double* mixed = sums + <Py_ssize_t> n_columns * n_columns
    dsyrk(&lower, rows, &n_columns, &n_rows, &one, tile.values, &leading, &one, sums, &n_columns)
    if n_targets == 1:
        dgemv(rows, &height, &width, &one, tile.values, &leading, tile.targets, &step, &one, mixed,
              &step)
    else:
        dgemm(rows, &transposed, &n_columns, &n_targets, &n_rows, &one, tile.values, &leading,
              tile.targets, &n_targets, &one, mixed, &n_columns)


cdef vectorised_void weigh_by_residuals(Tile tile, Py_ssize_t n_features, const double* coef,
                                        bint squared_weights, double* squares) noexcept nogil:
    """Multiply the rows of a tile in columns by their residuals, and add the squares of these.

    The target of each row becomes the number by which the row then adds its weight times residual.
    """
    cdef Py_ssize_t i, j
    cdef double root
    cdef unaliased residuals = tile.targets
    cdef unaliased factors = tile.roots
    cdef unaliased column
    for j in range(n_features):
        column = tile.values + j * tile.column_step
        for i in range(tile.n_rows):
            residuals[i] -= column[i] * coef[j]
    for i in range(tile.n_rows):
        squares[0] += residuals[i] * residuals[i]
        root = 1 if squared_weights else factors[i]
        factors[i] = fabs(residuals[i]) / root if root > 0 else 0
        residuals[i] = root if residuals[i] > 0 else -root
    for j in range(n_features + 1):
        column = tile.values + j * tile.column_step
        for i in range(tile.n_rows):
            column[i] *= factors[i]


def add_cross_products(columns, targets, const double[::1] shift, Py_ssize_t tile_rows, sums,
                       coef=None, bint squared_weights=False):
    """Add the products of the shifted columns of X and 1 with each other and with the targets.

    With rows ``z = (x - shift_x, 1)`` and targets ``r = y - shift_y``, each row of weight h adds
    ``h z z'``, ``h z r'`` and ``h r**2``.

    Parameters
    ----------
    columns : (addresses, strides, types, by_rows)
        Integer arrays of shape (n_features,): where each column of X begins in memory, the step
        from row to row in bytes, and the position of its type in `NUMBERS`. And whether they are
        the columns of an array whose rows lie together in memory. The caller keeps them alive.
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
    cdef const Py_ssize_t[::1] addresses = columns[0]
    cdef const Py_ssize_t[::1] strides = columns[1]
    cdef const Py_ssize_t[::1] types = columns[2]
    cdef bint by_rows = columns[3]
    cdef const double[:, ::1] y = targets[0]
    cdef const double[::1] sample_weight = targets[1]
    cdef const double[::1] slopes = coef
    cdef bint by_residuals = coef is not None
    cdef double[:, ::1] products = sums[0]
    cdef double[::1] squares = sums[1]
    cdef Py_ssize_t n_features = addresses.shape[0], n_targets = y.shape[1]
    cdef Source source = Source(n_features, n_targets, &addresses[0], &strides[0], &types[0],
                                by_rows, &shift[0], &y[0, 0], NULL)
    if targets[1] is not None:
        source.sample_weight = &sample_weight[0]
    cdef Py_ssize_t n_columns = n_features + 1, n_all = n_columns + n_targets
    cdef Py_ssize_t n_rows = y.shape[0], start = 0, step
    cdef bint narrow = n_columns <= (NARROW_WITH_MORE if vector_registers() > 16 else NARROW)
    tile_rows = min(<Py_ssize_t> NARROW_ROWS if narrow else tile_rows, n_rows)
    step = tile_rows + GAP
    cdef double[::1] space = np.zeros((n_all + 3) * step + tile_rows + ALIGNMENT)
    cdef double* values = &space[0] + (-(<size_t> &space[0]) // sizeof(double)) % ALIGNMENT
    cdef Py_ssize_t width = n_all + 3 if narrow else 0
    cdef double[:, ::1] narrow_sums = np.zeros((n_columns + 3, width))
    cdef Tile tile = Tile(0, values, 1, step, values + n_columns * step, n_targets, 1,
                          values + (n_all + 3) * step)
    if narrow:
        tile.target_row_step, tile.target_step = 1, step
    elif by_rows and not by_residuals:
        tile.row_step, tile.column_step = n_columns, 1
    with nogil:
        if narrow:
            exchange(n_columns, n_all, narrow_sums, products, False)
        while start < n_rows:
            tile.n_rows = <int> min(tile_rows, n_rows - start)
            write_tile(source, start, tile)
            if by_residuals:
                weigh_by_residuals(tile, n_features, &slopes[0], squared_weights, &squares[0])
            else:
                add_squares(tile, n_targets, &squares[0])
            if narrow:
                multiply_narrow_tile(tile.values, step, tile.n_rows, n_columns, n_all,
                                     &narrow_sums[0, 0], width)
            else:
                multiply_tile(tile, <int> n_columns, <int> n_targets, &products[0, 0])
            start += tile_rows
        if narrow:
            exchange(n_columns, n_all, narrow_sums, products, True)


def read_columns(columns, double[:, :] out):
    """Write rows of columns that lie apart in memory into a float64 array in Fortran order.

    Parameters
    ----------
    columns : see `add_cross_products`
    out : array of shape (n_rows, n_features)
    """
    cdef const Py_ssize_t[::1] addresses = columns[0]
    cdef const Py_ssize_t[::1] strides = columns[1]
    cdef const Py_ssize_t[::1] types = columns[2]
    cdef double[::1] shift = np.zeros(addresses.shape[0])
    cdef Source source = Source(addresses.shape[0], 0, &addresses[0], &strides[0], &types[0], False,
                                &shift[0], NULL, NULL)
    cdef Tile tile = Tile(<int> out.shape[0], &out[0, 0], 1, out.strides[1] // sizeof(double),
                          NULL, 0, 0, NULL)
    cdef Py_ssize_t j
    with nogil:
        for j in range(source.n_features):
            write_any(source, 0, j, tile)
