"""The choice of how `partial_fit` learns: the optimum of all rows seen, or steps of SGD."""

from typing import NamedTuple

from ._choose import Choice


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
        Whether the products of all rows before have been summed up.
    """

    n_features: int
    squared: bool
    sgd_setting: str
    summed_up: bool = True
    n_targets: int = 1


def products_are_kept(n_features, n_targets, tuning):
    """Whether a stream keeps the products of the columns, a matrix for each target."""
    return n_targets * n_features**2 <= tuning.max_stream_features**2


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
        obstacle = "the loss is not squared error"
    elif facts.n_features > limit:
        obstacle = f"{facts.n_features} columns are more than {limit}"
    elif not products_are_kept(facts.n_features, facts.n_targets, tuning):
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
        return Choice(
            "newton-cholesky",
            f"{facts.n_features} columns <= {limit}: the least-squares model of all rows seen.",
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
