"""The estimator as scikit-learn's users know it: parameters, attributes, errors, inputs."""

import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_sgdlin
from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor, SGDLinearRegressorCV
from sklearn_sgdlin._stop import StopRule
from tests.data import load

COMBINATIONS = [
    {},
    {"solver": "sgd"},
    {"average": False},
    {"precondition": False, "learning_rate": 0.01},
    {"update": "explicit", "learning_rate": 0.1},
    {"schedule": "invscaling", "fit_intercept": False},
]


@parametrize_with_checks(
    [
        SGDLinearRegressor(),
        SGDLinearRegressor(solver="sgd"),
        # Some checks have as many columns as rows, which the last iterate meets step by step.
        SGDLinearRegressor(learning_rate=0.1, average=False, max_iter=10_000),
    ]
)
def test_scikit_learn_compatible(estimator, check):
    check(estimator)


def test_public_names():
    names = ["LossCurveDisplay", "SGDLinearRegressor", "SGDLinearRegressorCV"]
    assert sklearn_sgdlin.__all__ == names
    assert sklearn_sgdlin.__version__
    seen = {
        name
        for name, value in vars(sklearn_sgdlin).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert seen == set(sklearn_sgdlin.__all__)


PUBLIC = [SGDLinearRegressor, SGDLinearRegressorCV, LossCurveDisplay]


@pytest.mark.parametrize("public", PUBLIC)
def test_public_signatures_are_typed(public):
    own = [name for name in vars(public) if not name.startswith(("_", "set_"))]
    for method in [public.__init__, *(getattr(public, name) for name in own)]:
        signature = inspect.signature(method)
        assert signature.return_annotation is not signature.empty, method
        for name, parameter in signature.parameters.items():
            typed = parameter.annotation is not parameter.empty
            assert typed or name == "self", (method, name)
    assert (Path(sklearn_sgdlin.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(
    ("wrong", "instead"),
    [
        (lambda: SGDLinearRegressor(eta0=0.1), "learning_rate"),
        (lambda: SGDLinearRegressor().fit(SMALL_X, SMALL_Y, coef_init=[0.0]), "warm_start"),
        (lambda: SGDLinearRegressor().fit(SMALL_X, SMALL_Y, intercept_init=0.0), "warm_start"),
        (lambda: SGDLinearRegressor(learning_rate="invscaling").fit(SMALL_X, SMALL_Y), "schedule"),
        (lambda: SGDLinearRegressor(average=10).fit(SMALL_X, SMALL_Y), "from the first step"),
    ],
)
def test_parameters_of_sgd_regressor_are_answered_with_those_of_here(wrong, instead):
    with pytest.raises((TypeError, ValueError), match=f"(eta0|_init|rate|average).* {instead}"):
        wrong()


def test_other_errors_of_type_are_left_as_they_are():
    # Newer versions of Python add a suggestion.
    said = r"unexpected keyword argument 'alfa'(\. Did you mean 'alpha'\?)?$"
    with pytest.raises(TypeError, match=said):
        SGDLinearRegressor(alfa=1)


# ---------------------------------------------------------------- attributes and output


@pytest.mark.parametrize("n_targets", [1, 2])
def test_sparse_coefficients_predict_the_same(n_targets):
    X, y = load("normal")
    X, y = X[:500], y[:500] if n_targets == 1 else np.column_stack([y, -y])[:500]
    model = SGDLinearRegressor(penalty="l1", alpha=0.1, warm_start=True, random_state=0).fit(X, y)
    coef, expected = model.coef_, model.predict(X)
    assert issparse(model.sparsify().coef_)
    assert model.coef_.nnz == np.count_nonzero(coef)
    for rows in (X, csr_array(X), csr_matrix(X)):
        np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-12)
    assert model.sparsify().densify().coef_.tolist() == coef.tolist()
    np.testing.assert_allclose(model.sparsify().fit(X, y).coef_, coef, atol=1e-6)
    assert not issparse(model.sparsify().partial_fit(X, y).coef_)


@pytest.mark.parametrize("options", COMBINATIONS)
def test_fitted_attributes(options):
    X, y = load("normal")
    model = SGDLinearRegressor(max_iter=30, random_state=0, **options).fit(X[:500], y[:500])
    assert model.coef_.shape == (30,)
    assert type(model.intercept_) is np.float64
    assert len(model.loss_curve_) == model.n_iter_ <= 30
    assert model.solver_ == ("sgd" if options else "newton-cholesky")
    assert model.t_ == (model.n_iter_ * 500 if options else 0)
    assert len(model.learning_rates_) == (model.n_iter_ if options else 0)
    assert model.n_features_in_ == 30
    assert model.stop_reason_ == "converged"
    loss = np.mean((y[:500] - model.predict(X[:500])) ** 2) / 2
    np.testing.assert_allclose(model.loss_curve_[-1], loss, rtol=1e-6)


def test_loss_curve_falls():
    X, y = load("autoregressive")
    model = SGDLinearRegressor(learning_rate=1e-3, max_iter=20, tol=None, random_state=0).fit(X, y)
    assert len(model.loss_curve_) == 20
    assert np.all(np.diff(model.loss_curve_) <= 1e-12 * model.loss_curve_[0])


def test_verbose_prints_the_solver_and_a_line_an_epoch(capsys):
    X, y = load("normal")
    options = {"verbose": 1, "max_iter": 3, "tol": None, "random_state": 0}
    model = SGDLinearRegressor(learning_rate=0.5, **options).fit(X, y)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"solver sgd: {model.solver_reason_}"
    assert [line.split()[:2] for line in lines] == [["epoch", "1"], ["epoch", "2"], ["epoch", "3"]]
    for i, line in enumerate(lines):
        words = line.split()
        assert (words[2], words[4]) == ("rate", "loss")
        assert float(words[3]) == model.learning_rates_[i]
        np.testing.assert_allclose(float(words[5]), model.loss_curve_[i], rtol=1e-5)
        assert words[7] == "s"
        assert float(words[6]) >= 0
    assert len({len(line) for line in lines}) == 1
    model = SGDLinearRegressor(**options).fit(X, y)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"solver newton-cholesky: {model.solver_reason_}"
    assert [line.split()[:3:2] for line in lines] == [["epoch", "loss"]] * 3  # no steps, no rate
    SGDLinearRegressor(random_state=0).fit(X, y)
    assert capsys.readouterr().out == ""


def test_warns_at_max_iter_and_says_what_to_change():
    X, y = load("autoregressive")
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1 .*tol=0\.01.*Increase max_iter"):
        model = SGDLinearRegressor("quantile", max_iter=1, random_state=0).fit(X, y)
    assert model.stop_reason_ == "max_iter"
    assert SGDLinearRegressor(max_iter=1, tol=None).fit(X, y).stop_reason_ == "max_iter"


@pytest.mark.parametrize(
    "change",
    [
        {"fit_intercept": False},
        {"learning_rate": 0.1},
        {"schedule": "constant", "learning_rate": 100.0},
        {"schedule": "invscaling"},
        {"schedule": "invscaling", "power_t": 0.5},
        {"update": "explicit"},
        {"precondition": False, "learning_rate": 0.01},
        {"average": True},
        {"max_iter": 3},
        {"tol": 0.9},
        {"n_iter_no_change": 1},
        {"shuffle": False},
        {"random_state": 1},
        {"early_stopping": True},
        {"early_stopping": True, "validation_fraction": 0.3},
        {"early_stopping": True, "scoring": lambda *_: 0.0},
    ],
    ids=lambda change: ", ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in change.items()),
)
def test_every_parameter_has_an_effect(change):
    X, y = load("normal")
    base = SGDLinearRegressor(average=False, random_state=0, learning_rate=0.2, max_iter=40)
    if change == {"schedule": "invscaling", "power_t": 0.5}:
        base.set_params(schedule="invscaling")
    if len(change) == 2 and "early_stopping" in change:
        base.set_params(early_stopping=True)
    first = clone(base).set_params(tol=1e-4 if "tol" in change else base.tol)
    second = clone(first).set_params(**change)
    with pytest.warns() if change.get("max_iter") else _no_warning():
        second.fit(X, y)
    assert np.abs(first.fit(X, y).coef_ - second.coef_).max() > 1e-9


class _no_warning:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


def test_adaptive_schedule_lowers_the_noise_of_the_last_iterate():
    X, y = load("normal")
    fit = {
        schedule: SGDLinearRegressor(average=False, schedule=schedule, tol=1e-4, random_state=0)
        .fit(X, y)
        .score(X, y)
        for schedule in ("adaptive", "constant")
    }
    assert fit["adaptive"] > fit["constant"] + 1e-3


# ---------------------------------------------------------------- errors and warnings


def bad(X, y, **changes):
    return {"X": X, "y": y, "sample_weight": None, **changes}


def poisoned(array, value):
    array = array.copy()
    array.flat[3] = value
    return array


SMALL_X = np.arange(20.0).reshape(10, 2) ** 2
SMALL_Y = np.arange(10.0)
BAD_INPUT = {
    "nan": (bad(poisoned(SMALL_X, np.nan), SMALL_Y), "Input X contains NaN"),
    "inf": (bad(poisoned(SMALL_X, np.inf), SMALL_Y), "Input X contains infinity"),
    "nan in a sparse X": (
        bad(csr_array(poisoned(SMALL_X, np.nan)), SMALL_Y),
        "Input X contains NaN",
    ),
    "nan at weight 0": (
        bad(poisoned(SMALL_X, np.nan), SMALL_Y, sample_weight=np.arange(10.0) // 2),
        "Input X contains NaN",
    ),
    "nan where all weights are 0": (
        bad(
            poisoned(np.tile(SMALL_X, (1000, 1)), np.nan),
            np.tile(SMALL_Y, 1000),
            sample_weight=np.repeat([0.0, 1.0], 5000),
        ),
        "Input X contains NaN",
    ),
    "nan in y": (bad(SMALL_X, poisoned(SMALL_Y, np.nan)), "Input y contains NaN"),
    "string": (bad([["a", "b"]] * 10, SMALL_Y), "could not convert string to float"),
    "empty": (bad(SMALL_X[:0], SMALL_Y[:0]), "0 sample"),
    "no column": (bad(SMALL_X[:, :0], SMALL_Y), "0 feature"),
    "one dimension": (bad(SMALL_Y, SMALL_Y), "Expected 2D array"),
    "length of y": (bad(SMALL_X, SMALL_Y[:5]), "inconsistent numbers of samples"),
    "length of weights": (bad(SMALL_X, SMALL_Y, sample_weight=SMALL_Y[:5]), "sample_weight"),
    "negative weights": (bad(SMALL_X, SMALL_Y, sample_weight=-SMALL_Y), "Negative values"),
    "zero weights": (bad(SMALL_X, SMALL_Y, sample_weight=0 * SMALL_Y), "non-zero"),
    "huge weights": (bad(SMALL_X, SMALL_Y, sample_weight=SMALL_Y * 1e307), "sample_weight.*large"),
    "huge X": (bad(SMALL_X * 1e160, SMALL_Y), "Input X .*column 0.*too large"),
    "huge y": (bad(SMALL_X, SMALL_Y * 1e160), "Input y .*too large"),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("name", BAD_INPUT)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_input_is_named_and_leaves_the_model_as_it_was(name, method):
    data, message = BAD_INPUT[name]
    if (name, method) == ("zero weights", "partial_fit"):
        return  # a chunk without rows is no error
    model = SGDLinearRegressor(random_state=0)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(**data)
    assert vars(model) == before
    model.fit(SMALL_X, SMALL_Y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(**data)
    assert all(vars(model)[name] is value for name, value in before.items())


def test_targets_that_are_too_large_for_their_weights_are_named():
    weight = np.logspace(0, 12, 10)
    with pytest.raises(ValueError, match=r"Input y .*times sample_weight.*too large"):
        SGDLinearRegressor().partial_fit(SMALL_X, SMALL_Y * 1e150, weight)


@pytest.mark.parametrize(
    "y",
    [SMALL_Y[:5], SMALL_Y[:0], SMALL_Y * np.nan, SMALL_Y[0], np.ones((10, 2, 2)), SMALL_Y - np.inf],
)
def test_an_array_of_targets_is_checked_like_a_list(y):
    errors = []
    for given in (y, y.tolist()):
        with pytest.raises((TypeError, ValueError)) as error:
            SGDLinearRegressor().fit(SMALL_X, given)
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("solver", ["auto-cg", "SGD", None, 1]),
        ("learning_rate", [0, -1.0, np.nan, np.inf, "fast", None]),
        ("schedule", ["optimal", 1]),
        ("power_t", [-0.5, "a"]),
        ("update", ["both", None]),
        ("precondition", ["yes", None]),
        ("average", [10, None]),
        ("max_iter", [0, 2.5, -1]),
        ("tol", [-1e-3, "auto"]),
        ("n_iter_no_change", [0, 1.5]),
        ("fit_intercept", ["no"]),
        ("shuffle", ["no"]),
        ("random_state", ["seed"]),
        ("early_stopping", ["auto", None]),
        ("validation_fraction", [0.0, 1.0, None, "a"]),
        ("scoring", ["loss", 1]),
        ("verbose", [-1, "loud"]),
    ],
)
def test_bad_parameters_are_named(name, values):
    for value in values:
        for method in ("fit", "partial_fit"):
            model = SGDLinearRegressor(**{name: value})
            with pytest.raises(ValueError, match=f"'{name}' parameter of SGDLinearRegressor"):
                getattr(model, method)(SMALL_X, SMALL_Y)
            assert not hasattr(model, "coef_")


def test_unfitted_and_other_columns():
    with pytest.raises(NotFittedError):
        SGDLinearRegressor().predict(SMALL_X)
    model = SGDLinearRegressor().fit(SMALL_X, SMALL_Y)
    for call in (model.predict, lambda X: model.partial_fit(X, SMALL_Y)):
        with pytest.raises(ValueError, match=r"X has 1 features, but .* expecting 2 features"):
            call(SMALL_X[:, :1])


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 50.0},
        {"learning_rate": 50.0, "average": False},
        {"learning_rate": 1.0, "precondition": False},
    ],
)
def test_divergence_is_an_error_that_leaves_the_model_as_it_was(options):
    X, y = SMALL_X.repeat(20, axis=0), SMALL_Y.repeat(20)
    model = SGDLinearRegressor(update="explicit", **options)
    rate = options["learning_rate"]
    with pytest.raises(ValueError, match=f"epoch 1 .*learning_rate={rate}.*update='implicit'"):
        model.fit(X, y)
    assert not hasattr(model, "coef_")
    model.set_params(learning_rate=1e-6).fit(X, y).set_params(learning_rate=rate)
    before = dict(vars(model))
    for call in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match=f"epoch 1 .*learning_rate={rate}"):
            call(X, y)
        assert all(vars(model)[name] is value for name, value in before.items())


