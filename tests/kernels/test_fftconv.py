"""Chains of short transforms against numpy.fft: every radix, layout, dtype, gate, odd tail and number of threads."""

import math

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.chains import spectrum_order

RADICES = [(1,), (2,), (3,), (4,), (5,), (7,), (8,), (16,), (3, 2), (16, 4)]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def chain(radices, columns, twisted, dtype):
    tile = kernels.lanes(dtype) ** 2 if columns else 1
    return kernels.chain(math.prod(radices) * tile, radices, columns=columns, twisted=twisted, dtype=dtype)


def convolved(u, k):
    n = u.shape[-1] + k.shape[-1]
    return np.fft.irfft(np.fft.rfft(u.astype(float), n) * np.fft.rfft(k.astype(float), n), n)[
        ..., : u.shape[-1]
    ]


def correlated(dy, k):
    return convolved(dy[..., ::-1], k)[..., ::-1]


def close(actual, expected, dtype, size):
    scale = np.abs(expected).max()
    return np.abs(actual - expected).max() <= TOLERANCE[np.dtype(dtype).name] * math.log2(size + 2) * scale


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("radices", RADICES)
def test_a_transform_is_numpys_in_monarch_order_and_comes_back(dtype, columns, radices):
    plan = chain(radices, columns, False, dtype)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, plan.points)) + 1j * rng.standard_normal((3, plan.points))).astype(
        np.complex64 if dtype == "float32" else np.complex128
    )
    y = kernels.transform(plan, x)
    assert close(y, np.fft.fft(x.astype(complex))[:, spectrum_order(plan.factors)], dtype, plan.points)
    assert close(kernels.transform(plan, y, inverse=True) / plan.points, x, dtype, plan.points)


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(
    ("batch", "channels", "short", "taps"), [(1, 1, 0, None), (3, 2, 3, 5), (2, 20, 0, None), (4, 3, -5, 4)]
)
def test_padded_convolutions_and_all_their_gradients(dtype, columns, batch, channels, short, taps):
    plan = chain((2,) if columns else (5, 4), columns, True, dtype)
    length = plan.points - short
    taps = length if taps is None else taps
    rng = np.random.default_rng(1)
    u, dy, before, after = rng.standard_normal((4, batch, channels, length)).astype(dtype)
    k, skip = rng.standard_normal((channels, taps)).astype(dtype), rng.standard_normal(channels).astype(dtype)
    gates = {"before": before, "after": after, "skip": skip}
    y = kernels.convolve(plan, u, k, **gates)
    v, grad = (before * u).astype(float), (after * dy).astype(float)
    assert close(y, after * convolved(v, k) + skip[:, None] * u, dtype, length)
    n = 2 * length + taps
    dk = np.fft.irfft((np.fft.rfft(grad, n) * np.fft.rfft(v, n).conj()).sum(0), n)[:, :taps]
    dv = correlated(grad, k)
    expected = [
        before * dv + skip[:, None] * dy,
        dk,
        u * dv,
        dy * convolved(v, k),
        (u.astype(float) * dy).sum((0, 2)),
    ]
    for actual, wanted in zip(kernels.differentiate(plan, dy, u, k, **gates), expected, strict=True):
        assert close(actual, wanted, dtype, length)
    only = kernels.differentiate(plan, dy, u, k, **gates, needs=(False, True, False, False, False))
    assert [grad is None for grad in only] == [True, False, True, True, True]
    assert close(only[1], dk, dtype, length)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_circular_convolutions_share_a_transform_between_rows_but_not_what_is_not_finite(columns, batch):
    plan = chain((3,) if columns else (7, 3), columns, False, "float64")
    rng = np.random.default_rng(2)
    u, dy = rng.standard_normal((2, batch, 4, plan.points))
    k = rng.standard_normal((4, plan.points))
    U, K, G = np.fft.rfft(u), np.fft.rfft(k), np.fft.rfft(dy)
    expected = np.fft.irfft(U * K, plan.points)
    assert close(kernels.convolve(plan, u, k), expected, "float64", plan.points)
    du, dk, *_ = kernels.differentiate(plan, dy, u, k)
    assert close(du, np.fft.irfft(G * K.conj(), plan.points), "float64", plan.points)
    assert close(dk, np.fft.irfft((G * U.conj()).sum(0), plan.points), "float64", plan.points)
    u[0, 1, 5] = np.nan
    y = kernels.convolve(plan, u, k)
    assert np.isnan(y[0, 1]).any()
    y[0, 1], expected[0, 1] = 0, 0
    assert close(y, expected, "float64", plan.points)


def test_bits_do_not_depend_on_threads():
    plan = chain((4,), True, True, "float32")
    rng = np.random.default_rng(3)
    u, dy = rng.standard_normal((2, 6, 5, plan.points), dtype=np.float32)
    k = rng.standard_normal((5, plan.points), dtype=np.float32)
    runs = [
        [kernels.convolve(plan, u, k, threads=t), *kernels.differentiate(plan, dy, u, k, threads=t)[:2]]
        for t in (1, 2, 7)
    ]
    for run in runs[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(run, runs[0], strict=True))


def test_what_would_leave_an_array_is_refused():
    plan = chain((2,), True, True, "float32")
    u, k = np.zeros((1, 2, 8), np.float32), np.zeros((2, 8), np.float32)
    with pytest.raises(ShapeError, match="length"):
        kernels.convolve(plan, np.zeros((1, 2, 2 * plan.points + 1), np.float32), k)
    with pytest.raises(ShapeError, match="k is"):
        kernels.convolve(plan, u, k[:1])
    with pytest.raises(ArgumentError, match="u is float64"):
        kernels.convolve(plan, u.astype(float), k)
    with pytest.raises(ArgumentError, match="contiguous"):
        kernels.convolve(plan, np.zeros((1, 2, 16), np.float32)[:, :, ::2], k)
    with pytest.raises(ShapeError, match="before"):
        kernels.convolve(plan, u, k, before=u[:, :, :4])
    with pytest.raises(ShapeError, match="spectra"):
        kernels.convolve(plan, u, None, taps=8, spectra=np.zeros((2, 3), np.float32))
    with pytest.raises(ArgumentError, match="radices"):
        kernels.chain(11, (11,), columns=False, twisted=True)
    with pytest.raises(ArgumentError, match="product"):
        kernels.chain(12, (4, 2), columns=False, twisted=True)
    empty = kernels.convolve(plan, u[:0], k)
    assert empty.shape == (0, 2, 8)
