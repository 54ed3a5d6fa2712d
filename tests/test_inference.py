"""Standard errors and intervals: those of statsmodels, of repeated rows, and of other layouts."""

import sys
from fractions import Fraction
from operator import mul

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, issparse
from sklearn.exceptions import NotFittedError
from statsmodels.regression import quantile_regression

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.inference import CoefDisplay, coef_inference, predict_interval

from .nist import NIST

COV_TYPES = ["nonrobust", "HC0", "HC1", "HC3", "cluster"]


class Threaded(SGDLinearRegressor):
    """With ranges of rows in threads on small data."""

    _tuning = Tuning(min_range_entries=500)


@pytest.fixture
def data(rng):
    """Columns in several units, and errors that grow with the first of them."""
    X = rng.normal(size=(400, 4)) * [0.1, 1, 10, 100] + [1, 0, -5, 300]
    y = X @ [3, 0.5, 0, -0.01] + rng.normal(size=400) * (0.2 + np.abs(X[:, 0]))
    return X, y, rng.integers(0, 4, size=400).astype(float), rng.integers(0, 40, size=400)


def options(cov_type, groups):
    """Arguments of `coef_inference`, and of `fit` of statsmodels."""
    theirs = {"cov_type": cov_type, "use_t": True}
    if cov_type == "cluster":
        return {"cov_type": cov_type, "groups": groups}, {
            **theirs,
            "cov_kwds": {"groups": groups},
        }
    return {"cov_type": cov_type}, theirs


def assert_equal_to(result, theirs, rtol=1e-8):
    assert_allclose(result.coef, theirs.params, rtol=rtol)
    assert_allclose(result.std_error, theirs.bse, rtol=rtol)
    assert_allclose(result.statistic, theirs.tvalues, rtol=rtol)
    assert_allclose(result.p_value, theirs.pvalues, rtol=rtol, atol=1e-300)
    assert_allclose(result.conf_int, theirs.conf_int(), rtol=rtol, atol=rtol)
    scale = np.sqrt(np.outer(*2 * [np.diag(theirs.cov_params())]))
    assert_allclose(result.covariance / scale, theirs.cov_params() / scale, atol=rtol)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_ols_of_statsmodels(data, cov_type, fit_intercept):
    X, y, _, groups = data
    ours, theirs = options(cov_type, groups)
    oracle = sm.OLS(y, sm.add_constant(X) if fit_intercept else X).fit(**theirs)
    for estimator in (SGDLinearRegressor, Threaded):
        model = estimator(fit_intercept=fit_intercept).fit(X, y)
        result = coef_inference(model, X, y, **ours)
        assert_equal_to(result, oracle)
        df = 39 if cov_type == "cluster" else oracle.df_resid
        assert result.df_resid == df


@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_wls_of_statsmodels_and_frequencies(data, cov_type):
    """Analytic weights are those of WLS; as a frequency a weight of k is a row written k times."""
    X, y, weight, groups = data
    model = SGDLinearRegressor().fit(X, y, weight)
    design, kept = sm.add_constant(X), weight > 0
    ours, _ = options(cov_type, groups)
    _, theirs = options(cov_type, groups[kept])
    oracle = sm.WLS(y[kept], design[kept], weights=weight[kept]).fit(**theirs)
    assert_equal_to(coef_inference(model, X, y, weight, weights="analytic", **ours), oracle)
    repeated = np.repeat(np.arange(len(y)), weight.astype(int))
    _, theirs = options(cov_type, groups[repeated])
    oracle = sm.OLS(y[repeated], design[repeated]).fit(**theirs)
    assert_equal_to(coef_inference(model, X, y, weight, **ours), oracle)