def test_partial_fit_finds_its_error_in_a_single_row():
    model = SGDLinearRegressor(update="explicit", precondition=False, learning_rate=1.0)
    model.partial_fit([[0.0]], [0.0])
    with pytest.raises(ValueError, match=r"learning_rate=1\.0"):
        model.partial_fit([[100.0]], [1.0])
    assert model.coef_[0] == 0.0
    model.partial_fit([[0.1]], [0.1])
    assert model.coef_[0] > 0.0


def test_interrupt_leaves_the_model_as_it_was(monkeypatch):
    model = SGDLinearRegressor(verbose=1, random_state=0).fit(SMALL_X, SMALL_Y)
    before = dict(vars(model))

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(SMALL_X + 1, SMALL_Y)
    assert all(vars(model)[name] is value for name, value in before.items())


# ---------------------------------------------------------------- kinds of input


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def memory_mapped(X, folder):
    path = folder / "X.dat"
    X.tofile(path)
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_every_kind_of_array_gives_the_same_model(method, tmp_path):
    X, y = load("powers")
    kinds = {
        "list": (X.tolist(), y.tolist()),
        "F-ordered": (np.asfortranarray(X), y),
        "strided": (np.repeat(X, 2, axis=0)[::2], np.repeat(y, 2)[::2]),
        "read-only": (read_only(X), read_only(y)),
        "big-endian": (X.astype(">f8"), y.astype(">f8")),
        "memory-mapped": (memory_mapped(X, tmp_path), y),
        "pandas": (pd.DataFrame(X, columns=list("abcdef")), pd.Series(y)),
        "polars": (pl.DataFrame(X, schema=list("abcdef")), pl.Series(y)),
        "integer y": (X, y),
    }
    expected = getattr(SGDLinearRegressor(random_state=0), method)(X, y).coef_
    for kind, (X_kind, y_kind) in kinds.items():
        model = getattr(SGDLinearRegressor(random_state=0), method)(X_kind, y_kind)
        np.testing.assert_array_equal(model.coef_, expected, err_msg=kind)
        if kind in ("pandas", "polars"):
            assert list(model.feature_names_in_) == list("abcdef")


