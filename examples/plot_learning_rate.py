"""
Scores at learning rates over six decades
=========================================

R² on held-out rows of the diabetes data, in their own units, for 25 learning rates. A number for
``learning_rate`` selects SGD. With averaging and the subspace search, `SGDLinearRegressor` reaches
the same model at each of these rates. Its last iterate (``average=False``) is a little better or
worse by chance. `SGDRegressor` needs a scaler and a low rate; on the raw columns it fails at all
of these rates.
"""

# %%
# Four models are fitted to the same 331 rows at each rate, and scored on the other 111.

import sys
import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sgdlin import SGDLinearRegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
rates = np.logspace(-3, 3, 25)


def ours(rate, **options):
    return SGDLinearRegressor(learning_rate=rate, random_state=0, **options)


def theirs(rate):
    return SGDRegressor(eta0=rate, random_state=0)


models = {
    "SGDLinearRegressor, raw columns": ours,
    "SGDLinearRegressor(average=False), raw columns": partial(ours, average=False),
    "StandardScaler + SGDRegressor": lambda rate: make_pipeline(StandardScaler(), theirs(rate)),
    "SGDRegressor, raw columns": theirs,
}


def score(make, rate):
    """Return R² on held-out rows; minus infinity if the model overflows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SGDRegressor: overflow, no convergence
        try:
            return make(rate).fit(X_train, y_train).score(X_test, y_test)
        except ValueError:
            return -np.inf


scores = {name: [*map(partial(score, make), rates)] for name, make in models.items()}

# %%
# Scores below -0.1 are drawn at the lower edge. A negative R² is worse than predicting the mean.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, score_of_rate), style in zip(scores.items(), ["-", "-.", "--", ":"], strict=True):
    ax.semilogx(rates, np.maximum(score_of_rate, -0.1), style, linewidth=2, label=name)
ax.axhline(0, color="0.8", zorder=0)
ax.set(xlabel="learning rate", ylabel="R² on held-out rows", ylim=(-0.12, 0.7))
ax.set_title("Diabetes data in their own units")
ax.legend(loc="upper right")

for name, score_of_rate in scores.items():
    print(f"{name:<48} worst R² {min(score_of_rate):9.3g}   best R² {max(score_of_rate):9.3g}")

if len(sys.argv) > 1:  # a file for the picture
    figure.savefig(sys.argv[1], dpi=100)
