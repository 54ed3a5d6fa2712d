"""Random problems with kinks, against an independent convex solver.

Every problem is drawn from a seed: rows, columns, scales, means, weights, storage, loss, penalty
and bounds. A model that says "converged" must be within ``max(1e-4, tol**2)`` of the least
objective, which clarabel finds for the same problem written as a quadratic program, and its
coefficients must not be negative with ``positive=True``. Run as
``python benchmarks/optimality.py [number of problems] [first seed]``.
"""

import sys
import warnings
from collections import Counter
from dataclasses import dataclass

import clarabel
import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import LOSSES, make_loss

EXCESS = 1e-4  # above the least objective, relative to it
ROUNDING = 1e-12  # of a prediction, relative to the sum of sizes of its terms
REFERENCE_ERROR = 1e-8  # of the reference's lower bound, relative to the variance of y


@dataclass
class Problem:
    """A data set with the parameters of an estimator."""

    X: object
    y: np.ndarray
    sample_weight: np.ndarray | None
    parameters: dict

    def __post_init__(self):
        parameters = self.parameters
        self.loss = make_loss(parameters["loss"], parameters["epsilon"], parameters["quantile"])
        l1_share = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": parameters["l1_ratio"]}
        share = l1_share[parameters["penalty"]]
        alpha = 0.0 if parameters["penalty"] is None else parameters["alpha"]
        self.l1, self.l2 = alpha * share, alpha * (1 - share)
        self.dense = np.asarray(self.X.todense() if sparse.issparse(self.X) else self.X, float)
        weight = np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight
        self.weight = weight / weight.sum()

    def objective(self, coef, intercept):
        """Mean loss and penalty, as the class documents them."""
        residual = self.y - self.dense @ coef - intercept
        penalty = self.l1 * np.abs(coef).sum() + self.l2 * (coef @ coef) / 2
        return self.weight @ self.loss.value(residual) + penalty

    def fit(self, **parameters):
        """Return the estimator, fitted."""
        model = SGDLinearRegressor(**self.parameters | parameters)
        return model.fit(self.X, self.y, self.sample_weight)


def draw(seed, max_rows=3000, max_columns=100):
    """Return the problem of a seed."""
    rng = np.random.default_rng([20_000, seed])
    n = int(np.exp(rng.uniform(0, np.log(max_rows + 1))))
    d = int(np.exp(rng.uniform(0, np.log(max_columns + 1))))
    X = rng.normal(size=(n, d))
    kind = rng.choice(["normal", "correlated", "heavy tails", "counts", "sparse"])
    if kind == "correlated":
        X = X @ rng.normal(size=(d, d))
    elif kind == "heavy tails":
        X = rng.standard_t(2.5, size=(n, d))
    elif kind == "counts":
        X = rng.poisson(1.0, size=(n, d)).astype(float)
    elif kind == "sparse":
        X *= rng.random((n, d)) < 0.2
    signal = X @ (rng.normal(size=d) * (rng.random(d) < rng.uniform(0.1, 1)))
    noise = rng.standard_t(3, size=n) * 10 ** rng.uniform(-3, 1)
    y = signal + noise * (signal.std() or 1.0) + rng.normal() * 10
    y = y * 10 ** rng.uniform(-3, 3)
    if rng.random() < 0.7:
        X = X * 10 ** rng.uniform(-6, 6, size=d)
    if kind != "sparse" and rng.random() < 0.4:
        X = X + X.std(axis=0) * 10 ** rng.uniform(-1, 5, size=d) * rng.choice([-1, 1], d)
    X = X.astype(rng.choice([np.float32, np.float64]))
    sample_weight = None
    if rng.random() < 0.4:
        sample_weight = rng.choice([rng.exponential(size=n), rng.integers(0, 4, n) * 1.0])
        sample_weight[rng.integers(n)] = 1.0
    parameters = draw_parameters(rng, X, y)
    if kind == "sparse" or rng.random() < 0.2:
        X = sparse.csr_array(X)
    return Problem(X, y, sample_weight, parameters)


def draw_parameters(rng, X, y):
    """Parameters whose penalties and thresholds suit the data, and those that do not."""
    loss = str(rng.choice(list(LOSSES)))
    unit = np.abs(y - np.median(y)).mean() or 1.0
    centred = np.abs((X - X.mean(axis=0, dtype=float)).T @ (y - y.mean())) / len(y)
    slope = np.abs(X - X.mean(axis=0, dtype=float)).mean(axis=0, dtype=float)
    largest = (centred if "squared" in loss else slope * (unit if loss == "huber" else 1)).max()
    return {
        "loss": loss,
        "penalty": rng.choice([None, "l1", "l2", "elasticnet"]),
        "alpha": float(10 ** rng.uniform(-8, 2) * (largest or 1.0)),
        "l1_ratio": float(rng.random()),
        "epsilon": float(unit * 10 ** rng.uniform(-2, 0.5)),
        "quantile": float(rng.choice([0.05, 0.25, 0.5, 0.9, 0.99])),
        "positive": bool(rng.random() < 0.3),
        "fit_intercept": bool(rng.random() < 0.7),
        "precondition": bool(rng.random() < 0.9),
        "tol": float(rng.choice([1e-2, 1e-2, 1e-4])),
        "random_state": 0,
    }


