"""A working set of columns, which are copied, and the optimum over their coefficients."""

import numpy as np
from scipy.sparse import issparse

from ..kernels.coordinate_descent import descend_columns
from ..linalg.blocks import chunk_rows, slices
from ..linalg.factorization import cholesky_solver
from .face import MAX_ROUNDS, Face, excess_slope, face_solver, penalty_of, slope_rounding

# Share of new columns from which on a set is growing, and the rounds of descent that are enough
# with fewer new columns.
GROWING, JOINED_ROUNDS = 0.02, 4

# Epochs of descent over a growing set; over any set before those on the face of a model.
ROUGH_EPOCHS, SET_EPOCHS = 5, 2

# Epochs on a face before a Newton step, at most, and as a share of the coordinates that are not
# zero, as a factor of theirs takes as long as so many; and those without a change of sign that are
# enough.
EPOCHS, EPOCHS_PER_COORDINATE, SETTLED_EPOCHS = 20, 0.1, 5

# Rounds of descent and Newton steps with one Newton step each; later ones take many.
HASTY_ROUNDS = 15

# Entries of X below which single precision saves no time.
MIN_SINGLE_ENTRIES = 1 << 15

# Pivot of the products of columns in single precision, relative to the diagonal, down to which a
# step leaves less than a thousandth.
SINGLE_PIVOT = 1e-4


class DenseSet:
    """A set of columns, and the optimum over their coefficients.

    Columns are copied in single precision: descent and Newton steps then take half the time. As the
    slopes from which they begin are exact, each call of `minimise` comes nearer to the optimum
    until rounding errors of double precision are left. Where columns are so nearly dependent that
    this would take many calls, they are copied again in double precision.

    `curvature` of shape (n_coordinates,): mean square of each column.

    Attributes
    ----------
    columns : ndarray of int
        The set, in the order in which columns have joined.
    values : ndarray of shape (n_columns, n_rows)
        The columns, times the roots of the weights.
    first_size, limit : int
        Columns to begin with, and at most.
    """

    def __init__(self, rows, curvature, tuning):
        self.rows, self.curvature, self.limit = rows, curvature, tuning.max_hessian_features + 1
        # As many that their products take as long as a pass over all columns, or a few of these.
        size = int(np.sqrt(tuning.set_products_per_entry * rows.n_coordinates))
        self.first_size = min(size, max(rows.n_rows, 1))
        self.columns, self.growing = np.empty(0, dtype=np.intp), True
        self._copy_as(np.float32 if rows.n_entries >= MIN_SINGLE_ENTRIES else np.float64)

    def _copy_as(self, number):
        """Copy the columns as numbers of a type."""
        columns, self.columns = self.columns, np.empty(0, dtype=np.intp)
        self.values = np.empty((0, sum(part.n_rows for part in self.rows.parts)), number)
        self.gram, self.of_gram = np.empty((0, 0), number), np.empty(0, dtype=np.intp)
        self.factor = None, None  # the last face, its l2, and the functions of `_solver`
        self._append(columns)

    def add(self, new):
        """Let columns join."""
        self.max_rounds = MAX_ROUNDS if not len(new) else JOINED_ROUNDS
        self.growing = len(new) > GROWING * len(self.columns)
        self._append(new)

    def _append(self, new):
        n_before, n_after = len(self.columns), len(self.columns) + len(new)
        self.columns = np.append(self.columns, new)
        if n_after > len(self.values):
            space = max(n_after, min(2 * n_before, len(self.curvature)))
            values = np.empty((space, self.values.shape[1]), self.values.dtype)
            values[:n_before] = self.values[:n_before]
            self.values = values
        first = 0
        for part in self.rows.parts:
            copy_columns(part, new, self.values[n_before:n_after, first : first + part.n_rows])
            first += part.n_rows

    def minimise(self, point, objective, value, *, rough=False):
        """Return the optimum over the set from a model, or a model near it.

        `value`: a worse value of the loss.
        `rough`: whether a model near the optimum is enough.
        """
        descent = SetDescent(self, point, objective, value)
        everywhere = np.arange(len(self.columns))
        if rough or self.growing:
            descent.descend(everywhere, ROUGH_EPOCHS)
        else:
            for number in range(self.max_rounds):
                descent.descend(everywhere, SET_EPOCHS)
                if descent.minimise_on_face(hasty=number < HASTY_ROUNDS) and descent.is_optimal():
                    break
        theta = point.theta.copy()
        theta[self.columns] = descent.theta
        return theta

    def products(self, active):
        """Return the mean products of some columns of the set, given by their places."""
        new = np.setdiff1d(active, self.of_gram)
        if len(new):
            n_before, columns = len(self.of_gram), self.values[new]
            gram = np.empty((n_before + len(new),) * 2, self.values.dtype)
            gram[:n_before, :n_before] = self.gram
            gram[n_before:, :n_before] = columns @ self.values[self.of_gram].T / self.rows.weight
            gram[:n_before, n_before:] = gram[n_before:, :n_before].T
            gram[n_before:, n_before:] = columns @ columns.T / self.rows.weight
            self.gram, self.of_gram = gram, np.append(self.of_gram, new)
        order = np.argsort(self.of_gram)
        place = order[np.searchsorted(self.of_gram, active, sorter=order)]
        if np.array_equal(place, np.arange(len(self.gram))):
            return self.gram.copy()
        return self.gram[place].take(place, axis=1)


