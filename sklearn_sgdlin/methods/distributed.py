"""Training on rows that stay on the workers of a Dask cluster.

In each round every worker sweeps its own partitions from the shared model. The ends and averages
they reach are directions of the same search as on one machine. Where columns are few, the Hessian
is added up over workers, and the exact Newton step follows. Else a few more searches do, among
the Newton steps of the workers, each the gradient times the inverse of the worker's own Hessian
(GIANT: Wang, Roosta-Khorasani, Xu & Mahoney, 2018).
"""

from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from importlib import metadata

import numpy as np

from .. import __version__
from .._fit import _method, run_targets_together, train
from .._shard import NEWTON_COORDINATES, Shard, merged
from ..data.dense import Rows
from ..data.problem import Problem
from ..data.sums import add_up
from ..linalg.hessian_estimate import HessianEstimate
from ..model.loss import SQUARED_ERROR
from .search import SearchingEpoch, hessian_times, normalize_sums

MATRIX_COORDINATES = 101  # up to which half a matrix is no more than the directions of a round
SWEEP_AVERAGES = 16  # of all workers together, at least one each
REFINEMENTS = 3  # searches among Newton steps in a round, at most
MAX_DIRECTIONS_PER_KIND = (
    16  # directions of a kind at most: with more workers, means over groups of them
)
WORKER_POLL_SECONDS = 2.0  # seconds to wait for a worker before asking whether it is still there


def check_versions(client, addresses=None):
    """Raise an error if workers, all or those at some addresses, cannot do what they are told.

    A worker that cannot load a task because it lacks the package is lost without a word.
    """
    # A function of the standard library is known to all of them.
    found = client.run(metadata.version, "sklearn-sgdlin", workers=addresses, on_error="return")
    for address, version in found.items():
        if isinstance(version, metadata.PackageNotFoundError):
            version = "no version"
        if isinstance(version, str) and version != __version__:
            raise RuntimeError(
                f"The worker {address} has {version} of sklearn-sgdlin installed, but here it is "
                f"{__version__}. Install sklearn-sgdlin=={__version__} on all workers."
            )


class Cluster:
    """The workers that hold partitions with rows.

    Parameters
    ----------
    client : distributed.Client
    partitions : dict of int to tuple
        Futures of X, y and sample_weight, or None, of the partition of each number.

    Attributes
    ----------
    numbers : dict of str to list of int
        Partitions at each address.
    """

    def __init__(self, client, partitions):
        self.client = client
        who_has = client.who_has([X for X, _, _ in partitions.values()])
        self.numbers = {}
        for number, (X, _, _) in partitions.items():
            holder = min(sorted(who_has[X.key]), key=self._n_partitions, default=None)
            self.numbers.setdefault(holder, []).append(number)
        if None in self.numbers:
            raise self._lost(None)
        check_versions(client, list(self.numbers))
        self.actors = {
            address: client.submit(
                Shard,
                numbers,
                [partitions[number] for number in numbers],
                workers=[address],
                allow_other_workers=False,
                actor=True,
                pure=False,
            )
            for address, numbers in self.numbers.items()
        }
        try:
            self.shards = {
                address: self._wait(address, future.result)
                for address, future in self.actors.items()
            }
            self._leave_out_empty()
        except BaseException:
            self.release()
            raise

    def _leave_out_empty(self):
        """Ask no shard that has no rows, as where a filter left none."""
        n_partitions = self.ask("n_partitions")
        self.shards = {
            address: shard
            for (address, shard), n in zip(self.shards.items(), n_partitions, strict=True)
            if n > 0
        }
        if not self.shards:
            raise ValueError(
                "Found 0 sample(s) of non-zero sample_weight in all partitions together, while a "
                "minimum of 1 is required."
            )

    def _n_partitions(self, address):
        return len(self.numbers.get(address, []))

    def release(self):
        """Let the workers drop their shards, without waiting for the garbage collector."""
        with suppress(OSError, TimeoutError):  # of a cluster that is gone
            self.client.cancel(list(self.actors.values()), force=True)

    def ask(self, name, *args):
        """Call a method of all shards; return what each returned."""
        return self.ask_each(name, [args] * len(self.shards))

    def ask_each(self, name, args):
        """Call a method of all shards, each with arguments of its own."""
        calls = {
            address: self._call(address, name, own)
            for address, own in zip(self.shards, args, strict=True)
        }
        return [self._wait(address, call.result) for address, call in calls.items()]

    def _call(self, address, name, args):
        try:
            return getattr(self.shards[address], name)(*args)
        except RuntimeError as error:  # already known to be lost
            raise self._lost(address) from error

    def _wait(self, address, result):
        """Return result(timeout=...), or fail as soon as the worker is gone."""
        while True:
            try:
                return result(timeout=WORKER_POLL_SECONDS)
            except TimeoutError:
                if not self._alive(address):
                    raise self._lost(address) from None
            except (OSError, CancelledError) as error:
                raise self._lost(address) from error

    def _alive(self, address):
        return self.actors[address].status in ("pending", "finished") and self.client.nthreads(
            workers=[address]
        ).get(address)

    def _lost(self, address):
        return RuntimeError(
            f"The worker that held the partitions {self.numbers[address]} was lost, so the fit was "
            "given up. Call fit again: it uses the workers that are there then."
        )


