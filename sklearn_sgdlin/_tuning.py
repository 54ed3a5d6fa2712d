"""Thresholds at which `fit` and `partial_fit` go another way.

The comment above each field says what it counts, what happens on either side, why, and which line
of ``python benchmarks/thresholds.py`` measures time, memory and quality at half of it, at it, just
beyond, and at double: "0.5 times the time just beyond" means that the first size beyond takes half
as long as the last one up to it. Tests and benchmarks set others with
``estimator._tuning = Tuning(...)``, which travels with the settings. On a cluster the client
decides by them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Thresholds that choose a solver, or a variant of one."""

    # --- The choice of a solver ---

    # Features. With more, no matrix of n_features**2 numbers is kept: "newton-cholesky" cannot be
    # asked for, and "newton-cg" and "interior-point" go on without a Hessian. A larger working set
    # of "coordinate-descent" is left to "interior-point", SGDLinearRegressorCV sums up no products
    # of columns, and standard errors are those of chosen columns only. At 4096 a matrix takes
    # 128 MB. From then on a sweep of SGD comes before the iterations of "newton-cg", and
    # "interior-point" with an l1 penalty begins with zeros instead: to undo the noise of a sweep
    # takes longer than the way from them. Measured: 0.7 to 1 times the time just beyond.
    # Measured by: max_hessian_features
    max_hessian_features: int = 4096

    # Features for each target. Up to here "newton-cholesky" runs, with any number of rows: one pass
    # serves all targets, and the model is exact to rounding. Beyond, "newton-cg", which takes
    # passes for each target, is faster, and exact to `tol`. With huber and
    # squared_epsilon_insensitive, where targets share nothing, "interior-point" takes over beyond.
    # Measured: 0.3 to 0.4 times the time just beyond; as long at 32 features.
    # Measured by: cheap_hessian_features
    cheap_hessian_features: int = 256

    # Multiplications, n_rows * n_features**2. Up to here "newton-cholesky" runs as well: less than
    # a tenth of a second buys a model that is exact to rounding; beyond, `tol` is enough.
    # Measured: 0.3 to 0.4 times the time just beyond.
    # Measured by: cheap_hessian_products
    cheap_hessian_products: float = 1e9

    # Rows. With more, no matrix of n_rows**2 numbers is kept, and "dual" and "min-norm" cannot
    # serve dense rows. At 4096 a matrix takes 128 MB. Measured: 0.2 to 1 times the time just
    # beyond, a hundredth of the memory; without a penalty and with as many rows as features
    # (within a percent), more than 20 times the time.
    # Measured by: max_row_system_rows
    max_row_system_rows: int = 4096

    # Features. With fewer, "dual" and "min-norm" are not chosen: products of columns are summed up
    # instead, and a stream can go on from them. Measured: the same time.
    # Measured by: min_row_system_features
    min_row_system_features: int = 65

    # Features. With fewer, "dual" is not chosen for sparse rows: "newton-cholesky" takes the same
    # time, and is exact. With more, "dual" gains: measured are the same time at 257 features, half
    # of it at 500, a tenth at 2000, and a hundredth of the time of a Hessian at 4096.
    # Measured by: min_sparse_dual_features
    min_sparse_dual_features: int = 257

    # Stored entries a feature of sparse rows. "dual" sorts a copy of the entries by column; beyond
    # this, the copy takes more memory than some vectors, and rows share too many columns. Measured:
    # 0.6 times the time just beyond, a fifth of the memory.
    # Measured by: max_sparse_dual_entries_per_feature
    max_sparse_dual_entries_per_feature: float = 16.0

    # Features of rows on several workers. Up to here "newton-cholesky" runs: half a matrix is no
    # more than the directions that a round would send. Measured: 1.9 times the time just beyond.
    # Measured by: max_cluster_hessian_features
    max_cluster_hessian_features: int = 100

    # Features of rows on several workers. Up to here each worker keeps the Hessian of its own rows,
    # whose Newton steps are directions of "newton-cg". Beyond, a round is a sweep of each worker,
    # and no worker needs the memory of a matrix. Measured: 0.2 times the time just beyond, but 10
    # times where columns are correlated.
    # Measured by: max_worker_hessian_features
    max_worker_hessian_features: int = 1024

    # Features. Up to here `partial_fit` keeps the products of all rows seen, and squared error has
    # the model of all of them; with several targets, as long as their products together take no
    # more memory, 8 MB. Beyond, rows are walked by SGD, which takes less time and leaves an excess
    # over the optimum. Measured: 15 times the time just beyond in chunks of 1000 rows (4 times in
    # chunks of 32), without an excess of 4 percent.
    # Measured by: max_stream_features
    max_stream_features: int = 1000

    # Features for each target. Up to here `partial_fit` takes Newton steps with any other loss; for
    # these it keeps a factor of the same size, and up to 1,000,000 entries of the first rows.
    # Beyond, rows are walked by SGD. Measured: 30 times the time just beyond in chunks of 1000 rows
    # (3 times in chunks of 100), with two fifths of the excess at 100 rows a column.
    # Measured by: max_newton_stream_features
    max_newton_stream_features: int = 300

    # --- Variants of "newton-cg" ---

    # Rows a feature. Where "newton-cg" needs a Hessian, up to here the rows themselves are summed
    # up; beyond, as many random signed sums of rows as `sketch_rows_per_feature` says, which is
    # less work and a preconditioner instead of the solution. Measured: 0.6 times the time just
    # beyond.
    # Measured by: exact_hessian_rows_per_feature
    exact_hessian_rows_per_feature: int = 40

    # Signed sums a feature. An iteration preconditioned by their Hessian leaves about one part in
    # this number of the excess; more cost more than the iterations they save. Measured: the same
    # time with half as many, 1.1 times with double.
    # Measured by: sketch_rows_per_feature
    sketch_rows_per_feature: int = 6

    # Signed sums. With few features so many are taken at the least, so that the distance to the
    # optimum is known within some 5 percent; fewer rows than that are summed up as they are.
    # Measured: 1.1 times the time with half as many, and with double.
    # Measured by: min_sketch_rows
    min_sketch_rows: int = 1000

    # Multiplications an entry of X. "newton-cg" makes a Hessian if it costs no more than this, or
    # than the next number; beyond, iterations are to cost less. Measured on correlated columns: 2.4
    # times the time just beyond, a thirtieth of the memory.
    # Measured by: hessian_products_per_entry
    hessian_products_per_entry: float = 3e3

    # Multiplications. A Hessian that costs no more is made wherever eigenvalues are far apart: it
    # takes some seconds at the most, and ends at the optimum. Measured on correlated columns: 0.03
    # times the time just beyond, but then with an excess of a percent.
    # Measured by: min_hessian_products
    min_hessian_products: float = 6e10

    # Multiplications that cost as much as to write an entry of sparse X into a dense row: they
    # count as work of the Hessian. More of them, and it is made for fewer data. Measured on
    # correlated columns: 0.1 times the time just beyond, but then with an excess of 0.1 percent.
    # Measured by: products_per_dense_entry
    products_per_dense_entry: float = 50.0

    # --- Variants of "interior-point" ---

    # Multiplications an entry of X. Up to here the Hessian of each step is summed up and
    # factorised; beyond, conjugate gradients take products with it, which then cost less. Measured:
    # 0.8 times the time just beyond.
    # Measured by: interior_products_per_entry
    interior_products_per_entry: float = 3e3

    # Multiplications. A Hessian that costs no more is taken in any case: the calls of conjugate
    # gradients alone would take as long. Measured: 1.1 times the time just beyond.
    # Measured by: min_interior_products
    min_interior_products: float = 1e7

    # Multiplications. Where conjugate gradients have not led to the optimum after some epochs, a
    # Hessian that costs no more takes over; a larger one would take longer than more epochs.
    # Measured: 0.6 times the time just beyond, where a tolerance of 1e-5 is no longer met.
    # Measured by: max_interior_products
    max_interior_products: float = 5e9

    # Rows. With at least so many, and a loss without curvature, interior-point steps take only the
    # rows near a kink, which the optimum of a sample tells; with fewer, the sample and two more
    # passes cost more than they save. Measured: 1.2 to 1.9 times the time just beyond, and the same
    # time with 3 columns.
    # Measured by: min_reduced_rows
    min_reduced_rows: int = 10_000

    # Rows a column, from which on the same holds: the error of the sample grows with the columns.
    # Measured: 0.9 to 2.2 times the time just beyond, the latter at level 0.05.
    # Measured by: min_reduced_rows_per_column
    min_reduced_rows_per_column: int = 250

    # --- Variants of "coordinate-descent" ---

    # Multiplications an entry of X. The first set of many columns is so large that its products
    # would take no more; a smaller one grows more often, with a pass over all columns each time.
    # Measured: the same time with half as many, and with double.
    # Measured by: set_products_per_entry
    set_products_per_entry: float = 10.0

    # --- Variants of "dual" ---

    # Features of sparse rows. The matrix near the kernel matrix takes so many columns of the
    # largest variance as they are, at most; the others are no more than a diagonal of it. More
    # columns save iterations, but their products are a matrix that is factorised. Measured: 0.6
    # times the time with half as many, 4.4 times with double.
    # Measured by: max_frequent_columns
    max_frequent_columns: int = 1000

    # Multiplications an entry of X that the products of these columns may cost. Columns beyond are
    # left to the diagonal. Measured: the same time with half, and with double.
    # Measured by: frequent_products_per_entry
    frequent_products_per_entry: float = 20.0

    # --- Rows, streams and threads ---

    # Entries of X. Up to here equal rows are merged and sorted where the model depends on the path,
    # so that a row written twice and a row of weight 2 give the same model. Beyond, to sort them
    # would take a good part of the fit. Measured: 0.9 times the time just beyond.
    # Measured by: max_merged_entries
    max_merged_entries: int = 1 << 15

    # Rows a column of a chunk of a stream. From here on it is factorised by Cholesky of its
    # products; with fewer, orthogonal transformations of the rows cost no more, and lose no digits.
    # Measured: the same time.
    # Measured by: min_product_rows_per_column
    min_product_rows_per_column: int = 4

    # Features of a stream. From here on products are summed up where columns are far from
    # dependent; with fewer, to append rows to a factor takes about as long and loses no digits.
    # Measured: 1 to 1.4 times the time just beyond (the same at 20 features, 1.5 times at 256).
    # Measured by: min_summed_features
    min_summed_features: int = 64

    # Chunks of a stream. With more, each point of `loss_curve_` stands for 2, 4, 8 ... chunks, so
    # that an endless stream keeps a curve of this length at most. An even number. Measured: the
    # same time.
    # Measured by: max_curve_points
    max_curve_points: int = 1000

    # Entries of X. Large data are cut into ranges of rows that threads go through at the same time;
    # a range has at least so many entries, so smaller data than two of them start no thread. To
    # start one takes as long as to read some 1e5 entries. Measured only on busy cores, where
    # threads cannot gain: with half as many entries, up to 4 times the processor time just beyond.
    # Measured by: min_range_entries
    min_range_entries: int = 1 << 19

    # Ranges, a power of two. More of them would serve more threads, but each is a task in Python,
    # and has a path of its own in a sweep, and short paths learn less. Measured: as many epochs of
    # SGD as with 1 or 4 of them, but after the first ones up to 7 times the excess.
    # Measured by: max_ranges
    max_ranges: int = 16

    # Features. From here on BLAS keeps its threads, as time goes into products and factors of large
    # square matrices, which threads speed up; with fewer it gets one, as they slow down small ones.
    # Measured only on busy cores, where threads cannot gain: 2.3 times the time from here on.
    # Measured by: min_blas_threads_features
    min_blas_threads_features: int = 2048

    # Multiplications, entries of X times the lesser of rows and features. Up to here BLAS keeps its
    # threads as well: OpenBLAS starts none for so small a product, and a call that limits them
    # takes a twentieth of so short a fit. Beyond, where other processes keep the cores busy, a fit
    # whose threads wait for each other takes up to a hundred times as long. Measured: 1.1 times the
    # time just beyond.
    # Measured by: max_unlimited_products
    max_unlimited_products: int = 1 << 18
