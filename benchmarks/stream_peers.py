"""Streams beside their peers: how near they come, how they follow a drift, and what a call costs.

The peers are scikit-learn's SGDRegressor on columns that are scaled already, recursive least
squares in NumPy, and River, where it is installed; out of core, pyarrow's own reading. An excess is
that of the loss over the least on the same rows; a progressive error is that of the rows before
they are learned, less the noise, in units of the variance of y's noise.

    python benchmarks/stream_peers.py
"""

import inspect
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDRegressor

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import make_loss

try:
    from river.linear_model import BayesianLinearRegression
except ImportError:
    BayesianLinearRegression = None

try:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
except ImportError:
    pq = None

FORGETTING = 0.98  # of recursive least squares: a row counts half after 34 more
HALF_LIFE = {}  # where the parameter exists
if "half_life" in inspect.signature(SGDLinearRegressor).parameters:
    HALF_LIFE = {"half_life": np.log(0.5) / np.log(FORGETTING)}


class RecursiveLeastSquares:
    """Least squares row by row, in which a row counts less and less."""

    def __init__(self, forgetting=1.0):
        self.forgetting, self.inverse = forgetting, None

    def partial_fit(self, X, y):
        """Learn the rows, one after the other."""
        for x, target in zip(np.column_stack([X, np.ones(len(X))]), y, strict=True):
            if self.inverse is None:
                self.inverse, self.coef = 1e6 * np.eye(len(x)), np.zeros(len(x))
            gain = self.inverse @ x
            gain /= self.forgetting + x @ gain
            self.coef = self.coef + gain * (target - x @ self.coef)
            self.inverse = (self.inverse - np.outer(gain, x @ self.inverse)) / self.forgetting
        return self

    def predict(self, X):
        """Predict with the model."""
        return X @ self.coef[:-1] + self.coef[-1]


class River:
    """A model of River, row by row."""

    def __init__(self, model):
        self.model = model

    def partial_fit(self, X, y):
        """Learn the rows, one after the other."""
        for x, target in zip(X.tolist(), y.tolist(), strict=True):
            self.model.learn_one(dict(enumerate(x)), target)
        return self

    def predict(self, X):
        """Predict the rows, one after the other."""
        return np.array([self.model.predict_one(dict(enumerate(x))) for x in X.tolist()])


def learn(model, X, y, chunk):
    """Learn chunk by chunk; return the errors of the rows before they are learned."""
    errors = []
    for start in range(0, len(y), chunk):
        part = slice(start, start + chunk)
        if start:
            errors.append(y[part] - model.predict(X[part]))
        model.partial_fit(X[part], y[part])
    return np.concatenate(errors)


def print_table(title, names, rows):
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, values in rows:
        print(f"| {name} | {' | '.join(f'{value:.2g}' for value in values)} |", flush=True)


