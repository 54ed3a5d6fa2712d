"""Data on a Dask cluster as users give it: found, loaded, validated, held out, scored."""

import warnings
from contextlib import suppress
from functools import partial, reduce
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed
from distributed import CancelledError, Future, wait
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import assert_all_finite

from ._early_stopping import hold_out
from ._regressor import SGDLinearRegressor
from ._validation import validated, without_rows
from .data.dask_partitions import WORKER_POLL_SECONDS, named
from .data.sums import add_up
from .model.moments import Moments

# Seconds that a cluster may be without workers, as while one is restarted, before a fit gives up.
NO_WORKER_SECONDS = 30.0


def is_collection(data):
    """Whether data are partitions on a cluster, or plans of them, and not in memory."""
    if isinstance(data, Delayed | Future):
        return True
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(part, Delayed | Future) for part in data)
    return dask.is_dask_collection(data) and hasattr(data, "to_delayed")


def _partitions(name, data):
    """Return the partitions of a dask collection, in their order."""
    if not is_collection(data):
        raise TypeError(
            f"{name} should be a dask array, a dask dataframe or a list of delayed partitions, "
            f"got {type(data).__name__}. Use SGDLinearRegressor for data in memory."
        )
    if isinstance(data, Delayed | Future):
        return [data]
    if isinstance(data, list | tuple):
        return list(data)
    if isinstance(data, da.Array) and data.ndim > 1 and data.numblocks[1] > 1:
        raise ValueError(
            f"{name} has {data.numblocks[1]} chunks of columns; a partition needs all columns "
            f"of its rows. Use {name}.rechunk({{1: -1}})."
        )
    # Optimised, X and y of one file would each read it, and be cut at rows of their own.
    return np.ravel(data.to_delayed(optimize_graph=False)).tolist()


def zipped(X, y, sample_weight):
    """Return X, y and sample_weight, or None, of every partition."""
    if y is None:
        raise ValueError(
            "This DaskSGDLinearRegressor estimator requires y to be passed, but the target y is "
            "None."
        )
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    parts = {name: _partitions(name, data) for name, data in given.items() if data is not None}
    for name, blocks in parts.items():
        if len(blocks) != len(parts["X"]):
            raise ValueError(
                f"{name} has {len(blocks)} partitions, but X has {len(parts['X'])}. Cut them at "
                "the same rows."
            )
    weights = parts.get("sample_weight", [None] * len(parts["X"]))
    return list(zip(parts["X"], parts["y"], weights, strict=True))


def loaded(client, X, y, sample_weight):
    """Let the workers load the partitions; return the futures of each by its number."""
    parts = zipped(X, y, sample_weight)
    futures = client.compute([block for part in parts for block in part])
    _wait(client, [future for future in futures if future is not None])
    parts = dict(enumerate(zip(*[iter(futures)] * 3, strict=True)))
    for number, part in parts.items():
        for future in part:
            if future is not None and future.status != "finished":
                error = future.exception() if future.status == "error" else future.status
                raise RuntimeError(f"Partition {number} did not load: {error!r}")
    return parts


def _wait(client, futures):
    """Wait for futures to finish, fail or be lost, as long as there are workers."""
    n_without = 0
    while True:
        try:
            with suppress(CancelledError):
                wait(futures, timeout=WORKER_POLL_SECONDS)
            return
        except TimeoutError:
            n_without = 0 if client.nthreads() else n_without + 1
            if n_without * WORKER_POLL_SECONDS > NO_WORKER_SECONDS:
                raise RuntimeError("The cluster has no workers to load partitions.") from None


class PartitionSchema(NamedTuple):
    """What all partitions must have in common."""

    n_features: int
    names: Any  # of the columns, or None
    targets: tuple[int, ...]  # shape of y without its rows

    def __str__(self):
        names = "" if self.names is None else f" ({', '.join(self.names)})"
        targets = self.targets or "one dimension"
        return f"X has {self.n_features} columns{names} and y {targets}"


def validated_schema(cluster):
    """Let the workers validate their partitions; return the schema that all have.

    Partitions without rows or weight are left out, and workers that have no others.
    """
    schemas = cluster.call(_validate)
    cluster.keep([len(of_worker) > 0 for of_worker in schemas])
    schemas = sorted(item for of_worker in schemas for item in of_worker.items())
    if not schemas:
        raise ValueError(
            "Found 0 sample(s) of non-zero sample_weight in all partitions together, while a "
            "minimum of 1 is required."
        )
    (first, expected), *others = schemas
    for number, schema in others:
        if schema != expected:
            raise ValueError(
                f"In partition {number}: {schema}, but {expected} in partition {first}."
            )
    return expected


