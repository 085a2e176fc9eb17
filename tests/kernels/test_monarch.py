"""Chains of block-diagonal products: every layout, cut and storage against the definition, with any threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.arrays import to_bits, widen
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import monarch


def dense(w1, w2, shape):
    (k, q, p), (l, s, r) = w1.shape, w2.shape
    spread = np.zeros((k, q, k, p))
    spread[np.arange(k), :, np.arange(k)] = w1
    whole = w2.astype(np.float64) @ spread.reshape(r, l, k * p).swapaxes(0, 1)
    return whole.swapaxes(0, 1).reshape(s * l, k * p)[: shape[0], : shape[1]]


def case(rng, sizes, cut, dtype):
    k, q, p, l, s, r = sizes
    w1, w2 = rng.standard_normal((k, q, p)).astype(dtype), rng.standard_normal((l, s, r)).astype(dtype)
    return w1, w2, (max(l * s - cut[0], 1), max(k * p - cut[1], 1))


@st.composite
def sizes(draw):
    k, l = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    q = l * draw(st.integers(1, 9))
    return k, q, draw(st.integers(1, 40)), l, draw(st.integers(1, 40)), k * q // l


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    sizes=sizes(),
    cut=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    n=st.sampled_from([0, 1, 3, 4, 5, 31, 32, 33, 100, 300]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 9),
)
def test_products_are_those_of_the_dense_matrix(dtype, sizes, cut, n, order, seed, isa):
    rng = np.random.default_rng(seed)
    w1, w2, shape = case(rng, sizes, cut, dtype)
    M = dense(w1, w2, shape)
    x = np.asarray(rng.standard_normal((shape[1], n)), dtype, order=order)
    y = np.asarray(rng.standard_normal((shape[0], n)), dtype, order=order)
    slack = 64 * np.finfo(dtype).eps
    scale = dense(abs(w1), abs(w2), shape)
    forward = monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x)
    assert (abs(forward - M @ x) <= slack * (scale @ abs(x)) + 1e-30).all()
    back = monarch.multiply(monarch.monarch_transposed(sizes, shape), (w2, w1), y)
    assert (abs(back - M.T @ y) <= slack * (scale.T @ abs(y)) + 1e-30).all()
    assert forward.flags.c_contiguous or order == "F"
    assert forward.flags.f_contiguous or order == "C" or shape[1] == 1 or n == 0


@pytest.mark.parametrize("n", [1, 4, 5, 70, 400])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype, n, isa):
    rng = np.random.default_rng(n)
    sizes = (4, 96, 80, 4, 90, 96)
    w1, w2, shape = case(rng, sizes, (2, 1), dtype)
    for order in "CF":
        x = np.asarray(rng.standard_normal((shape[1], n)), dtype, order=order)
        alone = monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x, threads=1)
        for threads in (2, 3, 7):
            again = monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x, threads=threads)
            np.testing.assert_array_equal(again, alone)


def test_weights_beyond_the_cache_are_read_by_all_threads_together(isa):
    rng = np.random.default_rng(0)
    sizes = (2, 1040, 1100, 2, 1030, 1040)
    w1, w2, shape = case(rng, sizes, (1, 1), np.float32)
    x = rng.standard_normal((shape[1], 520), np.float32)
    y = monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x, threads=1)
    np.testing.assert_array_equal(monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x, threads=3), y)
    few = monarch.multiply(monarch.monarch(sizes, shape), (w1, w2), x[:, 515:520])
    assert np.linalg.norm(few - y[:, 515:]) <= 1e-5 * np.linalg.norm(few)
    h = (w1.astype(float) @ np.pad(x, ((0, 1), (0, 0))).reshape(2, 1100, 520)).reshape(1040, 2, 520)
    expected = (w2 @ h.swapaxes(0, 1)).swapaxes(0, 1).reshape(-1, 520)[:-1]
    assert np.linalg.norm(y - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("n", [2, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_in_bfloat16_are_widened(dtype, n, isa):
    rng = np.random.default_rng(1)
    sizes = (3, 14, 20, 2, 17, 21)
    w1, w2, shape = case(rng, sizes, (1, 2), np.float32)
    bits = to_bits(w1), to_bits(w2)
    wide = [widen(b).astype(dtype) for b in bits]
    x = rng.standard_normal((shape[1], n)).astype(dtype)
    chain, back = monarch.monarch(sizes, shape), monarch.monarch_transposed(sizes, shape)
    np.testing.assert_array_equal(monarch.multiply(chain, bits, x), monarch.multiply(chain, wide, x))
    y = rng.standard_normal((shape[0], n)).astype(dtype)
    np.testing.assert_array_equal(
        monarch.multiply(back, bits[::-1], y), monarch.multiply(back, wide[::-1], y)
    )


def test_parts_of_a_chain_make_the_whole(isa):
    rng = np.random.default_rng(2)
    sizes = (3, 14, 20, 2, 17, 21)
    w1, w2, shape = case(rng, sizes, (1, 2), np.float64)
    chain, x = monarch.monarch(sizes, shape), rng.standard_normal((shape[1], 6))
    channels = monarch.multiply(chain.part(0), [w1], x)
    np.testing.assert_allclose(
        monarch.multiply(chain.part(1), [w2], channels), monarch.multiply(chain, (w1, w2), x), rtol=1e-12
    )


def test_arrays_that_do_not_fit_are_refused():
    chain = monarch.monarch((2, 4, 3, 2, 5, 4), (10, 6))
    w1, w2, x = np.ones((2, 4, 3)), np.ones((2, 5, 4)), np.ones((6, 2))
    with pytest.raises(ShapeError, match="x has shape"):
        monarch.multiply(chain, (w1, w2), x[:5])
    with pytest.raises(ShapeError, match="weights are float64 of shape"):
        monarch.multiply(chain, (w1, w2[:, :4]), x)
    with pytest.raises(ShapeError, match="weights are float32"):
        monarch.multiply(chain, (w1.astype(np.float32), w2), x)
    with pytest.raises(ArgumentError, match="int64"):
        monarch.multiply(chain, (w1, w2), x.astype(int))
    with pytest.raises(ShapeError, match="do not fit"):
        monarch.monarch((2, 4, 3, 3, 5, 4), (10, 6))
    with pytest.raises(ShapeError, match="do not fit"):
        monarch.monarch_transposed((2, 4, 3, 2, 5, 4), (11, 6))


@pytest.mark.parametrize("n", [1, 3, 40, 300])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_bias_is_added_to_each_row(n, order, isa):
    rng = np.random.default_rng(3)
    sizes = (3, 14, 20, 2, 17, 21)
    w1, w2, shape = case(rng, sizes, (1, 2), np.float32)
    bias = rng.standard_normal(shape[0]).astype(np.float32)
    x = np.asarray(rng.standard_normal((shape[1], n)), np.float32, order=order)
    chain = monarch.monarch(sizes, shape)
    plain = monarch.multiply(chain, (w1, w2), x)
    np.testing.assert_array_equal(monarch.multiply(chain, (w1, w2), x, bias=bias), plain + bias[:, None])
    with pytest.raises(ShapeError, match="bias"):
        monarch.multiply(chain, (w1, w2), x, bias=bias[1:])


@pytest.mark.parametrize("n", [0, 2, 70])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_way_in_is_a_permutation_with_padding(n, order, isa):
    rng = np.random.default_rng(4)
    y = np.asarray(rng.standard_normal((33, n)), np.float64, order=order)
    chain = monarch.monarch_transposed((3, 14, 20, 2, 17, 21), (33, 60))
    padded = np.pad(y, ((0, 1), (0, 0)))
    expected = padded.reshape(17, 2, n).swapaxes(0, 1).reshape(34, n)
    np.testing.assert_array_equal(monarch.multiply(chain.entry(), [], y, order="C"), expected)