def nonrobust(X, y, fit_intercept=True, weights=None):
    design = sm.add_constant(X) if fit_intercept else X
    return (sm.OLS(y, design) if weights is None else sm.WLS(y, design, weights=weights)).fit()


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_the_rows(data, fit_intercept, weighted):
    """From the products that fit and partial_fit keep, alone or one after the other."""
    X, y, weight, _ = data
    weight = weight + 1 if weighted else None
    oracle = nonrobust(X, y, fit_intercept, weight)
    parts = np.array_split(np.arange(len(y)), [37, 38, 200])

    def chunk(part):
        return X[part], y[part], None if weight is None else weight[part]

    for start in ("fit", "partial_fit"):
        model = SGDLinearRegressor(fit_intercept=fit_intercept)
        for part in [np.arange(len(y))] if start == "fit" else parts:
            getattr(model, start)(*chunk(part))
        assert_equal_to(coef_inference(model, weights="analytic"), oracle)
    model = SGDLinearRegressor(fit_intercept=fit_intercept).fit(*chunk(parts[2]))
    for part in (parts[0], parts[1], parts[3]):
        model.partial_fit(*chunk(part))
    assert_equal_to(coef_inference(model, weights="analytic"), oracle)


def test_every_target_as_if_alone(data):
    X, y, _, groups = data
    Y = np.column_stack([y, X[:, 1] ** 2])
    for fit in (SGDLinearRegressor.fit, SGDLinearRegressor.partial_fit):
        model = fit(SGDLinearRegressor(), X, Y)
        for cov_type in COV_TYPES:
            ours, theirs = options(cov_type, groups)
            result = coef_inference(model, X, Y, **ours)
            assert result.conf_int.shape == (2, 5, 2)
            for target in range(2):
                oracle = sm.OLS(Y[:, target], sm.add_constant(X)).fit(**theirs)
                assert_allclose(result.std_error[target], oracle.bse, rtol=1e-8)
        both = coef_inference(model)
        alone = coef_inference(fit(SGDLinearRegressor(), X, Y[:, 1]))
        assert_allclose(both.covariance[1], alone.covariance, rtol=1e-10)
        assert both.frame.loc[1, "coef"]["x0"] == both.coef[1, 1]


@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_layouts_of_rows(data, cov_type):
    X, y, weight, groups = data
    X = np.where(np.abs(X) < 1, 0.0, X)
    model = SGDLinearRegressor().fit(X, y, weight)
    arguments = {**options(cov_type, groups)[0], "sample_weight": weight}
    expected = coef_inference(model, X, y, **arguments).std_error
    names = ["a", "b", "c", "d"]
    for layout in (csr_array(X), np.asfortranarray(X), X.tolist()):
        assert_allclose(coef_inference(model, layout, y, **arguments).std_error, expected, 1e-10)
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        model = SGDLinearRegressor().fit(frame, y, weight)
        result = coef_inference(model, frame, y, **arguments)
        assert_allclose(result.std_error, expected, rtol=1e-10)
        assert list(result.feature_names) == ["intercept", *names]


@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_more_columns_than_products_are_kept_of(rng, cov_type):
    X, groups = rng.normal(size=(600, 80)), rng.integers(0, 100, size=600)
    y = X[:, 0] + rng.normal(size=600)
    ours, theirs = options(cov_type, groups)
    model = SGDLinearRegressor(solver="newton-cg", tol=1e-10)
    result = coef_inference(model.fit(X, y), X, y, **ours)
    assert_equal_to(result, sm.OLS(y, sm.add_constant(X)).fit(**theirs))


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0", "HC1", "cluster"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_some_columns_are_those_of_all(data, loss, cov_type):
    X, y, weight, groups = data
    y = np.column_stack([y, y[::-1]])
    ours, _ = options(cov_type, groups)
    for fit_intercept, chosen in ((True, [0, 4, 1]), (False, [3, 0])):
        model = SGDLinearRegressor(loss, fit_intercept=fit_intercept, tol=1e-7, max_iter=10_000)
        model.fit(X, y, weight)
        everything = coef_inference(model, X, y, weight, **ours)
        for layout in (np.array, np.asfortranarray, csr_array):
            some = coef_inference(model, layout(X), y, weight, columns=["x3", 0], **ours)
            for name in ("coef", "std_error", "p_value", "conf_int"):
                assert_allclose(some[name], everything[name][:, chosen], rtol=1e-8, atol=1e-300)
            expected = everything.covariance[:, chosen][:, :, chosen]
            scale = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))
            scale = scale[:, :, np.newaxis] * scale[:, np.newaxis]
            assert_allclose(some.covariance / scale, expected / scale, atol=1e-8)
        with pytest.raises(ValueError, match="some columns only"):
            predict_interval(model, X, some)


