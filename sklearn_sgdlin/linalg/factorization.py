"""Cholesky factors of Hessians, and the pseudo-inverse where there is none."""

import numpy as np
from scipy.linalg import pinvh
from scipy.linalg.lapack import dpotrf, dpotrs

PIVOT_RATIO = 1e-7  # of a column's own square: rounding errors are below 1e-8 of a step
RANK_TOLERANCE = 1e-12  # relative eigenvalue below which a direction is a combination of others
TINY = np.finfo(np.float64).tiny  # the square of a column without a part in anything


def cholesky_solver(hessian, rank, pivot_ratio):
    """Return a function that multiplies with the inverse, and whether it is well-conditioned.

    That it is where no pivot is below a ratio of its diagonal entry. The function is None where
    there is no Cholesky factor.
    """
    n_coordinates = len(hessian)
    if rank < n_coordinates:
        return None, False
    diagonal = hessian.diagonal().copy()
    hessian.flat[:: n_coordinates + 1] = (1 + RANK_TOLERANCE) * diagonal + TINY
    factor, failed = dpotrf(hessian.T, clean=False, overwrite_a=True)
    if failed:
        return None, False
    sure = bool((factor.diagonal() ** 2 > pivot_ratio * diagonal).all())
    return lambda gradient: dpotrs(factor, gradient)[0], sure


def factorize_hessian(hessian, rank):
    """Return a function that multiplies with the (pseudo-)inverse of a Hessian of some rank.

    And whether it is well-conditioned, as far as the pivots tell.
    """
    n_coordinates = len(hessian)
    solve, sure = cholesky_solver(hessian.copy(), rank, PIVOT_RATIO)
    if solve is not None:
        return solve, sure
    if rank > n_coordinates // 2:
        inverse = pinvh(hessian, rtol=RANK_TOLERANCE)
        return lambda gradient: inverse @ gradient, False
    # Few rows: all they span shows in the images of as many random vectors.
    vectors = np.random.default_rng(0).standard_normal((n_coordinates, rank))
    basis, _ = np.linalg.qr(hessian @ vectors)
    inverse = pinvh(basis.T @ hessian @ basis, rtol=RANK_TOLERANCE)
    return lambda gradient: basis @ (inverse @ (basis.T @ gradient)), False
