"""Entropic transport against plain scalings, linear programmes, closed forms and the method's own invariants."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog
from scipy.special import logsumexp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import (
    ConvergenceWarning,
    sinkhorn,
    sinkhorn_newton_sparse,
    sns,
)


def marginals(n, m, seed=0):
    rng = np.random.default_rng(seed)
    r, c = rng.random(n) + 0.1, rng.random(m) + 0.1
    return r / r.sum(), c / c.sum()


def plain_plan(C, r, c, eta, tol=1e-13):
    """Sinkhorn's iteration as it is written in textbooks."""
    v = np.zeros(len(c))
    for _ in range(20_000):
        u = np.log(r) - logsumexp(v - eta * C, axis=1)
        v = np.log(c) - logsumexp(u[:, None] - eta * C, axis=0)
        P = np.exp(u[:, None] + v - eta * C)
        if np.abs(P.sum(axis=1) - r).sum() < tol:
            return P
    raise AssertionError("no convergence")


def entropic_objective(P, C, eta):
    return (C * P).sum() + np.where(P > 0, P * np.log(np.maximum(P, 1e-300)), 0).sum() / eta


@pytest.mark.parametrize("eta", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("shape", [(30, 30), (12, 31)])
def test_plans_are_those_of_plain_scalings(shape, eta):
    C = np.random.default_rng(1).random(shape)
    r, c = marginals(*shape)
    want = plain_plan(C, r, c, eta)
    for result in (
        sinkhorn_newton_sparse(C, r, c, eta=eta),
        sinkhorn_newton_sparse(C, r, c, eta=eta, linsolve="direct"),
        sinkhorn_newton_sparse(C, r, c, eta=eta, sparsity="fixed", density=0.3, max_newton=300),
        sinkhorn_newton_sparse(C, r, c, eta=eta, n_sinkhorn="auto"),
        sinkhorn_newton_sparse(C, r, c, eta=eta, annealing=True),
        sinkhorn(C, r, c, eta=eta, tol=1e-13, maxiter=20_000),
        sinkhorn(C, r, c, eta=eta, tol=1e-13, maxiter=20_000, log_domain=False),
    ):
        assert result.success, result.message
        np.testing.assert_allclose(result.plan, want, atol=1e-10 / eta)
        assert result.objective == pytest.approx(entropic_objective(want, C, eta), rel=1e-12)
        assert result.cost == pytest.approx((C * want).sum(), rel=1e-10)
        assert abs(result.gap) < 1e-11
        again = np.exp(eta * (result.x[:, None] + result.y - C) - 1)
        np.testing.assert_allclose(again, result.plan, rtol=1e-11)
        assert abs(result.x.mean()) < 1e-12


def test_plans_and_costs_are_those_of_pot():
    ot = pytest.importorskip("ot")
    C = np.random.default_rng(2).random((30, 25))
    r, c = marginals(30, 25)
    for eta in (1.0, 10.0, 50.0):
        theirs = ot.sinkhorn(r, c, C, 1 / eta, method="sinkhorn_log", stopThr=1e-13, numItermax=100_000)
        np.testing.assert_allclose(sns(C, r, c, eta=eta).plan, theirs, atol=1e-10)
    exact = ot.emd2(r, c, C)
    for eta in (100.0, 1000.0):
        result = sns(C, r, c, eta=eta, annealing=True)
        assert 0 <= result.cost - exact <= math.log(30 * 25) / eta
        assert result.lower_bound() <= exact + 1e-12


def test_a_large_eta_ends_at_the_linear_programme():
    C = np.random.default_rng(3).random((8, 6))
    r, c = marginals(8, 6)
    A = np.vstack([np.kron(np.eye(8), np.ones(6)), np.kron(np.ones(8), np.eye(6))])
    exact = linprog(C.ravel(), A_eq=A, b_eq=np.concatenate([r, c])).fun
    result = sns(C, r, c, eta=2000.0, annealing=True)
    assert result.success
    assert result.cost == pytest.approx(exact, abs=1e-6)
    assert result.lower_bound() == pytest.approx(exact, abs=math.log(48) / 2000)


def test_convergence_of_the_newton_steps_is_superlinear():
    C = np.random.default_rng(0).random((200, 200))
    result = sns(C, eta=500.0)
    errors = np.array(result.history["marginal_error"])
    newton = np.array(result.history["stage"]) == "newton"
    ratios = (errors[1:] / errors[:-1])[newton[1:]][-3:]
    assert result.marginal_error < 1e-12
    assert ratios[-1] < 1e-2
    assert (np.diff(ratios) < 0).all()
    assert np.diff(result.history["kept"])[newton[1:]].min() > 0  # more entries the closer it comes
    assert len({len(values) for values in result.history.values()}) == 1
    assert result.nit == result.nit_sinkhorn + result.nit_newton


def dual(C, r, c, eta, x, y):
    return r @ x + c @ y - np.exp(eta * (x[:, None] + y - C) - 1).sum() / eta


def test_the_dual_never_falls():
    C = np.random.default_rng(5).random((25, 40))
    r, c = marginals(25, 40)
    duals = []

    def watch(it):
        if it.nit:  # y is the best for x
            y = (np.log(c) + 1 - logsumexp(80.0 * (it.x[:, None] - C), axis=0)) / 80
            duals.append(dual(C, r, c, 80.0, it.x, y))

    assert sns(C, r, c, eta=80.0, n_sinkhorn=5, callback=watch).success
    assert np.diff(duals).min() > -1e-13 * abs(duals[-1])


@settings(max_examples=25)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    seed=st.integers(0, 999),
    eta=st.sampled_from([0.5, 20.0, 300.0]),
)
def test_invariants(n, m, seed, eta):
    rng = np.random.default_rng(seed)
    C = rng.random((n, m))
    r, c = marginals(n, m, seed)
    result = sns(C, r, c, eta=eta, annealing=True)
    assert result.success, result.message
    assert (result.plan >= 0).all()
    other = sns(C.T, c, r, eta=eta, annealing=True)
    np.testing.assert_allclose(other.plan, result.plan.T, atol=1e-10)
    shifted = sns(C + rng.normal(size=(n, 1)) + rng.normal(size=m), r, c, eta=eta, annealing=True)
    np.testing.assert_allclose(shifted.plan, result.plan, atol=1e-9)
    heavy = sns(C, 7 * r, 7 * c, eta=eta, annealing=True)
    np.testing.assert_allclose(heavy.plan, 7 * result.plan, atol=1e-9)


