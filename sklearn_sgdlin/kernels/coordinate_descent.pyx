# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""Compiled coordinate descent for squared error with l1, l2 and a lower bound of each coordinate.

An epoch minimises the objective over one coordinate after the other. `descend` sees the products
of the columns, `descend_columns` and `descend_sparse` see columns and the residuals of the rows.
`squared_error_gap` proves how near the optimum is.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs, fmax, fmin, isfinite, sqrt

from sklearn_sgdlin.kernels.common cimport clip, integer, unaliased, vectorised_void

# Excess of a slope, relative to the largest possible slope, that may be a rounding error: see
# `DualityGap`.
cdef double SLOPE_ROUNDING = 1e-8

ctypedef fused real:
    double
    float

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
    if theta == 0 and fabs(slope) <= coordinates.l1[j]:     # as most are: no division
        return theta
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


def subtract_products(const double[:, ::1] gram, const double[::1] step, double[::1] slope):
    """slope -= gram @ step, for a symmetric matrix and a step that is mostly zero."""
    cdef Py_ssize_t j
    with nogil:
        for j in range(step.shape[0]):
            if step[j] != 0:
                subtract_multiple(&slope[0], &gram[j, 0], step[j], step.shape[0])


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
                if curvature[j] <= 0:
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


cdef enum:
    LANES = 32                      # sums at a time, which do not wait for each other


cdef vectorised_void dot(const real* first, const real* second, Py_ssize_t n,
                         double* result) noexcept nogil:
    """result = first @ second"""
    cdef real[LANES] sums
    cdef Py_ssize_t i, k, block, n_blocks = n // LANES
    cdef double total = 0
    for k in range(LANES):
        sums[k] = 0
    for block in range(n_blocks):
        i = block * LANES
        for k in range(LANES):
            sums[k] += first[i + k] * second[i + k]
    for i in range(n_blocks * LANES, n):
        total += first[i] * second[i]
    for k in range(LANES):
        total += sums[k]
    result[0] = total


cdef vectorised_void add_multiple(real* vector, const real* other, real factor,
                                  Py_ssize_t n) noexcept nogil:
    """vector += factor * other"""
    cdef Py_ssize_t i
    for i in range(n):
        vector[i] += factor * other[i]


def descend_columns(const real[:, ::1] columns, const Py_ssize_t[::1] chosen, start, curvature,
                    penalty, double[::1] theta, real[::1] change, double unit,
                    double weight, Py_ssize_t n_epochs, Py_ssize_t n_settled):
    """Descend along some columns; return for how many epochs no coordinate has changed its sign.

    Parameters
    ----------
    columns : array of shape (at least n, n_rows)
    chosen : array
        Which of the n coordinates to descend along.
    start, curvature : array of shape (n,)
        Minus the gradient of the loss where the change of residuals is 0, and mean squares.
    penalty : tuple of l1, l2, floor, arrays of shape (n,)
    theta : array of shape (n,)
    change : array of shape (n_rows,)
        What the descent has added to the residuals in units of `unit`.
    unit : float
        About the size of such a residual, so that single precision suffices.
    weight : float
        Total weight of the rows.
    n_epochs, n_settled : int
        Epochs at most, and those without a change of sign that are enough.
    """
    cdef const double[::1] l1, l2, floor, first = start
    cdef Py_ssize_t epoch, i, j, settled = 0, n_rows = columns.shape[1]
    cdef double after, step, slope
    l1, l2, floor = penalty
    cdef Coordinates coordinates = read_coordinates(curvature, l1, l2, floor)
    cdef bint changed
    with nogil:
        for epoch in range(n_epochs):
            changed = False
            for i in range(chosen.shape[0]):
                j = chosen[i]
                if coordinates.curvature[j] <= 0:
                    continue
                dot(&columns[j, 0], &change[0], n_rows, &slope)
                slope = first[j] + unit * slope
                after = best_coordinate(coordinates, j, slope, theta[j])
                step = after - theta[j]
                if step == 0:
                    continue
                changed |= (after > 0) != (theta[j] > 0) or (after < 0) != (theta[j] < 0)
                theta[j] = after
                add_multiple(&change[0], &columns[j, 0], <real> (-step / unit / weight), n_rows)
            settled = 0 if changed else settled + 1
            if settled == n_settled:
                break
    return settled


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


def squared_error_gap(const double[::1] theta, const double[::1] slope, double square, penalty,
                      const double[::1] curvature):
    """Return an upper bound of what the objective is above the least.

    The multipliers of rows are t times their residuals; a t below 1 may leave no slope above its
    l1 (Fercoq, Gramfort & Salmon, 2015). The multiplier of l1 or of a bound takes up of the slope
    what it may, and what is left costs as in `DualityGap`: nothing, by l2, or as a rounding error
    times how far the optimum may be.

    Parameters
    ----------
    theta : array of shape (n,)
    slope : array of shape (n,)
        Minus the gradient of half the mean square of residuals.
    square : float
        That mean square.
    penalty : tuple of l1, l2, floor, arrays of shape (n,)
        A coordinate that has none of these is orthogonal to all others, as the intercept is.
    curvature : array of shape (n,)
        Mean square of each coordinate of the rows.
    """
    cdef const double[::1] l1, l2, floor
    cdef Py_ssize_t j
    cdef double size, largest = 1, largest_with_slack = 1
    l1, l2, floor = penalty
    cdef Coordinates coordinates = read_coordinates(curvature, l1, l2, floor)
    cdef double least
    with nogil:
        for j in range(coordinates.n):
            if l1[j] > 0:
                size = slope[j] - l2[j] * theta[j]
                size = size if floor[j] == 0 else fabs(size)
                largest = fmax(largest, size / l1[j])
                if size > l1[j] + SLOPE_ROUNDING * sqrt(square * curvature[j]):
                    largest_with_slack = fmax(largest_with_slack, size / l1[j])
        least = gap_at(coordinates, theta, slope, square, 1)
        if largest > 1:
            least = fmin(least, gap_at(coordinates, theta, slope, square, 1 / largest))
        if 1 < largest_with_slack < largest:
            least = fmin(least, gap_at(coordinates, theta, slope, square, 1 / largest_with_slack))
    return least


cdef double gap_at(Coordinates coordinates, const double[::1] theta, const double[::1] slope,
                   double square, double t) noexcept nogil:
    """The duality gap with multipliers that are t times the residuals; infinite if not finite."""
    cdef Py_ssize_t j
    cdef double gap = square * (1 - t) * (1 - t) / 2, root = sqrt(<double> coordinates.n)
    cdef double size, kept, left, l1, l2, cost, farthest, rounding, curvature
    cdef bint bounded
    for j in range(coordinates.n):
        l1, l2, curvature = coordinates.l1[j], coordinates.l2[j], coordinates.curvature[j]
        bounded = coordinates.floor[j] == 0
        size = t * slope[j] - l2 * theta[j]
        kept = fmin(size, l1) if bounded else clip(size, -l1, l1)
        left = fabs(size - kept)
        gap += l1 * fabs(theta[j]) - kept * theta[j]
        if left <= 4 * DBL_EPSILON * l1:        # t is rounded, too
            continue
        cost = left * left / (2 * l2) if l2 > 0 else INFINITY
        rounding = SLOPE_ROUNDING * sqrt(square * curvature)
        if l1 == 0 and l2 == 0 and not bounded and curvature > 0:
            cost = left * left / curvature
        elif left <= rounding:
            farthest = fabs(theta[j]) + sqrt(square / curvature) * root
            cost = fmin(cost, left * farthest)
        gap += cost
    return fmax(gap, 0) if isfinite(gap) else INFINITY
