# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over sparse columns: their moments, and products of centred ones.

These are Z = X - root centre', see `data/sorted_csc.py`. The loops believe the indices, which
`_validation.py` has checked.
"""

from sklearn_sgdlin.kernels.common cimport ENTRIES_AHEAD, floating, integer, prefetch_to_write

# The relative rounding error of a double.
cdef double ROUNDING = 2.0 ** -52


def strictly_increasing(const integer[::1] indices, const integer[::1] pointers):
    """Return whether the indices of each row of a CSR matrix are in order, none twice.

    They may fall from row to row: one long loop over all, and one over the rows, are several
    times as fast as many short ones.
    """
    cdef Py_ssize_t i, k, n_falls = 0
    with nogil:
        for k in range(1, indices.shape[0]):
            n_falls += indices[k] <= indices[k - 1]
        for i in range(1, pointers.shape[0] - 1):
            k = pointers[i]
            if 0 < k < pointers[i + 1]:
                n_falls -= indices[k] <= indices[k - 1]
    return n_falls == 0


def count_entries(const integer[::1] columns, integer[::1] frequency):
    """Add to the frequency of each column how many entries it has."""
    cdef Py_ssize_t k
    with nogil:
        for k in range(columns.shape[0]):
            frequency[columns[k]] += 1


def write_columns(const floating[::1] data, const integer[::1] columns,
                  const integer[::1] pointers, integer[::1] ends,
                  double[::1] column_data, integer[::1] column_rows):
    """Write the entries of a CSR matrix column by column, rows in their order.

    Parameters
    ----------
    ends : array of shape (n_columns,)
        Where the entries of each column start; afterwards, where they end.
    """
    cdef Py_ssize_t i, k, place, n_entries = data.shape[0]
    with nogil:
        for i in range(pointers.shape[0] - 1):
            for k in range(pointers[i], pointers[i + 1]):
                if k + 2 * ENTRIES_AHEAD < n_entries:
                    prefetch_to_write(&ends[columns[k + 2 * ENTRIES_AHEAD]])
                    place = ends[columns[k + ENTRIES_AHEAD]]
                    prefetch_to_write(&column_data[place])
                    prefetch_to_write(&column_rows[place])
                place = ends[columns[k]]
                column_data[place], column_rows[place] = data[k], <integer> i
                ends[columns[k]] += 1


def column_moments(const floating[::1] data, const integer[::1] rows,
                   const integer[::1] pointers, const double[::1] sample_weight,
                   double total_weight, double[::1] mean, double[::1] deviation):
    """Write the weighted mean, and the sum of squared distances from it, of each CSC column.

    Distances from a mean tell its rounding error, too: rest / total_weight, with the sums of the
    stored entries and as many zeros as there are others::

        square = sum of h (x - mean)**2,    rest = sum of h (x - mean)
    """
    cdef Py_ssize_t j, k, start, stop
    cdef double h = 1, here, distance, stored, zeros, square, rest
    with nogil:
        for j in range(mean.shape[0]):
            start, stop = pointers[j], pointers[j + 1]
            here = stored = square = rest = 0
            for k in range(start, stop):
                if sample_weight is not None:
                    h = sample_weight[rows[k]]
                stored += h
                here += h * data[k]
            here /= total_weight
            for k in range(start, stop):
                if sample_weight is not None:
                    h = sample_weight[rows[k]]
                distance = data[k] - here
                square += h * distance * distance
                rest += h * distance
            zeros = total_weight - stored
            if zeros > (stop - start) * ROUNDING * total_weight:    # else rounding errors
                square += zeros * here * here
                rest -= zeros * here
            mean[j] = here + rest / total_weight
            square -= rest * (rest / total_weight)
            deviation[j] = 0 if square < 0 else square


def add_products(const double[::1] data, const integer[::1] rows, const integer[::1] starts,
                 const integer[::1] ends, const double[::1] centre, double total,
                 double[:, ::1] pairs):
    """Add X Z' values to products, for columns of a CSC matrix X, read once.

    Parameters
    ----------
    starts, ends : array of shape (n_columns,)
        Of the entries of each column.
    total : float
        root . values
    pairs : array of shape (n_rows, 2)
        Values and products: side by side, one cache miss fetches both.

    Returns
    -------
    float
        centre . Z' values
    """
    cdef Py_ssize_t j, k
    cdef double t, along = 0
    with nogil:
        for j in range(centre.shape[0]):
            t = -centre[j] * total
            for k in range(starts[j], ends[j]):
                t += data[k] * pairs[rows[k], 0]
            for k in range(starts[j], ends[j]):
                pairs[rows[k], 1] += data[k] * t
            along += centre[j] * t
    return along


def add_squares(const double[::1] data, const integer[::1] rows, const integer[::1] starts,
                const integer[::1] ends, const double[::1] centre, const double[::1] root,
                double[::1] squares):
    """Add to the squares of rows of root centre' what the entries of such columns change."""
    cdef Py_ssize_t j, k
    with nogil:
        for j in range(centre.shape[0]):
            for k in range(starts[j], ends[j]):
                squares[rows[k]] += data[k] * (data[k] - 2 * root[rows[k]] * centre[j])


def add_gram(const double[::1] data, const integer[::1] columns, const integer[::1] pointers,
             const double[::1] weight, double[:, ::1] gram):
    """Add X' diag(weight) X to the upper triangle of gram, for a CSR matrix X, columns sorted."""
    cdef Py_ssize_t i, j, k
    cdef double h
    with nogil:
        for i in range(weight.shape[0]):
            for j in range(pointers[i], pointers[i + 1]):
                h = weight[i] * data[j]
                for k in range(j, pointers[i + 1]):
                    gram[columns[j], columns[k]] += h * data[k]
