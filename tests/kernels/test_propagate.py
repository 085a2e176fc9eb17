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
