"""SGDLinearRegressor on the workers of a Dask cluster."""

from contextlib import suppress
from copy import copy
from functools import partial
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

try:
    import dask
    from distributed import Client, get_client
except ImportError as error:
    raise ImportError(
        "sklearn_sgdlin.dask requires dask and distributed. You can install them with "
        '`pip install "sklearn-sgdlin[dask]"`'
    ) from error

from ._dask_data import (
    HeldOutRows,
    is_collection,
    loaded,
    predictions,
    r2_score,
    squares,
    validated_schema,
    zipped,
)
from ._dask_fit import DaskData, epochs_on_cluster
from ._regressor import MatrixLike, SGDLinearRegressor
from .data.dask_partitions import Cluster, check_versions

__all__ = ["DaskSGDLinearRegressor"]


class DaskSGDLinearRegressor(SGDLinearRegressor):
    """`SGDLinearRegressor` for data on the workers of a Dask cluster.

    Data stay on their workers. Each worker computes the sums over its own rows that a solver needs,
    such as a gradient, and the sums of the workers are added up. `fit` therefore minimises the same
    objective to the same `tol` as on one machine, even if partitions differ, as in a file sorted by
    y. Requires dask and distributed.

    Parameters
    ----------
    **parameters
        Those of `SGDLinearRegressor`, with the same defaults. In a sweep of SGD each worker takes
        steps over its own partitions. With `early_stopping`, `X_val` and `y_val` are in memory;
        without them a random part of each partition is held out, and `scoring` is None.

    client : distributed.Client, default=None
        Client connected to the cluster. None: the last client that was created.

    Attributes
    ----------
    Those of `SGDLinearRegressor`.

    See Also
    --------
    SGDLinearRegressor : The same on one machine.

    Notes
    -----
    `fit`, `predict` and `score` take dask arrays, dask dataframes, and lists of delayed arrays,
    data frames or CSR matrices. A partition is a chunk of rows of an array, a partition of a
    dataframe, or an entry of a list. X, y and sample_weight must be partitioned at the same rows.
    Partitions without rows or without weight are skipped. Errors in data name the partition. All
    workers need the same version of this package; `fit` raises a RuntimeError if one has another,
    if a partition cannot be loaded, or if a worker is lost. `partial_fit` takes rows in memory.

    With squared error and no penalty, or "l2", the solver depends on the number of columns:

    - up to 100: "newton-cholesky". The Hessian of all rows is summed up once.
    - 101 to 1024: "newton-cg". After one sweep of SGD it searches among the Newton steps of the
      workers, each the gradient of all rows times the inverse Hessian of the worker's own [1]_.
    - more: "newton-cg". After one sweep of SGD it takes conjugate gradient steps.

    "dual", "min-norm" and "coordinate-descent" are not available. Other losses and penalties use
    "interior-point", with a matrix of ``n_features**2`` numbers, or without one if there are more
    than 4096 columns. With ``average=False`` the model is the mean of the workers' last iterates,
    without a search, so partitions should be similar. The user guide describes the communication.

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
    >>> print(f"{model.score(X, y):.2f} {model.solver_} {model.stop_reason_}")
    0.75 newton-cholesky converged
    >>> client.close()
    """

    _parameter_constraints = {**SGDLinearRegressor._parameter_constraints, "client": [Client, None]}

    def __init__(
        self, loss: str = "squared_error", *, client: Client | None = None, **parameters: Any
    ) -> None:
        super().__init__(loss, **parameters)
        self.client = client

    __init__.__signature__ = Signature(
        [
            *signature(SGDLinearRegressor.__init__).parameters.values(),
            Parameter("client", Parameter.KEYWORD_ONLY, default=None),
        ]
    )

    if TYPE_CHECKING:  # partitions have other types than arrays in memory

        def fit(  # noqa: D102
            self, X: Any, y: Any, sample_weight: Any = None, **validation: Any
        ) -> Self: ...

    def partial_fit(  # noqa: D102
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        if is_collection(X):
            raise TypeError(
                "partial_fit takes a chunk in memory. Use fit for a dask collection, or "
                "dask_ml.wrappers.Incremental with SGDLinearRegressor for one pass over it."
            )
        return super().partial_fit(X, y, sample_weight)

    partial_fit.__doc__ = SGDLinearRegressor.partial_fit.__doc__

    def predict(self, X: Any) -> Any:
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
        if not is_collection(X):
            return super().predict(X)
        check_is_fitted(self)
        with suppress(ValueError):  # there is no client: another scheduler computes
            client = self._client()
            if client.status == "running" and not client.asynchronous:
                check_versions(client)
        return predictions(self.to_local(), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination, summed up where the rows are.

        Parameters
        ----------
        X : dask array, dask dataframe or list of delayed; or array-like in memory
            Rows.
        y : dask array, dask series or list of delayed; or array-like in memory
            Targets.
        sample_weight : as y, default=None
            Weights.

        Returns
        -------
        score : float
            R², the mean over targets.
        """
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        squares_of = partial(dask.delayed(squares), dask.delayed(self.to_local()))
        client, parts = self._client(), enumerate(zipped(X, y, sample_weight))
        check_versions(client)
        sums = client.compute([squares_of(number, *part) for number, part in parts])
        return r2_score(client.gather(sums))

    def _client(self):
        return get_client() if self.client is None else self.client

    def _fit_data(self, training, validation):
        """Let the workers take hold of their partitions; see the base class."""
        given, seed = self._given(validation), self._draw_seed()
        cluster = Cluster(self._client(), loaded(self._client(), *training))
        try:
            schema, settings, held_out = validated_schema(cluster), self._settings(), None
            self.n_features_in_ = schema.n_features
            if schema.names is not None:
                self.feature_names_in_ = np.array(schema.names, dtype=object)
            if given:
                held_out = self._validation(*validation, schema.targets)
            elif self.early_stopping:
                if self.scoring is not None:
                    raise ValueError(
                        f"scoring={self.scoring!r} needs X_val and y_val. On rows held out of the "
                        "partitions only the mean loss is known, scoring=None."
                    )
                held_out = HeldOutRows(cluster, settings.loss, self.validation_fraction, seed)
            data = DaskData(cluster, schema, settings.precondition and training[2] is not None)
        except BaseException:
            cluster.release()
            raise
        return seed, (data, *training[1:]), lambda: training[0], held_out

    def _with_sums(self, data, state):
        """Return the state as it is: the rows are on the workers."""
        return state

    def _epochs(self, settings, data, seed, last):
        data, _, _ = data
        try:
            start = self._start(last, (*data.target_shape, data.n_features))
            yield from epochs_on_cluster(settings, data, seed, start)
        finally:
            data.cluster.release()

    def __getstate__(self):
        """A client belongs to its process."""
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self):
        """A client is shared, not copied."""
        twin = super(DaskSGDLinearRegressor, copy(self)).__sklearn_clone__()  # without client
        twin.client = self.client
        return twin

    def to_local(self) -> SGDLinearRegressor:
        """Return the model as an `SGDLinearRegressor`, which needs no cluster.

        Returns
        -------
        model : SGDLinearRegressor
            With the same parameters, fitted if this one is.
        """
        model = SGDLinearRegressor()
        model.__dict__ = {name: value for name, value in vars(self).items() if name != "client"}
        return model
