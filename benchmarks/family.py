"""The family of objectives with kinks, against solvers made for each: one table.

For each data set, and for l1 each alpha, which is the least that leaves only zeros divided by a
number: the median time of others in units of ours (above 1 we are faster); how far each objective
is above the best of all, relative to it; how many coefficients are zero; and how many of ours
differ in being zero from those of scikit-learn at a tolerance of 1e-10. Run as
``python benchmarks/family.py [part of a name ...]``; skglm and celer take part where they are
installed. One thread.
"""

import sys
import time
import warnings
from functools import partial
from importlib import import_module

import numpy as np
import robust
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.sparse import csr_array, csr_matrix, issparse, random_array
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression
from threadpoolctl import threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor

OURS = "ours"
BUDGET, MOST = 2.0, 7  # seconds, and runs, of each
EXACT_ENTRIES = 2_000_000  # of X up to which zeros are compared
RATIO = 0.5  # of l1 in elastic nets


def dense(n_rows, n_features, n_active=50):
    """Normal columns, some of which matter."""
    rng = np.random.default_rng(0)
    X, coef = rng.standard_normal((n_rows, n_features)), np.zeros(n_features)
    active = rng.permutation(n_features)[:n_active]
    coef[active] = rng.standard_normal(len(active))
    signal = X @ coef
    return X, 3 + signal / signal.std() + 0.5 * rng.standard_normal(n_rows)


def sparse(n_rows, n_features, per_row):
    """A CSR matrix with numbers at random places."""
    rng = np.random.default_rng(0)
    X = csr_array(random_array((n_rows, n_features), density=per_row / n_features, rng=rng))
    signal = X @ rng.standard_normal(n_features)
    y = 3 + signal / signal.std() + 0.5 * rng.standard_normal(n_rows)
    return csr_matrix((X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), X.shape), y


class Cholesky:
    """Non-negative least squares of the Cholesky factor of the products of columns."""

    def fit(self, X, y):
        mean, target = X.mean(axis=0), y - y.mean()
        gram = X.T @ X - len(y) * np.outer(mean, mean)
        factor = cholesky(gram)
        self.coef_, _ = nnls(factor, solve_triangular(factor, X.T @ target, trans=1))
        self.intercept_ = y.mean() - mean @ self.coef_
        return self


DENSE = [(442, 10), (1000, 100), (500, 5000), (2000, 2000), (50_000, 200), (500_000, 50)]
CELLS = {
    **{f"l1 {n} x {d}": (partial(dense, n, d), "l1", (2, 10, 100, 1000)) for n, d in DENSE},
    "l1 5000 x 20000": (partial(dense, 5000, 20_000), "l1", (2, 10, 100)),
    "elasticnet 500 x 5000": (partial(dense, 500, 5000), "elasticnet", (2, 10, 100)),
    "elasticnet 50000 x 200": (partial(dense, 50_000, 200), "elasticnet", (2, 10, 100)),
    "l1 CSR 50000 x 100000": (partial(sparse, 50_000, 100_000, 50), "l1", (2, 10, 100)),
    **{
        f"positive {n} x {d}": (partial(dense, n, d), "positive", (1,))
        for n, d in [(442, 10), (5000, 100), (100_000, 200)]
    },
}


def models(penalty, alpha):
    """Return the models that minimise the same objective, by name."""
    if penalty == "positive":
        ours = SGDLinearRegressor(positive=True, random_state=0)
        return {
            OURS: ours,
            "LinearRegression": LinearRegression(positive=True),
            "nnls of Cholesky": Cholesky(),
        }
    found = {OURS: SGDLinearRegressor(penalty=penalty, alpha=alpha, random_state=0)}
    options = {"alpha": alpha}
    if penalty == "elasticnet":
        found[OURS].set_params(l1_ratio=RATIO)
        options["l1_ratio"] = RATIO
    name = "Lasso" if penalty == "l1" else "ElasticNet"
    found["scikit-learn"] = (Lasso if penalty == "l1" else ElasticNet)(**options)
    for package in ("skglm", "celer"):
        try:
            found[package] = getattr(import_module(package), name)(**options)
        except ImportError:
            continue
    return found


