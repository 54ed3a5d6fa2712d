"""
Streams with drift: half-life and SGD compared
==============================================

By default `partial_fit` returns the least-squares model of all rows seen. That is the best choice
as long as the relation between X and y stays the same. After a change the old rows bias the model.
With ``half_life`` the weight of old rows decreases. With ``average=False`` the model is the last
iterate of SGD at a constant rate, which also follows a drift, but with more noise.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sgdlin import SGDLinearRegressor

n_rows, n_features, chunk = 4000, 5, 20
scale = np.logspace(-3, 3, n_features)
rng = np.random.default_rng(0)
X = rng.normal(size=(n_rows, n_features)) * scale
one, other = rng.normal(size=(2, 1, n_features))
time = np.linspace(0, 1, n_rows)[:, np.newaxis]

# %%
# Four kinds of drift. Each array has the true coefficients of each row, in units of y per standard
# deviation of the column.

steps = rng.normal(size=(n_rows, n_features)) * 0.02
drifts = {
    "abrupt": np.where(time < 0.5, one, other),
    "gradual": one + (other - one) * np.clip(3 * time - 1, 0, 1),
    "recurring": np.where(4 * time % 2 < 1, one, other),
    "random walk": one + np.cumsum(steps, axis=0),
}

# %%
# The curves are the loss on each chunk before the model learned from it. The dashed line is the
# loss of the true coefficients, which is half the variance of the noise.

options = [{}, {"half_life": 50}, {"average": False}]


def name_of(option):
    return ", ".join(f"{key}={value}" for key, value in option.items()) or "default"


curves = {name: {} for name in drifts}
fig, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
for ax, (name, coef) in zip(axes.flat, drifts.items(), strict=True):
    y = np.sum(X * coef / scale, axis=1) + 0.3 * rng.normal(size=n_rows)
    for option in options:
        model = SGDLinearRegressor(random_state=0, **option)
        for start in range(0, n_rows, chunk):
            model.partial_fit(X[start : start + chunk], y[start : start + chunk])
        curves[name][name_of(option)] = np.array(model.loss_curve_)
        ax.semilogy(np.arange(0, n_rows, chunk), model.loss_curve_, label=name_of(option))
    ax.axhline(0.3**2 / 2, color="0.5", linestyle="--", label="true coefficients")
    ax.set(title=name)
fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
fig.supxlabel("rows seen")
fig.supylabel("loss of the next chunk")
plt.show()
