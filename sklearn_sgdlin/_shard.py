"""The partitions of the data that lie on one worker of a cluster, and what it does with them."""

from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ._early_stopping import hold_out
from ._regressor import SGDLinearRegressor
from ._validation import validated, without_rows
from .data.csr import make_rows
from .data.sums import add_up
from .linalg.hessian_estimate import HessianEstimate
from .methods.search import quadratic_sums
from .model.cross_products import CrossProducts

NEWTON_COORDINATES = 1025  # beyond, a worker's own Hessian is too large to keep
PARTITION_PIECES = (
    16  # of a partition at least: visited in random order, so partitions mix in a sweep
)


class Form(NamedTuple):
    """What all partitions must have in common."""

    columns: int
    names: Any
    targets: tuple[int, ...]


@contextmanager
def named(number):
    """Say in which partition an error is."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"In partition {number}: {error}") from error


def _validated(number, part):
    """Arrays of a partition as the training needs them, with their form; None without rows."""
    if without_rows(*part):
        return None
    model = SGDLinearRegressor()
    with named(number):
        X, y, weight = validated(model, *part, reset=True, allow_all_zero_weights=True)
    if weight is not None and not weight.any():
        return None
    names = getattr(model, "feature_names_in_", None)
    names = None if names is None else tuple(names)
    return (X, y, weight), Form(X.shape[1], names, y.shape[1:])


class Shard:
    """Some partitions, swept, searched and summed up where they lie.

    Lives on a worker as an actor; models, directions and sums come and go.

    Parameters
    ----------
    numbers : list of int
        Of the partitions.
    parts : list of (X, y, sample_weight)
    """

    def __init__(self, numbers, parts):
        self.parts, self.forms = [], {}
        for number, part in zip(numbers, parts, strict=True):
            known = _validated(number, part)
            if known is not None:
                self.parts.append(known[0])
                self.forms[number] = known[1]
        self.held_out = []
        self.targets = {}

    def n_partitions(self):
        """Return how many partitions have rows."""
        return len(self.parts)

    def hold_out(self, fraction, seed):
        """Keep a random part of the rows of every partition out of training, where it has two.

        Returns
        -------
        bool
            Whether there are such rows.
        """
        for index, (number, part) in enumerate(zip(self.forms, self.parts, strict=True)):
            if len(part[1]) == 1:
                continue
            with named(number):
                training, held_out = hold_out(part, fraction, seed + number)
            if all(weight is None or weight.any() for weight in (training[2], held_out[2])):
                self.parts[index] = training
                self.held_out.append(held_out)
        return bool(self.held_out)

    def held_out_loss(self, loss, coef, intercept):
        """Return the weighted sum of the losses of a model on those rows, and of the weights."""
        total = sum_of_weights = 0.0
        for X, y, weight in self.held_out:
            weight = np.ones(len(y)) if weight is None else weight
            losses = loss.value(y - (X @ coef.T + intercept)).reshape(len(y), -1).mean(axis=1)
            total += weight @ losses
            sum_of_weights += weight.sum()
        return total, sum_of_weights

    def largest_weight(self):
        """Return the largest weight."""
        return max(weight.max() for _, _, weight in self.parts)

    def look(self, largest_weight, matrix_coordinates):
        """Scale the weights; return what partitions have in common, and what adds up over them.

        Returns
        -------
        forms : dict of int to Form
        size : tuple
            The number of rows, the sum of their weights, and the number of entries.
        scatter : CrossProducts or None
            With products where there are no more coordinates than given. None where partitions
            differ in form.
        """
        sizes, scatters = [], []
        for i, (number, (X, y, weight)) in enumerate(zip(self.forms, self.parts, strict=True)):
            if weight is not None:
                weight = weight / largest_weight
            y = np.ascontiguousarray(y.reshape(len(y), -1).T)
            self.parts[i] = X, y, weight
            with named(number):
                few = X.shape[1] < matrix_coordinates
                scatters.append(CrossProducts.of(X, y, weight, with_products=few))
            n_rows = X.shape[0]
            sizes.append((n_rows, n_rows if weight is None else weight.sum(), X.size))
        alike = len(set(self.forms.values())) == 1
        return self.forms, np.sum(sizes, axis=0), merged(scatters) if alike else None

    def pose(self, target, scaling, l2, seed):
        """See the rows of a target through a scaling; the Hessian has `l2` on its diagonal."""
        rows = [make_rows(X, y[target], weight, scaling) for X, y, weight in self.parts]
        self.targets[target] = LocalProblem(rows, l2, seed)

    def do(self, target, name, problem, *args):
        """Return what a method of the problem of a target returns; pose it first if given."""
        if problem is not None:
            self.pose(target, *problem)
        return getattr(self.targets[target], name)(*args)


def merged(parts):
    """Merge the moments, or the scatter, of several parts."""
    total, *others = parts
    for other in others:
        total = total.merge(other)
    return total


class LocalProblem:
    """The rows of one target on a worker, with a sketch of their own curvature."""

    def __init__(self, rows, l2, seed):
        self.rows, self.l2 = rows, l2
        self.n_rows = sum(part.n_rows for part in rows)
        self.weight = sum(part.weight for part in rows)
        self.n_coordinates = rows[0].n_coordinates
        self.sketch = None
        if self.n_coordinates <= NEWTON_COORDINATES:
            self.sketch = HessianEstimate(self.n_rows, self.n_coordinates, seed)

    def sweep(self, seed, n_stretches, objective, step_rule, rows_seen, theta):
        """Sweep all partitions; return the end and the averages of stretches, as columns.

        Partitions are cut into pieces which are visited in random order, so that a stretch
        sees all of them.
        """
        rng = None if seed is None else np.random.default_rng(seed)
        pieces = []
        for part in self.rows:
            blocks, within = part.order(rng)
            pieces += [(part, piece, within) for piece in np.array_split(blocks, PARTITION_PIECES)]
        pieces = [piece for piece in pieces if len(piece[1])]
        order = np.arange(len(pieces)) if rng is None else rng.permutation(len(pieces))
        points, iterate = [], theta
        for stretch in np.array_split(order, min(n_stretches, len(pieces))):
            average, n_averaged = iterate, 0.0
            for part, *piece in (pieces[i] for i in stretch):
                iterate, average, n_averaged = part.sweep(
                    piece,
                    objective,
                    step_rule,
                    rows_seen,
                    iterate,
                    average,
                    average_rows=n_averaged,
                )
            rows_seen += int(n_averaged)
            points.append(average)
        return np.column_stack([iterate, *points])

    def sum(self, task, *args):
        """Return the sums of a task over the partitions; see `Rows.sum`."""
        return add_up(task(part, *args) for part in self.rows)

    def gradient_and_hessian_products(self, theta, directions):
        """Return sums for the gradient and Hessian products; the local inverse is up to date."""
        if self.sketch is not None:
            self.sketch.fill(self.rows, self.weight, self.l2)
        return self.sum(quadratic_sums, theta, directions)

    def sweep_and_sum(self, seed, objective, step_rule, rows_seen, theta):
        """Sweep in one stretch; return it, and the sums for the gradient at its start."""
        points = self.sweep(seed, 1, objective, step_rule, rows_seen, theta)
        return points, self.sum(quadratic_sums, theta, np.empty((self.n_coordinates, 0)))

    def newton(self, gradient):
        """Return the local inverse Hessian times a gradient."""
        return self.sketch.solve(gradient)
