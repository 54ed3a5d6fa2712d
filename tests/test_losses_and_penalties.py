"""Every loss with every penalty, dense and sparse, against reference solvers."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse import coo_matrix, csc_array, csr_array, csr_matrix, hstack
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, QuantileRegressor, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data import one_pass
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.model.loss import LOSSES, make_loss
from tests.data import load, pairs

ALPHAS = [1e-6, 1e-3, 0.1, 10.0]
PENALTIES = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": 0.15}
# Predictions are unique where the data can be met exactly; else what differs is the path.
MEMBERS = [{"loss": loss} for loss in LOSSES] + [
    {"penalty": "l2"},
    {"penalty": "l1"},
    {"penalty": "elasticnet"},
    {"positive": True},
]


@parametrize_with_checks(
    [
        SGDLinearRegressor("huber", warm_start=True),
        SGDLinearRegressor("quantile", penalty="elasticnet"),
        SGDLinearRegressor(penalty="l1", positive=True),
    ]
)
def test_scikit_learn_compatible(estimator, check):
    check(estimator)


def make_data(rng, n_rows=1200, n_features=8):
    """Columns of other scales and means, heavy-tailed noise, a third of the columns idle."""
    mix = np.eye(n_features) + 0.3 * rng.normal(size=(n_features, n_features))
    X = rng.normal(size=(n_rows, n_features)) @ mix * np.logspace(-1, 1, n_features) + 5
    coef = rng.normal(size=n_features) / X.std(axis=0) * (np.arange(n_features) % 3 > 0)
    return X, 3 + X @ coef + rng.standard_t(3, n_rows)


def objective(model, X, y, coef, intercept, sample_weight=None):
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    alpha = 0.0 if model.penalty is None else model.alpha
    l1 = alpha * (model.l1_ratio if model.penalty == "elasticnet" else PENALTIES[model.penalty])
    value = np.average(loss.value(y - X @ coef - intercept), weights=sample_weight)
    return value + l1 * np.abs(coef).sum() + (alpha - l1) / 2 * coef @ coef


def reference(model, X, y):
    """The least objective: by scikit-learn's solver, or by scipy on a split of coef."""
    alpha, n = model.alpha, len(y)
    solver = {
        ("squared_error", None): LinearRegression(tol=1e-12),
        ("squared_error", "l2"): Ridge(alpha=alpha * n),
        ("squared_error", "l1"): Lasso(alpha=alpha, tol=1e-8, max_iter=100_000),
        ("squared_error", "elasticnet"): ElasticNet(
            alpha=alpha, l1_ratio=model.l1_ratio, tol=1e-8, max_iter=100_000
        ),
        ("quantile", None): QuantileRegressor(quantile=model.quantile, alpha=0),
        ("quantile", "l1"): QuantileRegressor(quantile=model.quantile, alpha=alpha),
    }.get((model.loss, model.penalty))
    if solver is not None:
        solver.fit(X, y)
        return objective(model, X, y, solver.coef_, solver.intercept_)
    return smooth_reference(model, X, y)


def smooth_reference(model, X, y):
    """L-BFGS-B, kinks rounded off, columns standardised, coef a difference of two."""
    mean, spread, d = X.mean(axis=0), X.std(axis=0), X.shape[1]
    z = (X - mean) / spread
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    smooth = loss if loss.compliance > 0 else loss._replace(compliance=1e-4)
    alpha = 0.0 if model.penalty is None else model.alpha
    share = model.l1_ratio if model.penalty == "elasticnet" else PENALTIES[model.penalty]

    def function(u):
        v, b = u[:d] - u[d:-1], u[-1]
        residual = y - z @ v - b
        coef = v / spread
        value = smooth.value(residual).mean() + alpha * (1 - share) / 2 * coef @ coef
        value += alpha * share * ((u[:d] + u[d:-1]) / spread).sum()
        pull = -z.T @ smooth.multiplier(residual) / len(y) + alpha * (1 - share) * coef / spread
        kink = alpha * share / spread
        return value, np.concatenate(
            [pull + kink, -pull + kink, [-smooth.multiplier(residual).mean()]]
        )

    start = np.append(np.zeros(2 * d), np.median(y))
    bounds = [(0, None)] * (2 * d) + [(None, None)]
    best = minimize(
        function,
        start,
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-10},
    )
    v = best.x[:d] - best.x[d:-1]
    return objective(model, X, y, v / spread, best.x[-1] - (v / spread) @ mean)


