"""Streams that are hard to follow: what a model costs before it has learned, and after.

Each of many streams is read in chunks: the model predicts a chunk, then learns from it. Its loss is
compared with that of predicting the running mean (the running median where the loss is robust).
And a grid of streams with "quantile" and "huber" shows how near the last model is to the optimum.
`stream_peers.py` compares with other models that learn from streams.

    python benchmarks/streams.py [streams] [grid] [--full]

Without a name both parts run. All streams take some minutes, and the whole grid longer.
"""

import argparse
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import numpy as np
from joblib import Parallel, delayed

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import make_loss

N_STREAMS = 200
LOSSES = (
    "squared_error",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
    "quantile",
)
SQUARED = ("squared_error", "squared_epsilon_insensitive")
FEATURES = (1, 2, 3, 5, 10, 20, 50, 100, 300)
CHUNKS = (1, 1, 2, 5, 10, 100, 1000)
STRETCH = 10  # rows per coordinate, over which losses are compared
LEAST = 0.01  # of its mean that the loss of a constant counts for: a dead zone may hold a stretch
WORST, WHOLE = 3.0, 1.1  # largest ratio of losses in a stretch, and over the stream
PARTS = "streams", "grid"
FEW = (10, 1000), (3, 0.001)  # chunks and noises of the grid by default


def random_walk(rng, n, d):
    """Columns whose spread grows for ever."""
    return rng.normal(size=(n, d)).cumsum(axis=0)


def slow(rng, n, d):
    """Columns that hardly change from row to row."""
    X = rng.normal(size=(n, d))
    for i in range(1, n):
        X[i] = 0.98 * X[i - 1] + 0.2 * X[i]
    return X


def neighbours(rng, n, d):
    """Columns, each like the one before."""
    X = rng.normal(size=(n, d))
    for j in range(1, d):
        X[:, j] = 0.95 * X[:, j - 1] + 0.3 * X[:, j]
    return X