class ClusterData:
    """The data on a cluster, as far as they are known here.

    Parameters
    ----------
    cluster : Cluster
    settings : Settings
    weighted : bool
        Whether rows have weights.

    Attributes
    ----------
    unit : float
        The largest weight; the others are in units of it.
    form : Form
    sizes : ndarray of shape (n_workers, 3)
        The number of rows of each, the sum of their weights, and the number of entries.
    scatter : CrossProducts
        With products where columns are few and the objective is quadratic.
    """

    def __init__(self, cluster, settings, weighted):
        self.cluster = cluster
        scaled = settings.precondition and weighted
        self.unit = float(max(cluster.ask("largest_weight"))) if scaled else 1.0
        exact = settings.average and settings.quadratic
        sights = cluster.ask("look", self.unit, MATRIX_COORDINATES if exact else 0)
        forms, sizes, scatters = zip(*sights, strict=True)
        self.form = _common(dict(sorted(item for some in forms for item in some.items())))
        self.sizes = np.array(sizes)
        self.scatter = merged(scatters)

    @property
    def targets(self):
        """Numbers of the targets."""
        return range(len(self.scatter.moments.mean) - self.form.columns)

    def moments(self, target):
        """Return the moments of the columns of X, and of a target, last."""
        moments, last = self.scatter.moments, self.form.columns + target
        return moments.of_columns([*range(self.form.columns), last])


class ClusterValidation:
    """Rows of every partition that a fit does not learn from; see `Validation`."""

    def __init__(self, cluster, loss, fraction, seed):
        self.cluster, self.loss = cluster, loss
        if not any(cluster.ask("hold_out", fraction, seed)):
            raise ValueError(
                f"validation_fraction={fraction!r} leaves no rows of non-zero sample_weight to "
                "validate on. Pass X_val and y_val instead."
            )

    def score(self, estimator):
        """Return minus the mean loss of a fitted estimator."""
        model = estimator.coef_, estimator.intercept_
        total, weight = add_up(self.cluster.ask("held_out_loss", self.loss, *model))
        return float(-total / weight)


def _common(forms):
    """Return the form of all partitions, or name the first that differs."""
    (first, expected), *others = forms.items()
    for number, form in others:
        if form != expected:
            raise ValueError(
                f"In partition {number}: {_in_words(form)}, but {_in_words(expected)} in "
                f"partition {first}."
            )
    return expected


