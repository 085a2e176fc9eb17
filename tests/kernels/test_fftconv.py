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


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize(
    ("columns", "taps", "short"), [(True, 1, 0), (True, 40, 0), (False, 15, 0), (True, 40, 30)]
)
@pytest.mark.parametrize("windows", [0.3, 1, 3.4])
def test_windows_of_rows_of_any_length_are_read_and_written_in_place(dtype, columns, taps, short, windows):
    plan = chain((16,) if columns else (5, 4), columns, True, dtype)
    step = 2 * plan.points - taps + 1 - short
    length = int(step * windows)
    rng = np.random.default_rng(4)
    u, dy = rng.standard_normal((2, 2, 3, length)).astype(dtype)
    k = rng.standard_normal((3, taps)).astype(dtype)
    expected = convolved(u, k)
    assert close(kernels.convolve(plan, u, k, step=step), expected, dtype, length)
    spectra = kernels.spectra_of(plan, k)
    later = kernels.convolve(plan, u, None, taps=taps, spectra=spectra, step=step, history=taps - 1)
    assert later.shape == (2, 3, max(length - taps + 1, 0))
    assert later.size == 0 or close(later, expected[..., taps - 1 :], dtype, length)
    du, dk, *_ = kernels.differentiate(plan, dy, u, k, step=step)
    assert close(du, correlated(dy, k), dtype, length)
    n = 2 * length + taps
    sums = np.fft.irfft((np.fft.rfft(dy.astype(float), n) * np.fft.rfft(u.astype(float), n).conj()).sum(0), n)
    assert close(dk, sums[:, :taps], dtype, 4 * length)


