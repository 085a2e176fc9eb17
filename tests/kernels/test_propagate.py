"""A pass over a graph is a sparse product, and what is done with its rows on the way."""

import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import propagate


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("width", [1, 3, 16, 47, 64, 129, 300])
def test_rows_are_multiplied_scaled_measured_and_added(weighted, width):
    rng = np.random.default_rng(width)
    A = scipy.sparse.random_array((300, 40), density=0.1, rng=rng, dtype=np.float32, format="csr")
    A.data = A.data if weighted else np.ones_like(A.data)
    scale = rng.random(300, np.float32)
    x = rng.standard_normal((40, width), np.float32) * (rng.random((40, width)) < 0.3)
    exact = scale[:, None] * (A.astype(float) @ x)
    length = np.linalg.norm(exact, axis=1)
    edges = propagate.edges(A.indptr, A.indices, A.data if weighted else None, scale, 40)
    for multiply, panel in (
        (propagate.dense, x.astype(np.float32)),
        (propagate.sparse, scipy.sparse.csr_array(x)),
    ):
        found = []
        for threads in (1, 2, 7):
            y, squares, total = (
                np.empty((300, width), np.float32),
                np.ones(300),
                np.ones((300, width), np.float32),
            )
            multiply(edges, panel, propagate.After(y, squares, total, None, 2.0), threads)
            coefficients, other = rng.random(300, np.float32), np.zeros((300, width), np.float32)
            multiply(edges, panel, propagate.After(total=other, coefficients=coefficients), threads)
            np.testing.assert_allclose(y, exact, atol=1e-4)
            np.testing.assert_allclose(squares, 1 + length**2, rtol=1e-4)
            unit = np.where(length > 0, 2 / np.where(length > 0, length, 1), 0)
            np.testing.assert_allclose(total, 1 + unit[:, None] * exact, atol=1e-4)
            np.testing.assert_allclose(other, coefficients[:, None] * exact, atol=1e-4)
            found.append((y, squares, total))
        for one, more in zip(found[:1] * 2, found[1:], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, more, strict=True))


def test_native_code_never_sees_what_does_not_fit():
    good = propagate.edges(np.array([0, 1]), np.array([0]), None, None, 1)
    x = np.ones((1, 2), np.float32)
    for error, call in [
        (ArgumentError, lambda: propagate.edges(np.array([0, 1]), np.array([1]), None, None, 1)),
        (ArgumentError, lambda: propagate.edges(np.array([0, 2]), np.array([0]), None, None, 1)),
        (ShapeError, lambda: propagate.edges(np.array([0, 1]), np.array([0]), np.ones(1), None, 1)),
        (
            ShapeError,
            lambda: propagate.edges(np.array([0, 1]), np.array([0]), None, np.ones(2, np.float32), 1),
        ),
        (ShapeError, lambda: propagate.dense(good, x.astype(float), propagate.After())),
        (ShapeError, lambda: propagate.dense(good, np.ones((2, 2), np.float32), propagate.After())),
        (ShapeError, lambda: propagate.dense(good, x, propagate.After(y=np.ones((1, 3), np.float32)))),
        (ShapeError, lambda: propagate.dense(good, x, propagate.After(squares=np.ones(1, np.float32)))),
        (
            ShapeError,
            lambda: propagate.sparse(good, scipy.sparse.csr_array(x.astype(float)), propagate.After()),
        ),
    ]:
        with pytest.raises(error):
            call()


@pytest.mark.parametrize("width", [1, 7, 64, 129])
@pytest.mark.parametrize("n", [1, 255, 4000])
def test_columns_are_added_up_measured_and_standardised(n, width):
    rng = np.random.default_rng(n + width)
    x = (rng.standard_normal((n, width)) * rng.uniform(0.01, 10, width) + 100 * rng.random(width)).astype(
        np.float32
    )
    x[:, 0] = 0.1
    coefficients = rng.random(n, np.float32)
    results = []
    for threads in (1, 2, 7):
        out = np.full((n, width + 5), 2, np.float32)
        propagate.scale(x, coefficients, out, 3, add=False, threads=threads)
        propagate.scale(x, coefficients, out, 3, add=True, threads=threads)
        np.testing.assert_allclose(out[:, 3:-2], 2 * coefficients[:, None] * x, rtol=1e-6)
        assert (out[:, :3] == 2).all()
        assert (out[:, -2:] == 2).all()
        mean, variance = propagate.moments(x, threads)
        np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(variance, x.var(0, dtype=np.float64), rtol=1e-9, atol=1e-12)
        assert variance[0] == 0
        scaled = x.copy()
        propagate.standardize(scaled, mean, np.full(width, 0.5), threads)
        np.testing.assert_allclose(scaled, (x - mean) / 2, rtol=1e-6, atol=1e-30)
        results.append((out, mean, variance, scaled))
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_splits_of_rows_give_the_rows():
    rng = np.random.default_rng(0)
    A = scipy.sparse.random_array((90, 40), density=0.1, rng=rng, dtype=np.float32, format="csr")
    x = rng.standard_normal((40, 5), np.float32)
    for weights, scale in ((A.data, None), (None, rng.random(90, np.float32))):
        whole = propagate.edges(A.indptr, A.indices, weights, scale, 40)
        y, parts = np.empty((90, 5), np.float32), np.empty((90, 5), np.float32)
        propagate.dense(whole, x, propagate.After(y=y))
        for count in (1, 4, 500):
            parts[:] = np.nan
            for rows, piece in propagate.split(whole, count):
                propagate.dense(piece, x, propagate.After(y=parts).of(rows))
            np.testing.assert_array_equal(parts, y)


def test_columns_that_do_not_fit_are_refused():
    x = np.zeros((3, 4), np.float32)
    for column in (-1, 1):
        with pytest.raises(ShapeError, match="columns of out"):
            propagate.scale(x, x[:, 0], np.zeros((3, 4), np.float32), column, add=False)
    with pytest.raises(ShapeError, match="coefficients"):
        propagate.scale(x, np.zeros(2, np.float32), x.copy(), 0, add=True)
    with pytest.raises(ShapeError, match="writable rows"):
        propagate.scale(x, x[:, 0], np.zeros((3, 8), np.float32)[:, ::2], 0, add=True)
    with pytest.raises(ShapeError, match="n >= 1"):
        propagate.moments(x[:0])
    with pytest.raises(ShapeError, match="mean"):
        propagate.standardize(x, np.zeros(3), np.ones(4))