def squared_error():
    """Yield the excess and the progressive error of squared error in chunks and single rows."""
    rng = np.random.default_rng(0)
    for d, n, chunk in ((64, 30_000, 32), (65, 30_000, 32), (300, 30_000, 32), (65, 3000, 1)):
        X = rng.normal(size=(n, d))
        y = X @ rng.normal(size=d) + rng.normal(size=n)
        rows = np.column_stack([X, np.ones(n)])
        least = np.mean((y - rows @ np.linalg.lstsq(rows, y)[0]) ** 2)
        values = []
        for model in (
            SGDLinearRegressor(random_state=0),
            SGDLinearRegressor(solver="sgd", random_state=0),
            SGDRegressor(average=True, random_state=0),
        ):
            errors = learn(model, X, y, chunk)
            excess = np.mean((y - model.predict(X)) ** 2) / least - 1
            values += [excess, np.mean(errors[len(errors) // 2 :] ** 2) - 1]
        yield f"{d} columns, {n} rows in chunks of {chunk}", values


def other_losses():
    """Yield the excess of other losses at several rates, after 100 and 1000 rows a column."""
    d = 10
    for loss, level in (*(("quantile", q) for q in (0.05, 0.5, 0.95)),
                        ("huber", 0.5), ("epsilon_insensitive", 0.5)):  # fmt: skip
        for outliers in (0.0, 0.1):
            values = []
            for n in (100 * d, 1000 * d):
                rng = np.random.default_rng(0)
                X = rng.normal(size=(n, d))
                y = X @ rng.normal(size=d) + rng.normal(size=n)
                y += 30 * (rng.random(n) < outliers)
                options = {"loss": loss, "quantile": level, "epsilon": 1.0, "random_state": 0}
                value = make_loss(loss, 1.0, level).value
                optimum = SGDLinearRegressor(tol=1e-5, **options).fit(X, y)
                least = value(y - optimum.predict(X)).mean()
                for rate in (0.1, "auto", 10.0):
                    model = SGDLinearRegressor(learning_rate=rate, **options)
                    learn(model, X, y, 100)
                    values.append(value(y - model.predict(X)).mean() / least - 1)
            yield f"{loss} {level:g}, {outliers:.0%} outliers", values


def drifts():
    """Yield the progressive error, 1 where all is noise, of models that do and do not forget."""
    d, n = 5, 4000
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, d))
    time = np.linspace(0, 1, n)[:, np.newaxis]
    coefs = {
        "abrupt": np.where(time < 0.5, first, second),
        "gradual": first + time * (second - first),
        "recurring": np.where(time * 4 % 2 < 1, first, second),
        "walk": first + 0.02 * rng.normal(size=(n, d)).cumsum(axis=0),
    }
    for name, coef in coefs.items():
        X = rng.normal(size=(n, d))
        y = (X * coef).sum(axis=1) + 0.5 * rng.normal(size=n)
        models = [
            SGDLinearRegressor(random_state=0),
            SGDLinearRegressor(average=False, random_state=0),
            RecursiveLeastSquares(FORGETTING),
        ]
        if HALF_LIFE:
            models.append(SGDLinearRegressor(**HALF_LIFE))
        if BayesianLinearRegression:
            models.append(River(BayesianLinearRegression(smoothing=FORGETTING)))
        yield name, [np.mean(learn(model, X, y, 10)[50:] ** 2) / 0.25 for model in models]


def documents(rng, n_rows, n_columns, n_words=120, n_vocabulary=100_000):
    """Return counts of words in documents, hashed to columns, in rows of length 1."""
    word = (n_vocabulary ** rng.random((n_rows, n_words))).astype(np.int64) - 1
    column = word.ravel() * 2_654_435_761 % 2**32 % n_columns
    pointers = np.arange(0, word.size + 1, n_words)
    X = csr_matrix((np.ones(word.size), column, pointers), shape=(n_rows, n_columns))
    X.sum_duplicates()
    X.data /= np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))[
        np.repeat(np.arange(n_rows), np.diff(X.indptr))
    ]
    return X, X @ rng.normal(size=n_columns) + 0.5 * rng.normal(size=n_rows)


def sparse_calls():
    """Yield the milliseconds of a call with 500 hashed documents, and with one."""
    for n_columns in (2**12, 2**16, 2**20):
        X, y = documents(np.random.default_rng(0), 5000, n_columns)
        values = []
        for size in (500, 1):
            models = [
                SGDLinearRegressor(random_state=0),
                SGDRegressor(),
                SGDRegressor(average=True),
            ]
            seconds = [[] for _ in models]
            for start in range(0, 10 * size, size):
                for model, times in zip(models, seconds, strict=True):
                    begin = perf_counter()
                    model.partial_fit(X[start : start + size], y[start : start + size])
                    times.append(perf_counter() - begin)
            values += [1e3 * np.median(times[1:]) for times in seconds]
        yield f"{n_columns} columns", values