def test_some_columns_where_others_are_dependent(data):
    """Coefficients that are determined have standard errors; the others raise an error."""
    X, y, _, _ = data
    model = SGDLinearRegressor().fit(X, y)
    both = np.column_stack([X, X[:, 1]])
    twice = SGDLinearRegressor().fit(both, y)
    some = coef_inference(twice, both, y, columns=[0], weights="analytic")
    df = 395 / 394  # one coefficient more
    expected = coef_inference(model).std_error[:2] * np.sqrt(df)
    assert_allclose(some.std_error, expected, rtol=1e-8)
    wrong("Conjugate gradients do not solve", twice, both, y, columns=[1])
    both[:, 4] = 7.0
    wrong("Conjugate gradients do not solve", twice.fit(both, y), both, y, columns=[4])


@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_columns_far_from_zero_and_nearly_dependent(rng, cov_type):
    """In centred columns of one unit, which lose no digits; powers of two change no number."""
    X, groups = rng.normal(size=(300, 3)), rng.integers(0, 50, size=300)
    X[:, 2] = X[:, 1] + 2.0**-16 * X[:, 2]
    X, unit = np.round(X * 2**30) / 2**30, 2.0 ** np.array([-30, 40, 0])
    y = X @ [1, 2, 3] + rng.normal(size=300)
    ours, theirs = options(cov_type, groups)
    oracle = sm.OLS(y, sm.add_constant(X)).fit(**theirs)
    for moved in ((X + np.array([512, 4, 0])) * unit, np.asfortranarray(X * unit)):
        model = SGDLinearRegressor(tol=1e-8).fit(moved, y)
        result = coef_inference(model, moved, y, **ours)
        assert_allclose(result.std_error[1:] * unit, oracle.bse[1:], rtol=1e-6)
    model = SGDLinearRegressor().fit(X, y)
    if cov_type == "nonrobust":
        assert_allclose(coef_inference(model).std_error, oracle.bse, rtol=1e-6)


def exact_std_error(X, y, fit_intercept):
    """By rational numbers."""
    rows = [[Fraction(1)] * fit_intercept + [*map(Fraction, row)] for row in np.c_[X, y].tolist()]
    size = len(rows[0]) - 1
    products = [
        [sum(row[i] * row[j] for row in rows) for j in range(size + 1)] for i in range(size)
    ]
    system = [[*products[i], *(Fraction(i == j) for j in range(size))] for i in range(size)]
    for i in range(size):
        system[i] = [number / system[i][i] for number in system[i]]
        for j in set(range(size)) - {i}:
            factor = system[j][i]
            system[j] = [a - factor * b for a, b in zip(system[j], system[i], strict=True)]
    coef = [system[i][size] for i in range(size)]
    square = sum((row[-1] - sum(map(mul, coef, row))) ** 2 for row in rows)
    variance = [square * system[i][size + 1 + i] / (len(rows) - size) for i in range(size)]
    return np.sqrt(np.array(variance, dtype=float))


@pytest.mark.parametrize(
    "name", ["Norris", "Pontius", "NoInt1", "NoInt2", "Longley", "Wampler3", "Wampler5"]
)
def test_reference_data_of_nist(name):
    X, y, fit_intercept, _ = NIST[name]
    expected = exact_std_error(X, y, fit_intercept)
    model = SGDLinearRegressor(fit_intercept=fit_intercept).fit(X, y)
    stream = SGDLinearRegressor(fit_intercept=fit_intercept)
    for start in range(0, len(y), 5):
        stream.partial_fit(X[start : start + 5], y[start : start + 5])
    if len(y) >= 2 * (X.shape[1] + 1):  # fewer have a ridge
        assert_allclose(coef_inference(stream).std_error, expected, rtol=1e-8)
    for result in (coef_inference(model), coef_inference(model, X, y)):
        assert_allclose(result.std_error, expected, rtol=1e-8)