@pytest.mark.parametrize(("loss", "penalty", "alpha"), pairs(list(LOSSES), list(PENALTIES), ALPHAS))
def test_objective_is_within_a_thousandth_of_the_reference(rng, loss, penalty, alpha):
    X, y = make_data(rng, 600)
    model = SGDLinearRegressor(loss, penalty=penalty, alpha=alpha, quantile=0.3, random_state=0)
    values = []
    for data in (X, csr_array(X), X.astype(np.float32)):
        model.fit(data, y)
        values.append(objective(model, X, y, model.coef_, model.intercept_))
        np.testing.assert_allclose(model.loss_curve_[-1], values[-1], rtol=1e-5)
        assert model.stop_reason_ == "converged"
    assert max(values) <= reference(model, X, y) * (1 + 1e-3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_unit_of_y_does_not_matter(rng, loss, penalty):
    X, y = make_data(rng)
    paths = []
    for unit in (2.0**-20, 1.0, 2.0**20):
        model = SGDLinearRegressor(
            loss,
            epsilon=0.5 * unit,
            quantile=0.9,
            average=False,
            max_iter=3,
            tol=None,
            random_state=0,
        )
        paths.append(model.fit(X, unit * y).predict(X) / unit)
        best = SGDLinearRegressor(loss, epsilon=0.5 * unit, quantile=0.9, random_state=0)
        paths[-1] = np.append(paths[-1], [best.fit(X, unit * y).n_iter_])
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-8)
    np.testing.assert_allclose(paths[2], paths[1], rtol=1e-8)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.95])
def test_share_below_the_quantile(rng, level):
    X, y = make_data(rng, 6000)
    model = SGDLinearRegressor("quantile", quantile=level, random_state=0).fit(X, y)
    assert abs(np.mean(y <= model.predict(X)) - level) < 0.01


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_zeros_are_those_of_lasso(rng, container):
    X = rng.normal(size=(2000, 20)) + 0.5 * rng.normal(size=(2000, 1))
    coef = np.where(np.arange(20) % 2 == 0, 1.0, 0.0)
    y = X @ coef + rng.normal(size=2000)
    model = SGDLinearRegressor(penalty="l1", alpha=0.1, random_state=0).fit(container(X), y)
    lasso = Lasso(alpha=0.1, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(model.coef_ == 0.0, lasso.coef_ == 0.0)
    assert 0 < np.count_nonzero(model.coef_) < 20


@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
def test_positive_coefficients(rng, penalty):
    X, y = make_data(rng)
    model = SGDLinearRegressor(positive=True, penalty=penalty, alpha=0.01, random_state=0)
    model.fit(X, y)
    assert model.coef_.min() == 0.0
    peer = {
        None: LinearRegression(positive=True),
        "l1": Lasso(alpha=0.01, positive=True, tol=1e-8),
        "l2": Ridge(alpha=0.01 * len(y), positive=True, tol=1e-10, max_iter=100_000),
    }[penalty].fit(X, y)
    best = objective(model, X, y, peer.coef_, peer.intercept_)
    assert objective(model, X, y, model.coef_, model.intercept_) <= best * (1 + 1e-3)


# ---------------------------------------------------------------- sparse


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.get("loss") != "quantile"], ids=str)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sparse_gives_the_dense_model(rng, member, fit_intercept):
    # Stored entries far from zero: the centre matters, and must not damp the intercept.
    X = np.where(rng.random((1500, 12)) < 0.3, rng.normal(size=(1500, 12)) + 1000, 0.0)
    y = X @ rng.normal(size=12) + 500 * rng.normal(size=1500) + 1e6
    if member.get("loss", "").endswith("insensitive") or member.get("loss") == "huber":
        member = {**member, "epsilon": 200.0}
    model = SGDLinearRegressor(**member, fit_intercept=fit_intercept, random_state=0)
    dense = model.fit(X, y).coef_
    sparse = model.fit(csr_array(X), y).coef_
    np.testing.assert_allclose(sparse, dense, rtol=1e-6, atol=1e-6 * np.abs(dense).max())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_every_sparse_container_gives_the_same_model(rng, method):
    X = csr_array(np.where(rng.random((300, 6)) < 0.4, rng.normal(size=(300, 6)), 0.0))
    y = X @ np.arange(6.0) + rng.normal(size=300)
    long = X.copy()
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    doubled = coo_matrix(
        (np.tile(X.tocoo().data / 2, 2), (np.tile(X.tocoo().row, 2), np.tile(X.tocoo().col, 2)))
    )
    unsorted = csr_matrix(X.tocsc().T.tocsr().T)
    expected = getattr(SGDLinearRegressor(random_state=0), method)(X, y)
    for other in (long, doubled, unsorted, csr_matrix(X), csc_array(X), X.tolil()):
        model = getattr(SGDLinearRegressor(random_state=0), method)(other, y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-12)
        np.testing.assert_allclose(model.predict(other), expected.predict(X.toarray()), rtol=1e-9)