class SetDescent:
    """Coordinate descent and Newton steps in a `DenseSet` for one objective.

    Attributes
    ----------
    theta : ndarray of shape (n_columns,)
    change : ndarray of shape (n_rows,)
        What the residuals have changed by since the slopes were exact, in units of `unit`.
    """

    def __init__(self, columns, point, objective, value):
        self.set, self.value = columns, value
        self.penalty = tuple(p[columns.columns] for p in penalty_of(objective))
        self.curvature = columns.curvature[columns.columns]
        self.start, self.first = point.slope[columns.columns], point.theta[columns.columns]
        self.theta, self.unit = self.first.copy(), np.sqrt(2 * value) / columns.rows.weight or 1.0
        self.change = np.zeros(columns.values.shape[1], columns.values.dtype)

    @property
    def _values(self):
        return self.set.values[: len(self.theta)]

    def descend(self, chosen, n_epochs, n_settled=-1):
        """Take some epochs along chosen coordinates."""
        descend_columns(
            self._values,
            chosen,
            self.start,
            self.curvature,
            self.penalty,
            self.theta,
            self.change,
            self.unit,
            self.set.rows.weight,
            n_epochs,
            n_settled,
        )

    def slope(self, places=slice(None)):
        """Return minus the gradient of the loss by some coordinates."""
        return self.start[places] + self.unit * (self._values[places] @ self.change)

    def is_optimal(self):
        """Whether no coordinate that is zero violates the optimality conditions."""
        rounding = slope_rounding(self.curvature, self.value, self.penalty[0])
        excess = excess_slope(self.theta, self.slope(), self.penalty) - rounding
        return (excess[self.curvature > 0] <= 0).all()

    def minimise_on_face(self, hasty):
        """Descend along the coordinates that are not zero, then take Newton steps.

        Return whether the last step was one to the optimum of the face. Where that is near, hasty
        steps find it; where they do not, as between nearly dependent columns, no coordinate joins
        before.
        """
        active = Face(self.theta, self.start, self.penalty, self.curvature).active
        if not len(active):
            return True
        n_epochs = EPOCHS + int(EPOCHS_PER_COORDINATE * len(active))
        self.descend(active, n_epochs, SETTLED_EPOCHS)
        for _ in range(1 if hasty else len(active) + 1):
            face = Face(self.theta, self.slope(), self.penalty, self.curvature)
            if not len(face.active):
                return True
            change, full = face.change(*self._solver(face))
            self.theta[face.active] += change
            self.theta[face.active[face.vanishing]] = 0.0
            step = (self.theta - self.first) / self.unit / self.set.rows.weight
            self.change = -(step.astype(self._values.dtype) @ self._values)
            if full:
                break
        return full

    def _solver(self, face):
        """Return functions that multiply with the inverse of the Hessian of a face, and with it."""
        active, l2, *known = self.set.factor
        if not np.array_equal(active, face.active) or not np.array_equal(l2, face.l2):
            known = self._factorized(face)
            self.set.factor = face.active, face.l2, *known
        return known

    def _factorized(self, face):
        hessian = self.set.products(face.active)
        hessian.flat[:: len(hessian) + 1] += face.l2
        if hessian.dtype == np.float64:
            return face_solver(hessian), hessian.__matmul__
        solve, well_conditioned = cholesky_solver(hessian.copy(), len(hessian), SINGLE_PIVOT)
        if not well_conditioned:
            self.set._copy_as(np.float64)
            return self._factorized(face)
        unit = self.unit * self.set.rows.weight

        def in_units(multiply):
            return lambda vector: unit * multiply((vector / unit).astype(np.float32))

        return in_units(solve), in_units(hessian.__matmul__)


def copy_columns(rows, columns, values):
    """Write some columns of rows in their scaling, times the roots of the weights.

    `values` of shape (n_columns, n_rows): is overwritten.
    """
    first = 0
    if issparse(rows.X):
        for chunk, _, weight in rows.chunks():
            for z, part in chunk.dense_blocks(weight):
                root = 1.0 if part is None else np.sqrt(part)[:, np.newaxis]
                values[:, first : first + len(z)] = (z[:, columns] * root).T
                first += len(z)
        return
    n_features = rows.n_coordinates - 1
    of_data = columns < n_features
    features = columns[of_data]
    centre, scale = rows.scaling.centre[features], rows.scaling.scale
    for part in slices(rows.n_rows, chunk_rows(len(columns))):
        root = 1.0 if rows.sample_weight is None else np.sqrt(rows.sample_weight[part])
        block = np.take(rows.X[part], features, axis=1) - centre
        block *= scale[features]
        values[of_data, part] = block.T * root
        values[~of_data, part] = scale[-1] * root
