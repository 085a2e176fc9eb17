"""What entropic transport is used for: assignments, distances of images, exact marginals, costs of points."""

import json
import math
import pickle

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import (
    ConvergenceWarning,
    PointCost,
    assignment,
    sinkhorn,
    sns,
    wasserstein_grid,
)


def marginals(n, m, seed=0):
    rng = np.random.default_rng(seed)
    r, c = rng.random(n) + 0.1, rng.random(m) + 0.1
    return r / r.sum(), c / c.sum()


@pytest.mark.parametrize("linsolve", ["cg", "direct"])
@pytest.mark.parametrize("sparsity", ["adaptive", "fixed"])
def test_assignments(linsolve, sparsity):
    C = np.random.default_rng(0).random((60, 60))
    rows, best = linear_sum_assignment(C)
    result = sns(C, eta=5000.0, linsolve=linsolve, sparsity=sparsity, max_newton=200, annealing=True)
    assert result.success, result.message
    np.testing.assert_array_equal(result.to_assignment(), best)
    np.testing.assert_array_equal(result.plan.argmax(axis=1), best)
    found = assignment(C, eta=1000.0)
    np.testing.assert_array_equal(found.columns, best)
    assert found.cost == pytest.approx(C[rows, best].sum())
    assert -1e-9 <= found.gap <= 60 * math.log(3600) / 1000


def test_an_assignment_where_the_plan_is_torn():
    C = np.zeros((3, 3))  # every assignment is best, no row has a largest entry
    found = assignment(C, eta=1.0)
    assert sorted(found.columns) == [0, 1, 2]
    assert found.gap == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("points", [False, True])
def test_a_rounded_plan_has_its_marginals(points):
    X, Y = np.random.default_rng(0).random((20, 2)), np.random.default_rng(1).random((30, 2))
    r, c = marginals(20, 30)
    cost = PointCost(X, Y)
    with pytest.warns(ConvergenceWarning):
        result = sinkhorn(cost if points else cost.to_dense(), r, c, eta=50.0, maxiter=3, round=True)
    np.testing.assert_allclose(result.plan.sum(axis=1), r, atol=1e-16)
    np.testing.assert_allclose(result.plan.sum(axis=0), c, atol=1e-16)
    assert (result.plan >= 0).all()
    assert result.cost == pytest.approx((result.plan * cost.to_dense()).sum(), rel=1e-12)
    assert np.abs(result.plan - np.exp(50 * (result.x[:, None] + result.y - cost.to_dense()) - 1)).sum() <= (
        2 * result.marginal_error
    )


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock"])
def test_costs_that_are_never_stored(metric):
    rng = np.random.default_rng(0)
    cost = PointCost(rng.random((50, 3)), rng.random((40, 3)), metric=metric)
    made, stored = sns(cost, eta=60.0), sns(cost.to_dense(), eta=60.0)
    assert made.success
    np.testing.assert_allclose(made.plan, stored.plan, atol=1e-12)
    np.testing.assert_allclose(
        made.sparse_plan(1e-4).toarray(), stored.sparse_plan(1e-4).toarray(), atol=1e-12
    )
    assert made.cost == pytest.approx(stored.cost, rel=1e-10)
    assert made.lower_bound() == pytest.approx(stored.lower_bound(), rel=1e-10)


@pytest.mark.parametrize("points", [False, True])
def test_results_can_be_copied_and_written(points):
    cost = PointCost(np.random.default_rng(0).random((9, 2)))
    result = sns(cost if points else cost.to_dense(), np.arange(9.0), eta=20.0)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.plan, result.plan)
    assert again.lower_bound() == result.lower_bound()
    written = json.loads(json.dumps(result.to_dict()))
    assert written["cost"] == result.cost
    assert "solution" not in written
    a = np.eye(3)
    assert json.loads(json.dumps(wasserstein_grid(a, a, eta=9.0).to_dict()))["p"] == 2
    assert json.loads(json.dumps(assignment(a, eta=9.0).to_dict()))["transport"]["success"]


def test_distances_between_images():
    a, b = np.zeros((6, 9)), np.zeros((6, 9))
    a[1, 1], b[4, 5] = 2.0, 3.0
    for p, ground, want in ((2, "euclidean", 5 / 9), (1, "euclidean", 5 / 9), (1, "cityblock", 7 / 9)):
        result = wasserstein_grid(a, b, p=p, ground=ground, eta=50.0)
        assert result.distance == pytest.approx(want)
        assert result.shape == (6, 9)
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 5)), rng.random((6, 5))
    stored, made = (wasserstein_grid(a, b, eta=300.0, store=s) for s in (True, False))
    assert stored.success
    assert stored.distance == pytest.approx(made.distance, rel=1e-9)
    assert wasserstein_grid(a, b, p=1, ground="cityblock", eta=300.0).success
    with pytest.raises(ShapeError, match="expected the same"):
        wasserstein_grid(a, b.T, eta=1.0)
    with pytest.raises(ArgumentError, match="ground"):
        wasserstein_grid(a, b, ground="cityblock", eta=1.0)
    with pytest.raises(ArgumentError, match="mass"):
        wasserstein_grid(a, 0 * b, eta=1.0)


def test_bad_points():
    with pytest.raises(ShapeError, match="coordinates"):
        PointCost(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ArgumentError, match="metric"):
        PointCost(np.zeros((3, 2)), metric="manhattan")
    with pytest.raises(ArgumentError, match="NaN"):
        PointCost([[np.nan]])
    with pytest.raises(ShapeError, match="as many rows as columns"):
        assignment(np.zeros((2, 3)), eta=1.0)
