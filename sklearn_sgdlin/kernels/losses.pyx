# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over residuals: losses, and what methods keep of each row; see `model/loss.py`.

All arrays have one number for each row. A loss is its four numbers.
"""

from libc.math cimport INFINITY, fabs, sqrt

from sklearn_sgdlin.kernels.common cimport Loss, clip, count, unaliased, vectorised_void

import numpy as np


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


cdef struct PieceSums:              # of rows, see `evaluate`
    double size
    double value
    Py_ssize_t n_changed


cdef vectorised_void write_pieces(Loss loss, Py_ssize_t n_rows, const double* residual,
                                  const double* weight, double share, unsigned char* curved,
                                  unaliased slope, unaliased change,
                                  PieceSums* sums) noexcept nogil:
    cdef double e, h, outside, multiplier, clipped, curvature = 1 / loss.compliance
    cdef double size = 0, value = 0, changed = 0
    cdef Py_ssize_t i
    cdef bint now
    for i in range(n_rows):
        e = residual[i]
        h = share * weight[i]
        outside = outside_of(&loss, e)
        multiplier = outside * curvature
        clipped = clip(multiplier, loss.lower, loss.upper)
        now = (multiplier == clipped) & ((loss.dead_zone == 0) | (outside != 0))
        size += h * fabs(e)
        value += h * value_of(&loss, outside, clipped)
        slope[i] = h * clipped
        change[i] = (now - <int> curved[i]) * (h * curvature)
        changed += change[i] != 0
        curved[i] = now
    sums.size, sums.value, sums.n_changed = size, value, <Py_ssize_t> changed


def evaluate(loss, const double[::1] y, const double[::1] prediction,
             const double[::1] weight, double total_weight, curved,
             double[::1] residual, double[:, ::1] vectors, double[::1] histogram):
    """Write residuals, weighted multipliers, and how the weighted curvatures have changed.

    Parameters
    ----------
    loss : Loss
        With a compliance.
    y, prediction, weight : array of shape (n_rows,)
    total_weight : float
        What the weights are divided by.
    curved : array of shape (n_rows,), bool
        Whether each residual was in a curved piece of the loss; overwritten by whether it is.
    residual : array of shape (n_rows,)
    vectors : array of shape (2, n_rows)
        For the multipliers, and the changes of the curvatures.
    histogram : array
        The weights of residuals by the power of two above their size are added to it, where the
        loss is bounded.

    Returns
    -------
    size, value : float
        Weighted sums of absolute residuals and of losses.
    n_changed : int
        Number of rows whose curvature has changed.
    """
    cdef double share = 1 / total_weight
    cdef unsigned char[::1] before = curved.view(np.uint8)
    cdef Py_ssize_t i, n_rows = y.shape[0]
    cdef PieceSums sums
    cdef Loss c_loss = read_loss(loss)
    with nogil:
        for i in range(n_rows):
            residual[i] = y[i] - prediction[i]
        write_pieces(c_loss, n_rows, &residual[0], &weight[0], share, &before[0],
                     &vectors[0, 0], &vectors[1, 0], &sums)
        if c_loss.lower > -INFINITY or c_loss.upper < INFINITY:
            for i in range(n_rows):
                count(residual[i], share * weight[i], histogram)
    return sums.size, sums.value, sums.n_changed


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
                count(residual[i], weight[i], histogram)
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
