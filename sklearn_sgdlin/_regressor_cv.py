"""The estimator that chooses its penalty by cross-validation."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, _safe_indexing, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions

# `_raise_for_params` and `_routing_enabled` are private, as those who route metadata are expected
# to be within scikit-learn. Should they go, `get_config` and a comparison of names replace them.
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)

from ._alpha_path import AlphaPaths, Data
from ._regressor import MatrixLike, SGDLinearRegressor, _fit_method
from ._validation import validated
from .linalg.blas import blas_threads

# Parameters of SGDLinearRegressor that are chosen here, or have no meaning beside folds.
NOT_SHARED = {
    "half_life",
    "penalty",
    "alpha",
    "l1_ratio",
    "warm_start",
    "early_stopping",
    "validation_fraction",
    "scoring",
}
SHARED = sorted(SGDLinearRegressor._parameter_constraints.keys() - NOT_SHARED)


class SGDLinearRegressorCV(RegressorMixin, BaseEstimator):
    r"""Linear regression whose penalty is chosen by cross-validation.

    For each `l1_ratio` :math:`\rho` and alpha :math:`\alpha` of a grid it minimises the objective
    of :class:`SGDLinearRegressor`,

    .. math:: \frac{1}{\sum_i h_i} \sum_i h_i \ell(y_i - x_i \cdot w - b)
              + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right),

    on the training rows of each split, and scores the model on the test rows. The pair with the
    best mean score is used to fit all rows. The choice is that of scikit-learn's `GridSearchCV`
    with the same grid, splits and scoring.

    With squared error and up to 256 columns, or dense X with up to 4096 columns and at least as
    many training rows, one pass over X is enough for all models, as they depend on the rows only
    through products of columns, which are summed up over folds [1]_. Otherwise each model starts
    from the previous one. Splits run in as many threads as BLAS may use.

    Parameters
    ----------
    alphas : int or array-like of shape (n_alphas,), default=100
        Strengths of the penalty, or the number of values in a grid that is computed from the data,
        evenly spaced on a logarithmic scale. Its largest value is the smallest alpha at which all
        coefficients are zero, as in `ElasticNetCV`. With ``l1_ratio=0`` no alpha makes them zero;
        the largest value is then 10 times the sum of the variances of the columns, which shrinks
        the coefficient of each principal component to less than a tenth. For losses other than
        squared error, this is multiplied by the root mean square of the derivatives of the loss
        divided by that of the residuals, both for the best constant model.

    l1_ratio : float or array-like of shape (n_l1_ratios,), default=0.5
        Share of the absolute value in the penalty, from 0 ("l2") to 1 ("l1"), or several values to
        choose from.

    eps : float, default=1e-3
        Ratio of the smallest to the largest alpha, if `alphas` is a number of them. With
        ``l1_ratio=0`` the ratio is ``eps**2``, as alpha then has the unit of a squared column.

    cv : int, cross-validation generator or iterable, default=None
        Splits into training and test rows, as in scikit-learn; None is 5-fold cross-validation.

    scoring : str, callable or None, default=None
        Score of a model on test rows, greater is better: a name that scikit-learn's `get_scorer`
        knows, or a callable ``scorer(estimator, X, y)``. None is minus the mean squared error, or
        minus the mean loss for another `loss`. Other scores take longer where products of columns
        are enough for None, because they need predictions.

    one_standard_error : bool, default=False
        Whether to choose, with the best `l1_ratio`, the largest alpha whose mean score is within
        one standard error of the best one [2]_. The standard error is that of the mean over
        splits, at the best alpha.

    loss : str, default="squared_error"
        As in :class:`SGDLinearRegressor`, like all following parameters.

    epsilon : float, default=0.1
        Threshold of "huber" and of the insensitive losses.

    quantile : float, default=0.5
        Level of "quantile".

    positive : bool, default=False
        Whether coefficients must not be negative.

    fit_intercept : bool, default=True
        Whether to learn an intercept.

    solver : str, default="auto"
        Algorithm that finds an optimum. With a name other than "auto" each model is a fit.

    learning_rate : "auto" or float, default="auto"
        Step length of SGD. A number selects SGD, and so does any other parameter of SGD.

    schedule : {"adaptive", "constant", "invscaling"}, default="adaptive"
        How the step length changes.

    power_t : float, default=0.25
        Exponent of "invscaling".

    update : {"implicit", "explicit"}, default="implicit"
        Where the gradient of a step of SGD is evaluated.

    precondition : bool, default=True
        Whether steps of SGD are taken in scaled coordinates.

    average : bool, default=True
        Whether to return the best model found, not the last iterate.

    max_iter : int, default=1000
        Largest number of epochs of a fit.

    tol : float or None, default=1e-2
        Distance from the optimum at which a fit has converged. Models of squared error that are
        computed from products of columns or of rows are exact to rounding.

    n_iter_no_change : int, default=5
        Number of epochs without progress after which a fit stops.

    shuffle : bool, default=True
        Whether SGD visits rows in random order.

    random_state : int, RandomState instance or None, default=None
        Random state of the fits; `cv` has its own.

    verbose : int, default=0
        1 prints the last epoch of each fit, and all epochs of the fit to all rows.

    Attributes
    ----------
    alpha_ : float
        The chosen alpha.

    l1_ratio_ : float
        The chosen `l1_ratio`.

    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratios, n_alphas)
        Alphas in decreasing order; for each `l1_ratio` if there are several and `alphas` is a
        number.

    score_path_ : ndarray of shape (n_alphas, n_splits) or (n_l1_ratios, n_alphas, n_splits)
        Score of each model on the test rows of each split; greater is better.

    mse_path_ : ndarray of the shape of `score_path_`
        Mean squared errors; only with squared error and ``scoring=None``.

    best_score_ : float
        Mean over splits of the score of the chosen alpha.

    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients of the model fitted to all rows, in units of y per unit of the column.

    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in units of y; 0.0 if `fit_intercept` is false.

    n_iter_ : int
        Epochs of the fit to all rows; 1 if products of columns were enough.

    n_features_in_ : int
        Number of columns seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    See Also
    --------
    SGDLinearRegressor : The model with a given penalty, also for streams.
    sklearn.linear_model.ElasticNetCV : The same for squared error, by coordinate descent.
    sklearn.linear_model.RidgeCV : The same for squared error and "l2".
    sklearn.model_selection.GridSearchCV : Search over any grid, with a fit for each point.

    Notes
    -----
    Several targets share one alpha, and the score is the mean over targets. Sample weights are used
    in the fits and in the scores; a scorer then must accept ``sample_weight``. The mean over splits
    is not weighted. ``groups`` can be passed to `fit` for splitters that use them, or with metadata
    routing enabled, for those that request them. X is converted to a C-ordered array or CSR matrix
    of float64 or float32.

    References
    ----------
    .. [1] J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear
       models via coordinate descent", Journal of Statistical Software 33(1), 2010.
    .. [2] T. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*,
       section 7.10, Springer, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sgdlin import SGDLinearRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 20))
    >>> y = X[:, 0] - 2 * X[:, 1] + rng.normal(size=1000)
    >>> model = SGDLinearRegressorCV(l1_ratio=1, one_standard_error=True).fit(X, y)
    >>> print(f"{model.alpha_:.3f}", np.flatnonzero(model.coef_))
    0.116 [0 1]
    """

    _doc_link_module = SGDLinearRegressor._doc_link_module
    _doc_link_template = SGDLinearRegressor._doc_link_template
    _tuning = SGDLinearRegressor._tuning

    _parameter_constraints = {
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "one_standard_error": ["boolean"],
        **{name: SGDLinearRegressor._parameter_constraints[name] for name in SHARED},
    }

    def __init__(
        self,
        *,
        alphas: int | ArrayLike = 100,
        l1_ratio: float | ArrayLike = 0.5,
        eps: float = 1e-3,
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        one_standard_error: bool = False,
        loss: str = "squared_error",
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
        max_iter: int = 1000,
        tol: float | None = 1e-2,
        n_iter_no_change: int = 5,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.alphas = alphas
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.one_standard_error = one_standard_error
        self.loss = loss
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
        self.shuffle = shuffle
        self.random_state = random_state
        self.verbose = verbose

    @_fit_method
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Choose the penalty, and fit the model to all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not negative.
        **params : dict
            ``groups`` for the splitter. With scikit-learn's metadata routing enabled, what the
            splitter and the scorer request.

        Returns
        -------
        self : SGDLinearRegressorCV
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used. The estimator then is as it was before the call.
        """
        _raise_for_params(params, self, "fit", allow=["groups"])
        with self._unchanged_on_error():
            l1_ratios, alphas = self._l1_ratios(), self._falling_alphas()
            X, y, weight = validated(self, X, y, sample_weight, reset=True)
            routed = self._routed(params, weight)
            splits = self._splits(X, y, weight, routed.splitter.split)
            score = self._score_on(X, y, routed.scorer.score)
            if weight is not None:
                weight = weight / weight.max()
            with blas_threads(*X.shape, self._tuning):
                paths = AlphaPaths(self._model(), Data(X, y, weight), splits, l1_ratios, score)
                alphas = paths.grid(self.alphas, self.eps) if alphas is None else alphas
                alphas = np.broadcast_to(alphas, (len(l1_ratios), alphas.shape[-1]))
                self._publish(alphas, paths.scores(alphas), l1_ratios)
                best = paths.best(self.alpha_, self.l1_ratio_)
            self.coef_, self.intercept_, self.n_iter_ = best.coef_, best.intercept_, best.n_iter_
        return self

    predict = SGDLinearRegressor.predict
    _unchanged_on_error = SGDLinearRegressor._unchanged_on_error

    def _linear(self, X):
        return X @ self.coef_.T + self.intercept_

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how metadata of `fit` reach the splitter and the scorer.

        Returns
        -------
        routing : MetadataRouter
            See scikit-learn's user guide of metadata routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(
            splitter=check_cv(self.cv),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        if self.scoring is not None:
            router.add(
                scorer=check_scoring(self, self.scoring),
                method_mapping=MethodMapping().add(caller="fit", callee="score"),
            )
        return router

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def _l1_ratios(self):
        """Return the valid values of `l1_ratio` as a list."""
        if isinstance(self.l1_ratio, Real):
            return [float(self.l1_ratio)]
        return _checked("l1_ratio", self.l1_ratio, 1.0)

    def _falling_alphas(self):
        """Return the valid values of `alphas` in falling order, or None where it is a number."""
        if isinstance(self.alphas, Integral):
            return None
        return np.sort(_checked("alphas", self.alphas, np.finfo(np.float64).max))[::-1]

    def _model(self):
        """Return the estimator that the fits are copies of."""
        model = SGDLinearRegressor(**{name: getattr(self, name) for name in SHARED})
        model.random_state = model._draw_seed()
        model._tuning = self._tuning
        return model

    def _routed(self, params, weight):
        """Return what goes to the splitter and to the scorer."""
        if _routing_enabled():
            routed = process_routing(self, "fit", sample_weight=weight, **params)
            return Bunch(splitter=routed.splitter, scorer=routed.get("scorer", Bunch(score={})))
        of_scorer = {} if weight is None else {"sample_weight": weight}
        return Bunch(splitter=Bunch(split=params), scorer=Bunch(score=of_scorer))

    def _splits(self, X, y, weight, params):
        """Return the training and test rows of each split, as arrays of numbers."""
        numbers, splits = np.arange(len(y)), []
        for train, test in check_cv(self.cv).split(X, y, **params):
            try:
                rows = numbers[train], numbers[test]
            except IndexError as error:
                raise ValueError(
                    f"Split {len(splits)} of cv has no such rows of X: {error}."
                ) from None
            for name, part in zip(("training", "test"), rows, strict=True):
                if not len(part) or (weight is not None and not weight[part].any()):
                    raise ValueError(
                        f"Split {len(splits)} of cv has no {name} rows of positive weight. Use "
                        "other splits."
                    )
            splits.append(rows)
        if not splits:
            raise ValueError(f"cv={self.cv!r} has no splits. Pass at least one.")
        return splits

    def _score_on(self, X, y, params):
        """Return the score of a model on rows given by their numbers; None for the default."""
        if self.scoring is None:
            return None
        scorer = check_scoring(self, self.scoring)

        def score(model, rows):
            of_rows = {name: _safe_indexing(value, rows) for name, value in params.items()}
            return scorer(model, X[rows], y[rows], **of_rows)

        return score

    def _publish(self, alphas, scores, l1_ratios):
        """Choose the best pair, and write the attributes that tell how."""
        mean = scores.mean(axis=2)
        mean[np.isnan(mean)] = -np.inf
        ratio, best = chosen = np.unravel_index(mean.argmax(), mean.shape)
        if self.one_standard_error:
            n_splits = scores.shape[2]
            error = scores[chosen].std(ddof=1) / np.sqrt(n_splits) if n_splits > 1 else 0.0
            best = np.flatnonzero(mean[ratio] >= mean[chosen] - error)[0]
        self.alpha_, self.l1_ratio_ = float(alphas[ratio, best]), float(l1_ratios[ratio])
        self.best_score_ = float(mean[ratio, best])
        several = len(l1_ratios) > 1
        own = several and isinstance(self.alphas, Integral)
        self.alphas_ = (alphas if own else alphas[0]).copy()
        self.score_path_ = scores if several else scores[0]
        if self.scoring is None and self.loss == "squared_error":
            self.mse_path_ = -self.score_path_
        elif hasattr(self, "mse_path_"):
            del self.mse_path_


def _checked(name, values, largest):
    """Return several values of a parameter as a list, or raise the error that names the bad one."""
    values = list(values)
    if not values:
        raise ValueError(f"{name} is empty. Pass at least one value.")
    for i, value in enumerate(values):
        check_scalar(value, f"{name}[{i}]", Real, min_val=0, max_val=largest)
        if np.isnan(value):
            raise ValueError(f"{name}[{i}] is NaN. Pass a number from 0 to {largest:g}.")
    return [float(value) for value in values]
