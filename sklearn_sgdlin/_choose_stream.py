"""The choice of how `partial_fit` learns: the optimum of all rows seen, or steps of SGD."""

from typing import NamedTuple

from ._choose import Choice
from .methods.newton_stream import FIRST_OPTIMUM_ROWS


class StreamFacts(NamedTuple):
    """All that the choice for `partial_fit` depends on.

    Attributes
    ----------
    n_features, n_targets : int
    squared : bool
        Whether the loss is squared error, with any penalty.
    sgd_setting : str
        As in `ProblemFacts`.
    summed_up : bool
        Whether the products of all rows before have been summed up, for this loss.
    forgets : bool
        Whether the weight of old rows falls.
    """

    n_features: int
    squared: bool
    sgd_setting: str
    summed_up: bool = True
    forgets: bool = False
    n_targets: int = 1


def products_are_kept(n_features, n_targets, limit):
    """Whether a stream keeps the products of the columns, a matrix for each target.

    The limit is the number of columns up to which it does for one target.
    """
    return n_targets * n_features**2 <= limit**2


def choose_for_stream(facts, tuning, solver="auto"):
    """Return the `Choice` for `partial_fit`: the optimum of all rows seen, or steps of SGD.

    Parameters
    ----------
    facts : StreamFacts
    tuning : Tuning
    solver : str

    Raises
    ------
    ValueError
        If the solver that was asked for cannot learn from a stream.
    """
    limit, obstacle = tuning.max_stream_features, ""
    if not facts.squared:
        limit = tuning.max_newton_stream_features
    if facts.forgets and not facts.squared:
        obstacle = "old rows of another loss than squared error are to be forgotten"
    elif facts.n_features > limit:
        obstacle = f"{facts.n_features} columns are more than {limit}"
    elif not products_are_kept(facts.n_features, facts.n_targets, limit):
        obstacle = (
            f"the products of {facts.n_features} columns for each of {facts.n_targets} targets are "
            f"more than those of {limit} columns"
        )
    elif not facts.summed_up:
        obstacle = "the rows before have not been summed up"
    if solver == "sgd":
        return Choice("sgd", "solver='sgd' was asked for.")
    if solver == "auto":
        if facts.sgd_setting:
            return Choice("sgd", f"{facts.sgd_setting} selects SGD.")
        if obstacle:
            return Choice("sgd", f"{obstacle[0].upper()}{obstacle[1:]}: one step for each row.")
        how = "the least-squares model"
        if not facts.squared:
            n_rows = FIRST_OPTIMUM_ROWS * (facts.n_features + 1)
            how = f"after {n_rows} rows by SGD, Newton steps towards the optimum"
        return Choice(
            "newton-cholesky", f"{facts.n_features} columns <= {limit}: {how} of all rows seen."
        )
    if solver != "newton-cholesky":
        obstacle = "it needs all rows at once"
    elif facts.sgd_setting:
        obstacle = f"{facts.sgd_setting} selects SGD"
    if obstacle:
        raise ValueError(
            f"solver={solver!r} is not available for partial_fit here: {obstacle}. Use "
            "solver='auto' or 'sgd'."
        )
    return Choice(solver, f"solver={solver!r} was asked for.")