def test_closed_forms():
    r, c = marginals(5, 7)
    a, b = np.arange(5.0), np.linspace(-3, 3, 7)
    for C in (np.zeros((5, 7)), a[:, None] + b):
        for result in (sns(C, r, c, eta=4.0), sinkhorn(C, r, c, eta=4.0)):
            np.testing.assert_allclose(result.plan, np.outer(r, c), atol=1e-15)
            assert result.nit == 1
    C, r, c = np.array([[0.3, 1.0], [0.7, 0.2]]), np.array([0.4, 0.6]), np.array([0.7, 0.3])
    kappa = np.exp(-3.0 * (C[0, 0] + C[1, 1] - C[0, 1] - C[1, 0]))
    p = brentq(lambda p: p * (p - 0.1) - kappa * (0.4 - p) * (0.7 - p), 0.1, 0.4, xtol=1e-15)
    want = [[p, 0.4 - p], [0.7 - p, p - 0.1]]
    np.testing.assert_allclose(sns(C, r, c, eta=3.0).plan, want, atol=1e-12)


def test_the_plan_between_gaussians():
    """It is Gaussian; the off-diagonal of its precision is -2 eta, which gives the covariance k."""
    t = np.linspace(-14, 14, 351)
    eta = 1.0
    r, c = np.exp(-(t**2) / 2), np.exp(-(t**2) / (2 * 1.5**2))
    result = sns((t[:, None] - t) ** 2, r / r.sum(), c / c.sum(), eta=eta)
    k = (math.sqrt(1 + (4 * eta * 1.5) ** 2) - 1) / (4 * eta)
    assert t @ result.plan @ t == pytest.approx(k, rel=1e-9)
    precision = np.linalg.inv([[1, k], [k, 1.5**2]])
    density = np.exp(-(precision[0, 0] * t[:, None] ** 2 + 2 * precision[0, 1] * np.outer(t, t)) / 2)
    density *= np.exp(-precision[1, 1] * t**2 / 2)
    np.testing.assert_allclose(result.plan, density / density.sum(), atol=1e-12)


