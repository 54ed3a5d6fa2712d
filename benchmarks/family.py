"""Losses and penalties other than plain least squares, against solvers made for each: two tables.

The first table, on standard error, has a row for each data set, and for l1 each alpha, which is the
least that leaves only zeros divided by a number: how far each objective is above the best of all,
relative to it; how many coefficients are zero; and how many of ours differ in being zero from those
of scikit-learn at a tolerance of 1e-10. The second one is that of docs/speed.md: our median time,
and that of others in units of it (above 1 we are faster). Geometric means follow. Run as
``python benchmarks/family.py [part of a name ...]``, with ``--all`` for large data and all alphas;
skglm and celer take part where they are installed. One thread; seconds of the processor.
"""

import sys
import time
import warnings
from functools import partial
from importlib import import_module
from typing import NamedTuple

import compare
import numpy as np
import robust
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.sparse import csr_array, csr_matrix, issparse, random_array
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression
from threadpoolctl import threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor

OURS, SUM = "ours", "`X.sum()`"
BUDGET, MOST = 1.0, 5  # seconds, and runs, of each
EXACT_ENTRIES = 2_000_000  # of X up to which zeros are compared
SAME = 1e-4  # excess of the objective that is not shown in the second table
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


class NonNegative:
    """Non-negative least squares by scipy.

    Parameters
    ----------
    factorise : bool
        Whether to pass the Cholesky factor of the products of columns instead of all rows.
    """

    def __init__(self, factorise):
        self.factorise = factorise

    def fit(self, X, y):
        mean, target = X.mean(axis=0), y - y.mean()
        if self.factorise:
            factor = cholesky(X.T @ X - len(y) * np.outer(mean, mean))
            system = factor, solve_triangular(factor, X.T @ target, trans=1)
        else:
            system = X - mean, target
        self.coef_, _ = nnls(*system)
        self.intercept_ = y.mean() - mean @ self.coef_
        return self


class Cell(NamedTuple):
    """A data set, and alphas as parts of the largest one.

    Attributes
    ----------
    make : callable
    penalty : str
    parts : tuple of int
    large : bool
        Whether it is left out without ``--all``.
    """

    make: partial
    penalty: str
    parts: tuple[int, ...] = (10,)
    large: bool = False


def cells():
    """Return the cells of squared error by name."""
    found = {}
    for n, d in ((442, 10), (1000, 100), (500, 5000), (2000, 2000), (50_000, 200)):
        found[f"l1 {n} x {d}"] = Cell(partial(dense, n, d), "l1", (2, 10, 100, 1000))
    for n, d in ((500_000, 50), (5000, 20_000)):
        found[f"l1 {n} x {d}"] = Cell(partial(dense, n, d), "l1", (2, 10, 100, 1000), True)
    for n, d in ((500, 5000), (50_000, 200)):
        found[f"elasticnet {n} x {d}"] = Cell(partial(dense, n, d), "elasticnet", (2, 10, 100))
    for n, d, large in ((10_000, 20_000, False), (50_000, 100_000, True)):
        cell = Cell(partial(sparse, n, d, 50), "l1", (2, 10, 100), large)
        found[f"l1 CSR {n} x {d}"] = cell
    for n, d in ((442, 10), (5000, 100), (100_000, 200)):
        found[f"positive {n} x {d}"] = Cell(partial(dense, n, d), "positive", (10,))
    return found


def models(penalty, alpha):
    """Return the models that minimise the same objective, by name."""
    if penalty == "positive":
        return {
            OURS: SGDLinearRegressor(positive=True, random_state=0),
            "LinearRegression": LinearRegression(positive=True),
            "nnls": NonNegative(factorise=False),
            "nnls of the Cholesky factor": NonNegative(factorise=True),
        }
    found = {OURS: SGDLinearRegressor(penalty=penalty, alpha=alpha, random_state=0)}
    options = {"alpha": alpha}
    if penalty == "elasticnet":
        found[OURS].set_params(l1_ratio=RATIO)
        options["l1_ratio"] = RATIO
    name = "Lasso" if penalty == "l1" else "ElasticNet"
    found[name] = (Lasso if penalty == "l1" else ElasticNet)(**options)
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


def measure(X, y, penalty, part):
    """Return alpha, seconds, and the fitted models."""
    alpha = np.abs(X.T @ (y - y.mean())).max() / len(y) / part
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


