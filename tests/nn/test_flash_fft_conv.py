"""Long convolutions against their definition: engines, gates, gradients, compiled graphs, caches, errors."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import calibrate_fft_conv, plan_fft_conv
from gossamer.linalg.transforms.fft_conv import rates
from gossamer.linalg.transforms.fft_conv.chains import PUBLISHED
from gossamer.nn import FlashFFTConv, HyenaBlock, LongConv
from gossamer.testing import check_module

ENGINES = ("auto", "codelet", "gemm", "fft")


def direct(u, k):
    """By definition, in float64."""
    rows = [
        [np.convolve(row, taps)[: u.shape[2]] for row, taps in zip(sequence, k.double().numpy(), strict=True)]
        for sequence in u.double().numpy()
    ]
    return torch.from_numpy(np.array(rows))


def by_fft(u, k, n=None):
    n = n or 2 * max(u.shape[2], k.shape[1])
    return torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : u.shape[2]]


def inputs(B, H, L, Lk, dtype=torch.float64, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(B, H, L), (H, Lk), (B, H, L), (B, H, L), (H,)]
    return [
        torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)
        for s in shapes
    ]


def tolerance(dtype, n):
    return {torch.float32: 2e-6, torch.float64: 1e-13}[dtype] * math.log2(n + 2)


@settings(deadline=None, max_examples=25)
@given(
    B=st.integers(1, 3), H=st.integers(1, 3), L=st.integers(1, 60), Lk=st.integers(1, 70),
    engine=st.sampled_from(ENGINES), dtype=st.sampled_from([torch.float32, torch.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_call_is_the_definition(B, H, L, Lk, engine, dtype, seed):
    u, k, pre, post, skip = inputs(B, H, L, Lk, dtype, seed)
    y = FlashFFTConv(engine=engine)(u, k, pre, post, skip)
    expected = post.double() * direct(pre * u, k) + skip.double()[:, None] * u.double()
    assert y.dtype == dtype
    assert (y.double() - expected).abs().max() <= 3 * tolerance(dtype, L + Lk) * expected.abs().max().clamp(
        min=1
    )


@pytest.mark.parametrize(
    ("L", "Lk"), [(512, 512), (1000, 1000), (4096, 64), (3 * 2**13, 3 * 2**13), (100_003, 1)]
)
def test_long_sequences_agree_with_scipy(L, Lk):
    u, k, *_ = inputs(1, 2, L, Lk, torch.float32)
    y = FlashFFTConv(engine="codelet")(u, k)
    expected = np.stack(
        [scipy.signal.fftconvolve(a, b)[:L] for a, b in zip(u[0].double(), k.double(), strict=True)]
    )
    assert np.abs(y[0].numpy() - expected).max() <= tolerance(torch.float32, 2 * L) * np.abs(expected).max()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("L", [16, 105, 256])
def test_circular_convolutions_wrap_around_and_commute_with_shifts(engine, L):
    u, k, *_ = inputs(3, 2, L, L)
    conv = FlashFFTConv(engine=engine)
    y = conv(u, k, circular=True)
    assert torch.allclose(y, by_fft(u, k, L), atol=1e-11)
    assert torch.allclose(conv(u.roll(5, 2), k, circular=True), y.roll(5, 2), atol=1e-11)


def test_other_lengths_wrap_around_by_scipys_transforms():
    u, k, *_ = inputs(2, 2, 11, 11)
    conv = FlashFFTConv()
    assert conv.explain(u, k, circular=True).engine == "fft"
    assert torch.allclose(conv(u, k, circular=True), by_fft(u, k, 11))
    with pytest.raises(ArgumentError, match="nearest valid: 12"):
        FlashFFTConv(engine="codelet")(u, k, circular=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("circular", [False, True])
def test_gradients_of_everything_to_second_order(engine, circular):
    args = inputs(2, 2, 12, 12, grad=True)
    conv = FlashFFTConv(engine=engine)

    def call(*args):
        return conv(*args, circular=circular)

    assert torch.autograd.gradcheck(call, args, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, args, fast_mode=True)


def test_gradients_of_long_sequences_agree_with_those_of_torch():
    u, k, pre, post, skip = inputs(2, 3, 5000, 5000, torch.float32, grad=True)
    weight = torch.randn(2, 3, 5000)
    ours = torch.autograd.grad(
        (FlashFFTConv()(u, k, pre, post, skip) * weight).sum(), (u, k, pre, post, skip)
    )
    theirs = torch.autograd.grad(
        ((post * by_fft(pre * u, k) + skip[:, None] * u) * weight).sum(), (u, k, pre, post, skip)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def test_the_transpose_is_the_correlation():
    u, k, *_ = inputs(1, 2, 300, 300)
    v = torch.randn(1, 2, 300, dtype=torch.float64)
    u.requires_grad_()
    y = FlashFFTConv()(u, k)
    (back,) = torch.autograd.grad(y, u, v)
    assert torch.allclose((y * v).sum(), (u * back).sum())


def test_impulses_pass_and_delay():
    u, *_ = inputs(1, 1, 700, 1, torch.float32)
    k = torch.zeros(1, 700)
    k[0, 0] = 1
    assert torch.allclose(FlashFFTConv()(u, k), u, atol=1e-5)
    last = torch.zeros(1, 700)
    last[0, -1] = 1
    y = FlashFFTConv()(u, last)
    assert y[..., :-1].abs().max() < 1e-5
    assert torch.allclose(y[..., -1], u[..., 0], atol=1e-5)


@pytest.mark.parametrize("engine", ["codelet", "gemm", "fft"])
def test_bfloat16_is_computed_in_float32(engine):
    u, k, pre, post, skip = inputs(2, 3, 500, 500, torch.bfloat16, grad=True)
    y = FlashFFTConv(engine=engine)(u, k, pre, post, skip)
    wide = [x.detach().float().requires_grad_() for x in (u, k, pre, post, skip)]
    expected = wide[3] * by_fft(wide[2] * wide[0], wide[1]) + wide[4][:, None] * wide[0]
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() <= 1e-2 * expected.abs().max()
    ours = torch.autograd.grad(y.float().sum(), (u, k, pre, post, skip))
    theirs = torch.autograd.grad(expected.sum(), wide)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).abs().max() <= 1e-2 * b.abs().max()


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("L", "circular", "factors"), [(700, False, None), (256, True, (16, 16)), (60, False, (4, 15))]
)
def test_products_in_bfloat16_have_sums_and_twiddles_of_float32(held, L, circular, factors):
    args = inputs(3, 5, L, L, held, grad=True)
    conv = FlashFFTConv(dtype=torch.bfloat16, factors=factors)
    plan = conv.explain(args[0], args[1], circular)
    assert (plan.engine, plan.dtype, plan.sums) == ("gemm", "bfloat16", "float32")
    wide = [x.detach().double().requires_grad_() for x in args]
    exact = FlashFFTConv(dtype=torch.float64)
    ys = [c(*x, circular=circular) for c, x in ((conv, args), (exact, wide))]
    weight = torch.randn(ys[0].shape, dtype=torch.float64)
    grads = [
        torch.autograd.grad((y.double() * weight).sum(), x) for y, x in zip(ys, (args, wide), strict=True)
    ]
    assert ys[0].dtype == held
    # as much as rounding the input and the matrix of every factor: 2^-9 each, at random, over a few factors
    for a, b in zip((ys[0], *grads[0]), (ys[1], *grads[1]), strict=True):
        assert (a.double() - b).square().mean().sqrt() <= 1e-2 * b.square().mean().sqrt()


def test_products_in_bfloat16_err_no_more_on_long_sequences():
    errors = []
    for L in (256, 4096, 16384):
        u, k, *_ = inputs(1, 2, L, L, torch.float32)
        y, exact = FlashFFTConv(dtype=torch.bfloat16)(u, k), by_fft(u.double(), k.double())
        errors.append(float((y - exact).square().mean().sqrt() / exact.square().mean().sqrt()))
    assert max(errors) < 1e-2
    assert errors[-1] < 2.5 * errors[0]


def test_a_dtype_is_that_of_the_arithmetic_not_of_the_result():
    u, k, *_ = inputs(1, 2, 300, 300, torch.float32)
    fine, exact = FlashFFTConv(dtype=torch.float64)(u, k), by_fft(u.double(), k.double())
    assert fine.dtype == torch.float32
    assert torch.equal(fine, exact.float()) or (fine - exact).abs().max() < 1e-7 * exact.abs().max()
    rough = FlashFFTConv(dtype=torch.float32)(u.double(), k.double())
    assert rough.dtype == torch.float64
    assert 1e-9 < (rough - exact).abs().max() / exact.abs().max() < 1e-5
    with pytest.raises(ArgumentError, match="dtype"):
        FlashFFTConv(dtype=torch.float16)


def test_factors_of_the_publication():
    for L, factors in ((256, (16, 16)), (1000, (32, 32)), (32768, (32, 32, 32)), (60000, (16,) * 4)):
        assert plan_fft_conv(L, factors="paper").factors == factors
    assert [math.prod(f) for f in PUBLISHED.values()] == list(PUBLISHED)
    u, k, *_ = inputs(2, 3, 600, 600)
    assert torch.allclose(FlashFFTConv(factors="paper")(u, k), by_fft(u, k))
    u, k, *_ = inputs(2, 3, 256, 256)
    assert torch.allclose(FlashFFTConv(factors="paper")(u, k, circular=True), by_fft(u, k, 256))
    with pytest.raises(ArgumentError, match="one of"):
        plan_fft_conv(300, factors="paper", circular=True)
    with pytest.raises(ArgumentError, match="'paper'"):
        FlashFFTConv(factors="papre")


@pytest.mark.parametrize("options", [{}, {"factors": "paper"}, {"factors": (5, 16), "dtype": torch.bfloat16}])
def test_compiled_graphs_hold_one_operator(options):
    args = inputs(2, 3, 40, 40, torch.float32, grad=True)
    conv = FlashFFTConv(**options)

    def step(u, k, pre, post, skip):
        return conv(2 * u, k, pre, post, skip).sin()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    y, expected = compiled(*args), step(*args)
    assert torch.allclose(y, expected, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(y.sum(), args), torch.autograd.grad(expected.sum(), args), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-4)
    torch.library.opcheck(
        torch.ops.gossamer.fft_conv, (*args, None, False, False, "auto", None, None),
        test_utils=("test_schema", "test_faketensor"),
    )  # fmt: skip


def test_spectra_of_an_unchanged_filter_are_kept_in_evaluation_only():
    conv = FlashFFTConv().eval()
    u, k, *_ = inputs(1, 2, 300, 300)
    with torch.no_grad():
        first, _, third = conv(u, k), conv(u, k), conv(u, k)
        assert torch.allclose(first, third)
        assert conv._kept[3] is not None
        k.mul_(2)
        assert torch.allclose(conv(u, k), 2 * first)
        assert torch.allclose(conv(u, k), 2 * first)
        for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
            assert torch.allclose(twin(u, k), 2 * first)


def test_what_is_not_finite_stays_in_its_row():
    u, k, *_ = inputs(3, 2, 50, 50)
    u[1, 0, 10] = math.nan
    for circular in (False, True):
        y = FlashFFTConv()(u, k, circular=circular)
        bad = y.isnan().any(dim=2)
        assert bad[1, 0]
        assert bad.sum() == 1


def test_an_empty_batch_and_copies():
    conv = FlashFFTConv()
    u, k, *_ = inputs(1, 2, 40, 40)
    assert conv(u[:0], k).shape == (0, 2, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.allclose(conv(u.transpose(1, 2).contiguous().transpose(1, 2), k), conv(u, k))
    assert torch.allclose(conv(u, k[None]), conv(u, k))


def test_plans_say_what_runs():
    plan = plan_fft_conv(4096, channels=64, batch=8, engine="codelet")
    assert plan.size >= 8191
    assert math.prod(plan.factors) == plan.points == plan.size // 2
    assert "asked for" in str(plan)
    chosen = plan_fft_conv(100, engine="codelet", factors=(5, 5, 4))
    assert chosen.factors == (5, 5, 4)
    assert plan_fft_conv(512, engine="gemm").factors == (32, 16)
    before = rates.current_rates()
    try:
        measured = calibrate_fft_conv(repeats=1)
        assert measured.measured
        assert plan_fft_conv(1024).seconds > 0
    finally:
        rates._rates = before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fft_size": 50}, "at least L \\+ taps - 1 = 79"),
        ({"engine": "codelet", "factors": (11, 10)}, "each of"),
        ({"engine": "codelet", "factors": (4, 4)}, "product of 40"),
        ({"engine": "gemm", "factors": (129, 2)}, "from 2 to 128"),
        ({"engine": "codelet", "factors": "paper"}, "expected 'gemm'"),
        ({"engine": "fft", "dtype": torch.bfloat16}, "expected 'gemm'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    u, k, *_ = inputs(1, 2, 40, 40)
    with pytest.raises(ArgumentError, match=message):
        FlashFFTConv(**options)(u, k)


def test_aliases_are_taken_when_allowed():
    u, k, *_ = inputs(1, 2, 40, 40)
    assert torch.allclose(FlashFFTConv(50, allow_alias=True)(u, k), by_fft(u, k, 50))
    assert torch.allclose(FlashFFTConv(96)(u, k), by_fft(u, k))


def test_bad_inputs_are_refused_by_name():
    u, k, *_ = inputs(1, 2, 40, 40)
    conv = FlashFFTConv()
    with pytest.raises(ShapeError, match="k has shape"):
        conv(u, k[:1])
    with pytest.raises(ShapeError, match="u has shape"):
        conv(u[0], k)
    with pytest.raises(ShapeError, match="pregate has shape"):
        conv(u, k, pregate=u[..., :7])
    with pytest.raises(ShapeError, match="skip has shape"):
        conv(u, k, skip=k)
    with pytest.raises(UnsupportedError, match="complex"):
        conv(u.to(torch.complex128), k)
    with pytest.raises(ArgumentError, match="engine"):
        FlashFFTConv(engine="fftw")


def test_layers_keep_the_contract_and_do_not_look_ahead():
    torch.manual_seed(0)
    x = torch.randn(2, 40, 8)
    for layer in (LongConv(8, 40), HyenaBlock(8, 40), HyenaBlock(8, 40, order=3)):
        check_module(layer, x)
        later = x.clone()
        later[:, 25:] += 1
        assert torch.allclose(layer(x)[:, :25], layer(later)[:, :25], atol=1e-5)
        assert not torch.allclose(layer(x)[:, 25:], layer(later)[:, 25:], atol=1e-3)
