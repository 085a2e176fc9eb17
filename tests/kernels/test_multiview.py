"""Scores, gradients and Adam: by definition, from every stored type, on every instruction set, with any threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import multiview


def view(rng, m, p, dtype):
    if dtype in ("int8", "uint8"):
        return rng.integers(0, 3, (m, p)).astype(dtype) - np.array(1, dtype) * (dtype == "int8")
    return rng.standard_normal((m, p)).astype(dtype)


@pytest.mark.parametrize("dtype", multiview.DTYPES)
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.sampled_from([1, 2, 5, 31, 32, 70]),
    p=st.sampled_from([1, 7, 16, 255, 257, 2500]),
    K=st.sampled_from([1, 2, 3, 4, 5, 11]),
    more=st.integers(0, 2),
)
def test_passes_are_their_definitions(dtype, seed, m, p, K, more, isa):
    rng = np.random.default_rng(seed)
    x = view(rng, m, p, dtype)
    real = multiview.arithmetic(dtype)
    offset, u = rng.standard_normal(p).astype(real), rng.standard_normal((K, p)).astype(real)
    r, s = rng.standard_normal((m, K + more)).astype(real), rng.standard_normal((K, K)).astype(real)
    dense = x.astype(np.float64) - offset
    slack = 1e-12 if real == np.float64 else 4e-6
    z = multiview.scores(x, offset, u)
    assert z.dtype == np.float64
    bound = np.abs(dense) @ np.abs(u.T.astype(np.float64))
    assert (np.abs(z - dense @ u.T) <= slack * (1 + bound)).all()
    g = np.empty((K + more, p), real)
    square = multiview.gradient(x, offset, r, u, s, g)
    wanted = r.T.astype(np.float64) @ dense
    wanted[:K] += s.T.astype(np.float64) @ u
    np.testing.assert_allclose(g, wanted, atol=20 * slack * (1 + np.sqrt(m + K)))
    np.testing.assert_allclose(square, np.sum(g[:K].astype(np.float64) ** 2), rtol=1e-10)
    multiview.gradient(x, offset, r, u, None, g)
    np.testing.assert_allclose(g, r.T.astype(np.float64) @ dense, atol=20 * slack * (1 + np.sqrt(m)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_is_adam(dtype, isa):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    u = rng.standard_normal((3, 1001)).astype(dtype)
    parameter = torch.nn.Parameter(torch.from_numpy(u.copy()))
    optimiser = torch.optim.Adam([parameter], lr=0.01)
    first, second = np.zeros_like(u), np.zeros_like(u)
    for step in range(1, 6):
        g = rng.standard_normal(u.shape).astype(dtype)
        parameter.grad = torch.from_numpy(0.5 * g)
        optimiser.step()
        multiview.adam(u, g, first, second, step, 0.01, scale=0.5)
    np.testing.assert_allclose(u, parameter.detach().numpy(), atol=1e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("dtype", multiview.DTYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype, isa):
    rng = np.random.default_rng(1)
    x = view(rng, 37, 9_001, dtype)
    real = multiview.arithmetic(dtype)
    u, offset = rng.standard_normal((6, 9_001)).astype(real), np.zeros(9_001, real)
    r = rng.standard_normal((37, 6)).astype(real)
    results = []
    for threads in (1, 2, 7):
        g, w = np.empty((6, 9_001), real), u.copy()
        square = multiview.gradient(x, offset, r, u, None, g, threads=threads)
        multiview.adam(w, g, np.zeros_like(w), np.zeros_like(w), 1, 0.1, threads=threads)
        results.append((multiview.scores(x, offset, u, threads=threads), g, w, np.array(square)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_bad_input_is_refused(isa):
    x, offset, u = np.ones((3, 5), np.float32), np.zeros(5, np.float32), np.ones((2, 5), np.float32)
    with pytest.raises(ArgumentError, match="a view is int64"):
        multiview.scores(x.astype(np.int64), offset, u)
    with pytest.raises(ShapeError, match="a view has shape"):
        multiview.scores(x[0], offset, u)
    with pytest.raises(ShapeError, match="offset"):
        multiview.scores(x, offset[:4], u)
    with pytest.raises(ShapeError, match="u is"):
        multiview.scores(x, offset, u.astype(np.float64))
    with pytest.raises(ShapeError, match="r has shape"):
        multiview.gradient(x, offset, np.ones((3, 1)), u, None, np.empty((1, 5), np.float32))
    with pytest.raises(ShapeError, match="s has shape"):
        multiview.gradient(x, offset, np.ones((3, 2)), u, np.ones((3, 3)), np.empty((2, 5), np.float32))
    with pytest.raises(ShapeError, match="g is"):
        multiview.gradient(x, offset, np.ones((3, 2)), u, None, np.empty((2, 4), np.float32))
    with pytest.raises(ArgumentError, match="step"):
        multiview.adam(u.copy(), u, u.copy(), u.copy(), 0, 0.1)
    with pytest.raises(ShapeError, match="second"):
        multiview.adam(u.copy(), u, u.copy(), u[:1].copy(), 1, 0.1)
    assert multiview.scores(np.ones((0, 5), np.float32), offset, u).shape == (0, 2)