def _in_words(form):
    names = "" if form.names is None else f" ({', '.join(form.names)})"
    return f"X has {form.columns} columns{names} and y {form.targets or 'one dimension'}"


class ClusterRows(Rows):
    """`Rows` of one target on the workers of a cluster; see `Rows` for what it answers."""

    def __init__(self, data, target, l2, seed, scaling):
        self.cluster, self.target, self.scaling = data.cluster, target, scaling
        self.of_target = data.moments(target).of_columns(slice(-1, None))
        self.n_coordinates = len(scaling.scale)
        weights = data.sizes[:, 1]
        self.n_rows, self.n_entries = (int(size) for size in data.sizes[:, [0, 2]].sum(axis=0))
        self.weight = float(weights.sum())
        self.shares = weights / self.weight
        curvature = l2 * np.append(scaling.scale[:-1], 0.0) ** 2
        self._problems = [(scaling, curvature, (seed, number)) for number in range(len(weights))]

    def ask(self, name, *args):
        """Let every worker do something with its rows; return what each returned."""
        return self.ask_each(name, [args] * len(self.shares))

    def ask_each(self, name, args):
        """Do so with arguments for each; the first call poses the problem to them."""
        calls = [
            (self.target, name, problem, *own)
            for problem, own in zip(self._problems, args, strict=True)
        ]
        self._problems = [None] * len(args)
        return self.cluster.ask_each("do", calls)

    def order(self, rng=None):
        """Return a seed for the sweep of each worker, or None for each in file order."""
        n_workers = len(self.shares)
        return [None] * n_workers if rng is None else rng.integers(2**32, size=n_workers).tolist()

    def sweeps(self, name, order, *args):
        """Let every worker sweep in its own order; return what each returned."""
        return self.ask_each(name, [(seed, *args) for seed in order])

    def sweep(self, order, *args):
        """Return the means over workers of the ends and averages of their sweeps, and the rows."""
        points = np.average(self.sweeps("sweep", order, 1, *args), axis=0, weights=self.shares)
        return points[:, 0], points[:, 1], float(self.n_rows)

    def constant_loss(self, loss, prediction):
        """See `Rows`; squared error needs no pass over the rows."""
        if loss != SQUARED_ERROR:
            return super().constant_loss(loss, prediction)
        of_y = self.of_target
        return float(of_y.sum_of_squares[0] / of_y.weight + (of_y.mean[0] - prediction) ** 2) / 2

    def sum(self, task, *args):
        """Return the sums of a task over the rows of all workers; see `Rows.sum`."""
        return add_up(self.ask("sum", task, *args))


