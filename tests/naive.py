"""The oracle: the method as a plain NumPy loop that reads like its formulas."""

import numpy as np


def multiplier(residual, softness, loss):
    """clip(s / softness, lower, upper), the bound on the side of s where softness is 0."""
    dead_zone, _, lower, upper = loss
    outside = np.sign(residual) * max(abs(residual) - dead_zone, 0.0)
    if outside == 0:
        return 0.0
    if softness == 0:
        return upper if outside > 0 else lower
    return min(max(outside / softness, lower), upper)


def shrink(theta, rate, objective):
    """The proximal step of the penalty, within its bounds."""
    size = np.maximum(np.abs(theta) - rate * objective.l1, 0.0) / (1 + rate * objective.l2)
    return np.maximum(np.sign(theta) * size, objective.floor)


def sweep(
    X,
    y,
    sample_weight,
    order,
    metric,
    objective,
    schedule,
    rows_seen,
    theta,
    every=16,
    restarts=(),
):
    """Visit the rows in the given order; return the last iterate and the mean of the path.

    The penalty, the average and the rate have their turn after `every` rows, and at the
    `restarts`, numbers of steps after which a tile ends.
    """
    learning_rate, power_t, implicit = schedule
    loss, theta, mean, since = objective.loss, theta.copy(), np.zeros_like(theta), 0
    rate = learning_rate * (rows_seen + 1) ** -power_t
    for steps, row in enumerate(order, start=1):
        z = metric.scale * np.append(X[row] - metric.centre, 1.0)
        h = 1.0 if sample_weight is None else sample_weight[row]
        softness = loss.compliance + (rate * h * (z @ z) if implicit else 0.0)
        theta = theta + rate * h * multiplier(y[row] - z @ theta, softness, loss) * z
        since += 1
        if since == every or steps in restarts or steps == len(order):
            theta = shrink(theta, rate * since, objective)
            mean += since * theta
            rate = learning_rate * (rows_seen + steps + 1) ** -power_t
            since = 0
    return theta, mean / len(order)