def test_integers_are_converted():
    X, y = np.arange(30).reshape(10, 3) ** 2 % 17, np.arange(10)
    expected = SGDLinearRegressor(random_state=0).fit(X.astype(float), y.astype(float))
    np.testing.assert_array_equal(
        SGDLinearRegressor(random_state=0).fit(X, y).coef_, expected.coef_
    )


@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.parametrize(
    ("X", "y", "prediction"),
    [
        (SMALL_X, np.full(10, 7.0), 7.0),
        (SMALL_X, np.zeros(10), 0.0),
        (np.full((10, 2), 3.0), np.full(10, 7.0), 7.0),
        (np.zeros((10, 1)), np.full(10, 7.0), 7.0),
        (np.full((1, 1), 3.0), np.full(1, 7.0), 7.0),
    ],
)
def test_constant_targets_and_columns(options, X, y, prediction):
    textbook = options.get("precondition") is False
    without_intercept = options.get("fit_intercept") is False
    if textbook or without_intercept:
        options = {**options, "learning_rate": 1e-6}
    model = SGDLinearRegressor(max_iter=50, tol=None, random_state=0, **options).fit(X, y)
    assert np.isfinite(model.coef_).all()
    if not (textbook or without_intercept):
        np.testing.assert_allclose(model.predict(X), prediction, atol=1e-12)


