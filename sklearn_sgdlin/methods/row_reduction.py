"""Kinked losses on many rows: only the few rows near a kink need multipliers to be found.

The optimum of a sample of rows tells which rows are far from the kinks of their loss. Their
multipliers are known, so that a linear function stands for all of them, and the interior-point
method works on the few rows that are left (Portnoy & Koenker, 1997). One pass over all rows then
finds those whose multiplier was wrong, which are selected, too. Whatever rows are left out, the
least objective of the reduced problem is a lower bound of the least objective: so the distance from
the optimum is known.
"""

from math import sqrt
from operator import itemgetter

import numpy as np

from ..data.partitions import SelectedRows
from .base import EpochResult, Solver
from .interior_point import InteriorPoint
from .row_selection import LinearLoss, band_of, check, sampled_rows, select

# Standard errors of the sample's predictions up to which a row is near a kink. With less, more rows
# turn out to be wrong; with more, more are selected.
DEVIATIONS = 2.0


# Rows of a sample, relative to the power 2/3 of rows times the root of coordinates, which minimises
# the work where all of it is interior-point steps (Portnoy & Koenker, 1997). A sample is solved by
# reduction, too, so a larger one pays. And relative to all rows, at most.
SAMPLE_SCALE = 3.0
LARGEST_SAMPLE = 0.25

# Error of the optimum of the sample, relative to its standard error.
SAMPLE_TOL = 0.3

# Epochs of interior-point steps on the sample, and on the selected rows, at most.
MAX_INTERIOR_EPOCHS = 8

# Rounds of selecting rows whose multiplier was wrong, at most.
MAX_ROUNDS = 5

# Factor of the width of the band where the rows left out outweigh those that are selected.
WIDER = 3.0

# Distance, relative to that asked for, up to which interior-point steps count as successful.
SOLVED = 10.0

# Share of the rows that may be selected: with more there is little to gain.
MAX_SELECTED = 0.4


class RowReduction(Solver):
    """The solver "interior-point" on many rows with a bounded, kinked loss.

    `seed`: of the sample.
    """

    def __init__(self, rows, objective, tol, tuning, seed):
        super().__init__(rows, objective)
        self.tol, self.tuning, self.seed = tol, tuning, seed
        self.lower_bound, self.selected, self.best = -np.inf, None, (np.inf, None)
        self.all_rows = None  # the interior-point method on all rows, where the reduction fails

    def run(self, theta, sweep):
        """Return the best model known, its objective, and the distance; see `Solver`."""
        if self.all_rows is None:
            with np.errstate(all="ignore"):
                result = self._run_reduced(theta)
            if result is not None:
                return result
            self.all_rows = InteriorPoint(self.rows, self.objective, self.tol, self.tuning)
            theta = theta if self.best[1] is None else self.best[1]
        return self.all_rows.run(theta, sweep)

    def _run_reduced(self, theta):
        """Return the result of the selected rows; None where the reduction fails."""
        rows, loss = self.rows, self.objective.loss
        if self.selected is None and not self._sample(theta):
            return None
        for _ in range(MAX_ROUNDS):
            if self.selected is None:
                self._select()
            if self.selected is None or self.selected.n_rows > MAX_SELECTED * rows.n_rows:
                return None
            theta, size = self._solve(self.selected, self.start, self.tol)
            if size is None:  # the rows left out are no longer balanced by those that are selected
                self.band = self.band._replace(width=WIDER * self.band.width)
                self.selected = None
                continue
            mean_loss, sums, joining = rows.sum(check, theta, loss, rows.weight)
            value = float(mean_loss + self.objective.penalty(theta))
            self.best = min(self.best, (value, theta), key=itemgetter(0))
            distance = sqrt(max(self.best[0] - self.lower_bound, 0.0) / size)
            if joining:
                linear = self.selected.linear.without(theta, sums)
                parts = [*self.selected.parts, *joining]
                self.selected, self.start = SelectedRows(parts, rows.weight, linear), theta
            if distance <= self.tol:
                return EpochResult(self.best[1], self.best[0], distance)
            if not joining:
                break
        return None

    def _sample(self, theta):
        """Find the optimum of a sample, and the band about it; return whether that is possible."""
        rows, objective = self.rows, self.objective
        wanted = SAMPLE_SCALE * (rows.n_rows * sqrt(rows.n_coordinates)) ** (2 / 3)
        n_sampled = int(min(wanted, LARGEST_SAMPLE * rows.n_rows))
        sampled = sampled_rows(rows, self.seed, n_sampled)
        if sampled.n_rows < n_sampled / 2:
            return False  # few rows have nearly all of the weight
        tol = SAMPLE_TOL * sqrt(rows.n_coordinates / n_sampled)
        if sampled.n_rows >= self.tuning.min_reduced_rows:
            reduction = RowReduction(sampled, objective, tol, self.tuning, self.seed)
            theta = reduction.run(theta, None).theta
        else:
            theta, size = self._solve(sampled, theta, tol)
            self.lower_bound = -np.inf
            if size is None:
                return False
        self.start, self.band = theta, band_of(sampled, theta, objective.loss, DEVIATIONS)
        return self.band is not None

    def _select(self):
        """Select the rows that matter, near the optimum of the sample."""
        rows = self.rows
        sums, selected = rows.sum(select, self.start, self.objective.loss, self.band, rows.weight)
        if selected:
            linear = LinearLoss(self.start, sums)
            self.selected = SelectedRows(selected, rows.weight, linear)

    def _solve(self, rows, theta, tol):
        """Return the optimum of some rows, and the size of the objective a distance refers to.

        The size is None where steps have not led to an optimum.
        """
        interior = InteriorPoint(rows, self.objective, tol, self.tuning)
        for _ in range(MAX_INTERIOR_EPOCHS):
            theta, value, distance = interior.run(theta, None)
            if not value > 0 or interior.size is None or distance <= tol:
                break
        solved = value > 0 and interior.size is not None and distance <= SOLVED * tol
        if solved:
            self.lower_bound = max(self.lower_bound, interior.lower_bound)
        return theta, interior.size if solved else None
