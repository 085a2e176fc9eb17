"""The sparse Hessian against its dense definition."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import sparsify_hessian


def plan(n=40, m=33, power=12, seed=0):
    return np.random.default_rng(seed).random((n, m)) ** power


def dense_hessian(P, W, eta):
    return eta * np.block([[np.diag(P.sum(1)), W], [W.T, np.diag(P.sum(0))]])


@pytest.mark.parametrize("sparsity", ["adaptive", "fixed"])
def test_it_is_positive_definite_with_the_full_sums_on_its_diagonal(sparsity):
    P = plan()
    H = sparsify_hessian(P, sparsity=sparsity, eta=7.0)
    W = H.W.toarray()
    np.testing.assert_array_equal(W[W > 0], P[W > 0])
    np.testing.assert_allclose(H.to_dense(), dense_hessian(P, W, 7.0), rtol=1e-12)
    assert np.linalg.eigvalsh(H.to_dense())[0] > 0
    assert H.kept < P.size
    if sparsity == "fixed":
        assert H.kept == int(np.ceil(5 / 33 * P.size))


def test_adaptive_selection_keeps_within_its_limits():
    assert sparsify_hessian(plan(power=2000)).kept == 73  # n + m
    assert sparsify_hessian(plan(300, 300, 1)).kept == 30 * 600
    P = plan(power=60)
    few, many = (sparsify_hessian(P / P.sum(), marginal_error=e) for e in (1.0, 1e-6))
    assert few.kept < many.kept
    for H, budget in ((few, 0.005), (many, 1e-7)):
        assert 1 - H.W.sum() <= budget


@pytest.mark.parametrize("linsolve", ["cg", "direct"])
def test_steps_solve_the_system(linsolve):
    P, rng = plan(), np.random.default_rng(1)
    H = sparsify_hessian(P, eta=3.0)
    gx, gy = rng.normal(size=40), rng.normal(size=33)
    dx, dy, iterations = H.solve(gx, gy, linsolve=linsolve, rtol=1e-13)
    np.testing.assert_allclose(H.to_dense() @ np.concatenate([dx, dy]), np.concatenate([gx, gy]), atol=1e-9)
    assert (iterations > 0) is (linsolve == "cg")


@pytest.mark.parametrize("linsolve", ["cg", "direct"])
def test_with_all_entries_the_step_is_newtons(linsolve):
    P = plan(power=2)
    H = sparsify_hessian(P, sparsity="fixed", density=1.0)
    gx = np.random.default_rng(2).normal(size=40)
    gy = np.random.default_rng(3).normal(size=33)
    gy += (gx.sum() - gy.sum()) / 33  # as gradients are: of the same sum
    dx, dy, _ = H.solve(gx, gy, linsolve=linsolve, rtol=1e-13)
    M = dense_hessian(P, P, 1.0)[:-1, :-1]  # the last variable is held
    want = np.append(np.linalg.solve(M, np.concatenate([gx, gy])[:-1]), 0)
    shift = dy[-1]
    np.testing.assert_allclose(np.concatenate([dx + shift, dy - shift]), want, atol=1e-8)


@pytest.mark.parametrize("linsolve", ["cg", "direct"])
def test_components_that_lost_nothing_have_finite_steps(linsolve):
    P = np.kron(np.eye(3), np.array([[1.0, 2.0], [3.0, 1.0]]))
    H = sparsify_hessian(P, sparsity="fixed", density=1.0)
    g = np.array([1.0, -1, 2, -2, 0, 0])
    dx, dy, _ = H.solve(g, np.zeros(6), linsolve=linsolve)
    np.testing.assert_allclose(H.to_dense() @ np.concatenate([dx, dy]), np.append(g, np.zeros(6)), atol=1e-8)
    dx, dy, _ = H.solve(np.ones(6), np.zeros(6), linsolve=linsolve)  # no step changes a component's mass
    assert np.abs(dx).max() < 1e3


def test_bad_input():
    with pytest.raises(ArgumentError, match="plan"):
        sparsify_hessian(-plan())
    with pytest.raises(ShapeError, match="P has shape"):
        sparsify_hessian(np.zeros((0, 2)))
    with pytest.raises(ArgumentError, match="linsolve"):
        sparsify_hessian(plan()).solve(np.zeros(40), np.zeros(33), linsolve="qr")
    with pytest.raises(ArgumentError, match="NaN"):
        sparsify_hessian([[np.nan]])
