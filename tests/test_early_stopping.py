"""Early stopping: on which rows, by which score, when, and which model is returned."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._early_stopping import no_longer_improves
from tests.data import load


@pytest.fixture
def overfitting():
    """Nearly as many columns as rows, mostly noise: the best model is not the last."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(260, 100))
    y = X[:, 0] + 3 * rng.normal(size=260)
    return X[:130], y[:130], X[130:], y[130:]


OPTIONS = {"early_stopping": True, "random_state": 0, "average": False, "learning_rate": 0.3}


@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_absolute_error"])
def test_the_model_of_the_best_score_is_returned(overfitting, scoring):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(scoring=scoring, **OPTIONS)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.stop_reason_ == "early_stopping"
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert model.best_iteration_ == np.argmax(model.validation_scores_) + 1 < model.n_iter_
    assert model.t_ == model.n_iter_ * len(y)
    if scoring is None:
        score = -np.mean((y_val - model.predict(X_val)) ** 2) / 2
    else:
        score = get_scorer(scoring)(model, X_val, y_val)
    np.testing.assert_allclose(max(model.validation_scores_), score, rtol=1e-12)
    to_the_end = clone(model).set_params(early_stopping=False, tol=1e-8).fit(X, y)
    assert model.score(X_val, y_val) > to_the_end.score(X_val, y_val) + 0.1


def test_stops_n_iter_no_change_epochs_after_the_last_rise(overfitting):
    X, y, X_val, y_val = overfitting
    for patience in (1, 4):
        model = SGDLinearRegressor(n_iter_no_change=patience, **OPTIONS)
        scores = model.fit(X, y, X_val=X_val, y_val=y_val).validation_scores_
        stops = [no_longer_improves(scores[: i + 1], 1e-2, patience) for i in range(len(scores))]
        assert stops == [False] * (len(scores) - 1) + [True]
        assert len(scores) > patience


def test_of_equal_scores_the_first_epoch_is_the_best(overfitting):
    X, y, *_ = overfitting
    model = SGDLinearRegressor(scoring=lambda *_: 0.5, **OPTIONS).fit(X, y)
    assert (model.best_iteration_, model.n_iter_) == (1, 6)


def test_the_training_loss_does_not_stop_it():
    X, y = load("normal")
    assert SGDLinearRegressor(random_state=0).fit(X, y).n_iter_ <= 3
    model = SGDLinearRegressor(early_stopping=True, random_state=0).fit(X, y)
    assert model.n_iter_ >= 6
    assert model.stop_reason_ == "early_stopping"


def test_rule_by_hand():
    scores = [-10.0, -5.0, -4.99, -4.98, -4.97]
    assert no_longer_improves(scores, tol=0.01, n_iter_no_change=3)
    assert not no_longer_improves(scores, tol=0.001, n_iter_no_change=3)
    assert not no_longer_improves(scores, tol=0.01, n_iter_no_change=4)
    assert not no_longer_improves([1.0] * 50, tol=None, n_iter_no_change=1)
    assert not no_longer_improves([1.0] * 5, tol=0.0, n_iter_no_change=5)
    assert no_longer_improves([1.0] * 6, tol=0.0, n_iter_no_change=5)


@pytest.mark.parametrize("tol", [0.0, 0.01])
def test_rule_with_infinite_scores(tol):
    inf = np.inf
    assert no_longer_improves([-inf] * 3, tol, n_iter_no_change=2)
    assert not no_longer_improves([-inf, -inf, -1.0], tol, n_iter_no_change=2)
    assert no_longer_improves([inf] * 3, tol, n_iter_no_change=2)
    assert no_longer_improves([inf, 1.0, 2.0], tol, n_iter_no_change=2)
    assert not no_longer_improves([1.0, 1.0, inf], tol, n_iter_no_change=2)


@pytest.mark.parametrize("score", [-np.inf, np.inf])
def test_infinite_scores_stop_the_fit(overfitting, score):
    X, y, *_ = overfitting
    model = SGDLinearRegressor(scoring=lambda *_: score, **OPTIONS).fit(X, y)
    assert (model.n_iter_, model.stop_reason_, model.best_iteration_) == (6, "early_stopping", 1)


def test_a_perfect_score_is_zero_and_not_minus_zero(capsys):
    X, y = np.eye(20), np.zeros(20)
    model = SGDLinearRegressor(early_stopping=True, verbose=1, random_state=0).fit(X, y)
    assert not np.signbit(model.validation_scores_).any()
    assert "-0" not in capsys.readouterr().out


