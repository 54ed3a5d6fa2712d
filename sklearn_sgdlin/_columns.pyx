# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over centred sparse columns Z = X - root centre', see `_dual.py`."""

ctypedef fused integer:
    int
    long long


def add_products(const double[::1] data, const integer[::1] rows, const integer[::1] pointers,
                 const double[::1] centre, double total, double[:, ::1] pairs):
    """Add X Z' values to products, for the columns of a CSC matrix X, read once.

    Parameters
    ----------
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
            for k in range(pointers[j], pointers[j + 1]):
                t += data[k] * pairs[rows[k], 0]
            for k in range(pointers[j], pointers[j + 1]):
                pairs[rows[k], 1] += data[k] * t
            along += centre[j] * t
    return along


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
