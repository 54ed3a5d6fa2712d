"""Which solver runs: the table by facts alone, and what the estimator tells of it."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from sklearn_sgdlin import SGDLinearRegressor, _choose
from sklearn_sgdlin._choose import (
    SOLVER_NAMES,
    ProblemFacts,
    choose,
    decision_table,
    rows_are_reduced,
)
from sklearn_sgdlin._choose_stream import StreamFacts, choose_for_stream
from sklearn_sgdlin._tuning import Tuning
from tests.data import load


def facts(n_rows, n_features, **others):
    """Facts of dense rows in memory with squared error and no penalty, but for what is given."""
    usual = {
        "n_entries": n_rows * n_features,
        "n_targets": 1,
        "sparse": False,
        "distributed": False,
        "squared": True,
        "quadratic": True,
        "curved": True,
        "kinked_loss": False,
        "l2": False,
        "sgd_setting": "",
    }
    return ProblemFacts(n_rows, n_features, **usual | others)


def sparse(n_rows, n_features, n_entries=1000, **others):
    return facts(n_rows, n_features, sparse=True, n_entries=n_entries, **others)


CURVED = {"quadratic": False}
KINKS = {"quadratic": False, "curved": False}
L2 = {"l2": True}


@pytest.mark.parametrize(
    ("problem", "solver"),
    [
        (facts(10_000, 20), "newton-cholesky"),
        (facts(10_000, 20, **L2), "newton-cholesky"),
        (facts(20, 10), "newton-cholesky"),
        (facts(10, 20), "newton-cholesky"),  # so few columns that a stream may follow
        (facts(100_000, 1000), "newton-cg"),
        (facts(100_000, 10_000, **L2), "newton-cg"),
        (facts(2000, 5000), "min-norm"),
        (facts(2000, 5000, **L2), "dual"),
        (sparse(2000, 5000), "newton-cg"),
        (sparse(2000, 5000, **L2), "dual"),
        (sparse(50_000, 50_000, 500_000, **L2), "dual"),
        (facts(10_000, 20, **KINKS), "coordinate-descent"),
        (facts(2000, 5000, **KINKS), "coordinate-descent"),
        (facts(2000, 5000, **L2, **KINKS), "coordinate-descent"),
        (sparse(2000, 5000, **KINKS), "coordinate-descent"),
        (facts(10_000, 20, **KINKS, squared=False), "interior-point"),
        (sparse(2000, 5000, **L2, **KINKS, squared=False), "interior-point"),
        (facts(10_000, 20, **CURVED, squared=False), "newton-cholesky"),
        (facts(10_000, 20, distributed=True, **CURVED, squared=False), "interior-point"),
        (facts(2000, 5000, **CURVED, squared=False), "interior-point"),
        (facts(10_000, 20, distributed=True), "newton-cholesky"),
        (facts(10_000, 200, distributed=True), "newton-cg"),
        (facts(2000, 5000, distributed=True, **L2), "newton-cg"),
        (facts(10_000, 20, distributed=True, **KINKS), "interior-point"),
        (facts(10_000, 20, sgd_setting="average=False"), "sgd"),
        (facts(2000, 5000, sgd_setting="average=False", **L2), "sgd"),
        (facts(10_000, 20, sgd_setting="learning_rate=0.1", distributed=True, **KINKS), "sgd"),
    ],
)
def test_the_table(problem, solver):
    chosen, reason = choose(problem, Tuning())
    assert chosen == solver
    assert reason.endswith(".")
    if problem.sgd_setting:
        assert reason.startswith(problem.sgd_setting)


# Field; facts for which the row of the table just applies, and its solver; facts that are just
# beyond, and the solver then; the value of the field for which the first facts are just beyond,
# and the one for which the second are within.
THRESHOLDS = [
    (
        "max_hessian_features",
        (sparse(50, 4096), "newton-cholesky"),
        (sparse(50, 4097), "newton-cg"),
        (4095, 4097),
    ),
    (
        "cheap_hessian_features",
        (facts(10**6, 256), "newton-cholesky"),
        (facts(10**6, 257), "newton-cg"),
        (255, 257),
    ),
    (
        "cheap_hessian_features",
        (facts(10**6, 512, n_targets=2), "newton-cholesky"),
        (facts(10**6, 513, n_targets=2), "newton-cg"),
        (255, 257),
    ),
    (
        "cheap_hessian_features",
        (facts(10**6, 256, **CURVED, squared=False), "newton-cholesky"),
        (facts(10**6, 257, **CURVED, squared=False), "interior-point"),
        (255, 257),
    ),
    (
        "cheap_hessian_products",
        (facts(1000, 999), "newton-cholesky"),
        (facts(1001, 999), "newton-cg"),
        (0.999e9, 1.001e9),
    ),
    (
        "max_row_system_rows",
        (facts(4096, 5000, **L2), "dual"),
        (facts(4097, 5000, **L2), "newton-cg"),
        (4095, 4097),
    ),
    (
        "max_row_system_rows",
        (facts(4096, 5000), "min-norm"),
        (facts(4097, 5000), "newton-cg"),
        (4095, 4097),
    ),
    (
        "min_row_system_features",
        (facts(60, 65, **L2), "dual"),
        (facts(60, 64, **L2), "newton-cholesky"),
        (66, 64),
    ),
    (
        "min_row_system_features",
        (facts(60, 65), "min-norm"),
        (facts(60, 64), "newton-cholesky"),
        (66, 64),
    ),
    (
        "min_sparse_dual_features",
        (sparse(200, 257, **L2), "dual"),
        (sparse(200, 256, **L2), "newton-cholesky"),
        (258, 256),
    ),
    (
        "max_sparse_dual_entries_per_feature",
        (sparse(5000, 5000, 16 * 5000, **L2), "dual"),
        (sparse(5000, 5000, 16 * 5000 + 1, **L2), "newton-cg"),
        (15.99, 16.01),
    ),
    (
        "max_cluster_hessian_features",
        (facts(10**6, 100, distributed=True), "newton-cholesky"),
        (facts(10**6, 101, distributed=True), "newton-cg"),
        (99, 101),
    ),
]


@pytest.mark.parametrize(("field", "within", "beyond", "values"), THRESHOLDS)
def test_both_sides_of_every_threshold(field, within, beyond, values):
    usual, (lowered, raised) = Tuning(), values
    for problem, solver in (within, beyond):
        assert choose(problem, usual).solver == solver
    assert choose(within[0], replace(usual, **{field: lowered})).solver == beyond[1]
    assert choose(beyond[0], replace(usual, **{field: raised})).solver == within[1]


def test_every_threshold_of_the_table_is_tested():
    used = set(re.findall(r"tuning\.(\w+)", inspect.getsource(_choose)))
    used -= {"max_worker_hessian_features"}  # which only words a reason
    used -= {"min_reduced_rows", "min_reduced_rows_per_column"}  # of a variant, see below
    assert used == {field for field, *_ in THRESHOLDS}


@pytest.mark.parametrize(
    ("n_rows", "n_features", "field"),
    [(10_000, 40, "min_reduced_rows"), (20_000, 80, "min_reduced_rows_per_column")],
)
def test_both_sides_of_the_reduction_of_rows(n_rows, n_features, field):
    kinked = {**KINKS, "kinked_loss": True, "squared": False}
    enough, fewer = (facts(n, n_features, **kinked) for n in (n_rows, n_rows - 1))
    raised = replace(Tuning(), **{field: getattr(Tuning(), field) + 1})
    assert rows_are_reduced(enough, Tuning())
    assert not rows_are_reduced(fewer, Tuning())
    assert not rows_are_reduced(enough, raised)
    assert not rows_are_reduced(enough._replace(distributed=True), Tuning())
    assert "A sample of" in choose(enough, Tuning()).reason
    assert "A sample of" not in choose(fewer, Tuning()).reason


def test_no_hessian_for_losses_with_curvature():
    tuning = Tuning(max_hessian_features=10)
    curved = {**CURVED, "squared": False}
    assert choose(facts(100, 10, **curved), tuning).solver == "newton-cholesky"
    assert choose(facts(100, 11, **curved), tuning).solver == "interior-point"


@pytest.mark.parametrize("l2", [True, False])
@pytest.mark.parametrize(("n_rows", "others"), [(500, False), (501, True)])
def test_a_system_of_rows_needs_at_most_as_many_rows_as_columns(n_rows, others, l2):
    solver = choose(facts(n_rows, 500, l2=l2), Tuning()).solver
    assert (solver not in ("dual", "min-norm")) == others


@pytest.mark.parametrize(
    ("problem", "refused"),
    [
        (facts(100, 20), {"dual": "no 'l2' penalty", "min-norm": "100 rows are more than 20"}),
        (facts(100, 200, **L2), {"min-norm": "there is an 'l2' penalty"}),
        (sparse(100, 200), {"min-norm": "X is sparse"}),
        (facts(5000, 6000, **L2), {"dual": "5000 rows are more than 4096"}),
        (facts(5000, 6000), {"min-norm": "5000 rows are more than 4096"}),
        (facts(5000, 6000), {"newton-cholesky": "6000 columns are more than 4096"}),
        (facts(100, 200, distributed=True), {"min-norm": "workers of a cluster"}),
        (facts(100, 200, distributed=True, **L2), {"dual": "workers of a cluster"}),
        (facts(100, 20), {"interior-point": "quadratic, without kinks"}),
        (facts(100, 20), {"coordinate-descent": "quadratic, without kinks"}),
        (
            facts(100, 20, **KINKS, squared=False),
            {"coordinate-descent": "the loss is not the squared error"},
        ),
        (
            facts(100, 20, **KINKS, distributed=True),
            {"coordinate-descent": "workers of a cluster"},
        ),
        (
            facts(100, 200, **KINKS),
            dict.fromkeys(
                ["dual", "min-norm", "newton-cholesky", "newton-cg"],
                "the loss or the penalty is not quadratic",
            ),
        ),
    ],
)
def test_a_solver_that_cannot_serve_says_why_and_which_can(problem, refused):
    can = []
    for name in SOLVER_NAMES[1:]:
        try:
            choice = choose(problem, Tuning(), name)
        except ValueError:
            continue
        can.append(name)
        assert choice == (name, f"solver={name!r} was asked for.")
    for name, why in refused.items():
        with pytest.raises(ValueError, match=f"solver='{name}' is not available.*{why}") as error:
            choose(problem, Tuning(), name)
        named = re.findall(r"'([a-z-]+)'", str(error.value).split("Use one of")[1])
        assert named == ["auto", *can]


@pytest.mark.parametrize("solver", SOLVER_NAMES[2:])
def test_a_solver_without_steps_contradicts_a_setting_of_steps(solver):
    problem = facts(100, 200, sgd_setting="learning_rate=0.1")
    with pytest.raises(ValueError, match=r"learning_rate=0\.1 is a setting of the path of SGD"):
        choose(problem, Tuning(), solver)
    assert choose(problem, Tuning(), "sgd").solver == "sgd"


def test_a_solver_that_did_not_do_is_left_out():
    problem = facts(2000, 5000, **L2)
    assert choose(problem, Tuning(), excluded=["dual"]).solver == "newton-cg"
    assert choose(facts(10, 100, **L2), Tuning(), excluded=["dual"]).solver == "newton-cholesky"


def test_the_table_in_words_has_the_numbers_of_the_tuning():
    names, conditions = zip(*decision_table(), strict=True)
    assert ["auto", *names] == SOLVER_NAMES
    assert not any(brace in text for text in conditions for brace in "{}")
    assert "256 columns" in dict(decision_table())["newton-cholesky"]
    other = dict(decision_table(Tuning(cheap_hessian_features=7)))["newton-cholesky"]
    assert "Up to 7 columns" in other
    fields = {field for field, *_ in THRESHOLDS}
    for field in fields:  # every one that the choice depends on is in the words
        doubled = Tuning(**{field: getattr(Tuning(), field) * 2})
        assert decision_table(doubled) != decision_table(), field


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("stream", "solver"),
    [
        (StreamFacts(1000, squared=True, sgd_setting=""), "newton-cholesky"),
        (StreamFacts(1001, squared=True, sgd_setting=""), "sgd"),
        (StreamFacts(500, squared=True, sgd_setting="", n_targets=4), "newton-cholesky"),
        (StreamFacts(500, squared=True, sgd_setting="", n_targets=5), "sgd"),
        (StreamFacts(300, squared=False, sgd_setting=""), "newton-cholesky"),
        (StreamFacts(301, squared=False, sgd_setting=""), "sgd"),
        (StreamFacts(5, squared=False, sgd_setting="", forgets=True), "sgd"),
        (StreamFacts(5, squared=True, sgd_setting="", forgets=True), "newton-cholesky"),
        (StreamFacts(5, squared=True, sgd_setting="", summed_up=False), "sgd"),
        (StreamFacts(5, squared=True, sgd_setting="average=False"), "sgd"),
    ],
)
def test_the_table_of_streams(stream, solver):
    assert choose_for_stream(stream, Tuning()).solver == solver
    assert choose_for_stream(stream, Tuning(), "sgd").solver == "sgd"
    names = ["newton-cholesky"] if solver == "sgd" else []
    for name in [*names, "newton-cg", "dual", "min-norm", "interior-point", "coordinate-descent"]:
        with pytest.raises(ValueError, match=f"'{name}' is not available for partial_fit.*'sgd'"):
            choose_for_stream(stream, Tuning(), name)


def test_both_sides_of_the_threshold_of_streams():
    for n_features in (3, 64, 100):
        stream = StreamFacts(n_features, squared=True, sgd_setting="")
        for limit in (n_features, n_features - 1):
            solver = "newton-cholesky" if n_features <= limit else "sgd"
            assert choose_for_stream(stream, Tuning(max_stream_features=limit)).solver == solver


@pytest.mark.parametrize(
    ("options", "n_features", "solver"),
    [
        ({}, 30, "newton-cholesky"),
        ({"penalty": "l1"}, 30, "newton-cholesky"),
        ({"solver": "newton-cholesky"}, 30, "newton-cholesky"),
        ({}, 65, "newton-cholesky"),
        ({}, 1001, "sgd"),
        ({"loss": "huber"}, 9, "newton-cholesky"),
        ({"loss": "huber", "learning_rate": 1.0}, 30, "sgd"),
        ({"loss": "huber"}, 301, "sgd"),
        ({"learning_rate": 1.0}, 30, "sgd"),
        ({"solver": "sgd"}, 30, "sgd"),
    ],
)
def test_a_stream_tells_how_it_learned(rng, options, n_features, solver):
    X = rng.normal(size=(300, n_features))
    model = SGDLinearRegressor(random_state=0, **options)
    for chunk in np.split(np.arange(300), 3):
        model.partial_fit(X[chunk], X[chunk, 0] + rng.normal(size=100))
    assert model.solver_ == solver
    assert model.t_ == (300 if solver == "sgd" else 0)
    assert model.learning_rates_ == ([1.0] * 3 if solver == "sgd" else [])
    assert str(n_features) in model.solver_reason_ or options


def test_a_stream_refuses_a_solver_of_all_rows():
    X, y = load("powers")
    model = SGDLinearRegressor(solver="newton-cg")
    with pytest.raises(ValueError, match=r"'newton-cg' is not available for partial_fit.*all rows"):
        model.partial_fit(X, y)
    assert not hasattr(model, "coef_")


# ---------------------------------------------------------------- what the estimator tells


def data(rng, n_rows, n_features, kind=np.asarray):
    X = rng.normal(size=(n_rows, n_features)) * np.logspace(0, 2, n_features)
    return kind(X), X[:, 0] + rng.normal(size=n_rows)


NO_CHEAP_HESSIAN = Tuning(cheap_hessian_features=0, cheap_hessian_products=0)
TOLD = [
    ({}, (500, 30), Tuning(), "newton-cholesky", "30 columns <= 256"),
    ({}, (500, 30), NO_CHEAP_HESSIAN, "newton-cg", "30 columns > 0"),
    ({}, (70, 80), Tuning(), "min-norm", "70 dense rows <= 80 columns, and no penalty"),
    ({"penalty": "l2"}, (70, 80), Tuning(), "dual", "70 dense rows <= 80 columns, and an 'l2'"),
    ({"penalty": "l2", "alpha": 0}, (70, 80), Tuning(), "min-norm", "no penalty"),
    ({"loss": "huber"}, (70, 80), Tuning(), "interior-point", "kinks or bounds"),
    ({"penalty": "l1"}, (500, 30), Tuning(), "coordinate-descent", "an l1 penalty or bounds"),
    ({"positive": True}, (500, 30), Tuning(), "coordinate-descent", "an l1 penalty or bounds"),
    ({"learning_rate": 1}, (70, 80), Tuning(), "sgd", "learning_rate=1 selects"),
    ({"early_stopping": True}, (500, 30), Tuning(), "sgd", "early_stopping=True selects"),
    ({"update": "explicit"}, (500, 30), Tuning(), "sgd", "update='explicit' selects"),
    ({"precondition": False}, (500, 30), Tuning(), "sgd", "precondition=False selects"),
    ({"average": False}, (500, 30), Tuning(), "sgd", "average=False selects"),
    ({"schedule": "constant"}, (500, 30), Tuning(), "sgd", "schedule='constant' selects"),
    ({"solver": "sgd"}, (500, 30), Tuning(), "sgd", "solver='sgd' was asked for"),
    ({"solver": "newton-cg"}, (500, 30), Tuning(), "newton-cg", "was asked for"),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("options", "shape", "tuning", "solver", "reason"), TOLD)
def test_solver_reason_and_first_line_agree(rng, capsys, options, shape, tuning, solver, reason):
    model = SGDLinearRegressor(verbose=1, max_iter=3, random_state=0, **options)
    model._tuning = tuning
    if options.get("precondition") is False or options.get("update") == "explicit":
        model.set_params(learning_rate=1e-6)
        reason = "learning_rate=1e-06 selects"
    model.fit(*data(rng, *shape))
    assert model.solver_ == solver
    assert reason in model.solver_reason_
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"solver {model.solver_}: {model.solver_reason_}"
    if solver != "interior-point":  # whose epochs may begin with a sweep
        assert (model.t_ > 0) == (solver == "sgd")
    assert len(model.learning_rates_) == (model.n_iter_ if model.t_ > 0 else 0)


@pytest.mark.parametrize(
    ("options", "solver"),
    [
        ({"learning_rate": 1e-3}, "sgd"),
        ({"loss": "quantile"}, "interior-point"),
        ({"solver": "newton-cg", "tol": 1e-8}, "newton-cg"),
    ],
)
def test_the_warning_names_the_solver(options, solver):
    X, y = load("autoregressive")
    model = SGDLinearRegressor(max_iter=1, random_state=0, **options)
    if solver == "newton-cg":
        model._tuning = Tuning(max_hessian_features=0)
    with pytest.warns(ConvergenceWarning, match=f"solver='{solver}' stopped at max_iter=1"):
        model.fit(X, y)
    assert model.solver_ == solver


def test_a_refused_solver_leaves_the_model_as_it_was(rng):
    X, y = data(rng, 100, 20)
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    before = dict(vars(model))
    for options, message in [
        ({"solver": "dual"}, "no 'l2' penalty"),
        (
            {"solver": "newton-cg", "learning_rate": 0.1},
            "learning_rate=0.1 is a setting",
        ),
        ({"solver": "dual", "early_stopping": True}, "early_stopping=True is a setting"),
    ]:
        other = SGDLinearRegressor(random_state=0).set_params(**options)
        with pytest.raises(ValueError, match=message):
            other.fit(X, y)
        assert not hasattr(other, "coef_")
        model.set_params(**options)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)
        assert all(
            vars(model)[name] is value for name, value in before.items() if name not in options
        )
        model.set_params(**SGDLinearRegressor(random_state=0).get_params())


def test_where_the_dual_system_is_singular_another_solver_runs(rng):
    X, y = data(rng, 70, 80)
    X[1] = X[0]
    model = SGDLinearRegressor(penalty="l2", alpha=1e-300, random_state=0).fit(X, y)
    assert model.solver_ == "newton-cholesky"
    assert "singular to working precision" in model.solver_reason_
    with pytest.raises(ValueError, match=r"singular to working precision.*alpha"):
        model.set_params(solver="dual").fit(X, y)


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("penalty", [None, "l2"])
@pytest.mark.parametrize("shape", [(500, 30), (70, 80)])
def test_all_solvers_that_can_serve_agree(rng, shape, penalty, kind):
    X, y = data(rng, *shape, kind)
    predictions = {}
    for solver in SOLVER_NAMES:
        model = SGDLinearRegressor(
            solver=solver, penalty=penalty, alpha=10.0, tol=1e-6, random_state=0
        )
        try:
            predictions[solver] = model.fit(X, y).predict(X)
        except ValueError as error:
            assert "is not available" in str(error)  # noqa: PT017
        else:
            assert model.solver_ == solver or solver == "auto"
            assert model.stop_reason_ == "converged"
    assert len(predictions) >= 4
    for solver, prediction in predictions.items():
        np.testing.assert_allclose(
            prediction, predictions["auto"], atol=1e-5 * y.std(), err_msg=solver
        )
