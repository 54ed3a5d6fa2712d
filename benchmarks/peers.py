"""The others: scikit-learn's solvers always, Vowpal Wabbit, River and PyTorch where installed.

Each is the road its users take on raw data, at the setting that serves quality best; the time
is that of the whole road: scaling and conversion to its own format are part of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

SGD_SETTINGS = {
    "default": {},
    "average": {"average": True},
    "adaptive": {"learning_rate": "adaptive"},
    "early stopping": {"early_stopping": True},
    "adaptive, eta0=0.1, tol=1e-4": {"learning_rate": "adaptive", "eta0": 0.1, "tol": 1e-4},
}


@dataclass
class Peer:
    """A model to compare with.

    Attributes
    ----------
    name : str
    make : callable
        Returns the estimator.
    numbers : float
        Stored numbers of X up to which it is tried; beyond, it would take too long.
    sparse : bool
        Whether it takes sparse X.
    """

    name: str
    make: Callable
    numbers: float = np.inf
    sparse: bool = False

    def takes(self, X):
        """Whether it is tried on X."""
        size = X.nnz if issparse(X) else X.size
        return size <= self.numbers and (self.sparse or not issparse(X))


def scaled_sgd(data, setting):
    """SGDRegressor behind the scaler its users put before it."""
    scaler = MaxAbsScaler() if issparse(data.X) else StandardScaler()
    sgd = SGDRegressor(random_state=0, **data.settings, **SGD_SETTINGS[setting])
    return make_pipeline(scaler, sgd)


class VowpalWabbit(BaseEstimator):
    """Ten passes of Vowpal Wabbit's adaptive, normalised steps."""

    def fit(self, X, y):
        from vowpalwabbit.sklearn import VWRegressor

        self.model_ = VWRegressor(passes=10, quiet=True).fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)


class River(BaseEstimator):
    """One pass of River's scaler and linear regression, row by row."""

    def fit(self, X, y):
        from river import compose, linear_model, optim, preprocessing

        self.model_ = compose.Pipeline(
            preprocessing.StandardScaler(), linear_model.LinearRegression(optim.SGD(0.01))
        )
        for row, target in zip(np.asarray(X), y, strict=True):
            self.model_.learn_one(dict(enumerate(row)), target)
        return self

    def predict(self, X):
        return np.array([self.model_.predict_one(dict(enumerate(row))) for row in np.asarray(X)])


class Torch(BaseEstimator):
    """Twenty epochs of PyTorch's Adam in batches of 256, X and y standardised before."""

    def fit(self, X, y):
        import torch

        torch.manual_seed(0)
        self.scaler_ = StandardScaler().fit(X)
        self.centre_, self.spread_ = y.mean(), y.std()
        rows = torch.from_numpy(self.scaler_.transform(X))
        targets = torch.from_numpy((y - self.centre_) / self.spread_)
        self.model_ = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)
        optimizer = torch.optim.Adam(self.model_.parameters(), lr=0.01)
        for _ in range(20):
            for batch in torch.randperm(len(rows)).split(256):
                optimizer.zero_grad()
                loss = torch.mean((self.model_(rows[batch])[:, 0] - targets[batch]) ** 2)
                loss.backward()
                optimizer.step()
        return self

    def predict(self, X):
        import torch

        with torch.no_grad():
            z = self.model_(torch.from_numpy(self.scaler_.transform(X)))[:, 0].numpy()
        return self.centre_ + self.spread_ * z


def peers():
    """Yield all that are installed, but for SGDRegressor, which has its settings."""
    yield Peer("LinearRegression", LinearRegression)
    yield Peer("Ridge", Ridge, sparse=True)
    if find_spec("vowpalwabbit") is not None:
        yield Peer("Vowpal Wabbit", VowpalWabbit, numbers=2e5)
    if find_spec("river") is not None:
        yield Peer("River", River, numbers=2e5)
    if find_spec("torch") is not None:
        yield Peer("PyTorch", Torch, numbers=2e6)
