"""In the company of scikit-learn's tools: each gives the number that it should."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV, SelectFromModel
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.utils import get_tags

from sklearn_sgdlin import SGDLinearRegressor

TOOL_ROWS = 400


@pytest.fixture
def data():
    """Three columns in units of 1e-3 to 1e6 that matter, and three that do not."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(TOOL_ROWS, 6)) * [1e-3, 1, 1e6, 1, 1, 1] + [0, 50, 1e7, 0, 0, 0]
    y = 3e3 * X[:, 0] + 2 * X[:, 1] + 1e-6 * X[:, 2] + 0.1 * rng.normal(size=TOOL_ROWS)
    return X, y


def exact():
    return SGDLinearRegressor(tol=1e-8, random_state=0)


# ---------------------------------------------------------------- tags, routing, the page


def test_tags():
    tags = get_tags(SGDLinearRegressor())
    assert tags.estimator_type == "regressor"
    assert tags.target_tags.required
    assert not tags.input_tags.allow_nan
    assert not tags.regressor_tags.poor_score
    assert tags.requires_fit


def test_html_repr_links_to_no_page():
    html = SGDLinearRegressor()._repr_html_()
    assert "SGDLinearRegressor" in html
    assert "href=" not in html


@pytest.mark.parametrize("method", ["fit", "score"])
def test_weights_are_routed(data, method):
    X, y = data
    weight = np.where(np.arange(len(y)) < 200, 1.0, 0.0)
    broken = np.where(weight > 0, y, 1e6 * np.arange(len(y)))
    with config_context(enable_metadata_routing=True):
        model = exact().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        result = cross_validate(
            model,
            X,
            broken,
            cv=[(np.arange(0, 400, 2), np.arange(1, 400, 2))],
            params={"sample_weight": weight},
        )
        assert result["test_score"][0] > 0.99
        request = {"fit": model.set_fit_request, "score": model.set_score_request}[method]
        request(sample_weight=False)
        ignoring = cross_validate(
            model,
            X,
            broken,
            cv=[(np.arange(0, 400, 2), np.arange(1, 400, 2))],
            params={},
        )
        assert ignoring["test_score"][0] < 0.99


