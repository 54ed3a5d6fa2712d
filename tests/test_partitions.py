"""Rows in several parts: the sums of one part, and sweeps that visit every row once."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.methods.subspace import quadratic_sums
from sklearn_sgdlin.model.loss import SQUARED_ERROR
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling

CUTS = [0, 10, 1500, 4000]
RULE = 0.1, 0.5, True, 1.0  # the rate falls


@pytest.fixture(params=[np.asarray, csr_array], ids=["dense", "sparse"])
def whole_and_parts(request, rng):
    X = rng.normal(size=(4000, 5)) + 3
    y, weight = X.sum(axis=1) + rng.normal(size=4000), rng.uniform(0.5, 2, 4000)
    scaling = Scaling.from_moments(Moments.of(X, weight), True)
    cuts = [slice(*ends) for ends in pairwise(CUTS)]
    parts = [InMemory.of(request.param(X[cut]), y[cut], weight[cut], scaling) for cut in cuts]
    whole = InMemory.of(request.param(X), y, weight, scaling)
    return whole, InMemory([part for each in parts for part in each.parts])


def ridge(rows):
    return Objective.of(SQUARED_ERROR, 0.0, 0.3, False, rows.scaling.scale)


def test_sums_over_parts_are_those_of_all_rows(whole_and_parts, rng):
    whole, parts = whole_and_parts
    theta, directions = rng.normal(size=6), rng.normal(size=(6, 3))
    for name in ("n_rows", "n_entries", "n_coordinates", "weight"):
        assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-14)
    for ours, theirs in zip(
        parts.sum(quadratic_sums, theta, directions),
        whole.sum(quadratic_sums, theta, directions),
        strict=True,
    ):
        assert_allclose(ours, theirs, rtol=1e-11)
    for points in (theta, directions):
        expected = whole.mean_loss(points, SQUARED_ERROR)
        assert_allclose(parts.mean_loss(points, SQUARED_ERROR), expected, rtol=1e-12)
    expected = whole.constant_loss(SQUARED_ERROR, 2.0)
    assert_allclose(parts.constant_loss(SQUARED_ERROR, 2.0), expected, rtol=1e-12)


def test_a_sweep_of_one_part_is_that_of_its_rows(whole_and_parts, rng):
    rows, _ = whole_and_parts
    (part,), theta = rows.parts, rng.normal(size=6)
    ends, averages = rows.sweep(np.random.default_rng(1), ridge(rows), RULE, 10, theta)
    order = part.order(np.random.default_rng(1))
    end, average, _ = part.sweep(order, ridge(rows), RULE, 10, theta)
    assert_array_equal(ends, end[:, np.newaxis])
    assert_array_equal(averages, average[:, np.newaxis])


@pytest.mark.parametrize("n_averages", [1, 4])
def test_a_sweep_visits_every_row_of_every_part_once(whole_and_parts, monkeypatch, n_averages):
    _, rows = whole_and_parts
    visited = {id(part): [] for part in rows.parts}
    seen, sweep = [], Rows.sweep

    def watched(self, order, objective, step_rule, rows_seen, *args, **average):
        visited[id(self)].append(order[0])
        seen.append(rows_seen)
        return sweep(self, order, objective, step_rule, rows_seen, *args, **average)

    monkeypatch.setattr(Rows, "sweep", watched)
    rng, theta = np.random.default_rng(1), np.zeros(6)
    ends, averages = rows.sweep(rng, ridge(rows), RULE, 10, theta, n_averages=n_averages)
    assert ends.shape == (6, 1)
    assert averages.shape == (6, n_averages)
    for part in rows.parts:
        blocks = np.concatenate(visited[id(part)])
        assert_array_equal(np.sort(blocks), np.arange(part.tiling.n_blocks))
    assert len(set(seen)) == n_averages
    assert seen[0] == 10


def test_a_part_keeps_what_a_task_leaves_beside_its_rows(whole_and_parts):
    _, rows = whole_and_parts

    def count(part):
        part.memory["calls"] = part.memory.get("calls", 0) + 1
        return part.memory["calls"]

    assert rows.sum(count) == 3
    assert rows.sum(count) == 6
    assert rows.each(lambda place, number: place.memory.setdefault("number", number), [(7,)]) == [7]
    assert rows.memory == {"number": 7}
