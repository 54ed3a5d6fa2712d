"""SGDLinearRegressor on the workers of a Dask cluster."""

import inspect
import warnings
from contextlib import suppress
from copy import copy
from functools import partial

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils.validation import check_is_fitted

from ._regressor import SGDLinearRegressor
from ._shard import merged, named
from ._validation import validated, without_rows
from .methods.distributed import (
    WORKER_POLL_SECONDS,
    Cluster,
    ClusterData,
    ClusterValidation,
    check_versions,
    cluster_epochs,
)
from .model.moments import Moments

try:
    import dask
    import dask.array as da
    from dask.delayed import Delayed
    from distributed import CancelledError, Client, Future, get_client, wait
except ImportError as error:
    raise ImportError(
        "sklearn_sgdlin.dask requires dask and distributed. You can install them with "
        '`pip install "sklearn-sgdlin[dask]"`'
    ) from error

__all__ = ["DaskSGDLinearRegressor"]

NO_WORKER_SECONDS = 30.0  # seconds a cluster may be without workers, as while one is restarted


def _is_collection(data):
    """Whether data are partitions on a cluster, or plans of them, and not in memory."""
    if isinstance(data, Delayed | Future):
        return True
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(part, Delayed | Future) for part in data)
    return dask.is_dask_collection(data) and hasattr(data, "to_delayed")


def _partitions(name, data):
    """Return the partitions of a dask collection, in their order."""
    if not _is_collection(data):
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


def _zipped(X, y, sample_weight):
    """Return X, y and sample_weight, or None, of every partition."""
    if y is None:
        raise ValueError(
            "This DaskSGDLinearRegressor estimator requires y to be passed, but the target y is "
            "None."
        )
    named = {"X": X, "y": y, "sample_weight": sample_weight}
    parts = {name: _partitions(name, data) for name, data in named.items() if data is not None}
    for name, blocks in parts.items():
        if len(blocks) != len(parts["X"]):
            raise ValueError(
                f"{name} has {len(blocks)} partitions, but X has {len(parts['X'])}. Cut them at "
                "the same rows."
            )
    weights = parts.get("sample_weight", [None] * len(parts["X"]))
    return list(zip(parts["X"], parts["y"], weights, strict=True))


def _predicted(model, X):
    """Return the predictions of a partition, which may have no rows."""
    return np.empty((0, *model.coef_.shape[:-1])) if without_rows(X) else model.predict(X)


def _squares(model, number, X, y, weight):
    """Return the moments of y on a partition, and the weighted sums of squared residuals.

    None of a partition without rows or weight.
    """
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
        return Moments.of(y, weight, "y"), weight @ (y - predicted) ** 2


