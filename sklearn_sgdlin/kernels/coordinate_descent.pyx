# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""Compiled coordinate descent for squared error with l1, l2 and a lower bound of each coordinate.

An epoch minimises the objective over one coordinate after the other. `descend` sees the products
of the columns, `descend_sparse` the residuals of the rows and sparse columns.
"""

from libc.math cimport fabs

from sklearn_sgdlin.kernels.common cimport clip, integer, unaliased, vectorised_void

cdef struct Coordinates:            # those that are descended along
    Py_ssize_t n
    const double* curvature         # of the loss
    const double* l1
    const double* l2
    const double* floor


cdef inline double best_coordinate(Coordinates coordinates, Py_ssize_t j, double slope,
                                   double theta) noexcept nogil:
    """The coordinate that minimises the objective along it; 0 slope of the loss at the minimum.

    The slope is minus the derivative of the loss at theta.
    """
    cdef double curvature = coordinates.curvature[j]
    cdef double t = slope + curvature * theta
    t -= clip(t, -coordinates.l1[j], coordinates.l1[j])
    t /= curvature + coordinates.l2[j]
    return t if t > coordinates.floor[j] else coordinates.floor[j]


cdef vectorised_void subtract_multiple(unaliased vector, const double* other, double factor,
                                       Py_ssize_t n) noexcept nogil:
    """vector -= factor * other"""
    cdef Py_ssize_t i
    for i in range(n):
        vector[i] -= factor * other[i]


cdef Coordinates read_coordinates(const double[::1] curvature, const double[::1] l1,
                                  const double[::1] l2, const double[::1] floor) noexcept:
    return Coordinates(curvature.shape[0], &curvature[0], &l1[0], &l2[0], &floor[0])


def descend(const double[:, ::1] gram, const double[::1] curvature, penalty, double[::1] theta,
            double[::1] slope, Py_ssize_t n_epochs, double enough):
    """Descend along all coordinates, epoch after epoch; return the epochs taken.

    Parameters
    ----------
    gram : array of shape (at least n, at least n)
        Mean products of the columns.
    curvature : array of shape (n,)
        Its diagonal; a coordinate with none stays as it is.
    penalty : tuple of l1, l2, floor, arrays of shape (n,)
    theta, slope : array of shape (n,)
        The model, and minus the gradient of the loss there; both follow the descent.
    n_epochs : int
        At most.
    enough : float
        An epoch that lowers the objective by less is the last.
    """
    cdef const double[::1] l1, l2, floor
    cdef Py_ssize_t epoch, j
    cdef double after, step, decrease
    l1, l2, floor = penalty
    cdef Coordinates coordinates = read_coordinates(curvature, l1, l2, floor)
    with nogil:
        for epoch in range(n_epochs):
            decrease = 0
            for j in range(coordinates.n):
                if curvature[j] <= 0 or (theta[j] == 0 and fabs(slope[j]) <= l1[j]):
                    continue
                after = best_coordinate(coordinates, j, slope[j], theta[j])
                step = after - theta[j]
                if step == 0:
                    continue
                theta[j] = after
                subtract_multiple(&slope[0], &gram[j, 0], step, coordinates.n)
                decrease += (curvature[j] + l2[j]) * step * step / 2
            if decrease <= enough:
                break
    return epoch + 1 if n_epochs > 0 else 0


def descend_sparse(const double[::1] data, const integer[::1] rows, const integer[::1] pointers,
                   const Py_ssize_t[::1] columns, scaling, penalty, double[::1] theta,
                   double[::1] residual, double shift, Py_ssize_t n_epochs, double enough):
    """Descend along some coordinates of sparse columns; return the epochs taken and the shift.

    Parameters
    ----------
    data, rows, pointers
        Of a CSC matrix: columns times the roots of the weights.
    columns : array of shape (n,)
        Which to descend along.
    scaling : tuple of centre, scale, mean, curvature, arrays of shape (n_columns,), and weight
        A column is ``scale * (x - centre)``, mean is that of its weighted entries, and weight the
        total one. Centred columns and residuals sum to zero, or centres are zero.
    penalty : tuple of l1, l2, floor, arrays of shape (n_columns,)
    theta : array of shape (n_columns,)
    residual : array of shape (n_rows,)
        Times the roots of the weights, over the total weight, and without the shift: what centres
        add to each of them.
    """
    cdef const double[::1] l1, l2, floor, centre, scale, mean, curvature
    cdef Py_ssize_t epoch, i, j, k
    cdef double after, step, slope, decrease, weight
    l1, l2, floor = penalty
    centre, scale, mean, curvature, weight = scaling
    cdef Coordinates coordinates = read_coordinates(curvature, l1, l2, floor)
    with nogil:
        for epoch in range(n_epochs):
            decrease = 0
            for i in range(columns.shape[0]):
                j = columns[i]
                if curvature[j] <= 0:
                    continue
                slope = shift * mean[j]
                for k in range(pointers[j], pointers[j + 1]):
                    slope += data[k] * residual[rows[k]]
                slope *= scale[j]
                if theta[j] == 0 and fabs(slope) <= l1[j]:
                    continue
                after = best_coordinate(coordinates, j, slope, theta[j])
                step = after - theta[j]
                if step == 0:
                    continue
                theta[j] = after
                shift += step * scale[j] * centre[j]
                slope = step * scale[j] / weight
                for k in range(pointers[j], pointers[j + 1]):
                    residual[rows[k]] -= slope * data[k]
                decrease += (curvature[j] + l2[j]) * step * step / 2
            if decrease <= enough:
                break
    return (epoch + 1 if n_epochs > 0 else 0), shift
