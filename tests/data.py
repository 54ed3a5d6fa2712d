"""Data sets of every kind the estimator must fit raw, all made here or shipped by scikit-learn."""

from itertools import combinations, cycle, product

import numpy as np
from sklearn import datasets


def pairs(*factors):
    """Return cases in which every two values of two factors meet: far fewer than in the grid."""
    grid = {
        case: set(combinations(enumerate(case), 2))
        for case in product(*(range(len(values)) for values in factors))
    }
    cases, wanted = [], set().union(*grid.values())
    while wanted:
        case = max(grid, key=lambda case: len(grid[case] & wanted))
        wanted -= grid[case]
        cases.append(tuple(values[i] for values, i in zip(factors, case, strict=True)))
    return cases


def _linear(rng, X, noise=1.0):
    """Targets with every column at work, whatever its scale; noise relative to the signal."""
    spread = X.std(axis=0)
    coef = np.divide(
        rng.normal(size=X.shape[1]),
        spread,
        out=np.zeros_like(spread),
        where=spread > 1e-12 * np.abs(X).max(axis=0),
    )
    signal = (X - X.mean(axis=0)) @ coef
    return X, signal + noise * signal.std() * rng.normal(size=len(X)) + 5 * signal.std()


def _autoregressive(rng, n_rows, n_features, correlation):
    X = rng.normal(size=(n_rows, n_features))
    for j in range(1, n_features):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    return X


def _binary_rare(rng):
    return (rng.random((5000, 40)) < np.logspace(-3, -0.5, 40)).astype(float)


def _with_constant_and_duplicate(rng):
    X = rng.normal(size=(2000, 6)) * [1, 10, 100, 1e3, 1e4, 1e5]
    return np.column_stack([X, X[:, 0], np.full(2000, 0.1), 3 * X[:, 1] - X[:, 2]])


def _sorted_by_y(rng):
    X, y = _linear(rng, rng.normal(size=(20_000, 15)) @ rng.normal(size=(15, 15)), 0.3)
    order = np.argsort(y)
    return X[order], y[order]


MAKERS = {
    "normal": lambda rng: _linear(rng, rng.normal(size=(3000, 30))),
    "normal wide": lambda rng: _linear(rng, rng.normal(size=(4000, 200))),
    "autoregressive": lambda rng: _linear(rng, _autoregressive(rng, 3000, 150, 0.95)),
    "collinear": lambda rng: _linear(rng, _autoregressive(rng, 3000, 20, 0.99), 0.1),
    "heavy tails": lambda rng: _linear(rng, rng.standard_t(2.5, size=(3000, 20))),
    "log-normal": lambda rng: _linear(rng, rng.lognormal(0, 2, size=(3000, 20))),
    "rare binary": lambda rng: _linear(rng, _binary_rare(rng)),
    "powers": lambda rng: _linear(rng, rng.uniform(-1, 1, (3000, 1)) ** np.arange(1, 7), 0.2),
    "scales": lambda rng: _linear(rng, rng.normal(size=(3000, 19)) * np.logspace(-9, 9, 19)),
    "far from zero": lambda rng: _linear(rng, rng.normal(size=(3000, 5)) + 1e6),
    "constant, duplicate": lambda rng: _linear(rng, _with_constant_and_duplicate(rng)),
    "sorted by y": _sorted_by_y,
    "one column": lambda rng: _linear(rng, rng.normal(size=(1000, 1)) * 1e-3 + 40),
    "digits": lambda rng: datasets.load_digits(return_X_y=True),
}


def load(name):
    X, y = MAKERS[name](np.random.default_rng(list(MAKERS).index(name)))
    return np.ascontiguousarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)


def learn(model, X, y, sizes, weight=None):
    """The model after all rows, in chunks of these sizes (or of one size) again and again."""
    start, sizes = 0, cycle(np.atleast_1d(sizes))
    while start < len(y):
        part = slice(start, start + next(sizes))
        model.partial_fit(X[part], y[part], None if weight is None else weight[part])
        start = part.stop
    return model


def least_squares_mse(X, y):
    """The least mean squared error, from a QR decomposition of the standardised columns.

    LinearRegression itself drops directions below 1e-6 of the longest, so on columns of very
    different scale it is not the optimum.
    """
    spread = X.std(axis=0)
    varies = spread > 1e-12 * np.abs(X).max(axis=0)
    z = (X[:, varies] - X[:, varies].mean(axis=0)) / spread[varies]
    target = y - y.mean()
    residual = target - z @ np.linalg.lstsq(z, target, rcond=1e-10)[0]
    return float(np.mean(residual**2))