def test_rows_held_out_are_a_random_fraction_and_not_learned_from(overfitting):
    X, y, *_ = overfitting
    model = SGDLinearRegressor(validation_fraction=0.3, **OPTIONS).fit(X, y)
    assert model.t_ == model.n_iter_ * 91
    seed = clone(model)._draw_seed()
    X_fit, X_val, y_fit, y_val = train_test_split(X, y, test_size=0.3, random_state=seed)
    given = clone(model).fit(X_fit, y_fit, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(given.coef_, model.coef_)
    assert given.validation_scores_ == model.validation_scores_
    smaller = clone(model).set_params(validation_fraction=0.1).fit(X, y)
    assert smaller.t_ == smaller.n_iter_ * 117


def test_validation_rows_teach_nothing(overfitting):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(tol=None, max_iter=1, **OPTIONS)
    first = model.fit(X, y, X_val=X_val, y_val=y_val).coef_
    second = model.fit(X, y, X_val=X_val + 7, y_val=-y_val).coef_
    np.testing.assert_array_equal(first, second)


def test_validation_weights_weigh(overfitting):
    X, y, X_val, y_val = overfitting
    weight = np.arange(len(y_val)) % 3
    weighted = SGDLinearRegressor(**OPTIONS)
    weighted.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    repeated = SGDLinearRegressor(**OPTIONS)
    repeated.fit(X, y, X_val=X_val.repeat(weight, axis=0), y_val=y_val.repeat(weight))
    np.testing.assert_allclose(weighted.validation_scores_, repeated.validation_scores_, rtol=1e-12)


def without_weights(estimator, X, y):
    return estimator.score(X, y)


@pytest.mark.parametrize("scoring", [without_weights, "neg_max_error"])
def test_a_score_that_takes_no_weights_is_named(overfitting, scoring):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(scoring=scoring, **OPTIONS)
    with pytest.raises(TypeError, match=r"scoring=.* does not support sample weights.*without"):
        model.fit(X, y, np.ones(len(y)))
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, y, np.ones(len(y)), X_val=X_val, y_val=y_val)  # the remedy
    assert model.best_iteration_ >= 1
    with pytest.raises(TypeError, match="of its own"):
        SGDLinearRegressor(scoring=broken, **OPTIONS).fit(X, y, np.ones(len(y)))


def broken(estimator, X, y, sample_weight=None):
    raise TypeError("of its own")


def test_training_weights_are_split_with_their_rows(overfitting):
    X, y, *_ = overfitting
    weight = np.where(np.arange(len(y)) % 2, 1.0, 1e-9)
    noisy = np.where(weight == 1, y, 1e6)
    clean = SGDLinearRegressor(scoring="r2", **OPTIONS).fit(X, noisy, weight)
    assert np.abs(clean.predict(X)).max() < 100
    assert max(clean.validation_scores_) > -10


def test_tol_none_runs_all_epochs_and_keeps_the_best(overfitting):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(tol=None, max_iter=30, **OPTIONS)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert (model.n_iter_, model.stop_reason_) == (30, "max_iter")
    assert model.best_iteration_ == np.argmax(model.validation_scores_) + 1 < 30


def test_warns_at_max_iter(overfitting):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(max_iter=2, **OPTIONS)
    with pytest.warns(ConvergenceWarning, match="max_iter=2 before it converged. Increase"):
        model.fit(X, y, X_val=X_val, y_val=y_val)


def test_verbose_prints_the_score(overfitting, capsys):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(verbose=1, **OPTIONS).fit(X, y, X_val=X_val, y_val=y_val)
    solver, *lines = capsys.readouterr().out.splitlines()
    assert solver.startswith("solver sgd: ")
    scores = [float(line.split()[line.split().index("validation") + 1]) for line in lines]
    np.testing.assert_allclose(scores, model.validation_scores_, rtol=1e-5)
    assert len({len(line) for line in lines}) == 1


def test_names_of_columns_reach_the_scorer_and_are_checked(overfitting):
    X, y, X_val, y_val = (np.asarray(part) for part in overfitting)
    frame, frame_val = (pd.DataFrame(part).rename(columns="c{}".format) for part in (X, X_val))
    seen = []

    def scorer(estimator, X, y):
        seen.append(list(X.columns[:2]))
        return estimator.score(X, y)

    model = SGDLinearRegressor(scoring=scorer, **OPTIONS)
    model.fit(frame, y, X_val=frame_val, y_val=y_val)
    model.fit(frame, y)
    assert set(map(tuple, seen)) == {("c0", "c1")}
    with pytest.raises(ValueError, match=r"X_val.*feature names should match"):
        model.fit(frame, y, X_val=frame_val.rename(columns={"c0": "other"}), y_val=y_val)