def test_every_request_can_be_set():
    model = SGDLinearRegressor()
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(X_val=True, y_val=True, sample_weight_val=True, sample_weight=True)
        model.set_partial_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    requests = model.get_metadata_routing()
    assert set(requests.fit.requests) == {"sample_weight", "X_val", "y_val", "sample_weight_val"}
    assert requests.partial_fit.requests == requests.score.requests == {"sample_weight": True}


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_column_transformer_with_frames(data, library):
    X, y = data
    town = np.array(["Aa", "Bb", "Cc"])[np.arange(len(y)) % 3]
    frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library](
        {**{f"x{j}": X[:, j] for j in range(6)}, "town": town}
    )
    shift = np.array([0.0, 10.0, -10.0])[np.arange(len(y)) % 3]
    columns = ColumnTransformer(
        [
            ("town", OneHotEncoder(sparse_output=False), ["town"]),
            ("numbers", StandardScaler(), [f"x{j}" for j in range(6)]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform=library)
    pipeline = make_pipeline(columns, exact()).fit(frame, y + shift)
    assert pipeline.score(frame, y + shift) > 0.999
    effects = dict(zip(pipeline[-1].feature_names_in_, pipeline[-1].coef_, strict=True))
    assert effects["town_Bb"] - effects["town_Cc"] == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("library", [pd, pl])
def test_names_of_columns_are_checked(data, library):
    X, y = data
    frame = library.DataFrame({f"x{j}": X[:, j] for j in range(6)})
    model = exact().fit(frame, y)
    other = library.DataFrame({f"z{j}": X[:, j] for j in range(6)})
    for call in (model.predict, lambda X: model.score(X, y), lambda X: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match="feature names should match"):
            call(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


# ---------------------------------------------------------------- meta-estimators


def test_transformed_target(data):
    X, y = data
    model = TransformedTargetRegressor(exact(), func=np.log, inverse_func=np.exp)
    model.fit(X, np.exp(y / 100))
    np.testing.assert_allclose(model.predict(X), np.exp(y / 100), rtol=0.02)


def test_multi_output(data):
    X, y = data
    model = MultiOutputRegressor(exact()).fit(X, np.column_stack([y, -2 * y]))
    np.testing.assert_allclose(
        model.estimators_[1].coef_, -2 * model.estimators_[0].coef_, rtol=1e-4, atol=1e-4
    )
    assert model.score(X, np.column_stack([y, -2 * y])) > 0.998


def test_bagging(data):
    X, y = data
    model = BaggingRegressor(exact(), n_estimators=5, random_state=0).fit(X, y)
    coef = np.mean([member.coef_ for member in model.estimators_], axis=0)
    np.testing.assert_allclose(coef[:3] / [3e3, 2, 1e-6], 1, rtol=0.02)


def test_stacking_finds_the_member_that_is_right(data):
    X, y = data
    members = [("ours", exact()), ("one column", make_pipeline(SelectFirst(), LinearRegression()))]
    model = StackingRegressor(members, final_estimator=exact()).fit(X, y)
    np.testing.assert_allclose(model.final_estimator_.coef_, [1, 0], atol=0.05)


class SelectFirst(StandardScaler):
    """Keeps the first column alone."""

    def transform(self, X):
        return super().transform(X)[:, :1]


def test_select_from_model(data):
    X, y = data
    scaled = StandardScaler().fit_transform(X)
    selector = SelectFromModel(exact(), threshold=0.5).fit(scaled, y)
    np.testing.assert_array_equal(selector.get_support(), [True] * 3 + [False] * 3)


def test_rfecv(data):
    X, y = data
    selector = RFECV(exact(), cv=3).fit(StandardScaler().fit_transform(X), y)
    assert selector.n_features_ < 6
    assert selector.support_[:3].all()


def test_searches_tell_a_bad_rate_from_a_good_one(data):
    X, y = data
    textbook = SGDLinearRegressor(
        precondition=False, average=False, max_iter=20, tol=None, random_state=0
    )
    scaled = StandardScaler().fit_transform(X)
    grid = {"learning_rate": [1e-7, 1e-2]}
    for search in (
        GridSearchCV(textbook, grid, cv=3),
        HalvingGridSearchCV(textbook, grid, cv=3, random_state=0),
    ):
        search.fit(scaled, y)
        assert search.best_params_ == {"learning_rate": 1e-2}
        assert search.best_score_ > 0.99


def test_cross_validate(data):
    X, y = data
    ours = cross_validate(exact(), X, y, cv=4, return_train_score=True)
    # which by itself drops the columns of small scale
    reference = make_pipeline(StandardScaler(), LinearRegression())
    theirs = cross_validate(reference, X, y, cv=4, return_train_score=True)
    for key in ("test_score", "train_score"):
        np.testing.assert_allclose(ours[key], theirs[key], atol=1e-4)


def test_permutation_importance(data):
    X, y = data
    model = exact().fit(X, y)
    importance = permutation_importance(model, X, y, n_repeats=3, random_state=0).importances_mean
    assert list(np.argsort(importance)[::-1][:3]) == [0, 1, 2]
    # permuting a column adds twice the variance of its effect to the squared error
    effect = 2 * np.var(2 * X[:, 1]) / np.var(y)
    assert importance[1] == pytest.approx(effect, rel=0.1)


def test_partial_dependence_is_the_coefficient(data):
    X, y = data
    model = exact().fit(X, y)
    result = partial_dependence(model, X, [1], kind="average", grid_resolution=5)
    slope = np.diff(result["average"][0]) / np.diff(result["grid_values"][0])
    np.testing.assert_allclose(slope, model.coef_[1], rtol=1e-6)


def test_polynomial_features_need_no_scaler():
    x = np.linspace(0, 100, 300)[:, None]
    y = 5 - 2 * x[:, 0] + 0.03 * x[:, 0] ** 2
    model = make_pipeline(PolynomialFeatures(2, include_bias=False), exact()).fit(x, y)
    np.testing.assert_allclose(model[-1].coef_, [-2, 0.03], rtol=1e-5)
    assert model[-1].intercept_ == pytest.approx(5, rel=1e-4)


def test_clone_keeps_parameters_and_forgets_the_fit(data):
    model = SGDLinearRegressor(early_stopping=True, scoring="r2", validation_fraction=0.2)
    twin = clone(model.fit(*data))
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "coef_")
