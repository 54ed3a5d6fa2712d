# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False, embedsignature=True
"""The compiled loops over the rows of an interior-point step; see `methods/multipliers.py`.

Each row has one or two sides, of which each has a multiplier m between bounds, and the slacks u and
v of these. Arrays of the bounds have one row for all rows, or one for each.
"""

from libc.math cimport INFINITY, NAN, fmax, fmin

from sklearn_sgdlin.kernels.common cimport count


cdef struct Side:                   # of a row, at a point that is inside its bounds
    double outside                  # residual less the offset of the dead zone
    double multiplier
    double upper_slack
    double lower_slack
    double upper_gap                # distances of the multiplier from its bounds
    double lower_gap
    double inverse_upper_gap        # 0 where there is no bound
    double inverse_lower_gap
    double curvature                # derivative of the multiplier by the residual
    double multiplier_residual      # u - v where the conditions hold


cdef struct Change:                 # of a side, in a step
    double multiplier
    double upper_slack
    double lower_slack


cdef struct Longest:                # inverse of the longest feasible step
    double slack
    double multiplier
    bint not_a_number


cdef class Sides:
    """Bounds of multipliers, and a point inside them.

    Parameters
    ----------
    offset, lower, upper : ndarray of shape (1, n_sides) or (n_rows, n_sides)
    compliance : float
    point : ndarray of shape (3, n_rows, n_sides)
        Multipliers, upper slacks, and lower slacks.
    """

    cdef const double[:, :] offset, lower, upper
    cdef double[:, :, :] point
    cdef double compliance
    cdef Py_ssize_t n_rows, n_sides

    def __init__(self, offset, lower, upper, double compliance, point):
        self.offset, self.lower, self.upper, self.point = offset, lower, upper, point
        self.compliance = compliance
        self.n_rows, self.n_sides = self.point.shape[1], self.point.shape[2]

    cdef inline Side at(self, Py_ssize_t i, Py_ssize_t j, double residual) noexcept nogil:
        cdef Side side
        cdef double lower = self.lower[i if self.lower.shape[0] > 1 else 0, j]
        cdef double upper = self.upper[i if self.upper.shape[0] > 1 else 0, j]
        side.outside = residual - self.offset[i if self.offset.shape[0] > 1 else 0, j]
        side.multiplier = self.point[0, i, j]
        side.upper_slack, side.lower_slack = self.point[1, i, j], self.point[2, i, j]
        side.upper_gap, side.lower_gap = upper - side.multiplier, side.multiplier - lower
        side.inverse_upper_gap, side.inverse_lower_gap = 1 / side.upper_gap, 1 / side.lower_gap
        side.curvature = 1 / (self.compliance + side.upper_slack * side.inverse_upper_gap
                              + side.lower_slack * side.inverse_lower_gap)
        side.multiplier_residual = side.outside - self.compliance * side.multiplier
        return side


cdef inline double product(double slack, double gap) noexcept nogil:
    """slack * gap, 0 where there is no bound."""
    return slack * gap if gap < INFINITY else 0


cdef inline Change step_of(Side* side, double response, double upper, double lower) noexcept nogil:
    """The step that leaves slacks so large, but for what the step of the multiplier changes."""
    cdef Change step
    step.multiplier = side.curvature * (side.multiplier_residual - upper + lower - response)
    step.upper_slack = upper + side.upper_slack * (step.multiplier * side.inverse_upper_gap - 1)
    step.lower_slack = lower - side.lower_slack * (step.multiplier * side.inverse_lower_gap + 1)
    return step


cdef inline void shorten(Longest* longest, Side* side, Change* step) noexcept nogil:
    """Make the step no longer than this side allows."""
    cdef double slack = 0, multiplier
    if side.upper_slack > 0:
        slack = fmax(slack, -step.upper_slack / side.upper_slack)
    if side.lower_slack > 0:
        slack = fmax(slack, -step.lower_slack / side.lower_slack)
    multiplier = step.multiplier * side.inverse_upper_gap
    multiplier = fmax(multiplier, -step.multiplier * side.inverse_lower_gap)
    longest.slack = fmax(longest.slack, slack)
    longest.multiplier = fmax(longest.multiplier, multiplier)
    if slack != slack or step.multiplier != step.multiplier:
        longest.not_a_number = True


cdef tuple lengths(Longest longest):
    if longest.not_a_number:
        return NAN, NAN
    return longest.slack, longest.multiplier


