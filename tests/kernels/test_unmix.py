"""Sweeps of unmixing by their formulas on every instruction set, in both orders, with any threads; exact signs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import unmix

FLOOR = 1e-9


def problem(seed, N, L, K, dtype):
    rng = np.random.default_rng(seed)
    x, A = rng.random((N, L)), rng.dirichlet(np.ones(K), N) + 1e-8
    return (
        x.astype(dtype),
        A.astype(dtype),
        (0.9 * rng.random(N)).astype(dtype),
        rng.random((K, L)),
        rng.random(L),
    )


def written(x, A, h, M, u, steps, lam, xi, delta):
    for _ in range(steps):
        below = A @ (M * u @ M.T + delta**2) + lam * (1 - h)[:, None] * (A + xi) ** -h[:, None]
        A = np.maximum(A * (x @ (M * u).T + delta**2) / below, FLOOR)
    terms = [((A + xi) ** (1 - h[:, None])).sum() if lam else 0, ((1 - A.sum(axis=1)) ** 2).sum()]
    return A, (x.T @ A, A.T @ A, ((x - A @ M) ** 2).sum(axis=0), np.array(terms))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    N=st.sampled_from([1, 2, 63, 64, 65, 513, 1100]),
    L=st.sampled_from([1, 2, 7, 8, 17, 40]),
    K=st.integers(1, 9),
    steps=st.integers(0, 3),
    lam=st.sampled_from([0.0, 0.3]),
    delta=st.sampled_from([0.5, 15.0]),
    order=st.sampled_from("CF"),
    dark=st.booleans(),
)
def test_a_sweep_is_its_formulas(dtype, seed, N, L, K, steps, lam, delta, order, dark, isa):
    x, A, h, M, u = problem(seed, N, L, K, dtype)
    live = np.random.default_rng(seed).random(N) < 0.8 if dark else None
    kept = np.ones(N, bool) if live is None else live
    double = [array[kept].astype(float) for array in (2 * x, A, h)]
    wanted, sums = written(*double, M, u, steps, lam, 1e-3, delta)
    found = A.copy()
    got = unmix.sweep(
        np.asarray(x, order=order), found, h, M, u, steps=steps, lam=lam, xi=1e-3, delta=delta, floor=FLOOR, scale=2.0,
        live=live,
    )  # fmt: skip
    slack = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found[kept], wanted, rtol=slack, atol=slack / 10)
    np.testing.assert_array_equal(found[~kept], A[~kept])
    for ours, theirs in zip(got, sums, strict=True):
        # errors of shares enter residuals and gaps at first order
        np.testing.assert_allclose(ours, theirs, rtol=20 * slack, atol=20 * slack * np.sqrt(max(N * L, 1)))
    again = found.copy()
    nothing = unmix.sweep(
        x, again, h, M, u, steps=1, lam=lam, xi=1e-3, delta=delta, floor=FLOOR, live=live, measure=False
    )
    assert not any(part.any() for part in nothing)
    if kept.any():
        assert (again != found).any() or K == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_are_as_exact_as_the_type(dtype, isa):
    """One share, no data: the sum of the sparsity term is that of the powers."""
    A = np.geomspace(1e-9, 3, 701).astype(dtype)[:, None]
    h = np.linspace(0, 0.9, 701).astype(dtype)
    found = [
        unmix.sweep(
            np.zeros((1, 1), dtype), a[None].copy(), g[None], np.zeros((1, 1)), np.ones(1), steps=0, lam=1.0, xi=1e-3,
            delta=0.0, floor=FLOOR,
        ).terms[0]
        for a, g in zip(A, h, strict=True)
    ]  # fmt: skip
    base = A[:, 0].astype(float) + float(np.dtype(dtype).type(1e-3))
    slack = 12 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, base ** (1 - h.astype(float)), rtol=slack)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype, isa):
    x, A, h, M, u = problem(0, 40_001, 31, 5, dtype)
    results = []
    for threads in (1, 2, 7):
        a = A.copy()
        sums = unmix.sweep(x, a, h, M, u, steps=2, lam=0.1, xi=1e-3, delta=15.0, floor=FLOOR, threads=threads)
        sides = np.random.default_rng(0).standard_normal((3_000, 5))
        results.append((a, *sums, unmix.nonnegative(M @ M.T, sides, threads=threads)))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), K=st.integers(1, 12), extra=st.integers(0, 10), flat=st.booleans())
def test_least_squares_with_signs_is_that_of_scipy(seed, K, extra, flat, isa):
    rng = np.random.default_rng(seed)
    C = rng.random((K + extra, K)) + (5 if flat else 0)
    B = rng.standard_normal((30, K + extra))
    found = unmix.nonnegative(C.T @ C, B @ C)
    assert (found >= 0).all()
    # nearly singular systems have many answers: the objective is what must agree
    for b, a in zip(B, found, strict=True):
        least = nnls(C, b)[1]
        assert np.linalg.norm(C @ a - b) <= least + 1e-6 * (1 + least)
    slope = found @ (C.T @ C) - B @ C
    size = np.abs(B @ C).max(axis=1, keepdims=True) * max(1.0, np.linalg.cond(C) ** 2 * 1e-8)
    assert (slope >= -1e-6 * size).all()


def test_equal_columns_and_zeros_are_no_trouble(isa):
    C = np.ones((4, 3))
    a = unmix.nonnegative(C.T @ C, np.array([[4.0, 4, 4], [-1, -1, -1], [0, 0, 0]]))
    np.testing.assert_allclose(a.sum(axis=1), [1, 0, 0], atol=1e-6)
    assert not unmix.nonnegative(np.zeros((2, 2)), np.zeros((3, 2))).any()
    assert unmix.nonnegative(np.eye(2), np.zeros((0, 2))).shape == (0, 2)


def test_arrays_that_do_not_fit_are_refused():
    x, A, h, M, u = problem(0, 9, 4, 3, "float64")
    options = {"steps": 1, "lam": 0.1, "xi": 1e-3, "delta": 1.0, "floor": FLOOR}
    for bad, error in (
        ((x.astype(int), A, h, M, u), ShapeError),
        ((x, A.astype("float32"), h, M, u), ShapeError),
        ((x, A[:-1], h, M, u), ShapeError),
        ((x, np.asfortranarray(A), h, M, u), ArgumentError),
        ((x, A, h[:-1], M, u), ShapeError),
        ((x, A, h, M[:, :-1], u), ShapeError),
        ((x, A, h, M, u[:-1]), ShapeError),
    ):
        with pytest.raises(error):
            unmix.sweep(*bad, **options)
    for more in (
        {"live": np.ones(8, bool)},
        {"live": np.ones(9)},
        {"xi": 0.0},
        {"xi": np.nan},
        {"steps": -1},
    ):
        with pytest.raises(ArgumentError):
            unmix.sweep(x, A, h, M, u, **{**options, **more})
    every_other = np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2]
    a, b = A.copy(), A.copy()
    unmix.sweep(every_other, a, h, M, u, **options)
    unmix.sweep(x, b, h, M, u, **options)
    np.testing.assert_array_equal(a, b)
    assert not unmix.sweep(x[:0], A[:0], h[:0], M, u, **options).gram.any()
    for gram, sides in ((np.eye(2)[:1], x[:, :2]), (np.eye(2), x), (np.full((4, 4), np.nan), x)):
        with pytest.raises(ArgumentError):
            unmix.nonnegative(gram, sides)
