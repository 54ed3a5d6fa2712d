# cython: language_level=3, boundscheck=False, wraparound=False
# cython: cdivision=True, initializedcheck=False
"""What the compiled loops over dense and over sparse rows share.

A sweep is described by two structs, filled once a call: `Targets`, and `Sweep`, which holds the
order of the rows, the objective, the step rule and the path. They point into arrays of the caller,
who keeps those alive until the call returns.
"""

from libc.math cimport INFINITY, fabs, pow
from libc.string cimport memcpy

cdef extern from *:
    """
    /* One copy of the loops for each generation of x86-64; the loader picks the best one.
       That needs the GNU indirect-function mechanism, hence the guards. */
    #if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 \\
        && defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__)
    #define SGDLIN_VECTORISED \\
        __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
    #define SGDLIN_VECTOR_REGISTERS() (__builtin_cpu_supports("avx512vl") ? 32 : 16)
    #else
    #define SGDLIN_VECTORISED
    #if defined(__aarch64__) || defined(_M_ARM64)
    #define SGDLIN_VECTOR_REGISTERS() 32
    #else
    #define SGDLIN_VECTOR_REGISTERS() 16
    #endif
    #endif

    #if defined(__GNUC__) || defined(__clang__)
    /* GCC takes a function that only prefetches for one without effect and drops its calls,
       unless it is inlined before. */
    #define SGDLIN_INLINED __attribute__((always_inline))
    #define SGDLIN_PREFETCH(address) __builtin_prefetch(address, 0, 1)
    #define SGDLIN_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
    #else
    #define SGDLIN_INLINED
    #define SGDLIN_PREFETCH(address) (void)(address)
    #define SGDLIN_PREFETCH_TO_WRITE(address) (void)(address)
    #endif
    """
    ctypedef void vectorised_void "SGDLIN_VECTORISED void"
    ctypedef void inlined_void "SGDLIN_INLINED void"
    # A loop writes through such a pointer, and reaches what it points to in no other way.
    ctypedef double* unaliased "double *__restrict"
    # How many vectors the processor holds, where the copy of a loop for it uses them all.
    int vector_registers "SGDLIN_VECTOR_REGISTERS" () noexcept nogil
    void prefetch "SGDLIN_PREFETCH" (const void* address) noexcept nogil
    void prefetch_to_write "SGDLIN_PREFETCH_TO_WRITE" (const void* address) noexcept nogil

ctypedef fused floating:
    float
    double

ctypedef fused integer:
    int
    long long

cdef enum:
    # The bytes that memory delivers at a time.
    CACHE_LINE_BYTES = 64
    # A loop over stored entries in the order of the file asks so many entries ahead for what they
    # need: long enough for memory to answer, short enough that the cache still has it.
    ENTRIES_AHEAD = 64
    # The average of the path takes in one iterate of so many steps; the rate changes as often.
    AVERAGE_EVERY = 16


cdef struct Targets:
    Py_ssize_t n_rows
    const double* y                 # NULL where there are none
    const double* sample_weight     # NULL for weights of one


cdef struct RowOrder:               # see `data/row_order.py`
    Py_ssize_t n_rows
    const Py_ssize_t* blocks        # which blocks of consecutive rows to visit, in which order
    Py_ssize_t n_blocks
    Py_ssize_t block_rows
    const Py_ssize_t* within        # the order of the positions in a tile
    Py_ssize_t tile_rows


cdef struct Loss:                   # see `model/loss.py`
    double dead_zone
    double compliance
    double lower
    double upper


cdef struct Penalty:                # of each coordinate, see `model/objective.py`
    const double* l1
    const double* l2
    const double* floor
    bint any                        # whether there is one
    Py_ssize_t every                # steps between two of the penalty, a power of two, or 0: `pay`
    double rate                     # of the next one: the sum over the rows since the last


cdef struct StepRule:               # the rate of a step is learning_rate / rows_seen**power_t
    double learning_rate
    double power_t
    double implicit                 # 1 for implicit steps, 0 for explicit ones
    double mean_norm                # mean of ||z||**2 without the intercept