def waking(before, everything, rng, n, d):
    """Columns of little spread up to some row."""
    X = rng.normal(size=(n, d))
    first = int(rng.integers(50, 200))
    X[:first, : d if everything else max(d // 3, 1)] *= before
    return X


def rare(rng, n, d):
    """Indicators of what happens seldom."""
    return (rng.random((n, d)) < np.logspace(-2.5, -0.5, d)).astype(float)


def rare_sizes(rng, n, d):
    """What happens seldom, in sizes of heavy tails."""
    return rare(rng, n, d) * rng.lognormal(0, 1, (n, d))


def dependent(rng, n, d):
    """Every other column is a sum of two."""
    X = rng.normal(size=(n, d))
    X[:, 1::2] = X[:, : d // 2 * 2 : 2] + X[:, :1]
    return X


def switching(rng, n, d):
    """Units of rows change by the hundred."""
    return rng.normal(size=(n, d)) * 10.0 ** (np.arange(n)[:, np.newaxis] // 100 % 3)


def raw(rng, n, d):
    """Columns in any units, correlated and far from zero."""
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    return 10.0 ** rng.uniform(-9, 9, d) * (X + rng.normal(scale=100, size=d))


KINDS = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "raw units": raw,
    "neighbours": neighbours,
    "heavy tails": lambda rng, n, d: rng.standard_t(2.5, size=(n, d)),
    "log-normal": lambda rng, n, d: rng.lognormal(0, 1.5, size=(n, d)),
    "rare": rare,
    "rare sizes": rare_sizes,
    "waking": partial(waking, 0.0, False),
    "waking from noise": partial(waking, 0.01, False),
    "constant at first": partial(waking, 0.0, True),
    "little at first": partial(waking, 0.01, True),
    "drifting means": lambda rng, n, d: rng.normal(size=(n, d)) + np.linspace(0, 20, n)[:, None],
    "random walks": random_walk,
    "slow": slow,
    "lags": None,  # of y itself
    "far from zero": lambda rng, n, d: rng.normal(size=(n, d)) + 1e5,
    "no signal": lambda rng, n, d: rng.normal(size=(n, d)),
    "dependent": dependent,
    "switching units": switching,
    "outliers of y": lambda rng, n, d: rng.normal(size=(n, d)),
}

# Kinds whose columns grow a hundredfold at once. There noise is small, and chunks are: what does
# not show in the rows so far, nobody can know before the chunk with other rows is over.
GROWING = ("waking from noise", "little at first", "switching units")


@dataclass
class Stream:
    """Rows with targets, and how to learn from them."""

    kind: str
    chunk: int
    X: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    options: dict

    @classmethod
    def draw(cls, seed):
        """One stream; kinds and losses take turns."""
        rng = np.random.default_rng(seed)
        kind = list(KINDS)[seed % len(KINDS)]
        loss = LOSSES[(seed + seed // len(KINDS)) % len(LOSSES)]
        d, chunk = int(rng.choice(FEATURES)), int(rng.choice(CHUNKS))
        if kind in GROWING:
            chunk = min(chunk, 10)
        n = max(50 * (d + 1), 1000, 4 * chunk)
        if kind == "outliers of y" and loss in SQUARED:
            loss = "huber"
        noise = 10 ** (rng.uniform(-3, -2) if kind in GROWING else rng.uniform(-2, 0.5))
        X, y = lagged(rng, n, d) if kind == "lags" else related(rng, kind, n, d, noise)
        if kind == "outliers of y":
            y[rng.random(n) < 0.1] *= 100
        spread = np.median(np.abs(y - np.median(y)))
        unit = 10.0 ** rng.integers(-3, 4) / spread
        epsilon = unit * spread * (rng.choice([0.1, 1.0]) if loss == "huber" else 0.1)
        options = {"loss": loss, "epsilon": epsilon, "fit_intercept": bool(rng.random() < 0.8)}
        options["fit_intercept"] |= kind in GROWING
        if rng.random() < 0.3:
            options |= {"penalty": str(rng.choice(["l1", "l2"])), "alpha": 1e-3}
        return cls(kind, chunk, X, unit * y, options)


def related(rng, kind, n, d, noise):
    """Columns of a kind, and a target with all of them at work."""
    X = KINDS[kind](rng, n, d)
    spread = X.std(axis=0)
    coef = np.divide(rng.normal(size=d), spread, out=np.zeros(d), where=spread > 0)
    signal = (X - X.mean(axis=0)) @ coef
    scale = signal.std() or 1.0
    shift = 3 * scale * rng.normal()
    return X, (kind != "no signal") * signal + noise * scale * rng.normal(size=n) + shift


def lagged(rng, n, d):
    """A persistent series, and its last values as columns."""
    series = np.zeros(n + d)
    steps = rng.normal(size=n + d)
    for i in range(1, n + d):
        series[i] = 0.99 * series[i - 1] + steps[i]
    X = np.lib.stride_tricks.sliding_window_view(series, d)[:n]
    return np.ascontiguousarray(X), series[d : n + d].copy()


def progressive_losses(stream):
    """Loss of every row before it is learned: of the model, and of a constant.

    The constant is the mean of all rows before the chunk; the median for robust losses. What comes
    before the first chunk is over does not count.
    """
    model = SGDLinearRegressor(random_state=0, **stream.options)
    loss = make_loss(stream.options["loss"], stream.options["epsilon"])
    centre = np.mean if stream.options["loss"] in SQUARED else np.median
    residuals = []
    for start in range(0, len(stream.y), stream.chunk):
        part = slice(start, start + stream.chunk)
        X, y = stream.X[part], stream.y[part]
        if start:
            constant = centre(stream.y[:start]) if stream.options["fit_intercept"] else 0.0
            residuals.append(np.stack([y - model.predict(X), y - constant]))
        model.partial_fit(X, y)
    return loss.value(np.hstack(residuals)) if residuals else np.ones((2, 1))


def ratios(stream):
    """Largest ratio of the losses in any stretch, and the ratio over the whole stream."""
    totals = np.pad(progressive_losses(stream).cumsum(axis=1), ((0, 0), (1, 0)))
    stretch = min(STRETCH * (stream.X.shape[1] + 1), totals.shape[1] - 1)
    model, constant = totals[:, stretch:] - totals[:, :-stretch]
    constant = np.maximum(constant, LEAST * stretch * totals[1, -1] / (totals.shape[1] - 1))
    return float((model / constant).max()), float(totals[0, -1] / totals[1, -1])


def report(seed):
    """One stream, with its ratios."""
    stream = Stream.draw(seed)
    return seed, stream, ratios(stream)


def near_optimum(loss, level, noise, outliers, chunk, fit_first, seed=0, n_features=10):
    """Error of the coverage after 1000 rows a column, and excess of the loss over the least.

    Outliers are a share of the rows. Noise is in units of the signal.
    """
    rng = np.random.default_rng(seed)
    n_rows, n_fitted = 1000 * n_features, 1000 if fit_first else 0
    X = rng.normal(size=(n_fitted + n_rows, n_features))
    y = X @ rng.normal(size=n_features) / np.sqrt(n_features)
    y += noise * rng.normal(size=len(y)) + 30 * (rng.random(len(y)) < outliers)
    options = {"loss": loss, "quantile": level, "epsilon": 1.35 * noise, "random_state": 0}
    model = SGDLinearRegressor(**options)
    if fit_first:
        model.fit(X[:n_fitted], y[:n_fitted])
    for start in range(n_fitted, len(y), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    value = make_loss(loss, options["epsilon"], level).value
    residual = y - model.predict(X)
    best = y - SGDLinearRegressor(**options, tol=1e-5).fit(X, y).predict(X)
    coverage = float(np.mean(residual < 0))
    return coverage - level, float(value(residual).mean() / value(best).mean() - 1)


def grid(chunks, noises):
    """Arguments of `near_optimum`."""
    starts = (False, True)
    yield from product(["quantile"], (0.01, 0.1, 0.5, 0.9, 0.99), noises, [0.0], chunks, starts)
    yield from product(["huber"], [0.5], noises, (0.0, 0.1, 0.2), chunks, starts)


def print_streams(seeds):
    """Print the streams, the worst first."""
    results = Parallel(n_jobs=-1)(delayed(report)(seed) for seed in seeds)
    results.sort(key=lambda result: -max(result[2][0] / WORST, result[2][1] / WHOLE))
    print("| kind | loss | columns | chunk | options | worst stretch | whole |")
    print("|---|---|---|---|---|---|---|")
    n_failed = 0
    for seed, stream, (worst, whole) in results:
        n_failed += worst > WORST or whole > WHOLE
        options = ", ".join(f"{k}={v}" for k, v in stream.options.items() if k != "loss")
        print(
            f"| {seed} {stream.kind} | {stream.options['loss']} | {stream.X.shape[1]} | "
            f"{stream.chunk} | {options} | {worst:.3g} | {whole:.3g} |"
        )
    print(f"\n{n_failed} of {len(results)} beyond {WORST:g} or {WHOLE:g}\n")


def print_grid(chunks, noises):
    """Print how near streams of a robust loss come to the optimum."""
    cases = list(grid(chunks, noises))
    results = Parallel(n_jobs=-1)(delayed(near_optimum)(*case) for case in cases)
    print("| loss | level | noise | outliers | chunk | after fit | coverage error | excess |")
    print("|---|---|---|---|---|---|---|---|")
    for case, (coverage, excess) in zip(cases, results, strict=True):
        shown = f"{coverage:+.4f}" if case[0] == "quantile" else "-"
        print("| " + " | ".join(map(str, case)) + f" | {shown} | {excess:.2g} |")


def main():
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("parts", nargs="*", help="streams or grid; both without any")
    parser.add_argument("--full", action="store_true", help="all streams, noises and chunks")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if "streams" in (arguments.parts or PARTS):
        print_streams(range(N_STREAMS) if arguments.full else range(0, N_STREAMS, 7))
    if "grid" in (arguments.parts or PARTS):
        chunks, noises = ((1, 10, 1000, 10_000), (3, 0.1, 0.001)) if arguments.full else FEW
        print_grid(chunks, noises)


if __name__ == "__main__":
    main()
