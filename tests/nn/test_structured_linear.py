"""StructuredLinear is torch.nn.Linear with another weight."""

import copy

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, FormatError, GossamerError, ShapeError, UnsupportedError
from gossamer.linalg import BlockDiagonal, Diagonal, Kronecker, LowRank, Permutation, Unstructured
from gossamer.nn import StructuredLinear, replace_linears
from gossamer.testing import check_module

STRUCTURES = [
    LowRank(2),
    LowRank(2, "bfloat16"),
    Unstructured(density=0.5),
    Unstructured(density=0.3) + LowRank(1),
    BlockDiagonal(2) @ Permutation() @ BlockDiagonal(3),
    Kronecker((2, 3), (3, 2)),
    Unstructured(density=0.5).T,
    Diagonal(),
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_it_keeps_the_contract_of_a_module(structure, bias):
    check_module(StructuredLinear(6, 6, bias, structure=structure), torch.randn(4, 6))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_it_gives_what_the_dense_layer_gives(structure):
    layer = StructuredLinear.from_linear(torch.nn.Linear(6, 6), structure)
    dense = layer.to_linear()
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(layer(x), dense(x), atol=2e-5, rtol=2e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), dense(x), atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(layer.weight, dense.weight, atol=1e-6, rtol=1e-6)


def test_from_linear_projects_in_the_metric_and_keeps_the_bias():
    linear = torch.nn.Linear(8, 5)
    X = torch.randn(40, 8) @ torch.randn(8, 8)
    metric = X.T @ X / len(X)
    layer = StructuredLinear.from_linear(linear, LowRank(2), metric)
    blind = StructuredLinear.from_linear(linear, LowRank(2))
    with torch.no_grad():
        errors = [((other(X) - linear(X)) ** 2).mean().item() for other in (layer, blind)]
    assert errors[0] < errors[1]
    assert torch.equal(layer.bias, linear.bias)
    assert layer.bias is not linear.bias


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_casting_the_module_leaves_the_format_of_the_weight(dtype):
    layer = StructuredLinear(6, 4, structure=LowRank(2)).to(dtype)
    assert layer.left.dtype == torch.float32
    assert layer.bias.dtype == dtype
    assert layer(torch.randn(3, 6, dtype=dtype)).dtype == dtype


def test_the_state_dict_names_factors_as_files_do():
    layer = StructuredLinear(6, 6, structure=Unstructured(density=0.5) + LowRank(1))
    assert set(layer.state_dict()) == {"0.indptr", "0.indices", "0.data", "1.left", "1.right", "bias"}
    parameters = {name for name, _ in layer.named_parameters()}
    assert parameters == {"0.data", "1.left", "1.right", "bias"}


def test_untrainable_factors_are_buffers():
    layer = StructuredLinear(6, 4, structure=LowRank(2), trainable=False)
    assert {name for name, _ in layer.named_parameters()} == {"bias"}
    x = torch.randn(3, 6, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 6))


def test_loaded_indices_are_checked_before_a_kernel_walks_them():
    layer = StructuredLinear(6, 4, structure=Unstructured(density=0.5))
    state = copy.deepcopy(layer.state_dict())
    state["indices"][0] = 1_000_000
    with pytest.raises(GossamerError, match="indices"):
        layer.load_state_dict(state)
    layer = StructuredLinear(6, 4, structure=Unstructured(density=0.5))
    layer(torch.zeros(1, 6))
    layer.indices[-1] = -3
    with pytest.raises(GossamerError, match="indices"):
        layer(torch.zeros(1, 6))


def test_training_moves_the_matrix_that_is_used():
    layer = StructuredLinear(6, 4, structure=LowRank(2))
    x = torch.randn(3, 6)
    with torch.no_grad():
        before = layer(x)
        layer.left.mul_(2)
        torch.testing.assert_close(layer(x) - layer.bias, 2 * (before - layer.bias))
        layer.right = torch.nn.Parameter(torch.zeros_like(layer.right))
        torch.testing.assert_close(layer(x), layer.bias.expand(3, 4))


def test_the_repr_says_structure_and_size():
    assert "LowRank(rank=2" in repr(StructuredLinear(6, 4, structure=LowRank(2)))
    assert "80 bytes" in repr(StructuredLinear(6, 4, structure=LowRank(2)))


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="exactly one"):
        StructuredLinear(6, 4)
    with pytest.raises(ShapeError, match="out_features"):
        StructuredLinear(6, 4, matrix=LowRank(2).project(np.ones((6, 4))))
    with pytest.raises(ShapeError, match="last place"):
        StructuredLinear(6, 4, structure=LowRank(2))(torch.zeros(3, 5))
    with pytest.raises(UnsupportedError, match="Conv1d"):
        StructuredLinear.from_linear(torch.nn.Conv1d(1, 1, 1), LowRank(2))
    with pytest.raises((FormatError, RuntimeError)):
        StructuredLinear(6, 4, structure=LowRank(2)).load_state_dict({"left": torch.zeros(2, 2)})


class TestReplaceLinears:
    def test_all_by_one_family(self):
        model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
        assert replace_linears(model, LowRank(2)) is model
        assert [type(module).__name__ for module in model] == ["StructuredLinear", "ReLU", "StructuredLinear"]

    def test_a_function_chooses_by_name(self):
        model = torch.nn.ModuleDict({"up": torch.nn.Linear(6, 6), "head": torch.nn.Linear(6, 4)})
        names = []

        def choose(name, linear):
            names.append(name)
            return None if name == "head" else LowRank(linear.in_features // 3)

        replace_linears(model, choose)
        assert names == ["up", "head"]
        assert model["up"].structure == LowRank(2)
        assert type(model["head"]) is torch.nn.Linear

    def test_a_shared_layer_stays_shared(self):
        shared = torch.nn.Linear(6, 6)
        model = torch.nn.Sequential(shared, torch.nn.Sequential(shared), shared)
        replace_linears(model, LowRank(2))
        assert model[0] is model[1][0] is model[2]
        assert isinstance(model[0], StructuredLinear)

    def test_a_model_that_is_a_linear_layer(self):
        assert isinstance(replace_linears(torch.nn.Linear(6, 4), LowRank(2)), StructuredLinear)

    def test_multi_head_attention_reads_the_weight_of_its_output_layer(self):
        attention = torch.nn.MultiheadAttention(6, 2, batch_first=True)
        x = torch.randn(2, 5, 6)
        expected = attention(x, x, x)[0]
        replace_linears(attention, LowRank(6))
        torch.testing.assert_close(attention(x, x, x)[0], expected)

    def test_other_choices_are_refused(self):
        with pytest.raises(UnsupportedError, match="str"):
            replace_linears(torch.nn.Sequential(torch.nn.Linear(2, 2)), "low-rank")
        with pytest.raises(UnsupportedError, match="int"):
            replace_linears(torch.nn.Sequential(torch.nn.Linear(2, 2)), lambda name, linear: 3)
