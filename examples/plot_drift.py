"""
A stream whose target changes
=============================

By default `partial_fit` returns the least-squares model of all rows seen. It is better as long as
the target stays the same, and forgets the old target only as new rows outweigh it. With
``half_life`` old rows count less and less. With ``average=False`` it takes steps of SGD at a
constant rate and returns the last iterate, which follows a drift as well, with more noise.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sgdlin import SGDLinearRegressor

n_rows, n_features, chunk = 6000, 10, 10
rng = np.random.default_rng(0)
X = rng.normal(size=(n_rows, n_features)) * np.logspace(-3, 3, n_features)
before, after = rng.normal(size=(2, n_features)) / np.logspace(-3, 3, n_features)
half = n_rows // 2
y = np.where(np.arange(n_rows) < half, X @ before, X @ after) + 0.3 * rng.normal(size=n_rows)

# %%
# The curves are the loss of each chunk before the model learned from it.

options = [{}, {"half_life": 100}, {"average": False}]
models = [SGDLinearRegressor(random_state=0, **option) for option in options]
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for option, model in zip(options, models, strict=True):
    for start in range(0, n_rows, chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    ax.semilogy(np.arange(0, n_rows, chunk), model.loss_curve_, label=str(option))
ax.axvline(half, color="0.5", linestyle="--", label="the target changes")
ax.axvline(half + 10 * n_features, color="0.8", label=f"{10 * n_features} rows later")
ax.set(xlabel="rows seen", ylabel="loss of the next chunk", title="Following a drift")
ax.legend()
plt.show()