@pytest.mark.parametrize("dtype", kernels.DTYPES)
def test_tiles_that_are_left_out_are_zero_forward_and_backward(dtype):
    plan = chain((5, 4), True, True, dtype)
    rng = np.random.default_rng(5)
    u, dy = rng.standard_normal((2, 3, 2, plan.points)).astype(dtype)
    k = rng.standard_normal((2, 2 * plan.points)).astype(dtype)
    live = (rng.random(20) < 0.4).astype(np.uint8)
    spectra = kernels.spectra_of(plan, k)
    spectra = (spectra.reshape(2, 20, -1) * live[:, None]).reshape(spectra.shape).astype(dtype)
    assert np.array_equal(kernels.spectra_of(plan, k, live=live), spectra)
    given = {"taps": k.shape[1], "spectra": spectra}
    dense, sparse = (kernels.convolve(plan, u, None, live=kept, **given) for kept in (None, live))
    assert close(sparse, dense, dtype, plan.points)
    assert close(kernels.convolve(plan, u, k, live=live), dense, dtype, plan.points)
    du, dk, *_ = kernels.differentiate(plan, dy, u, None, live=live, **given)
    wanted_du, wanted_dk, *_ = kernels.differentiate(plan, dy, u, None, **given)
    assert close(du, wanted_du, dtype, plan.points)
    # the gradient of the filter that is left is that of all of it, with the same part left out
    ours, all_of_it = (kernels.spectra_of(plan, x) for x in (dk, wanted_dk))
    kept = (all_of_it.reshape(2, 20, -1) * live[:, None]).reshape(ours.shape)
    assert close(ours, kept, dtype, plan.points)


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("factor", [2, 4, 8, 16])
@pytest.mark.parametrize(("length", "coarse", "reach"), [(0, 5, 3), (1, 40, 4), (300, 200, 4), (640, 40, 7)])
def test_resampling_and_its_transpose_are_their_definition(dtype, factor, length, coarse, reach):
    length = min(length, factor * coarse)
    rng = np.random.default_rng(6)
    x, g = rng.standard_normal((3, length)).astype(dtype), rng.standard_normal((3, coarse)).astype(dtype)
    window = rng.standard_normal((factor, 2 * reach)).astype(dtype)
    matrix = np.zeros((coarse, length))
    for n in range(length):
        for r in range(factor):
            for q in range(2 * reach):
                m, rest = divmod(n - r - (q - reach) * factor, factor)
                if rest == 0:
                    matrix[m % coarse, n] += (-1) ** (m // coarse) * window[r, q]
    assert np.allclose(kernels.decimate(x, window, coarse), x @ matrix.T, atol=TOLERANCE[dtype] * 100)
    assert np.allclose(kernels.interpolate(g, window, length), g @ matrix, atol=TOLERANCE[dtype] * 100)
    threads = [kernels.decimate(x, window, coarse, threads=t).tobytes() for t in (1, 2)]
    assert threads[0] == threads[1]


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("factor", [2, 4, 8, 16])
@pytest.mark.parametrize("batch", [1, 3])
def test_rows_are_sampled_convolved_and_brought_back_as_by_the_three_alone(dtype, factor, batch):
    plan = chain((2, 3), True, True, dtype)
    ring = 2 * plan.points
    length, taps = factor * ring - 7, factor * ring // 2 + 1
    rng = np.random.default_rng(8)
    u, dy = rng.standard_normal((2, batch, 3, length)).astype(dtype)
    k, window = rng.standard_normal((3, taps)).astype(dtype), rng.standard_normal((factor, 8)).astype(dtype)
    weights = rng.standard_normal(plan.points).astype(dtype)

    def down(x):
        return kernels.decimate(x.reshape(-1, x.shape[-1]), window, ring).reshape(*x.shape[:-1], ring)

    def up(x, n):
        return kernels.interpolate(x.reshape(-1, ring), window, n).reshape(*x.shape[:-1], n)

    spectra = kernels.spectra_of(plan, down(k), weights=weights)
    whole = kernels.spectra_of(plan, down(k))
    cells = whole.reshape(3, -1, 2, plan.native.lanes) * weights.reshape(-1, 1, plan.native.lanes)
    assert close(spectra, cells.reshape(spectra.shape), dtype, ring)
    y = up(kernels.convolve(plan, down(u), None, taps=ring, spectra=spectra), length)
    assert close(kernels.lowpass(plan, u, k, window, weights), y, dtype, ring)
    du, dk = kernels.lowpass_gradients(plan, dy, u, k, window, weights)
    expected, filters, *_ = kernels.differentiate(plan, down(dy), down(u), None, taps=ring, spectra=spectra)
    assert close(du, up(expected, length), dtype, ring)
    own = np.zeros((len(weights) // plan.native.lanes, 2, plan.native.lanes), dtype)
    own[:, 0] = weights.reshape(-1, plan.native.lanes) / plan.points
    same = np.broadcast_to(own.reshape(-1), (3, own.size)).copy()
    dk_expected = up(kernels.convolve(plan, filters[None], None, taps=ring, spectra=same)[0], taps)
    assert close(dk, dk_expected, dtype, 16 * ring)
    for needs in ((True, False), (False, True)):
        some = kernels.lowpass_gradients(plan, dy, u, k, window, weights, needs=needs)
        assert [x is not None for x in some] == list(needs)
        assert all(x is None or np.array_equal(x, all_) for x, all_ in zip(some, (du, dk), strict=True))
    for threads in (2, 7):
        assert np.array_equal(
            kernels.lowpass(plan, u, k, window, weights, threads=threads),
            kernels.lowpass(plan, u, k, window, weights, threads=1),
        )
    with pytest.raises(ShapeError, match="weights"):
        kernels.lowpass(plan, u, k, window, weights[:-1].copy())
    with pytest.raises(ShapeError, match="length"):
        kernels.lowpass(plan, np.zeros((1, 3, factor * ring + 1), dtype), k, window, weights)
    with pytest.raises(ShapeError, match="u is"):
        kernels.lowpass(plan, u[:, :2].copy(), k, window, weights)


def test_resampling_refuses_what_would_leave_an_array():
    x, window = np.zeros((1, 8)), np.zeros((2, 4))
    with pytest.raises(ShapeError, match="length=8, coarse=3"):
        kernels.decimate(x, window, 3)
    with pytest.raises(ShapeError, match="coarse=1"):
        kernels.interpolate(x[:, :1].copy(), window, 2)
    for bad in (np.zeros((3, 4)), np.zeros((2, 3)), np.zeros(4)):
        with pytest.raises(ShapeError, match="window"):
            kernels.decimate(x, bad, 8)
    with pytest.raises(ArgumentError, match="x is int64"):
        kernels.decimate(x.astype(int), window, 8)


def test_products_of_bfloat16_are_those_of_rounded_factors():
    torch = pytest.importorskip("torch")

    def rounded(x):
        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).bfloat16().float().numpy().astype(float)

    side, inner = 6, 5
    plan = kernels.chain(
        side * inner, (side, inner), columns=False, twisted=False, products=True, bfloat16=True
    )
    rng = np.random.default_rng(7)
    x = (rng.standard_normal((2, 30)) + 1j * rng.standard_normal((2, 30))).astype(np.complex64)
    y = kernels.transform(plan, x)
    work = x.reshape(2, side, inner).astype(complex)
    for axis, n in ((1, side), (2, inner)):
        if axis == 2:
            work = work * np.exp(-2j * np.pi * np.outer(np.arange(side), np.arange(inner)) / 30)
        F = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
        F, work = rounded(F.real) + 1j * rounded(F.imag), rounded(work.real) + 1j * rounded(work.imag)
        work = np.einsum("fn,bnj->bfj" if axis == 1 else "fn,bjn->bjf", F, work)
    # twiddles in float32 may round a number the other way
    assert np.median(np.abs(y - work.reshape(2, 30))) < 1e-5
    assert np.abs(y - work.reshape(2, 30)).max() < 0.05


def test_bits_do_not_depend_on_threads():
    plan = chain((4,), True, True, "float32")
    rng = np.random.default_rng(3)
    u, dy = rng.standard_normal((2, 6, 5, plan.points), dtype=np.float32)
    k = rng.standard_normal((5, plan.points), dtype=np.float32)
    few, step = k[:, : plan.points // 8].copy(), plan.points // 2
    runs = [
        [
            kernels.convolve(plan, u, k, threads=t),
            *kernels.differentiate(plan, dy, u, k, threads=t)[:2],
            kernels.convolve(plan, u, few, step=step, threads=t),
            kernels.differentiate(plan, dy, u, few, step=step, threads=t)[1],
        ]
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
    with pytest.raises(ArgumentError, match=f"step=2041: expected 1 to {2 * plan.points - 4}"):
        kernels.convolve(plan, u, np.zeros((2, 5), np.float32), step=2041)
    with pytest.raises(ArgumentError, match="history=3: expected 0 or 4"):
        kernels.convolve(plan, u, np.zeros((2, 5), np.float32), step=20, history=3)
    with pytest.raises(ArgumentError, match="none with windows"):
        kernels.convolve(plan, u, k, step=20, before=u)
    with pytest.raises(ShapeError, match="live"):
        kernels.convolve(plan, u, k, live=np.ones(3, np.uint8))
    with pytest.raises(ArgumentError, match="radices"):
        kernels.chain(11, (11,), columns=False, twisted=True)
    with pytest.raises(ArgumentError, match="product"):
        kernels.chain(12, (4, 2), columns=False, twisted=True)
    empty = kernels.convolve(plan, u[:0], k)
    assert empty.shape == (0, 2, 8)
