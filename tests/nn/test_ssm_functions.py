"""Functions of state-space models: kernels, scans, transfer functions, attacks."""

import math

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import hippo, hippo_normal
from gossamer.nn import (
    S4,
    S4D,
    S4PTD,
    S5,
    associative_scan,
    fourier_attack,
    functional,
    impulse_response,
    spike_frequency,
    ssm_kernel,
    ssm_scan,
    transfer_function,
    transfer_gap,
)
from gossamer.nn.ssm.convolution import causal_conv
from gossamer.nn.ssm.discretize import complex_expm1, discretize
from gossamer.nn.ssm.driven import driven_scan
from gossamer.nn.ssm.kernel import vandermonde


def complex_(*shape):
    return torch.randn(*shape, dtype=torch.complex128)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_small_exponents_keep_their_digits():
    x = torch.tensor([1e-9 + 1e-9j, -1e-12j, -3 + 2j, 1e-4 - 7j], dtype=torch.complex128)
    a, b = x.numpy().real, x.numpy().imag
    wide = np.expm1(a) * np.cos(b) - 2 * np.sin(b / 2) ** 2 + 1j * np.exp(a) * np.sin(b)
    np.testing.assert_allclose(complex_expm1(x).numpy(), wide, rtol=1e-14)
    assert complex_expm1(x)[0].real == pytest.approx(1e-9, rel=1e-8)


@pytest.mark.parametrize("disc", ["zoh", "bilinear"])
def test_discretisation_is_that_of_scipy(disc):
    import scipy.signal

    A, B = hippo(6)
    w, V = np.linalg.eig(A)
    dense = scipy.signal.cont2discrete((A, B[:, None], np.eye(6), np.zeros((6, 1))), 0.05, method=disc)
    Lbar, Bbar = discretize(
        torch.from_numpy(w.astype(complex)),
        torch.from_numpy(np.linalg.solve(V, B).astype(complex)),
        torch.tensor(0.05),
        disc,
    )
    np.testing.assert_allclose((V * Lbar.numpy()) @ np.linalg.inv(V), dense[0], atol=1e-8)
    np.testing.assert_allclose(V @ Bbar.numpy(), dense[1][:, 0], atol=1e-8)


@pytest.mark.parametrize("disc", ["zoh", "bilinear"])
def test_the_kernel_is_the_impulse_response_of_the_recurrence(disc):
    Lambda, B, C, dt = (
        -torch.rand(2, 3) + 3j * torch.rand(2, 3),
        complex_(2, 3),
        complex_(2, 3),
        torch.rand(2),
    )
    Lambda, dt, weights = Lambda.to(torch.complex128), dt.double(), torch.tensor([2.0, 1.0, 2.0]).double()
    K = ssm_kernel(Lambda, B, C, dt, 80, weights, disc)
    Lbar, Bbar = discretize(Lambda, B, dt[:, None], disc)
    state = Bbar
    for k in range(80):
        torch.testing.assert_close(K[:, k], (weights * C * state).real.sum(-1), atol=1e-11, rtol=0)
        state = Lbar * state
    shared = ssm_kernel(Lambda[0], B, C, dt, 10, weights, disc)
    torch.testing.assert_close(shared, ssm_kernel(Lambda[:1].expand(2, 3), B, C, dt, 10, weights, disc))


