"""The solver "newton-cholesky" on rows in memory: one pass over them, then all targets at once."""

from dataclasses import dataclass

import numpy as np

from ._choose_stream import products_are_kept
from ._epoch import Epoch
from ._stop import StopRule, combined_reason, rounding_loss
from .data.one_pass import column_products, squared_residuals
from .linalg.blas import blas_threads
from .methods.base import CANCELLED
from .methods.normal_equations import NormalEquationsSolution, solve_normal_equations
from .model.column_products import ColumnProducts
from .model.settings import Settings
from .model.states_after_fit import StatesAfterFit


@dataclass(frozen=True)
class ExactFit:
    """The optimum of a quadratic objective for each target, from products of columns.

    Attributes
    ----------
    settings : Settings
    products : ColumnProducts
    solution : NormalEquationsSolution
    loss : ndarray of shape (n_targets,)
        The objective, with all digits.
    """

    settings: Settings
    products: ColumnProducts
    solution: NormalEquationsSolution
    loss: np.ndarray

    @classmethod
    def of(cls, settings, X, targets, sample_weight):
        """Return the fit, or None where products of columns have lost too many digits.

        Parameters
        ----------
        settings : Settings
        X : see `pieces`
        targets : C-ordered ndarray of shape (n_rows, n_targets)
        sample_weight : ndarray of shape (n_rows,) or None
            The largest is 1.
        """
        n_rows = len(targets) if sample_weight is None else np.count_nonzero(sample_weight)
        if n_rows <= X.shape[1] and not settings.l2:
            return None  # products of so few rows are singular
        with blas_threads(*X.shape, settings.tuning):
            products = column_products(X, targets, sample_weight, settings.tuning)
            solution = solve_normal_equations(products, settings.fit_intercept, settings.l2)
            if solution is None:
                return None
            loss = cls._with_all_digits(settings, products, solution, X, targets, sample_weight)
        return cls(settings, products, solution, loss)

    @staticmethod
    def _with_all_digits(settings, products, solution, X, targets, sample_weight):
        """Return the objective, computed from the rows where it is a difference of near numbers."""
        loss, moments = solution.loss.copy(), products.moments
        near = np.flatnonzero(loss < CANCELLED * solution.constant_loss)
        if len(near):
            columns = [*range(products.n_features), *(products.n_features + near)]
            centre, coef = moments.mean[columns], solution.coef[near]
            if not settings.fit_intercept:
                centre = np.zeros(len(centre))
            targets = np.ascontiguousarray(targets[:, near])
            square = squared_residuals(X, targets, sample_weight, coef, centre, settings.tuning)
            penalty = settings.l2 * (coef**2).sum(axis=1)
            loss[near] = (square / moments.weight + penalty) / 2
        return loss

    def epochs(self, choice, unit, seed, *, single):
        """Yield the epochs until all targets have stopped; later ones cannot do better.

        Parameters
        ----------
        choice : Choice
        unit : float
            What the weights were divided by.
        seed : int
        single : bool
            Whether there is one target whose state stands alone.
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
                products_are_kept(n_features, len(loss), settings.tuning),
                unit,
                self.solution.coef,
                self.solution.intercept,
                rows_seen=number * moments.rows,
                seed=seed,
            )
            reason = combined_reason(reasons)
            yield Epoch(
                number,
                None,
                float(loss.mean()),
                None if None in distances else max(distances),
                states.state(0) if single else states,
                reason,
                choice,
            )
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
