"""Partial and frequency-sparse convolutions against dense ones, and short depthwise ones against torch's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transforms.fft_conv.chains import spectrum_order
from gossamer.linalg.transforms.fft_conv.windows import choose_windows
from gossamer.nn import DepthwiseConv1d, FlashFFTConv, FrequencySparseFFTConv, PartialFFTConv, pattern_for
from gossamer.testing import check_module


def short(u, k):
    """torch's convolution with the filter turned around."""
    padded = torch.nn.functional.pad(u, (k.shape[1] - 1, 0))
    return torch.nn.functional.conv1d(padded, k.flip(1)[:, None], groups=len(k))


@pytest.mark.parametrize(
    ("L", "taps", "chunk"), [(1, 1, None), (50, 70, None), (9000, 70, None), (700, 33, 100), (40_000, 1, 64)]
)
def test_a_partial_convolution_and_its_gradients_are_those_of_the_first_taps(L, taps, chunk):
    torch.manual_seed(0)
    u = torch.randn(2, 3, L, dtype=torch.float64, requires_grad=True)
    k = torch.randn(3, taps + 5, dtype=torch.float64, requires_grad=True)
    y, expected = PartialFFTConv(taps, chunk)(u, k), short(u, k[:, :taps])
    assert torch.allclose(y, expected)
    weight = torch.randn_like(y)
    for a, b in zip(*(torch.autograd.grad((z * weight).sum(), (u, k)) for z in (y, expected)), strict=True):
        assert torch.allclose(a, b)
    assert (torch.autograd.grad(PartialFFTConv(taps, chunk)(u, k).sum(), k)[0][:, taps:] == 0).all()


def test_partial_convolutions_in_bfloat16_keep_the_dtype_and_to_second_order_the_gradients():
    torch.manual_seed(5)
    u = torch.randn(2, 3, 3000, dtype=torch.bfloat16, requires_grad=True)
    k = torch.randn(3, 40, requires_grad=True)
    y, expected = PartialFFTConv(40)(u, k), short(u.float(), k)
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() <= 1e-2 * expected.abs().max()
    ours, theirs = (torch.autograd.grad(z.float().sum(), (u, k)) for z in (y, expected))
    assert ours[0].dtype == torch.bfloat16
    for a, b in zip(ours, theirs, strict=True):
        assert (a.float() - b.float()).abs().max() <= 2e-2 * b.float().abs().max()
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((1, 2, 9), (2, 4))]
    assert torch.autograd.gradgradcheck(PartialFFTConv(4), leaves, fast_mode=True)


@pytest.mark.parametrize(("length", "taps"), [(131072, 8192), (4_000_000, 16), (5000, 4000), (1, 1)])
def test_windows_hold_what_they_say_and_are_the_cheapest_of_their_kind(length, taps):
    windows = choose_windows(length, taps)
    assert windows.step + taps - 1 == 2 * windows.points == 2 * windows.chain().points
    assert windows.step * windows.count >= length
    for chunk in (taps, 4 * taps, length):
        assert choose_windows(length, taps, chunk=chunk).seconds >= windows.seconds * (1 - 1e-9)
    assert "windows a row" in str(windows)


@settings(deadline=None, max_examples=20)
@given(pieces=st.lists(st.integers(0, 90), min_size=1, max_size=8), taps=st.integers(1, 40))
def test_streams_give_the_same_however_the_input_is_cut(pieces, taps):
    torch.manual_seed(1)
    pieces = [1, *pieces]
    u, k = torch.randn(2, 3, sum(pieces), dtype=torch.float64), torch.randn(3, taps, dtype=torch.float64)
    stream = PartialFFTConv(taps).stream(k)
    y = torch.cat([stream.step(piece) for piece in u.split(pieces, dim=2)], dim=2)
    assert torch.allclose(y, short(u, k), atol=1e-10)
    with pytest.raises(ShapeError, match="as before"):
        stream.step(u[:1])