def test_empty_columns_and_rows(rng):
    X = csr_array((50, 3))
    model = SGDLinearRegressor(random_state=0).fit(X, np.full(50, 2.0))
    np.testing.assert_array_equal(model.coef_, 0.0)
    assert model.intercept_ == 2.0


def test_one_hot_and_numeric_columns_together(rng):
    categories = rng.zipf(1.5, 8000) % 600
    numeric = rng.lognormal(3, 2, size=(8000, 2))
    X = csr_array((np.ones(8000), (np.arange(8000), categories)), shape=(8000, 600))
    y = rng.normal(size=600)[categories] + 0.01 * numeric[:, 0] + 0.3 * rng.normal(size=8000)
    X = hstack([X, numeric]).tocsr()
    model = SGDLinearRegressor(random_state=0).fit(X[:6000], y[:6000])
    peers = [
        Ridge(alpha=alpha, solver="lsqr", tol=1e-8).fit(X[:6000], y[:6000]) for alpha in (0.01, 1.0)
    ]
    best = max(peer.score(X[6000:], y[6000:]) for peer in peers)
    assert model.score(X[6000:], y[6000:]) > best - 0.002
    assert model.n_iter_ <= 10


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_weight_is_repetition(rng, member):
    X, y = make_data(rng, 300)
    weight = rng.integers(0, 4, 300)
    model = SGDLinearRegressor(**member, random_state=0)
    weighted = model.fit(X, y, sample_weight=weight)
    first = objective(model, X, y, weighted.coef_, weighted.intercept_, weight)
    repeated = model.fit(X.repeat(weight, axis=0), y.repeat(weight))
    second = objective(model, X, y, repeated.coef_, repeated.intercept_, weight)
    np.testing.assert_allclose(first, second, rtol=2e-4)


def test_huge_weights_on_a_tenth_of_the_rows():
    X, y = load("collinear")
    weight = np.where(np.arange(len(y)) % 10 == 0, 1e6, 1.0)
    exact = LinearRegression().fit(X, y, sample_weight=weight)
    model = SGDLinearRegressor(random_state=0).fit(X, y, sample_weight=weight)
    loss = [np.average((y - m.predict(X)) ** 2, weights=weight) for m in (model, exact)]
    assert loss[0] <= loss[1] * (1 + 1e-3)


# ---------------------------------------------------------------- several targets, warm start


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("member", [{}, {"loss": "huber"}, {"penalty": "l1"}], ids=str)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_each_target_is_the_model_it_is_alone(rng, member, container, method):
    X, y = make_data(rng, 400)
    Y = np.column_stack([y, X[:, 0] + rng.normal(size=400), 1e6 * y + 1e7])
    model = getattr(SGDLinearRegressor(**member, random_state=0), method)(container(X), Y)
    assert model.coef_.shape == (3, 8)
    assert model.intercept_.shape == (3,)
    assert model.predict(X).shape == (400, 3)
    for k in range(3):
        alone = getattr(SGDLinearRegressor(**member, random_state=0), method)(container(X), Y[:, k])
        if method == "fit" and member.get("loss") != "huber":
            # Products with several targets are summed up in another order than with one.
            np.testing.assert_allclose(model.coef_[k], alone.coef_, rtol=1e-10)
            np.testing.assert_allclose(model.intercept_[k], alone.intercept_, rtol=1e-10)
        else:
            np.testing.assert_array_equal(model.coef_[k], alone.coef_)
            assert model.intercept_[k] == alone.intercept_
    second = model.partial_fit(container(X), Y)
    assert second.coef_.shape == (3, 8)