def _r2_score(of_y, residual):
    """Return R² from the sums of all rows, by the rules of `sklearn.metrics.r2_score`."""
    if of_y.rows < 2:
        warnings.warn(
            "R^2 score is not well-defined with less than two samples.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return float("nan")
    varies = of_y.variance(True) > 0
    constant = np.where(residual > 0, 0.0, 1.0)
    score = 1 - np.divide(residual, of_y.sum_of_squares, out=1 - constant, where=varies)
    return float(score.mean())


def _loaded(client, X, y, sample_weight):
    """Let the workers load the partitions; return the futures of each by its number."""
    parts = _zipped(X, y, sample_weight)
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
            wait(futures, timeout=WORKER_POLL_SECONDS)
        except CancelledError:
            return
        except TimeoutError:
            n_without = 0 if client.nthreads() else n_without + 1
            if n_without * WORKER_POLL_SECONDS > NO_WORKER_SECONDS:
                raise RuntimeError("The cluster has no workers to load partitions.") from None
        else:
            return


def _same_parameters(init):
    """Give ``__init__`` the parameters of SGDLinearRegressor, then its own."""
    names = dict(inspect.signature(SGDLinearRegressor.__init__).parameters)
    own = inspect.signature(init).parameters
    names |= {name: own[name] for name in own if own[name].kind is inspect.Parameter.KEYWORD_ONLY}
    init.__signature__ = inspect.Signature(names.values())
    return init


class DaskSGDLinearRegressor(SGDLinearRegressor):
    """`SGDLinearRegressor` on data that lie on the workers of a Dask cluster.

    Every worker sweeps its own partitions from the shared model in the shared scaling. The models
    the workers reach are directions of the same search as on one machine. An exact Newton step
    follows where columns are few; else the Newton steps of the workers, each the shared gradient
    times the inverse of the worker's own Hessian, are directions, too [1]_. So the objective
    falls as far as on one machine, also where partitions are not alike, as in a file sorted by
    y. Data stay on their workers; models, gradients and directions travel, a few for each
    worker in each round. Needs dask and distributed.

    Parameters
    ----------
    **parameters
        Those of `SGDLinearRegressor`, with the same defaults. An epoch is a round: one sweep of
        each worker over its partitions. With `early_stopping`, `X_val` and `y_val` are in
        memory; without them a random part of each partition is held out, and `scoring` is None.

    client : distributed.Client, default=None
        Connected to the cluster. None: the last client made.

    Attributes
    ----------
    Those of `SGDLinearRegressor`.

    See Also
    --------
    SGDLinearRegressor : The same on one machine.

    Notes
    -----
    A partition is a chunk of rows of a dask array, a partition of a dask dataframe, or one of a
    list of delayed arrays, data frames or CSR matrices. X, y and sample_weight must be cut at
    the same rows. Partitions without rows, as a filter leaves them, or without weight do no harm.
    All workers need the same version of this package.

    With squared error and no penalty, or "l2", some ``200 * n_features`` numbers a round at the
    most travel to and from each worker, whatever the number of rows: with up to 100 columns the
    Hessian is among them, and the model is that of one machine to rounding. Other losses and
    penalties take interior-point steps whose matrix, ``n_features**2`` numbers of each worker, is
    summed up; with more than 4096 columns no matrix travels. With ``average=False`` the last
    iterates of the workers are averaged and nothing is searched, so partitions should be alike.

    A worker that is lost during `fit`, or lacks the package, raises RuntimeError, and the
    estimator is as it was.

    References
    ----------
    .. [1] S. Wang, F. Roosta-Khorasani, P. Xu and M. W. Mahoney, "GIANT: globally improved
       approximate Newton method for distributed optimization", NeurIPS 2018.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn_sgdlin.dask import DaskSGDLinearRegressor
    >>> client = Client(n_workers=2, processes=False, dashboard_address="127.0.0.1:0")
    >>> X = da.random.default_rng(0).normal(5e6, 1e6, size=(10_000, 3), chunks=(2500, 3))
    >>> y = X.sum(axis=1) * 1e-6 + da.random.default_rng(1).normal(size=10_000, chunks=2500)
    >>> model = DaskSGDLinearRegressor(client=client, random_state=0).fit(X, y)
    >>> model.predict(X)  # doctest: +ELLIPSIS
    dask.array<...shape=(10000,), dtype=float64, chunksize=(2500,)...>
    >>> print(f"{model.score(X, y):.2f} {model.stop_reason_}")
    0.75 converged
    >>> client.close()
    """

    _parameter_constraints = {
        **SGDLinearRegressor._parameter_constraints,
        "client": [Client, None],
    }

    @_same_parameters
    def __init__(self, loss="squared_error", *, client=None, **parameters):
        super().__init__(loss, **parameters)
        self.client = client

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to all partitions, afresh.

        Parameters
        ----------
        X : dask array, dask dataframe or list of delayed
            Rows, in any units, in partitions.
        y : dask array, dask series or list of delayed
            MultiTargetState; each of several gets the model it would get alone.
        sample_weight : dask array, dask series or list of delayed, default=None
            Weights, not negative; a row of weight k counts as k rows.
        X_val : array-like of shape (n_val, n_features), default=None
            Rows in memory to validate on, with `early_stopping`.
        y_val : array-like of shape (n_val,), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in the score.

        Returns
        -------
        self : DaskSGDLinearRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            For data that cannot be used; the message names the partition.
        RuntimeError
            If a partition cannot be loaded, or a worker is lost.
        """
        return super().fit(
            X, y, sample_weight, X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val
        )

    def partial_fit(self, X, y, sample_weight=None):
        """Learn from a chunk of rows in memory, going on from the model so far.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in memory.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            MultiTargetState.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative.

        Returns
        -------
        self : DaskSGDLinearRegressor
            The estimator, updated.

        Raises
        ------
        TypeError
            For a dask collection.
        """
        if _is_collection(X):
            raise TypeError(
                "partial_fit takes a chunk in memory. Use fit for a dask collection, or "
                "dask_ml.wrappers.Incremental with SGDLinearRegressor for one pass over it."
            )
        return super().partial_fit(X, y, sample_weight)

    def predict(self, X):
        """Predict with the linear model, where the rows are.

        Parameters
        ----------
        X : dask array, dask dataframe or list of delayed; or array-like in memory
            Rows.

        Returns
        -------
        y : dask array of shape (n_samples,) or (n_samples, n_targets)
            Predictions, not yet computed; an ndarray for rows in memory.
        """
        if not _is_collection(X):
            return super().predict(X)
        check_is_fitted(self)
        local, targets = self.to_local(), self.coef_.shape[:-1]
        parts = _partitions("X", X)
        rows = X.chunks[0] if isinstance(X, da.Array) else [np.nan] * len(parts)
        with suppress(ValueError):  # there is no client: another scheduler computes
            client = self._client()
            if client.status == "running" and not client.asynchronous:
                check_versions(client)
        predict = partial(dask.delayed(_predicted), dask.delayed(local))
        return da.concatenate(
            [
                da.from_delayed(predict(part), (n_rows, *targets), dtype=np.float64)
                for part, n_rows in zip(parts, rows, strict=True)
            ]
        )

    def score(self, X, y, sample_weight=None):
        """Return the coefficient of determination, summed up where the rows are.

        Parameters
        ----------
        X : dask array, dask dataframe or list of delayed; or array-like in memory
            Rows.
        y : dask array, dask series or list of delayed; or array-like in memory
            MultiTargetState.
        sample_weight : as y, default=None
            Weights.

        Returns
        -------
        score : float
            R², the mean over targets.
        """
        if not _is_collection(X):
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        squares = partial(dask.delayed(_squares), dask.delayed(self.to_local()))
        client, parts = self._client(), enumerate(_zipped(X, y, sample_weight))
        check_versions(client)
        sums = client.gather(client.compute([squares(number, *part) for number, part in parts]))
        sums = [of_part for of_part in sums if of_part is not None]
        if not sums:
            raise ValueError(
                "Found 0 sample(s) of non-zero sample_weight in all partitions together."
            )
        of_y, residual = zip(*sums, strict=True)
        return _r2_score(merged(of_y), sum(residual))

    def _client(self):
        return get_client() if self.client is None else self.client

    def _fit_data(self, training, validation):
        """Let the workers take hold of their partitions; see the base class."""
        given, seed = self._given(validation), self._draw_seed()
        cluster = Cluster(self._client(), _loaded(self._client(), *training))
        try:
            held_out = None
            if self.early_stopping and not given:
                held_out = self._held_out(cluster, seed)
            data = ClusterData(cluster, self._settings(), weighted=training[2] is not None)
            self.n_features_in_ = data.form.columns
            if data.form.names is not None:
                self.feature_names_in_ = np.array(data.form.names, dtype=object)
            if given:
                held_out = self._validation(*validation, data.form.targets)
        except BaseException:
            cluster.release()
            raise
        return seed, (data, *training[1:]), lambda: training[0], held_out

    def _held_out(self, cluster, seed):
        """Random rows of each partition to validate on."""
        if self.scoring is not None:
            raise ValueError(
                f"scoring={self.scoring!r} needs X_val and y_val. On rows held out of the "
                "partitions only the mean loss is known, scoring=None."
            )
        return ClusterValidation(cluster, self._settings().loss, self.validation_fraction, seed)

    def _epochs(self, settings, data, seed, last):
        data, _, _ = data
        try:
            start = self._start(last, (*data.form.targets, data.form.columns))
            yield from cluster_epochs(settings, data, seed, start)
        finally:
            data.cluster.release()

    def __getstate__(self):
        """A client belongs to its process."""
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self):
        """A client is shared, not copied."""
        twin = copy(self)  # without client
        twin = super(DaskSGDLinearRegressor, twin).__sklearn_clone__()
        twin.client = self.client
        return twin

    def to_local(self):
        """Return the model as an `SGDLinearRegressor`, which needs no cluster.

        Returns
        -------
        model : SGDLinearRegressor
            With the same parameters, fitted if this one is.
        """
        parameters = self.get_params(deep=False)
        del parameters["client"]
        model = SGDLinearRegressor(**parameters)
        for name, value in vars(self).items():
            if name not in parameters and name != "client":
                setattr(model, name, value)
        return model
