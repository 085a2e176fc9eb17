"""Passes over transport plans against NumPy, on every instruction set, with any threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import transport
from gossamer._kernels.transport import METRICS, Cost

SHAPES = [(1, 1), (1, 9), (9, 1), (7, 8), (33, 17), (200, 301)]


def problem(shape, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    n, m = shape
    C = spread * rng.random(shape)
    u, v = rng.normal(size=n), rng.normal(size=m)
    r, c = rng.random(n) + 0.1, rng.random(m) + 0.1
    return C, u, v, r / r.sum(), c / c.sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plan_and_its_sums(isa, shape):
    C, u, v, _, _ = problem(shape)
    want = np.exp(u[:, None] + v - 5 * C)
    P = np.empty(shape)
    total, rows, columns = Cost(C).plan(5.0, u, v, P)
    np.testing.assert_allclose(P, want, rtol=1e-14)
    np.testing.assert_allclose(rows, want.sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(columns, want.sum(axis=0), rtol=1e-13)
    assert total == pytest.approx(want.sum(), rel=1e-13)
    assert Cost(C).inner(5.0, u, v) == pytest.approx((C * want).sum(), rel=1e-13)


def test_exponentials_over_their_whole_range(isa):
    z = np.concatenate([np.linspace(-639, 699, 4001), [0.0, -0.0, 1e-300]])
    P = np.empty((1, len(z)))
    Cost(-z[None]).plan(1.0, np.zeros(1), np.zeros(len(z)), P)
    np.testing.assert_allclose(P[0], np.exp(z), rtol=4e-16)
    beyond = np.array([[641.0, 1e5, np.inf, -701.0, -1e300]])
    P = np.empty((1, 5))
    Cost(beyond).plan(1.0, np.zeros(1), np.zeros(5), P)
    np.testing.assert_allclose(P[0], [0, 0, 0, np.exp(700), np.exp(700)], rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [1.0, 1e4])
def test_a_step_in_the_log_domain(isa, shape, spread):
    C, u, v, r, c = problem(shape, spread=spread)
    error, u1, v1 = Cost(C).log_step(2.0, u, v, r, c)
    with np.errstate(over="ignore"):
        before = np.abs(r - np.exp(u + logsumexp(v - 2 * C, axis=1))).sum()
    want_u = np.log(r) - logsumexp(v - 2 * C, axis=1)
    want_v = np.log(c) - logsumexp(want_u[:, None] - 2 * C, axis=0)
    assert error == pytest.approx(before, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(u1, want_u, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(v1, want_v, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_scaling_step(isa, shape):
    C, u, v, r, c = problem(shape)
    K, a, b = np.exp(-C), np.exp(u), np.exp(v)
    error, a1, b1 = transport.scale(K, a, b, r, c)
    assert error == pytest.approx(np.abs(a * (K @ b) - r).sum(), rel=1e-12)
    np.testing.assert_allclose(a1, r / (K @ b), rtol=1e-13)
    np.testing.assert_allclose(b1, c / (K.T @ a1), rtol=1e-13)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_costs_of_points(isa, metric, d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(31, d)), rng.normal(size=(523, d))
    _, u, v, r, c = problem((31, 523))
    stored, made = Cost(cdist(x, y, metric)), Cost(x=x, y=y, metric=metric)
    for a, b in zip(stored.plan(2.0, u, v, None), made.plan(2.0, u, v, None)):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(stored.log_step(2.0, u, v, r, c), made.log_step(2.0, u, v, r, c)):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    one, other = (k.select(2.0, u, v, None, top=1e9, least=100, most=100, budget=0.0) for k in (stored, made))
    np.testing.assert_array_equal(one.column, other.column)


def kept(entries, shape):
    W = np.full(shape, np.nan)
    rows = np.repeat(np.arange(shape[0]), np.diff(entries.row_start))
    W[rows, entries.column] = entries.by_row
    T = np.full(shape, np.nan)
    columns = np.repeat(np.arange(shape[1]), np.diff(entries.column_start))
    T[entries.row, columns] = entries.by_column
    np.testing.assert_array_equal(W, T)
    assert len(entries.by_row) == len(entries.by_column) == np.isfinite(W).sum()
    return W


def select(P, least, most, budget, stored=True, threads=None):
    zeros = np.zeros(P.shape[0]), np.zeros(P.shape[1])
    with np.errstate(divide="ignore"):
        cost = Cost(P if stored else -np.log(P))
    top = float(P.sum(axis=1).max())
    return cost.select(
        1.0, *zeros, P if stored else None, top=top, least=least, most=most, budget=budget, threads=threads
    )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    share=st.floats(0, 1),
    decades=st.sampled_from([0.0, 0.3, 30.0, 250.0]),
    ties=st.booleans(),
)
def test_the_largest_entries_are_kept(isa, seed, shape, share, decades, ties):
    rng = np.random.default_rng(seed)
    P = 10 ** (-decades * rng.random(shape))
    if ties:
        P = 10 ** np.round(np.log10(P))
        P[rng.random(shape) < 0.1] = 0
    K = int(share * P.size)
    for entries in (select(P, K, K, 0.0),):
        W = kept(entries, shape)
        assert len(entries.by_row) == K
        there = np.isfinite(W)
        np.testing.assert_array_equal(W[there], P[there])
        if 0 < K < P.size:
            assert W[there].min() >= P[~there].max()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    budget=st.floats(1e-16, 1),
    decades=st.sampled_from([0.0, 3.0, 40.0]),
)
def test_no_more_than_the_budget_is_dropped(isa, seed, shape, budget, decades):
    P = 10 ** (-decades * np.random.default_rng(seed).random(shape))
    budget *= P.sum()
    entries = select(P, 0, P.size, budget)
    W = kept(entries, shape)
    dropped = P[~np.isfinite(W)]
    assert dropped.sum() <= budget * (1 + 1e-9)
    if len(entries.by_row):  # and the smallest that stayed would have been too much
        assert dropped.sum() + entries.by_row.min() > budget * (1 - 1e-9)
    least, most = P.size // 4, P.size // 2
    K = len(select(P, least, most, budget).by_row)
    assert min(max(len(entries.by_row), least), most) == K


def test_entries_that_are_made_again_are_those_that_are_stored(isa):
    P = np.random.default_rng(3).random((60, 77)) ** 20 + 1e-250
    one, other = select(P, 500, 500, 0.0), select(P, 500, 500, 0.0, stored=False)
    np.testing.assert_array_equal(one.column, other.column)
    np.testing.assert_allclose(one.by_row, other.by_row, rtol=1e-12)


def test_entries_above_a_threshold(isa):
    P = np.random.default_rng(3).random((40, 23)) ** 9
    entries = Cost(P).above(1.0, np.zeros(40), np.zeros(23), P, 1e-3)
    np.testing.assert_array_equal(np.isfinite(kept(entries, P.shape)), P >= 1e-3)
    assert not len(Cost(P).above(1.0, np.zeros(40), np.zeros(23), P, 2.0).by_row)


def test_conjugate_gradients_on_the_schur_complement(isa):
    P = np.random.default_rng(0).random((50, 31)) ** 8
    R, S, b = P.sum(axis=1), P.sum(axis=0), np.random.default_rng(1).normal(size=31)
    entries = select(P, 300, 300, 0.0)
    W = np.nan_to_num(kept(entries, P.shape))
    schur = np.diag(S) - W.T @ (W / R[:, None])
    z, iterations, residual = transport.schur_cg(entries, R, S, b, rtol=1e-12, maxiter=500)
    np.testing.assert_allclose(schur @ z, b, atol=1e-10)
    assert residual <= 1e-12
    assert 0 < iterations < 200
    z, iterations, residual = transport.schur_cg(entries, R, S, 0 * b, rtol=1e-12, maxiter=500)
    assert not z.any()
    assert (iterations, residual) == (0, 0.0)


def test_any_number_of_threads_gives_the_same_bits(isa):
    shape = (900, 701)
    C, u, v, r, c = problem(shape)
    P = np.empty(shape)
    Cost(C).plan(9.0, u, v, P)
    b = np.random.default_rng(1).normal(size=701)

    def everything(threads):
        cost = Cost(C)
        entries = select(P, 20000, 20000, 0.0, threads=threads)
        yield from cost.log_step(9.0, u, v, r, c, threads)
        yield from cost.plan(9.0, u, v, None, threads)
        yield cost.inner(9.0, u, v, threads)
        yield from transport.scale(P, np.exp(u), np.exp(v), r, c, threads)
        yield from entries
        yield from cost.above(9.0, u, v, None, 0.1, threads)
        yield from transport.schur_cg(entries, P.sum(1), P.sum(0), b, rtol=1e-9, maxiter=50, threads=threads)

    alone = list(everything(1))
    for threads in (2, 7):
        for ours, want in zip(everything(threads), alone, strict=True):
            np.testing.assert_array_equal(ours, want)


def test_bad_input_is_refused(isa):
    C, u, v, r, c = problem((4, 3))
    cost = Cost(C)
    with pytest.raises(ShapeError, match="u has shape"):
        cost.plan(1.0, u[:3], v, None)
    with pytest.raises(ShapeError, match="out is"):
        cost.plan(1.0, u, v, np.empty((3, 4)))
    with pytest.raises(ShapeError, match="v has shape"):
        cost.log_step(1.0, u, u, r, c)
    with pytest.raises(ShapeError, match="k is"):
        transport.scale(C.T, v, u, c, r)
    with pytest.raises(ArgumentError, match="threshold"):
        cost.above(1.0, u, v, None, 0.0)
    with pytest.raises(ShapeError, match="c has shape"):
        Cost(np.empty((0, 3)))
    with pytest.raises(ShapeError, match="x has shape"):
        Cost(x=C, y=C.T)
    with pytest.raises(ArgumentError, match="either"):
        Cost()
    entries = select(np.exp(-C), 5, 5, 0.0)
    with pytest.raises(ArgumentError, match="span"):
        transport.schur_cg(entries._replace(column=entries.column + 3), r, c, c, rtol=1e-3, maxiter=5)
    with pytest.raises(ArgumentError, match="row_start"):
        transport.schur_cg(entries._replace(row_start=entries.row_start + 1), r, c, c, rtol=1e-3, maxiter=5)