class ClusterEpoch(SearchingEpoch):
    """Every worker sweeps; then the best model in the span of where they got."""

    def directions(self, theta, sweep):
        """Return ends and averages of the workers' sweeps, and the gradient."""
        points = self._points(*sweep.begin(), theta)
        kinds = zip(*[(part - theta[:, None]).T for part in points], strict=False)
        directions = [direction for kind in kinds for direction in grouped(kind)]
        return np.column_stack([*directions, *self._more()])

    def _points(self, order, *args):
        n_stretches = max(SWEEP_AVERAGES // len(self.rows.shares), 1)
        return self.rows.sweeps("sweep", order, n_stretches, *args)

    def _survey(self, theta, directions):
        sums = add_up(self.rows.ask("gradient_and_hessian_products", theta, directions))
        return normalize_sums(self.rows.weight, self.objective, theta, directions, *sums)


class NewtonClusterEpoch(ClusterEpoch):
    """Then further searches, among the Newton steps of the workers."""

    def __init__(self, rows, objective, tol):
        super().__init__(rows, objective, tol)
        self.least = None  # the Newton steps tell what is left

    def _refine(self, theta, loss):
        """Search as long as it is worth while.

        The mean decrement of the Newton steps tells what is left. It is not too small: the mean of
        H_k^-1 is at least the inverse of the mean of H_k (Jensen), and near it where partitions
        are alike.
        """
        total = 0.0
        for n_searches in range(REFINEMENTS + 1):
            newton = self.rows.ask("newton", self.gradient)
            left = self.rows.shares @ [self.gradient @ step for step in newton] / 2
            if left <= self.tol**2 * loss or n_searches == REFINEMENTS:
                return theta, total, left
            directions = np.column_stack([self.gradient, *grouped(newton)])
            length = np.linalg.norm(directions, axis=0)
            directions /= np.where(length > 0, length, 1.0)
            self.span.add(directions, hessian_times(self.rows, self.objective, directions))
            step, change, decrease = self.span.search(self.gradient)
            self.span.forget()
            theta, self.gradient = theta + step, self.gradient + change
            total += decrease


class ExactClusterEpoch(ClusterEpoch):
    """Then the Newton step of all rows: their scatter tells the Hessian.

    So the model is that of one machine to rounding, whichever worker holds which rows. What
    the first search needs to know of them, the scatter tells, too. Later ones see the residuals,
    which have more digits: sweep and sums then come in one call.
    """

    def __init__(self, rows, objective, tol, scatter):
        sketch = HessianEstimate(rows.n_rows, rows.n_coordinates, seed=0)  # no sums, so no seed
        super().__init__(rows, objective, tol, sketch)
        self.known = scatter

    def _points(self, order, *args):
        if self.sketch.solve is None:
            return self.rows.sweeps("sweep", order, 1, *args)
        calls = self.rows.sweeps("sweep_and_sum", order, *args)
        points, sums = zip(*calls, strict=True)
        self.sums = add_up(sums)
        return points

    def _survey(self, theta, directions):
        if self.sketch.solve is None:
            rows = self.rows
            *self.sums, self.sketch.total = self.known.residual_sums(
                rows.target, rows.scaling, theta
            )
            blocks = partial(self.known.equivalent_rows, rows.scaling)
            self.sketch.finish(rows.weight, self.objective.l2, blocks)
        none = np.empty((len(theta), 0))
        loss, gradient, _ = normalize_sums(
            self.rows.weight, self.objective, theta, none, *self.sums
        )
        return loss, gradient, self.sketch.total @ directions


def grouped(directions):
    """Return the directions of the workers, or where they are many, means over groups of them."""
    if len(directions) <= MAX_DIRECTIONS_PER_KIND:
        return list(directions)
    return [
        np.mean(directions[first::MAX_DIRECTIONS_PER_KIND], axis=0)
        for first in range(MAX_DIRECTIONS_PER_KIND)
    ]


def cluster_epochs(settings, data, seed, start):
    """Train like `epochs`, on the rows of a cluster."""
    make = partial(_train, settings, data, seed=seed)
    if not data.form.targets:
        return make(0, start=start)
    starts = [None] * len(data.targets) if start is None else zip(*start, strict=True)
    return run_targets_together(
        [make(target, start=one) for target, one in zip(data.targets, starts, strict=True)]
    )


def _train(settings, data, target, seed, start):
    """Train on one target."""
    rows_in = partial(ClusterRows, data, target, settings.l2, seed)
    moments = data.moments(target)
    problem = Problem.on(rows_in, settings, moments)
    rows, objective = problem.rows, problem.objective
    if settings.average and settings.quadratic:
        method = _epoch(rows, objective, settings.tol or 0.0, data.scatter)
    else:
        method = _method(settings, rows, objective)
    return train(settings, problem, method, moments.with_weights_scaled(data.unit), seed, start)


def _epoch(rows, objective, tol, scatter):
    """Choose by the number of columns."""
    if scatter.factor is not None:
        return ExactClusterEpoch(rows, objective, tol, scatter)
    kind = NewtonClusterEpoch if rows.n_coordinates <= NEWTON_COORDINATES else ClusterEpoch
    return kind(rows, objective, tol)
