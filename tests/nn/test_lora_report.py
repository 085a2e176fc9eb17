"""The norm report: what it promises is kept, adapters are measured, a model that it cannot see is refused."""

import pytest
import torch

from gossamer._core.errors import ArgumentError
from gossamer.nn import FastLoRAAttention, PolynomialAttention, lora_norm_report


class Tiny(torch.nn.Module):
    """Two layers of attention over an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 16)
        self.layers = torch.nn.ModuleList(FastLoRAAttention(16, 4, mode="exact") for _ in range(2))

    def forward(self, tokens):
        x = 0.5 * self.embedding(tokens)
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_what_the_norm_report_promises_is_kept_in_every_head():
    torch.manual_seed(0)
    model, tokens = Tiny(), torch.randint(50, (1, 64))
    report = lora_norm_report(model, tokens, eps=(0.1, 0.01), rank=True)
    assert len(report.rows) == 2 * 4 * 2
    assert report.tokens == 64
    assert report.to_markdown().count("\n") == 17
    for row in report.rows:
        assert row.centred_logit <= row.R * (1 + 1e-9)
        assert 0 < row.rank <= row.k1
    x = 0.5 * model.embedding(tokens)
    q, k, v = model.layers[0]._heads(x)
    for row in report.rows[:8:2]:
        part = [y[:, row.head].double() for y in (q, k, v)]
        fast = PolynomialAttention("poly", eps=row.eps, max_features=row.k1)(*part)
        exact = torch.nn.functional.scaled_dot_product_attention(*part)
        assert (fast - exact).abs().max() <= 2 * row.eps / (1 - row.eps) * part[2].abs().max()


class Adapted(torch.nn.Module):
    """Attention with PEFT's names, its keys and values shared by two heads."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj = torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 4, bias=False)
        self.v_proj = torch.nn.Linear(8, 4, bias=False)

    def forward(self, x):
        q, k, v = (getattr(self, f"{a}_proj")(x).unflatten(-1, (-1, 4)).transpose(1, 2) for a in "qkv")
        k, v = (y.repeat_interleave(2, 1) for y in (k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def _base(module):
    return getattr(module, "base_layer", module)


def test_the_report_measures_adapters_as_peft_holds_them():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = Adapted()
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(model, config)
    x = torch.randn(2, 9, 8)
    rows = lora_norm_report(model, x, eps=(0.1,)).rows
    inner = model.base_model.model
    added = {}
    for name in "qv":
        module = getattr(inner, f"{name}_proj")
        added[name] = 3 * (x @ module.lora_A["default"].weight.T @ module.lora_B["default"].weight.T)
    base = [x @ _base(getattr(inner, f"{a}_proj")).weight.T for a in "qkv"]
    for row in rows:
        own = slice(4 * row.head, 4 * row.head + 4)
        adapter = max(
            float(added["q"][..., own].detach().abs().max()), float(added["v"].detach().abs().max())
        )
        frozen = (base[0][..., own], base[1], base[2])
        assert row.adapter == pytest.approx(adapter, rel=1e-5)
        assert row.gamma == pytest.approx(
            max(adapter, *(float(y.detach().abs().max()) for y in frozen)), rel=1e-5
        )
        assert row.query == pytest.approx(float(inner.q_proj(x)[..., own].detach().abs().max()), rel=1e-5)
        assert row.key == pytest.approx(float(base[1].detach().abs().max()), rel=1e-5)


def test_a_model_without_the_attention_function_is_refused():
    with pytest.raises(ArgumentError, match="does not call"):
        lora_norm_report(torch.nn.Identity(), torch.zeros(1, 3))
