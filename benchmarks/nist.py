"""Correct digits on the reference data of NIST: the table of docs/accuracy.rst.

Run `python benchmarks/nist.py`.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression

from sklearn_sgdlin import SGDLinearRegressor

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.nist import NIST

WIDTH = 18
TITLES = ("data", "QR", "LinearRegression", "fit", "single rows", "chunks of 5")


def fitted(estimator, data):
    """Return coefficients and intercept after fit."""
    model = estimator(fit_intercept=data.fit_intercept).fit(data.X, data.y)
    return model.coef_, model.intercept_


def streamed(data, chunk):
    """Return coefficients and intercept after partial_fit of chunks in file order."""
    model = SGDLinearRegressor(fit_intercept=data.fit_intercept, random_state=0)
    for start in range(0, len(data.y), chunk):
        model.partial_fit(data.X[start : start + chunk], data.y[start : start + chunk])
    return model.coef_, model.intercept_


def digits(data):
    """Return the correct digits of each method, in the order of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of LinearRegression, on ill-conditioned data
        models = [
            data.qr(),
            fitted(LinearRegression, data),
            fitted(SGDLinearRegressor, data),
            streamed(data, 1),
            streamed(data, 5),
        ]
    return [data.digits(*model) for model in models]


def table():
    """Yield the lines of the table."""
    rule = " ".join(["=" * WIDTH] * len(TITLES))
    rows = [[name, *(f"{max(number, 0.0):.1f}" for number in digits(NIST[name]))] for name in NIST]
    yield rule
    yield " ".join(f"{title:{WIDTH}}" for title in TITLES).rstrip()
    yield rule
    for row in rows:
        yield " ".join(f"{cell:{WIDTH}}" for cell in row).rstrip()
    yield rule


if __name__ == "__main__":
    np.seterr(all="ignore")
    print("\n".join(table()))
