"""The estimator: parameters, validation, fitted attributes."""

from __future__ import annotations  # signatures are shown as they are written

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import lru_cache, wraps
from inspect import signature
from numbers import Integral, Real
from operator import attrgetter
from time import perf_counter
from typing import Any, Literal, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse, sparray, spmatrix
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted

from . import __version__
from ._choose import SOLVER_NAMES
from ._early_stopping import Validation, hold_out
from ._fit import epochs
from ._partial_fit import Learned, after_fit, check_finite, merged, stream
from ._report import CallbackSupportMixin, FitTasks, History, last_chunks, with_chunk
from ._tuning import Tuning
from ._validation import validated, validated_rows
from .data.chunk import Chunk
from .model.loss import LOSSES, make_loss
from .model.records import from_plain, to_plain
from .model.settings import DivergedError, Settings


def _seed_of(random_state):
    """Return a seed drawn from a random state."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


# To make a RandomState of an int takes as long as many a small fit.
_seed_of_int = lru_cache(_seed_of)


MatrixLike: TypeAlias = ArrayLike | spmatrix | sparray
F = TypeVar("F", bound=Callable[..., Any])

# What to write instead of parameters of `SGDRegressor`, and of values that it takes for these.
NEW_NAMES = {
    "eta0": "learning_rate",
    "coef_init": "warm_start=True, which begins with coef_ and intercept_",
    "intercept_init": "warm_start=True, which begins with coef_ and intercept_",
}
VALUE_HINTS = {
    "learning_rate": (str, "It is the step length; how that changes is set by schedule."),
    "average": (Integral, "True averages from the first step on."),
}


def _names_new_parameters(method: F) -> F:
    """Return a method whose error for a parameter of SGDRegressor says what to write instead."""

    @wraps(method)
    def checked(self, *args, **parameters):
        try:
            return method(self, *args, **parameters)
        except TypeError as error:
            for name in parameters.keys() - signature(method).parameters.keys():
                if name in NEW_NAMES:
                    raise TypeError(f"{error}. Use {NEW_NAMES[name]}.") from None
            raise

    return checked


def _fit_method(method: F) -> F:
    """Return a method that checks parameters first, as scikit-learn does, of the same type."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


# Parameters that only matter to SGD, with their defaults. Any other value selects SGD.
SGD_SETTINGS = {
    "learning_rate": "auto",
    "early_stopping": False,
    "update": "implicit",
    "precondition": True,
    "average": True,
    "schedule": "adaptive",
}

# Parameters that say what is learned, in which models to merge must agree.
MERGED_SETTINGS = (
    *("loss", "penalty", "alpha", "l1_ratio", "epsilon", "quantile", "positive", "fit_intercept"),
    *("half_life", "precondition", "average"),
)

# Settings of the solvers that are true or false.
FLAGS = ("positive", "fit_intercept", "precondition", "average", "shuffle")

# All parameters that settings of the solvers come from.
_parameters_of = attrgetter(
    *{*MERGED_SETTINGS, *SGD_SETTINGS, "solver", "power_t", "max_iter", "tol", "n_iter_no_change"},
    *("shuffle", "_tuning"),
)


