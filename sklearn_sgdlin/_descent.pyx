# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Coordinate descent on a small dense quadratic with kinks and bounds."""

from libc.math cimport fabs, fmax


def descend(const double[:, ::1] hessian, const double[::1] l1, const double[::1] floor,
            double[::1] theta, double[::1] gradient, double tol, Py_ssize_t max_iter):
    """Minimise g . (u - theta) + (u - theta)' H (u - theta) / 2 + l1 . |u| over u >= floor.

    One coordinate after another is put to its exact minimum, until none moved the objective
    by more than `tol` in a round. `theta` becomes the minimum, and `gradient` that of the
    quadratic there. A coordinate without curvature stays (Friedman, Hastie & Tibshirani, 2010).

    Returns
    -------
    int
        Rounds needed.
    """
    cdef Py_ssize_t n = theta.shape[0], i, j, n_rounds = 0
    cdef double u, change, gain, largest
    with nogil:
        while n_rounds < max_iter:
            n_rounds += 1
            largest = 0
            for j in range(n):
                if hessian[j, j] <= 0:
                    continue
                u = hessian[j, j] * theta[j] - gradient[j]
                if u > l1[j]:
                    u -= l1[j]
                elif u < -l1[j]:
                    u += l1[j]
                else:
                    u = 0
                u = fmax(u / hessian[j, j], floor[j])
                change = u - theta[j]
                if change != 0:
                    theta[j] = u
                    for i in range(n):
                        gradient[i] += change * hessian[j, i]
                    gain = fabs(change) * fabs(change) * hessian[j, j]
                    largest = fmax(largest, gain)
            if largest <= tol:
                break
    return n_rounds