def _validate(actor):
    """Keep the arrays of each partition as the training needs them; return the schema of each."""
    parts, schemas = actor.parts, {}
    actor.parts = {}
    for number, part in parts.items():
        if without_rows(*part):
            continue
        model = SGDLinearRegressor()
        with named(number):
            X, y, weight = validated(model, *part, reset=True, allow_all_zero_weights=True)
        if weight is None or weight.any():
            names = getattr(model, "feature_names_in_", None)
            names = None if names is None else tuple(names)
            actor.parts[number] = X, y, weight
            schemas[number] = PartitionSchema(X.shape[1], names, y.shape[1:])
    return schemas


class HeldOutRows:
    """Rows of every partition that a fit does not learn from; see `Validation`."""

    def __init__(self, cluster, loss, fraction, seed):
        self.cluster, self.loss = cluster, loss
        if not any(cluster.call(_hold_out, fraction, seed)):
            raise ValueError(
                f"validation_fraction={fraction!r} leaves no rows of non-zero sample_weight to "
                "validate on. Pass X_val and y_val instead."
            )

    def score(self, estimator):
        """Return minus the mean loss of a fitted estimator."""
        model = estimator.coef_, estimator.intercept_
        total, weight = add_up(self.cluster.call(_held_out_loss, self.loss, *model))
        return float(-total / weight)


def _hold_out(actor, fraction, seed):
    """Keep random rows of every partition of two rows or more out of training; whether any are."""
    actor.memory["held out"] = kept = []
    for number, part in actor.parts.items():
        if len(part[1]) == 1:
            continue
        with named(number):
            training, held_out = hold_out(part, fraction, seed + number)
            assert_all_finite(held_out[0], input_name="X")  # No moments will tell of these rows.
        if all(weight is None or weight.any() for weight in (training[2], held_out[2])):
            actor.parts[number] = training
            kept.append(held_out)
    return bool(kept)


def _held_out_loss(actor, loss, coef, intercept):
    """Return the weighted sum of the losses of a model on those rows, and of the weights."""
    total = sum_of_weights = 0.0
    for X, y, weight in actor.memory["held out"]:
        weight = np.ones(len(y)) if weight is None else weight
        losses = loss.value(y - (X @ coef.T + intercept)).reshape(len(y), -1).mean(axis=1)
        total += weight @ losses
        sum_of_weights += weight.sum()
    return total, sum_of_weights


def predictions(model, X):
    """Return the predictions for a dask collection, as a dask array not yet computed."""
    parts, targets = _partitions("X", X), model.coef_.shape[:-1]
    rows = X.chunks[0] if isinstance(X, da.Array) else [np.nan] * len(parts)
    predict = partial(dask.delayed(_predicted), dask.delayed(model))
    return da.concatenate(
        [
            da.from_delayed(predict(part), (n_rows, *targets), dtype=np.float64)
            for part, n_rows in zip(parts, rows, strict=True)
        ]
    )


def _predicted(model, X):
    """Return the predictions of a partition, which may have no rows."""
    return np.empty((0, *model.coef_.shape[:-1])) if without_rows(X) else model.predict(X)


def squares(model, number, X, y, weight):
    """Return the moments of y and of the residuals; None of a partition without rows or weight."""
    if without_rows(X, y, weight):
        return None
    with named(number):
        X, y, weight = validated(model, X, y, weight, reset=False, allow_all_zero_weights=True)
        y, predicted = (array.reshape(len(y), -1) for array in (y, model._linear(X)))
        if y.shape != predicted.shape:
            raise ValueError(
                f"y has {y.shape[1]} targets, but the model was fitted to {predicted.shape[1]}."
            )
        weight = np.ones(len(y)) if weight is None else weight
        if not weight.any():
            return None
        return Moments.of(np.hstack([y, y - predicted]), weight, "y")


def r2_score(sums):
    """Return R² from the `squares` of all partitions; see `sklearn.metrics.r2_score`."""
    sums = [of_part for of_part in sums if of_part is not None]
    if not sums:
        raise ValueError("Found 0 sample(s) of non-zero sample_weight in all partitions together.")
    moments = reduce(Moments.merge, sums)
    if moments.rows < 2:
        warnings.warn(
            "R^2 score is not well-defined with less than two samples.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return float("nan")
    n = len(moments.mean) // 2
    of_y, of_residual = (moments.of_columns(slice(*part)) for part in ((0, n), (n, None)))
    residual = of_residual.sum_of_squares + moments.weight * of_residual.mean**2
    ratio = np.where(residual > 0, 1.0, 0.0)  # where y is constant
    np.divide(residual, of_y.sum_of_squares, out=ratio, where=of_y.variance(True) > 0)
    return float((1 - ratio).mean())
