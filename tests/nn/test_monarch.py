"""Monarch layers give what their dense weight gives, forward and backward; models go there and back."""

import copy
import math

import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn import MonarchLinear, StructuredLinear, densify, monarchize
from gossamer.testing import check_module


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("init", ["kaiming", "dense"])
@pytest.mark.parametrize(("sizes", "blocks"), [((8, 12), 2), ((13, 9), 3), ((12, 12), (3, 2))])
def test_it_keeps_the_contract_of_a_module(sizes, blocks, init):
    check_module(MonarchLinear(*sizes, nblocks=blocks, init=init), torch.randn(5, sizes[0]))


@pytest.mark.parametrize("tokens", [1, 7, 70, 600])
def test_gradients_are_those_of_the_dense_weight(tokens):
    layer = MonarchLinear(50, 70, nblocks=4, dtype=torch.float64)
    x = torch.randn(tokens, 50, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(tokens, 70, dtype=torch.float64)
    leaves = [x, *layer.parameters()]
    ours = torch.autograd.grad((layer(x) * upstream).sum(), leaves)
    dense = torch.nn.functional.linear(x, layer.matrix.to_dense(), layer.bias)
    for mine, theirs in zip(ours, torch.autograd.grad((dense * upstream).sum(), leaves)):
        torch.testing.assert_close(mine, theirs)


def test_second_derivatives_flow():
    layer = MonarchLinear(6, 6, nblocks=2, dtype=torch.float64)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    f = layer.matrix.factors
    run = lambda w1, w2, x: type(layer.matrix)(layer.structure, (6, 6), {"w1": w1, "w2": w2}) @ x.T  # noqa: E731
    assert torch.autograd.gradgradcheck(run, (*(f[n].detach().requires_grad_() for n in ("w1", "w2")), x))


def test_the_initialisation_is_that_of_the_paper():
    layer = MonarchLinear(1024, 256, nblocks=4)
    w1, w2 = layer.matrix.factors.values()
    assert w1.shape == (4, 64, 256)
    assert w2.shape == (4, 64, 64)
    for factor in (w1, w2):
        assert (
            0.99 / math.sqrt(factor.shape[2])
            < float(factor.detach().abs().max())
            <= 1 / math.sqrt(factor.shape[2])
        )
    assert float(layer.bias.detach().abs().max()) <= 1 / math.sqrt(256)


def test_from_linear_is_the_projection_and_to_linear_goes_back():
    linear = torch.nn.Linear(16, 24)
    layer = MonarchLinear.from_linear(linear, nblocks=2, rank=50)
    assert isinstance(layer, MonarchLinear)
    x = torch.randn(4, 16)
    torch.testing.assert_close(layer(x), linear(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.to_linear()(x), linear(x), atol=1e-5, rtol=1e-5)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.ReLU(), torch.nn.Linear(48, 32))
        self.attn, self.head = torch.nn.Linear(32, 32), torch.nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.attn(self.mlp(x)))


def test_a_model_goes_to_monarch_and_back_with_the_same_outputs():
    net, report = monarchize(Model(), 4, min_features=16)
    assert {layer.name for layer in report.layers} == {"mlp.0", "mlp.2", "attn"}
    assert isinstance(net.head, torch.nn.Linear)
    x = torch.randn(6, 32)
    before = net(x)
    keys = set(Model().state_dict())
    densify(net)
    assert set(net.state_dict()) == keys
    assert not any(isinstance(m, StructuredLinear) for m in net.modules())
    torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-5)


def test_the_report_counts_parameters_operations_and_errors():
    net = Model()
    weights = {name: p.detach().clone() for name, p in net.named_parameters()}
    net, report = monarchize(net, 4, min_features=16)
    assert report.parameters == (
        sum(w.numel() for w in weights.values()),
        sum(p.numel() for p in net.parameters()),
    )
    for layer in report.layers:
        dense = net.get_submodule(layer.name).matrix.to_dense().detach()
        wanted = float(
            (weights[f"{layer.name}.weight"] - dense).norm() / weights[f"{layer.name}.weight"].norm()
        )
        assert abs(layer.relative_error - wanted) < 1e-5
        assert layer.flops[0] == 2 * layer.shape[0] * layer.shape[1] > layer.flops[1]
    assert report.to_dict()["flops"][1] == sum(layer.flops[1] for layer in report.layers)


def test_layers_are_chosen_by_name_size_and_use():
    net = Model()
    tied = torch.nn.Embedding(32, 32)
    net.attn.weight = tied.weight
    net.embedding = tied
    _, report = monarchize(copy.deepcopy(net), 2, min_features=16)
    assert [layer.name for layer in report.layers] == ["mlp.0", "mlp.2"]
    _, report = monarchize(copy.deepcopy(net), 2, include=("*mlp*",), exclude=("*.2",), min_features=16)
    assert [layer.name for layer in report.layers] == ["mlp.0"]
    _, report = monarchize(copy.deepcopy(net), 2, min_features=256)
    assert not report.layers


def test_fresh_factors_forget_the_weights():
    net = torch.nn.Sequential(torch.nn.Linear(32, 32))
    net[0].weight.data.zero_()
    net, report = monarchize(net, method="fresh", min_features=16)
    assert float(net[0].matrix.to_dense().detach().abs().max()) > 0
    assert math.isnan(report.layers[0].relative_error)


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match="3 columns do not fill 4 blocks"):
        MonarchLinear(3, 8)
    with pytest.raises(ArgumentError, match="init"):
        MonarchLinear(8, 8, init="zeros")
    with pytest.raises(UnsupportedError, match="int64"):
        MonarchLinear(8, 8, dtype=torch.int64)
    with pytest.raises(UnsupportedError, match="ReLU"):
        MonarchLinear.from_linear(torch.nn.ReLU())
    with pytest.raises(ArgumentError, match="method"):
        monarchize(Model(), method="nearest")
    linear = torch.nn.Linear(8, 8)
    linear.weight.data[0, 0] = math.nan
    with pytest.raises(ArgumentError, match="NaN"):
        MonarchLinear.from_linear(linear)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_blocks_of_transformers_are_exchanged_and_come_back(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ids = torch.randint(40, (2, 7))
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=32, n_layer=2, n_head=2)
        model, exchanged = transformers.GPT2Model(config).eval(), 4
    else:
        config = transformers.BertConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        model, exchanged = transformers.BertModel(config, add_pooling_layer=False).eval(), 6
    with torch.no_grad():
        wanted = model(ids).last_hidden_state
        model, _ = monarchize(model, 1, min_features=16)  # one block of full rank is the dense matrix
        torch.testing.assert_close(model(ids).last_hidden_state, wanted, rtol=1e-4, atol=1e-4)
        densify(model)
        model, report = monarchize(model, 4, min_features=16)
        assert len(report.layers) == 2 * exchanged
        assert report.parameters[1] < report.parameters[0]
        sparse = model(ids).last_hidden_state
        torch.testing.assert_close(densify(model)(ids).last_hidden_state, sparse, rtol=1e-4, atol=1e-4)