@pytest.mark.parametrize("noise", [1e-4, 1e-7])
def test_residuals_that_are_small_beside_y(rng, noise):
    """Their squares are no difference of large sums, of a fit and of a stream."""
    X = rng.normal(size=(500, 3))
    errors = rng.normal(size=500)
    y = X.sum(axis=1) + noise * errors
    expected = nonrobust(X, y - X.sum(axis=1)).bse
    fitted, stream = SGDLinearRegressor().fit(X, y), SGDLinearRegressor()
    for part in np.array_split(np.arange(500), 2):
        stream.partial_fit(X[part], y[part])
    for result in (coef_inference(fitted), coef_inference(stream), coef_inference(fitted, X, y)):
        assert_allclose(result.std_error, expected, rtol=1e-8)
    several = SGDLinearRegressor().fit(X, np.column_stack([y, y]))
    if noise < 1e-5:
        with pytest.raises(ValueError, match="too few digits"):
            coef_inference(several)
        result = coef_inference(several, X, np.column_stack([y, y]))
        assert_allclose(result.std_error[0], expected, rtol=1e-8)


# ---------------------------------------------------------------- other losses


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 3.0])
def test_huber_is_rlm_of_a_fixed_scale(data, epsilon):
    X, y, _, _ = data
    model = SGDLinearRegressor("huber", epsilon=epsilon, tol=1e-10).fit(X, y)
    norm = sm.robust.norms.HuberT(t=epsilon)
    oracle = sm.RLM(y, sm.add_constant(X), M=norm).fit(
        start_scale=1.0, update_scale=False, tol=1e-15, maxiter=1000
    )
    result = coef_inference(model, X, y)
    assert_allclose(result.std_error, oracle.bse, rtol=1e-8)
    assert_allclose(result.coef, oracle.params, rtol=1e-6)


def sandwich(design, psi, curvature, weight):
    bread = np.linalg.inv(design.T @ (design * (weight * curvature)[:, np.newaxis]))
    return bread @ (design.T @ (design * (weight * psi**2)[:, np.newaxis])) @ bread


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "squared_epsilon_insensitive", "quantile"]
)
def test_sandwich_of_every_loss(data, loss):
    """Against the formula; HC3 against its definition; a weight is a row written again."""
    X, y, weight, _ = data
    design = sm.add_constant(X)
    repeated = np.repeat(np.arange(len(y)), weight.astype(int))
    n, k = len(repeated), design.shape[1]
    model = SGDLinearRegressor(loss, epsilon=0.5, quantile=0.3, tol=1e-8).fit(X, y, weight)
    residual = y - model.predict(X)
    psi, curvature = {
        "squared_error": (residual, np.ones(len(y))),
        "huber": (np.clip(residual, -0.5, 0.5), np.abs(residual) <= 0.5),
        "squared_epsilon_insensitive": (
            2 * (residual - np.clip(residual, -0.5, 0.5)),
            2.0 * (np.abs(residual) > 0.5),
        ),
        "quantile": (np.full(len(y), np.sqrt(0.3 * 0.7)), None),
    }[loss]
    if loss == "quantile":
        lower, upper = np.percentile(residual[repeated], [25, 75])
        width = quantile_regression.hall_sheather(n, 0.3)
        normal = quantile_regression.norm
        bandwidth = min(np.std(y[repeated]), (upper - lower) / 1.34)
        bandwidth *= normal.ppf(0.3 + width) - normal.ppf(0.3 - width)
        curvature = quantile_regression.kernels["epa"](residual / bandwidth) / bandwidth
        density = (weight @ curvature) / n
        iid = 0.3 * 0.7 / density**2 * np.linalg.inv(design[repeated].T @ design[repeated])
        result = coef_inference(model, X, y, weight)
        assert_allclose(result.std_error, np.sqrt(np.diag(iid)), rtol=1e-8)
    expected = np.sqrt(np.diag(sandwich(design, psi, curvature, weight)))
    result = coef_inference(model, X, y, weight, cov_type="HC0")
    assert_allclose(result.std_error, expected, rtol=1e-8)
    result = coef_inference(model, X, y, weight, cov_type="HC1")
    assert_allclose(result.std_error, expected * np.sqrt(n / (n - k)), rtol=1e-8)
    if loss != "quantile":
        bread = np.linalg.inv(design.T @ (design * (weight * curvature)[:, np.newaxis]))
        leverage = curvature * ((design @ bread) * design).sum(axis=1)
        covariance = sandwich(design, psi / (1 - leverage), curvature, weight)
        expected = np.sqrt(np.diag(covariance))
        result = coef_inference(model, X, y, weight, cov_type="HC3")
        assert_allclose(result.std_error, expected, rtol=1e-8)


