# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over residuals: losses, and what methods keep of each row; see `model/loss.py`.

All arrays have one number for each row. A loss is its four numbers.
"""

from libc.math cimport fabs, frexp, sqrt

from .common cimport Loss, clip


cdef inline Loss read_loss(loss) except *:
    cdef Loss c_loss
    c_loss.dead_zone, c_loss.compliance, c_loss.lower, c_loss.upper = loss
    return c_loss


cdef inline double outside_of(Loss* loss, double residual) noexcept nogil:
    """The part of a residual outside the dead zone."""
    return residual - clip(residual, -loss.dead_zone, loss.dead_zone)


cdef inline double multiplier_of(Loss* loss, double outside) noexcept nogil:
    if loss.compliance > 0:
        return clip(outside / loss.compliance, loss.lower, loss.upper)
    return loss.upper if outside > 0 else loss.lower if outside < 0 else 0


cdef inline double value_of(Loss* loss, double outside, double multiplier) noexcept nogil:
    return multiplier * (outside - loss.compliance / 2 * multiplier)


cdef inline void count(double[::1] histogram, double residual, double weight) noexcept nogil:
    """Add a weight to that of the power of two above the size of a residual."""
    cdef int exponent = 0
    if residual != 0:
        frexp(residual, &exponent)
        exponent += histogram.shape[0] // 2
    histogram[exponent] += weight


def evaluate(loss, const double[::1] residual, const double[::1] weight,
             unsigned char[::1] curved, double[::1] slope, double[::1] change,
             double[::1] histogram):
    """Write weighted multipliers, and curvatures less those of before, of a loss with compliance.

    Which rows are in a curved piece of the loss is read and written. The weights of residuals by
    the power of two above their size are added to the histogram.

    Returns
    -------
    size, value : float
        Weighted sums of the absolute residuals and of the loss.
    n_changed : int
        Rows whose curvature has changed.
    """
    cdef Loss c_loss = read_loss(loss)
    cdef Py_ssize_t i, n_changed = 0
    cdef double outside, multiplier, size = 0, value = 0
    cdef int now
    with nogil:
        for i in range(residual.shape[0]):
            outside = outside_of(&c_loss, residual[i])
            multiplier = multiplier_of(&c_loss, outside)
            now = multiplier == outside / c_loss.compliance
            now &= c_loss.dead_zone == 0 or outside != 0
            size += weight[i] * fabs(residual[i])
            value += weight[i] * value_of(&c_loss, outside, multiplier)
            slope[i] = weight[i] * multiplier
            change[i] = (now - <int> curved[i]) * (weight[i] / c_loss.compliance)
            n_changed += now != curved[i]
            curved[i] = now
            count(histogram, residual[i], weight[i])
    return size, value, n_changed


def select(loss, const double[::1] residual, const double[::1] weight,
           const double[:, ::1] leverage, double width, unsigned char[::1] left_out,
           double[::1] multiplier, double[::1] slope, double[::1] histogram):
    """Leave out rows that are far from the kinks of a loss without compliance.

    They are farther than the width times the norm of their leverage. Multipliers of all rows are
    written, and weighted ones of those that are left out; the histogram counts these.

    Returns
    -------
    value : float
        Weighted sum of the loss of the rows that are left out.
    """
    cdef Loss c_loss = read_loss(loss)
    cdef Py_ssize_t i, k
    cdef double outside, square, value = 0
    with nogil:
        for i in range(residual.shape[0]):
            square = 0
            for k in range(leverage.shape[1]):
                square += leverage[i, k] * leverage[i, k]
            outside = outside_of(&c_loss, residual[i])
            multiplier[i] = multiplier_of(&c_loss, outside)
            left_out[i] = fabs(fabs(residual[i]) - c_loss.dead_zone) > width * sqrt(square)
            slope[i] = 0
            if left_out[i]:
                slope[i] = weight[i] * multiplier[i]
                value += weight[i] * value_of(&c_loss, outside, multiplier[i])
                count(histogram, residual[i], weight[i])
    return value


def check(loss, const double[::1] residual, const double[::1] weight,
          const unsigned char[::1] left_out, const double[::1] multiplier,
          unsigned char[::1] wrong):
    """Mark the rows that are left out with a multiplier that is not theirs.

    Returns
    -------
    value : float
        Weighted sum of the loss of all rows.
    """
    cdef Loss c_loss = read_loss(loss)
    cdef Py_ssize_t i
    cdef double outside, now, value = 0
    with nogil:
        for i in range(residual.shape[0]):
            outside = outside_of(&c_loss, residual[i])
            now = multiplier_of(&c_loss, outside)
            value += weight[i] * value_of(&c_loss, outside, now)
            wrong[i] = left_out[i] and now != multiplier[i]
    return value