def test_a_high_rate_makes_a_stream_noisy_and_a_fit_not():
    X, y = load("log-normal")
    scores = {}
    for rate in (1.0, 1e3):
        stream = SGDLinearRegressor(loss="huber", learning_rate=rate, random_state=0)
        for start in range(0, 2000, 10):
            stream.partial_fit(X[start : start + 10], y[start : start + 10])
        whole = SGDLinearRegressor(learning_rate=rate, random_state=0).fit(X, y)
        scores[rate] = stream.score(X, y), whole.score(X, y)
    assert scores[1.0][0] > scores[1e3][0] + 0.1
    assert np.isfinite(scores[1e3][0])
    assert scores[1.0][1] == pytest.approx(scores[1e3][1], abs=1e-3)


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_a_changed_coef_does_not_change_the_training_state(learn):
    X, y = load("normal")
    model, twin = SGDLinearRegressor(random_state=0), SGDLinearRegressor(random_state=0)
    getattr(model, learn)(X, y)
    getattr(twin, learn)(X, y)
    known = model.coef_.copy()
    model.coef_[:] = 0
    with pytest.raises(ValueError, match="coef_ or intercept_ was set"):
        model.partial_fit(X, y)
    model.coef_ = known
    np.testing.assert_array_equal(model.partial_fit(X, y).coef_, twin.partial_fit(X, y).coef_)


