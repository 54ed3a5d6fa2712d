"""The oracle: the method as a plain NumPy loop that reads like its formulas."""

import numpy as np


def outside_of(residual, loss):
    """The residual outside the dead zone."""
    return np.sign(residual) * max(abs(residual) - loss.dead_zone, 0.0)


def multiplier(outside, softness, loss):
    """clip(outside / softness, lower, upper), the bound on its side where softness is 0."""
    if outside == 0:
        return 0.0
    if softness == 0:
        return loss.upper if outside > 0 else loss.lower
    return min(max(outside / softness, loss.lower), loss.upper)


def shortening(outside, softness, loss):
    """How long an implicit step is, in units of the explicit one."""
    if outside == 0 or loss.bound == np.inf:
        return loss.compliance / softness if loss.compliance > 0 else 1.0
    return multiplier(outside, softness, loss) / multiplier(outside, loss.compliance, loss)


def shrink(theta, rate, objective):
    """The proximal step of the penalty, within its bounds; one rate, or one of each coordinate."""
    size = np.maximum(np.abs(theta) - rate * objective.l1, 0.0) / (1 + rate * objective.l2)
    return np.maximum(np.sign(theta) * size, objective.floor)


def sweep(
    X,
    y,
    sample_weight,
    order,
    scaling,
    objective,
    schedule,
    rows_seen,
    theta,
    average_every=16,
    penalty_every=2,
    restarts=(),
):
    """Visit the rows in the given order; return the last iterate and the mean of the path.

    The penalty has its turn after `penalty_every` rows, the average and the rate after
    `average_every`, and all at the `restarts`, numbers of steps after which a tile ends. Where
    `penalty_every` is 0, each row takes the penalty's step at once, in the columns of its entries
    that are not zero and in proportion to z**2.
    """
    learning_rate, power_t, implicit, mean_norm = schedule
    loss, mean, since, penalty_rate = objective.loss, np.zeros_like(theta), 0, 0.0
    rate = learning_rate * (rows_seen + 1) ** -power_t
    for steps, row in enumerate(order, start=1):
        z = scaling.scale * np.append(X[row] - scaling.centre, 1.0)
        h = 1.0 if sample_weight is None else sample_weight[row]
        softness = loss.compliance + (rate * h * (z @ z) if implicit else 0.0)
        outside = outside_of(y[row] - z @ theta, loss)
        theta = theta + rate * h * multiplier(outside, softness, loss) * z
        shorter = shortening(outside, softness, loss) if implicit and h > 0 else 1.0
        before = theta
        if penalty_every == 0:
            paid = shrink(theta, rate * h * shorter * z**2, objective)
            before = theta = np.where(np.append(X[row] != 0, False), paid, theta)
        elif implicit and loss.bound == np.inf:
            shorter *= z[:-1] @ z[:-1] / mean_norm
        penalty_rate += rate * h * shorter
        since += 1
        ends = since == average_every or steps in restarts or steps == len(order)
        if penalty_every and (ends or since % penalty_every == 0):
            before, theta = theta, shrink(theta, penalty_rate, objective)
            penalty_rate = 0.0
        if ends:
            mean += since * (theta + np.clip((before - theta) / 2, -np.abs(theta), np.abs(theta)))
            rate = learning_rate * (rows_seen + steps + 1) ** -power_t
            since = 0
    return theta, mean / len(order)
