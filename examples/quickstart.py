"""
Quickstart: SGD without a scaler
================================

Two examples: a line fitted by SGD to a column on which textbook SGD overflows, and a grid search
over the learning rate on data in their own units. The picture, if Matplotlib is installed, shows
the line.
"""

import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from sklearn_sgdlin import SGDLinearRegressor


def tutorial():
    """Compare the last iterate of 100 epochs, the best model found, and least squares."""
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
    names = "last iterate", f"best model found, epochs: {searched.n_iter_}", "least squares"
    print()
    for name, fitted in zip(names, (model, searched, LinearRegression().fit(x, y)), strict=True):
        print(f"MSE {mean_squared_error(y, fitted.predict(x)):.1f}  {name}")
    print()
    return x, y, searched


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


def draw(x, y, model):
    """Plot the rows and the line."""
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    ax.plot(x, y, ".", label="rows")
    ax.plot(x, model.predict(x), label="SGDLinearRegressor(learning_rate=0.1)")
    ax.set(xlabel="x", ylabel="y", title="SGD on a column that is not scaled")
    ax.legend()
    plt.show()


if __name__ == "__main__":
    line = tutorial()
    print("2. Diabetes data in their own units, no scaler; the rate is found by grid search\n")
    print(f"{'':<20} {'best rate':>9} {'test R^2':>12}")
    grid_search("SGDLinearRegressor", SGDLinearRegressor(random_state=0), "learning_rate")
    grid_search("SGDRegressor", SGDRegressor(random_state=0), "eta0")
    grid_search("LinearRegression", LinearRegression(), None)
    if find_spec("matplotlib"):
        draw(*line)
