"""Rows that stay on the workers of a Dask cluster; tasks, models and sums travel."""

from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import metadata

import numpy as np

from .csr import make_rows
from .partitions import InMemory, Partitions
from .sums import add_up

# Seconds to wait for an answer before asking whether the worker is still there. A lost worker is
# noticed so late; a shorter time asks the scheduler more often while a worker computes.
WORKER_POLL_SECONDS = 2.0


@contextmanager
def named(number):
    """Say in which partition an error is."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"In partition {number}: {error}") from error


class PartitionActor:
    """Partitions on one worker, an actor; tasks read them, and keep beside them what they need."""

    def __init__(self, numbers, parts):
        self.parts = dict(zip(numbers, parts, strict=True))  # each X, y and sample_weight
        self.memory = {}  # what tasks keep
        self.places = {}  # the rows with each target, in its scaling, as `InMemory`

    def call(self, task, *args):
        """Return ``task(self, *args)``."""
        return task(self, *args)


def check_versions(client, addresses=None):
    """Raise an error if workers, all or those at some addresses, cannot do what they are told.

    A worker that cannot load a task because it lacks the package is lost without a word.
    """
    # A function of the standard library is known to all of them.
    here = metadata.version("sklearn-sgdlin")
    found = client.run(metadata.version, "sklearn-sgdlin", workers=addresses, on_error="return")
    for address, version in found.items():
        if isinstance(version, metadata.PackageNotFoundError):
            version = "no version"
        if isinstance(version, str) and version != here:
            raise RuntimeError(
                f"The worker {address} has {version} of sklearn-sgdlin installed, but here it is "
                f"{here}. Install sklearn-sgdlin=={here} on all workers."
            )


class Cluster:
    """The workers that hold partitions, and the actors that they hold them by.

    Each partition has a number and futures of X, y and sample_weight, or None; `numbers` are those
    at each address.
    """

    def __init__(self, client, partitions):
        self.client = client
        who_has = client.who_has([X for X, _, _ in partitions.values()])
        self.numbers = {}
        for number, (X, _, _) in partitions.items():
            holders = sorted(who_has[X.key])
            holder = min(holders, key=lambda a: len(self.numbers.get(a, [])), default=None)
            self.numbers.setdefault(holder, []).append(number)
        if None in self.numbers:
            raise self._lost(None)
        check_versions(client, list(self.numbers))
        self._futures = {
            address: client.submit(
                PartitionActor,
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
            self._actors = {
                address: self._wait(address, future.result)
                for address, future in self._futures.items()
            }
        except BaseException:
            self.release()
            raise

    def keep(self, kept):
        """Call no worker any more but those for which the list has true."""
        actors = zip(self._actors.items(), kept, strict=True)
        self._actors = dict(item for item, keep in actors if keep)

    def release(self):
        """Let the workers drop their partitions, without waiting for the garbage collector."""
        with suppress(OSError, TimeoutError):  # of a cluster that is gone
            self.client.cancel(list(self._futures.values()), force=True)

    def call(self, task, *args):
        """Return ``task(actor, *args)`` of each worker, as a list."""
        return self.each(task, [args] * len(self._actors))

    def each(self, task, args):
        """Return ``task(actor, *args[k])`` of worker k, as a list."""
        calls = {}
        for (address, actor), own in zip(self._actors.items(), args, strict=True):
            try:
                calls[address] = actor.call(task, *own)
            except RuntimeError as error:  # already known to be lost
                raise self._lost(address) from error
        return [self._wait(address, call.result) for address, call in calls.items()]

    def _wait(self, address, result):
        """Return result(timeout=...), or fail as soon as the worker is gone."""
        while True:
            try:
                return result(timeout=WORKER_POLL_SECONDS)
            except TimeoutError:
                alive = self._futures[address].status in ("pending", "finished")
                if not alive or not self.client.nthreads(workers=[address]).get(address):
                    raise self._lost(address) from None
            except (OSError, CancelledError) as error:
                raise self._lost(address) from error

    def _lost(self, address):
        return RuntimeError(
            f"The worker that held the partitions {self.numbers[address]} was lost, so the fit was "
            "given up. Call fit again: it uses the workers that are there then."
        )


class OnDask(Partitions):
    """The rows of one target on the workers of a cluster; a place is a worker.

    The scaling is sent with the first task.
    """

    def __init__(self, data, target, scaling):
        self.cluster, self.target, self.scaling = data.cluster, target, scaling
        self.n_coordinates = len(scaling.scale)
        n_rows, weights, n_entries = data.sizes.T
        self.n_rows, self.n_entries = int(n_rows.sum()), int(n_entries.sum())
        self.weight = float(weights.sum())
        self.shares = weights / self.weight
        self._unsent = scaling

    def each(self, task, args):
        """See `Partitions`."""
        scaling, self._unsent = self._unsent, None
        return self.cluster.each(_with_rows, [(self.target, scaling, task, *own) for own in args])

    def sum(self, task, *args):
        """See `Partitions`; each worker adds up its own partitions."""
        return add_up(self.each(InMemory.sum, [(task, *args)] * len(self.shares)))

    def sweep(self, rng, *args, n_averages=1):
        """See `Partitions`."""
        n_averages = max(n_averages // len(self.shares), 1)
        seeds = rng and rng.integers(2**32, size=len(self.shares)).tolist()
        seeds = seeds or [None] * len(self.shares)
        sweeps = self.each(_sweep, [(seed, n_averages, *args) for seed in seeds])
        ends, averages = zip(*sweeps, strict=True)
        kinds = zip(*[of_place.T for of_place in averages], strict=False)  # some may have fewer
        return np.hstack(ends), np.column_stack([point for kind in kinds for point in kind])


def _with_rows(actor, target, scaling, task, *args):
    """Return ``task(place, *args)`` of the rows of a target, in a new scaling if one is given."""
    if scaling is not None:
        actor.places[target] = InMemory(
            [make_rows(X, y[target], weight, scaling) for X, y, weight in actor.parts.values()]
        )
    return task(actor.places[target], *args)


def _sweep(place, seed, n_averages, *args):
    """Return the ends and averages of a sweep in an order of this seed."""
    rng = None if seed is None else np.random.default_rng(seed)
    return place.sweep(rng, *args, n_averages=n_averages)
