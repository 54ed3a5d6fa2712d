"""
Loss curves: overfitting, enough data, a stream
===============================================

The loss after each epoch, on training and on validation rows, shows when a model begins to overfit
and when more epochs no longer help.
"""

# %%
# Overfitting. There are 120 rows and 90 columns, of which one matters, so a model that fits these
# rows closely has learned their noise. The last iterate of SGD (``average=False``) approaches that
# model slowly. The validation loss begins to rise where it begins to overfit.

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
display.ax_.set_title("Overfitting: the validation loss rises again")
print(f"stopped after epoch {model.n_iter_}, returned the model of epoch {model.best_iteration_}")

# %%
# Enough data. With many more rows than columns both curves fall to the level of the noise, and stay
# there. A grey line marks where the learning rate is lowered because the loss no longer decreases.

X = rng.normal(size=(4000, 20)) @ rng.normal(size=(20, 20))
y = X @ rng.normal(size=20) + 5 * rng.normal(size=4000)

model = SGDLinearRegressor(average=False, early_stopping=True, scoring="r2", random_state=0)
model.set_params(max_iter=15, tol=None).fit(X, y)

display = LossCurveDisplay.from_estimator(model)
display.ax_.set_title("Enough rows: both curves stay level")

# %%
# A stream. The curve is the loss on each chunk before the model learned from it, which estimates
# the loss on new data at no extra cost. It jumps where the data change. With ``average=False`` the
# model follows the change.

stream = SGDLinearRegressor(average=False, random_state=0)
for chunk in range(60):
    X = rng.normal(loc=1000, size=(200, 5))
    slope = 1 if chunk < 30 else 3
    stream.partial_fit(X, slope * X.sum(axis=1) + rng.normal(size=200))

display = LossCurveDisplay.from_estimator(stream)
display.ax_.set_title("A stream whose coefficients change at chunk 31")
plt.show()
