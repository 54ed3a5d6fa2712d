"""The estimator: parameters, validation, fitted attributes."""

import warnings
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ._loss import LOSSES, make_loss
from ._training import DivergedError, Settings, epochs, stream


def _check_finite_total(total, name, what):
    if not np.isfinite(total):
        raise ValueError(
            f"Input {name} contains values whose {what} is too large for dtype('float64'). "
            "Rescale it."
        )


class SGDLinearRegressor(RegressorMixin, BaseEstimator):
    r"""Linear regression by stochastic gradient descent, on raw data.

    Minimises the objective of scikit-learn's `SGDRegressor`, for a linear model w, b,

    .. math:: \frac{1}{\sum_i h_i} \sum_i h_i \ell(y_i - x_i \cdot w - b)
              + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right),

    with sample weights h and :math:`\rho` = `l1_ratio`. Each step moves the model along one row
    ``x`` in coordinates that are centred and scaled (the data are not), and the step is
    implicit,

    .. math:: w_j \mathrel{+}= \eta h m r_j (x_j - \mu_j), \qquad
              m = \mathrm{clip}\left( \frac{s}{\kappa + \eta h \sum_j r_j (x_j - \mu_j)^2},
              lo, hi \right),

    with the residual s outside the dead zone of the loss, its compliance :math:`\kappa` and
    the bounds of its multiplier, the mean :math:`\mu_j` and about the inverse variance
    :math:`r_j` of column j: it solves its row's problem exactly and never overshoots, so no
    `learning_rate` diverges [1]_. Each epoch of `fit` ends with the best model in the span of
    averages of stretches of the path [2]_ [3]_, or with a Newton step where the objective has
    kinks.

    Parameters
    ----------
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", \
            "quantile"}, default="squared_error"
        Loss of the residual e: ``e**2 / 2``; the same up to ``|e| = epsilon`` and linear
        beyond; ``max(|e| - epsilon, 0)``; its square; ``quantile * e`` for positive and
        ``(quantile - 1) * e`` for negative residuals.

    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        ``alpha / 2 * ||w||^2``, ``alpha * ||w||_1``, or the sum of both, as above. The
        intercept is never penalised. With "l1" and "elasticnet" coefficients that should be
        zero are exactly 0.0. With n rows of weight 1, `Ridge` calls this alpha ``n * alpha``;
        `Lasso` and `ElasticNet` call it alpha.

    alpha : float, default=0.0001
        Strength of the penalty, at least 0; per row, whatever their number.

    l1_ratio : float, default=0.15
        Share of the absolute value in "elasticnet", from 0 to 1.

    epsilon : float, default=0.1
        Threshold of "huber" and of the two insensitive losses, in units of y, at least 0.

    quantile : float, default=0.5
        Level of "quantile", between 0 and 1.

    positive : bool, default=False
        Whether coefficients must not be negative.

    fit_intercept : bool, default=True
        Whether to learn an intercept.

    learning_rate : float, default=1.0
        Step length, positive. Without unit if `precondition` is true: 1 is the natural scale
        on any data. Otherwise the textbook step, in units of 1 / x**2.

    schedule : {"adaptive", "constant", "invscaling"}, default="adaptive"
        How the step length changes. "adaptive": divided by 10 after an epoch that did not
        lower the loss by the factor ``1 - tol``; "constant": never; "invscaling":
        ``learning_rate / t**power_t`` at row t. In `partial_fit` "adaptive" is constant.

    power_t : float, default=0.25
        Exponent of the "invscaling" schedule, at least 0.

    update : {"implicit", "explicit"}, default="implicit"
        Whether the gradient of a step is taken at its end (never overshoots) or at its
        start, as in a textbook (diverges where the rate is too high).

    precondition : bool, default=True
        Whether steps are taken in centred and scaled coordinates, starting from the mean of
        y; or in the units of the data, starting from zero.

    average : bool, default=True
        Whether to return the best of averages of the path (`fit`) or an average of the path
        that forgets its start (`partial_fit`); or the last iterate.

    max_iter : int, default=1000
        Epochs of `fit` at the most.

    tol : float or None, default=1e-2
        `fit` stops where the predictions are within about `tol` residual standard deviations
        (root mean square) of those of the optimum, so that the objective is within a factor
        of about ``1 + tol**2`` of the least. Where that distance is not known (more than 1024
        columns), it stops where `n_iter_no_change` epochs in a row did not lower the objective
        by the factor ``1 - tol**2``; with ``average=False``, by the factor ``1 - tol``; as a
        last resort where it is known, by the factor ``1 - tol**2 / 10``. None: `max_iter`
        epochs.

    n_iter_no_change : int, default=5
        See `tol`.

    warm_start : bool, default=False
        Whether `fit` begins with `coef_` and `intercept_` of the last fit. That is all it
        keeps: the metric, the schedule, `t_` and `loss_curve_` start afresh.

    shuffle : bool, default=True
        Whether each epoch, and each `partial_fit`, visits the rows in a new random order.

    random_state : int, RandomState instance or None, default=None
        Of the order of rows, and of the random sums that estimate the distance to the
        optimum. Pass an int for the same model at each call.

    verbose : int, default=0
        1 prints a line an epoch: its number and the loss.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, in units of y by units of the column.

    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in units of y; 0.0 if `fit_intercept` is false.

    n_iter_ : int
        Epochs run by `fit`.

    t_ : int
        Rows seen by the optimizer, in all epochs and calls.

    loss_curve_ : list of float
        Objective, with penalty and weights, of the model after each epoch of `fit`; the mean
        over targets.

    stop_reason_ : {"converged", "max_iter"}
        Why `fit` stopped.

    n_features_in_ : int
        Number of columns seen in `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.

    See Also
    --------
    sklearn.linear_model.SGDRegressor : Explicit steps; needs scaled columns and a tuned rate.
    sklearn.linear_model.LinearRegression : The same model by a singular value decomposition.

    Notes
    -----
    `fit` starts afresh; `partial_fit` goes on from the last `fit` or `partial_fit`. X is read
    as it is if it is a C-ordered array or a CSR matrix of float64 or float32; others are
    copied once. Sparse rows are centred without being made dense, at the cost of their stored
    entries.

    References
    ----------
    .. [1] P. Toulis and E. M. Airoldi, "Asymptotic and finite-sample properties of estimators
       based on stochastic gradients", Annals of Statistics 45(4), 2017.
    .. [2] G. Narkiss and M. Zibulevsky, "Sequential subspace optimization method for
       large-scale unconstrained problems", Technion, 2005.
    .. [3] D. Scieur, F. Bach and A. d'Aspremont, "Nonlinear acceleration of stochastic
       algorithms", NeurIPS 2017.

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
    """

    _parameter_constraints = {
        "loss": [StrOptions(set(LOSSES))],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "positive": ["boolean"],
        "fit_intercept": ["boolean"],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
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
        learning_rate=1.0,
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
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model to all rows, afresh.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; each of several gets the model it would get alone.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative; a row of weight k counts as k rows.

        Returns
        -------
        self : SGDLinearRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used, and where explicit steps diverge. The estimator
            then is as it was before the call.
        """
        with self._unchanged_on_error():
            X, y, sample_weight = self._validate(X, y, sample_weight, reset=True)
            loss_curve = []
            try:
                start, seed = self._warm_start(X, y), self._draw_seed()
                for epoch in epochs(self._settings(), X, y, sample_weight, seed, start):
                    loss_curve.append(epoch.loss)
                    if self.verbose:
                        print(f"epoch {epoch.number:4d}  loss {epoch.loss:.6g}")
            except DivergedError as error:
                raise self._diverged(error) from None
            self._publish(epoch.state)
            self.n_iter_ = epoch.number
            self.loss_curve_ = loss_curve
            self.stop_reason_ = epoch.stop_reason
            if epoch.stop_reason == "max_iter" and self.tol is not None:
                self._warn_not_converged(epoch)
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
            Weights, not negative; a row of weight k counts as k rows.

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
            state = getattr(self, "_state", None)
            X, y, sample_weight = self._validate(X, y, sample_weight, reset=state is None)
            seed = self._draw_seed() if state is None else state.seed
            try:
                state = stream(self._settings(), X, y, sample_weight, state, seed)
            except DivergedError as error:
                raise self._diverged(error) from None
            self._publish(state)
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
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    @contextmanager
    def _unchanged_on_error(self):
        """Put back every attribute if the call fails."""
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _validate(self, X, y, sample_weight, reset):
        """Arrays as the training needs them, or scikit-learn's errors."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
            multi_output=True,
            y_numeric=True,
            reset=reset,
        )
        if issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        y = np.ascontiguousarray(y, dtype=np.float64)
        with np.errstate(over="ignore"):
            _check_finite_total(np.vdot(y, y), "y", "sum of squares")
        if sample_weight is not None:
            sample_weight = np.ascontiguousarray(
                _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            )
            with np.errstate(over="ignore"):
                _check_finite_total(sample_weight.sum(), "sample_weight", "sum")
            if self.precondition:  # only relative weights matter, and no product underflows
                sample_weight = sample_weight / sample_weight.max()
        return X, y, sample_weight

    def _warm_start(self, X, y):
        """The last model, to begin with, if it is wanted and has the shape of the data."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        shape = (*y.shape[1:], X.shape[1])
        if self.coef_.shape != shape:
            raise ValueError(
                f"warm_start=True, but coef_ of the last fit has the shape {self.coef_.shape}, "
                f"and the data ask for {shape}. Set warm_start=False."
            )
        return self.coef_, self.intercept_

    def _settings(self):
        l1_share = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        alpha = 0.0 if self.penalty is None else float(self.alpha)
        return Settings(
            loss=make_loss(self.loss, self.epsilon, self.quantile),
            l1=alpha * l1_share,
            l2=alpha * (1 - l1_share),
            positive=bool(self.positive),
            fit_intercept=bool(self.fit_intercept),
            learning_rate=float(self.learning_rate),
            schedule=self.schedule,
            power_t=float(self.power_t),
            implicit=self.update == "implicit",
            precondition=bool(self.precondition),
            average=bool(self.average),
            max_iter=int(self.max_iter),
            tol=self.tol,
            n_iter_no_change=int(self.n_iter_no_change),
            shuffle=bool(self.shuffle),
        )

    def _draw_seed(self):
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _publish(self, state):
        """The one place where the fitted model is written."""
        numbers = (state.coef, state.intercept, state.mean_coef, state.mean_intercept)
        if not all(np.isfinite(number).all() for number in numbers):
            raise ValueError(
                "The coefficients are too large for dtype('float64'). Rescale X, y or "
                "sample_weight."
            )
        self._state = state
        if self.average:
            self.coef_, self.intercept_ = state.mean_coef.copy(), state.mean_intercept
        else:
            self.coef_, self.intercept_ = state.coef.copy(), state.intercept
        self.t_ = state.rows_seen

    def _diverged(self, error):
        return ValueError(
            f"The loss grew beyond all bounds in {error} with learning_rate="
            f"{self.learning_rate!r} and update={self.update!r}. Use update='implicit', which "
            "no learning_rate makes diverge, or a lower learning_rate."
        )

    def _warn_not_converged(self, epoch):
        known = ""
        if epoch.distance is not None:
            known = (
                f": predictions are about {epoch.distance:.1g} residual standard deviations "
                f"from the optimum, tol={self.tol:g}"
            )
        warnings.warn(
            f"{type(self).__name__} stopped at max_iter={self.max_iter} before it "
            f"converged{known}. Increase max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=4,  # behind fit and scikit-learn's wrapper of it
        )
