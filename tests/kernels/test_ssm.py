"""Kernels of state-space models against their definitions, on every instruction set."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import ssm


def numbers(rng, shape, dtype):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def decaying(rng, shape, dtype, slowest=1e-3):
    return np.exp(-slowest * rng.uniform(1, 100, shape) + 1j * rng.uniform(0, 3, shape)).astype(dtype)


def powers(z, length):
    wide = z.astype(np.complex128)
    return np.exp(np.log(wide)[..., None] * np.arange(length))


TOLERANCE = {np.complex64: 2e-6, np.complex128: 1e-12}
dtypes = pytest.mark.parametrize("dtype", [np.complex64, np.complex128])


@dtypes
@pytest.mark.parametrize(
    ("rows", "n", "length"), [(1, 1, 1), (3, 5, 63), (2, 33, 64), (2, 16, 200), (1, 7, 20000)]
)
def test_the_kernel_is_the_sum_of_its_exponentials(rows, n, length, dtype):
    rng = np.random.default_rng(0)
    c, z = numbers(rng, (rows, n), dtype), decaying(rng, (rows, n), dtype)
    expected = np.einsum("hn,hnl->hl", c.astype(complex), powers(z, length)).real
    actual = ssm.kernel(c, z, length)
    assert actual.dtype == ssm.DTYPES[c.dtype.name]
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE[dtype] * np.abs(c).sum(axis=1).max())


def test_long_kernels_keep_single_precision():
    rng = np.random.default_rng(1)
    length = 1 << 17
    c = numbers(rng, (1, 8), np.complex64)
    z = np.exp(-rng.uniform(0, 3e-5, (1, 8)) + 1j * rng.uniform(0, 3, (1, 8))).astype(np.complex64)
    expected = np.einsum("hn,hnl->hl", c.astype(complex), powers(z, length)).real
    error = np.linalg.norm(ssm.kernel(c, z, length) - expected) / np.linalg.norm(expected)
    assert error < 1e-6


@dtypes
@pytest.mark.parametrize(("rows", "n", "length"), [(1, 1, 1), (3, 5, 63), (2, 33, 130), (1, 9, 17000)])
def test_the_slopes_of_the_kernel_are_those_of_its_formula(rows, n, length, dtype):
    rng = np.random.default_rng(2)
    c, z = numbers(rng, (rows, n), dtype), decaying(rng, (rows, n), dtype)
    slope = rng.standard_normal((rows, length)).astype(ssm.DTYPES[c.dtype.name])
    z_l, ells = powers(z, length), np.arange(length)
    dc = np.einsum("hl,hnl->hn", slope, z_l).conj()
    dz = (c * np.einsum("hl,hnl->hn", slope * ells, z_l) / z).conj()
    for actual, expected in zip(ssm.kernel_back(c, z, slope), (dc, dz)):
        np.testing.assert_allclose(actual, expected, atol=20 * TOLERANCE[dtype] * np.abs(expected).max())


@dtypes
def test_a_vanished_mode_has_finite_slopes(dtype):
    c, z = np.ones((1, 2), dtype), np.array([[0, 0.5]], dtype)
    np.testing.assert_allclose(ssm.kernel(c, z, 70)[0, :3], [2, 0.5, 0.25])
    dc, dz = ssm.kernel_back(c, z, np.ones((1, 70), ssm.DTYPES[c.dtype.name]))
    np.testing.assert_allclose(dc, [[1, 2]], atol=1e-6)
    np.testing.assert_allclose(dz, [[1, 4]], atol=1e-5)


def recurrence(a, b, initial, reverse):
    x, state = np.empty(b.shape, complex), np.zeros(b.shape[::2], complex) if initial is None else initial
    order = range(b.shape[1])
    for k in reversed(order) if reverse else order:
        x[:, k] = state = a * state + b[:, k]
    return x


@dtypes
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(("batch", "length", "states"), [(1, 1, 1), (2, 300, 7), (3, 17, 64), (1, 700, 37)])
def test_the_scan_and_its_slopes_are_those_of_the_recurrence(batch, length, states, started, reverse, dtype):
    rng = np.random.default_rng(3)
    a, b = decaying(rng, states, dtype, 1e-2), numbers(rng, (batch, length, states), dtype)
    initial = numbers(rng, (batch, states), dtype) if started else None
    x = recurrence(a.astype(complex), b, initial, reverse)
    actual = ssm.scan(a, b, initial, reverse)
    np.testing.assert_allclose(actual, x, atol=20 * TOLERANCE[dtype] * np.abs(x).max())

    slope = numbers(rng, b.shape, dtype)
    db = recurrence(a.astype(complex).conj(), slope, None, not reverse)
    start = np.zeros((batch, states)) if initial is None else initial
    before = (
        np.concatenate([x[:, 1:], start[:, None]], 1)
        if reverse
        else np.concatenate([start[:, None], x[:, :-1]], 1)
    )
    expected = (db * before.conj()).sum((0, 1)), db, a.conj() * db[:, -1 if reverse else 0]
    for got, want in zip(ssm.scan_back(a, actual, slope, initial, reverse), expected):
        np.testing.assert_allclose(got, want, atol=100 * TOLERANCE[dtype] * np.abs(want).max())


def test_results_do_not_depend_on_threads():
    rng = np.random.default_rng(4)
    c, z = numbers(rng, (3, 17), np.complex64), decaying(rng, (3, 17), np.complex64)
    slope = rng.standard_normal((3, 40000)).astype(np.float32)
    b, a = numbers(rng, (2, 3000, 75), np.complex64), decaying(rng, 75, np.complex64)
    runs = [
        (
            ssm.kernel(c, z, 40000, threads),
            *ssm.kernel_back(c, z, slope, threads),
            ssm.scan(a, b, threads=threads),
            *ssm.scan_back(a, b, b, threads=threads),
        )
        for threads in (1, 2, 7)
    ]
    for other in runs[1:]:
        for one, two in zip(runs[0], other):
            np.testing.assert_array_equal(one, two)


@dtypes
def test_results_may_overwrite_what_they_are_made_of(dtype):
    rng = np.random.default_rng(6)
    a, b = decaying(rng, 21, dtype), numbers(rng, (2, 300, 21), dtype)
    slope, x = numbers(rng, b.shape, dtype), ssm.scan(a, b)
    expected = ssm.scan_back(a, x, slope)
    assert ssm.scan(a, b, out=b) is b
    np.testing.assert_array_equal(b, x)
    for one, two in zip(ssm.scan_back(a, x, slope, out=slope), expected):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ShapeError, match="out is"):
        ssm.scan(a, b, out=b[:1])
    with pytest.raises(ArgumentError, match="expected a writeable"):
        ssm.scan(a, b, out=np.asfortranarray(b))


def test_views_and_empty_arrays_are_taken():
    rng = np.random.default_rng(5)
    c, z = numbers(rng, (4, 12), np.complex128)[::2, ::3], decaying(rng, (4, 12), np.complex128)[::2, ::3]
    np.testing.assert_allclose(ssm.kernel(c, z, 9), ssm.kernel(c.copy(), z.copy(), 9))
    assert ssm.kernel(c, z, 0).shape == (2, 0)
    assert not ssm.kernel(c[:, :0], z[:, :0], 5).any()
    assert not np.any(ssm.kernel_back(c, z, np.empty((2, 0))))
    assert ssm.scan(z[0, :0], np.empty((2, 3, 0), complex)).shape == (2, 3, 0)
    b = numbers(rng, (6, 10, 4), np.complex128)
    np.testing.assert_array_equal(ssm.scan(z[0], b[::2]), ssm.scan(z[0], b)[::2])


def test_wrong_arrays_are_refused():
    c = np.ones((2, 3), np.complex64)
    with pytest.raises(ArgumentError, match="c is float32"):
        ssm.kernel(c.real, c.real, 4)
    with pytest.raises(ShapeError, match="z is complex64"):
        ssm.kernel(c, c[:1], 4)
    with pytest.raises(ArgumentError, match="length=-1"):
        ssm.kernel(c, c, -1)
    with pytest.raises(ShapeError, match="slope"):
        ssm.kernel_back(c, c, np.ones((2, 5)))
    with pytest.raises(ShapeError, match="slope"):
        ssm.kernel_back(c, c, np.ones(5, np.float32))
    b = np.ones((2, 5, 3), np.complex64)
    with pytest.raises(ShapeError, match="a is complex128"):
        ssm.scan(np.ones(3, complex), b)
    with pytest.raises(ShapeError, match="initial"):
        ssm.scan(b[0, 0], b, b[:, 0, :2])
    with pytest.raises(ArgumentError, match="b is"):
        ssm.scan(b[0, 0], b[0])
    with pytest.raises(ShapeError, match="slope"):
        ssm.scan_back(b[0, 0], b, b[:, :4])
