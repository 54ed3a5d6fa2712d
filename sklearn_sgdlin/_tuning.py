"""Thresholds at which `fit` and `partial_fit` go another way.

Each field says what it counts, what happens on either side, why, and which line of
``python benchmarks/thresholds.py`` measures time, memory and quality at half of it, at it, just
beyond, and at double. Tests and benchmarks set others with ``estimator._tuning = Tuning(...)``,
which travels with the settings, also to the workers of a cluster.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Thresholds that choose a solver, or a variant of one."""

    # Features. With more, no matrix of n_features**2 numbers is kept: "newton-cholesky" cannot be
    # asked for, and "newton-cg" goes on without a Hessian. At 4096 a matrix takes 128 MB.
    # Measured by: max_hessian_features
    max_hessian_features: int = 4096

    # Features. Up to here "newton-cholesky" runs, with any number of rows: to sum up the Hessian
    # costs less than the products with it that "newton-cg" would take.
    # Measured by: cheap_hessian_features
    cheap_hessian_features: int = 256

    # Multiplications, n_rows * n_features**2. Up to here "newton-cholesky" runs as well: less than
    # a tenth of a second of work needs no iterations.
    # Measured by: cheap_hessian_products
    cheap_hessian_products: float = 1e9

    # Rows. With more, no matrix of n_rows**2 numbers is kept, and "dual" and "min-norm" cannot
    # serve dense rows. At 4096 a matrix takes 128 MB.
    # Measured by: max_row_system_rows
    max_row_system_rows: int = 4096

    # Features. With fewer, a stream could go on from the products of columns, which a system of
    # rows does not know, so "dual" and "min-norm" are not chosen.
    # Measured by: min_row_system_features
    min_row_system_features: int = 65

    # Features. With fewer, sparse rows are few enough columns for the solvers that have a Hessian,
    # so "dual" is not chosen for them.
    # Measured by: min_sparse_dual_features
    min_sparse_dual_features: int = 4097

    # Stored entries a feature of sparse rows. "dual" sorts a copy of the entries by column; beyond
    # this, the copy takes more memory than some vectors, and rows share too many columns.
    # Measured by: max_sparse_dual_entries_per_feature
    max_sparse_dual_entries_per_feature: float = 16.0

    # Features of rows on several workers. Up to here "newton-cholesky" runs: half a matrix is no
    # more than the directions that a round would send.
    # Measured by: max_cluster_hessian_features
    max_cluster_hessian_features: int = 100

    # Features of rows on several workers. Up to here each worker keeps the Hessian of its own rows,
    # whose Newton steps are directions of "newton-cg".
    # Measured by: max_worker_hessian_features
    max_worker_hessian_features: int = 1024

    # Features. Up to here `partial_fit` keeps the triangular factor of all rows seen, and squared
    # error is solved exactly after each chunk. Beyond, it costs more than a sweep of SGD.
    # Measured by: max_stream_features
    max_stream_features: int = 64

    # Rows a feature. Where "newton-cg" needs a Hessian, up to here the rows themselves are summed
    # up; beyond, as many random signed sums of rows as `sketch_rows_per_feature` says.
    # Measured by: exact_hessian_rows_per_feature
    exact_hessian_rows_per_feature: int = 40

    # Signed sums a feature. An iteration preconditioned by their Hessian leaves about one part in
    # this number of the excess; more cost more than the iterations they save.
    # Measured by: exact_hessian_rows_per_feature (beyond it)
    sketch_rows_per_feature: int = 6

    # Signed sums, at the least, so that the distance to the optimum is known within some 5 percent.
    # Measured by: exact_hessian_rows_per_feature (beyond it)
    min_sketch_rows: int = 1000

    # Multiplications an entry of X, and in all. "newton-cg" makes a Hessian as a preconditioner if
    # it costs no more than either of them; beyond, iterations cost less.
    # Measured by: max_hessian_features, correlated
    hessian_products_per_entry: float = 3e3
    min_hessian_products: float = 6e10

    # Multiplications that cost as much as to write an entry of sparse X into a dense row.
    # Measured by: max_hessian_features, correlated
    products_per_dense_entry: float = 50.0

    # Entries of X. Up to here equal rows are merged and sorted where the model depends on the path,
    # so that a row written twice and a row of weight 2 give the same model.
    # Measured by: max_merged_entries
    max_merged_entries: int = 1 << 15