def test_rows_without_mass_and_pairs_that_are_forbidden():
    C = np.random.default_rng(0).random((6, 7))
    r, c = np.array([0.2, 0, 0.3, 0.1, 0.4, 0]), np.array([0, 0.3, 0.1, 0.2, 0.2, 0.2, 0])
    result = sns(C, r, c, eta=30.0)
    assert result.plan.shape == (6, 7)
    assert not result.plan[[1, 5]].any()
    assert not result.plan[:, [0, 6]].any()
    assert np.isneginf(result.x[[1, 5]]).all()
    inner = sns(C[np.ix_(r > 0, c > 0)], r[r > 0], c[c > 0], eta=30.0)
    np.testing.assert_allclose(result.plan[np.ix_(r > 0, c > 0)], inner.plan, atol=1e-13)
    np.testing.assert_allclose(
        result.sparse_plan(1e-3).toarray(), np.where(result.plan >= 1e-3, result.plan, 0)
    )
    C[np.arange(6), np.arange(6)] = np.inf
    result = sns(C, eta=30.0, allow_inf=True)
    assert result.success
    assert not np.diagonal(result.plan).any()
    assert math.isfinite(result.cost)


def test_a_warm_start_saves_steps():
    C = np.random.default_rng(0).random((60, 60))
    first = sns(C, eta=200.0)
    again = sns(C, eta=200.0, n_sinkhorn=1, x0=first.x, y0=first.y)
    assert again.nit <= 2
    near = sns(
        C + 1e-4 * np.random.default_rng(1).random((60, 60)), eta=200.0, n_sinkhorn=2, x0=first.x, y0=first.y
    )
    assert near.success
    assert near.nit < first.nit


def test_a_stack_is_solved_as_its_parts_are():
    C = np.random.default_rng(0).random((5, 12, 9))
    r = np.stack([marginals(12, 9, seed)[0] for seed in range(5)])
    c = marginals(12, 9)[1]
    for solve in (sns, sinkhorn):
        results = solve(C, r, c, eta=20.0, n_jobs=2)
        for one, cost, rows in zip(results, C, r, strict=True):
            np.testing.assert_array_equal(one.plan, solve(cost, rows, c, eta=20.0).plan)
    with pytest.raises(ShapeError, match="r has 4"):
        sns(C, r[:4], c, eta=1.0)


@pytest.mark.parametrize("solve", [sns, sinkhorn])
def test_hard_input_stays_finite(solve):
    rng = np.random.default_rng(0)
    C = rng.random((20, 20))
    tiny, heavy = np.full(20, 1.0), np.full(20, 0.001 / 19)
    tiny[3], heavy[0] = 1e-12, 0.999
    doubled = np.repeat(C[:10], 2, axis=0)
    for cost, r, c, eta in (
        (doubled, None, None, 30.0),
        (C, tiny / tiny.sum(), None, 30.0),
        (C, heavy / heavy.sum(), None, 30.0),
        (C, tiny / tiny.sum(), heavy / heavy.sum(), 30.0),
        (C[:1], None, None, 100.0),
        (C[:, :1], None, None, 100.0),
    ):
        result = solve(cost, r, c, eta=eta, tol=1e-11, **({"maxiter": 20_000} if solve is sinkhorn else {}))
        assert result.success, result.message
        assert np.isfinite(result.plan).all()


