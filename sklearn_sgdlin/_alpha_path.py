"""Scores of the models of every split of a cross-validation, for every alpha.

Where products of columns are all there is to know, one pass over X serves every model of every
split. Otherwise the models of a split are found one after the other, from what the alphas share:
products of rows, products of a set of dense columns, or what a `path` of fits shares.
"""

from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import perf_counter

import numpy as np
from scipy.sparse import issparse

from ._alpha_grid import alpha_grid, slope_and_curvature
from ._path import path
from ._report import History
from .data.row_ranges import in_threads, moments_of
from .data.split_products import products_of_rows, split_sums
from .methods.column_path import ColumnPath
from .methods.product_path import ProductPath
from .methods.ridge_path import kernel_solutions, row_products
from .model.loss import SQUARED_ERROR
from .model.settings import DivergedError


@dataclass(frozen=True)
class Data:
    """Valid rows, their targets and weights.

    Attributes
    ----------
    X : C-ordered ndarray or CSR matrix
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None

    def of_rows(self, rows):
        """Return the data of some rows, given by their numbers."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Data(self.X[rows], self.y[rows], weight)

    @property
    def targets(self):
        """Targets of shape (n_rows, n_targets), C-ordered."""
        return np.ascontiguousarray(self.y.reshape(len(self.y), -1))

    @property
    def arrays(self):
        """The rows, all targets and the weights."""
        return self.X, self.targets, self.sample_weight


def route(settings, shape, sparse, l1_ratio):
    """Return from what the models of a split are found.

    Parameters
    ----------
    settings : Settings
    shape : tuple of int
        Of the training rows of the smallest split.
    sparse : bool
    l1_ratio : float

    Returns
    -------
    route : {"products", "kernel", "columns", "fits"}
    """
    n_rows, n_features = shape
    tuning = settings.tuning
    if settings.loss != SQUARED_ERROR or settings.sgd_setting or settings.solver != "auto":
        return "fits"
    few = n_features <= tuning.cheap_hessian_features
    if few or (not sparse and n_features <= min(n_rows, tuning.max_hessian_features)):
        return "products"
    if sparse:
        return "fits"
    if l1_ratio > 0 or settings.positive:
        return "columns"
    return "kernel" if n_rows <= min(n_features, tuning.max_row_system_rows) else "fits"