def optimum(problem):
    """Return coefficients and intercept of the least objective, and a lower bound of it.

    The residual is ``a + d + u - v`` with ``a**2 / (2 compliance)``, ``|d| <= dead_zone``,
    and costs of u and v that are the bounds of the multiplier; columns and y are scaled.
    """
    loss, (n, d) = problem.loss, problem.dense.shape
    intercept = problem.parameters["fit_intercept"]
    centre = problem.weight @ problem.dense if intercept else np.zeros(d)
    z = problem.dense - centre
    scale = np.sqrt(problem.weight @ z**2)
    rounding = 1e-13 * np.abs(problem.dense).max(axis=0)
    kept = scale > rounding
    z, scale = z[:, kept] / scale[kept], scale[kept]
    offset = np.average(problem.y, weights=problem.weight) if intercept else 0.0
    unit = np.sqrt(problem.weight @ (problem.y - offset) ** 2) or 1.0
    y, weight, d = (problem.y - offset) / unit, problem.weight, len(scale)
    smooth = loss.compliance > 0
    size = unit**2 if smooth else unit
    bounds = np.array([loss.upper, -loss.lower]) / (unit if smooth else 1.0)
    dead_zone = loss.dead_zone / unit
    # Blocks of variables: positive and negative parts of the model, the intercept, a, d, u, v.
    blocks, costs, squares, lower = [], [], [], []

    def add(matrix, cost, square, at_least):
        blocks.append(sparse.csc_array(matrix))
        costs.append(np.broadcast_to(cost, matrix.shape[1]))
        squares.append(np.broadcast_to(square, matrix.shape[1]))
        lower.append(np.full(matrix.shape[1], at_least))

    l1 = problem.l1 * unit / scale / size
    l2 = problem.l2 * (unit / scale) ** 2 / size
    step = 1 / np.maximum(1.0, np.maximum(l1, np.sqrt(l2)))  # so that no cost is far above others
    z, scale, l1, l2 = z * step, scale / step, l1 * step, l2 * step**2
    split = problem.l1 > 0 and not problem.parameters["positive"]
    bounded = problem.l1 > 0 or problem.parameters["positive"]
    add(z, l1, l2, 0.0 if bounded else -np.inf)
    if split:
        add(-z, l1, l2, 0.0)
    if intercept:
        add(np.ones((n, 1)), 0.0, 0.0, -np.inf)
    eye = sparse.eye_array(n)
    if smooth:
        add(eye, 0.0, weight / loss.compliance, -np.inf)
    if dead_zone > 0:
        add(eye, 0.0, 0.0, -dead_zone)
    for sign, bound in zip([1.0, -1.0], bounds, strict=True):
        if np.isfinite(bound):
            add(sign * eye, weight * bound, 0.0, 0.0)
    A, lower = sparse.hstack(blocks), np.concatenate(lower)
    n_variables = len(lower)
    at_least = np.flatnonzero(np.isfinite(lower))
    rows = [A, -sparse.eye_array(n_variables, format="csr")[at_least]]
    rhs = [y, -lower[at_least]]
    n_zone = 0
    if dead_zone > 0:
        at_most = np.flatnonzero(lower == -dead_zone)
        rows.append(sparse.eye_array(n_variables, format="csr")[at_most])
        rhs.append(np.full(len(at_most), dead_zone))
        n_zone = len(at_most)
    cones = [clarabel.ZeroConeT(n), clarabel.NonnegativeConeT(len(at_least) + n_zone)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = 1e-9
    settings.max_threads = 1
    solution = clarabel.DefaultSolver(
        sparse.diags_array(np.concatenate(squares)).tocsc(),
        np.concatenate(costs),
        sparse.vstack(rows).tocsc(),
        np.concatenate(rhs),
        cones,
        settings,
    ).solve()
    x = np.array(solution.x)
    theta = x[:d] - (x[d : 2 * d] if split else 0.0)
    if problem.parameters["positive"]:
        theta = np.maximum(theta, 0.0)
    coef = np.zeros(len(kept))
    coef[kept] = theta * unit / scale
    solved = solution.status == clarabel.SolverStatus.Solved
    bound = size * (solution.obj_val_dual + REFERENCE_ERROR) if solved else np.inf
    constant = offset + unit * x[d * (1 + split)] - centre @ coef if intercept else 0.0
    return coef, constant, bound


def excess(problem, model):
    """How far the objective of a model is above the least, relative to it.

    What rounding errors of predictions and the reference's own error explain does not count.
    """
    *model_of_reference, bound = optimum(problem)
    least = max(np.nanmin([problem.objective(*model_of_reference), bound]), 0.0)
    value = problem.objective(model.coef_, model.intercept_)
    size = ROUNDING * (np.abs(problem.dense) @ np.abs(model.coef_) + np.abs(problem.y))
    loss = problem.loss._replace(dead_zone=0.0)
    rounding = problem.weight @ np.maximum(loss.value(size), loss.value(-size))
    return (value - least) / max(least, rounding / EXCESS, np.finfo(float).tiny)


def check(seed, **size):
    """Return the problem of a seed, its model, and the excess of the model."""
    problem = draw(seed, **size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = problem.fit()
    return problem, model, excess(problem, model)


def main(n_problems=20_000, first=0):
    reasons, failures, above = Counter(), [], []
    for seed in range(first, first + n_problems):
        problem, model, over = check(seed)
        reasons[model.stop_reason_] += 1
        tol = problem.parameters["tol"]
        converged = model.stop_reason_ == "converged"
        above.append(over)
        negative = problem.parameters["positive"] and (model.coef_ < 0).any()
        if (converged and not over <= max(EXCESS, tol**2)) or negative:
            failures.append(seed)
            short = {k: v for k, v in problem.parameters.items() if k != "random_state"}
            print(f"seed {seed}: {problem.dense.shape} excess {over:.3g} {short}", flush=True)
    print(f"{n_problems} problems: {dict(reasons)}")
    print(f"failures: {len(failures)}; largest excess {max(above):.3g}, least {min(above):.3g}")
    return failures


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