def test_kernels_and_scans_have_the_gradients_of_finite_differences():
    c, z = complex_(2, 3).requires_grad_(), (0.3 * complex_(2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda c, z: vandermonde(c, z, 70), (c, z))
    a, b = (0.3 * complex_(5)).requires_grad_(), complex_(2, 9, 5).requires_grad_()
    x0 = complex_(2, 5).requires_grad_()
    for reverse in (False, True):
        assert torch.autograd.gradcheck(lambda a, b, x0, r=reverse: ssm_scan(a, b, x0, r), (a, b, x0))
        assert torch.autograd.gradcheck(lambda a, b, r=reverse: ssm_scan(a, b, None, r), (a, b))
    assert torch.autograd.gradcheck(lambda x: vandermonde(x.conj(), x, 5), (z,))  # lazily conjugated inputs


def test_lazily_conjugated_and_negated_tensors_are_taken():
    a, b = 0.5 * complex_(3), complex_(2, 6, 3)
    torch.testing.assert_close(ssm_scan(a.conj(), b.conj()), ssm_scan(a, b).conj().resolve_conj())
    negated = torch._neg_view(b).requires_grad_()
    torch.testing.assert_close(ssm_scan(a, negated), -ssm_scan(a, b))
    c = complex_(2, 3).requires_grad_()
    K = vandermonde(c, 0.5 * c.detach(), 7)
    (slope,) = torch.autograd.grad(K, c, torch._neg_view(torch.ones_like(K)))
    torch.testing.assert_close(slope, -torch.autograd.grad(vandermonde(c, 0.5 * c.detach(), 7).sum(), c)[0])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_driven_scan_is_a_scan_between_two_products(reverse):
    u, a = torch.randn(2, 9, 3).double().requires_grad_(), (0.3 * complex_(4)).requires_grad_()
    B, C, x0 = (
        complex_(4, 3).requires_grad_(),
        complex_(3, 4).requires_grad_(),
        complex_(2, 4).requires_grad_(),
    )
    y, last = driven_scan(u, a, B, C, x0, reverse)
    states = ssm_scan(a, u.to(B.dtype) @ B.T, x0, reverse)
    torch.testing.assert_close(y, (states @ C.T).real)
    torch.testing.assert_close(last, states[:, 0 if reverse else -1])
    assert torch.autograd.gradcheck(lambda *t: driven_scan(*t, reverse), (u, a, B, C, x0))
    assert torch.autograd.gradcheck(lambda u: driven_scan(u, a, B, C.conj(), x0, reverse)[0], (u,))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_the_associative_scan_is_the_recurrence(length):
    a, b = complex_(2, length, 3), complex_(2, length, 3)
    state, expected = torch.zeros(2, 3, dtype=torch.complex128), []
    for k in range(length):
        state = a[:, k] * state + b[:, k]
        expected.append(state)
    torch.testing.assert_close(associative_scan(a, b), torch.stack(expected, 1), rtol=1e-9, atol=1e-9)
    constant = 0.5 * complex_(3)
    torch.testing.assert_close(associative_scan(constant.expand_as(b), b), ssm_scan(constant, b))


def test_the_associative_scan_is_differentiable():
    a, b = (complex_(1, 5, 2).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(associative_scan, (a, b))


def test_functions_are_found_among_functions():
    assert functional.ssm_scan is ssm_scan
    assert functional.ssm_kernel is ssm_kernel


def test_a_scan_goes_on_where_another_ended():
    a, b = 0.9 * torch.exp(1j * torch.rand(4)).to(torch.complex64), complex_(2, 50, 4).to(torch.complex64)
    whole, first = ssm_scan(a, b), ssm_scan(a, b[:, :20])
    second = ssm_scan(a, b[:, 20:], first[:, -1])
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


@pytest.mark.parametrize("complex_rows", [False, True])
@pytest.mark.parametrize("complex_kernel", [False, True])
def test_convolution_is_that_of_numpy(complex_rows, complex_kernel):
    u, k = (
        torch.randn(shape, dtype=torch.complex128 if kind else torch.float64)
        for shape, kind in (((2, 3, 37), complex_rows), ((3, 37), complex_kernel))
    )
    expected = [[np.convolve(u[b, h], k[h])[:37] for h in range(3)] for b in range(2)]
    np.testing.assert_allclose(causal_conv(u, k), np.array(expected), atol=1e-12)


@pytest.mark.parametrize(
    "layer", [S4D(3, 8), S4PTD(3, 16), S4(3, 7), S5(3, 8, 2), S5(3, 6, 1, "lin", disc="bilinear")]
)
def test_the_discrete_transfer_function_is_the_transform_of_the_impulse_response(layer):
    layer = layer.double()
    with torch.no_grad():
        layer.log_dt.fill_(math.log(0.2))
    omegas = torch.tensor([0.0, 0.4, 2.0, 3.1]).double()
    K = impulse_response(layer, 2000)
    waves = torch.polar(torch.ones(2000, 4).double(), -torch.arange(2000).double()[:, None] * omegas)
    expected = (K.to(waves.dtype) @ waves).movedim(-1, 0)
    torch.testing.assert_close(
        transfer_function(layer, omegas, discrete=True), expected, atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("layer", [S4D(3, 8), S4PTD(3, 16), S4(3, 8), S5(3, 8, 2), S5(3, 16, 1, "ptd")])
def test_the_continuous_transfer_function_is_the_limit_of_small_steps(layer):
    layer = layer.double()
    with torch.no_grad():
        layer.log_dt.fill_(math.log(1e-5))
    omegas = torch.tensor([0.0, 2.0, 30.0]).double()
    steps = transfer_function(layer, omegas * 1e-5, discrete=True)
    torch.testing.assert_close(transfer_function(layer, omegas), steps, atol=5e-3, rtol=5e-3)


def test_s4_and_hippo_have_the_same_transfer_function():
    layer = S4(2, 16).double()
    A, B = hippo(16)
    V = hippo_normal(16).V
    half = torch.view_as_complex(layer.C.detach())[0].numpy()
    C = np.concatenate([half, half.conj()], axis=1) @ V.conj().T
    s = 3.7j
    expected = C @ np.linalg.solve(s * np.eye(16) - A, B.astype(complex)) + layer.D.detach().numpy()
    np.testing.assert_allclose(transfer_function(layer, [3.7])[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("n", [8, 32, 128])
def test_dropping_the_low_rank_term_has_the_spike_of_the_theory(n):
    gap, omega = transfer_gap("legs", n)
    assert gap == pytest.approx(2 * n / np.pi, rel=0.07 if n < 16 else 0.02)
    assert omega == pytest.approx(n**2 / np.pi, rel=0.07 if n < 16 else 0.02)


def test_perturbing_is_close_to_hippo_where_dropping_is_not():
    for n, rel in ((16, 0.01), (64, 0.01)):
        assert transfer_gap("ptd", n, rel=rel)[0] <= 3
        assert transfer_gap("ptd", n, rel=rel)[0] < transfer_gap("legs", n)[0] / 10
    assert transfer_gap("ptd", 16, [1.0], rel=0.01)[1] == 1.0
    assert transfer_gap("random", 32, rel=0.01)[0] > 3 * transfer_gap("ptd", 32, rel=0.01)[0]


def test_an_attack_adds_one_mode():
    u = torch.randn(3, 128, 2)
    noise = fourier_attack(u, 17, 0.5, torch.tensor([0.0, 1.0, 2.0])) - u
    spectrum = torch.fft.rfft(noise, dim=1).abs()
    torch.testing.assert_close(spectrum[:, 17], torch.full((3, 2), 0.5 * 64), rtol=1e-4, atol=1e-4)
    spectrum[:, 17] = 0
    assert spectrum.max() < 1e-3


def test_the_spike_is_where_the_discretised_layer_has_it():
    for disc in ("zoh", "bilinear"):
        layer = S4D(1, 16, "legs", disc=disc).double()
        with torch.no_grad():
            layer.log_dt.fill_(math.log(0.05))
            layer.D.zero_()
        h = hippo_normal(16)
        place = int(np.argmax(np.abs(h.p[:8] / 0.5)))  # the mode that spikes
        with torch.no_grad():
            layer.C.zero_()
            layer.C[0, 0, place, 0] = 1
        omegas = torch.linspace(0, math.pi, 4000).double()
        peak = omegas[transfer_function(layer, omegas, discrete=True)[:, 0].abs().argmax()]
        assert spike_frequency(16, 0.05, 1000, disc) == pytest.approx(
            1000 * float(peak) / (2 * math.pi), rel=0.02
        )


def test_wrong_tensors_are_refused():
    x = complex_(2, 3)
    with pytest.raises(ShapeError, match=r"expected \(H, N\) or"):
        ssm_kernel(x, x, x[:1], torch.ones(2), 4)
    with pytest.raises(ArgumentError, match="disc='euler'"):
        ssm_kernel(x, x, x, torch.ones(2), 4, disc="euler")
    with pytest.raises(ArgumentError, match="L=-1"):
        ssm_kernel(x, x, x, torch.ones(2), -1)
    with pytest.raises(UnsupportedError, match=r"Bu is torch\.float32"):
        ssm_scan(x[0], torch.ones(1, 2, 3))
    with pytest.raises(UnsupportedError, match="on meta"):
        ssm_scan(x[0], torch.ones(1, 2, 3, dtype=torch.complex64, device="meta"))
    with pytest.raises(ShapeError, match="Lbar is"):
        ssm_scan(x[0, :2], complex_(1, 4, 3))
    with pytest.raises(ShapeError, match="x0 is"):
        ssm_scan(x[0], complex_(1, 4, 3), x)
    with pytest.raises(ShapeError, match=r"expected \(B, L, P\) twice"):
        associative_scan(x, x)
    with pytest.raises(UnsupportedError, match="layer is a Linear"):
        transfer_function(torch.nn.Linear(1, 1), [1.0])
    with pytest.raises(ArgumentError, match="name='s4'"):
        transfer_gap("s4", 8)
    with pytest.raises(ShapeError, match=r"u has shape \(3,\)"):
        fourier_attack(torch.ones(3), 1, 1)
    with pytest.raises(ArgumentError, match="dt=0"):
        spike_frequency(8, 0, 10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 64, 150])
def test_blocks_of_time_change_nothing(monkeypatch, reverse, length):
    from gossamer.nn.ssm import driven

    u, B, C = torch.randn(3, length, 2).double(), complex_(4, 2), complex_(2, 4)
    a, x0 = 0.9 * torch.exp(1j * torch.rand(4).double()), complex_(3, 4)
    inputs = [t.detach().requires_grad_() for t in (u, a, B, C, x0)]
    found = []
    for block in (1, 1 << 18):  # at least 64 steps
        monkeypatch.setattr(driven, "_BLOCK", block)
        y, last = driven.driven_scan(*inputs, reverse)
        found.append([y, last, *torch.autograd.grad(y.square().sum() + last.abs().square().sum(), inputs)])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    expected = (C @ ssm_scan(a, u.to(B.dtype) @ B.T, x0, reverse).mT).mT.real
    torch.testing.assert_close(found[0][0], expected)