def test_rows_with_and_without_names_are_warned_of_once(overfitting):
    X, y, X_val, y_val = overfitting
    frame, frame_val = (pd.DataFrame(part).rename(columns="c{}".format) for part in (X, X_val))
    expected = SGDLinearRegressor(**OPTIONS).fit(X, y, X_val=X_val, y_val=y_val)
    for train, other, message in [
        (frame, X_val, "X does not have valid feature names"),
        (X, frame_val, "X has feature names"),
    ]:
        with pytest.warns(UserWarning, match=message) as record:
            model = SGDLinearRegressor(**OPTIONS).fit(train, y, X_val=other, y_val=y_val)
        assert len(record) == 1
        np.testing.assert_allclose(
            model.validation_scores_, expected.validation_scores_, rtol=1e-12
        )
        assert hasattr(model, "feature_names_in_") == (train is frame)


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_validation_rows_may_be_sparse(overfitting, scoring):
    X, y, X_val, y_val = overfitting
    model = SGDLinearRegressor(scoring=scoring, **OPTIONS)
    scores = model.fit(X, y, X_val=X_val, y_val=y_val).validation_scores_
    for container in (csr_array, coo_array, np.ndarray.tolist):
        model.fit(X, y, X_val=container(X_val), y_val=y_val)
        np.testing.assert_allclose(model.validation_scores_, scores, rtol=1e-10)


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_several_targets_stop_together_by_the_score_of_all(overfitting, scoring):
    X, y, X_val, y_val = overfitting
    both, both_val = np.column_stack([y, 3 * y[::-1]]), np.column_stack([y_val, 3 * y_val[::-1]])
    model = SGDLinearRegressor(scoring=scoring, **OPTIONS)
    model.fit(X, both, X_val=X_val, y_val=both_val)
    assert model.stop_reason_ == "early_stopping"
    residual = both_val - model.predict(X_val)
    score = -np.mean(residual**2) / 2 if scoring is None else model.score(X_val, both_val)
    assert max(model.validation_scores_) == pytest.approx(score, rel=1e-12)
    alone = clone(model).set_params(early_stopping=False, tol=None, max_iter=model.best_iteration_)
    for target in range(2):
        np.testing.assert_array_equal(alone.fit(X, both[:, target]).coef_, model.coef_[target])
    with pytest.raises(ValueError, match="y_val has one dimension, but 2 columns"):
        model.fit(X, both, X_val=X_val, y_val=y_val)


def test_pipeline_transforms_the_validation_rows(overfitting):
    X, y, X_val, y_val = overfitting
    with config_context(enable_metadata_routing=True):
        model = SGDLinearRegressor(**OPTIONS).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", MinMaxScaler()), ("model", model)], transform_input=["X_val"]
        )
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
    scale = MinMaxScaler().fit(X)
    alone = clone(model).fit(scale.transform(X), y, X_val=scale.transform(X_val), y_val=y_val)
    assert pipeline[-1].validation_scores_ == alone.validation_scores_


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"y_val": None}, "belong together, but only X_val was provided"),
        ({}, {"X_val": None}, "belong together, but only y_val was provided"),
        ({}, {"X_val": None, "y_val": None, "sample_weight_val": [1.0]}, "only sample_weight_val"),
        ({"early_stopping": False}, {}, "early_stopping should be set to True"),
        ({}, {"X_val": [[np.nan] * 100] * 130}, "X_val, .* contains NaN"),
        ({}, {"X_val": [[1.0]] * 130}, "X_val, .* 1 features"),
        ({}, {"y_val": [1.0]}, "X_val, .*inconsistent numbers of samples"),
        ({}, {"sample_weight_val": [-1.0] * 130}, "sample_weight_val: Negative values"),
        ({}, {"sample_weight_val": [0.0] * 130}, "sample_weight_val: .*non-zero"),
        ({"scoring": lambda *_: np.nan}, {}, "scoring=.* is nan on the validation data"),
        ({"scoring": lambda *_: "high"}, {}, "could not convert"),
    ],
)
def test_bad_validation_data_are_named_and_leave_the_model_as_it_was(
    overfitting, options, given, message
):
    X, y, X_val, y_val = overfitting
    given = {"X_val": X_val, "y_val": y_val, **given}
    model = SGDLinearRegressor(**OPTIONS).fit(X, y).set_params(**options)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **given)
    assert all(vars(model)[name] is value for name, value in before.items())


def test_too_few_rows_to_hold_out():
    model = SGDLinearRegressor(early_stopping=True, validation_fraction=0.5)
    with pytest.raises(ValueError, match=r"fraction=0.5 of n_samples=1 leaves no rows"):
        model.fit([[1.0]], [1.0])
    weight = np.zeros(10)
    weight[0] = 1
    with pytest.raises(ValueError, match=r"validation_fraction=0.5 .*sample_weight on one side"):
        model.fit(np.arange(10.0)[:, None], np.arange(10.0), weight)


def test_partial_fit_has_no_early_stopping(overfitting):
    X, y, *_ = overfitting
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        SGDLinearRegressor(early_stopping=True).partial_fit(X, y)
