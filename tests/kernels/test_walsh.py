"""Transforms against the matrix of signs: every dtype, axis, odd tail, alignment and number of threads."""

import numpy as np
import pytest
import scipy.linalg

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import walsh

FLOATS = {"float32": 1e-5, "float64": 1e-13}


def by_definition(x, axis, scale=1):
    rows = np.moveaxis(x, axis, 0)
    low = min(len(rows), 64)  # the matrix is the Kronecker product of two smaller ones
    far, near = (scipy.linalg.hadamard(size).astype(x.dtype) for size in (len(rows) // low, low))
    y = np.einsum("ai,bj,ij...->ab...", far, near, rows.reshape(-1, low, *rows.shape[1:]), optimize=True)
    return scale * np.moveaxis(y.reshape(rows.shape), 0, axis)


def numbers(rng, shape, dtype):
    values = rng.standard_normal(shape) if dtype in FLOATS else rng.integers(-1000, 1000, shape)
    return values.astype(dtype)


def close(actual, expected):
    return np.abs(actual - expected).max() <= FLOATS[actual.dtype.name] * np.abs(expected).max()


@pytest.mark.parametrize("dtype", walsh.DTYPES)
@pytest.mark.parametrize("levels", range(13))
def test_one_transform_is_the_product_with_the_matrix(dtype, levels):
    x = numbers(np.random.default_rng(levels), 1 << levels, dtype)
    out = walsh.transform(x, np.empty_like(x), 0)
    if dtype in FLOATS:
        assert close(out, by_definition(x, 0))
    else:
        assert np.array_equal(out, by_definition(x, 0))


@pytest.mark.parametrize("dtype", walsh.DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 8), 1), ((5, 4, 7), 1), ((16, 3), 0), ((64, 33), 0), ((7, 128, 2), 1), ((2, 1, 5), 1), ((3, 2, 1024, 1), 2),
     ((32, 300), 0), ((2, 256, 17), 1), ((1, 1), 0)],
)  # fmt: skip
def test_any_axis(dtype, shape, axis):
    x = numbers(np.random.default_rng(0), shape, dtype)
    kept = x.copy()
    scale = 0.5 if dtype in FLOATS else 1
    out = walsh.transform(x, np.full_like(x, 7), axis, scale)
    assert np.array_equal(x, kept)
    expected = by_definition(x, axis, scale)
    assert close(out, expected) if dtype in FLOATS else np.array_equal(out, expected)
    assert walsh.transform(x, x, axis, scale).tobytes() == out.tobytes()


@pytest.mark.parametrize("shift", [1, 4, 7])
@pytest.mark.parametrize(("shape", "axis"), [((1 << 13,), 0), ((256, 64), 0), ((4, 32), 1)])
def test_memory_need_not_start_at_a_cache_line(shift, shape, axis):
    size = int(np.prod(shape))
    x = np.random.default_rng(0).standard_normal(size + shift).astype(np.float32)[shift:].reshape(shape)
    assert (
        walsh.transform(x, np.empty_like(x), axis).tobytes() == walsh.transform(x.copy(), x, axis).tobytes()
    )


@pytest.mark.parametrize(
    ("shape", "axis"), [((1 << 17,), 0), ((37, 4096), 1), ((2048, 130), 0), ((1 << 15, 2), 0)]
)
def test_threads_do_not_change_a_bit(shape, axis):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    runs = [walsh.transform(x, np.empty_like(x), axis, threads=threads).tobytes() for threads in (1, 2, 7)]
    assert len(set(runs)) == 1


def test_a_long_transform_through_blocks_and_panels():
    n = 1 << 21
    rng = np.random.default_rng(0)
    support = rng.choice(n, 5, replace=False)
    x = np.zeros(n, np.int32)
    x[support] = [1, -2, 3, -4, 5]
    k = np.arange(n, dtype=np.int64)
    expected = sum(
        v * (1 - 2 * (np.bitwise_count(k & m) & 1).astype(np.int64)) for m, v in zip(support, x[support])
    )
    assert np.array_equal(walsh.transform(x, x, 0, threads=2), expected)


def test_instruction_sets_agree_to_the_bit(isa):
    x = np.random.default_rng(0).standard_normal((3, 1 << 14)).astype(np.float32)
    out = walsh.transform(x, np.empty_like(x), 1)
    level = x.copy()
    h = 1
    while h < 1 << 14:  # the plain loops, level by level
        pairs = level.reshape(3, -1, 2, h)
        level = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2).reshape(3, -1)
        h *= 2
    assert np.array_equal(out, level)


def test_integers_wrap_around():
    x = np.full(4, np.iinfo(np.int32).max, np.int32)
    assert walsh.transform(x, np.empty_like(x), 0).tolist() == [-4, 0, 0, 0]


def test_nothing_is_transformed_to_nothing():
    x = np.zeros((0, 8))
    assert walsh.transform(x, x, 1).shape == (0, 8)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros(6), ShapeError, "length 6 along axis 0"),
        (np.zeros(0), ShapeError, "power of two"),
        (np.zeros(8, np.float16), ArgumentError, "float16"),
        (np.zeros(16)[::2], ArgumentError, "contiguous"),
    ],
)
def test_refusals(x, error, words):
    with pytest.raises(error, match=words):
        walsh.transform(x, x, 0)


def test_out_must_fit():
    x = np.zeros(8)
    with pytest.raises(ShapeError, match="as x"):
        walsh.transform(x, np.zeros(4), 0)
    x.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        walsh.transform(x, x, 0)
    with pytest.raises(ArgumentError, match="integers take none"):
        walsh.transform(np.zeros(4, np.int32), np.zeros(4, np.int32), 0, 0.5)