class SGDLinearRegressor(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression on raw data, by stochastic gradient descent or a faster solver.

    Minimises the objective of scikit-learn's `SGDRegressor`, for a linear model w, b,

    .. math:: \frac{1}{\sum_i h_i} \sum_i h_i \ell(y_i - x_i \cdot w - b)
              + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right),

    with sample weights h and :math:`\rho` = `l1_ratio`. By default the size of the data and the
    objective decide which algorithm finds the optimum; see `solver`. Setting a parameter that only
    stochastic gradient descent (SGD) uses, such as `learning_rate`, selects SGD. Columns may be in
    any units: all solvers work in centred and scaled coordinates.

    Each step of SGD uses one row. It is implicit: the gradient is evaluated at the end of the step,
    which therefore never moves the prediction of the row beyond its target, so that `fit` does not
    diverge at any `learning_rate` [1]_. After each pass over the rows `fit` searches the span of
    averaged iterates, the gradient and earlier steps for the best model [2]_ [3]_.

    Parameters
    ----------
    loss : str, default="squared_error"
        Loss of the residual e. "squared_error": ``e**2 / 2``; "huber": the same up to
        ``|e| = epsilon`` and linear beyond; "epsilon_insensitive": ``max(|e| - epsilon, 0)``;
        "squared_epsilon_insensitive": the square of that; "quantile": ``quantile * e`` for
        positive and ``(quantile - 1) * e`` for negative residuals.

    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        ``alpha / 2 * ||w||^2``, ``alpha * ||w||_1``, or a combination of both, as above. The
        intercept is never penalised. With "l1" and "elasticnet", coefficients that are zero at the
        optimum are exactly 0.0; not in `partial_fit` by SGD, which returns an average of iterates.
        With n rows of weight 1, ``Ridge(alpha=n * a)`` corresponds to ``penalty="l2", alpha=a``;
        in `Lasso` and `ElasticNet` alpha has the same meaning as here.

    alpha : float, default=0.0001
        Strength of the penalty, at least 0. The loss is a mean over rows, so the same value suits
        any number of rows.

    l1_ratio : float, default=0.15
        Share of the absolute value in "elasticnet", from 0 to 1.

    epsilon : float, default=0.1
        Threshold of "huber" (positive) and of the two insensitive losses (at least 0), in units
        of y.

    quantile : float, default=0.5
        Level of "quantile", between 0 and 1.

    positive : bool, default=False
        Whether coefficients must not be negative.

    fit_intercept : bool, default=True
        Whether to learn an intercept.

    solver : str, default="auto"
        Algorithm that finds the optimum. "auto" uses the first of these that applies:

        - "sgd", if a parameter selects SGD: a number for `learning_rate`,
          ``early_stopping=True``, ``update="explicit"``, ``precondition=False``,
          ``average=False``, or a `schedule` other than "adaptive". Each epoch is a pass over the
          rows with one step for each row, followed by a search in the span of averages and earlier
          steps. Available for every loss and penalty.
        - "coordinate-descent", for squared error with "l1", "elasticnet" or `positive`: as in
          scikit-learn's ``Lasso``, with a final Newton step for the nonzero coefficients, so that
          the model is exact to rounding.
        - "interior-point" [5]_, for the quantile and epsilon-insensitive losses, for all losses but
          squared error with "l1", "elasticnet" or `positive`, and for huber and
          squared_epsilon_insensitive with more than 256 columns. Its first epoch may begin with a
          pass of SGD.
        - "dual" (ridge regression with one unknown per row) with "l2", and "min-norm" (among all
          models with the least loss the one nearest to the start) without a penalty, if there are
          at most as many rows as columns.
        - "newton-cholesky", which forms and factorises the Hessian, if there are few columns. With
          huber and squared_epsilon_insensitive it does so in each step.
        - "newton-cg", conjugate gradients with products of the Hessian, if there are many. With
          more than 4096 its first epoch begins with a pass of SGD.

        If a solver is not available for the problem, the error names those that are. `partial_fit`
        accepts "auto", "sgd", and "newton-cholesky", which is the optimum of all rows seen, for
        squared error with up to 1000 columns, and Newton steps towards it for the other losses
        with up to 300. `solver_reason_` states the numbers that decided.

    learning_rate : "auto" or float, default="auto"
        Step length of SGD, positive. A number selects SGD, see `solver`. "auto" is 1 if SGD runs.
        If `precondition` is true it has no unit, and 1 is a good value for any data. Otherwise it
        is the step length of textbook SGD, in units of 1 / x**2. In `partial_fit`, which sees each
        row once, a higher rate follows the latest rows more closely, and with them the noise.

    schedule : {"adaptive", "constant", "invscaling"}, default="adaptive"
        How the step length changes. Any value but "adaptive" selects SGD. "adaptive": in `fit`,
        divided by 10 after an epoch that did not decrease the loss by the factor ``1 - tol**2``,
        or ``1 - tol`` with ``average=False`` (with `early_stopping` or ``tol=None``, by any
        amount); "constant": unchanged; "invscaling": ``learning_rate / t**power_t`` at row t.

        In `partial_fit` "adaptive" is ``learning_rate * min(1, 10 * (n_features + 1) / t)**0.4``
        at row t, with the exponent 0.5 for the two squared losses, and 0.75 if there is a penalty
        or `positive`. With ``average=False`` it is constant, so that the last iterate follows a
        drift. For losses with a bounded derivative, the length of a step is relative to the latest
        residuals.

    power_t : float, default=0.25
        Exponent of the "invscaling" schedule, at least 0.

    update : {"implicit", "explicit"}, default="implicit"
        Whether the gradient of a step is evaluated at its end, so that the prediction never moves
        beyond the target, or at its start as in textbook SGD, which diverges if the rate is too
        high.

    precondition : bool, default=True
        Whether steps are taken in centred and scaled coordinates, starting from the mean of
        y; or in the units of the data, starting from zero.

    average : bool, default=True
        Whether to return the best model found (`fit`), or an average of the iterates in which the
        first ones have little weight (`partial_fit`). False: the last iterate of SGD.

        With squared error and up to 1000 columns, if no parameter selects SGD, `partial_fit` takes
        no steps of SGD. It sums up the products of all rows seen, and from
        ``2 * (n_features + 1)`` rows on its model is their optimum, with any penalty: the model
        that `fit` would find, for chunks of any size. With fewer rows a ridge penalty is added,
        which decreases with each row. There are such sums from the first chunk on, or after a `fit`
        by "newton-cholesky", "coordinate-descent" or, with squared error, "interior-point"; chunks
        of SGD in between do not discard them. The optimum is computed when it is needed.

        With another loss, up to 300 columns, no `half_life` and no parameter that selects SGD, the
        model of a stream is an average of SGD for the first ``10 * (n_features + 1)`` rows, then
        the optimum of all rows as long as these are few enough to be kept (up to
        ``20 * (n_features + 1) / min(level, 1 - level)`` for a quantile level, 0.5 for other
        losses, and 1,000,000 entries). Afterwards it is near the optimum: each row becomes one of
        least squares, with the gradient of its loss and the mean curvature [7]_. A stream goes on
        in the same way after a `fit` in memory by another solver than "sgd".

    half_life : float or None, default=None
        Number of rows after which the weight of a row in `partial_fit` is halved, so that the model
        follows a drift; positive. It applies to the sums of squared error, the scaling of the
        columns, and the average and the rate of SGD, which it selects for any other loss. With
        squared error, no penalty and enough rows, the model is that of recursive least squares with
        the forgetting factor ``0.5 ** (1 / half_life)`` [6]_. The order of rows matters, so a chunk
        is not shuffled. A row of any positive weight ages the earlier rows by one row, a row of
        weight 0 does not. None: all rows keep their weight. `fit` does not use this parameter.

    max_iter : int, default=1000
        Largest number of epochs of `fit`.

    tol : float or None, default=1e-2
        `fit` has converged when the predictions are within about `tol` residual standard
        deviations (root mean square) of those of the optimum, so that the objective is within a
        factor of about ``1 + tol**2`` of its minimum. For losses that are linear far from zero,
        such as "huber" and "quantile", each row counts with at most the loss of a typical residual,
        so that gross outliers do not loosen the tolerance.

        If this distance is above `tol` or not known, and `n_iter_no_change` epochs in a row did
        not decrease the objective by the factor ``1 - tol**2`` (``1 - tol**2 / 10`` if it is
        known), `fit` stops with ``stop_reason_="stalled"``, and with a ConvergenceWarning if the
        distance is known. "sgd" does not know it for losses other than squared error, "l1",
        "elasticnet" and `positive`, nor with more than 80 columns whose Hessian has eigenvalues far
        apart. "newton-cg" with more than 4096 columns, or many that are not well-conditioned,
        estimates it, which is unreliable if columns are nearly equal. With ``average=False`` the
        distance is not used: `fit` has converged when that many epochs did not decrease the
        objective by the factor ``1 - tol``.

        None: `fit` runs `max_iter` epochs. With `early_stopping` only the score on validation data
        stops `fit`, and `tol` is its least increase that counts, relative to its size.

    n_iter_no_change : int, default=5
        Number of epochs in a row without progress, of the objective or with `early_stopping` of
        the score, after which `fit` stops; see `tol`.

    warm_start : bool, default=False
        Whether `fit` starts from `coef_` and `intercept_` of the last fit. Nothing else is kept:
        the scaling, the schedule, `t_` and `loss_curve_` start anew. It saves time if `fit` takes
        several epochs. "dual" does not use it; with "min-norm" it decides which of the models with
        the least loss is returned. `SGDLinearRegressorCV` saves more with many values of `alpha`.

    shuffle : bool, default=True
        Whether each sweep of SGD, in `fit` and `partial_fit`, visits the rows in a new random
        order.

    random_state : int, RandomState instance or None, default=None
        Determines the order of rows, the rows held out for validation, and the random vectors and
        sums by which solvers estimate the Hessian. Pass an int for reproducible results.

    early_stopping : bool, default=False
        Whether `fit` stops by the score on validation data instead of the training loss. This
        selects SGD. `fit` stops when `n_iter_no_change` epochs in a row did not raise the best
        score before them by the fraction `tol` of its size, and returns the model with the best
        score. The validation data are `X_val` and `y_val` of `fit`, or a random part of the rows.
        Several targets have one score, so they stop together and are returned from the same epoch.
        `partial_fit` does not accept it.

    validation_fraction : float, default=0.1
        Part of the rows held out as validation data, between 0 and 1. Only with
        `early_stopping`, and without `X_val`.

    scoring : str, callable or None, default=None
        Score on the validation data, greater is better: a name that scikit-learn's
        `get_scorer` knows, a callable ``scorer(estimator, X, y)``, or None for minus the mean
        loss, without penalty. Where validation data have weights, it must take
        ``sample_weight``, too. Only with `early_stopping`.

    verbose : int, default=0
        1 prints the solver and why it was chosen, and one line per epoch: its number, the rate of
        its steps of SGD if it took any, the loss, the score on validation data if there are any,
        and the seconds since `fit` began.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in units of y per unit of the column. A sparse array after `sparsify`. If you
        set `coef_` or `intercept_`, `partial_fit` continues from them by steps of SGD. It raises an
        error if it would compute the optimum of all rows seen, which does not depend on them.

    intercept_ : np.float64 or ndarray of shape (n_targets,)
        Intercept, in units of y; 0.0 if `fit_intercept` is false.

    n_iter_ : int
        Epochs run by `fit`; 1 after `partial_fit`.

    solver_ : str
        The solver that ran; for `partial_fit` that of the last chunk.

    solver_reason_ : str
        Why this solver was chosen, in a sentence with the numbers that decided.

    t_ : int
        Number of steps of SGD, one per row, in all epochs and calls; 0 if the solver takes none.

    loss_curve_ : list of float
        After `fit`: the objective on the training rows, with penalty and weights, of the model
        after each epoch. After `partial_fit`: the progressive loss [4]_, which is the loss on each
        chunk, without penalty, before the model learned from it; before the first chunk the model
        predicts 0. If chunks are small and `partial_fit` computes the optimum, that model may lack
        the latest rows, at most a sixteenth of all and at most as many as there are columns. The
        mean over targets. For a stream the list has at most 1000 points: with more chunks each
        point is the mean of 2 chunks, with more than 2000 of 4, and so on. `fit`, and the first
        `partial_fit` after it, start a new list.

    learning_rates_ : list of float
        Step length in each epoch of `fit`, or at each chunk of `partial_fit` (the last chunk if a
        point of `loss_curve_` is the mean of several). If the schedule decreases it from row to
        row, `learning_rate`. 0.0 for an epoch or chunk without steps of SGD. The list is empty if
        there were none at all, otherwise as long as `loss_curve_`.

    validation_scores_ : list of float or None
        Score on validation data after each epoch of `fit`, greater is better, in the units of
        `scoring`. None without `early_stopping`.

    best_iteration_ : int or None
        Epoch whose model `fit` returned, counted from 1: the first with the highest score. None
        without `early_stopping`.

    stop_reason_ : {"converged", "stalled", "early_stopping", "callback", "max_iter"} or None
        Why `fit` stopped. "converged": predictions are within `tol` of those of the optimum.
        "stalled": `n_iter_no_change` epochs did not decrease the objective, and predictions are not
        known to be within `tol`; this is normal unless there is a ConvergenceWarning.
        "early_stopping": the score on validation data no longer increases. "callback": a callback
        returned True. "max_iter": none of these in `max_iter` epochs. None after `partial_fit`.

    n_features_in_ : int
        Number of columns seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    See Also
    --------
    LossCurveDisplay : Picture of `loss_curve_` and `validation_scores_`.
    sklearn.linear_model.SGDRegressor : SGD that needs scaled columns and a tuned rate.
    sklearn.linear_model.LinearRegression : Least squares by a singular value decomposition.

    Notes
    -----
    X is not copied if it is a C-ordered array or a CSR matrix of float64 or float32. Other data are
    copied once, unless the solver needs only one pass over dense rows. Sparse rows are centred
    without being made dense, in time proportional to their stored entries.

    A column whose standard deviation is at most four rounding errors of its mean counts as
    constant, and has the coefficient 0. If columns are linear combinations of others, to within
    1e-13 of their length, squared error without a penalty has the coefficients of minimum norm in
    scaled columns, and copies of a column have equal coefficients.

    Rows of large data are read in as many threads as BLAS may use; meanwhile BLAS runs in one
    thread. With fewer than 2048 columns it does so during all of `fit`, so that the model is the
    same to the last bit for any number of threads. A limit that another thread has set by
    :mod:`threadpoolctl` is not changed.

    For callbacks set by ``set_callbacks``, each epoch of `fit` is a task. Their
    ``fitted_estimator`` is what `fit` would return if it stopped at that point. A callback that
    returns True from ``on_fit_task_end`` stops `fit`. `partial_fit` does not call them.

    References
    ----------
    .. [1] P. Toulis and E. M. Airoldi, "Asymptotic and finite-sample properties of estimators
       based on stochastic gradients", Annals of Statistics 45(4), 2017.
    .. [2] G. Narkiss and M. Zibulevsky, "Sequential subspace optimization method for
       large-scale unconstrained problems", Technion, 2005.
    .. [3] D. Scieur, F. Bach and A. d'Aspremont, "Nonlinear acceleration of stochastic
       algorithms", NeurIPS 2017.
    .. [4] A. Blum, A. Kalai and J. Langford, "Beating the hold-out: bounds for K-fold and
       progressive cross-validation", COLT 1999.
    .. [5] S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM
       Journal on Optimization 2(4), 1992.
    .. [6] S. Haykin, "Adaptive Filter Theory", Prentice Hall, 2002.
    .. [7] L. Luo and P. X.-K. Song, "Renewable estimation and incremental inference in
           generalized linear models with streaming data sets", Journal of the Royal Statistical
           Society B, 82(1), 2020.

    Examples
    --------
    Columns in different units, without a scaler:

    >>> import numpy as np
    >>> from sklearn_sgdlin import SGDLinearRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(loc=[1000, 5e6], scale=[1, 1e6], size=(10_000, 2))
    >>> y = 3 * X[:, 0] - 2e-6 * X[:, 1] + rng.normal(size=10_000)
    >>> model = SGDLinearRegressor(random_state=0).fit(X, y)
    >>> print(f"{model.coef_[0]:.2f} {model.coef_[1]:.2e} {model.stop_reason_}")
    2.99 -2.00e-06 converged
    >>> model.solver_, model.t_  # no steps of SGD
    ('newton-cholesky', 0)

    Setting a learning rate selects SGD:

    >>> model = SGDLinearRegressor(learning_rate=0.1, random_state=0).fit(X, y)
    >>> model.solver_, model.t_ == model.n_iter_ * len(X)
    ('sgd', True)

    Early stopping by the score on the last rows:

    >>> model = SGDLinearRegressor(early_stopping=True, random_state=0)
    >>> model = model.fit(X[:8000], y[:8000], X_val=X[8000:], y_val=y[8000:])
    >>> len(model.validation_scores_) == model.n_iter_, model.stop_reason_
    (True, 'early_stopping')
    """

    _tuning = Tuning()

    _parameter_constraints = {
        "loss": [StrOptions(set(LOSSES))],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "positive": ["boolean"],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions(set(SOLVER_NAMES))],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"adaptive", "constant", "invscaling"})],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "update": [StrOptions({"implicit", "explicit"})],
        "precondition": ["boolean"],
        "average": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "half_life": [Interval(Real, 0, None, closed="neither"), None],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "verbose": ["verbose"],
    }

    @_names_new_parameters
    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: Literal["l2", "l1", "elasticnet"] | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        epsilon: float = 0.1,
        quantile: float = 0.5,
        positive: bool = False,
        fit_intercept: bool = True,
        solver: str = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        schedule: Literal["adaptive", "constant", "invscaling"] = "adaptive",
        power_t: float = 0.25,
        update: Literal["implicit", "explicit"] = "implicit",
        precondition: bool = True,
        average: bool = True,
        half_life: float | None = None,
        max_iter: int = 1000,
        tol: float | None = 1e-2,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        scoring: str | Callable[..., float] | None = None,
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.epsilon = epsilon
        self.quantile = quantile
        self.positive = positive
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.power_t = power_t
        self.update = update
        self.precondition = precondition
        self.average = average
        self.half_life = half_life
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.shuffle = shuffle
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.verbose = verbose

    @_names_new_parameters
    @_fit_method
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to all rows, from the start.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; each of several gets the model it would get alone, but for the epoch that
            `early_stopping` chooses for all of them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight k counts as k rows.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Rows to validate on, with `early_stopping`; nothing is learned from them. In a
            pipeline, ``Pipeline(..., transform_input=["X_val"])`` transforms them like X.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            Their targets, with as many columns as `y`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in the score. Without `X_val` the rows held out keep those of
            `sample_weight`.

        Returns
        -------
        self : SGDLinearRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used, and where explicit steps diverge. The estimator then is
            as it was before the call, as after any other error or interrupt, but for an error in
            the ``teardown`` of a callback, which comes when the fit is over.
        TypeError
            If `scoring` takes no ``sample_weight`` and the validation data have weights.
        """
        context = None
        if hasattr(self, "_skl_callbacks"):
            # First, for the clean-up of callbacks needs what it leaves on the estimator.
            context = self._init_callback_context(max_subtasks=int(self.max_iter))
        with self._unchanged_on_error():
            known = self.warm_start and hasattr(self, "coef_")
            last = (self._dense_coef(), self.intercept_) if known else None
            self._forget()
            seed, data, X_seen, validation = self._fit_data(
                (X, y, sample_weight), (X_val, y_val, sample_weight_val)
            )
            tasks = FitTasks(context, self, X_seen, *data[1:])
            history = self._run(seed, data, validation, tasks, last)
            self._publish_fit(self._with_sums(data, history.state()), history)
            tasks.end()
            if self.tol is not None:
                self._warn_if_not_converged(history)
        return self

    def partial_fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Update the model with a chunk of rows, each of which is seen once.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, one or many, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; each of several gets the model it would get alone.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight k counts as k rows, one of weight 0 is ignored.

        Returns
        -------
        self : SGDLinearRegressor
            The estimator, updated.

        Raises
        ------
        ValueError
            For input that cannot be used, and where explicit steps diverge. The estimator
            then is as it was before the call.
        """
        # As scikit-learn's `_fit_context` does, which takes as long as all else for a single row.
        if not self.__sklearn_is_fitted__() and not get_config()["skip_parameter_validation"]:
            self._validate_params()
        with self._unchanged_on_error():
            if self.early_stopping:
                raise ValueError("early_stopping should be False with partial_fit")
            learned = vars(self).get("_learned")
            known = self.__sklearn_is_fitted__()
            chunk = Chunk(
                *validated(self, X, y, sample_weight, reset=not known, allow_all_zero_weights=True)
            )
            if known:
                self._check_targets("y", chunk.y.shape[1:], self._shape()[:-1])
            chunk = chunk.weighted()
            if len(chunk.y) == 0:
                return self
            settings = self._settings()
            given = self._given_model((*chunk.y.shape[1:], chunk.X.shape[1]))
            model = given or (learned and learned.progressive_model)
            loss = self._progressive_loss(settings.loss, chunk, model)
            seed = self._draw_seed() if learned is None else None
            learned = stream(settings, chunk, learned, seed, given)
            self._publish(learned)
            self._publish_chunk(loss, learned.choice)
        return self

    def merge(self, other: Self) -> Self:
        """Combine this model with one trained on other rows, for instance on another machine.

        If both keep the sums over all their rows (see `average`), these are added up, and the
        model is the optimum of all rows. Otherwise the models, and their last iterates, are
        averaged, weighted by their numbers of rows; for sparse rows with more than 1000 columns,
        by the numbers of rows with an entry in the column. `loss_curve_` and the other attributes
        that describe a fit or a stream stay those of this model, except for `solver_`,
        `solver_reason_` and `t_`.

        Parameters
        ----------
        other : SGDLinearRegressor
            Fitted, with the same columns and targets, the same parameters of the objective, and
            the same `half_life`, `precondition` and `average`. It is not changed.

        Returns
        -------
        self : SGDLinearRegressor
            The estimator, updated.

        Raises
        ------
        ValueError
            If the models do not fit each other, or a `coef_` was set, or its sums were dropped.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_sgdlin import SGDLinearRegressor
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> y = X @ [1.0, 2.0, 3.0]
        >>> a, b = (SGDLinearRegressor().partial_fit(X[i::2], y[i::2]) for i in range(2))
        >>> bool(np.allclose(a.merge(b).coef_, SGDLinearRegressor().partial_fit(X, y).coef_))
        True
        """
        for model in (self, other):
            if not isinstance(model, SGDLinearRegressor):
                raise TypeError(f"other must be an SGDLinearRegressor, got {type(model).__name__}.")
            check_is_fitted(model)
        self._check_mergeable(other)
        with self._unchanged_on_error():
            learned = merged(self._settings(), self._learned, other._learned)
            self._publish(learned)
            self.solver_, self.solver_reason_ = learned.choice
        return self

    def to_predictor(self) -> Self:
        """Return a copy that makes the same predictions, without the state of `partial_fit`.

        With many columns this state is most of the memory and of a pickle. `partial_fit` of the
        copy continues by steps of SGD, or raises an error if it would compute the optimum of all
        rows.

        Returns
        -------
        model : SGDLinearRegressor
            Fitted.
        """
        check_is_fitted(self)
        light = copy(self)
        light.coef_, light.intercept_ = self.coef_.copy(), self.intercept_
        for name in ("_learned", "_last_settings"):
            vars(light).pop(name, None)
        return light

    def predict(self, X: MatrixLike) -> NDArray[np.floating]:
        """Predict with the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, ``X @ coef_.T + intercept_``.
        """
        check_is_fitted(self)
        return self._linear(validated_rows(self, X))

    def sparsify(self) -> Self:
        """Convert `coef_` to a sparse array, which saves memory where most of it is zero.

        `predict` takes either form, and `fit` and `partial_fit` leave a dense one.

        Returns
        -------
        self : SGDLinearRegressor
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = csr_array(self.coef_)
        return self

    def densify(self) -> Self:
        """Convert `coef_` to an ndarray, the form that `fit` leaves it in.

        Returns
        -------
        self : SGDLinearRegressor
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = self._dense_coef()
        return self

    def _validate_params(self):
        """Raise scikit-learn's error for a parameter that is not valid, as its method would.

        Only parameters that were changed are looked at, as the defaults are valid: to look at all
        takes a third as long as a small fit.
        """
        constraints = self._parameter_constraints
        defaults = SGDLinearRegressor.__init__.__wrapped__.__kwdefaults__
        values = {name: getattr(self, name) for name in sorted(constraints)}
        changed = {k: v for k, v in values.items() if k not in defaults or v is not defaults[k]}
        try:
            validate_parameter_constraints(constraints, changed, caller_name=type(self).__name__)
        except InvalidParameterError as error:
            for name, (kind, hint) in VALUE_HINTS.items():
                if f"'{name}' parameter" in str(error) and isinstance(changed[name], kind):
                    raise InvalidParameterError(f"{error} {hint}") from None
            raise

    def __sklearn_is_fitted__(self):
        """False while `fit` runs, when the columns are known and the model isn't."""
        return "_learned" in vars(self) or "coef_" in vars(self)

    def __getattr__(self, name):
        """Find `coef_` and `intercept_` of a stream when somebody asks for them."""
        if name in ("coef_", "intercept_", "_state") and "_learned" in vars(self):
            learned = self._learned
            return learned.settled if name == "_state" else learned.model[name == "intercept_"]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def __getstate__(self):
        """Return the attributes, of which none has a type of this package."""
        state = {name: to_plain(value) for name, value in super().__getstate__().items()}
        state.pop("_last_settings", None)  # they follow from the parameters
        return {**state, "_version": __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_version", None)
        try:
            if version is None:
                raise ValueError("its attributes are not in plain form")
            super().__setstate__({name: from_plain(value) for name, value in state.items()})
        except (AttributeError, ImportError, TypeError, ValueError) as error:
            raise ValueError(
                f"This {type(self).__name__} was saved by sklearn_sgdlin {version or '(older)'} "
                f"and cannot be loaded by {__version__}: {error}. Load it with the version that "
                "saved it, or fit it again."
            ) from error

    def _linear(self, X):
        if self._nobody_has_looked():
            coef, intercept = self._learned.own_model  # which costs no copy
        else:
            coef, intercept = self._dense_coef(), self.intercept_
        return X @ coef.T + intercept

    def _nobody_has_looked(self):
        """Whether nobody can have changed the model in place, or set it."""
        learned = vars(self).get("_learned")
        if vars(self).keys() & {"coef_", "intercept_"}:
            return False
        return learned is None or "model" not in vars(learned)

    def _dense_coef(self):
        return self.coef_.toarray() if issparse(self.coef_) else self.coef_

    @contextmanager
    def _unchanged_on_error(self):
        """Put back every attribute if the call fails, and say what to do about divergence."""
        before = vars(self).copy()
        try:
            yield
        except BaseException as error:
            self.__dict__ = before  # one assignment, so that no interrupt leaves a mixture
            if isinstance(error, DivergedError):
                raise self._diverged(error) from None
            raise

    def _diverged(self, error):
        """Return the error that tells users of diverged steps."""
        return ValueError(
            f"The loss grew beyond all bounds in {error} with learning_rate="
            f"{self._rate()!r} and update={self.update!r}. Use update='implicit', "
            "which never overshoots a row, or a lower learning_rate."
        )

    @staticmethod
    def _start(last, shape):
        """Return the last model in this shape of `coef_`, with or without an axis of one target."""
        if last is None:
            return None
        coef, intercept = last
        if coef.shape[-1] != shape[-1] or coef.size != np.prod(shape):
            raise ValueError(
                f"warm_start=True, but coef_ of the last fit has the shape {coef.shape}, "
                f"and the data ask for {shape}. Set warm_start=False."
            )
        return coef.reshape(shape), np.reshape(intercept, shape[:-1])

    def _fit_data(self, training, validation):
        """Return the seed, the data to learn from, and the validation data of a fit.

        Before the last one, a function returns the rows that are learned from as the user gave
        them, for callbacks.
        """
        X, given = training[0], self._given(validation)
        any_layout = not self.early_stopping
        data = validated(self, *training, reset=True, any_layout=any_layout)
        seed = self._draw_seed()
        if not self.early_stopping:
            return seed, data, lambda: X, None
        if given:
            return seed, data, lambda: X, self._validation(*validation, data[1].shape[1:])
        data, (_, y_val, weight_val) = hold_out(data, self.validation_fraction, seed)

        def split():
            return hold_out([X], self.validation_fraction, seed)

        validation = Validation(split()[1][0], y_val, weight_val, self._scorer())
        if any(weight is not None and not weight.any() for weight in (data[2], weight_val)):
            raise ValueError(
                f"validation_fraction={self.validation_fraction!r} puts all rows of non-zero "
                "sample_weight on one side. Pass X_val and y_val instead."
            )
        return seed, data, lambda: split()[0][0], validation

    def _given(self, validation):
        """Whether there are validation data of the user's choice; an error if for nothing."""
        given = any(array is not None for array in validation)
        if given and not self.early_stopping:
            raise ValueError(
                "X_val and y_val are passed to fit while at the same time early_stopping is "
                "False. When passing X_val and y_val to fit, early_stopping should be set "
                "to True."
            )
        return given

    def _validation(self, X_val, y_val, sample_weight_val, targets):
        """Validation data of the user's choice."""
        if X_val is None or y_val is None:
            given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
            given = [name for name, array in given.items() if array is not None]
            raise ValueError(f"X_val and y_val belong together, but only {given[0]} was provided.")
        try:
            _, y_val, sample_weight_val = validated(
                self, X_val, y_val, sample_weight_val, reset=False, ensure_all_finite=True
            )
        except ValueError as error:
            raise ValueError(f"In X_val, y_val, sample_weight_val: {error}") from error
        self._check_targets("y_val", y_val.shape[1:], targets)
        return Validation(X_val, y_val, sample_weight_val, self._scorer())

    def _scorer(self):
        if self.scoring is not None:
            return check_scoring(self, self.scoring)

        loss = make_loss(self.loss, self.epsilon, self.quantile)

        def minus_loss(estimator, X, y, sample_weight=None):
            return 0.0 - self._mean_loss(loss, y - estimator.predict(X), sample_weight)  # not -0.0

        return minus_loss

    @staticmethod
    def _mean_loss(loss, residual, sample_weight):
        value = loss.value(residual)
        if sample_weight is None:
            return float(value.sum()) / value.size
        weights = sample_weight / sample_weight.max()  # so that no product over- or underflows
        return float(np.average(value, axis=0, weights=weights).mean())

    @np.errstate(over="ignore", invalid="ignore")  # training will name the array
    def _progressive_loss(self, loss, chunk, model):
        """Return the mean loss of a model on a chunk; no model predicts 0."""
        X, residual, sample_weight = chunk
        if model is not None:
            coef, intercept = model
            residual = residual - (X @ coef.T + intercept)
        return self._mean_loss(loss, residual, sample_weight)

    def _run(self, seed, data, validation, tasks, last):
        """Return the `History` of a fit, having run it epoch by epoch."""
        begin = perf_counter()
        settings = self._settings()
        if validation is not None:  # the validation score decides when to stop
            settings = replace(settings, tol=None)
        history = History(self.tol, self.n_iter_no_change)
        training = self._epochs(settings, data, seed, last)
        while history.stop_reason is None:
            tasks.begin_epoch()
            epoch = next(training)
            score = None
            if validation is not None:
                score = validation.score(self._fitted(epoch.state))
            history.add(epoch, score)
            if self.verbose and epoch.number == 1:
                print(f"solver {epoch.choice.solver}: {epoch.choice.reason}")
            if self.verbose:
                print(history.line(perf_counter() - begin))
            if tasks.end_epoch(lambda: vars(self._fitted(history.state(), history))):
                history.stop_reason = "callback"
        return history

    def _with_sums(self, data, state):
        """Return the state of a fit with all that a stream needs to go on."""
        return after_fit(self._settings(), *data, state)

    def _epochs(self, settings, data, seed, last):
        X, y, _ = data
        return epochs(settings, *data, seed, self._start(last, (*y.shape[1:], X.shape[1])))

    def _settings(self):
        """Return the `Settings`, those of the last call if no parameter has changed."""
        parameters = _parameters_of(self)
        if parameters != vars(self).get("_last_settings", [None])[0]:
            self._last_settings = parameters, self._make_settings()
        return self._last_settings[1]

    def _make_settings(self):
        if self.loss == "huber" and self.epsilon == 0:
            raise ValueError(
                "The 'epsilon' parameter of SGDLinearRegressor must be positive with "
                "loss='huber'. Use loss='quantile' for the absolute error."
            )
        l1_share = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        alpha = 0.0 if self.penalty is None else float(self.alpha)
        given = [name for name in SGD_SETTINGS if getattr(self, name) != SGD_SETTINGS[name]]
        return Settings(
            loss=make_loss(self.loss, self.epsilon, self.quantile),
            l1=alpha * l1_share,
            l2=alpha * (1 - l1_share),
            learning_rate=self._rate(),
            power_t=float(self.power_t),
            implicit=self.update == "implicit",
            max_iter=int(self.max_iter),
            n_iter_no_change=int(self.n_iter_no_change),
            **{name: getattr(self, name) for name in ("schedule", "tol", "solver")},
            **{name: bool(getattr(self, name)) for name in FLAGS},
            sgd_setting=f"{given[0]}={getattr(self, given[0])!r}" if given else "",
            tuning=self._tuning,
            half_life=None if self.half_life is None else float(self.half_life),
        )

    def _rate(self):
        """The step length: 1 with "auto", the natural scale on any data."""
        return 1.0 if self.learning_rate == "auto" else float(self.learning_rate)

    @staticmethod
    def _check_targets(name, shape, expected):
        if shape != expected:
            kinds = [f"{n[0]} columns" if n else "one dimension" for n in (shape, expected)]
            raise ValueError(f"{name} has {kinds[0]}, but {kinds[1]} as in y before is expected.")

    def _check_mergeable(self, other):
        """Raise ValueError where two fitted models cannot be merged."""
        for name in MERGED_SETTINGS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(
                    f"Models to merge must have the same {name}, got {ours!r} and {theirs!r}."
                )
        if self._shape() != other._shape():
            raise ValueError(
                "Models to merge must have the same columns and targets: coef_ has the shapes "
                f"{self._shape()} and {other._shape()}."
            )
        names = [getattr(model, "feature_names_in_", None) for model in (self, other)]
        if (names[0] is None) != (names[1] is None) or not np.array_equal(*names):
            raise ValueError("Models to merge must have the same feature names.")
        for model in (self, other):
            if "_learned" not in vars(model) or model._given_model(model._shape()) is not None:
                raise ValueError(
                    "A model whose coef_ or intercept_ was set, or that has dropped its state, "
                    "cannot be merged."
                )

    def _shape(self):
        """Return the shape of `coef_`, without solving for it."""
        if "coef_" in vars(self):
            return np.shape(self.coef_)
        return self._learned.progressive_model[0].shape

    def _given_model(self, shape):
        """Return coef, of this shape, and intercept if the user has set them; else None."""
        if self._nobody_has_looked():
            return None
        learned = vars(self).get("_learned")
        coef = self._dense_coef() if hasattr(self, "coef_") else np.zeros(shape)
        coef = np.array(coef, dtype=float)
        intercept = np.array(getattr(self, "intercept_", np.zeros(shape[:-1])), dtype=float)
        if (coef.shape, intercept.shape) != (shape, shape[:-1]):
            raise ValueError(
                f"coef_ has the shape {coef.shape} and intercept_ {intercept.shape}, but the data "
                f"ask for {shape} and {shape[:-1]}."
            )
        if learned is not None:
            own_coef, own_intercept = learned.own_model
            if np.array_equal(coef, own_coef) and np.array_equal(intercept, own_intercept):
                return None
        return coef, intercept

    def _draw_seed(self):
        draw = _seed_of_int if isinstance(self.random_state, Integral) else _seed_of
        return draw(self.random_state)

    def _publish(self, learned):
        """The one place where the fitted model is written."""
        before = vars(self).get("_learned")
        if before is None or learned.state is not before.state:
            check_finite(learned.state)
        self._learned = learned
        self.t_ = learned.state.steps
        for name in ("coef_", "intercept_"):
            vars(self).pop(name, None)  # found when somebody asks

    def _publish_fit(self, state, history=None):
        """Write the model of a fit, and the attributes that tell its course if that is known."""
        self._publish(Learned(self._settings(), None, state))
        self.coef_, self.intercept_ = self._learned.model
        if history is None:
            return
        self.solver_, self.solver_reason_ = history.last.choice
        self.n_iter_ = history.last.number
        self.loss_curve_ = history.losses.copy()
        self.learning_rates_ = history.rates.copy() if any(history.rates) else []
        self.validation_scores_ = history.scores.copy() if history.scores else None
        self.best_iteration_ = history.best.number if history.scores else None
        self.stop_reason_ = history.stop_reason or "callback"
        self._n_chunks = 0
        self._curve_names = self._names_of_fit()

    def _publish_chunk(self, loss, choice):
        """Write the attributes that tell the course of a stream, whose curve starts anew."""
        self.solver_, self.solver_reason_ = choice
        if not getattr(self, "_n_chunks", 0):
            self.loss_curve_, self.learning_rates_ = [], []
            self.validation_scores_ = self.best_iteration_ = None
            self.n_iter_, self.stop_reason_ = 1, None
            self._n_chunks = 0
            self._curve_names = {"loss_name": "progressive loss", "x_name": "Chunk"}
        self._n_chunks += 1
        rate = self._rate() if choice.solver == "sgd" else 0.0
        rates = self.learning_rates_
        if rate and not rates:
            rates = [0.0] * len(self.loss_curve_)
        self.loss_curve_, rates = with_chunk(
            self.loss_curve_, rates, self._n_chunks, loss, rate, self._tuning.max_curve_points
        )
        self.learning_rates_ = rates if any(rates) else []

    def _curve_labels(self):
        """Return the labels of the axes of a plot of the curves."""
        names = dict(self._curve_names)
        if self._n_chunks:
            names["x_values"] = last_chunks(self._n_chunks, self._tuning.max_curve_points)
        return names

    def _names_of_fit(self):
        """Return the names of the curves in a plot, kept as parameters may change after the fit."""
        penalised = self.penalty is not None and self.alpha > 0
        score = self.scoring
        if callable(score):
            name = getattr(score, "__name__", "score")
            score = name if name.isidentifier() else "score"  # a lambda has no name
        return {
            "loss_name": "training loss + penalty" if penalised else "training loss",
            "score_name": score if self.early_stopping else None,
        }

    def _fitted(self, state, history=None):
        """Return a fitted copy, as `fit` would return it; what a scorer or a callback sees."""
        fitted = copy(self)
        fitted._publish_fit(state, history)
        return fitted

    def _forget(self):
        """Drop the last fit, so that nobody sees half of it while the next one runs."""
        for name in list(vars(self)):
            if name == "_learned" or (name.endswith("_") and not name.startswith("_")):
                delattr(self, name)

    def _warn_if_not_converged(self, history):
        """Warn where the model is known not to be within `tol`, or epochs have run out."""
        epoch, reason = history.last, history.stop_reason
        known = epoch.distance is not None and not self.early_stopping
        if reason == "max_iter":
            what, remedy = f"stopped at max_iter={self.max_iter}", "Increase max_iter, or tol."
        elif reason == "stalled" and known:
            what = f"stalled after {self.n_iter_} epochs"
            remedy = "Rescale X or y, or increase tol."
        else:
            return  # a stall at an unknown distance is what `stop_reason_` says
        distance = ""
        if known:
            distance = (
                f": predictions are about {epoch.distance:.1g} residual standard deviations "
                f"from the optimum, tol={self.tol:g}"
            )
        warnings.warn(
            f"{type(self).__name__} with solver={self.solver_!r} {what} before it converged"
            f"{distance}. {remedy}",
            ConvergenceWarning,
            stacklevel=5,  # behind fit and its two wrappers
        )
