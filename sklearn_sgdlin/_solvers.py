"""The solvers that `fit` has chosen, made ready for the rows of a problem."""

from functools import cached_property

from ._choose import choose, rows_are_reduced
from ._facts import ProblemFacts
from .data.row_ranges import moments_of
from .data.sorted_csc import SortedColumns
from .linalg.blocks import with_last
from .linalg.factorization import PIVOT_RATIO
from .linalg.triangular import WELL_CONDITIONED
from .methods.column_set import DenseSet
from .methods.coordinate_descent import CoordinateDescent
from .methods.distributed_newton import SWEEP_AVERAGES, DistributedNewton
from .methods.hessian import Hessian
from .methods.interior_point import InteriorPoint
from .methods.newton_cg import NewtonCG
from .methods.newton_cholesky import NewtonCholesky
from .methods.row_reduction import RowReduction
from .methods.row_system import DenseKernel, RowSystem
from .methods.semismooth_newton import SemismoothNewton
from .methods.sgd import LastIterate, QuadraticSGD
from .methods.sgd_kinks import KinkedSGD
from .methods.sparse_columns import SparseColumns, SparseSet
from .methods.sparse_dual import SparseKernel, SparseRowSystem
from .model.loss import SQUARED_ERROR


def facts_of(settings, *, n_rows, n_features, n_entries, n_targets=1, sparse, distributed=False):
    """Return the `ProblemFacts` of data of this size with these settings."""
    return ProblemFacts(
        n_rows=n_rows,
        n_features=n_features,
        n_entries=n_entries,
        n_targets=n_targets,
        sparse=sparse,
        distributed=distributed,
        quadratic=settings.quadratic,
        curved=settings.loss.compliance > 0 and settings.l1 == 0 and not settings.positive,
        kinked_loss=settings.loss.compliance == 0,
        l2=settings.l2 > 0,
        sgd_setting=settings.sgd_setting,
        squared=settings.loss == SQUARED_ERROR,
    )