def test_each_target_goes_on_from_a_fit_as_it_does_alone(rng):
    # The targets take different numbers of epochs, and the order of rows follows from them.
    X = rng.normal(size=(300, 4))
    Y = np.column_stack([rng.standard_t(2, size=300), np.zeros(300), 1e3 * X[:, 0]])
    model = SGDLinearRegressor(loss="huber", solver="sgd", epsilon=1.0, random_state=0)
    together = clone(model).fit(X[:200], Y[:200]).partial_fit(X[200:], Y[200:])
    n_epochs = set()
    for k in range(3):
        alone = clone(model).fit(X[:200], Y[:200, k])
        n_epochs.add(alone.n_iter_)
        alone.partial_fit(X[200:], Y[200:, k])
        np.testing.assert_array_equal(together.coef_[k], alone.coef_)
        assert together.intercept_[k] == alone.intercept_
    assert len(n_epochs) > 1


def test_targets_that_share_an_estimated_hessian_are_the_models_they_are_alone(rng):
    # The first needs no Hessian; the second, of a signal where there is little curvature, does.
    X = rng.normal(size=(12_000, 60)) * np.logspace(0, -1.5, 60) @ rng.normal(size=(60, 60))
    Y = np.column_stack([rng.normal(size=12_000), X @ rng.normal(size=60)])
    Y[:, 1] += 0.1 * rng.normal(size=12_000)
    model = SGDLinearRegressor(solver="newton-cg", random_state=0)
    for order in ([0, 1], [1, 0]):
        together = clone(model).fit(X, Y[:, order])
        for target in (0, 1):
            alone = clone(model).fit(X, Y[:, order[target]])
            np.testing.assert_array_equal(together.coef_[target], alone.coef_)


def test_loss_curve_of_several_targets_is_their_mean(rng):
    X, y = make_data(rng, 400)
    Y = np.column_stack([y, X[:, 0] ** 2])
    model = SGDLinearRegressor(random_state=0).fit(X, Y)
    np.testing.assert_allclose(model.loss_curve_[-1], np.mean((Y - model.predict(X)) ** 2) / 2)
    assert len(model.loss_curve_) == model.n_iter_


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_all_targets_share_one_pass(rng, monkeypatch, container):
    X, y = make_data(rng, 2000)
    read = []
    add = one_pass.add_cross_products

    def counted(columns, targets, *args):
        read.append(len(targets[0]))
        add(columns, targets, *args)

    monkeypatch.setattr(one_pass, "add_cross_products", counted)
    monkeypatch.setattr(Rows, "chunks", None)
    monkeypatch.setattr(Rows, "products", None)
    SGDLinearRegressor(random_state=0).fit(container(X), np.column_stack([y, y**2, -y]))
    assert sum(read) == 2000


@pytest.mark.parametrize("targets", [1, 2])
def test_warm_start_begins_with_the_last_model(rng, targets):
    X, y = make_data(rng, 3000, 100)
    y = y if targets == 1 else np.column_stack([y, -y])
    cold = SGDLinearRegressor("quantile", random_state=0).fit(X, y)
    warm = SGDLinearRegressor("quantile", random_state=0, warm_start=True, max_iter=1, tol=None)
    first = warm.fit(X, y).loss_curve_[0]
    warm.set_params(max_iter=1000, tol=1e-2).fit(X, y).fit(X, y)
    assert warm.loss_curve_[0] < first
    assert warm.n_iter_ <= cold.n_iter_
    assert warm.t_ == 3000  # the first epoch sweeps, later ones go on from there
    with pytest.raises(ValueError, match=r"warm_start=True, but coef_ .* shape"):
        warm.fit(X[:, :5], y)
    assert warm.coef_.shape[-1] == 100