cdef struct Average:                # (1 + forget) rows / (rows so far + ...) is a point's weight
    double* mean
    double rows
    double forget


cdef struct Sweep:
    RowOrder order
    Loss loss
    Penalty penalty
    StepRule rule
    double* theta
    double rows_seen
    Average average


cdef struct Step:                   # of a row: theta moves by length * z
    double residual                 # before the step
    double rate                     # that of the sweep times the weight of the row
    double softness                 # compliance + rate ||z||**2, without the norm if explicit
    double length


cdef inline Targets read_targets(targets, Py_ssize_t n_rows) except *:
    """Return the struct of (y, sample_weight); each is None or a float64 array of n_rows."""
    cdef const double[::1] y, sample_weight
    cdef Targets c_targets = Targets(n_rows, NULL, NULL)
    y, sample_weight = targets
    if y is not None:
        c_targets.y = &y[0]
    if sample_weight is not None:
        c_targets.sample_weight = &sample_weight[0]
    return c_targets


cdef inline bint any_penalty(const double[::1] l1, const double[::1] l2,
                             const double[::1] floor) noexcept nogil:
    cdef Py_ssize_t j
    cdef bint found = False
    for j in range(l1.shape[0]):
        found |= l1[j] != 0 or l2[j] != 0 or floor[j] != -INFINITY
    return found


cdef inline Sweep read_sweep(plan, Py_ssize_t n_rows) except *:
    """Return the struct of a `SweepPlan`, see `data/row_order.py`, over so many rows."""
    cdef const Py_ssize_t[::1] blocks, within
    cdef const double[::1] l1, l2, floor
    cdef double[::1] theta, mean
    cdef Sweep sweep
    cdef Py_ssize_t block_rows
    ((blocks, within), block_rows, objective, sweep.penalty.every, step_rule, theta,
     sweep.rows_seen, mean, sweep.average.rows, sweep.average.forget) = plan
    sweep.order = RowOrder(n_rows, NULL, blocks.shape[0], block_rows, &within[0], within.shape[0])
    if blocks.shape[0] > 0:
        sweep.order.blocks = &blocks[0]
    (sweep.loss.dead_zone, sweep.loss.compliance, sweep.loss.lower,
     sweep.loss.upper) = objective.loss
    l1, l2, floor = objective.l1, objective.l2, objective.floor
    sweep.penalty.l1, sweep.penalty.l2, sweep.penalty.floor = &l1[0], &l2[0], &floor[0]
    sweep.penalty.any = any_penalty(l1, l2, floor)
    sweep.penalty.rate = 0
    (sweep.rule.learning_rate, sweep.rule.power_t, sweep.rule.implicit,
     sweep.rule.mean_norm) = step_rule
    sweep.theta, sweep.average.mean = &theta[0], &mean[0]
    return sweep


cdef inline double clip(double number, double lower, double upper) noexcept nogil:
    """The nearest number between the bounds; NaN stays visible."""
    number = lower if number < lower else number
    return upper if number > upper else number


cdef inline void count(double residual, double weight, double[::1] histogram) noexcept nogil:
    """Add a weight at the power of two above the size of a residual, from 0 on.

    The exponent is read off the bits of the number, which takes a third of the time of `frexp`.
    """
    cdef unsigned long long bits
    cdef Py_ssize_t place = 0
    memcpy(&bits, &residual, sizeof(double))
    if residual != 0:
        place = <Py_ssize_t> ((bits >> 52) & 0x7ff) - 1022 + histogram.shape[0] // 2
    histogram[place] += weight


cdef inline double rate_after(double rows_seen, StepRule rule) noexcept nogil:
    """The rate of the steps after so many rows."""
    return rule.learning_rate * pow(rows_seen + 1, -rule.power_t)