class Solvers:
    """The chosen solver, and what several targets share of it.

    What a solver learns of X alone, a Hessian or a system of rows, is the same for all targets.

    `X`, `sample_weight`: the rows, where they are in memory.
    """

    def __init__(self, settings, facts, choice, seed, X=None, sample_weight=None):
        self.settings, self.facts, self.choice, self.seed = settings, facts, choice, seed
        self.X, self.sample_weight, self._kernel = X, sample_weight, None
        self._sparse_columns = None

    def _without_dual(self):
        """Return the choice where rounding errors leave no factor of the dual system."""
        if self.settings.solver == "dual":
            raise ValueError(
                "solver='dual' is not available for this problem: its matrix is singular to "
                "working precision. Increase alpha, or use solver='auto'."
            )
        tuning = self.settings.tuning
        choice = choose(self.facts, tuning, excluded=["dual"])
        return choice._replace(
            reason=f"{choice.reason} The dual system is singular to working precision."
        )

    def of(self, rows, objective):
        """Return the chosen solver for the rows of one target."""
        settings, tol = self.settings, self.settings.tol or 0.0
        match self.choice.solver:
            case "sgd" if not settings.average:
                return LastIterate(rows, objective)
            case "sgd" if settings.quadratic:
                return QuadraticSGD(rows, objective, tol, self.seed)
            case "sgd":
                return KinkedSGD(rows, objective, tol)
            case "coordinate-descent":
                columns = self._column_set(rows)
                return CoordinateDescent(rows, objective, tol, settings.tuning, columns)
            case "interior-point" if rows_are_reduced(self.facts, settings.tuning):
                return RowReduction(rows, objective, tol, settings.tuning, self.seed)
            case "interior-point":
                return InteriorPoint(rows, objective, tol, settings.tuning)
            case "dual" | "min-norm":
                if self._row_kernel(rows).solve is None:
                    self.choice = self._without_dual()
                    return self.of(rows, objective)
                kind = SparseRowSystem if self.facts.sparse else RowSystem
                return kind(rows.whole, self._row_kernel(rows), tol)
            case "newton-cholesky" if not settings.quadratic:
                return SemismoothNewton(rows, objective, tol, settings.tuning, self.seed)
            case "newton-cholesky":
                return NewtonCholesky(rows, objective, tol, self.hessian)
            case "newton-cg" if self._local_hessians:
                return DistributedNewton(rows, objective, tol)
            case "newton-cg":
                return NewtonCG(
                    rows,
                    objective,
                    tol,
                    hessian=self.hessian,
                    seed=self.seed,
                    n_averages=self._averages_of_first_sweep(),
                )

    def _averages_of_first_sweep(self):
        """Return how many averages the sweep has that "newton-cg" begins with; 0 for no sweep."""
        if self.facts.distributed:
            return SWEEP_AVERAGES
        return int(self.facts.n_features > self.settings.tuning.max_hessian_features)

    @property
    def _local_hessians(self):
        """Whether each worker keeps the Hessian of its own rows."""
        limit = self.settings.tuning.max_worker_hessian_features
        return self.facts.distributed and self.facts.n_features <= limit

    @cached_property
    def moments(self):
        """Moments of the columns of X."""
        if self._columns is not None:
            return self._columns.moments
        return moments_of(self.X, self.sample_weight, self.settings.tuning)

    @cached_property
    def _columns(self):
        """Sparse columns as the kernel takes them, with their moments at no cost."""
        if self.choice.solver == "dual" and self.facts.sparse:
            return SortedColumns(self.X, self.sample_weight)
        return None

    def _column_set(self, rows):
        """Return an empty working set; several targets share sparse columns."""
        scale = rows.scaling.scale
        variance = self.moments.variance(self.settings.fit_intercept)
        curvature = with_last(variance, 1.0) * scale**2
        few = self.facts.n_features <= self.settings.tuning.cheap_hessian_features
        if few or not self.facts.sparse:
            return DenseSet(rows, curvature, self.settings.tuning)
        if self._sparse_columns is None:
            self._sparse_columns = SparseColumns(rows)
        return SparseSet(rows, curvature, self._sparse_columns)

    def _row_kernel(self, rows):
        """Return the kernel matrix of the rows, the same for all targets."""
        if self._kernel is None:
            rows = rows.whole
            l2, tuning = self.settings.l2, self.settings.tuning
            if self._columns is None:
                self._kernel = DenseKernel(rows, l2, tuning)
            else:
                self._kernel = SparseKernel(self._columns, rows, l2, tuning)
        return self._kernel

    @cached_property
    def hessian(self):
        """The Hessian that "newton-cholesky" or "newton-cg" prepares, or None."""
        facts, tuning, n_coordinates = self.facts, self.settings.tuning, self.facts.n_features + 1
        if self.choice.solver == "newton-cholesky":
            # In memory, products of columns have been tried before: see `ExactFit`.
            return Hessian(
                facts.n_rows,
                n_coordinates,
                pivot_ratio=WELL_CONDITIONED,
                by_products=facts.distributed,
            )
        if facts.n_features > tuning.max_hessian_features or facts.distributed:
            return None
        n_sums = max(tuning.sketch_rows_per_feature * n_coordinates, tuning.min_sketch_rows)
        n_sums = min(n_sums, facts.n_rows // 4)
        exact_rows = tuning.exact_hessian_rows_per_feature * n_coordinates
        exact = facts.n_rows <= max(exact_rows, tuning.min_sketch_rows)
        summed = facts.n_rows if exact else n_sums
        work = summed * n_coordinates + tuning.products_per_dense_entry * facts.n_rows
        affordable = max(
            tuning.hessian_products_per_entry * facts.n_entries, tuning.min_hessian_products
        )
        if work * n_coordinates > affordable:
            return None
        n_sums = None if exact else n_sums
        return Hessian(facts.n_rows, n_coordinates, n_sums, PIVOT_RATIO, self.seed)