def odd_spectrum_convolution(u, k, n, kept):
    """By definition, on odd multiples of pi / n: keep a set of them, multiply, transform back by the matrix."""
    j = np.arange(n)
    F = np.exp(-1j * math.pi * np.outer(2 * j + 1, j) / n)
    padded = np.zeros((*u.shape[:-1], n))
    padded[..., : u.shape[-1]] = u
    filters = np.zeros((len(k), n))
    filters[:, : k.shape[1]] = k
    Y = (padded @ F.T) * (filters @ F.T) * kept
    y = Y @ F.conj() / n
    assert np.abs(y.imag).max() < 1e-9 * max(np.abs(y.real).max(), 1e-9)
    return y.real[..., : u.shape[-1]]


@pytest.mark.parametrize(
    "options",
    [
        {"sparsity": 0.5},
        {"sparsity": 0.9},
        {"pattern": (1, 3)},
        {"pattern": (0, 2, 5)},
        {"n_partial": 300},
        {"n_partial": 200},
        {"n_partial": 60},
        {"n_partial": 1},
    ],
)
def test_what_is_left_out_is_zero_in_the_spectrum_and_the_result_is_real(options):
    torch.manual_seed(2)
    u, k = torch.randn(2, 2, 500, dtype=torch.float64), torch.randn(2, 500, dtype=torch.float64)
    conv = FrequencySparseFFTConv(**options)
    plan = conv.explain(u, k)
    mask, n = conv.mask(plan), plan.size
    kept = np.zeros(n, bool)
    places = (2 * spectrum_order(plan.factors)[mask] - 1) % n
    kept[places] = kept[(-places - 1) % n] = True
    assert kept.mean() == mask.mean()
    expected = odd_spectrum_convolution(u.numpy(), k.numpy(), n, kept)
    assert np.abs(conv(u, k).numpy() - expected).max() < 1e-10
    wide, filters = u.clone().requires_grad_(), k.clone().requires_grad_()
    y = conv(wide, filters)
    assert np.abs(y.detach().numpy() - expected).max() < 1e-10
    (grad,) = torch.autograd.grad(y, wide, torch.ones_like(y))
    v = torch.randn_like(u)
    assert torch.allclose((conv(v, k)).sum(), (v * grad).sum())


@pytest.mark.parametrize(
    "options",
    [{"sparsity": 0.5}, {"sparsity": 0.97}, {"pattern": (0, 2, 5)}, {"n_partial": 300}, {"n_partial": 60}],
)
@pytest.mark.parametrize("taps", [40, 500, 900, 3000])
def test_gradients_of_what_is_kept_skip_as_much_and_are_those_of_the_definition(options, taps):
    torch.manual_seed(6)
    shapes = ((2, 2, 500), (2, taps), (2, 2, 500), (2, 2, 500), (2,))
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    conv = FrequencySparseFFTConv(**options)
    y = conv(*leaves)
    weight = torch.randn_like(y)
    native = torch.autograd.grad(y, leaves, weight, retain_graph=True)
    composed = torch.autograd.grad(y, leaves, weight, create_graph=True)
    for a, b in zip(native, composed, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    short = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((1, 1, 9), (1, 5))]
    assert torch.autograd.gradcheck(FrequencySparseFFTConv(sparsity=0.5), short, fast_mode=True)
    assert torch.autograd.gradgradcheck(FrequencySparseFFTConv(sparsity=0.5), short, fast_mode=True)


def test_skipped_tiles_are_those_that_the_pattern_predicts():
    u, k = torch.randn(1, 2, 8192), torch.randn(2, 8192)
    dense = FrequencySparseFFTConv(pattern=(0,))
    assert torch.equal(dense(u, k), FlashFFTConv(engine="codelet")(u, k))
    for sparsity in (0.5, 0.75):
        kept, computed = FrequencySparseFFTConv(sparsity=sparsity).kept(u, k)
        assert kept == computed == 1 - sparsity
    for width, computed in ((12000, 1), (4096, 1 / 2), (2000, 1 / 4), (900, 1 / 8), (50, 1 / 16)):
        low = FrequencySparseFFTConv(n_partial=width)
        assert low.kept(u, k) == (width / low.explain(u, k).size, computed)