@pytest.mark.parametrize("level", [0.25, 0.5, 0.8])
def test_quantreg_of_statsmodels(data, level):
    """Its coefficients come from iterations that end some 1e-6 from the optimum."""
    X, y, _, _ = data
    model = SGDLinearRegressor("quantile", quantile=level, tol=1e-8).fit(X, y)
    oracle = sm.QuantReg(y, sm.add_constant(X)).fit(q=level, vcov="iid", p_tol=1e-12, max_iter=5000)
    result = coef_inference(model, X, y)
    assert_allclose(result.std_error, oracle.bse, rtol=1e-5)
    assert_allclose(result.coef, oracle.params, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- predictions and pictures


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_intervals_of_predictions(data, fit_intercept):
    X, y, _, _ = data

    def design(X):
        return sm.add_constant(X, has_constant="add") if fit_intercept else X

    model = SGDLinearRegressor(fit_intercept=fit_intercept).fit(X, y)
    new = X[:7] * 1.5
    for cov_type in ("nonrobust", "HC1"):
        fit = sm.OLS(y, design(X)).fit(cov_type=cov_type, use_t=True)
        oracle = fit.get_prediction(design(new)).summary_frame(alpha=0.1)
        given = coef_inference(model, X, y, cov_type=cov_type)
        for rows in (new, csr_array(new), np.asfortranarray(new)):
            result = predict_interval(model, rows, given, confidence_level=0.9)
            assert_allclose(result.prediction, oracle["mean"], rtol=1e-8)
            assert_allclose(result.std_error, oracle["mean_se"], rtol=1e-8)
            ends = oracle[["mean_ci_lower", "mean_ci_upper"]]
            assert_allclose(result.mean_interval, ends, rtol=1e-8)
            if cov_type == "nonrobust":
                ends = oracle[["obs_ci_lower", "obs_ci_upper"]]
                assert_allclose(result.row_interval, ends, rtol=1e-8)
            else:  # errors have no variance in common
                assert result.row_interval is None
    without = predict_interval(model, new, confidence_level=0.9)
    assert_allclose(without.std_error, predict_interval(model, new).std_error, rtol=1e-12)
    assert predict_interval(model, new[:1]).mean_interval.shape == (1, 2)


def test_intervals_of_predictions_far_from_zero_and_of_several_targets(data):
    X, y, _, _ = data
    near = SGDLinearRegressor().fit(X, y)
    model = SGDLinearRegressor().fit(X + 2.0**30, np.column_stack([y, y]))
    result, expected = predict_interval(model, X + 2.0**30), predict_interval(near, X)
    assert result.row_interval.shape == (400, 2, 2)
    for target in range(2):
        assert_allclose(result.std_error[:, target], expected.std_error, rtol=1e-6)


def test_intervals_of_predictions_need_the_inference_of_the_model(data):
    X, y, _, _ = data
    model = SGDLinearRegressor().fit(X, y)
    inference = coef_inference(model)
    for other in (SGDLinearRegressor().fit(X, 2 * y), SGDLinearRegressor().fit(X[:, :2], y)):
        with pytest.raises(ValueError, match="inference is of another model"):
            predict_interval(other, X[:, : other.n_features_in_], inference)
    model.partial_fit(X, -y)
    with pytest.raises(ValueError, match="before it was changed"):
        predict_interval(model, X, inference)


def test_sparse_coefficients(data):
    X, y, _, _ = data
    model = SGDLinearRegressor().fit(X, y)
    expected = coef_inference(model)
    model.sparsify()
    for args in [(), (X, y)]:
        assert_allclose(coef_inference(model, *args).conf_int, expected.conf_int, rtol=1e-8)
    assert_allclose(predict_interval(model, X).prediction, model.predict(X))
    assert issparse(model.coef_)


def test_display(data, monkeypatch):
    X, y, _, groups = data
    model = SGDLinearRegressor().fit(pd.DataFrame(X, columns=list("abcd")), y)
    display = CoefDisplay.from_estimator(model, errorbar_kw={"color": "C3"})
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == list("abcd")
    (bars,) = display.errorbar_.lines[2]
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert_allclose(ends, coef_inference(model).conf_int[1:])
    Y = np.column_stack([y, 2 * y])
    model = SGDLinearRegressor(fit_intercept=False).fit(X, Y)
    display = CoefDisplay.from_estimator(
        model, X, Y, target=1, standardize=True, ax=display.ax_, cov_type="cluster", groups=groups
    )
    expected = coef_inference(model, X, Y, cov_type="cluster", groups=groups)
    assert_allclose(display.conf_int, expected.conf_int[1] * X.std(axis=0)[:, np.newaxis])
    some = CoefDisplay.from_estimator(
        model, X, Y, columns=[2], standardize=True, ax=display.ax_, cov_type="HC1"
    )
    assert_allclose(some.coef, model.coef_[0, 2] * X[:, 2].std())
    plt.close(display.figure_)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="CoefDisplay requires matplotlib"):
        display.plot()


