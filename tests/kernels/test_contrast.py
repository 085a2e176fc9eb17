"""Sums of exponentials along stored pairs, and their gradient, are those of a double loop."""

import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import contrast


def problem(n, d, dtype, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    g = scipy.sparse.random_array((n, n), density=density, rng=rng, format="csr")
    g = g + scipy.sparse.diags_array(rng.random(n) * (rng.random(n) < 0.5))
    both = scipy.sparse.csr_array(g.astype(complex) + 1j * g.T.tocsr())
    u = rng.standard_normal((n, d))
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
    slope = rng.standard_normal(n)
    values = both.data.real.astype(dtype), both.data.imag.astype(dtype)
    pattern = contrast.strengths(both.indptr, both.indices, *values)
    return g.toarray(), pattern, u.astype(dtype), slope.astype(dtype)


def expected(g, u, tau, slope):
    n = len(g)
    p, to = np.zeros(n), np.zeros(u.shape)
    for i in range(n):
        for j in range(n):
            e = np.exp(tau * (u[i] @ u[j])) if i != j else 1.0
            p[i] += g[i, j] * e
            if i != j:
                to[i] += slope[i] * g[i, j] * tau * e * u[j]
                to[j] += slope[i] * g[i, j] * tau * e * u[i]
    return p, to


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 3), (37, 10), (50, 16), (23, 17), (9, 70)])
def test_sums_and_gradient_are_those_of_a_double_loop(n, d, dtype):
    g, pattern, u, slope = problem(n, d, dtype)
    exact = expected(g, u.astype(float), 1.7, slope.astype(float))
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    found = [
        (contrast.sums(pattern, u, 1.7, threads), contrast.gradient(pattern, u, 1.7, slope, threads))
        for threads in (1, 2, 7)
    ]
    for ours, theirs in zip(found[0], exact, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_long_rows_take_several_tiles():
    g, pattern, u, slope = problem(300, 5, np.float64, density=1.0)
    p, to = expected(g, u, 0.5, slope)
    np.testing.assert_allclose(contrast.sums(pattern, u, 0.5), p, rtol=1e-12)
    np.testing.assert_allclose(contrast.gradient(pattern, u, 0.5, slope), to, rtol=1e-9, atol=1e-9)


def test_threads_at_work_give_the_bits_of_one():
    _, pattern, u, slope = problem(2000, 10, np.float32, density=0.01)
    one, more = (
        (contrast.sums(pattern, u, 1.0, t), contrast.gradient(pattern, u, 1.0, slope, t)) for t in (1, 5)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, more, strict=True))


def test_native_code_never_sees_what_does_not_fit():
    one = np.ones(1, np.float32)
    pattern = contrast.strengths(np.array([0, 1]), np.array([0]), one, one)
    u = np.ones((1, 2), np.float32)
    for error, call in [
        (ArgumentError, lambda: contrast.strengths(np.array([0, 1]), np.array([1]), one, one)),
        (ArgumentError, lambda: contrast.strengths(np.array([0, 1]), np.array([-1]), one, one)),
        (ArgumentError, lambda: contrast.strengths(np.array([0, 2]), np.array([0]), one, one)),
        (ArgumentError, lambda: contrast.strengths(np.array([0, 1]), np.array([0]), one.astype(int), one)),
        (ShapeError, lambda: contrast.strengths(np.array([0, 1]), np.array([0]), one, one.astype(float))),
        (
            ShapeError,
            lambda: contrast.strengths(np.array([0, 1]), np.array([0]), one, np.ones(2, np.float32)),
        ),
        (ShapeError, lambda: contrast.sums(pattern, np.ones((2, 2), np.float32), 1.0)),
        (ShapeError, lambda: contrast.sums(pattern, u.astype(float), 1.0)),
        (ShapeError, lambda: contrast.sums(pattern, u[0], 1.0)),
        (ShapeError, lambda: contrast.gradient(pattern, u, 1.0, np.ones(2, np.float32))),
        (ShapeError, lambda: contrast.gradient(pattern, u, 1.0, np.ones(1))),
    ]:
        with pytest.raises(error):
            call()
