"""The choice of a solver: one table, read from top to bottom.

``choose(facts, tuning)`` is a pure function of numbers. The table is printed in the documentation
by `decision_table`, and what `choose` returns is what `fit` shows as ``solver_`` and
``solver_reason_``.
"""

from collections.abc import Callable
from typing import NamedTuple

from ._tuning import Tuning


class Choice(NamedTuple):
    """The solver that runs, and why, in a sentence."""

    solver: str
    reason: str


class SolverRow(NamedTuple):
    """A row of the table."""

    name: str
    condition: str  # when "auto" chooses it, in words; fields of `Tuning` stand in braces
    # Returns why the solver is not available for a problem, or "" if it is.
    obstacle: Callable[..., str]
    # Returns why "auto" chooses it if no row above applies, or "" if it does not.
    reason: Callable[..., str]


def choose(facts, tuning, solver="auto", *, excluded=()):
    """Return the `Choice` for a problem.

    Parameters
    ----------
    facts : ProblemFacts
    tuning : Tuning
    solver : str
        "auto", or the name of the solver that the user asks for.
    excluded : sequence of str
        Solvers that have turned out not to be available for the problem.

    Raises
    ------
    ValueError
        If the solver that was asked for is not available for the problem.
    """
    if solver == "auto":
        rows = [row for row in SOLVERS if row.name not in excluded]
        return next(
            Choice(row.name, reason)
            for row in rows
            if not row.obstacle(facts, tuning) and (reason := row.reason(facts, tuning))
        )
    obstacles = {row.name: row.obstacle(facts, tuning) for row in SOLVERS}
    if facts.sgd_setting and solver != "sgd":
        raise ValueError(
            f"{facts.sgd_setting} is a setting of the path of SGD, which solver={solver!r} does "
            f"not follow. Use solver='sgd', or leave {facts.sgd_setting.split('=')[0]} at its "
            "default."
        )
    if obstacles[solver]:
        others = [repr(name) for name, obstacle in obstacles.items() if not obstacle]
        raise ValueError(
            f"solver={solver!r} is not available for this problem: {obstacles[solver]}. Use "
            f"one of 'auto', {', '.join(others)}."
        )
    return Choice(solver, f"solver={solver!r} was asked for.")


def decision_table(tuning=None):
    """Return the rows of the table as pairs of a name and the condition in words."""
    tuning = Tuning() if tuning is None else tuning
    return [(row.name, row.condition.format(**vars(tuning))) for row in SOLVERS]


def _few_rows(facts, tuning):
    """Whether there are at most as many rows as features, and enough features."""
    return facts.n_features >= max(facts.n_rows, tuning.min_row_system_features)


def _kinks(facts):
    return "" if facts.quadratic else "the loss or the penalty is not quadratic"


def _descent_obstacle(facts, tuning):
    if not facts.squared:
        return "the loss is not the squared error"
    if facts.quadratic:
        return "the objective is quadratic, without kinks"
    return "the rows lie on the workers of a cluster" if facts.distributed else ""


def _semismooth(facts, tuning):
    """Whether Newton steps serve a loss that is quadratic in pieces."""
    if facts.quadratic or facts.distributed or not facts.curved:
        return False
    enough_rows = facts.l2 or facts.n_rows > facts.n_features
    limit = min(tuning.cheap_hessian_features, tuning.max_hessian_features)
    return enough_rows and facts.n_features <= limit


def _interior_reason(facts, tuning):
    if facts.quadratic or _semismooth(facts, tuning):
        return ""
    reason = "The loss or the penalty has kinks or bounds."
    if rows_are_reduced(facts, tuning):
        reason += f" A sample of {facts.n_rows} rows tells which of them are near a kink."
    return reason


def rows_are_reduced(facts, tuning):
    """Whether interior-point steps take only the rows near a kink of the loss."""
    n, d = facts.n_rows, facts.n_features
    enough = n >= max(tuning.min_reduced_rows, tuning.min_reduced_rows_per_column * d)
    return facts.kinked_loss and enough and not facts.distributed


def _no_row_system(facts, tuning):
    if facts.distributed:
        return "the rows lie on the workers of a cluster"
    if not facts.sparse and facts.n_rows > tuning.max_row_system_rows:
        return f"{facts.n_rows} rows are more than {tuning.max_row_system_rows}"
    return _kinks(facts)


def _dual_obstacle(facts, tuning):
    return _no_row_system(facts, tuning) or (
        "" if facts.l2 else "there is no 'l2' penalty with alpha > 0"
    )


def _dual_reason(facts, tuning):
    if not _few_rows(facts, tuning):
        return ""
    if not facts.sparse:
        return (
            f"{facts.n_rows} dense rows <= {facts.n_features} columns, and an 'l2' penalty: there "
            "is one unknown for each row."
        )
    limit = tuning.max_sparse_dual_entries_per_feature * facts.n_features
    if facts.n_features < tuning.min_sparse_dual_features or facts.n_entries > limit:
        return ""
    return (
        f"{facts.n_rows} sparse rows <= {facts.n_features} columns with "
        f"{facts.n_entries / facts.n_features:.1f} entries each, and an 'l2' penalty: there is one "
        "unknown for each row."
    )


