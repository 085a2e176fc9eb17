"""State-space layers: three modes, one result; dense systems as oracles."""

import numpy as np
import pytest
import scipy.signal
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import hippo, hippo_normal, hippo_ptd
from gossamer.nn import (
    S4,
    S4D,
    S4PTD,
    S5,
    S5PTD,
    SequenceClassifier,
    SSMBlock,
    impulse_response,
    ssm_param_groups,
)
from gossamer.testing import check_module

MAKERS = {
    "s4": lambda **o: S4(3, 8, **o),
    "s4-odd": lambda **o: S4(2, 7, **o),
    "s4d-legs": lambda **o: S4D(3, 8, **o),
    "s4d-legs-odd": lambda **o: S4D(3, 7, disc="bilinear", **o),
    "s4d-inv": lambda **o: S4D(3, 8, "inv", **o),
    "s4d-lin-odd": lambda **o: S4D(3, 9, "lin", **o),
    "s4-ptd": lambda **o: S4PTD(3, 32, **o),
    "s5": lambda **o: S5(3, 8, 2, **o),
    "s5-hippo": lambda **o: S5(3, 16, 2, B_init="hippo", disc="bilinear", **o),
    "s5-lin": lambda **o: S5(3, 6, 1, "lin", **o),
    "s5-ptd": lambda **o: S5PTD(3, 64, 2, **o),
}
layers = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@layers
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_convolution_scan_and_steps_agree(name, dtype, tolerance):
    layer = MAKERS[name]().to(dtype)
    u = torch.randn(2, 70, layer.d_model, dtype=dtype)
    with torch.no_grad():
        layer.mode = "conv"
        conv = layer(u)
        layer.mode = "scan"
        scan = layer(u)
        state, steps = None, []
        for k in range(70):
            y, state = layer.step(u[:, k], state)
            steps.append(y)
        whole, last = layer(u, return_state=True)
    assert conv.dtype == dtype
    assert relative(conv, scan) < tolerance
    assert relative(torch.stack(steps, 1), scan) < tolerance
    assert torch.equal(whole, scan)
    assert relative(torch.view_as_real(last), torch.view_as_real(state)) < tolerance


@layers
def test_the_kernel_is_what_an_impulse_leaves(name):
    layer = MAKERS[name]().double()
    K = impulse_response(layer, 30)
    for h in range(layer.d_model):
        u = torch.zeros(1, 30, layer.d_model).double()
        u[0, 0, h] = 1
        y = layer(u)[0].T
        expected = (
            K[:, h] if K.ndim == 3 else torch.zeros_like(y).index_copy(0, torch.tensor([h]), K[h : h + 1])
        )
        torch.testing.assert_close(y, expected, atol=1e-10, rtol=0)


@layers
def test_a_sequence_can_be_cut(name):
    layer = MAKERS[name]().double()
    u = torch.randn(2, 40, layer.d_model).double()
    whole, last = layer(u, return_state=True)
    first, state = layer(u[:, :15], return_state=True)
    second, state = layer(u[:, 15:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-11, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-11, rtol=0)


@layers
def test_a_bidirectional_layer_reads_the_sequence_from_both_ends(name):
    layer = MAKERS[name](bidirectional=True).double()
    u = torch.randn(2, 25, layer.d_model).double()
    layer.mode = "conv"
    conv = layer(u)
    layer.mode = "scan"
    torch.testing.assert_close(layer(u), conv, atol=1e-10, rtol=0)
    one = MAKERS[name]().double()
    one.load_state_dict({k: v[:1] if k == "C" else v for k, v in layer.state_dict().items()})
    other = MAKERS[name]().double()
    other.load_state_dict({k: v[1:] if k == "C" else v for k, v in layer.state_dict().items()})
    parts = one(u) + other(u.flip(1)).flip(1) - layer.D * u
    torch.testing.assert_close(conv, parts, atol=1e-10, rtol=0)
    with pytest.raises(ArgumentError, match="bidirectional layer has none"):
        layer(u, return_state=True)
    with pytest.raises(ArgumentError, match="no steps"):
        layer.step(u[:, 0])


@pytest.mark.parametrize("name", ["s4", "s4d-legs", "s4-ptd", "s5", "s5-ptd"])
def test_gradients_of_both_modes_agree(name):
    layer = MAKERS[name]().double()
    u, weight = torch.randn(2, 20, 3).double(), torch.randn(2, 20, 3).double()
    gradients = []
    for mode in ("conv", "scan"):
        layer.mode = mode
        gradients.append(torch.autograd.grad((layer(u) * weight).sum(), list(layer.parameters())))
    for one, two in zip(*gradients):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-9)


