"""
Grid search in a pipeline
=========================

``SGDLinearRegressor`` is a regressor like any other: put it into a pipeline, search over its
parameters, and watch the search through scikit-learn's callbacks.
"""

import pandas as pd
from sklearn.callback import ProgressBar
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sklearn_sgdlin import SGDLinearRegressor

# %%
# Polynomials of raw columns, without a scaler. A number for ``learning_rate`` selects SGD, so each
# candidate takes 20 epochs at its rate. (The default, ``"auto"``, would solve so few columns
# directly.)

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

pipeline = make_pipeline(
    PolynomialFeatures(include_bias=False),
    SGDLinearRegressor(max_iter=20, tol=None, random_state=0),
)
grid = {
    "polynomialfeatures__degree": [1, 2],
    "sgdlinearregressor__learning_rate": [0.01, 1.0, 100.0],
}

# %%
# A progress bar of the search. ``max_propagation_depth=None`` also shows, nested, those of its
# pipelines and of their epochs.

search = GridSearchCV(pipeline, grid).set_callbacks(ProgressBar(max_propagation_depth=0))
search.fit(X_train, y_train)

# %%
# The degree matters, the rate hardly: with 10 columns 20 epochs of SGD lead to the optimum at any
# of the rates, and with 65 columns near to it.

table = pd.DataFrame(search.cv_results_).pivot(
    index="param_sgdlinearregressor__learning_rate",
    columns="param_polynomialfeatures__degree",
    values="mean_test_score",
)
print(table.round(3).to_string())
print(f"best: {search.best_params_}, R² on held-out rows {search.score(X_test, y_test):.3f}")