def value(model, X, y, penalty, alpha):
    """Return the objective at a fitted model."""
    residual = y - X @ model.coef_ - model.intercept_
    share = {"l1": 1.0, "elasticnet": RATIO, "positive": 0.0}[penalty]
    l1, l2 = (alpha * share, alpha * (1 - share)) if penalty != "positive" else (0.0, 0.0)
    square = residual @ residual / 2 / len(y)
    return square + l1 * np.abs(model.coef_).sum() + l2 * model.coef_ @ model.coef_ / 2


def measure(X, y, penalty, fraction):
    """Return alpha, seconds, and the fitted models."""
    alpha = np.abs(X.T @ (y - y.mean())).max() / len(y) / fraction
    alpha /= RATIO if penalty == "elasticnet" else 1.0
    found = models(penalty, alpha)
    seconds = {name: [] for name in found}
    for _ in range(MOST):
        for name, model in found.items():
            if sum(seconds[name]) < BUDGET:
                start = time.process_time()
                model.fit(X, y)
                seconds[name].append(time.process_time() - start)
    return alpha, {name: float(np.median(runs)) for name, runs in seconds.items()}, found


def row(cell, seconds, excess, zeros, note=""):
    """Print a row of the table."""
    peers = []
    for name in seconds:
        facts = [f"{excess[name]:.0e}"] if name in excess else []
        facts += [f"{zeros[name]} zeros"] if name in zeros else []
        ratio = "" if name == OURS else f" {seconds[name] / seconds[OURS]:.2f} x"
        peers.append(f"{name}{ratio} ({', '.join(facts) or 'another objective'})")
    print(f"| {cell} | {1e3 * seconds[OURS]:.1f} ms | {'; '.join(peers)}{note} |", flush=True)


def squared(cell, make, penalty, fractions):
    """Print the rows of squared error; yield seconds."""
    X, y = make()
    for fraction in fractions:
        alpha, seconds, found = measure(X, y, penalty, fraction)
        values = {name: value(model, X, y, penalty, alpha) for name, model in found.items()}
        least = min(values.values())
        excess = {name: values[name] / least - 1 for name in values}
        zeros = {name: np.count_nonzero(model.coef_ == 0) for name, model in found.items()}
        note = ""
        if penalty == "l1" and not issparse(X) and X.size <= EXACT_ENTRIES:
            exact = Lasso(alpha=alpha, tol=1e-10, max_iter=10**6).fit(X, y)
            differ = np.count_nonzero((exact.coef_ == 0) != (found[OURS].coef_ == 0))
            note = f"; {differ} differ"
        row(cell if penalty == "positive" else f"{cell} / {fraction}", seconds, excess, zeros, note)
        yield seconds


def main(parts):
    """Print the table, then geometric means of the ratios of squared error."""
    warnings.simplefilter("ignore")  # of models that do not converge: the excess tells
    for make in (partial(dense, 50, 60), partial(sparse, 60, 50, 5)):
        measure(*make(), "l1", 10)  # imports and compilers
    print("| data | ours | objective above the best; time in units of ours |\n|---|---|---|")
    ratios = {}
    for cell, arguments in CELLS.items():
        if parts and not any(part in cell for part in parts):
            continue
        for seconds in squared(cell, *arguments):
            for name in seconds.keys() - {OURS}:
                ratios.setdefault(name, []).append(seconds[name] / seconds[OURS])
    for name, make, options in robust.cells():
        if parts and not any(part in name for part in parts):
            continue
        X, y = make()
        seconds, excess = robust.measure(name, X, y, options)
        del seconds["sum"]
        row(f"{name} {X.shape[0]} x {X.shape[1]}", seconds, excess, {})
    for name, found in sorted(ratios.items()):
        print(f"geometric mean, {name}: {np.exp(np.mean(np.log(found))):.2f} x")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(sys.argv[1:])
