"""A working set of sparse columns: coordinate descent from the residuals of the rows."""

import numpy as np
from scipy.sparse import csc_array, vstack

from ..kernels.coordinate_descent import descend_sparse
from ..linalg.centred import CentredMatrix
from ..linalg.cg import conjugate_gradient
from .column_set import GROWING, SET_EPOCHS
from .face import DECREASE_ROUNDING, Face, face_solver, penalty_of
from .row_system import sqrt_weights

# Epochs of coordinate descent on a face, as before each Newton step.
EPOCHS = 10

# Rounds of descent and Newton steps, at most, and those with one Newton step; iterations of
# conjugate gradients in each.
MAX_ROUNDS = 30
HASTY_ROUNDS = 10
MAX_ITERATIONS = 200

# Columns to begin with, as a share of the rows.
FIRST_SHARE = 0.1

# Coordinates that are not zero up to which the products of a face are a matrix.
MAX_FACE_PRODUCTS = 300

# What conjugate gradients leave of the decrease of a step, relative to the objective.
STEP_ROUNDING = 1e-19


class SparseColumns:
    """Columns of sparse rows, times the roots of the weights; several targets share them.

    Attributes
    ----------
    X : csc_array of shape (n_rows, n_features)
    centre, scale, mean : ndarray of shape (n_features,)
        What centres subtract that the columns still have, and the mean of weighted entries.
    root : ndarray of shape (n_rows,)
        Roots of the weights.
    """

    def __init__(self, rows):
        parts = rows.parts
        X = parts[0].X if len(parts) == 1 else vstack([part.X for part in parts], format="csr")
        self.X = csc_array(X, dtype=np.float64)
        self.root = np.concatenate([sqrt_weights(part) for part in parts])
        if any(part.sample_weight is not None for part in parts):
            if np.shares_memory(self.X.data, X.data):
                self.X = self.X.copy()
            self.X.data *= self.root[self.X.indices]
        self.centre, self.scale = parts[0]._centre, rows.scaling.scale[:-1].copy()
        self.mean, self.weight = self.X.T @ self.root / rows.weight, float(rows.weight)


class SparseFace:
    """Products with the Hessian of the loss in some columns.

    `l2`: their l2.
    """

    def __init__(self, columns, active, l2):
        self.centred = CentredMatrix(columns.X[:, active], columns.root, columns.centre[active])
        self.scale, self.weight, self.l2 = columns.scale[active], columns.weight, l2

    def product(self, step):
        """Return the product of the Hessian with a step."""
        return self.slopes(self.centred @ (self.scale * step)) + self.l2 * step

    def solver(self):
        """Return a function that solves with the Hessian, from the products of the columns."""
        X, centre = self.centred.X, self.centred.centre
        sums = X.T @ self.centred.root
        hessian = (X.T @ X).toarray()
        hessian -= np.outer(sums, centre)
        hessian -= np.outer(centre, sums - self.weight * centre)
        hessian *= np.outer(self.scale, self.scale / self.weight)
        hessian.flat[:: len(hessian) + 1] += self.l2
        return face_solver(hessian)

    def slopes(self, residual):
        """Return the slopes of residuals times the roots of the weights."""
        return self.scale * self.centred.rmatvec(residual) / self.weight


class SparseSet:
    """A set of sparse columns, and the optimum over their coefficients; see `DenseSet`."""

    def __init__(self, rows, curvature, data):
        self.rows, self.curvature, self.data = rows, curvature, data
        self.columns, self.limit = np.empty(0, dtype=np.intp), np.inf
        self.first_size = max(int(FIRST_SHARE * rows.n_rows), 10)

    def add(self, new):
        """Let columns join; the intercept is none of them, as it is the mean residual."""
        self.growing = len(new) > GROWING * len(self.columns)
        self.columns = np.append(self.columns, new)

    def minimise(self, point, objective, value, *, rough=False):
        """Return the optimum over the set from a model, or a model near it; see `DenseSet`."""
        theta, n_features = point.theta.copy(), len(point.theta) - 1
        features = self.columns[self.columns < n_features]
        penalty = tuple(p[:-1] for p in penalty_of(objective))
        enough, before = DECREASE_ROUNDING * value, None
        residual = self._residual(theta)
        for number in range(MAX_ROUNDS):
            self._descend(features, SET_EPOCHS, penalty, theta[:-1], residual, enough)
            active = np.flatnonzero(theta[:-1])
            self._descend(active, EPOCHS, penalty, theta[:-1], residual, enough)
            if rough or self.growing or (before is not None and (np.sign(theta) == before).all()):
                break
            hasty = number < HASTY_ROUNDS
            for _ in range(1 if hasty else np.count_nonzero(theta) + 1):
                if self._face_step(theta, penalty, value, residual):
                    break
            before = np.sign(theta)
        return theta

    def _residual(self, theta):
        """Return the residuals times the roots of the weights; the intercept has no part in it."""
        residual = np.concatenate([r for part in self.rows.parts for r, _ in part.residuals(theta)])
        scale = self.rows.scaling.scale[-1]
        if scale > 0:
            root = self.data.root
            mean = (root**2 @ residual) / self.data.weight
            residual -= mean
            theta[-1] += mean / scale
        return residual * self.data.root

    def _descend(self, features, n_epochs, penalty, theta, residual, enough):
        """Take some epochs of coordinate descent; theta and the residuals follow."""
        data = self.data
        scaling = data.centre, data.scale, data.mean, self.curvature[:-1], data.weight
        residual /= data.weight
        arrays = data.X.data, data.X.indices, data.X.indptr
        _, shift = descend_sparse(
            *arrays, features, scaling, penalty, theta, residual, 0.0, n_epochs, enough
        )
        residual *= data.weight
        residual += shift * data.root

    def _face_step(self, theta, penalty, value, residual):
        """Take a Newton step on the face of a model; return whether it is all of it."""
        active = np.flatnonzero(theta[:-1])
        sparse = SparseFace(self.data, active, penalty[1][active])
        slope = np.zeros(len(theta) - 1)
        slope[active] = sparse.slopes(residual)
        face = Face(theta[:-1], slope, penalty, self.curvature[:-1])
        if not len(face.active):
            return True
        diagonal = self.curvature[face.active] + face.l2

        def solve(gradient):
            return conjugate_gradient(
                sparse.product,
                -gradient,
                STEP_ROUNDING * value,
                preconditioner=lambda g: g / diagonal,
                max_iter=MAX_ITERATIONS,
            ).step

        if len(active) <= MAX_FACE_PRODUCTS:
            solve = sparse.solver()
        change, full = face.change(solve, sparse.product)
        residual -= sparse.centred @ (sparse.scale * change)
        theta[face.active] += change
        theta[face.active[face.vanishing]] = 0.0
        return full
