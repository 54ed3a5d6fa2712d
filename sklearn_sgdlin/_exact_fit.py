"""Squared error from products of columns: one pass over the rows, then nothing but these.

With few columns, "newton-cholesky" and "coordinate-descent" need no more of the rows in memory.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._choose_stream import products_are_kept
from ._stop import Epoch, StopRule, combined_reason, rounding_loss
from .data.one_pass import column_products, squared_residuals
from .linalg.blas import blas_threads
from .methods.base import CANCELLED
from .methods.normal_equations import NormalEquationsSolution, solve_normal_equations
from .methods.product_path import ProductPath
from .model.column_products import ColumnProducts
from .model.settings import Settings
from .model.states_after_fit import StatesAfterFit


class ProductFits:
    """Fits for one penalty after the other, from products of columns.

    The settings hold for each fit, but for the penalty. X is as in `pieces`, targets are of shape
    (n_rows, n_targets), the largest weight is 1, and `coef` has models to begin with, if any.
    """

    def __init__(self, settings, X, targets, sample_weight, coef=None):
        self.rows, self.coef = (X, targets, sample_weight), coef
        weighted = np.count_nonzero(sample_weight) if sample_weight is not None else len(targets)
        self.n_rows, self.tuning = weighted, settings.tuning
        self.fit_intercept = settings.fit_intercept

    @staticmethod
    def serve(settings, choice, n_features):
        """Whether products of columns are the way of a solver to the optimum."""
        if choice.solver == "coordinate-descent":
            return n_features <= settings.tuning.cheap_hessian_features
        return choice.solver == "newton-cholesky" and settings.quadratic

    def fit(self, settings):
        """Return the `ExactFit`, or None where products of columns have lost too many digits."""
        X = self.rows[0]
        if settings.quadratic and self.n_rows <= X.shape[1] and not settings.l2:
            return None  # products of so few rows are singular
        with blas_threads(*X.shape, self.tuning):
            if settings.quadratic:
                solution = solve_normal_equations(self.products, self.fit_intercept, settings.l2)
            else:
                solution = self._path.solve(settings)
            if solution is None:
                return None
            loss = self._with_all_digits(settings, solution)
        return ExactFit(settings, self.products, solution, loss)

    @cached_property
    def products(self):
        """The `ColumnProducts` of all rows."""
        return column_products(*self.rows, self.tuning)

    @cached_property
    def _path(self):
        path = ProductPath(self.products, self.fit_intercept)
        if self.coef is not None:
            path.begin_at(self.coef)
        return path

    def _with_all_digits(self, settings, solution):
        """Return the objective, computed from the rows where it is a difference of near numbers."""
        (X, targets, sample_weight), moments = self.rows, self.products.moments
        loss, n_features = solution.loss.copy(), X.shape[1]
        near = np.flatnonzero(loss < CANCELLED * solution.constant_loss)
        if len(near):
            columns = [*range(n_features), *(n_features + near)]
            centre, coef = moments.mean[columns], solution.coef[near]
            if not settings.fit_intercept:
                centre = np.zeros(len(centre))
            targets = np.ascontiguousarray(targets[:, near])
            square = squared_residuals(X, targets, sample_weight, coef, centre, settings.tuning)
            l1, l2 = settings.l1 * np.abs(coef), settings.l2 * coef**2 / 2
            loss[near] = square / moments.weight / 2 + (l1 + l2).sum(axis=1)
        return loss


@dataclass(frozen=True)
class ExactFit:
    """The optimum of squared error with any penalty for each target, from products of columns."""

    settings: Settings
    products: ColumnProducts
    solution: NormalEquationsSolution
    loss: np.ndarray  # the objective of each target, with all digits

    def epochs(self, choice, unit, seed, *, single):
        """Yield the epochs until all targets have stopped; later ones cannot do better.

        `unit` is what the weights were divided by, and the state of a single target stands alone.
        """
        settings, products, loss = self.settings, self.products, self.loss
        n_features, moments = products.n_features, products.moments
        smallest = rounding_loss(settings.loss, moments.of_columns(slice(n_features, None)))
        stops = [StopRule(settings, number) for number in smallest.tolist()]
        distances, reasons = self._distances(), [None] * len(loss)
        for number in range(1, settings.max_iter + 1):
            reasons = [
                reason or stop.update(number, value, distance)
                for reason, stop, value, distance in zip(
                    reasons, stops, loss.tolist(), distances, strict=True
                )
            ]
            states = StatesAfterFit(
                products,
                products_are_kept(n_features, len(loss), settings.tuning.max_stream_features),
                unit,
                self.solution.coef,
                self.solution.intercept,
                rows_seen=number * moments.rows,
                seed=seed,
            )
            reason = combined_reason(reasons)
            distance = None if None in distances else max(distances)
            state = states.state(0) if single else states
            yield Epoch(number, None, float(loss.mean()), distance, state, reason, choice)
            if reason is not None:
                return

    def _distances(self):
        """Return the distance of each target from the optimum; None where its loss is 0."""
        remaining = np.maximum(self.solution.remaining, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.sqrt(remaining / self.loss)
        return [
            value if loss > 0 else None
            for value, loss in zip(distance.tolist(), self.loss.tolist(), strict=True)
        ]
