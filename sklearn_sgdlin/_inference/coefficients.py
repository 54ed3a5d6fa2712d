"""Standard errors, p-values and confidence intervals of the coefficients of a fitted model."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._regressor import SGDLinearRegressor
from ..model.loss import SQUARED_ERROR, make_loss
from .checks import check_model, check_rows, chosen_coefficients, codes_of, residual_square
from .covariance import LeastSquaresProducts, covariance_from_products, covariance_from_rows
from .design import Design, refuse_constant
from .results import densified, names_of, results_of
from .rows import RowsInMemory
from .sandwich import MEstimator, Score
from .some_columns import covariance_of_some

COV_TYPES = ("nonrobust", "HC0", "HC1", "HC3", "cluster")


@validate_params(
    {
        "model": [SGDLinearRegressor],
        "cov_type": [StrOptions(set(COV_TYPES))],
        "weights": [StrOptions({"frequency", "analytic"})],
        "columns": ["array-like", None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def coef_inference(
    model,
    X=None,
    y=None,
    sample_weight=None,
    *,
    cov_type="nonrobust",
    groups=None,
    weights="frequency",
    columns=None,
    confidence_level=0.95,
):
    r"""Return standard errors, p-values and confidence intervals of the coefficients of a model.

    With the rows z of the design (a one for the intercept, then the columns), weights h, residuals
    e, minus the derivative :math:`\psi` of the loss and its second derivative :math:`\psi'`, the
    covariance of the coefficients is estimated by a sandwich,

    .. math:: A^{-1} B A^{-1}, \qquad A = \sum_i h_i \psi'(e_i) z_i z_i^\top, \qquad
              B = \sum_i h_i \psi(e_i)^2 z_i z_i^\top.

    For squared error :math:`\psi(e) = e` and :math:`\psi' = 1` [1]_ [2]_. If the errors have the
    same distribution at all rows, the covariance is a multiple of the inverse of
    :math:`\sum_i h_i z_i z_i^\top`. With squared error this does not need the rows.

    Parameters
    ----------
    model : SGDLinearRegressor
        Fitted to its optimum by `fit` or `partial_fit`, without a penalty.

    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        All rows that the model was fitted to, in any layout that `fit` reads without a copy; a
        memory map is read in chunks. For `DaskSGDLinearRegressor`, X, y and `sample_weight` may
        also be dask collections, except with ``cov_type="cluster"``. None: use the products of
        columns that the model keeps, with squared error and ``cov_type="nonrobust"``.

    y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
        Targets of these rows.

    sample_weight : array-like of shape (n_samples,), default=None
        Weights of these rows, as in `fit`.

    cov_type : {"nonrobust", "HC0", "HC1", "HC3", "cluster"}, default="nonrobust"
        Assumption about the errors.

        - "nonrobust": independent, with the same distribution at all rows.
        - "HC0": independent, with any variances: the sandwich above.
        - "HC1": the same times n / (n - k), with n observations and k coefficients.
        - "HC3": each :math:`\psi` is divided by 1 minus the leverage
          :math:`\psi'(e) z^\top A^{-1} z` of its row, which approximates the jackknife [3]_. The
          most reliable one with few rows. Takes two passes over the rows if the model keeps no
          products of columns, otherwise one. Not available with ``loss="quantile"``.
        - "cluster": independent between `groups`, with any dependence within a group: in B, the
          sums of :math:`h \psi z` over each group replace its rows, and B is multiplied by
          G / (G - 1) (n - 1) / (n - k) with G groups.

    groups : array-like of shape (n_samples,), default=None
        Label of the group of each row, for ``cov_type="cluster"``.

    weights : {"frequency", "analytic"}, default="frequency"
        Meaning of the sample weights. The coefficients are the same for both. "frequency": a row
        of weight k counts as k rows, as everywhere in this package, so n is the sum of the weights.
        "analytic": weights are proportional to the inverse variances of the errors, as in `WLS` of
        statsmodels; n is the number of rows with positive weight, h is squared in B, and the unit
        of the weights does not matter.

    columns : array-like of int or str, default=None
        Numbers or names of some columns. The results then are of these and of the intercept only,
        computed from the rows by conjugate gradients, without a matrix of all columns. With more
        than 4096 columns this is required. Not available with ``cov_type="HC3"``. None: all.

    confidence_level : float, default=0.95
        Probability with which an interval contains its coefficient, between 0 and 1.

    Returns
    -------
    result : Bunch
        With the following attributes. k is the number of coefficients: one for each column, and one
        for the intercept, which comes first, if there is one. Several targets add a first axis.

        coef : ndarray of shape (k,)
            Coefficients, in units of y per unit of the column.
        std_error : ndarray of shape (k,)
            Standard errors of the coefficients.
        statistic : ndarray of shape (k,)
            ``coef / std_error``.
        p_value : ndarray of shape (k,)
            Two-sided p-values for the hypothesis that the coefficient is 0, by Student's t with
            ``df_resid`` degrees of freedom.
        conf_int : ndarray of shape (k, 2)
            Ends of the confidence intervals.
        covariance : ndarray of shape (k, k)
            Covariance of the coefficients.
        feature_names : ndarray of shape (k,)
            "intercept", then the names of the columns, or "x0", "x1" and so on.
        df_resid : float
            Degrees of freedom of Student's t: n - k, or G - 1 with ``cov_type="cluster"``.
        residual_variance : float or None
            Weighted sum of squared residuals divided by n - k, for squared error and "nonrobust".
        centre : ndarray of shape (n_features,)
            Means of the columns; zeros without an intercept; None with `columns`.
        centred_covariance : ndarray of shape (k, k)
            Covariance of the prediction at ``centre``, instead of the intercept, and of the other
            coefficients. Used by `predict_interval`, because it loses no digits if columns are far
            from zero. None with `columns`.
        frame : DataFrame or None
            Coefficients, standard errors, statistics, p-values and intervals as a table; None
            if pandas has not been imported.

    Raises
    ------
    ValueError
        If the model has a penalty or ``loss="epsilon_insensitive"``; if it is farther than a tenth
        of a standard error from the optimum on the rows; if columns are linear combinations of
        others; if the rows are needed and not passed; or if there are more than 4096 columns, and
        `columns` names none of them.

    See Also
    --------
    predict_interval : Intervals of predictions.
    CoefDisplay : Plot of the intervals.

    Notes
    -----
    Results equal those of statsmodels with ``use_t=True``: `OLS`, `WLS` for analytic weights,
    with each `cov_type`. For "huber" the threshold `epsilon` is a number in units of y, not a
    multiple of an estimated scale. "nonrobust" then equals `RLM` with ``HuberT(epsilon / scale)``
    and a fixed scale, covariance "H1" [1]_. For "quantile" :math:`\psi'` is the Epanechnikov
    kernel over a bandwidth, which is that of Hall and Sheather [4]_, scaled by the spread of the
    residuals as in `QuantReg` of statsmodels. "nonrobust" equals its ``vcov="iid"``, and "HC0" is
    the sandwich of Powell [5]_, whereas its ``vcov="robust"`` assumes the same density at all rows.
    With losses other than squared error, "nonrobust" accepts frequency weights only.

    A model fitted by SGD, or with a `tol` that is not small compared with the standard errors, may
    not be near enough to the optimum; then an error is raised. Of the path of SGD in `partial_fit`
    only an average is kept, so standard errors cannot be computed from its fluctuations.

    References
    ----------
    .. [1] P. J. Huber, *Robust Statistics*, Wiley, 1981, section 7.6.
    .. [2] H. White, "A heteroskedasticity-consistent covariance matrix estimator and a direct test
       for heteroskedasticity", Econometrica 48(4), 1980.
    .. [3] J. G. MacKinnon and H. White, "Some heteroskedasticity-consistent covariance matrix
       estimators with improved finite sample properties", Journal of Econometrics 29(3), 1985.
    .. [4] P. Hall and S. J. Sheather, "On the distribution of a studentized quantile", Journal of
       the Royal Statistical Society B 50(3), 1988.
    .. [5] J. L. Powell, "Estimation of monotonic regression models under quantile restrictions",
       in *Nonparametric and Semiparametric Methods in Econometrics*, Cambridge, 1991.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sgdlin import SGDLinearRegressor
    >>> from sklearn_sgdlin.inference import coef_inference
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2))
    >>> y = 1 + 2 * X[:, 0] + rng.normal(size=1000)
    >>> model = SGDLinearRegressor().fit(X, y)
    >>> coef_inference(model).std_error.round(2)
    array([0.03, 0.03, 0.03])
    >>> robust = coef_inference(model, X, y, cov_type="HC3")
    >>> for name, (lower, upper) in zip(robust.feature_names, robust.conf_int):
    ...     print(f"{name:9} {lower:5.2f} {upper:5.2f}")
    intercept  0.89  1.01
    x0         1.91  2.02
    x1        -0.08  0.05
    """
    check_model(model, cov_type, weights)
    model = densified(model)
    check_rows(X, y, sample_weight, cov_type, groups)
    names = names_of(model)
    chosen = chosen_coefficients(model, names, columns, X, cov_type)
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    rows = None if X is None else _rows(model, X, y, sample_weight)
    groups = None if groups is None else codes_of(groups, rows)
    found = []
    for target, state in enumerate(states_of(model)):
        centre = state.moments.mean[:-1]
        fit_intercept = bool(model.fit_intercept)
        design = Design(centre if fit_intercept else np.zeros(len(centre)), fit_intercept)
        intercept = float(np.atleast_1d(model.intercept_)[target])
        theta = design.theta(np.atleast_2d(model.coef_)[target], intercept)
        products = LeastSquaresProducts.of(state, design) if loss == SQUARED_ERROR else None
        if rows is None:
            n = state.moments.rows if weights == "analytic" else state.moments.weight
            refuse_constant(state.moments.variance(model.fit_intercept)[:-1], names)
            square = residual_square(model, state, products)
            covariance = covariance_from_products(products, square, theta, n, names)
        else:
            of_y = state.moments.of_columns(slice(-1, None))
            estimator = MEstimator(
                rows, design, target, Score(loss), theta, of_y, weights == "analytic", names
            )
            if chosen is None:
                same = state.moments.rows == rows.n_rows
                same = same and np.isclose(state.moments.weight, rows.weight, rtol=1e-12)
                of_rows = products if same else None
                covariance = covariance_from_rows(estimator, cov_type, groups, of_rows)
            else:
                covariance = covariance_of_some(estimator, cov_type, groups, chosen)
        found.append((design, covariance))
    return results_of(model, names, found, confidence_level, chosen)


def _rows(model, X, y, sample_weight):
    """Return the rows that passes go over, in memory or on a cluster."""
    if hasattr(model, "_client"):  # of DaskSGDLinearRegressor, which needs dask
        from .rows_on_cluster import RowsOnCluster, is_collection

        if is_collection(X):
            return RowsOnCluster(model.to_local(), model._client(), X, y, sample_weight)
    return RowsInMemory(model, X, y, sample_weight)


def states_of(model):
    """Return the `State` of each target."""
    return getattr(model._state, "states", (model._state,))