def detail(cell, seconds, excess, zeros, note=""):
    """Print a row of the first table."""
    peers = []
    for name in seconds:
        if name == SUM:
            continue
        facts = [f"{excess[name]:.0e}"] if name in excess else []
        facts += [f"{zeros[name]} zeros"] if name in zeros else []
        peers.append(f"{name} ({', '.join(facts) or 'another objective'})")
    print(f"| {cell} | {'; '.join(peers)}{note} |", file=sys.stderr, flush=True)


class Result(NamedTuple):
    """What has been measured in a row of the first table.

    Attributes
    ----------
    objective, shape : str
    seconds, excess : dict of float by model
    """

    objective: str
    shape: str
    seconds: dict
    excess: dict

    def times(self, name):
        """Return the time of a model in units of ours, as text."""
        ratio, above = self.seconds[name] / self.seconds[OURS], self.excess.get(name, 0.0)
        if name == SUM:
            return f"1/{compare.short(1 / ratio)}"
        above = f" ({compare.short(100 * above)} % above)" if above > SAME else ""
        return compare.short(ratio) + above


def line(result):
    """Return a row of the second table."""
    ms = compare.short(1e3 * result.seconds[OURS])
    peers = [f"{name} {result.times(name)}" for name in result.seconds if name != OURS]
    return f"| {result.objective} | {result.shape} | {ms} | {'; '.join(peers)} |"


def shape_of(X):
    """Return the numbers of rows and columns as text."""
    return f"{X.shape[0]:,} x {X.shape[1]:,}{' CSR' if issparse(X) else ''}"


def squared(name, cell, parts):
    """Yield the `Result` of squared error with each of some alphas."""
    X, y = cell.make()
    for part in parts:
        alpha, seconds, found = measure(X, y, cell.penalty, part)
        values = {key: value(model, X, y, cell.penalty, alpha) for key, model in found.items()}
        least = min(values.values())
        excess = {key: values[key] / least - 1 for key in values}
        zeros = {key: np.count_nonzero(model.coef_ == 0) for key, model in found.items()}
        note = ""
        if cell.penalty == "l1" and not issparse(X) and X.size <= EXACT_ENTRIES:
            exact = Lasso(alpha=alpha, tol=1e-10, max_iter=10**6).fit(X, y)
            differ = np.count_nonzero((exact.coef_ == 0) != (found[OURS].coef_ == 0))
            note = f"; {differ} differ"
        objective = cell.penalty
        if objective != "positive":
            objective += f", largest alpha / {part}"
        detail(f"{name} / {part}", seconds, excess, zeros, note)
        yield Result(objective, shape_of(X), seconds, excess)


def other_losses(name, make, options):
    """Return the `Result` of another loss."""
    X, y = make()
    seconds, excess = robust.measure(name, X, y, options)
    sums = seconds.pop("sum")
    if "quantile" in name:
        seconds[SUM] = sums
    detail(f"{name} {shape_of(X)}", seconds, excess, {})
    return Result(name, shape_of(X), seconds, excess)


def measured(wanted, everything):
    """Yield the `Result` of each cell."""
    for name, cell in cells().items():
        if wanted(name) and (everything or not cell.large):
            parts = cell.parts if everything else [p for p in cell.parts if p == 10]
            yield from squared(name, cell, parts)
    for name, make, options, large in robust.cells():
        if wanted(name) and (everything or not large):
            yield other_losses(name, make, options)


def main(arguments):
    """Print the tables, then geometric means of the ratios."""
    warnings.simplefilter("ignore")  # of models that do not converge: the excess tells
    parts = [argument for argument in arguments if argument != "--all"]
    lines, ratios = [], {}
    wanted = lambda name: not parts or any(part in name for part in parts)  # noqa: E731
    if any(wanted(name) for name, cell in cells().items() if cell.penalty != "positive"):
        for make in (partial(dense, 50, 60), partial(sparse, 60, 50, 5)):
            measure(*make(), "l1", 10)  # imports and compilers
    for result in measured(wanted, "--all" in arguments):
        lines.append(line(result))
        print(lines[-1], file=sys.stderr, flush=True)
        for name in result.seconds.keys() - {OURS, SUM}:
            ratios.setdefault(name, []).append(result.seconds[name] / result.seconds[OURS])
    print("| objective | rows x columns | ours, ms | time of others / ours |\n|---|---|---|---|")
    print("\n".join(lines))
    means = [
        f"{name} {compare.short(np.exp(np.mean(np.log(found))))}"
        for name, found in sorted(ratios.items())
    ]
    print(f"| geometric means | | | {', '.join(means)} |\n\n{compare.machine(threads=1)}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(sys.argv[1:])