class AlphaPaths:
    """Models for every l1_ratio, alpha and split, and their scores.

    Parameters
    ----------
    model : SGDLinearRegressor
        All but the penalty. It becomes a model of the path by `coef_` and `intercept_`.
    data : Data
    splits : list of pairs of arrays
        Numbers of the training and test rows.
    l1_ratios : list of float
    score : callable or None
        ``score(model, rows)`` of a model on some rows, given by their numbers; greater is better.
        None: minus the mean squared error, or minus the mean loss of another loss.
    """

    def __init__(self, model, data, splits, l1_ratios, score):
        self.data, self.splits = data, splits
        self.l1_ratios, self.score = l1_ratios, score
        self.settings = settings = model._settings()
        self.model = copy(model)  # without the settings, which further copies would convert
        shape = min(len(train) for train, _ in splits), data.X.shape[1]
        self.routes = [route(settings, shape, issparse(data.X), ratio) for ratio in l1_ratios]
        self.path_of_all = self.row_products = None
        if "products" in self.routes:
            self._arrays = data.arrays
            passes = split_sums(*self._arrays, splits, settings.tuning)
            first = next(passes)
            self.passes = chain([first], passes)
            self.path_of_all = self._path(slice(None), first.total())
        else:
            moments_of(data.X, data.sample_weight, settings.tuning)  # raises if X is not finite
        if "kernel" in self.routes:
            self.row_products = row_products(data.X, settings.fit_intercept)

    def grid(self, n_alphas, eps):
        """Return as many alphas for each l1_ratio, of shape (n_l1_ratios, n_alphas)."""
        if self.path_of_all is not None:
            slope = self.path_of_all.slope_of_loss
            curvature = self.path_of_all.hessian.trace()
        else:
            slope, curvature = slope_and_curvature(self.model, self.settings, self.data)
        if self.settings.positive:
            slope = np.maximum(slope, 0.0)
        return np.array([alpha_grid(slope, curvature, r, n_alphas, eps) for r in self.l1_ratios])

    def scores(self, alphas):
        """Return the scores, of shape (n_l1_ratios, n_alphas, n_splits).

        Parameters
        ----------
        alphas : ndarray of shape (n_l1_ratios, n_alphas)
            Falling.
        """
        if self.path_of_all is None:
            return np.stack(list(in_threads(partial(self._scores_by_rows, alphas), self.splits)), 2)
        results = []
        for sums in self.passes:
            task = partial(self._scores_by_products, alphas, sums)
            results += in_threads(task, range(len(sums.splits)))
        return np.stack(results, axis=2)

    def best(self, alpha, l1_ratio):
        """Return the model of all rows; a fit where products of columns may have lost digits."""
        path = self.path_of_all
        if path is not None and path.independent:
            coef = path.solutions(np.array([alpha]), l1_ratio, self.settings.positive)[0]
            if np.isfinite(coef).all():
                return self._with_solution(coef, path.centre)
        return self._fit(self._penalised(alpha, l1_ratio), self.data)

    def _scores_by_products(self, alphas, sums, number):
        """Return the scores of a split of a pass, of shape (n_l1_ratios, n_alphas)."""
        split, scores = sums.split(number), np.empty(alphas.shape)
        path = self._path(split.train, split.train_sums)
        for i, l1_ratio in enumerate(self.l1_ratios):
            coef = path.solutions(alphas[i], l1_ratio, self.settings.positive)
            errors = split.test_sums.mean_squared_errors(coef, path.centre)
            solved = coef, path.centre, alphas[i]
            scores[i] = self._completed(errors, solved, l1_ratio, split.train, split.test)
        return scores

    def _path(self, rows, sums):
        """Return the `ProductPath` of some rows, from their `ShiftedSums`."""
        products = products_of_rows(*self._arrays, rows, sums, self.settings.tuning)
        return ProductPath(products, self.settings.fit_intercept)

    def _scores_by_rows(self, alphas, split):
        """Return the scores of a split, of shape (n_l1_ratios, n_alphas)."""
        train, test, scores = *split, []
        for l1_ratio, route, grid in zip(self.l1_ratios, self.routes, alphas, strict=True):
            if route == "fits":
                fits = zip(self._by_fits(train, l1_ratio, grid), grid, strict=True)
                scores.append(self._scores_of(fits, l1_ratio, train, test))
                continue
            solve = self._by_kernel if route == "kernel" else self._by_columns
            coef, centre = solve(train, l1_ratio, grid)
            errors = self._mean_squared_errors(coef, centre, test)
            solved = coef, centre, grid
            scores.append(self._completed(errors, solved, l1_ratio, train, test))
        return np.array(scores)

    def _mean_squared_errors(self, coef, centre, rows):
        """Return the mean squared errors of solutions, of shape (n_alphas, n_targets)."""
        data, n_features = self.data.of_rows(rows), coef.shape[2]
        predicted = (data.X - centre[:n_features]) @ coef.reshape(-1, n_features).T
        residual = (data.targets - centre[n_features:])[:, np.newaxis]
        residual = residual - predicted.reshape(len(rows), *coef.shape[:2])
        return np.average(residual**2, axis=0, weights=data.sample_weight)

    def _completed(self, errors, solved, l1_ratio, train, test):
        """Return the scores of solutions, from a model where the error is NaN, or for a scorer.

        Parameters
        ----------
        errors : ndarray of shape (n_alphas, n_targets)
            Mean squared errors on the test rows.
        solved : tuple of the coefficients, the centre and the alphas
        l1_ratio : float
        train, test : ndarray of int
        """
        coef, centre, alphas = solved
        scores = -errors.mean(axis=1) if self.score is None else np.full(len(alphas), np.nan)
        unknown = np.flatnonzero(np.isnan(scores))
        fits = zip(self._models_of(coef[unknown], centre), alphas[unknown], strict=True)
        scores[unknown] = self._scores_of(fits, l1_ratio, train, test)
        return scores

    def _scores_of(self, fits, l1_ratio, train, test):
        """Return the scores of models; one that is None is fitted to the training rows.

        Parameters
        ----------
        fits : iterable of pairs of a model and its alpha
        l1_ratio : float
        train, test : ndarray of int
        """
        scores, held_out = [], None
        for model, alpha in fits:
            if model is None:
                model = self._fit(self._penalised(alpha, l1_ratio), self.data.of_rows(train))
            if self.score is not None:
                scores.append(self.score(model, test))
                continue
            held_out = held_out or self.data.of_rows(test)
            scores.append(-self._mean_error(model, held_out))
        return scores

    def _mean_error(self, model, data):
        """Return the mean squared error, or the mean of another loss."""
        loss = self.settings.loss
        factor = 2.0 if loss == SQUARED_ERROR else 1.0
        residual = data.y - model._linear(data.X)
        return factor * model._mean_loss(loss, residual, data.sample_weight)

    def _by_kernel(self, train, l1_ratio, alphas):
        """Return the solutions of ridge regression with one unknown a row, and their centre."""
        fit_intercept = self.settings.fit_intercept
        return kernel_solutions(self.row_products, self.data.arrays, train, alphas, fit_intercept)

    def _by_columns(self, train, l1_ratio, alphas):
        """Return solutions from products of a set of columns only, and their centre."""
        path = ColumnPath(*self.data.of_rows(train).arrays, self.settings.fit_intercept)
        return path.solutions(alphas, l1_ratio, self.settings.positive), path.centre

    def _by_fits(self, train, l1_ratio, alphas):
        """Yield models that are fitted, each from where the last one ended."""
        data, begin = self.data.of_rows(train), perf_counter()
        models = [self._penalised(alpha, l1_ratio) for alpha in alphas]
        grid, seed = [model._settings() for model in models], self.model._draw_seed()
        epochs = path(grid, data.X, data.y, data.sample_weight, seed)
        try:
            for model, epoch in zip(models, epochs, strict=True):
                history = History(model.tol, model.n_iter_no_change)
                history.add(epoch)
                if model.verbose:
                    print(history.line(perf_counter() - begin))
                model.n_features_in_ = data.X.shape[1]
                model._publish_fit(epoch.state, history)
                if model.tol is not None:
                    model._warn_if_not_converged(history)
                yield model
        except DivergedError as error:
            raise self.model._diverged(error) from None

    def _fit(self, model, data):
        return model.fit(data.X, data.y, sample_weight=data.sample_weight)

    def _penalised(self, alpha, l1_ratio):
        """Return a model with a penalty that is not fitted."""
        model = copy(self.model)
        model.penalty = {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")
        model.alpha, model.l1_ratio = alpha, l1_ratio
        return model

    def _models_of(self, coef, centre):
        """Yield the model of each of several solutions, None for one with a NaN."""
        for solution in coef:
            finite = np.isfinite(solution).all()
            yield self._with_solution(solution, centre) if finite else None

    def _with_solution(self, coef, centre):
        """Return the model with coefficients of shape (n_targets, n_features), through a centre."""
        model, n_features = copy(self.model), coef.shape[1]
        model.n_features_in_, model.n_iter_ = n_features, 1
        intercept = centre[n_features:] - coef @ centre[:n_features]
        single = self.data.y.ndim == 1
        model.coef_ = coef[0] if single else coef
        model.intercept_ = float(intercept[0]) if single else intercept
        return model
