"""What the columns of a chunk of sparse rows tell of all columns of the stream.

A chunk is a problem in the columns in which it has entries. Its steps are to be as long as those
of the problem in all columns, its penalty is to be the same in the mean over chunks, and each
coefficient has an average over the rows with an entry in its column.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..linalg.blocks import divided, with_last

# `penalty_every` of rows that take the penalty's step in their own columns, each at its turn.
PAID_BY_ROWS = 0

ROUNDING = np.finfo(np.float64).eps


class ColumnSample(NamedTuple):
    """What tells of all columns of a stream where a chunk has only some of them."""

    n_columns: int  # number of columns in the stream so far
    # Of shape (n_features,), number of them that each column of the chunk stands for.
    count: np.ndarray
    # Of shape (n_coordinates,), number of rows in the average of each coefficient, and in that of
    # the intercept.
    average_rows: np.ndarray
    # Of shape (n_coordinates,), the part of the rows of the chunk that the average gets.
    new_rows: np.ndarray

    @classmethod
    def of(cls, state, old_weight, weight, target, n_rows, n_columns):
        """Return the sample that the columns of a chunk are of all columns.

        `state`: before the chunk.
        `old_weight`, `weight` of shape (n_features,): of the entries in the columns of the chunk,
        before and after it.
        `target`: of y, after the chunk.
        `n_rows`, `n_columns`: of the chunk, and of the stream.
        """
        share = np.minimum(weight / target.weight, 1.0)
        # A column is among those of a chunk with the probability 1 - (1 - share)**n_rows.
        probability = -np.expm1(n_rows * np.log1p(-np.minimum(share, 1 - ROUNDING)))
        count = divided(1.0, probability)
        count *= n_columns / max(count.sum(), 1.0)
        # Where the weight of the chunk is a rounding error of all weight, nothing is new.
        new_share = (weight - old_weight) / ((target.weight - state.target.weight) or 1.0)
        old_share = np.minimum(old_weight / (state.target.weight or 1.0), 1.0)
        return cls(
            n_columns,
            count,
            state.average_rows * with_last(old_share, 1.0),
            with_last(np.minimum(new_share, 1.0), 1.0),
        )

    def averaged(self, theta, average, n_rows, average_rows, forget):
        """Return the average with that of `n_rows` steps more, and the rows in it now.

        `theta` of shape (n_coordinates,): average of the iterates of these steps.
        `average` of shape (n_coordinates,): of the iterates before.
        `average_rows` of shape (n_coordinates,)
        `forget`: power of the polynomially decaying weights of the average.
        """
        new = self.new_rows * n_rows
        weight = (1 + forget) * new
        share = divided(weight, average_rows + weight)
        return average + share * (theta - average), average_rows + new

    def problem(self, problem, fit_intercept):
        """Return the problem in whose sweeps a row pays the penalty of its own columns.

        A row pays in proportion to z**2, the same in the mean over all rows as if each paid for
        all columns. So no column changes without an entry, and a coefficient is at the optimum
        where its mean step along the loss and that of the penalty are equal.
        """
        scaling, objective = problem.rows.scaling, problem.objective
        square = scaling.scale[:-1] ** 2 * self._variance(problem, fit_intercept)
        per_square = with_last(divided(1.0, square), 0.0)
        objective = replace(objective, l1=per_square * objective.l1, l2=per_square * objective.l2)
        for part in problem.rows.parts:
            part.penalty_every = PAID_BY_ROWS
        return replace(problem, objective=objective)

    def mean_norm(self, problem, fit_intercept):
        """Return the mean of ||z||**2 over all columns of the stream, without the intercept."""
        variance = self._variance(problem, fit_intercept)
        return float((self.count * problem.rows.scaling.scale[:-1] ** 2) @ variance)

    @staticmethod
    def _variance(problem, fit_intercept):
        """Return the variance of the columns; about zero where they are not centred."""
        return problem.moments.of_columns(slice(-1)).variance(fit_intercept)