cdef inline double step_along(double residual, double rate, double softness,
                              Loss loss) noexcept nogil:
    """How far theta moves along z: rate * clip(outside / softness, lower, upper).

    The rate is that of the row, rate h, and softness = compliance + rate ||z||^2. Every row waits
    for the step before it. So a dead zone and bounds are passed over where the loss has none, for
    such branches always go the same way; the reciprocal is ready before the residual is; and
    there is no branch on the sign of the residual, which nobody can predict.
    """
    cdef double outside = residual
    if loss.dead_zone > 0:
        outside -= clip(residual, -loss.dead_zone, loss.dead_zone)
    if loss.lower == -INFINITY and loss.upper == INFINITY:      # and a compliance
        return outside * (rate / softness)
    if outside == 0:                # also where the softness is
        return 0
    return rate * clip(outside * (1 / softness), loss.lower, loss.upper)


cdef inline Step step_of_row(double residual, double norm, double rate, Loss loss,
                             StepRule rule) noexcept nogil:
    """The step of a row with ||z||**2 = norm."""
    cdef double softness = loss.compliance + rule.implicit * rate * norm
    return Step(residual, rate, softness, step_along(residual, rate, softness, loss))


cdef inline double rate_of_penalty(Step step, double norm, Loss loss,
                                   StepRule rule) noexcept nogil:
    """The rate of the penalty that balances the step of a row; the norm is without intercept.

    An implicit step is shorter than an explicit one; a penalty at the full rate would win. A loss
    without bounds shortens all steps along z alike, by compliance / softness. Its rows of large
    norm move theta most and are shortened most, so they count by their norm. With bounds, what
    counts is how much shorter the step has become.
    """
    cdef double outside
    if not rule.implicit:
        return step.rate
    if loss.lower == -INFINITY and loss.upper == INFINITY:
        return step.rate * (loss.compliance / step.softness) * (norm / rule.mean_norm)
    outside = step.residual - clip(step.residual, -loss.dead_zone, loss.dead_zone)
    if outside == 0:
        return step.rate * (loss.compliance / step.softness) if loss.compliance > 0 else step.rate
    return step.length / clip(outside / loss.compliance, loss.lower, loss.upper)


cdef inline double shrink(double t, double l1, double l2, double floor) noexcept nogil:
    """The point that minimises l1 |u| + l2 u**2 / 2 + (u - t)**2 / 2 over u >= floor."""
    t -= clip(t, -l1, l1)
    t /= 1 + l2
    return t if t > floor else floor


cdef inline double midway(double before, double after) noexcept nogil:
    """The point of the penalty's step that is averaged: its middle, for its ends are extremes.

    Zeros count as zeros, and what is near zero as at most twice as far from it.
    """
    cdef double size = fabs(after)
    return after + clip((before - after) / 2, -size, size)


cdef inline double weight_of_next(Average* average, Py_ssize_t n_rows) noexcept nogil:
    """Count so many rows more in the average; return the weight of the iterate after them."""
    cdef double weight = (1 + average.forget) * n_rows
    average.rows += n_rows
    return weight / (average.rows + average.forget * n_rows)


cdef inline inlined_void fetch(const char* row, Py_ssize_t n_bytes) noexcept nogil:
    """Ask for a row before it is needed."""
    cdef Py_ssize_t byte = 0
    while byte < n_bytes:
        prefetch(row + byte)
        byte += CACHE_LINE_BYTES


cdef inline Py_ssize_t list_rows(RowOrder order, Py_ssize_t first_block,
                                 Py_ssize_t* rows) noexcept nogil:
    """Write the rows of the tile that starts with a block in the order of the file; count them."""
    cdef Py_ssize_t stop = min(first_block + order.tile_rows // order.block_rows, order.n_blocks)
    cdef Py_ssize_t k, row, n_listed = 0
    for k in range(first_block, stop):
        for row in range(order.blocks[k] * order.block_rows,
                         min((order.blocks[k] + 1) * order.block_rows, order.n_rows)):
            rows[n_listed] = row
            n_listed += 1
    return n_listed


cdef inline Py_ssize_t permute(RowOrder order, const Py_ssize_t* rows, Py_ssize_t n_rows,
                               Py_ssize_t* permuted) noexcept nogil:
    """Write the rows of a tile in the order within, which skips positions a short tile lacks."""
    cdef Py_ssize_t i, n_permuted = 0
    for i in range(order.tile_rows):
        if order.within[i] < n_rows:
            permuted[n_permuted] = rows[order.within[i]]
            n_permuted += 1
    return n_permuted
