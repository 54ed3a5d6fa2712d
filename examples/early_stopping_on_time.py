"""
Early stopping on rows ordered by time
======================================

If a model is to predict the future, early stopping should use the last rows for validation, not
random ones. ``early_stopping=True`` selects SGD.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor

# %%
# Eighty sensors are read five times a day, and only the first one is related to y. The rows of one
# day are similar: they differ little in X, and have the same noise in y.

rng = np.random.default_rng(0)
day = np.repeat(np.arange(200), 5)
X = rng.normal(size=(200, 80))[day] + 0.05 * rng.normal(size=(1000, 80))
y = X[:, 0] + rng.normal(size=200)[day]

past, recent, future = slice(0, 500), slice(500, 600), slice(600, 1000)


def fit(**validation):
    model = SGDLinearRegressor(
        early_stopping=True, average=False, learning_rate=0.03, tol=1e-3, random_state=0
    )
    return model.fit(X[past], y[past], **validation)


# %%
# Most random validation rows are from a day that also has training rows. A model that learns the
# noise of that day predicts them better and better, so training continues for too long. The last
# rows show when to stop.

models = {
    "random rows": fit(),
    "last rows": fit(X_val=X[recent], y_val=y[recent]),
}
for name, model in models.items():
    score = model.score(X[future], y[future])
    print(
        f"validation on {name:<12} best epoch {model.best_iteration_:3d} of {model.n_iter_:3d}, "
        f"R² in the future {score:6.3f}"
    )

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    LossCurveDisplay.from_estimator(model, ax=ax)
    ax.set_title(f"Validation on {name}")
axes[1].get_legend().remove()  # the same as the first one's
plt.show()

# %%
# In a pipeline, ``transform_input`` applies the steps before the model to the validation rows, too.

with config_context(enable_metadata_routing=True):
    model = SGDLinearRegressor(early_stopping=True, average=False, learning_rate=0.03, tol=1e-3)
    model.set_params(random_state=0).set_fit_request(X_val=True, y_val=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)], transform_input=["X_val"])
    pipeline.fit(X[past], y[past], X_val=X[recent], y_val=y[recent])
print(f"in a pipeline, last rows: best epoch {pipeline['model'].best_iteration_}")