def test_frame_only_where_pandas_is_in_use(data, monkeypatch):
    X, y, _, _ = data
    model = SGDLinearRegressor().fit(X, y)
    result = coef_inference(model)
    assert list(result.frame.index) == ["intercept", "x0", "x1", "x2", "x3"]
    assert_allclose(result.frame[["lower", "upper"]], result.conf_int)
    monkeypatch.delitem(sys.modules, "pandas")
    assert coef_inference(model).frame is None


# ---------------------------------------------------------------- what has no standard errors


def wrong(message, model, *args, **options):
    before = {name: np.copy(model.coef_) for name in ["coef_"] if hasattr(model, name)}
    with pytest.raises(ValueError, match=message):
        coef_inference(model, *args, **options)
    assert all(np.array_equal(getattr(model, name), value) for name, value in before.items())


def test_models_without_standard_errors(data):
    X, y, _, _ = data
    with pytest.raises(NotFittedError):
        coef_inference(SGDLinearRegressor())
    for penalty in ("l1", "l2", "elasticnet"):
        wrong("biased", SGDLinearRegressor(penalty=penalty).fit(X, y))
        unpenalised = SGDLinearRegressor(penalty=penalty, alpha=0).fit(X, y)
        assert np.isfinite(coef_inference(unpenalised, X, y).std_error).all()
    wrong("biased", SGDLinearRegressor(positive=True).fit(X, y))
    wrong("both ends", SGDLinearRegressor("epsilon_insensitive").fit(X, y), X, y)
    quantile = SGDLinearRegressor("quantile", tol=1e-8).fit(X, y)
    wrong("jackknife", quantile, X, y, cov_type="HC3")
    wrong("analytic", quantile, X, y, weights="analytic")
    wrong("Products of columns, .* are not kept", quantile)
    narrow = SGDLinearRegressor("squared_epsilon_insensitive", epsilon=1e3).fit(X, y)
    wrong("No residual lies", narrow, X, y)
    small = SGDLinearRegressor("quantile", quantile=0.01, tol=1e-8).fit(X[:20], y[:20])
    wrong("Take more rows", small, X[:20], y[:20])


def test_models_that_are_not_the_optimum(data):
    """Of these rows, or at all."""
    X, y, _, _ = data
    model = SGDLinearRegressor().fit(X, y)
    for cov_type in ("nonrobust", "HC1", "HC3"):
        wrong("from the optimum", model, X[::-1], y, cov_type=cov_type)
        wrong("from the optimum", model, X[:200], y[:200], cov_type=cov_type)
    ridge = SGDLinearRegressor(penalty="l2", alpha=1.0).fit(X, y).set_params(penalty=None)
    wrong("from the optimum", ridge)
    few = SGDLinearRegressor().partial_fit(X[:9], y[:9])
    wrong("adds a ridge", few)
    walk = SGDLinearRegressor(learning_rate=1.0, random_state=0)
    for part in np.array_split(np.arange(400), 10):
        walk.partial_fit(X[part], y[part])
    wrong("of the path of SGD it keeps only an average", walk)
    wrong("rows count by their age", SGDLinearRegressor(half_life=50).partial_fit(X, y))
    light = SGDLinearRegressor().fit(X, y).to_predictor()
    wrong("keeps nothing of the rows", light)
    wrong("keeps nothing of the rows", light, X, y, cov_type="HC1")
    wrong("from the optimum", walk, X, y)
    for loss in ("quantile", "huber"):
        model = SGDLinearRegressor(loss, tol=1e-8).fit(X, y)
        model.coef_ *= 1.5
        wrong("from the optimum", model, X, y, cov_type="HC0")