def test_warm_start_with_one_target_written_either_way(rng):
    X, y = make_data(rng, 400)
    model = SGDLinearRegressor(average=False, max_iter=3, tol=None, warm_start=True, random_state=0)
    for first, second in [(y, y[:, None]), (y[:, None], y)]:
        again = clone(model).fit(X, first).fit(X, first)
        assert again.t_ == 3 * 400  # of the last fit alone
        other = clone(model).fit(X, first).fit(X, second)
        assert other.coef_.shape == (*second.shape[1:], 8)
        assert np.shape(other.intercept_) == second.shape[1:]
        np.testing.assert_array_equal(other.coef_.ravel(), again.coef_.ravel())
        assert other.predict(X).shape == second.shape
    with pytest.raises(ValueError, match=r"warm_start=True, but coef_ .* shape"):
        model.fit(X, y).fit(X, np.column_stack([y, y]))


def test_warm_grid_over_alpha_takes_fewer_passes(rng, monkeypatch):
    # Wide and ill-conditioned, without a matrix; elsewhere an epoch is enough from anywhere.
    X = np.cumsum(rng.normal(size=(700, 500)), axis=1)
    y = X[:, ::50] @ rng.normal(size=10) + rng.normal(size=700)
    passes = []
    counted = InMemory.sum
    monkeypatch.setattr(InMemory, "sum", lambda *args: passes.append(1) or counted(*args))
    counts = []
    for warm_start in (False, True):
        passes.clear()
        model = SGDLinearRegressor(penalty="l2", warm_start=warm_start, random_state=0)
        model._tuning = Tuning(max_hessian_features=400)
        for alpha in np.logspace(2, -1, 5):
            model.set_params(alpha=alpha).fit(X, y)
        counts.append(len(passes))
    assert counts[1] < counts[0]


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_wide_data_have_the_zeros_of_lasso(rng, kind):
    X = rng.normal(size=(150, Tuning().max_hessian_features + 4))
    y = X[:, :10] @ rng.uniform(1, 2, 10) + rng.normal(size=len(X))
    model = SGDLinearRegressor(penalty="l1", alpha=0.3, random_state=0).fit(kind(X), y)
    lasso = Lasso(alpha=0.3, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(model.coef_ == 0, lasso.coef_ == 0)
    np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-3)


def test_other_targets_than_before_are_named(rng):
    X, y = make_data(rng, 100)
    model = SGDLinearRegressor(random_state=0).partial_fit(X, y)
    for other in (y[:, None], np.column_stack([y, y])):
        with pytest.raises(ValueError, match=r"y has . columns, but one dimension"):
            model.partial_fit(X, other)
    early = SGDLinearRegressor(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="y_val has 1 columns, but one dimension"):
        early.fit(X, y, X_val=X, y_val=y[:, None])
    with pytest.raises(ValueError, match="only sample_weight_val was provided"):
        early.fit(X, y, sample_weight_val=y)


def test_huber_needs_a_threshold(rng):
    X, y = make_data(rng, 100)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="'epsilon' parameter of SGDLinearRegressor"):
            getattr(SGDLinearRegressor("huber", epsilon=0), method)(X, y)


def test_rows_in_the_dead_zone_have_no_say(rng):
    # All residuals within epsilon, and only the penalty is left: must end, and at zero.
    X, y = make_data(rng, 200)
    model = SGDLinearRegressor(
        "epsilon_insensitive", epsilon=1e3, penalty="l2", alpha=0.1, random_state=0
    )
    model.fit(X, y)
    np.testing.assert_allclose(model.coef_, 0.0, atol=1e-3)
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("penalty", [None, "l2"])
def test_squares_of_all_residuals_are_twice_the_squared_error(rng, penalty):
    X = rng.normal(size=(500, 4))
    y = X @ [1, 2, 3, 4] + rng.normal(size=500)
    squares = SGDLinearRegressor(
        loss="squared_epsilon_insensitive", epsilon=0, penalty=penalty, alpha=1, tol=1e-8
    ).fit(X, y)
    half = SGDLinearRegressor(penalty=penalty, alpha=0.5, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(squares.coef_, half.coef_, rtol=1e-5)
