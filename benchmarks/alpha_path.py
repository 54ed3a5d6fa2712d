"""Time of a choice of alpha by cross-validation, against other estimators that choose it.

    python benchmarks/alpha_path.py [--data 500000x50 50000x200 500x5000] [--peers LassoCV]
        [--alphas 100] [--budget 10] [--processor-time]

Each line is a ratio of medians, all of one run: how many times as long the other takes. The
grids are those of `SGDLinearRegressorCV`, in 5 folds. celer's own `LassoCV` does not run with every
scikit-learn, so its path is called for each fold, and for all rows, as that would do.
"""

import argparse
import time
import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import KFold
from timing import medians

from sklearn_sgdlin import SGDLinearRegressor, SGDLinearRegressorCV

SHAPES = {"500000x50": (500_000, 50), "50000x200": (50_000, 200), "500x5000": (500, 5000)}
N_RELEVANT = 20

# Entries of X up to which the slower peers run, too: they take minutes beyond.
MAX_ENTRIES = 20_000_000


def normal_columns(n_rows, n_features):
    """Normal columns of which some matter, and as much noise as signal."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    coef = rng.normal(size=N_RELEVANT)
    signal = X[:, :N_RELEVANT] @ coef
    return X, signal + signal.std() * rng.normal(size=n_rows)


def celer_cv(X, y, alphas):
    """Choose alpha by 5 folds with celer's path; return the mean squared errors."""
    from celer import celer_path

    errors = []
    for train, test in [*KFold(5).split(X), (slice(None), slice(None))]:
        centre, mean = X[train].mean(axis=0), y[train].mean()
        Z = np.asfortranarray(X[train] - centre)
        _, coef, *_ = celer_path(Z, y[train] - mean, "lasso", alphas=alphas)
        residual = (y[test] - mean)[:, np.newaxis] - (X[test] - centre) @ coef
        errors.append((residual**2).mean(axis=0))
    return np.column_stack(errors[:-1])


def compare(name, peers, n_alphas, timed):
    """Yield lines for data of one size."""
    X, y = normal_columns(*SHAPES[name])
    lasso = SGDLinearRegressorCV(l1_ratio=1, alphas=n_alphas)
    ridge = SGDLinearRegressorCV(l1_ratio=0, alphas=n_alphas)
    lasso.fit(X, y)
    ridge.fit(X, y)
    one = SGDLinearRegressor(penalty="l1", alpha=lasso.alpha_)
    peer = LassoCV(alphas=lasso.alphas_, cv=5)
    functions = {
        "one fit, l1": lambda: one.fit(X, y),
        "l1": lambda: lasso.fit(X, y),
        "l2": lambda: ridge.fit(X, y),
        "LassoCV": lambda: peer.fit(X, y),
    }
    if X.size <= MAX_ENTRIES:
        alphas = ridge.alphas_ * len(y)
        functions["RidgeCV"] = lambda: RidgeCV(alphas=alphas, cv=5).fit(X, y)
        if find_spec("celer"):
            functions["celer"] = lambda: celer_cv(X, y, lasso.alphas_)
    own = {"one fit, l1", "l1", "l2"}
    functions = {key: run for key, run in functions.items() if key in own | set(peers)}
    seconds = medians(functions, **timed)
    for other, of in [(other, "l2" if other == "RidgeCV" else "l1") for other in functions]:
        if other not in ("l1", "l2"):
            yield f"{name}: {other} / {of}: {seconds[other] / seconds[of]:.2f}"
    yield f"{name}: seconds of l1 {seconds['l1']:.3f}, of l2 {seconds['l2']:.3f}"
    if "LassoCV" not in functions:
        return
    error = np.abs(peer.mse_path_ / lasso.mse_path_ - 1).max()
    same = peer.alpha_ == lasso.alpha_
    yield f"{name}: mean squared errors of LassoCV differ by {error:.1e}; same alpha: {same}"


def main():
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--peers", nargs="+", default=["LassoCV", "RidgeCV", "celer"])
    parser.add_argument("--alphas", type=int, default=100)
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of each, about")
    parser.add_argument(
        "--processor-time", action="store_true", help="of all threads, where others keep cores busy"
    )
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    timed = {"budget": arguments.budget, "clock": clock}
    warnings.simplefilter("ignore", ConvergenceWarning)  # peers stop at their own limits
    for name in arguments.data:
        for line in compare(name, arguments.peers, arguments.alphas, timed):
            print(f"- {line}", flush=True)


if __name__ == "__main__":
    main()