def test_columns_whose_coefficients_are_not_determined(data):
    X, y, _, _ = data
    for column, remedy in ((np.full(400, 0.1), "constant"), (X[:, 0] - 3 * X[:, 1], "combin")):
        table = pd.DataFrame(np.column_stack([X, column]), columns=["a", "b", "c", "d", "twin"])
        fitted = SGDLinearRegressor().fit(table, y)
        stream = SGDLinearRegressor().partial_fit(table, y)
        wrong(f"{remedy}.*'twin'", stream)
        wrong(f"{remedy}.*'twin'", fitted)
        wrong(f"{remedy}.*'twin'", fitted, table, y, cov_type="HC1")
        without = SGDLinearRegressor(fit_intercept=False).fit(table, y)
        if remedy == "constant":
            assert np.isfinite(coef_inference(without).std_error).all()
    rank = SGDLinearRegressor().fit(X[:5], y[:5])
    wrong("no degrees of freedom", rank, X[:5], y[:5])
    model = SGDLinearRegressor().fit(X, y, np.full(400, 1e-3))
    wrong('weights="analytic" counts the rows', model)
    assert_allclose(coef_inference(model, weights="analytic").std_error, nonrobust(X, y).bse, 1e-8)
    X[:, 3] = np.arange(400) == 7
    model = SGDLinearRegressor().fit(X, y)
    wrong("leverage is 1", model, X, y, cov_type="HC3")
    oracle = sm.OLS(y, sm.add_constant(X)).fit(cov_type="HC0").bse
    assert_allclose(coef_inference(model, X, y, cov_type="HC0").std_error[:4], oracle[:4], 1e-8)


def test_arguments_that_do_not_fit(data):
    X, y, weight, groups = data
    model = SGDLinearRegressor().fit(X, y)
    wrong("both", model, X)
    wrong("sample_weight is passed", model, sample_weight=weight)
    wrong("needs the rows", model, cov_type="HC0")
    wrong("only with it", model, X, y, groups=groups)
    wrong("only with it", model, X, y, cov_type="cluster")
    wrong("2 groups or more", model, X, y, cov_type="cluster", groups=np.zeros(400))
    wrong("inconsistent", model, X, y, cov_type="cluster", groups=groups[:-1])
    wrong("'cov_type' parameter", model, X, y, cov_type="HC2")
    wrong("one target", model, X, np.column_stack([y, y]))
    wrong("features", model, X[:, 1:], y)
    for layout in (np.asfortranarray, np.ascontiguousarray):
        bad = layout(X.copy())
        bad[3, 2] = np.nan
        wrong("X contains NaN", model, bad, y, cov_type="HC0")

    class Narrow(SGDLinearRegressor):
        _tuning = Tuning(max_hessian_features=3)

    narrow = Narrow(solver="newton-cg", tol=1e-8).fit(X, y)
    wrong("at most 3 columns", narrow, X, y)
    assert len(coef_inference(narrow, X, y, columns=[0]).coef) == 2
    wrong("columns need the rows", model, columns=[0])
    wrong("take a matrix of all", model, X, y, columns=[0], cov_type="HC3")
    for bad in (-1, 4, "x4", 0.5, "intercept", True):
        wrong(f"got {bad!r}", model, X, y, columns=[0, bad])


@pytest.mark.parametrize(
    ("missing", "message"), [(np.nan, "groups contains NaN"), (None, "none of them None")]
)
def test_a_row_without_a_group_is_an_error(rng, missing, message):
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    groups = np.repeat([0, 1, 2, 3], 5) if missing is not None else np.repeat(list("abcd"), 5)
    groups = [missing, *groups[1:].tolist()]
    model = SGDLinearRegressor().fit(X, y)
    with pytest.raises(ValueError, match=message):
        coef_inference(model, X, y, cov_type="cluster", groups=groups)
