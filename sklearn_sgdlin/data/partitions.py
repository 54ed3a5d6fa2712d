"""All rows of a problem, wherever they lie: passes over them, and sweeps of SGD.

A solver reads rows by tasks, functions that are sent to the rows. Some return sums, which are added
up over all rows (``rows.sum``); others return an answer of each place (``rows.each``). A place is
where rows lie together: this process, or a worker of a cluster. So a solver is written once.
"""

import numpy as np

from .csr import make_rows
from .sums import add_up

# Least number of pieces that each of several partitions is cut into for a sweep. Pieces of all
# partitions follow each other in random order, so more of them mix partitions that differ better.
PARTITION_PIECES = 16


class Partitions:
    """All rows of a problem, seen through a scaling: base class.

    Attributes
    ----------
    scaling : Scaling
    n_rows, n_coordinates, n_entries : int
        Number of rows, of coordinates of a model, and of stored entries of X.
    weight : float
        Sum of the weights of the rows.
    shares : ndarray of shape (n_places,)
        Share of that weight at each place.
    share : float
        Of the weight of all rows; less than 1 where some are left out.
    linear : LinearLoss or None
        What stands for the rows that are left out.
    """

    share, linear = 1.0, None

    def each(self, task, args):
        """Return ``task(place, *args[k])`` for place k, an `InMemory`, as a list over places.

        `task` (callable): defined at the top level of a module, as it may be pickled.
        """
        raise NotImplementedError

    def sum(self, task, *args):
        """Return ``task(rows, *args)``, added up over the rows of all partitions; see `add_up`."""
        raise NotImplementedError

    def sweep(self, rng, objective, step_rule, rows_seen, theta, *, n_averages=1):
        """Sweep the rows of each place once, each from the same model.

        `rng`: of the order of rows; None for that of the data.
        `rows_seen`: number of steps before this sweep.
        `n_averages`: averages of all paths together; each has one at least, or several of its
        parts.

        Returns
        -------
        ends : ndarray of shape (n_coordinates, n_places)
            Last iterates.
        averages : ndarray of shape (n_coordinates, n_averages)
            Averages of the paths, or of parts of each path.
        """
        raise NotImplementedError

    def mean_of(self, points):
        """Return the mean of one point a column of each place, weighted as its rows are."""
        return points @ self.shares

    def mean_loss(self, points, loss):
        """Return the weighted mean loss of a model, or of each column of several, in one pass."""
        return self.sum(loss_sum, loss, points) / self.weight

    def constant_loss(self, loss, prediction):
        """Return the weighted mean loss of predicting one number."""
        return float(self.sum(constant_loss_sum, loss, prediction) / self.weight)


class InMemory(Partitions):
    """Rows in this process, in parts of the same scaling.

    Solvers keep in `memory` what they need beside the rows; `whole` are all rows, or None where
    several parts are not those of one array.
    """

    shares = np.ones(1)

    def __init__(self, parts):
        self.parts, self.memory = parts, {}
        self.whole = parts[0] if len(parts) == 1 else None
        self.scaling, self.n_coordinates = parts[0].scaling, parts[0].n_coordinates
        self.n_rows = sum(part.n_rows for part in parts)
        self.n_entries = sum(part.n_entries for part in parts)
        self.weight = sum(part.weight for part in parts)

    @classmethod
    def of(cls, X, y, sample_weight, scaling):
        """Return the rows of arrays, in one part."""
        return cls([make_rows(X, y, sample_weight, scaling)])

    def each(self, task, args):
        """See `Partitions`."""
        (own,) = args
        return [task(self, *own)]

    def sum(self, task, *args):
        """See `Partitions`."""
        return add_up(self._map(lambda part: task(part, *args)))

    def _map(self, task):
        """Return the results of a task on each part, in their order."""
        return map(task, self.parts)

    def sweep(self, rng, objective, step_rule, rows_seen, theta, *, n_averages=1):
        """See `Partitions`; the pieces of several partitions are visited in random order.

        `n_averages` consecutive parts of the path have an average each.
        """
        pieces = self._pieces(rng, n_averages)
        iterate, averages = theta, []
        for stretch in np.array_split(np.arange(len(pieces)), min(n_averages, len(pieces))):
            average, n_averaged = iterate, 0.0
            for part, *order in (pieces[i] for i in stretch):
                iterate, average, n_averaged = part.sweep(
                    order,
                    objective,
                    step_rule,
                    rows_seen,
                    iterate,
                    average,
                    average_rows=n_averaged,
                )
            rows_seen += int(n_averaged)
            averages.append(average)
        return iterate[:, np.newaxis], np.column_stack(averages)

    def _pieces(self, rng, n_averages):
        """Return pieces of the order of rows of each partition, in the order of a sweep."""
        alone = len(self.parts) == 1 and n_averages == 1
        pieces = []
        for part in self.parts:
            blocks, within = part.order(rng)
            cut = [blocks] if alone else np.array_split(blocks, PARTITION_PIECES)
            pieces += [(part, piece, within) for piece in cut if len(piece)]
        order = np.arange(len(pieces)) if rng is None else rng.permutation(len(pieces))
        return [pieces[i] for i in order]


def merged(parts):
    """Return parts in one, as a list; as they are where that cannot be."""
    one = parts[0].merged_with(parts[1:]) if len(parts) > 1 else parts[0]
    return parts if one is None else [one]


class SelectedRows(InMemory):
    """Some of the rows, with a linear function of theta for the loss of all others.

    The weight is that of all rows.
    """

    def __init__(self, parts, weight, linear):
        super().__init__(merged(parts))
        self.share, self.weight, self.linear = self.weight / weight, weight, linear

    def mean_loss(self, points, loss):
        """See `Partitions`."""
        return super().mean_loss(points, loss) + self.linear.at(points)


def loss_sum(rows, loss, points):
    """Return the weighted sum of the losses of a model, or of each column of several."""
    return _weighted_sum(loss, rows.residuals(points))


def constant_loss_sum(rows, loss, prediction):
    """Return the weighted sum of the losses of predicting one number."""
    return _weighted_sum(loss, rows.constant_residuals(prediction))


def _weighted_sum(loss, residuals):
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # the caller judges what is finite
        for residual, weight in residuals:
            value = loss.value(residual)
            total += value.sum(axis=0) if weight is None else np.dot(weight, value)
    return total
