"""Saved models: no type of the package but the estimator's, and a stream goes on where it was."""

import io
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sgdlin import SGDLinearRegressor, __version__

skops = pytest.importorskip("skops.io", reason="skops is not installed")
OWN_TYPE = "sklearn_sgdlin._regressor.SGDLinearRegressor"


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(model):
    saved = skops.dumps(model)
    assert skops.get_untrusted_types(data=saved) == [OWN_TYPE]
    return skops.loads(saved, trusted=[OWN_TYPE])


SAVED = {
    "joblib": by_joblib,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "skops": by_skops,
}
MODELS = {
    "fit": ({}, "fit"),
    "fit, rate": ({"learning_rate": 0.1}, "fit"),
    "early stopping": ({"early_stopping": True, "scoring": "r2"}, "fit"),
    "stream": ({}, "partial_fit"),
    "stream, rate": ({"learning_rate": 0.1, "loss": "huber"}, "partial_fit"),
    "stream, sparse": ({}, "partial_fit"),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, X @ [1.0, 2.0, 3.0] + rng.normal(size=60)


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_goes_on_as_if_it_had_not_been(data, name, n_targets, saved):
    (options, method), (X, y) = MODELS[name], data
    y = y if n_targets == 1 else np.column_stack([y, -y])
    if name == "stream, sparse":
        X = csr_array((X.ravel(), 500 * np.tile([0, 1, 2], 60), np.arange(0, 181, 3)), (60, 1001))
    model = getattr(SGDLinearRegressor(random_state=0, **options), method)(X, y)
    twin = SAVED[saved](model)
    assert_array_equal(twin.predict(X), model.predict(X))
    assert twin.get_params() == model.get_params()
    for each in (model, twin):
        each.set_params(early_stopping=False).partial_fit(X[:7], y[:7])
    assert_array_equal(twin.coef_, model.coef_)
    assert_array_equal(twin.intercept_, model.intercept_)
    assert twin.loss_curve_ == model.loss_curve_


def test_a_saved_pipeline_asks_for_the_type_of_the_estimator_only(data):
    model = make_pipeline(StandardScaler(), SGDLinearRegressor(random_state=0)).fit(*data)
    assert_array_equal(by_skops(model).predict(data[0]), model.predict(data[0]))


def test_a_model_saved_before_there_was_a_plain_form_says_what_is_wrong(data):
    state = dict(vars(SGDLinearRegressor(random_state=0).fit(*data)))
    with pytest.raises(ValueError, match=r"saved by sklearn_sgdlin \(older\)"):
        SGDLinearRegressor().__setstate__(state)


@pytest.mark.parametrize("change", ["lost", "renamed", "moved", "foreign"])
def test_a_model_of_another_version_says_what_is_wrong(data, change):
    model = SGDLinearRegressor(random_state=0).fit(*data)
    state = {**model.__getstate__(), "_version": "0.0.1"}
    (name,) = (
        name for name, value in state.items() if value.__class__ is dict and "record" in value
    )
    fields = dict(state[name]["fields"])
    first = fields.pop(next(iter(fields)))
    state[name] = {
        "lost": {**state[name], "fields": fields},
        "renamed": {**state[name], "fields": {**fields, "other": first}},
        "moved": {**state[name], "record": "sklearn_sgdlin.model.gone.State"},
        "foreign": {**state[name], "record": "subprocess.Popen"},
    }[change]
    loaded = SGDLinearRegressor.__new__(SGDLinearRegressor)
    with pytest.raises(ValueError, match=f"saved by sklearn_sgdlin 0.0.1.*loaded by {__version__}"):
        loaded.__setstate__(state)
