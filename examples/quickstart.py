"""
Two examples to begin with
==========================

SGD on a column that makes the textbook's SGD end in NaN, and raw data in a grid search.
"""

import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from sklearn_sgdlin import SGDLinearRegressor


def tutorial():
    """The last iterate of 100 epochs of SGD, then the best model in the span of averages."""
    print("1. A line through y = x^2, x = 1..100, learning_rate=0.1, 100 epochs\n")
    x = np.arange(1.0, 101.0).reshape(-1, 1)
    y = x.ravel() ** 2
    model = SGDLinearRegressor(
        learning_rate=0.1,
        schedule="invscaling",
        average=False,
        max_iter=100,
        tol=None,
        random_state=0,
        verbose=1,
    ).fit(x, y)

    print(f"\n{'x':>6} {'actual':>9} {'predicted':>10}")
    for i in (0, 24, 49, 74, 99):
        print(f"{x[i, 0]:6.0f} {y[i]:9.0f} {model.predict(x[[i]])[0]:10.1f}")
    searched = SGDLinearRegressor(learning_rate=0.1, random_state=0).fit(x, y)
    names = "last iterate", f"averages and the search, {searched.n_iter_} epoch", "least squares"
    print()
    for name, fitted in zip(names, (model, searched, LinearRegression().fit(x, y)), strict=True):
        print(f"MSE {mean_squared_error(y, fitted.predict(x)):.1f}  {name}")
    print()


def grid_search(name, model, rate):
    """Tune the rate in a pipeline without a scaler; report the score on held-out rows."""
    X, y = load_diabetes(scaled=False, return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    grid = {f"model__{rate}": [1e-3, 1e-2, 0.1, 1.0, 10.0]} if rate else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SGDRegressor's, of overflow
        search = GridSearchCV(Pipeline([("model", model)]), grid, error_score=-np.inf)
        search.fit(X_train, y_train)
    best = search.best_params_.get(f"model__{rate}", "-")
    print(f"{name:<20} {best!s:>9} {search.score(X_test, y_test):12.3g}")


if __name__ == "__main__":
    tutorial()
    print("2. Diabetes, columns in their own units, no scaler; the rate from a grid search\n")
    print(f"{'':<20} {'best rate':>9} {'test R^2':>12}")
    grid_search("SGDLinearRegressor", SGDLinearRegressor(random_state=0), "learning_rate")
    grid_search("SGDRegressor", SGDRegressor(random_state=0), "eta0")
    grid_search("LinearRegression", LinearRegression(), None)
