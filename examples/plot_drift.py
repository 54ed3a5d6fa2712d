"""
A stream whose target changes
=============================

With ``average=False`` `partial_fit` takes steps of SGD at a constant rate and returns the last
iterate, which follows a target that drifts. With ``average=True``, the default, the model is the
least-squares model of all rows seen. It is better as long as the target stays the same, and forgets
the old target only as new rows outweigh it.
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

models = {average: SGDLinearRegressor(average=average, random_state=0) for average in (True, False)}
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for average, model in models.items():
    for start in range(0, n_rows, chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    ax.semilogy(np.arange(0, n_rows, chunk), model.loss_curve_, label=f"average={average}")
ax.axvline(half, color="0.5", linestyle="--", label="the target changes")
ax.axvline(half + 10 * n_features, color="0.8", label=f"{10 * n_features} rows later")
ax.set(xlabel="rows seen", ylabel="loss of the next chunk", title="Following a drift")
ax.legend()
plt.show()