@layers
def test_a_layer_keeps_the_contract_of_a_module(name):
    check_module(MAKERS[name](), torch.randn(2, 12, MAKERS[name]().d_model), half=False, learning_rate=1e-4)


def test_inputs_in_half_precision_come_back_in_it():
    layer = S4D(2, 8)
    u = torch.randn(1, 9, 2)
    assert layer(u.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(layer(u.bfloat16()).float(), layer(u.bfloat16().float()), atol=0.05, rtol=0.02)


def outputs(layer):
    """C of a layer in the basis of HiPPO, from one of each pair."""
    return torch.view_as_complex(layer.C.detach())[0].numpy()


def test_s4_is_the_dense_bilinear_system():
    n, L = 16, 60
    layer = S4(1, n).double()
    A, B = hippo(n)
    V = hippo_normal(n).V
    half = outputs(layer)
    C = (np.concatenate([half, half.conj()], axis=1) @ V.conj().T).real
    dt = float(layer.log_dt.detach().exp())
    # the parameters were rounded to single precision on their way
    system = scipy.signal.cont2discrete((A, B[:, None], C, np.zeros((1, 1))), dt, method="bilinear")
    Ad, Bd = system[0], system[1]
    state, expected = Bd[:, 0], []
    for _ in range(L):
        expected.append(C[0] @ state)
        state = Ad @ state
    np.testing.assert_allclose(layer.impulse_response(L)[0].detach(), expected, atol=1e-5)
    torch.set_default_dtype(torch.float64)
    try:
        exact = S4(1, n)
    finally:
        torch.set_default_dtype(torch.float32)
    half, dt = outputs(exact), float(exact.log_dt.detach().exp())
    C = (np.concatenate([half, half.conj()], axis=1) @ V.conj().T).real
    Ad, Bd = scipy.signal.cont2discrete((A, B[:, None], C, np.zeros((1, 1))), dt, method="bilinear")[:2]
    u = np.random.default_rng(0).standard_normal(L)
    state, expected = np.zeros(n), []
    for value in u:
        state = Ad @ state + Bd[:, 0] * value
        expected.append(C[0] @ state)
    y = exact(torch.from_numpy(u)[None, :, None])[0, :, 0].detach().numpy() - exact.D.item() * u
    np.testing.assert_allclose(y, expected, atol=1e-10)


@pytest.mark.parametrize("rel", [0.01, 0.1])
def test_s4_ptd_is_the_dense_perturbed_system(rel):
    n, L = 16, 50
    torch.set_default_dtype(torch.float64)
    try:
        layer = S4PTD(1, n, rel=rel)
    finally:
        torch.set_default_dtype(torch.float32)
    A, B = hippo(n)
    r = hippo_ptd(n, rel)
    M = r.matrix()
    half = outputs(layer)
    full = np.concatenate([half, half[:, : r.pairs].conj()], axis=1)
    C = (full @ r.Vinv).real
    dt = float(layer.log_dt.detach().exp())
    K = layer.impulse_response(L)[0].detach().numpy()

    def dense(M):
        Ad, Bd, *_ = scipy.signal.cont2discrete((M, B[:, None], C, np.zeros((1, 1))), dt, method="zoh")
        state, out = Bd[:, 0], []
        for _ in range(L):
            out.append(C[0] @ state)
            state = Ad @ state
        return np.array(out)

    np.testing.assert_allclose(K, dense(M), atol=1e-10)
    assert np.abs(K - dense(A)).max() < 20 * rel * np.abs(dense(A)).max()


@pytest.mark.parametrize("disc", ["zoh", "bilinear"])
def test_s5_is_that_of_another_library(disc):
    peer_module = pytest.importorskip("s5.s5_model")
    layer, eye = S5(4, 32, 1, disc=disc), torch.eye(16, dtype=torch.complex64)
    peer = peer_module.S5SSM(
        layer.Lambda.detach(), eye, eye, 4, 16, 1e-3, 0.1, discretization=disc, bcInit="dense"
    )
    layer.weights.fill_(1)  # the other library keeps both of a pair
    with torch.no_grad():
        peer.B.copy_(layer.B)
        peer.C.copy_(torch.view_as_complex(layer.C)[0])
        peer.D.copy_(layer.D)
        peer.log_step.copy_(layer.log_dt)
        u = torch.randn(100, 4)
        assert relative(layer(u[None])[0], peer(u)) < 1e-5


def test_s4d_legs_halves_the_input():
    h = hippo_normal(8)
    layer = S4D(1, 8).double()
    np.testing.assert_allclose(torch.view_as_complex(layer.B.detach())[0], h.B[:4] / 2, atol=1e-6)
    np.testing.assert_allclose(layer.Lambda.detach()[0], h.Lambda[:4], atol=1e-5)


def test_formulas_of_the_other_starts():
    inv, lin = S4D(1, 8, "inv"), S4D(1, 8, "lin")
    j = np.arange(4)
    np.testing.assert_allclose(inv.im[0].detach(), 8 / np.pi * (8 / (2 * j + 1) - 1), rtol=1e-5)
    np.testing.assert_allclose(lin.im[0].detach(), np.pi * j, rtol=1e-5)
    for layer in (inv, lin):
        np.testing.assert_allclose(-layer.log_neg_re.detach().exp(), -0.5, rtol=1e-6)
        assert layer.weights.sum() == 8


def test_every_channel_of_hippo_inputs_is_the_same():
    layer = S5PTD(5, 32, 2, B_init="hippo")
    B = torch.view_as_complex(layer.B.detach())
    torch.testing.assert_close(B, B[:, :1].expand_as(B))
    torch.testing.assert_close(B[: len(B) // 2], B[len(B) // 2 :])


def test_clipping_keeps_eigenvalues_left():
    layer = S5(2, 8, 1)
    with torch.no_grad():
        layer.re.fill_(0.3)
    assert layer.Lambda.real.max().item() == pytest.approx(-1e-4)
    layer.clip_eigs = False
    assert layer.Lambda.real.max().item() == pytest.approx(0.3)


def test_rescaled_steps_are_longer_steps():
    layer = S5(2, 8, 1)
    u = torch.randn(1, 20, 2)
    layer.step_rescale = 2.0
    rescaled = layer(u)
    layer.step_rescale = 1.0
    with torch.no_grad():
        layer.log_dt += np.log(2)
    torch.testing.assert_close(layer(u), rescaled, atol=1e-5, rtol=1e-4)


def test_long_sequences_are_scanned_in_parts(monkeypatch):
    layer = S4D(2, 8).double()
    u = torch.randn(2, 50, 2).double()
    layer.mode = "scan"
    whole = layer(u)
    monkeypatch.setattr("gossamer.nn.ssm.layer._CHUNK", 100)
    torch.testing.assert_close(layer(u), whole, atol=1e-12, rtol=0)
    both = S5(2, 8, 1, bidirectional=True).double()
    parts = both(u)
    monkeypatch.undo()
    torch.testing.assert_close(both(u), parts, atol=1e-12, rtol=0)


@pytest.mark.parametrize("gate", ["half_glu", "glu", "none"])
@pytest.mark.parametrize("prenorm", [True, False])
def test_blocks_keep_shapes_and_steps(gate, prenorm):
    block = SSMBlock(S4D(4, 8), gate, dropout=0.1, prenorm=prenorm).eval()
    u = torch.randn(2, 12, 4)
    y, state, steps = block(u), None, []
    for k in range(12):
        out, state = block.step(u[:, k], state)
        steps.append(out)
    torch.testing.assert_close(torch.stack(steps, 1), y, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", ["s4", "s4d", "s4-ptd", "s5", "s5-ptd"])
def test_a_classifier_streams_what_it_computes_at_once(layer):
    options = {"d_state": 32, "blocks": 2} if layer.startswith("s5") else {"d_state": 16}
    net = SequenceClassifier(2, 3, d_model=6, layer=layer, **options)
    x = torch.randn(4, 20, 2)
    torch.testing.assert_close(net.stream(x.unbind(1)), net(x), atol=2e-5, rtol=1e-4)
    check_module(net, x, half=False, learning_rate=1e-3)


def test_a_classifier_learns_which_frequency_it_hears():
    t = torch.arange(128) / 128
    label = torch.arange(64) % 2
    x = torch.sin(2 * np.pi * ((3 + 5 * label)[:, None] * t + torch.rand(64, 1)))[..., None]
    net = SequenceClassifier(1, 2, d_model=8, n_layers=1, d_state=16)
    optimizer = torch.optim.AdamW(ssm_param_groups(net, lr=1e-2, ssm_lr=1e-3))
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), label).backward()
        optimizer.step()
    assert (net(x).argmax(1) == label).float().mean() > 0.9


def test_parameters_of_the_dynamics_have_a_rate_of_their_own():
    net = SequenceClassifier(1, 2, d_model=4, layer="s5", d_state=8, blocks=1)
    slow, fast = ssm_param_groups(net, 1e-2, 1e-3, 0.05)
    assert (slow["lr"], slow["weight_decay"], fast["lr"], fast["weight_decay"]) == (1e-3, 0.0, 1e-2, 0.05)
    assert len(slow["params"]) == 2 * 4
    assert len(slow["params"]) + len(fast["params"]) == len(list(net.parameters()))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: S4D(0), ArgumentError, "d_model=0"),
        (lambda: S4D(2, 0), ArgumentError, "d_state=0"),
        (lambda: S4D(2, 4, "hippo"), ArgumentError, "init='hippo'"),
        (lambda: S4D(2, 4, disc="euler"), ArgumentError, "disc='euler'"),
        (lambda: S4D(2, 4, mode="fft"), ArgumentError, "mode='fft'"),
        (lambda: S4D(2, 4, dt_min=0), ArgumentError, "dt_min=0"),
        (lambda: S4D(2, 4, dt_min=0.1, dt_max=0.01), ArgumentError, "dt_max=0.01"),
        (lambda: S4PTD(2, 4, rel=-1), ArgumentError, "rel=-1"),
        (lambda: S5(2, 10, 4), ArgumentError, "d_state=10.*nearest valid: 8"),
        (lambda: S5(2, 8, 2, B_init="zeros"), ArgumentError, "B_init='zeros'"),
        (lambda: S4D(2, 4)(torch.ones(1, 5, 3)), ShapeError, r"u has shape \(1, 5, 3\)"),
        (lambda: S4D(2, 4).step(torch.ones(1, 5, 2)), ShapeError, r"u has shape \(1, 5, 2\)"),
        (lambda: SSMBlock(S4D(2, 4), "relu"), ArgumentError, "gate='relu'"),
        (lambda: SequenceClassifier(1, 2, layer="s6"), ArgumentError, "layer='s6'"),
        (
            lambda: SequenceClassifier(1, 2, layer="s4d", d_state=4)(torch.ones(2, 5)),
            ShapeError,
            "x has shape",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
