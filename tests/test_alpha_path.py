"""The choice of alpha by cross-validation: that of a grid search, score by score."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.linear_model import ElasticNetCV
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sgdlin import SGDLinearRegressor, SGDLinearRegressorCV
from sklearn_sgdlin._alpha_path import route
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.split_products import split_sums
from sklearn_sgdlin.methods.ridge_path import shifted_solutions

PENALTIES = {0.0: "l2", 0.5: "elasticnet", 1.0: "l1"}

# With up to 8 columns the models come from products, beyond from the kernel or a set of columns.
TUNING = Tuning(cheap_hessian_features=8)
SHAPES = [(60, 6), (24, 30)]


def chooser(**options):
    model = SGDLinearRegressorCV(**options)
    model._tuning = TUNING
    return model


@parametrize_with_checks([SGDLinearRegressorCV(alphas=10, l1_ratio=[0, 0.5])])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def data(rng, shape, n_targets=None):
    """Columns in several units, far from zero, and targets of which some matter."""
    X = rng.normal(size=shape) * np.logspace(-1, 1, shape[1]) + np.arange(shape[1]) % 7
    coef = np.zeros((shape[1], n_targets or 1))
    coef[:3] = rng.normal(size=(3, n_targets or 1))
    y = X @ coef + rng.normal(size=(shape[0], n_targets or 1))
    return X, y if n_targets else y[:, 0]


def searched(model, X, y, **fit_params):
    """Return the grid search of the same fits, and its scores as `score_path_` has them."""
    shared = SGDLinearRegressor().get_params().keys() & model.get_params().keys()
    shared -= {"alpha", "l1_ratio", "scoring", "tol"}
    one = SGDLinearRegressor(tol=1e-10, **{name: getattr(model, name) for name in shared})
    one.set_params(penalty=PENALTIES[model.l1_ratio], l1_ratio=model.l1_ratio)
    scoring = model.scoring or "neg_mean_squared_error"
    search = GridSearchCV(one, {"alpha": model.alphas_}, scoring=scoring, cv=model.cv)
    search.fit(X, y, **fit_params)
    splits = range(search.n_splits_)
    return search, np.column_stack([search.cv_results_[f"split{i}_test_score"] for i in splits])


def check_same_as_searched(model, X, y, rtol=1e-8, **fit_params):
    model.fit(X, y, **fit_params)
    search, scores = searched(model, X, y, **fit_params)
    np.testing.assert_allclose(model.score_path_, scores, rtol=rtol)
    assert model.alpha_ == search.best_params_["alpha"]
    best = search.best_estimator_
    np.testing.assert_allclose(model.predict(X), best.predict(X), rtol=1e-7, atol=1e-7)
    assert model.best_score_ == pytest.approx(search.best_score_, rel=rtol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("l1_ratio", PENALTIES)
@pytest.mark.parametrize("n_targets", [None, 2])
def test_scores_and_choice_are_those_of_a_grid_search(rng, shape, l1_ratio, n_targets):
    X, y = data(rng, shape, n_targets)
    check_same_as_searched(chooser(alphas=6, l1_ratio=l1_ratio, cv=3), X, y)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("l1_ratio", PENALTIES)
@pytest.mark.parametrize("options", [{"fit_intercept": False}, {"positive": True}])
def test_settings_hold_in_every_fit(rng, shape, l1_ratio, options):
    X, y = data(rng, shape)
    model = chooser(alphas=4, l1_ratio=l1_ratio, cv=3, **options)
    check_same_as_searched(model, X, y)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("l1_ratio", PENALTIES)
def test_single_precision_is_that_of_the_data_alone(rng, shape, l1_ratio):
    X, y = data(rng, shape)
    X = X.astype(np.float32)
    options = {"alphas": [1e-5, 0.1], "l1_ratio": l1_ratio, "cv": 3}
    scores = [chooser(**options).fit(values, y).score_path_ for values in (X, X.astype(float))]
    np.testing.assert_allclose(*scores, rtol=1e-9)


@pytest.mark.parametrize("l1_ratio", PENALTIES)
def test_sparse_columns_beyond_products(rng, l1_ratio):
    X, y = data(rng, (24, 30))
    X[np.abs(X) < 2] = 0.0
    dense = chooser(alphas=4, l1_ratio=l1_ratio, cv=3, tol=1e-10).fit(X, y)
    sparse = chooser(alphas=4, l1_ratio=l1_ratio, cv=3, tol=1e-10)
    sparse.fit(csr_array(X), y)
    np.testing.assert_allclose(sparse.score_path_, dense.score_path_, rtol=1e-6)


SPLITTERS = [
    KFold(4, shuffle=True, random_state=0),
    RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    ShuffleSplit(4, random_state=0),
    TimeSeriesSplit(3),
    LeaveOneOut(),
]


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
def test_any_splitter(rng, cv, l1_ratio):
    X, y = data(rng, (18, 3))
    check_same_as_searched(chooser(alphas=3, l1_ratio=l1_ratio, cv=cv), X, y)


def test_rows_may_be_repeated_in_a_split(rng):
    X, y = data(rng, (30, 3))
    splits = [(rng.integers(30, size=25), rng.integers(30, size=9)) for _ in range(3)]
    check_same_as_searched(chooser(alphas=3, l1_ratio=0.5, cv=splits), X, y)


def test_splits_may_be_masks(rng):
    X, y = data(rng, (30, 3))
    masks = [(np.arange(30) % 3 != k, np.arange(30) % 3 == k) for k in range(3)]
    numbers = [tuple(map(np.flatnonzero, split)) for split in masks]
    scores = [chooser(cv=cv).fit(X, y).score_path_ for cv in (masks, numbers)]
    np.testing.assert_array_equal(*scores)


def test_groups_far_apart_lose_no_digits(rng):
    X, y = data(rng, (60, 3))
    groups = np.arange(60) // 20
    X += 1e7 * groups[:, np.newaxis]
    model = chooser(alphas=[1e-3, 1.0], l1_ratio=0.0, cv=GroupKFold(3))
    check_same_as_searched(model, X, y, rtol=1e-6, groups=groups)


def test_columns_that_are_constant_in_training(rng):
    X, y = data(rng, (60, 3))
    X[:, 2] = np.where(np.arange(60) < 20, rng.normal(size=60), 0.1)
    check_same_as_searched(chooser(alphas=4, l1_ratio=0.5, cv=KFold(3)), X, y)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_nearly_dependent_columns(rng, l1_ratio):
    X, y = data(rng, (60, 4))
    X[:, 3] = X[:, 0] + 1e-6 * X[:, 1]
    model = chooser(alphas=[1e-8, 1e-3, 0.0], l1_ratio=l1_ratio, cv=3)
    check_same_as_searched(model, X, y, rtol=1e-5)


@pytest.mark.parametrize("l1_ratio", PENALTIES)
def test_the_model_of_nearly_dependent_columns_is_that_of_a_fit(rng, l1_ratio):
    X, y = data(rng, (60, 4))
    X[:, 3] = X[:, 0] + 1e-7 * X[:, 1]
    model = chooser(alphas=[1e-6], l1_ratio=l1_ratio, cv=2).fit(X, y)
    one = SGDLinearRegressor(penalty=PENALTIES[l1_ratio], alpha=1e-6, l1_ratio=l1_ratio)
    np.testing.assert_array_equal(model.coef_, one.fit(X, y).coef_)


def test_alphas_far_apart(rng):
    X, y = data(rng, (24, 30))
    for options in ({}, {"positive": True}):
        model = chooser(alphas=[1.0, 0.1, 1e-3], l1_ratio=1.0, cv=3, **options)
        check_same_as_searched(model, X, y)


def test_exact_targets_keep_the_digits_of_their_errors(rng):
    X, _ = data(rng, (60, 3))
    y = X @ [1.0, 2.0, 3.0] + 1e5
    model = chooser(alphas=[1e-10, 1e-8], l1_ratio=0.0, cv=3)
    check_same_as_searched(model, X, y, rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("l1_ratio", PENALTIES)
def test_weight_is_how_often_a_row_counts(rng, shape, l1_ratio):
    X, y = data(rng, shape)
    weight = rng.integers(0, 3, size=len(y))
    fold = np.arange(len(y)) % 3
    often, folds = np.repeat(np.arange(len(y)), weight), np.repeat(fold, weight)
    cv = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    cv_often = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
    for scoring in (None, "neg_mean_absolute_error"):
        options = {"alphas": 4, "l1_ratio": l1_ratio, "scoring": scoring}
        weighted = chooser(cv=cv, **options).fit(X, y, sample_weight=5.0 * weight)
        repeated = chooser(cv=cv_often, **options).fit(X[often], y[often])
        np.testing.assert_allclose(weighted.alphas_, repeated.alphas_, rtol=1e-9)
        np.testing.assert_allclose(weighted.score_path_, repeated.score_path_, rtol=1e-8)
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)


def test_alphas_have_a_row_for_each_l1_ratio_unless_they_are_given(rng):
    X, y = data(rng, (60, 4))
    for alphas, shape in ((7, (2, 7)), ([0.1, 0.01, 0.001], (3,))):
        model = SGDLinearRegressorCV(alphas=alphas, l1_ratio=[0.5, 1.0]).fit(X, y)
        assert model.alphas_.shape == shape
        assert model.score_path_.shape[:2] == (2, shape[-1])


def test_alphas_and_errors_are_those_of_elastic_net_cv(rng):
    X, y = data(rng, (80, 6))
    ratios = [0.3, 1.0]
    peer = ElasticNetCV(l1_ratio=ratios, alphas=20, tol=1e-12, max_iter=100_000).fit(X, y)
    model = chooser(l1_ratio=ratios, alphas=20).fit(X, y)
    np.testing.assert_allclose(model.alphas_, peer.alphas_, rtol=1e-12)
    np.testing.assert_allclose(model.mse_path_, peer.mse_path_, rtol=1e-5)
    assert model.alpha_ == pytest.approx(peer.alpha_)
    assert model.l1_ratio_ == peer.l1_ratio_
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("unit", [1e-100, 1e-16, 1e100])
def test_the_choice_does_not_depend_on_units(rng, l1_ratio, unit):
    X, y = data(rng, (60, 6))
    expected = SGDLinearRegressorCV(l1_ratio=l1_ratio, random_state=0).fit(X, y).coef_
    for scaled_X, scaled_y, of_coef in [(unit * X, y, 1 / unit), (X, unit * y, unit)]:
        model = SGDLinearRegressorCV(l1_ratio=l1_ratio, random_state=0).fit(scaled_X, scaled_y)
        np.testing.assert_allclose(model.coef_ / of_coef, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile", "epsilon_insensitive"])
def test_first_alpha_leaves_no_coefficient_and_the_next_ones_some(rng, loss):
    X, y = data(rng, (61, 4))
    model = chooser(loss=loss, l1_ratio=1, alphas=3, cv=2).fit(X, y)
    one = SGDLinearRegressor(loss, penalty="l1", tol=1e-6)
    assert not one.set_params(alpha=1.01 * model.alphas_[0]).fit(X, y).coef_.any()
    assert one.set_params(alpha=0.8 * model.alphas_[0]).fit(X, y).coef_.any()


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_alphas_of_l2_reach_from_a_tenth_of_the_coefficients_to_nearly_all(rng, loss):
    X, y = data(rng, (100, 4))
    model = chooser(loss=loss, l1_ratio=0, alphas=3, cv=2).fit(X, y)
    one = SGDLinearRegressor(loss, penalty="l2", tol=1e-6)
    spread = [
        (X @ one.set_params(alpha=alpha).fit(X, y).coef_).std()
        for alpha in (model.alphas_[0], model.alphas_[-1], 0.0)
    ]
    assert spread[0] < 0.15 * spread[2]
    assert spread[1] > 0.99 * spread[2]


@pytest.mark.parametrize("loss", ["huber", "quantile"])
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_other_losses_are_scored_by_their_mean_loss(rng, loss, l1_ratio):
    X, y = data(rng, (50, 3))  # 25 training rows have one median
    options = {"alphas": 3, "l1_ratio": l1_ratio, "cv": 2, "tol": 1e-6, "random_state": 0}
    model = chooser(loss=loss, **options).fit(X, y)

    def minus_loss(estimator, X, y):
        return -float(estimator._settings().loss.value(y - estimator.predict(X)).mean())

    by_scorer = chooser(**{**model.get_params(), "scoring": minus_loss})
    np.testing.assert_allclose(by_scorer.fit(X, y).score_path_, model.score_path_, rtol=1e-9)
    _, scores = searched(by_scorer, X, y)
    np.testing.assert_allclose(model.score_path_, scores, rtol=1e-3)
    assert not hasattr(model, "mse_path_")


@pytest.mark.parametrize(
    "scoring", ["r2", make_scorer(mean_absolute_error, greater_is_better=False)]
)
def test_any_scorer(rng, scoring):
    X, y = data(rng, (60, 4))
    model = chooser(alphas=5, l1_ratio=0.5, cv=3, scoring=scoring)
    check_same_as_searched(model, X, y)
    assert not hasattr(model, "mse_path_")


def test_sgd_takes_steps_where_a_setting_asks_for_them(rng):
    X, y = data(rng, (60, 4))
    model = chooser(alphas=2, cv=2, learning_rate=0.5, max_iter=7, tol=None, random_state=0)
    assert model.fit(X, y).n_iter_ == 7


def test_one_standard_error(rng):
    X, y = data(rng, (60, 10))
    best = chooser(l1_ratio=1, cv=4).fit(X, y)
    model = chooser(l1_ratio=1, cv=4, one_standard_error=True).fit(X, y)
    chosen = best.score_path_[best.alphas_ == best.alpha_][0]
    least = chosen.mean() - chosen.std(ddof=1) / 2
    enough = best.alphas_[best.score_path_.mean(axis=1) >= least]
    assert model.alpha_ == enough.max() > best.alpha_
    assert np.count_nonzero(model.coef_) < np.count_nonzero(best.coef_)


def test_the_same_bits_on_any_number_of_threads(rng):
    from threadpoolctl import threadpool_limits

    X, y = data(rng, (400, 6))
    cv, tuning = KFold(3, shuffle=True, random_state=0), Tuning(min_range_entries=128)
    paths = []
    for n_threads in (1, 2):
        model = chooser(alphas=5, cv=cv)
        model._tuning = tuning
        with threadpool_limits(n_threads):
            paths.append(model.fit(X, y).score_path_)
    np.testing.assert_array_equal(*paths)


def test_a_partition_takes_one_pass_and_other_splits_share_what_they_can(rng):
    X, y = data(rng, (60, 3))

    def n_passes(cv):
        splits = list(cv.split(X))
        sums = list(split_sums(X, y[:, np.newaxis].copy(), None, splits, Tuning()))
        assert sum(len(one.splits) for one in sums) == len(splits)
        return len(sums)

    assert n_passes(KFold(6, shuffle=True, random_state=0)) == 1
    assert n_passes(TimeSeriesSplit(5)) == 1
    assert n_passes(RepeatedKFold(n_splits=5, n_repeats=3, random_state=0)) == 3
    assert n_passes(ShuffleSplit(6, random_state=0)) <= 6


def test_shifted_solutions_are_nan_where_digits_are_lost():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    matrix = vectors * [1e-14, 1.0, 1e3] @ vectors.T
    shifts = np.array([1.0, 1e-3, 1e-12])
    x = shifted_solutions(matrix, np.ones((3, 1)), shifts)
    for k in range(2):
        expected = np.linalg.solve(matrix + shifts[k] * np.eye(3), np.ones(3))
        np.testing.assert_allclose(x[k, 0], expected, rtol=1e-10)
    assert np.isnan(x[2]).all()


def test_routes():
    settings = SGDLinearRegressor()._settings()
    assert route(settings, (100, 256), True, 1.0) == "products"
    assert route(settings, (1000, 900), False, 0.0) == "products"
    assert route(settings, (100, 257), False, 1.0) == "columns"
    assert route(settings, (100, 257), True, 1.0) == "fits"
    assert route(settings, (100, 257), False, 0.0) == "kernel"
    assert route(settings, (100, 257), True, 0.0) == "fits"
    for options in ({"loss": "huber"}, {"solver": "sgd"}, {"learning_rate": 0.1}):
        assert route(SGDLinearRegressor(**options)._settings(), (100, 3), False, 1.0) == "fits"


def test_groups_and_weights_are_routed(rng):
    X, y = data(rng, (60, 3))
    groups, weight = np.arange(60) // 12, rng.uniform(1, 2, size=60)
    plain = chooser(alphas=4, cv=GroupKFold(5)).fit(X, y, weight, groups=groups)
    with config_context(enable_metadata_routing=True):
        model = chooser(alphas=4, cv=GroupKFold(5))
        model.fit(X, y, sample_weight=weight, groups=groups)
    np.testing.assert_array_equal(model.score_path_, plain.score_path_)


def test_metadata_that_nobody_takes_is_an_error(rng):
    X, y = data(rng, (60, 3))
    with pytest.raises(ValueError, match="weights"):
        chooser().fit(X, y, weights=np.ones(60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [1.0, -1.0]}, r"alphas\[1\]"),
        ({"alphas": []}, "alphas"),
        ({"alphas": [np.nan]}, r"alphas\[0\]"),
        ({"l1_ratio": [0.5, 1.5]}, r"l1_ratio\[1\]"),
        ({"l1_ratio": []}, "l1_ratio"),
        ({"cv": [(np.arange(30), np.arange(0))]}, "no test rows"),
        ({"cv": []}, "no splits"),
        ({"cv": [(np.arange(30), np.arange(30, 61))]}, "Split 0 of cv .* index 60"),
        ({"cv": [(np.arange(30) < 9, np.arange(30) > 8)]}, "Split 0 of cv .* boolean"),
        ({"eps": 1.0}, "eps"),
    ],
)
def test_bad_parameters_are_named_and_leave_the_model_as_it_was(rng, options, message):
    X, y = data(rng, (60, 3))
    model = chooser(alphas=3).fit(X, y)
    before = vars(model).copy() | options
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(X[:, :2], y)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_weights_that_leave_a_split_without_rows_are_an_error(rng):
    X, y = data(rng, (60, 3))
    with pytest.raises(ValueError, match="Split 0 of cv has no test rows"):
        chooser(cv=3).fit(X, y, sample_weight=np.arange(60) >= 20)


def test_nothing_of_an_earlier_fit_remains(rng):
    X, y = data(rng, (60, 3))
    model = chooser(alphas=3).fit(X, y)
    assert hasattr(model, "mse_path_")
    assert not hasattr(model.set_params(scoring="r2").fit(X, y), "mse_path_")


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_explicit_steps_that_diverge_are_an_error_that_names_the_remedy(rng, loss):
    X = rng.normal(size=(200, 5))
    model = SGDLinearRegressorCV(loss=loss, update="explicit", learning_rate=1e3, random_state=0)
    with pytest.raises(ValueError, match=r"learning_rate=1000.0 .* Use update='implicit'"):
        model.fit(X, X[:, 0])
    assert not hasattr(model, "alpha_")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_numbers_that_are_not_finite_or_too_large_are_an_error(rng, shape, l1_ratio, value):
    X, y = data(rng, shape)
    X[::2, 3] = value
    with pytest.raises(ValueError, match="Input X contains"):
        chooser(l1_ratio=l1_ratio, cv=3).fit(X, y)
