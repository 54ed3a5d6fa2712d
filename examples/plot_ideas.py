"""
Implicit steps, scaling and averages, added one by one
======================================================

How far the loss is above its minimum after each epoch of SGD, as the ideas of the method are added
one by one (see :doc:`/ideas`). The columns are correlated, and their units span six decades.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sgdlin import SGDLinearRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(5000, 30)) @ rng.normal(size=(30, 30)) * np.logspace(-3, 3, 30) + 100
y = X @ (1 / X.std(axis=0)) + 3 * rng.normal(size=5000)

# %%
# Implicit steps do not diverge, but in the units of the data they learn only from the columns with
# large values. In centred and scaled coordinates they learn from all columns. The first three
# models are the last iterate of SGD. The fourth is the best model in the span of averaged iterates,
# the gradient and earlier steps.

ideas = {
    "implicit steps": {"precondition": False, "average": False, "schedule": "constant"},
    "+ scaled coordinates": {"average": False, "schedule": "constant"},
    "+ a decreasing rate": {"average": False},
    "+ averages and a search": {"solver": "sgd"},
}
curves = {
    name: SGDLinearRegressor(max_iter=12, tol=None, random_state=0, **options).fit(X, y).loss_curve_
    for name, options in ideas.items()
}
best = SGDLinearRegressor(tol=1e-10, random_state=0).fit(X, y).loss_curve_[-1]

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, curve in curves.items():
    excess = np.maximum(np.array(curve) / best - 1, 1e-10)
    ax.semilogy(np.arange(1, 13), excess, marker=".", label=name)
    print(f"{name:<28} excess loss after 12 epochs {excess[-1]:.1e}")
ax.set(xlabel="epoch", ylabel="loss / least loss - 1")
figure.legend(loc="outside lower center", ncols=2)
plt.show()
