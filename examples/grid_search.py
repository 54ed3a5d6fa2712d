"""
Grid search over the learning rate in a pipeline
================================================

Like any scikit-learn regressor, `SGDLinearRegressor` can be the last step of a pipeline, its
parameters can be searched, and callbacks show the progress.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.callback import ProgressBar
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sklearn_sgdlin import SGDLinearRegressor

# %%
# The features are polynomials of the raw columns, without a scaler. A number for ``learning_rate``
# selects SGD, so each candidate takes 20 epochs at its rate. (With the default "auto" a direct
# solver would be used, as there are few columns.)

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
# The callback shows one progress bar for the search. With ``max_propagation_depth=None`` there
# would also be one for each pipeline and one for its epochs.

search = GridSearchCV(pipeline, grid).set_callbacks(ProgressBar(max_propagation_depth=0))
search.fit(X_train, y_train)

# %%
# The degree matters, and the rate hardly does: with 10 columns, 20 epochs of SGD reach the optimum
# at each of the rates, and with 65 columns they come close.

table = pd.DataFrame(search.cv_results_).pivot(
    index="param_sgdlinearregressor__learning_rate",
    columns="param_polynomialfeatures__degree",
    values="mean_test_score",
)
print(table.round(3).to_string())
print(f"best: {search.best_params_}, R² on held-out rows {search.score(X_test, y_test):.3f}")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for degree, scores in table.items():
    ax.semilogx(scores.index, scores, marker="o", label=f"polynomials of degree {degree}")
ax.set(xlabel="learning rate", ylabel="mean R² in cross-validation", ylim=(0, 0.6))
ax.legend()
plt.show()