def evaluate(Sides sides, const double[::1] residual, const double[::1] weight,
             double[::1] curvature, double[:, ::1] slopes, double[::1] histogram):
    """Write weighted curvatures, multipliers and what an affine step adds to them.

    The weights of residuals by the power of two above their size are added to the histogram.

    Returns
    -------
    cost, gap, complementarity : float
        Weighted sums over rows.
    """
    cdef Py_ssize_t i, j
    cdef Side side
    cdef double outside, best, lower, upper, compliance = sides.compliance
    cdef double cost = 0, gap = 0, complementarity = 0, of_row, gap_of_row, pairs
    cdef double total, multiplier, change
    with nogil:
        for i in range(sides.n_rows):
            total = multiplier = change = of_row = gap_of_row = pairs = 0
            for j in range(sides.n_sides):
                side = sides.at(i, j, residual[i])
                outside = side.outside
                lower = sides.lower[i if sides.lower.shape[0] > 1 else 0, j]
                upper = sides.upper[i if sides.upper.shape[0] > 1 else 0, j]
                if compliance > 0:
                    best = fmin(fmax(outside / compliance, lower), upper)
                else:
                    if upper == INFINITY:
                        outside = fmin(outside, 0)
                    best = upper if outside > 0 else lower if outside < 0 else 0
                if outside != 0:
                    of_row += best * outside - compliance * best * best / 2
                gap_of_row += (best - side.multiplier) * (
                    outside - compliance * (best + side.multiplier) / 2)
                pairs += product(side.upper_slack, side.upper_gap)
                pairs += product(side.lower_slack, side.lower_gap)
                total += side.curvature
                multiplier += side.multiplier
                change += side.curvature * side.multiplier_residual
            cost += weight[i] * of_row
            gap += weight[i] * gap_of_row
            complementarity += weight[i] * pairs
            curvature[i] = weight[i] * total
            slopes[0, i], slopes[1, i] = weight[i] * multiplier, weight[i] * change
            count(residual[i], weight[i], histogram)
    return cost, gap, complementarity


def predict(Sides sides, const double[::1] response, const double[::1] residual,
            const double[::1] weight, double[:, ::1] terms):
    """Write what a corrector step adds to the multipliers after an affine step: `Predictor`.

    Returns
    -------
    slack, multiplier : float
        Inverse of the longest feasible step in either.
    complementarity : tuple of 4 float
        Coefficients of the sum after the affine step.
    """
    cdef Py_ssize_t i, j
    cdef Side side
    cdef Change step
    cdef Longest longest = Longest(0, 0, False)
    cdef double second_order, centring, now, by_slack, by_multiplier, by_both
    cdef double sum_now = 0, sum_slack = 0, sum_multiplier = 0, sum_both = 0
    with nogil:
        for i in range(sides.n_rows):
            second_order = centring = now = by_slack = by_multiplier = by_both = 0
            for j in range(sides.n_sides):
                side = sides.at(i, j, residual[i])
                step = step_of(&side, response[i], 0, 0)
                shorten(&longest, &side, &step)
                second_order -= side.curvature * step.multiplier * (
                    step.upper_slack * side.inverse_upper_gap
                    + step.lower_slack * side.inverse_lower_gap)
                centring += side.curvature * (side.inverse_lower_gap - side.inverse_upper_gap)
                now += product(side.upper_slack, side.upper_gap)
                now += product(side.lower_slack, side.lower_gap)
                by_slack += product(step.upper_slack, side.upper_gap)
                by_slack += product(step.lower_slack, side.lower_gap)
                by_multiplier += step.multiplier * (side.lower_slack - side.upper_slack)
                by_both += step.multiplier * (step.lower_slack - step.upper_slack)
            terms[0, i], terms[1, i] = weight[i] * second_order, weight[i] * centring
            sum_now += weight[i] * now
            sum_slack += weight[i] * by_slack
            sum_multiplier += weight[i] * by_multiplier
            sum_both += weight[i] * by_both
    return *lengths(longest), (sum_now, sum_slack, sum_multiplier, sum_both)


def correct(Sides sides, const double[::1] affine_response, const double[::1] response,
            const double[::1] residual, double complementarity, double[:, :, :] steps):
    """Write the corrector step of multipliers and slacks.

    It leads towards a common complementarity, and makes up for the product of the changes in the
    affine step, which linear conditions leave out (Mehrotra, 1992).

    Returns
    -------
    slack, multiplier : float
        Inverse of the longest feasible step in either.
    """
    cdef Py_ssize_t i, j
    cdef Side side
    cdef Change affine, step
    cdef double upper, lower
    cdef Longest longest = Longest(0, 0, False)
    with nogil:
        for i in range(sides.n_rows):
            for j in range(sides.n_sides):
                side = sides.at(i, j, residual[i])
                affine = step_of(&side, affine_response[i], 0, 0)
                upper = complementarity + affine.upper_slack * affine.multiplier
                lower = complementarity - affine.lower_slack * affine.multiplier
                step = step_of(&side, response[i], upper * side.inverse_upper_gap,
                               lower * side.inverse_lower_gap)
                shorten(&longest, &side, &step)
                steps[0, i, j] = step.multiplier
                steps[1, i, j], steps[2, i, j] = step.upper_slack, step.lower_slack
    return lengths(longest)