def penalised_passes():
    """Yield the objective over the optimum after five passes over one-hot rows."""
    rng = np.random.default_rng(0)
    n, d, alpha = 20_000, 2000, 1e-4
    category = rng.integers(0, d, n).astype(np.int32)
    X = csr_matrix((np.ones(n), category, np.arange(n + 1, dtype=np.int32)), shape=(n, d))
    y = rng.normal(size=d)[category] + 0.5 * rng.normal(size=n)
    for penalty in ("l2", "l1"):
        options = {"penalty": penalty, "alpha": alpha, "random_state": 0}

        def objective(model, penalty=penalty):
            coef = np.ravel(model.coef_)
            size = np.abs(coef).sum() if penalty == "l1" else coef @ coef / 2
            return np.mean((y - model.predict(X)) ** 2) / 2 + alpha * size

        optimum = objective(SGDLinearRegressor(tol=1e-5, **options).fit(X, y))
        models = SGDLinearRegressor(solver="sgd", **options), SGDRegressor(average=True, **options)
        for _ in range(5):
            order = rng.permutation(n)
            for model in models:
                for start in range(0, n, 500):
                    part = order[start : start + 500]
                    model.partial_fit(X[part], y[part])
        yield penalty, [objective(model) / optimum for model in models]


def single_rows():
    """Yield how many single rows a second are learned, with 20 columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 20))
    y = X.sum(axis=1) + rng.normal(size=2000)
    models = [SGDLinearRegressor(random_state=0), SGDRegressor(), RecursiveLeastSquares()]
    if BayesianLinearRegression:
        models.append(River(BayesianLinearRegression()))
    for model in models:
        begin = perf_counter()
        for i in range(len(y)):
            model.partial_fit(X[i : i + 1], y[i : i + 1])
        yield type(model).__name__, [len(y) / (perf_counter() - begin)]


def out_of_core():
    """Yield the time of a pass over Parquet files, over that of reading them with pyarrow."""
    rng = np.random.default_rng(0)
    n, d = 100_000, 20
    X = rng.normal(size=(n, d))
    table = pa.table([*X.T, X.sum(axis=1) + rng.normal(size=n)], names=[*map(str, range(d)), "y"])
    with TemporaryDirectory() as folder:
        pq.write_table(table, f"{folder}/rows.parquet", row_group_size=10_000)

        def batches():
            return ds.dataset(folder, format="parquet").to_batches(use_threads=False)

        seconds = [[], []]
        for _ in range(5):
            begin = process_time()
            for _ in batches():
                pass
            seconds[0].append(process_time() - begin)
            model, begin = SGDLinearRegressor(random_state=0), process_time()
            for batch in batches():
                rows = batch.drop_columns("y").to_tensor(row_major=True).to_numpy()
                model.partial_fit(rows, batch["y"].to_numpy())
            assert model.coef_.shape == (d,)
            seconds[1].append(process_time() - begin)
    read, learned = map(np.median, seconds)
    yield f"{n} rows, {d} columns", [learned / read]


def main():
    """Print all tables."""
    names = ["ours", "ours, SGD", "SGDRegressor, average"]
    columns = [f"{name}: {what}" for name in names for what in ("excess", "progressive error")]
    print_table("Squared error", columns, squared_error())
    rates = [f"{n} rows a column, rate {r}" for n in (100, 1000) for r in (0.1, "auto", 10)]
    print_table("Excess of other losses", rates, other_losses())
    models = ["ours", "ours, average=False", f"least squares, forgetting {FORGETTING}"]
    models += ["ours, half_life"] * bool(HALF_LIFE) + ["River"] * bool(BayesianLinearRegression)
    print_table("Drift: progressive error in units of the noise", models, drifts())
    calls = [f"{name}, {rows}" for rows in ("500 rows", "one row") for name in
             ("ours", "SGDRegressor", "average")]  # fmt: skip
    print_table("Sparse rows: milliseconds a call", calls, sparse_calls())
    print_table("Five passes: objective / optimum", ["ours", "SGDRegressor"], penalised_passes())
    if pq:
        print_table("Parquet: time of a pass / of reading", ["ours"], out_of_core())
    print_table("Single rows a second", ["20 columns"], single_rows())


if __name__ == "__main__":
    main()