@pytest.mark.filterwarnings("ignore::gossamer.solve.ConvergenceWarning")
def test_a_wide_range_of_costs_neither_overflows_nor_yields_nan():
    C = 1e4 * np.random.default_rng(0).random((15, 15))
    with np.errstate(all="raise", under="ignore"):
        for result in (
            sns(C, eta=1e3, max_newton=30),
            sinkhorn(C, eta=1e3, maxiter=50),
            sinkhorn(C, eta=1e3, maxiter=50, log_domain=False),
        ):
            assert np.isfinite(result.plan).all()
            assert np.isfinite(result.x).all()
            assert math.isfinite(result.cost)


def test_rounding_that_limits_the_marginals_is_said():
    rng = np.random.default_rng(0)
    C = 1e7 * rng.random((15, 1)) + rng.random((15, 15))
    with pytest.warns(ConvergenceWarning, match="rounding"):
        result = sns(C, eta=1.0, tol=1e-15)
    assert not result.success
    assert result.status == 3
    assert result.marginal_error < 1e-7


def test_a_miss_is_said_and_the_iterate_returned():
    C = np.random.default_rng(0).random((50, 50))
    with pytest.warns(ConvergenceWarning, match="max_newton=1 reached"):
        result = sns(C, eta=500.0, max_newton=1)
    assert not result.success
    assert result.status == 1
    with pytest.warns(RuntimeWarning, match="maxiter=5 reached"):
        result = sinkhorn(C, eta=500.0, maxiter=5)
    assert result.nit == 5
    assert math.isfinite(result.marginal_error)
    with pytest.warns(ConvergenceWarning, match="callback"):
        assert sns(C, eta=500.0, callback=lambda it: it.nit == 7).nit == 7
    json.dumps(result.to_dict())


def test_single_precision_is_computed_in_double():
    C = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    r = np.random.default_rng(1).random(9).astype(np.float32)
    r /= r.sum()
    result = sns(C, r, r[::-1].copy(), eta=10.0)
    assert result.plan.dtype == np.float64
    assert result.marginal_error < 1e-12


C0 = np.eye(3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"r": [0.5, 0.5]}, ShapeError, "r has shape"),
        ({"c": [[1.0]]}, ShapeError, "c has shape"),
        ({"r": [0.5, 0.7, -0.2]}, ArgumentError, r"r\[2\]=-0.2"),
        ({"c": [0.5, np.nan, 0.2]}, ArgumentError, "c has 1 NaN"),
        ({"r": [0.5, 0.5, 0.5], "c": [0.2, 0.2, 0.2]}, ArgumentError, "same mass"),
        ({"r": [0.0, 0.0, 0.0]}, ArgumentError, "no mass"),
        ({"eta": 0.0}, ArgumentError, "eta"),
        ({"eta": -1.0}, ArgumentError, "eta"),
        ({"C": np.full((3, 3), np.nan)}, ArgumentError, "C has 9 NaN"),
        ({"C": np.diag([np.inf, 0, 0])}, ArgumentError, "allow_inf"),
        ({"C": np.full((3, 3), np.inf), "allow_inf": True}, ArgumentError, "whole of row 0"),
        ({"C": np.full((3, 3), -np.inf), "allow_inf": True}, ArgumentError, "-infinity"),
        ({"C": np.zeros((0, 3))}, ShapeError, "C has shape"),
        ({"C": np.zeros(3)}, ShapeError, "2-D"),
        ({"tol": -1.0}, ArgumentError, "tol"),
        ({"x0": [0.0]}, ShapeError, "x0"),
        ({"y0": [0.0, np.nan, 0.0]}, ArgumentError, "y0"),
        ({"n_sinkhorn": 0}, ArgumentError, "n_sinkhorn"),
        ({"n_sinkhorn": "always"}, ArgumentError, "auto"),
        ({"max_newton": -1}, ArgumentError, "max_newton"),
        ({"sparsity": "adaptiv"}, ArgumentError, "adaptive"),
        ({"density": 0.1}, ArgumentError, "fixed"),
        ({"density": 2.0, "sparsity": "fixed"}, ArgumentError, "density"),
        ({"linsolve": "lu"}, ArgumentError, "direct"),
    ],
)
def test_bad_input(options, error, words):
    with pytest.raises(error, match=words):
        sns(**{"C": C0, "eta": 1.0, **options})
