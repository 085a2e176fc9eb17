"""Attention over tuples: the literal formula, certified errors of the fast mode, masks, limits, gradients, layers."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, BoundError, CostError, ShapeError
from gossamer.linalg import khatri_rao
from gossamer.nn import HigherOrderAttention, TensorAttention, tensor_attention
from gossamer.nn.attention import exact_tuples
from gossamer.nn.attention.poly_tuples import PolyPlan, poly_tuples
from gossamer.testing import check_module


def literal(Q, Ks, Vs, scale, seen=None):
    """softmax(scale Q (K1 (/) K2 (/) ...)^T) (V1 (/) V2 (/) ...), with the (m, prod n) matrix in float64."""

    def rows(mats):
        out = mats[0]
        for A in mats[1:]:
            out = (out[:, None] * A[None]).reshape(-1, A.shape[1])
        return out

    logits = scale * Q @ rows(Ks).T
    if seen is not None:
        logits = np.where(seen.reshape(len(Q), -1), logits, -np.inf)
    with np.errstate(invalid="ignore"):
        weights = np.exp(logits - np.max(logits, axis=1, keepdims=True, initial=-1e300))
        out = weights @ rows(Vs) / weights.sum(axis=1, keepdims=True)
    return np.nan_to_num(out)


def torch_literal(Q, Ks, Vs, scale):
    def rows(mats):
        out = mats[0]
        for A in mats[1:]:
            out = (out[..., :, None, :] * A[..., None, :, :]).flatten(-3, -2)
        return out

    return (scale * Q @ rows(Ks).mT).softmax(-1) @ rows(Vs)


def inputs(seed, m, sizes, d, p, size=1.5):
    rng = np.random.default_rng(seed)
    Q = rng.uniform(-size, size, (m, d))
    return Q, [rng.uniform(-size, size, (n, d)) for n in sizes], [rng.standard_normal((n, p)) for n in sizes]


def visible(m, sizes, causal, increasing, masks, pair_mask):
    """By definition: (m, n_1, ..., n_{k-1})."""
    seen = np.zeros((m, *sizes), bool)
    for i, *js in np.ndindex(*seen.shape):
        seen[(i, *js)] = (
            (not causal or max(js) <= i)
            and (not increasing or all(a < b for a, b in itertools.pairwise(js)))
            and all(mask is None or mask[j] for mask, j in zip(masks, js, strict=True))
            and (pair_mask is None or pair_mask[tuple(js)])
        )
    return seen


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    order=st.integers(2, 4),
    m=st.integers(1, 9),
    d=st.integers(1, 9),
    p=st.integers(1, 9),
    causal=st.booleans(),
    increasing=st.booleans(),
    masked=st.booleans(),
    paired=st.booleans(),
)
def test_exact_mode_is_the_literal_formula(seed, order, m, d, p, causal, increasing, masked, paired):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, order - 1).tolist()
    Q, Ks, Vs = inputs(seed, m, sizes, d, p)
    masks = [rng.random(n) < 0.6 if masked else None for n in sizes]
    pair_mask = rng.random(sizes) < 0.6 if paired else None
    seen = visible(m, sizes, causal, increasing, masks, pair_mask)
    out = tensor_attention(
        Q, Ks, Vs, scale=0.7, mode="exact", causal=causal, masks=masks, pair_mask=pair_mask,
        tuples="increasing" if increasing else "all",
    )  # fmt: skip
    np.testing.assert_allclose(out, literal(Q, Ks, Vs, 0.7, seen), atol=1e-12)


@pytest.mark.parametrize(("dtype", "slack"), [(np.float64, 1e-12), (np.float32, 3e-6)])
@pytest.mark.parametrize("sizes", [(61, 300), (300, 7), (24, 256)])
def test_blocks_add_up(dtype, slack, sizes):
    Q, Ks, Vs = inputs(0, 5, sizes, 11, 6)
    out = tensor_attention(
        Q.astype(dtype), [K.astype(dtype) for K in Ks], [V.astype(dtype) for V in Vs], mode="exact"
    )
    assert out.dtype == dtype
    np.testing.assert_allclose(out, literal(Q, Ks, Vs, 1 / 11), atol=slack)


def test_the_default_scale_is_one_over_d_and_order_two_is_ordinary_attention():
    Q, Ks, Vs = inputs(0, 6, (9,), 4, 3)
    out = tensor_attention(Q, Ks, Vs, mode="exact")
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(torch.from_numpy(x) for x in (Q, Ks[0], Vs[0])), scale=0.25
    )
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("values", ["product", "sum"])
def test_gradients_are_those_of_the_literal_formula(order, values):
    Q, Ks, Vs = (
        [torch.from_numpy(x).requires_grad_() for x in group]
        for group in (
            [inputs(1, 5, (4, 6, 3)[: order - 1], 3, 2)[0]],
            *inputs(1, 5, (4, 6, 3)[: order - 1], 3, 2)[1:],
        )
    )
    out = tensor_attention(Q[0], Ks, Vs, mode="exact", scale=0.9, values=values)
    if values == "product":
        expected = torch_literal(Q[0], Ks, Vs, 0.9)
    else:
        expected = sum(
            torch_literal(Q[0], Ks, [V if s == t else torch.ones_like(V) for s, V in enumerate(Vs)], 0.9)
            for t in range(len(Vs))
        )
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    leaves = [*Q, *Ks, *Vs]
    actual = torch.autograd.grad((out * weight).sum(), leaves)
    wanted = torch.autograd.grad((expected * weight).sum(), leaves)
    for a, b in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mode", ["exact", "poly"])
def test_gradcheck_in_batches_with_masks(causal, mode):
    generator = torch.Generator().manual_seed(0)
    arrays = [
        torch.rand(2, 1, 3, 2, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(5)
    ]
    mask = torch.tensor([[True, False, True], [True, True, True]])[:, None]

    def run(q, k1, k2, v1, v2):
        return tensor_attention(
            q, (k1, k2), (v1, v2), mode=mode, causal=causal, masks=[mask, None], eps=1e-9, scale=0.5
        )

    assert torch.autograd.gradcheck(run, arrays, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_torch_blocks_for_other_devices_agree_with_the_kernel(causal):
    generator = torch.Generator().manual_seed(0)
    q, k1, k2, v1, v2 = (torch.rand(2, 9, 4, dtype=torch.float64, generator=generator) for _ in range(5))
    table = torch.rand(9, 9, generator=generator) < 0.7
    limits = [torch.arange(1, 10)] * 2 if causal else None
    for x in (q, k1, v2):
        x.requires_grad_()
    ours = exact_tuples._Native.apply(q, k1, k2, v1, v2, limits, table)
    theirs = exact_tuples.in_blocks(q, (k1, k2), (v1, v2), limits, table, block=4)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (q, k1, v2)),
        torch.autograd.grad(theirs.square().sum(), (q, k1, v2)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    order=st.integers(2, 4),
    size=st.sampled_from([0.2, 0.7, 1.0]),
    eps=st.sampled_from([0.3, 1e-2, 1e-4, 1e-8]),
    causal=st.booleans(),
    values=st.sampled_from(["product", "sum"]),
)
def test_the_fast_mode_keeps_its_bound(seed, order, size, eps, causal, values):
    rng = np.random.default_rng(seed)
    sizes = [13, 9, 6][: order - 1]
    Q, Ks, Vs = inputs(seed, 11, sizes, 5, 4, size)
    masks = [rng.random(n) < 0.8 for n in sizes]
    options = {"causal": causal, "values": values, "masks": masks}
    exact = tensor_attention(Q, Ks, Vs, mode="exact", **options)
    fast, info = tensor_attention(Q, Ks, Vs, mode="poly", eps=eps, return_info=True, **options)
    sizes_of_values = [np.abs(V).max() for V in Vs]
    largest = math.prod(sizes_of_values) if values == "product" else sum(sizes_of_values)
    assert info.bound <= eps
    assert np.abs(fast - exact).max() <= info.bound * largest + 1e-13


PROTOTYPE = {
    (4, 1.0): {1: 1e-2, 2: 2.5e-3, 3: 1e-4, 4: 1e-5, 6: 7e-8},
    (4, 1.3): {1: 6e-2, 2: 2e-2, 3: 3.5e-3, 4: 7e-4, 6: 2e-5},
    (8, 1.0): {1: 5e-3, 2: 5e-4, 3: 3e-5, 4: 2e-6, 6: 6e-9},
}


@pytest.mark.parametrize(("case", "errors"), PROTOTYPE.items(), ids=str)
def test_errors_of_taylor_polynomials_are_as_known(case, errors):
    """The factored form with all monomials up to a degree, against figures found before this code was written."""
    from gossamer.linalg import AnisotropicMonomials

    d, B = case
    Q, Ks, Vs = inputs(0, 64, (64, 64), d, d, B)
    Vs = [np.random.default_rng(k).uniform(-B, B, V.shape) for k, V in enumerate(Vs)]
    exact = literal(Q, Ks, Vs, 1 / d)
    for degree, known in errors.items():
        monomials = AnisotropicMonomials(np.ones(d), degree)
        assert len(monomials) == math.comb(d + degree, degree)
        weights = monomials.multinomials / [math.factorial(k) for k in monomials.degrees]
        U = monomials.features(Q / d) * weights
        F = [monomials.features(K) for K in Ks]
        states = math.prod(f.T @ V for f, V in zip(F, Vs, strict=True))
        out = (U @ states) / (U @ math.prod(f.sum(0) for f in F))[:, None]
        error = np.abs(out - exact).max() / np.abs(exact).max()
        assert known / 10 <= error <= known * 10, (degree, error)


def test_the_product_of_khatri_rao_products_is_the_product_of_products():
    rng = np.random.default_rng(0)
    F, V = ([rng.standard_normal((7, width)) for _ in range(2)] for width in (5, 3))
    np.testing.assert_allclose(
        khatri_rao(*F).T @ khatri_rao(*V).to_dense(), (F[0].T @ V[0]) * (F[1].T @ V[1])
    )


@pytest.mark.parametrize("mode", ["exact", "poly"])
class TestEitherMode:
    def run(self, mode, *arguments, **options):
        return tensor_attention(*arguments, mode=mode, eps=1e-10, **options)

    def test_equal_logits_give_the_product_of_the_means(self, mode):
        _, Ks, Vs = inputs(0, 1, (5, 8), 4, 3)
        out = self.run(mode, np.zeros((2, 4)), Ks, Vs)
        np.testing.assert_allclose(out, np.tile(Vs[0].mean(0) * Vs[1].mean(0), (2, 1)), atol=1e-14)

    def test_one_token_gives_the_product_of_its_values(self, mode):
        Q, Ks, Vs = inputs(0, 3, (1, 1), 4, 3, 0.5)
        np.testing.assert_allclose(self.run(mode, Q, Ks, Vs), np.tile(Vs[0] * Vs[1], (3, 1)), atol=1e-9)

    def test_the_order_of_tokens_and_of_sets_does_not_matter(self, mode):
        Q, Ks, Vs = inputs(0, 3, (6, 5), 4, 3, 0.5)
        out = self.run(mode, Q, Ks, Vs)
        order = np.random.default_rng(0).permutation(6)
        np.testing.assert_allclose(
            self.run(mode, Q, [Ks[0][order], Ks[1]], [Vs[0][order], Vs[1]]), out, atol=1e-12
        )
        np.testing.assert_allclose(self.run(mode, Q, Ks[::-1], Vs[::-1]), out, atol=1e-12)

    def test_a_query_that_sees_nothing_yields_zero_and_finite_gradients(self, mode):
        for order in (2, 3, 4):
            Q, Ks, Vs = inputs(0, 3, (4,) * (order - 1), 2, 2, 0.5)
            Q = torch.from_numpy(Q).requires_grad_()
            masks = [torch.zeros(4, dtype=torch.bool)] + [None] * (order - 2)
            Ks, Vs = ([torch.from_numpy(x) for x in group] for group in (Ks, Vs))
            out = self.run(mode, Q, Ks, Vs, masks=masks)
            assert (out == 0).all()
            (slope,) = torch.autograd.grad(out.sum(), Q)
            assert (slope == 0).all()

    @pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0, 3), (2, 3, 0), (0, 0, 0)])
    def test_empty_sets_are_fine(self, mode, shape):
        m, n1, n2 = shape
        Q, Ks, Vs = inputs(0, m, (n1, n2), 2, 4)
        out = self.run(mode, Q, Ks, Vs)
        assert out.shape == (m, 4)
        assert (out == 0).all() or n1 * n2

    def test_batches_are_independent(self, mode):
        parts = [inputs(seed, 4, (5, 6), 3, 2, 0.5) for seed in range(6)]
        Q = np.stack([part[0] for part in parts]).reshape(2, 3, 4, 3)
        Ks, Vs = (
            [np.stack([part[g][s] for part in parts]).reshape(2, 3, n, -1) for s, n in ((0, 5), (1, 6))]
            for g in (1, 2)
        )
        out = self.run(mode, Q, Ks, Vs).reshape(6, 4, 2)
        for row, part in zip(out, parts, strict=True):
            np.testing.assert_allclose(row, self.run(mode, *part), atol=1e-9)

    def test_half_precision_is_kept(self, mode):
        Q, Ks, Vs = (torch.from_numpy(np.stack(x)).bfloat16() for x in inputs(0, 4, (4, 4), 3, 3, 0.5))
        out = tensor_attention(Q, list(Ks), list(Vs), mode=mode, eps=1e-2)
        assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("step", [1, 7, 30])
def test_prefix_sums_do_not_depend_on_the_chunk(step):
    Q, Ks, Vs = inputs(0, 30, (40, 20), 3, 2, 0.6)
    Q, *Ks = (torch.from_numpy(x) for x in (Q, *Ks))
    Vs = [torch.from_numpy(V) for V in Vs]
    plan = PolyPlan(Q, Ks, 1e-6, 20_000)
    whole, parts = (poly_tuples(Q, Ks, Vs, [None, None], plan, causal=True, step=s) for s in (64, step))
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_huge_logits_pick_the_largest(dtype, order):
    rng = np.random.default_rng(0)
    sizes = (5,) * (order - 1)
    Q, Ks, Vs = inputs(0, 6, sizes, 3, 2)
    logits = Q @ khatri_rao(*Ks, np.ones((1, 3))).to_dense().T
    Q = Q * (1e4 / np.abs(logits).max(1, keepdims=True))
    Vs = [rng.standard_normal((5, 2)) for _ in sizes]
    out = tensor_attention(
        Q.astype(dtype), [K.astype(dtype) for K in Ks], [V.astype(dtype) for V in Vs], scale=1.0, mode="exact"
    )
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out, literal(Q, Ks, Vs, 1.0), atol=1e-12 if dtype == np.float64 else 2e-2)


def test_auto_says_what_it_runs_and_why():
    Q, Ks, Vs = inputs(0, 400, (400, 400), 4, 4, 0.7)
    _, info = tensor_attention(Q, Ks, Vs, eps=1e-2, return_info=True)
    assert info.mode == "poly"
    assert "monomials keep" in info.reason
    assert info.features > 1
    _, info = tensor_attention(Q[:5], Ks, Vs, scale=50.0, return_info=True)
    assert info.mode == "exact"
    assert "max_features" in info.reason
    _, info = tensor_attention(Q[:5], Ks, Vs, tuples="increasing", return_info=True)
    assert info.mode == "exact"
    assert "increasing" in info.reason
    few = inputs(0, 4, (4, 4), 4, 4, 1.0)
    assert tensor_attention(*few, eps=1e-9, return_info=True)[1].mode == "exact"


def test_work_without_end_is_refused_with_its_size():
    Q, Ks, Vs = inputs(0, 5000, (5000, 5000), 2, 2, 8.0)
    with pytest.raises(CostError, match="floating-point operations") as caught:
        tensor_attention(Q, Ks, Vs, mode="exact")
    assert isinstance(caught.value, MemoryError)
    with pytest.raises(BoundError, match="max_features") as caught:
        tensor_attention(Q, Ks, Vs, mode="poly")
    assert caught.value.R > 100
    with pytest.raises(CostError, match="max_features"):
        tensor_attention(Q, Ks, Vs)


def test_bad_input_is_refused():
    Q, Ks, Vs = inputs(0, 4, (5, 6), 3, 2)
    shapes = (
        (lambda: tensor_attention(Q, [], []), "0 Ks"),
        (lambda: tensor_attention(Q, Ks, Vs[:1]), "2 Ks and 1 Vs"),
        (lambda: tensor_attention(Q, [Ks[0], Ks[1][:, :2]], Vs), r"Ks\[1\] has 2 columns"),
        (lambda: tensor_attention(Q, Ks, Vs[::-1]), r"Vs\[0\] has shape"),
        (lambda: tensor_attention(Q[None], Ks, Vs), r"Ks\[0\] has shape"),
        (lambda: tensor_attention(Q[0], Ks, Vs), "Q has shape"),
        (lambda: tensor_attention(Q, Ks, Vs, masks=[None]), "1 masks"),
        (lambda: tensor_attention(Q, Ks, Vs, masks=[np.ones(4, bool), None]), r"masks\[0\]"),
        (lambda: tensor_attention(Q, Ks, Vs, pair_mask=np.ones((6, 5), bool)), "pair_mask"),
    )
    for call, message in shapes:
        with pytest.raises(ShapeError, match=message):
            call()
    values = (
        (lambda: tensor_attention(Q, Ks, Vs, eps=-1), "eps"),
        (lambda: tensor_attention(Q, Ks, Vs, mode="fast"), "mode"),
        (lambda: tensor_attention(Q, Ks, Vs, tuples="some"), "tuples"),
        (lambda: tensor_attention(Q, Ks, Vs, values="mean"), "values"),
        (lambda: tensor_attention(Q, Ks, Vs, scale=np.nan), "scale"),
        (lambda: tensor_attention(Q, Ks, Vs, masks=[np.ones(5), None]), "expected bool"),
        (lambda: tensor_attention(Q * np.nan, Ks, Vs), "Q has 12 NaN"),
        (lambda: tensor_attention(Q * 1j, Ks, Vs), "complex"),
        (lambda: tensor_attention(Q.astype(np.float32), Ks, Vs), "as Q"),
        (lambda: tensor_attention(Q, Ks, Vs, mode="poly", pair_mask=np.ones((5, 6), bool)), "pair_mask"),
        (lambda: TensorAttention(10, 3), "multiple"),
        (lambda: TensorAttention(8, 2, order=1), "order"),
        (lambda: TensorAttention(8, 2, scale="d"), "scale"),
        (lambda: HigherOrderAttention(8, {}), "heads"),
    )
    for call, message in values:
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(ShapeError, match="x has shape"):
        TensorAttention(8, 2)(torch.zeros(3, 8))
    with pytest.raises(ShapeError, match="mask has shape"):
        TensorAttention(8, 2)(torch.zeros(1, 3, 8), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": 2},
        {"order": 4, "head_dim": 3},
        {"values": "sum", "scale": "1/d"},
        {"mode": "poly", "bound": 0.8, "eps": 0.1},
        {"scale": "learned", "causal": True, "bias": False},
    ],
    ids=str,
)
def test_a_layer_keeps_the_contract_of_modules(options):
    torch.manual_seed(0)
    check_module(TensorAttention(8, 2, **options), torch.randn(2, 6, 8))


def test_orders_side_by_side_keep_the_contract_of_modules():
    torch.manual_seed(0)
    layer = HigherOrderAttention(8, {2: 2, 3: 2})
    check_module(layer, torch.randn(2, 6, 8))
    assert set(layer.explain(torch.randn(2, 6, 8))) == {2, 3}


def test_hidden_tokens_change_nothing_in_a_layer():
    torch.manual_seed(0)
    layer, x = TensorAttention(8, 2), torch.randn(2, 6, 8)
    mask = torch.arange(6) < torch.tensor([[4], [4]])
    torch.testing.assert_close(layer(x, mask)[:, :4], layer(x[:, :4]))


def test_squashed_layers_stay_within_the_bound():
    torch.manual_seed(0)
    layer = TensorAttention(8, 2, bound=0.5, mode="poly")
    info = layer.explain(100 * torch.randn(2, 6, 8))
    assert info.mode == "poly"
    assert info.R <= 0.5**3 * 4 / 2 * (1 + 1e-6)