# ---------------------------------------------------------------- in company


def test_pipeline_and_grid_search_over_the_rate():
    X, y = load("collinear")
    pipeline = make_pipeline(StandardScaler(), SGDLinearRegressor(random_state=0))
    grid = {"sgdlinearregressor__learning_rate": [1e-3, 1.0, 1e3]}
    search = GridSearchCV(pipeline, grid, n_jobs=2).fit(X, y)
    raw = GridSearchCV(SGDLinearRegressor(random_state=0), {"learning_rate": [1e-3, 1.0, 1e3]})
    np.testing.assert_allclose(search.best_score_, raw.fit(X, y).best_score_, atol=1e-3)
    assert np.ptp(search.cv_results_["mean_test_score"]) < 0.02


@pytest.mark.parametrize("loss", [np.nan, np.inf])
@pytest.mark.parametrize("distance", [None, 0.0, np.nan])
def test_a_loss_that_is_not_finite_is_never_the_end(loss, distance):
    settings = SGDLinearRegressor(max_iter=30)._settings()
    stop = StopRule(settings, 0.0)
    assert stop.update(1, 1.0, None) is None
    for number in range(2, 30):
        assert stop.update(number, loss, distance) is None
    assert stop.rate < settings.learning_rate
    assert stop.update(30, loss, distance) == "max_iter"


def test_training_goes_on_after_a_loss_that_is_not_finite():
    stop = StopRule(SGDLinearRegressor(average=False)._settings(), 0.0)
    losses = [2.0, np.nan, 1.0] + 5 * [1.0]
    reasons = [stop.update(number, loss, None) for number, loss in enumerate(losses, start=1)]
    assert reasons == 7 * [None] + ["converged"]
