"""LoRA gradients: exact ones against autograd by definition, fast ones within what was asked."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, BoundError, ShapeError
from gossamer.linalg import exp_features, joint_rotation
from gossamer.nn import (
    ExactFallbackWarning,
    FastLoRAAttention,
    PolynomialAttention,
    attention_score_gradient,
    lora_attention_gradient,
    phase_transition,
)
from gossamer.nn.attention.chained_low_rank import SoftmaxPlan, polynomial_attention
from gossamer.testing import check_module


def problem(seed=0, L=30, d=4, r=2, size=0.4, heads=1, kv_heads=1, names="qkv", batch=()):
    rng = np.random.default_rng(seed)
    width = {"q": d, "k": d // heads * kv_heads, "v": d // heads * kv_heads}
    X = rng.standard_normal((*batch, L, d))
    W = [size * rng.standard_normal((d, width[a])) / d**0.5 for a in "qkv"]
    adapters = {
        a: (rng.standard_normal((r, width[a])), size * rng.standard_normal((d, r)) / d) for a in names
    }
    return X, W, adapters, rng.standard_normal((*batch, L, d))


def by_definition(X, W, adapters, Y, alpha, heads=1, kv_heads=1, causal=False, softmax1=False, scale=None):
    """Torch autograd through the explicit softmax matrix."""
    leaves = {"X": torch.from_numpy(X).requires_grad_()}
    used = []
    for name, weight in zip("qkv", W, strict=True):
        weight = torch.from_numpy(weight)
        if name in adapters:
            A, B = (torch.from_numpy(x).requires_grad_() for x in adapters[name])
            leaves |= {f"A_{name}": A, f"B_{name}": B}
            weight = weight + alpha / len(A) * B @ A
        used.append(weight)
    L = X.shape[-2]
    q, k, v = (
        (leaves["X"] @ weight).unflatten(-1, (h, -1)).transpose(-3, -2).repeat_interleave(heads // h, -3)
        for weight, h in zip(used, (heads, kv_heads, kv_heads), strict=True)
    )
    z = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        z = z.masked_fill(~torch.ones(L, L, dtype=torch.bool).tril(), -np.inf)
    e = z.exp()
    o = (e / (e.sum(-1, keepdim=True) + softmax1) @ v).transpose(-3, -2).flatten(-2)
    loss = 0.5 * (o - torch.from_numpy(Y)).square().sum()
    slopes = torch.autograd.grad(loss, list(leaves.values()))
    return {f"d{name}": s.numpy() for name, s in zip(leaves, slopes, strict=True)} | {
        "output": o.detach().numpy()
    }


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


CASES = {
    "special": ({"names": "qv"}, {}),
    "general": ({}, {}),
    "causal": ({}, {"causal": True}),
    "softmax1": ({}, {"softmax1": True}),
    "causal softmax1": ({}, {"causal": True, "softmax1": True}),
    "heads": ({"heads": 2, "kv_heads": 2}, {}),
    "shared": ({"heads": 2, "kv_heads": 1, "batch": (2,)}, {"causal": True}),
    "scale": ({}, {"scale": 0.2}),
}


@pytest.mark.parametrize("method", ["exact", "poly", "exact-forward"])
@pytest.mark.parametrize(("made", "options"), CASES.values(), ids=CASES)
def test_gradients_are_those_of_autograd_by_definition(method, made, options):
    X, W, adapters, Y = problem(**made)
    heads = {"heads": made.get("heads", 1), "kv_heads": made.get("kv_heads", 1)}
    expected = by_definition(X, W, adapters, Y, 3.0, **heads, **options)
    found = lora_attention_gradient(
        X, *W, adapters, Y=Y, alpha=3.0, adapt=tuple(adapters), method=method, eps=1e-5,
        num_heads=heads["heads"], kv_heads=heads["kv_heads"], **options,
    )  # fmt: skip
    for name, value in expected.items():
        slack = 1e-10 if method == "exact" else 1e-4
        assert relative(found[name], value) <= slack, name


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.1, 0.2, 0.3]),
    eps=st.sampled_from([0.1, 1e-2, 1e-3]),
    causal=st.booleans(),
)
def test_fast_gradients_are_as_good_as_asked(seed, size, eps, causal):
    X, W, adapters, Y = problem(seed, L=40, size=size)
    options = {"Y": Y, "causal": causal, "adapt": tuple(adapters)}
    exact = lora_attention_gradient(X, *W, adapters, method="exact", **options)
    try:
        fast = lora_attention_gradient(X, *W, adapters, method="poly", eps=eps, **options)
    except BoundError:
        assume(False)
    assert fast["info"].bound <= eps
    for name in exact.keys() - {"info"}:
        assert relative(fast[name], exact[name]) <= 10 * eps


@pytest.mark.parametrize(("chunk", "run"), [(1, 4096), (7, 4096), (7, 14), (16, 16), (64, 4096)])
def test_causal_chunks_do_not_matter(chunk, run, monkeypatch):
    monkeypatch.setattr("gossamer.nn.attention.chained_low_rank._ROWS", run)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.rand(2, 40, 4, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(3)
    )
    plan = SoftmaxPlan.of(q, k, 1e-8, 20_000)
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    fast = polynomial_attention(q, k, v, plan, causal=True, chunk=chunk)
    torch.testing.assert_close(fast, exact, rtol=1e-6, atol=1e-7)
    for a, b in zip(
        torch.autograd.grad(fast.square().sum(), (q, k, v)),
        torch.autograd.grad(exact.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_finite_differences_of_the_loss():
    X, W, adapters, Y = problem(names="qv")
    found = lora_attention_gradient(X, *W, adapters, Y=Y, method="poly", eps=1e-8)

    def loss():
        output = lora_attention_gradient(X, *W, adapters, Y=Y, method="exact")["output"]
        return 0.5 * np.square(output - Y).sum()

    for name, which in itertools.product("qv", (0, 1)):
        entry = adapters[name][which]
        slope = found[f"d{'AB'[which]}_{name}"]
        entry[1, 0] += 1e-5
        above = loss()
        entry[1, 0] -= 2e-5
        below = loss()
        entry[1, 0] += 1e-5
        assert slope[1, 0] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-7)


def test_rows_of_the_approximate_softmax_sum_to_one_and_a_constant_key_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.rand(50, 5, dtype=torch.float64, generator=generator) for _ in range(3))
    fast = PolynomialAttention("poly", eps=1e-2)
    torch.testing.assert_close(fast(q, k, torch.ones_like(v)), torch.ones_like(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(fast(q, k + 7, v), fast(q, k, v), rtol=1e-6, atol=1e-6)
    order = torch.randperm(50, generator=generator)
    torch.testing.assert_close(fast(q[order], k[order], v[order]), fast(q, k, v)[order], rtol=1e-9, atol=1e-9)


def test_no_adapter_no_gradient():
    X, W, adapters, Y = problem(names="qv")
    found = lora_attention_gradient(X, *W, adapters, Y=Y, alpha=0.0)
    assert not any(found[name].any() for name in ("dA_q", "dB_q", "dA_v", "dB_v"))
    zero = {name: (A, np.zeros_like(B)) for name, (A, B) in adapters.items()}
    found = lora_attention_gradient(X, *W, zero, Y=Y)
    assert not found["dA_q"].any()
    assert found["dB_q"].any()


def test_hadamard_products_of_low_rank_matrices():
    rng = np.random.default_rng(0)
    U, V, S, T = (rng.standard_normal((6, k)) for k in (3, 3, 2, 2))

    def rows(A, B):
        return (A[:, :, None] * B[:, None, :]).reshape(len(A), -1)

    np.testing.assert_allclose((U @ V.T) * (S @ T.T), rows(U, S) @ rows(V, T).T)


@pytest.mark.parametrize("shape", [(40, 30, 5), (3, 4, 6), (10, 10, 1)])
def test_a_joint_rotation_keeps_products_and_balances_moments(shape):
    n, m, d = shape
    rng = np.random.default_rng(0)
    U, V = rng.standard_normal((n, d)) * 1e3, rng.standard_normal((m, d)) * np.geomspace(1, 1e-3, d)
    T, S = joint_rotation(U, V)
    np.testing.assert_allclose((U @ T) @ (V @ S).T, U @ V.T, atol=1e-7 * np.abs(U @ V.T).max())
    if min(n, m) >= d:
        left, right = (x.T @ x for x in (U @ T, V @ S))
        np.testing.assert_allclose(left, np.diag(np.diag(left)), atol=1e-4 * left.max())
        np.testing.assert_allclose(left, right, atol=1e-4 * left.max())
    with pytest.raises(ShapeError, match="U and V"):
        joint_rotation(U, rng.standard_normal((m, d + 1)))


def test_low_rank_logits_take_few_features_after_a_rotation():
    rng = np.random.default_rng(0)
    low, high = rng.uniform(-0.5, 0.5, (2, 60, 2)), np.linalg.qr(rng.standard_normal((8, 8)))[0]
    q, k = (torch.from_numpy(x @ high[:2]) for x in low)
    assert SoftmaxPlan.of(q, k, 1e-3, 20_000).features * 5 < exp_features(q, k)[-1].features


PROTOTYPE = {0.22: 1e-4, 0.7: 1e-3, 1.2: 1e-2}


@pytest.mark.parametrize(("logit", "known"), PROTOTYPE.items())
def test_errors_of_the_second_degree_are_as_known(logit, known):
    """All 45 monomials of degree two in eight coordinates, against figures found before this code was written."""
    rng = np.random.default_rng(0)
    q, k, v, c = rng.standard_normal((4, 400, 8))
    z = q @ k.T
    z *= logit / np.abs(z).max()
    x, y = q * (logit / np.abs(q @ k.T).max()), k
    truth, polynomial = (
        f / f.sum(1, keepdims=True) for f in (np.exp(x @ y.T), 1 + x @ y.T + (x @ y.T) ** 2 / 2)
    )

    def slope(f):
        p = f * (c @ v.T)
        return (p - p.sum(1, keepdims=True) * f) @ k

    error = relative(slope(polynomial), slope(truth))
    assert known / 10 <= error <= known * 10


def test_long_sequences_take_little_memory():
    torch.manual_seed(0)
    q, k, v = (0.3 * torch.randn(1, 32768, 8) for _ in range(3))
    q.requires_grad_()
    before = _resident()
    PolynomialAttention("poly", eps=1e-2)(q, k, v).sum().backward()
    assert _resident() - before < 1000


def _resident():
    with open("/proc/self/status") as file:
        return next(float(line.split()[1]) / 1e3 for line in file if line.startswith("VmHWM"))


def test_auto_says_why():
    torch.manual_seed(0)
    q, k, v = (0.2 * torch.randn(1, 2000, 4) for _ in range(3))
    info = PolynomialAttention(eps=1e-2).explain(q, k, v)
    assert info.mode == "poly"
    assert "cost less" in info.reason
    assert 0 < info.bound <= 1e-2
    info = PolynomialAttention().explain(30 * q, 30 * k, v)
    assert info.mode == "exact"
    assert info.R > 10
    with pytest.raises(BoundError, match="max_features"):
        PolynomialAttention("poly")(30 * q, 30 * k, v)


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "poly", "eps": 0.1}, {"adapt": ("q", "k", "v", "o"), "kv_heads": 1, "softmax1": True}],
    ids=str,
)
def test_a_layer_keeps_the_contract_of_modules(options):
    torch.manual_seed(0)
    layer = FastLoRAAttention(8, 2, r=2, **options)
    for module in layer.modules():
        if hasattr(module, "lora_B"):
            torch.nn.init.normal_(module.lora_B["default"].weight, std=0.1)
    check_module(layer, 0.5 * torch.randn(2, 12, 8))


def test_parameters_are_named_as_by_peft_and_only_adapters_train():
    layer = FastLoRAAttention(8, 2, r=2, adapt=("q", "v"))
    names = set(dict(layer.named_parameters()))
    assert {
        "q_proj.base_layer.weight",
        "q_proj.lora_A.default.weight",
        "v_proj.lora_B.default.weight",
    } <= names
    trained = {name for name, p in layer.named_parameters() if p.requires_grad}
    assert trained == {name for name in names if "lora" in name}
    x = torch.randn(1, 9, 8)
    torch.testing.assert_close(layer(x), _without_adapters(layer, x))


def _without_adapters(layer, x):
    projections = (layer.q_proj, layer.k_proj, layer.v_proj)
    q, k, v = (p.base_layer(x) if hasattr(p, "base_layer") else p(x) for p in projections)
    q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return layer.o_proj(out.transpose(1, 2).flatten(2))


def test_the_phase_transition_has_more_features_for_larger_norms():
    result = phase_transition((64, 256), (0.25, 0.5, 1.0, 2.0), d=4, eps=1e-2, seeds=2)
    for L in (64, 256):
        ranks = [point.k1 for point in result.table if point.L == L]
        assert ranks == sorted(ranks)
        assert np.isnan(result.threshold[L]) or result.threshold[L] > 0


@pytest.mark.parametrize("softmax1", [False, True])
def test_the_gradient_in_the_logits_is_that_of_autograd(softmax1):
    generator = torch.Generator().manual_seed(0)
    q, k, v, c = (0.6 * torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in (20, 25, 25, 20))
    z = (0.5 * q @ k.T).requires_grad_()
    f = z.exp() / (z.exp().sum(1, keepdim=True) + softmax1)
    (expected,) = torch.autograd.grad((f @ v * c).sum(), z)
    p = attention_score_gradient(q, k, v, c, eps=1e-8, softmax1=softmax1)
    torch.testing.assert_close(p.to_dense(), expected, rtol=0, atol=1e-7)
    q.requires_grad_()
    fast = PolynomialAttention("poly", eps=1e-8, softmax1=softmax1)(q, k, v)
    (streamed,) = torch.autograd.grad((fast * c).sum(), q)
    torch.testing.assert_close(0.5 * (p @ k), streamed, rtol=1e-9, atol=1e-12)
    with pytest.raises(ShapeError, match="upstream have shapes"):
        attention_score_gradient(q, k, v, c[:3])


@pytest.mark.parametrize("method", ["poly", "exact-forward", "auto", "exact"])
def test_an_exact_gradient_of_the_inputs_stands_beside_fast_ones_of_the_adapters(method):
    X, W, adapters, Y = problem(L=60, heads=2, kv_heads=1)
    options = {"Y": Y, "num_heads": 2, "kv_heads": 1, "adapt": tuple("qkv"), "causal": True, "eps": 0.1}
    exact = lora_attention_gradient(X, *W, adapters, method="exact", **options)
    options["upstream"] = exact["output"] - options.pop("Y")  # the same slope for all
    fast = lora_attention_gradient(X, *W, adapters, method=method, **options)
    both = lora_attention_gradient(X, *W, adapters, method=method, grad_x="exact", **options)
    assert relative(both["dX"], exact["dX"]) < 1e-12
    np.testing.assert_array_equal(both["output"], fast["output"])
    for name in fast.keys() & {"dA_q", "dB_q", "dA_k", "dB_v"}:
        np.testing.assert_allclose(both[name], fast[name], rtol=1e-9, atol=1e-12)


def test_a_layer_with_exact_gradients_of_its_inputs():
    torch.manual_seed(0)
    layer = FastLoRAAttention(
        8, 2, r=2, mode="poly", eps=0.3, causal=False, grad_x="exact", kv_heads=1
    ).double()
    for name in "qv":
        torch.nn.init.normal_(getattr(layer, f"{name}_proj").lora_B["default"].weight)
    x = (0.5 * torch.randn(1, 30, 8, dtype=torch.float64)).requires_grad_()
    slopes = {}
    for mode, grad_x in (("poly", "exact"), ("poly", "fast"), ("exact", "fast")):
        layer.attention.mode, layer.grad_x = mode, grad_x
        wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
        slopes[mode, grad_x] = torch.autograd.grad((layer(x) * torch.arange(8)).sum(), wanted)
    both, fast, exact = slopes.values()
    torch.testing.assert_close(both[0], exact[0])
    assert (fast[0] - exact[0]).norm() > 1e-9 * exact[0].norm()
    for a, b in zip(both[1:], fast[1:], strict=True):
        torch.testing.assert_close(a, b)


def test_falling_back_to_exact_attention_is_said_aloud():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 30, 4) for _ in range(3))
    fallback = PolynomialAttention("poly", fallback="exact", max_features=10)
    with pytest.warns(ExactFallbackWarning, match="max_features=10"):
        found = fallback(5 * q, k, v)
    torch.testing.assert_close(found, torch.nn.functional.scaled_dot_product_attention(5 * q, k, v))
    X, W, adapters, Y = problem(names="qv")
    with pytest.raises(BoundError):
        lora_attention_gradient(X, *W, adapters, Y=Y, max_features=3)
    with pytest.warns(ExactFallbackWarning):
        lora_attention_gradient(X, *W, adapters, Y=Y, max_features=3, fallback="exact")


@pytest.mark.parametrize("large", [(0,), (2,), (0, 1), (1, 3)])
def test_auto_decides_for_every_head(large):
    torch.manual_seed(0)
    q, k, v = (0.2 * torch.randn(1, 4, 1000, 4, dtype=torch.float64) for _ in range(3))
    q[:, large] *= 100
    auto = PolynomialAttention(eps=1e-3)
    info = auto.explain(q, k, v)
    assert info.mode == "mixed"
    assert info.fast_heads == tuple(head for head in range(4) if head not in large)
    assert "of 4 heads" in info.reason
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(auto(q, k, v), exact, rtol=0, atol=2e-3)
    torch.testing.assert_close(auto(q, k, v)[:, large], exact[:, large])


def test_bad_input_is_refused():
    X, W, adapters, Y = problem(names="qv")
    for call, message in (
        (lambda: lora_attention_gradient(X, *W, adapters), "upstream and Y"),
        (lambda: lora_attention_gradient(X, *W, adapters, Y=Y, adapt=("q",)), "adapt"),
        (lambda: lora_attention_gradient(X, *W, adapters, Y=Y, eps=0), "eps"),
        (lambda: lora_attention_gradient(X, *W, adapters, Y=Y, method="fast"), "method"),
        (lambda: lora_attention_gradient(X * np.nan, *W, adapters, Y=Y), "X has 120 NaN"),
        (lambda: FastLoRAAttention(9, 2), "divide"),
        (lambda: FastLoRAAttention(8, 2, r=0), "r="),
        (lambda: FastLoRAAttention(8, 2, adapt=("x",)), "adapt"),
        (lambda: FastLoRAAttention(8, 2, grad_x="slow"), "grad_x"),
        (lambda: PolynomialAttention(fallback="no"), "fallback"),
        (lambda: phase_transition(gamma=(0.0,)), "gamma"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    empty = {"q": (np.zeros((0, 4)), np.zeros((4, 0))), "v": adapters["v"]}
    for call, message in (
        (lambda: lora_attention_gradient(X, *W, adapters, Y=Y[:5]), "Y has shape"),
        (lambda: lora_attention_gradient(X, W[0][:3], *W[1:], adapters, Y=Y), "Wq has shape"),
        (lambda: lora_attention_gradient(X, *W, empty, Y=Y), "rank 0"),
        (lambda: lora_attention_gradient(X, *W, adapters, Y=Y, num_heads=3), "multiple of 3"),
        (
            lambda: PolynomialAttention("poly")(torch.zeros(3, 2), torch.zeros(4, 3), torch.zeros(4, 3)),
            "q, k and v",
        ),
        (lambda: FastLoRAAttention(8, 2)(torch.zeros(3, 8)), "x has shape"),
    ):
        with pytest.raises(ShapeError, match=message):
            call()
