"""Robust losses against other solvers of the same objective, for the tables of `family.py`.

Peers are scikit-learn's estimators on standardised columns, whose time counts, and a plain
semismooth Newton method in NumPy. The least objective is that of any of them, or of a fit with a
small `tol`.
"""

import time

import numpy as np
from scipy.sparse import issparse
from sklearn.datasets import load_diabetes
from sklearn.linear_model import HuberRegressor, QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR
from suite import hashed
from timing import medians

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import make_loss

BUDGET = 1.0  # seconds for each model of a cell
HUBER = 1.35
AS_GOOD = 1e-4  # excess of an objective that counts as none
LARGE_ROWS = 1_000_000
HIGHS_ROWS = 10_000  # of more, QuantileRegressor would take minutes


def plain_newton(X, y, epsilon, steps=50):
    """Coefficients and intercept of the least Huber loss, by full Newton steps."""
    centre, scale = X.mean(axis=0), X.std(axis=0)
    z = np.column_stack([(X - centre) / scale, np.ones(len(y))])
    theta = np.linalg.lstsq(z.T @ z, z.T @ y, rcond=None)[0]
    before = None
    for _ in range(steps):
        residual = y - z @ theta
        curved = np.abs(residual) <= epsilon
        if before is not None and np.array_equal(curved, before):
            break
        slope = np.clip(residual, -epsilon, epsilon) @ z
        rows = z[curved]
        theta, before = theta + np.linalg.solve(rows.T @ rows, slope), curved
    coef = theta[:-1] / scale
    return coef, theta[-1] - centre @ coef


def normal(n_rows, n_features):
    """Columns of some units, and errors with tails."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)) * 10 ** rng.uniform(-1, 1, n_features)
    X += rng.standard_normal(n_features)
    return X, X @ rng.standard_normal(n_features) + 3 * rng.standard_t(4, size=n_rows)


def diabetes():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    return np.ascontiguousarray(X, dtype=float), y


def words():
    return hashed(np.random.default_rng(0), 20_000, 50_000, 50)


def objective(X, y, options, model):
    """The mean loss and the penalty of a model, given by coefficients and intercept."""
    coef, intercept = model
    loss = make_loss(options["loss"], options.get("epsilon", 0.1), options.get("quantile", 0.5))
    penalty = options.get("alpha", 0.0) * (coef @ coef) / 2
    return float(np.mean(loss.value(y - X @ coef - intercept)) + penalty)


def model_of(estimator):
    """Coefficients and intercept in the units of the data."""
    if not hasattr(estimator, "steps"):
        return np.ravel(estimator.coef_), float(np.ravel(estimator.intercept_)[0])
    scaler, last = estimator[0], estimator[-1]
    coef = np.ravel(last.coef_) / scaler.scale_
    return coef, float(np.ravel(last.intercept_)[0] - scaler.mean_ @ coef)


def svr(y, epsilon, squared):
    """LinearSVR with C=1 for the objective with ``alpha = 1 / n_rows``."""
    loss = "squared_epsilon_insensitive" if squared else "epsilon_insensitive"
    return LinearSVR(epsilon=epsilon, loss=loss, dual=not squared, random_state=0)


def svr_as_good(X, y, options, least):
    """Seconds, coefficients and intercept of LinearSVR once its objective is near the least.

    It has a penalty on the intercept, which `intercept_scaling` makes small. None where no setting
    gets there in the time there is.
    """
    begin = time.process_time()
    for scaling in (1, 100):
        for tol in (1e-4, 1e-5, 1e-6):
            peer = svr(y, options["epsilon"], squared=False)
            peer.set_params(intercept_scaling=scaling, tol=tol, max_iter=100_000)
            start = time.process_time()
            model = model_of(peer.fit(X, y))
            seconds = time.process_time() - start
            if objective(X, y, options, model) <= least * (1 + AS_GOOD):
                return seconds, model
            if scaling == 1 or time.process_time() - begin > BUDGET:
                break
    return None


def cells():
    """Yield name, maker of the data, options of the loss, and whether the data are large."""
    for make in (diabetes, lambda: normal(50_000, 50), lambda: normal(500_000, 20)):
        yield "huber", make, {"loss": "huber"}, False
    yield "quantile 0.5", diabetes, {"loss": "quantile"}, False
    for size in ((500_000, 20), (2_000_000, 10)):
        for level in (0.5, 0.05):
            options = {"loss": "quantile", "quantile": level}
            large = size[0] > LARGE_ROWS
            yield f"quantile {level}", lambda size=size: normal(*size), options, large
    for loss in ("epsilon_insensitive", "squared_epsilon_insensitive"):
        for make in (diabetes, lambda: normal(50_000, 50), words):
            yield loss, make, {"loss": loss, "penalty": "l2"}, make is words


def measure(name, X, y, options):
    """Return median seconds of each model and of ``X.sum()``, and excesses of the objective."""
    spread, standardised = float(np.std(y)), None
    if not issparse(X) and "insensitive" in name:  # a penalty needs columns of one unit
        X = standardised = StandardScaler().fit_transform(X)
    if name == "huber":
        options = options | {"epsilon": HUBER * spread / 2}
    elif "insensitive" in name:
        options = options | {"epsilon": spread / 4, "alpha": 1 / len(y)}
    ours = SGDLinearRegressor(random_state=0, **options)
    models = {"ours": lambda: model_of(ours.fit(X, y))}
    if name == "huber":
        huber = make_pipeline(StandardScaler(), HuberRegressor(alpha=0.0))
        models["HuberRegressor"] = lambda: model_of(huber.fit(X, y))
        models["plain Newton"] = lambda: plain_newton(X, y, options["epsilon"])
    elif "quantile" in name and len(y) < HIGHS_ROWS:
        quantile = make_pipeline(StandardScaler(), QuantileRegressor(alpha=0.0))
        models["QuantileRegressor"] = lambda: model_of(quantile.fit(X, y))
    elif standardised is not None or issparse(X):
        peer = svr(y, options["epsilon"], "squared" in name)
        models["LinearSVR"] = lambda: model_of(peer.fit(X, y))
    found = {}
    seconds = medians(
        {key: lambda key=key: found.update({key: models[key]()}) for key in models}
        | {"sum": X.sum},
        BUDGET,
        most=5,
        clock=time.process_time,
    )
    exact = SGDLinearRegressor(random_state=0, tol=1e-4, **options).fit(X, y)
    values = {key: objective(X, y, options, model) for key, model in found.items()}
    values.pop("HuberRegressor", None)  # it estimates a scale as well: another objective
    least = min(*values.values(), objective(X, y, options, model_of(exact)))
    if name == "epsilon_insensitive" and values["LinearSVR"] > least * (1 + AS_GOOD):
        as_good = svr_as_good(X, y, options, least)
        if as_good is not None:
            seconds["LinearSVR as good"], model = as_good
            values["LinearSVR as good"] = objective(X, y, options, model)
    return seconds, {key: value / least - 1 for key, value in values.items()}
