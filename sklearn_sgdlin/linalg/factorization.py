"""Cholesky factors of Hessians, and the pseudo-inverse where there is none."""

import numpy as np
from scipy.linalg import pinvh
from scipy.linalg.lapack import get_lapack_funcs

# Pivot of Cholesky, relative to its diagonal entry, above which rounding errors are less than 1e-8
# of a step. Below it the factor is a preconditioner, and the step needs more corrections.
PIVOT_RATIO = 1e-7

# Eigenvalue, relative to the largest, below which a direction counts as a combination of others.
RANK_TOLERANCE = 1e-12

# Added to the diagonal, so that a column of zeros has a pivot.
TINY = np.finfo(np.float64).tiny


def cholesky_solver(hessian, rank, pivot_ratio):
    """Return a function that multiplies with the inverse, and whether that is well-conditioned.

    It is where no pivot is below `pivot_ratio` times its diagonal entry. The function is None where
    there is no Cholesky factor.
    """
    n_coordinates = len(hessian)
    if rank < n_coordinates:
        return None, False
    diagonal = hessian.diagonal().copy()
    hessian.flat[:: n_coordinates + 1] = (1 + RANK_TOLERANCE) * diagonal + TINY
    potrf, potrs = get_lapack_funcs(("potrf", "potrs"), (hessian,))
    factor, failed = potrf(hessian.T, clean=False, overwrite_a=True)
    if failed:
        return None, False
    well_conditioned = bool((factor.diagonal() ** 2 > pivot_ratio * diagonal).all())
    return lambda gradient: potrs(factor, gradient)[0], well_conditioned


def corrected_solution(solve, product, values):
    """Return the solution of a linear system, corrected once for rounding errors.

    `solve` and `product` multiply with about the inverse of its matrix, and with the matrix. The
    residual of the first solution, and the correction that follows from it, are returned as well.
    """
    solution = solve(values)
    residual = values - product(solution)
    correction = solve(residual)
    return solution + correction, residual, correction


def factorize_hessian(hessian):
    """Return a function that multiplies with the inverse of a Hessian, or its pseudo-inverse."""
    solve, _ = cholesky_solver(hessian.copy(), len(hessian), PIVOT_RATIO)
    return solve or pinvh(hessian, rtol=RANK_TOLERANCE).__matmul__
