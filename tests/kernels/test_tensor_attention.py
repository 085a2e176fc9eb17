"""Attention over pairs of tokens: by definition, alike on every instruction set, with any threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import dispatch
from gossamer._kernels.tensor_attention import Problem

SLACK = {"float32": 3e-5, "float64": 1e-12}


def arrays(seed, dtype, batch, m, n1, n2, d, p):
    rng = np.random.default_rng(seed)
    shapes = ((m, d), (n1, d), (n2, d), (n1, p), (n2, p))
    q, k1, k2, v1, v2 = (rng.uniform(-1.5, 1.5, (batch, *shape)).astype(dtype) for shape in shapes)
    limits = [rng.integers(0, n + 1, m) for n in (n1, n2)]
    return q, (k1, k2), (v1, v2), limits, rng.random((batch, n1, n2)) < 0.7


def by_definition(q, keys, values, limits, mask, dout):
    """Outputs and gradients with all scores in float64."""
    q, k1, k2, v1, v2, dout = (x.astype(np.float64) for x in (q, *keys, *values, dout))
    z = np.einsum("bil,bjl,bkl->bijk", q, k1, k2)
    seen = mask[:, None] & (np.arange(k1.shape[1])[:, None] < limits[0][:, None, None])
    seen = seen & (np.arange(k2.shape[1]) < limits[1][:, None, None])
    e = np.where(seen, np.exp(z), 0)
    total = e.sum((2, 3), keepdims=True)
    P = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    out = np.einsum("bijk,bjl,bkl->bil", P, v1, v2)
    g = P * (np.einsum("bil,bjl,bkl->bijk", dout, v1, v2) - (out * dout).sum(-1)[:, :, None, None])
    slopes = [
        np.einsum("bijk,bjl,bkl->bil", g, k1, k2),
        np.einsum("bijk,bil,bkl->bjl", g, q, k2),
        np.einsum("bijk,bil,bjl->bkl", g, q, k1),
        np.einsum("bijk,bil,bkl->bjl", P, dout, v2),
        np.einsum("bijk,bil,bjl->bkl", P, dout, v1),
    ]
    return out, slopes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.sampled_from([0, 1, 3]),
    m=st.sampled_from([0, 1, 5]),
    n1=st.sampled_from([0, 1, 24, 30]),
    n2=st.sampled_from([0, 1, 15, 130, 300]),
    d=st.sampled_from([1, 3, 8]),
    p=st.sampled_from([1, 5, 17]),
)
def test_both_directions_are_their_definition(dtype, seed, batch, m, n1, n2, d, p, isa):
    q, keys, values, limits, mask = arrays(seed, dtype, batch, m, n1, n2, d, p)
    dout = np.random.default_rng(seed + 1).standard_normal((batch, m, p)).astype(dtype)
    expected, slopes = by_definition(q, keys, values, limits, mask, dout)
    problem = Problem(q, keys, values, limits, mask)
    out, lse = problem.forward()
    np.testing.assert_allclose(out, expected, atol=SLACK[dtype])
    for ours, truth in zip(problem.backward(out, lse, dout), slopes, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, truth, atol=SLACK[dtype] * (1 + m) * 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 20])
def test_any_number_of_threads_gives_the_same_bits(dtype, batch, isa):
    q, keys, values, limits, mask = arrays(0, dtype, batch, 37, 50, 60, 4, 3)
    problem = Problem(q, keys, values, limits, mask)
    out, lse = problem.forward(threads=1)
    slopes = problem.backward(out, lse, out, threads=1)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(problem.forward(threads=threads)[0], out)
        for a, b in zip(problem.backward(out, lse, out, threads=threads), slopes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_instruction_sets_agree(isa):
    q, keys, values, limits, mask = arrays(0, "float64", 2, 9, 40, 200, 5, 4)
    problem, results = Problem(q, keys, values, limits, mask), {}
    for name in (isa, "portable"):
        dispatch.force_isa(name)
        out, lse = problem.forward()
        results[name] = [out, lse, *problem.backward(out, lse, out)]
    dispatch.force_isa(isa)
    for ours, portable in zip(results[isa], results["portable"], strict=True):
        np.testing.assert_allclose(ours, portable, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_are_as_exact_as_their_type(dtype, isa):
    """Two pairs, one of which has the logit 0: the other's weight is a logistic function of its logit."""
    x = np.linspace(-80, 80, 2001, dtype=dtype)[:, None]
    ones = np.ones((len(x), 1, 1), dtype)
    keys = ones, np.stack([np.ones_like(x), np.zeros_like(x)], 1)
    values = ones, np.stack([np.ones_like(x), np.zeros_like(x)], 1)
    out, _ = Problem(x[:, None], keys, values).forward()
    truth = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(out[:, 0], truth, rtol=8 * np.finfo(dtype).eps)


def test_bad_input_is_refused(isa):
    q, keys, values, limits, mask = arrays(0, "float64", 2, 3, 4, 5, 2, 2)
    for bad in (q[0], q.astype(np.float16)):
        with pytest.raises(ArgumentError, match="q is"):
            Problem(bad, keys, values)
    with pytest.raises(ShapeError, match="keys have shapes"):
        Problem(q, keys[:1], values)
    with pytest.raises(ShapeError, match=r"keys\[1\]"):
        Problem(q, (keys[0], keys[1][:, :, :1]), values)
    with pytest.raises(ShapeError, match=r"values\[0\]"):
        Problem(q, keys, values[::-1])
    with pytest.raises(ArgumentError, match=r"limits\[0\] spans"):
        Problem(q, keys, values, (limits[0] + 5, limits[1]))
    with pytest.raises(ShapeError, match="mask"):
        Problem(q, keys, values, limits, mask[:, :3])
    out, lse = Problem(q, keys, values).forward()
    with pytest.raises(ShapeError, match="dout"):
        Problem(q, keys, values).backward(out, lse, out[:1])