@pytest.mark.parametrize("width", [4096, 500])
def test_low_frequencies_alone_are_as_exact_in_float32_and_take_gates(width):
    torch.manual_seed(7)
    u, k, pre, post = torch.randn(4, 2, 2, 8192)[:, :, :, :8000]
    u, k, pre, post = (x.contiguous() for x in (u, k, pre, post))
    k, skip = k[0], torch.randn(2)
    conv = FrequencySparseFFTConv(n_partial=width)
    exact = conv(*(x.double() for x in (u, k, pre, post, skip)))
    if conv.explain(u, k).size == conv.explain(u.double(), k.double()).size:
        assert (conv(u, k, pre, post, skip) - exact).abs().max() <= 2e-6 * 14 * exact.abs().max()
    half = conv(*(x.bfloat16() for x in (u, k, pre, post, skip)))
    assert half.dtype == torch.bfloat16
    assert (half.double() - exact).abs().max() <= 3e-2 * exact.abs().max()


def test_patterns_of_the_paper():
    factors = (32, 32, 32, 32)
    assert [pattern_for(s, factors) for s in (0.0, 0.5, 0.75)] == [
        (0, 0, 0, 0),
        (16, 0, 0, 0),
        (16, 16, 0, 0),
    ]
    for sparsity in (0.3, 0.79, 0.84, 0.91, 0.99):
        kept = math.prod(1 - a / 32 for a in pattern_for(sparsity, factors))
        assert abs(kept - (1 - sparsity)) < 0.02
    with pytest.raises(ArgumentError, match="sparsity"):
        pattern_for(1.0, factors)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pattern": (1,), "sparsity": 0.5},
        {"n_partial": 4, "mode": "block"},
        {"sparsity": 0.5, "mode": "lowpass"},
    ],
)
def test_contradictory_options_are_refused(options):
    with pytest.raises(ArgumentError, match="mode"):
        FrequencySparseFFTConv(**options)


@pytest.mark.parametrize("layout", ["BCL", "BLC"])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 31])
@pytest.mark.parametrize("padding", [None, 0, 2, 30])
@pytest.mark.parametrize("L", [1, 40])
def test_a_short_convolution_and_its_gradients_are_those_of_torch(layout, taps, padding, L):
    torch.manual_seed(3)
    layer = DepthwiseConv1d(5, taps, padding, layout=layout).double()
    x = torch.randn(2, 5, L, dtype=torch.float64, requires_grad=True)
    if padding is not None and L + 2 * padding < taps:
        with pytest.raises(ArgumentError, match="length"):
            layer(x if layout == "BCL" else x.transpose(1, 2))
        return
    y = layer(x) if layout == "BCL" else layer(x.transpose(1, 2)).transpose(1, 2)
    expected = torch.nn.functional.conv1d(
        x, layer.weight[:, None], layer.bias, padding=taps - 1 if padding is None else padding, groups=5
    )
    expected = expected[..., :L] if padding is None else expected
    assert torch.allclose(y, expected)
    leaves = (x, layer.weight, layer.bias)
    for a, b in zip(*(torch.autograd.grad(z.sin().sum(), leaves) for z in (y, expected)), strict=True):
        assert torch.allclose(a, b)


def test_short_convolutions_in_bfloat16_and_to_second_order():
    torch.manual_seed(4)
    layer = DepthwiseConv1d(6, 4)
    check_module(layer, torch.randn(2, 6, 30))
    half = DepthwiseConv1d(6, 4).bfloat16()
    x = torch.randn(2, 6, 100, dtype=torch.bfloat16, requires_grad=True)
    y = half(x)
    wide = torch.nn.functional.conv1d(
        torch.nn.functional.pad(x.float(), (3, 0)), half.weight.float()[:, None], half.bias.float(), groups=6
    )
    assert (y.float() - wide).abs().max() <= 1e-2 * wide.abs().max()
    for a, b in zip(
        *(torch.autograd.grad(z.float().sum(), (x, half.weight)) for z in (y, wide)), strict=True
    ):
        assert (a.float() - b.float()).abs().max() <= 1e-2 * b.float().abs().max()
    layer = DepthwiseConv1d(2, 3, 1).double()
    x = torch.randn(1, 2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,), fast_mode=True)
    with pytest.raises(ArgumentError, match="kernel_size"):
        DepthwiseConv1d(2, 32)
    with pytest.raises(ShapeError, match="x has shape"):
        layer(x[:, :1])