def _min_norm_obstacle(facts, tuning):
    if facts.sparse:
        return "X is sparse"
    if facts.n_rows > facts.n_features:
        return f"{facts.n_rows} rows are more than {facts.n_features} columns"
    return _no_row_system(facts, tuning) or ("there is an 'l2' penalty" if facts.l2 else "")


def _min_norm_reason(facts, tuning):
    if not _few_rows(facts, tuning):
        return ""
    return (
        f"{facts.n_rows} dense rows <= {facts.n_features} columns, and no penalty: there is one "
        "unknown for each row."
    )


def _cholesky_obstacle(facts, tuning):
    if facts.n_features > tuning.max_hessian_features:
        return f"{facts.n_features} columns are more than {tuning.max_hessian_features}"
    return "" if _semismooth(facts, tuning) else _kinks(facts)


def _cholesky_reason(facts, tuning):
    d, what = facts.n_features, "the Hessian is summed up and factorised."
    if not facts.quadratic:
        what = "the Hessian of the rows in curved pieces of the loss is factorised in each step."
    if facts.distributed:
        limit = tuning.max_cluster_hessian_features
        return f"{d} columns on a cluster <= {limit}: {what}" if d <= limit else ""
    limit = tuning.cheap_hessian_features * facts.n_targets
    if d <= limit:
        targets = f" for {facts.n_targets} targets" if facts.n_targets > 1 else ""
        return f"{d} columns <= {limit}{targets}: {what}"
    if facts.n_rows * (d + 1) ** 2 <= tuning.cheap_hessian_products:
        return f"{facts.n_rows} rows x {d} columns: so small {what}"
    return ""


def _cg_reason(facts, tuning):
    n, d = facts.n_rows, facts.n_features
    if facts.distributed and d <= tuning.max_worker_hessian_features:
        limit = tuning.max_cluster_hessian_features
        return f"{d} columns on a cluster > {limit}: each worker factorises a Hessian of its own."
    if facts.distributed or d > tuning.max_hessian_features:
        local = tuning.max_hessian_features
        limit = tuning.max_worker_hessian_features if facts.distributed else local
        return f"{d} columns > {limit}: conjugate gradients take products with the Hessian."
    return (
        f"{d} columns > {tuning.cheap_hessian_features * facts.n_targets}, and rows times columns "
        f"squared, {n * (d + 1) ** 2:.1e}, > {tuning.cheap_hessian_products:.0e}: conjugate "
        "gradients take products with the Hessian."
    )


SOLVERS = [
    SolverRow(
        "sgd",
        "A setting selects SGD: a number for ``learning_rate``, ``early_stopping=True``, "
        '``update="explicit"``, ``precondition=False``, ``average=False``, or a ``schedule`` other '
        'than "adaptive".',
        lambda facts, tuning: "",
        lambda facts, tuning: f"{facts.sgd_setting} selects SGD." if facts.sgd_setting else "",
    ),
    SolverRow(
        "coordinate-descent",
        'The squared error with ``penalty="l1"``, ``"elasticnet"`` or ``positive=True``, unless '
        "the rows lie on a cluster.",
        _descent_obstacle,
        lambda facts, tuning: (
            "Squared error with an l1 penalty or bounds: only columns whose coefficients are not "
            "zero matter."
        ),
    ),
    SolverRow(
        "interior-point",
        "Another loss with a penalty that is not quadratic, or a loss with kinks: quantile and "
        "epsilon_insensitive. Huber and squared_epsilon_insensitive with more than "
        "{cheap_hessian_features} columns, and with at most as many rows as columns and no "
        "penalty. On a cluster all that is not quadratic.",
        lambda facts, tuning: (
            "the objective is quadratic, without kinks" if facts.quadratic else ""
        ),
        _interior_reason,
    ),
    SolverRow(
        "dual",
        '``penalty="l2"``, and at most as many rows as columns: up to {max_row_system_rows} dense '
        "rows and at least {min_row_system_features} columns, or sparse rows of at least "
        "{min_sparse_dual_features} columns with at most {max_sparse_dual_entries_per_feature:g} "
        "stored entries for each column on average.",
        _dual_obstacle,
        _dual_reason,
    ),
    SolverRow(
        "min-norm",
        "No penalty, and at most as many rows as columns: up to {max_row_system_rows} dense rows "
        "and at least {min_row_system_features} columns.",
        _min_norm_obstacle,
        _min_norm_reason,
    ),
    SolverRow(
        "newton-cholesky",
        "Up to {cheap_hessian_features} columns, with squared error for each target; with squared "
        "error also any number up to {max_hessian_features} if rows times columns squared are at "
        "most {cheap_hessian_products:g}, and on a cluster up to {max_cluster_hessian_features} "
        "columns.",
        _cholesky_obstacle,
        _cholesky_reason,
    ),
    SolverRow("newton-cg", "Otherwise.", lambda facts, tuning: _kinks(facts), _cg_reason),
]

SOLVER_NAMES = ["auto", *(row.name for row in SOLVERS)]
