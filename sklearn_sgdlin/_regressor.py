"""The estimator: parameters, validation, fitted attributes."""

import warnings
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import metadata
from numbers import Integral, Real
from time import perf_counter

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from ._choose import SOLVER_NAMES
from ._early_stopping import Validation, hold_out
from ._fit import epochs
from ._partial_fit import stream, stream_choice
from ._report import FitTasks, History, last_chunks, with_chunk
from ._tuning import Tuning
from ._validation import validated, validated_rows
from .model.loss import LOSSES, make_loss
from .model.settings import DivergedError, Settings


def _seed_of(random_state):
    """Return a seed drawn from a random state."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


# To make a RandomState of an int takes as long as many a small fit.
_seed_of_int = lru_cache(_seed_of)


def _documentation_link(project_urls):
    """Template of the page of a class, below the address of the documentation.

    The address is that of the package's metadata; where they state none, there is no link.
    """
    root = dict(url.split(", ", 1) for url in project_urls).get("Documentation")
    return f"{root}/generated/{{estimator_module}}.{{estimator_name}}.html" if root else ""


# Parameters that only matter to SGD, with their defaults. Any other value asks for SGD.
SGD_SETTINGS = {
    "learning_rate": "auto",
    "early_stopping": False,
    "update": "implicit",
    "precondition": True,
    "average": True,
    "schedule": "adaptive",
}


class SGDLinearRegressor(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression on raw data, by stochastic gradient descent or a faster solver.

    Minimises the objective of scikit-learn's `SGDRegressor`, for a linear model w, b,

    .. math:: \frac{1}{\sum_i h_i} \sum_i h_i \ell(y_i - x_i \cdot w - b)
              + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right),

    with sample weights h and :math:`\rho` = `l1_ratio`. By default the size of the data and the
    objective decide which algorithm finds the optimum; see `solver`. Any parameter that only
    matters to stochastic gradient descent (SGD) asks for SGD, a number for `learning_rate` first
    of all. Columns may be in any units: all solvers work in centred and scaled coordinates.

    A step of SGD moves the model along one row ``x``. It is implicit,

    .. math:: w_j \mathrel{+}= \eta h m r_j (x_j - \mu_j), \qquad
              m = \mathrm{clip}\left( \frac{s}{\kappa + \eta h \sum_j r_j (x_j - \mu_j)^2},
              lo, hi \right),

    with the residual s outside the dead zone of the loss, its compliance :math:`\kappa` (inverse
    curvature) and the bounds of its multiplier (minus its derivative), the mean :math:`\mu_j` and
    about the inverse variance :math:`r_j` of column j. It solves its row's problem exactly and
    never overshoots, so `fit` diverges at no `learning_rate` [1]_. After each pass over the rows
    `fit` goes on to the best model in the span of averages of the path, the gradient and earlier
    steps [2]_ [3]_.

    Parameters
    ----------
    loss : str, default="squared_error"
        Loss of the residual e. "squared_error": ``e**2 / 2``; "huber": the same up to
        ``|e| = epsilon`` and linear beyond; "epsilon_insensitive": ``max(|e| - epsilon, 0)``;
        "squared_epsilon_insensitive": the square of that; "quantile": ``quantile * e`` for
        positive and ``(quantile - 1) * e`` for negative residuals.

    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        ``alpha / 2 * ||w||^2``, ``alpha * ||w||_1``, or the sum of both, as above. The
        intercept is never penalised. With "l1" and "elasticnet" coefficients that should be
        zero are exactly 0.0; in `partial_fit` only where it knows the optimum, see `average`, as
        the average of a path that leaves zero now and then is not zero. With n rows of weight 1,
        `Ridge` calls this alpha ``n * alpha``; `Lasso` and `ElasticNet` call it alpha.

    alpha : float, default=0.0001
        Strength of the penalty, at least 0; per row, whatever their number.

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
        How to find the optimum. "auto" takes the first of these that applies:

        - "sgd" where a parameter asks for SGD: a number for `learning_rate`,
          ``early_stopping=True``, ``update="explicit"``, ``precondition=False``,
          ``average=False``, or a `schedule` other than "adaptive". Each epoch is a pass over the
          rows with one step for each, and a search in the span of what it found. For every loss
          and penalty.
        - "coordinate-descent" for squared error with "l1", "elasticnet" or `positive`: as in
          scikit-learn's ``Lasso``, and then exactly to the optimum of the coefficients that are
          not zero.
        - "interior-point" for quantile and epsilon-insensitive losses, and for all losses but
          squared error with "l1", "elasticnet" or `positive` [5]_. Its first epoch begins with one
          pass of SGD, unless a sample of many rows is enough to tell which of them matter, or there
          are more than 4096 columns with "l1".
        - "dual" (ridge regression with one unknown a row) with "l2", and "min-norm" (of all models
          with the least loss the one nearest to the start) without a penalty, where there are at
          most as many rows as columns.
        - "newton-cholesky", the Hessian summed up and factorised, where columns are few. With huber
          and squared_epsilon_insensitive one for each step.
        - "newton-cg", conjugate gradients with products of the Hessian, where they are many. Its
          first epoch begins with one pass of SGD if there are more than 4096 columns.

        A solver that cannot serve the problem is an error that names those that can. `partial_fit`
        knows "auto", "sgd", and "newton-cholesky": the optimum of all rows seen, of squared error
        with up to 64 columns. The numbers of rows and columns that decide are in the user guide;
        `solver_reason_` says which did.

    learning_rate : "auto" or float, default="auto"
        Step length, positive. A number asks for SGD, see `solver`. "auto" is 1 where steps are
        taken. Without unit if `precondition` is true: 1 is the natural value on any data.
        Otherwise the step length of a textbook, in units of 1 / x**2. In `partial_fit`, where each
        row is seen once, a higher one follows more of the noise.

    schedule : {"adaptive", "constant", "invscaling"}, default="adaptive"
        How the step length changes. Anything but "adaptive" asks for SGD. "adaptive": divided by
        10 after an epoch that did not lower the loss by the factor ``1 - tol**2``, or ``1 - tol``
        with ``average=False`` (with `early_stopping` or ``tol=None``: at all); "constant": never;
        "invscaling": ``learning_rate / t**power_t`` at row t.

        In `partial_fit` "adaptive" is ``learning_rate * min(1, 10 * (n_features + 1) / t)**0.4``,
        to the power 0.75 with a penalty or `positive`, and constant with ``average=False``, so
        that the last iterate follows a drift. There a step of a loss that bounds its derivative
        is as long as the latest residuals are large.

    power_t : float, default=0.25
        Exponent of the "invscaling" schedule, at least 0.

    update : {"implicit", "explicit"}, default="implicit"
        Whether the gradient of a step is taken at its end (never overshoots its row) or at
        its start, as in a textbook (diverges where the rate is too high).

    precondition : bool, default=True
        Whether steps are taken in centred and scaled coordinates, starting from the mean of
        y; or in the units of the data, starting from zero.

    average : bool, default=True
        Whether to return the best model that is known (`fit`), or an average of the path that
        forgets its start (`partial_fit`). False: the last iterate of SGD.

        With squared error and up to 64 columns, and where no parameter asks for SGD, `partial_fit`
        takes no steps. It keeps a triangular factor of all rows seen, and from
        ``2 * (n_features + 1)`` rows on returns their optimum, with any penalty: the model of
        `fit`, in chunks of any size. With fewer rows a ridge is added that shrinks from row to
        row. The factor is kept from the first chunk on, or from a `fit` by "newton-cholesky",
        "coordinate-descent" or, with squared error, "interior-point"; SGD for some chunks between
        does not drop it.

    max_iter : int, default=1000
        Epochs of `fit` at the most.

    tol : float or None, default=1e-2
        `fit` has converged where the predictions are within about `tol` residual standard
        deviations (root mean square) of those of the optimum, so that the objective is within a
        factor of about ``1 + tol**2`` of the least. Where the loss is linear far from zero, as
        "huber" and "quantile" are, rows count with at most the loss of a typical residual, so that
        gross outliers do not make the tolerance coarse.

        Where that distance is above `tol` or not known, and `n_iter_no_change` epochs in a row did
        not lower the objective by the factor ``1 - tol**2`` (``1 - tol**2 / 10`` where it is
        known), `fit` stops with ``stop_reason_="stalled"``, and with a ConvergenceWarning if the
        distance is known. "sgd" does not know it for other losses than squared error, "l1",
        "elasticnet" and `positive`, nor in more than 80 columns whose Hessian has eigenvalues far
        apart. Of such columns "newton-cg" knows it from a Hessian, or beyond 4096 columns, and
        where a Hessian costs too much, estimates it from what the latest iterations gained, which
        tells nothing of nearly equal columns. With ``average=False`` the distance plays no part:
        `fit` has converged where that many epochs did not lower the objective by the factor
        ``1 - tol``.

        None: `max_iter` epochs. With `early_stopping` only the score on validation data stops
        `fit`, and `tol` is the least rise of it that counts, relative to its size.

    n_iter_no_change : int, default=5
        Epochs in a row without progress after which `fit` stops: of the score on validation
        data with `early_stopping`, which nothing else stops; otherwise of the objective, for
        the cases stated at `tol`.

    warm_start : bool, default=False
        Whether `fit` begins with `coef_` and `intercept_` of the last fit. That is all it
        keeps: the scaling, the schedule, `t_` and `loss_curve_` start afresh. It saves time where
        `fit` takes several epochs. "dual" does not use it; with "min-norm" it decides which of
        the models with the least loss is returned.

    shuffle : bool, default=True
        Whether each sweep of SGD, in `fit` and `partial_fit`, visits the rows in a new random
        order.

    random_state : int, RandomState instance or None, default=None
        For the order of rows, the rows held out for validation, and the random vectors and sums by
        which solvers estimate the Hessian. Pass an int for the same model at each call.

    early_stopping : bool, default=False
        Whether `fit` watches the score on validation data instead of the training loss. It asks
        for SGD, stops where `n_iter_no_change` epochs in a row did not raise the best score before
        them by the fraction `tol` of its size, and returns the model of the best score. The
        validation data are `X_val` and `y_val` of `fit`, or a random part of the rows. Several
        targets have one score, so they stop together and are returned as of the same epoch.

    validation_fraction : float, default=0.1
        Part of the rows held out as validation data, between 0 and 1. Only with
        `early_stopping`, and without `X_val`.

    scoring : str, callable or None, default=None
        Score on the validation data, greater is better: a name that scikit-learn's
        `get_scorer` knows, a callable ``scorer(estimator, X, y)``, or None for minus the mean
        loss, without penalty. Where validation data have weights, it must take
        ``sample_weight``, too. Only with `early_stopping`.

    verbose : int, default=0
        1 prints the solver and why it was chosen, and a line an epoch: its number, the rate of its
        steps of SGD if it took any, the loss, the score on validation data if there are any, and
        the seconds since `fit` began.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in units of y by units of the column.

    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in units of y; 0.0 if `fit_intercept` is false.

    n_iter_ : int or None
        Epochs run by `fit`. None after `partial_fit`.

    solver_ : str
        The solver that ran; for `partial_fit` that of the last chunk.

    solver_reason_ : str
        Why, in a sentence with the numbers that decided.

    t_ : int
        Steps of SGD taken, one a row, in all epochs and calls: 0 after solvers that take none.

    loss_curve_ : list of float
        After `fit`: objective, with penalty and weights, of the model after each epoch, on the
        rows learned from. After `partial_fit`: progressive loss [4]_, without penalty, of the
        model on each chunk before it learned from it; the model before the first chunk predicts
        0. The mean over targets. The curve has 1000 points at the most: that of a longer stream
        gets coarser, each point is the mean of 2 chunks, from 2001 chunks on of 4, and so on. A
        `fit` and the first `partial_fit` after it start the curve anew.

    learning_rates_ : list of float
        Step length in each epoch of `fit`, or at each chunk of `partial_fit` (of the last chunk
        where a point of `loss_curve_` stands for several). Where the schedule lets it fall from
        row to row, `learning_rate`. 0.0 for an epoch or chunk without steps of SGD; the list is
        empty if there were none at all, else as long as `loss_curve_`.

    validation_scores_ : list of float or None
        Score on validation data after each epoch of `fit`, greater is better, in the units of
        `scoring`. None without `early_stopping`.

    best_iteration_ : int or None
        Epoch whose model `fit` returned, counted from 1: the first of the highest score. None
        without `early_stopping`.

    stop_reason_ : {"converged", "stalled", "early_stopping", "callback", "max_iter"} or None
        Why `fit` stopped. "converged": predictions are within `tol` of the optimum. "stalled":
        `n_iter_no_change` epochs did not lower the objective, and predictions are not known to be
        within `tol`; no reason to worry unless a ConvergenceWarning says so. "early_stopping": the
        score on validation data no longer rises. "callback": a callback returned True. "max_iter":
        none of these in `max_iter` epochs. None after `partial_fit`.

    n_features_in_ : int
        Number of columns seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    See Also
    --------
    LossCurveDisplay : Picture of `loss_curve_` and `validation_scores_`.
    sklearn.linear_model.SGDRegressor : Explicit steps; needs scaled columns and a tuned rate.
    sklearn.linear_model.LinearRegression : Least squares by a singular value decomposition.

    Notes
    -----
    `fit` starts afresh; `partial_fit` goes on from the last `fit` or `partial_fit`. X is read
    as it is if it is a C-ordered array or a CSR matrix of float64 or float32; others are
    copied once. Sparse rows are centred without being made dense, at the cost of their stored
    entries.

    A column whose standard deviation is within four rounding errors of its mean counts as
    constant, and has the coefficient 0. Where columns are combinations of others, but for 1e-13 of
    their length, squared error without penalty has the shortest coefficients in scaled columns:
    copies of a column have equal ones.

    Rows of large data are read in as many threads as BLAS may use, and BLAS runs in one thread
    meanwhile. The model is the same bits on any number of threads. Compiled loops do not hold the
    interpreter's lock, and with less than 2048 columns BLAS runs in one thread during all of `fit`,
    so that fits in several threads or processes do not wait for each other. A limit that another
    thread has set by :mod:`threadpoolctl` is left as it is.

    Callbacks set by `set_callbacks` see each epoch of `fit` as a task. Their
    ``fitted_estimator`` is what `fit` would return if it stopped there; one that returns True
    from ``on_fit_task_end`` stops it. `partial_fit` calls none.

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

    Examples
    --------
    Columns in any units, no scaler:

    >>> import numpy as np
    >>> from sklearn_sgdlin import SGDLinearRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(loc=[1000, 5e6], scale=[1, 1e6], size=(10_000, 2))
    >>> y = 3 * X[:, 0] - 2e-6 * X[:, 1] + rng.normal(size=10_000)
    >>> model = SGDLinearRegressor(random_state=0).fit(X, y)
    >>> print(f"{model.coef_[0]:.2f} {model.coef_[1]:.2e} {model.stop_reason_}")
    2.99 -2.00e-06 converged
    >>> model.solver_, model.t_  # no step of SGD was needed
    ('newton-cholesky', 0)

    A learning rate asks for SGD:

    >>> model = SGDLinearRegressor(learning_rate=0.1, random_state=0).fit(X, y)
    >>> model.solver_, model.t_ == model.n_iter_ * len(X)
    ('sgd', True)

    Stop by the score on data of your choice, here the last rows:

    >>> model = SGDLinearRegressor(early_stopping=True, random_state=0)
    >>> model = model.fit(X[:8000], y[:8000], X_val=X[8000:], y_val=y[8000:])
    >>> len(model.validation_scores_) == model.n_iter_, model.stop_reason_
    (True, 'early_stopping')
    """

    _doc_link_module = "sklearn_sgdlin"
    _doc_link_template = _documentation_link(metadata("sklearn-sgdlin").get_all("Project-URL", []))

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
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss="squared_error",
        *,
        penalty=None,
        alpha=0.0001,
        l1_ratio=0.15,
        epsilon=0.1,
        quantile=0.5,
        positive=False,
        fit_intercept=True,
        solver="auto",
        learning_rate="auto",
        schedule="adaptive",
        power_t=0.25,
        update="implicit",
        precondition=True,
        average=True,
        max_iter=1000,
        tol=1e-2,
        n_iter_no_change=5,
        warm_start=False,
        shuffle=True,
        random_state=None,
        early_stopping=False,
        validation_fraction=0.1,
        scoring=None,
        verbose=0,
    ):
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to all rows, afresh.

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
            For input that cannot be used, and where explicit steps diverge. The estimator
            then is as it was before the call, as it is after any other error or interrupt,
            in a callback too. Only an error in the ``teardown`` of a callback, which comes
            when the fit is over, leaves the new model.
        TypeError
            If `scoring` takes no ``sample_weight`` and the validation data have weights.
        """
        context = None
        if hasattr(self, "_skl_callbacks"):
            # First, for the clean-up of callbacks needs what it leaves on the estimator.
            context = self._init_callback_context(max_subtasks=int(self.max_iter))
        with self._unchanged_on_error():
            last = self._last_model()
            self._forget()
            seed, data, X_seen, validation = self._fit_data(
                (X, y, sample_weight), (X_val, y_val, sample_weight_val)
            )
            tasks = FitTasks(context, self, X_seen, *data[1:])
            tasks.begin()
            try:
                history = self._run(seed, data, validation, tasks, last)
            except DivergedError as error:
                raise self._diverged(error) from None
            self._publish(history.state())
            self._publish_history(history)
            tasks.end()
            if self.tol is not None:
                self._warn_if_not_converged(history)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Learn from a chunk of rows, once, going on from the model so far.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, one or many, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; each of several gets the model it would get alone.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight k counts as k rows. A chunk whose weights are
            all 0 is none.

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
        with self._unchanged_on_error():
            if self.early_stopping:
                raise ValueError("early_stopping should be False with partial_fit")
            state = getattr(self, "_state", None)
            X, y, sample_weight = validated(
                self, X, y, sample_weight, reset=state is None, allow_all_zero_weights=True
            )
            if state is not None:
                self._check_targets("y", y.shape[1:], self.coef_.shape[:-1])
            if sample_weight is not None and not sample_weight.any():
                return self
            settings = self._settings()
            choice = stream_choice(settings, X.shape[1], state)
            loss = self._progressive_loss(settings.loss, X, y, sample_weight)
            seed = self._draw_seed() if state is None else state.seed
            try:
                state = stream(settings, X, y, sample_weight, state, seed)
            except DivergedError as error:
                raise self._diverged(error) from None
            self._publish(state)
            self._publish_chunk(loss, choice)
        return self

    def predict(self, X):
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

    def _validate_params(self):
        """Raise scikit-learn's error for a parameter that is not valid, as its method would.

        Only parameters that were changed are looked at, as the defaults are valid: to look at all
        takes a third as long as a small fit.
        """
        constraints = self._parameter_constraints
        defaults = SGDLinearRegressor.__init__.__kwdefaults__
        values = {name: getattr(self, name) for name in sorted(constraints)}
        changed = {k: v for k, v in values.items() if k not in defaults or v is not defaults[k]}
        validate_parameter_constraints(constraints, changed, caller_name=type(self).__name__)

    def __sklearn_is_fitted__(self):
        """False while `fit` runs, when the columns are known and the model isn't."""
        return hasattr(self, "coef_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def _linear(self, X):
        return X @ self.coef_.T + self.intercept_

    @contextmanager
    def _unchanged_on_error(self):
        """Put back every attribute if the call fails."""
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before  # one assignment, so that no interrupt leaves a mixture
            raise

    def _last_model(self):
        """Return coef and intercept of the last fit, or None without `warm_start`."""
        if self.warm_start and hasattr(self, "coef_"):
            return self.coef_, self.intercept_
        return None

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

        Returns
        -------
        seed : int
        data : X, y and sample_weight to learn from, as the training needs them
        X_seen : callable
            Returns the same rows of X as the user gave it, for callbacks.
        validation : Validation or None
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
        self._check_weights_left(data[2], weight_val)
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
        if X_val is None and y_val is None:
            raise ValueError("sample_weight_val is provided, but X_val and y_val were not.")
        if y_val is None:
            raise ValueError("X_val is provided, but y_val was not provided.")
        if X_val is None:
            raise ValueError("y_val is provided, but X_val was not provided.")
        try:
            _, y_val, sample_weight_val = validated(
                self, X_val, y_val, sample_weight_val, reset=False, ensure_all_finite=True
            )
        except ValueError as error:
            raise ValueError(f"In X_val, y_val, sample_weight_val: {error}") from error
        self._check_targets("y_val", y_val.shape[1:], targets)
        return Validation(X_val, y_val, sample_weight_val, self._scorer())

    def _check_weights_left(self, *parts):
        if any(weight is not None and not weight.any() for weight in parts):
            raise ValueError(
                f"validation_fraction={self.validation_fraction!r} puts all rows of non-zero "
                "sample_weight on one side. Pass X_val and y_val instead."
            )

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
            return float(value.mean())
        weights = sample_weight / sample_weight.max()  # so that no product over- or underflows
        return float(np.average(value, axis=0, weights=weights).mean())

    @np.errstate(over="ignore", invalid="ignore")  # training will name the array
    def _progressive_loss(self, loss, X, y, sample_weight):
        """Return the mean loss on a chunk before it is learned; the first model predicts 0."""
        residual = y - self._linear(X) if hasattr(self, "_state") else y
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

    def _epochs(self, settings, data, seed, last):
        X, y, _ = data
        return epochs(settings, *data, seed, self._start(last, (*y.shape[1:], X.shape[1])))

    def _settings(self):
        if self.loss == "huber" and self.epsilon == 0:
            raise ValueError(
                "The 'epsilon' parameter of SGDLinearRegressor must be positive with "
                "loss='huber'. Use loss='quantile' for the absolute error."
            )
        l1_share = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        alpha = 0.0 if self.penalty is None else float(self.alpha)
        return Settings(
            loss=make_loss(self.loss, self.epsilon, self.quantile),
            l1=alpha * l1_share,
            l2=alpha * (1 - l1_share),
            positive=bool(self.positive),
            fit_intercept=bool(self.fit_intercept),
            learning_rate=self._rate(),
            schedule=self.schedule,
            power_t=float(self.power_t),
            implicit=self.update == "implicit",
            precondition=bool(self.precondition),
            average=bool(self.average),
            max_iter=int(self.max_iter),
            tol=self.tol,
            n_iter_no_change=int(self.n_iter_no_change),
            shuffle=bool(self.shuffle),
            solver=self.solver,
            sgd_setting=self._sgd_setting(),
            tuning=self._tuning,
        )

    def _rate(self):
        """The step length: 1 with "auto", the natural scale on any data."""
        return 1.0 if self.learning_rate == "auto" else float(self.learning_rate)

    def _sgd_setting(self):
        """The first setting that asks for steps of SGD, as the user would write it, or ""."""
        for name in SGD_SETTINGS:
            value = getattr(self, name)
            if value != SGD_SETTINGS[name]:
                return f"{name}={value!r}"
        return ""

    @staticmethod
    def _check_targets(name, shape, expected):
        if shape != expected:
            kinds = [f"{n[0]} columns" if n else "one dimension" for n in (shape, expected)]
            raise ValueError(f"{name} has {kinds[0]}, but {kinds[1]} as in y before is expected.")

    def _draw_seed(self):
        known = isinstance(self.random_state, Integral)
        return _seed_of_int(self.random_state) if known else _seed_of(self.random_state)

    def _publish(self, state):
        """The one place where the fitted model is written."""
        if not state.finite:
            raise ValueError(
                "The coefficients are too large for dtype('float64'). Rescale X, y or "
                "sample_weight."
            )
        self._state = state = state.settled()
        self.coef_, self.intercept_ = state.model(self.average)
        self.t_ = state.steps

    def _publish_history(self, history):
        """Write the attributes that tell the course of a fit."""
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
        """Write the attributes that tell the course of a stream.

        Its curve is that of another loss than a fit's, so it starts anew.
        """
        self.solver_, self.solver_reason_ = choice
        if not getattr(self, "_n_chunks", 0):
            self.loss_curve_, self.learning_rates_ = [], []
            self.validation_scores_ = self.best_iteration_ = None
            self.n_iter_ = self.stop_reason_ = None
            self._n_chunks = 0
            self._curve_names = {"loss_name": "progressive loss", "x_name": "Chunk"}
        self._n_chunks += 1
        rate = self._rate() if choice.solver == "sgd" else 0.0
        rates = self.learning_rates_ or [0.0] * len(self.loss_curve_)
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
        fitted._publish(state)
        if history is not None:
            fitted._publish_history(history)
        return fitted

    def _forget(self):
        """Drop the last fit, so that nobody sees half of it while the next one runs."""
        for name in list(vars(self)):
            if name == "_state" or (name.endswith("_") and not name.startswith("_")):
                delattr(self, name)

    def _diverged(self, error):
        """Return the error that tells users of diverged steps."""
        return ValueError(
            f"The loss grew beyond all bounds in {error} with learning_rate="
            f"{self._rate()!r} and update={self.update!r}. Use update='implicit', "
            "which never overshoots a row, or a lower learning_rate."
        )

    def _warn_if_not_converged(self, history):
        """Warn where the model is known not to be within `tol`, or epochs have run out.

        A stall at an unknown distance is what `stop_reason_` says, and no reason to worry.
        """
        epoch, reason = history.last, history.stop_reason
        known = epoch.distance is not None and not self.early_stopping
        if reason == "max_iter":
            what, remedy = f"stopped at max_iter={self.max_iter}", "Increase max_iter, or tol."
        elif reason == "stalled" and known:
            what, remedy = (
                f"stalled after {self.n_iter_} epochs",
                "Rescale X or y, or increase tol.",
            )
        else:
            return
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
            stacklevel=4,  # behind fit and scikit-learn's wrapper of it
        )
