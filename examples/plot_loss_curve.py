"""
Reading the loss curve
======================

The loss after each epoch, on the rows learned from and on others, tells when a model has learned
what it can and when it begins to learn noise.
"""

# %%
# Ninety columns of which one matters, and 120 rows: a model that fits these rows closely has
# learned their noise. The last iterate of SGD (``average=False``) gets there step by step, so the
# curves show when it begins.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(240, 90))
y = X[:, 0] + rng.normal(size=240)

model = SGDLinearRegressor(
    average=False,
    learning_rate=0.03,
    schedule="constant",
    early_stopping=True,
    n_iter_no_change=20,
    random_state=0,
)
model.fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])

display = LossCurveDisplay.from_estimator(model)
display.ax_.set_title("Training goes on to fall, validation does not")
print(f"stopped after epoch {model.n_iter_}, returned that of epoch {model.best_iteration_}")

# %%
# With many more rows than columns both curves fall to the level of the noise, and stay there. The
# rate is lowered where the loss does not fall any more, which a grey line marks.

X = rng.normal(size=(4000, 20)) @ rng.normal(size=(20, 20))
y = X @ rng.normal(size=20) + 5 * rng.normal(size=4000)

model = SGDLinearRegressor(average=False, early_stopping=True, scoring="r2", random_state=0)
model.set_params(max_iter=15, tol=None).fit(X, y)

display = LossCurveDisplay.from_estimator(model)
display.ax_.set_title("Enough rows: another score on an axis of its own")

# %%
# In a stream the curve is the loss of each chunk before the model learned from it, which is a score
# on new data at no extra cost. It jumps where the data change; with ``average=False`` the model
# follows them.

stream = SGDLinearRegressor(average=False, random_state=0)
for chunk in range(60):
    X = rng.normal(loc=1000, size=(200, 5))
    slope = 1 if chunk < 30 else 3
    stream.partial_fit(X, slope * X.sum(axis=1) + rng.normal(size=200))

display = LossCurveDisplay.from_estimator(stream)
display.ax_.set_title("A stream whose slopes change at chunk 31")
plt.show()
