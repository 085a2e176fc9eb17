"""Layers in training form: values against the stored matrices, gradients against torch on the explicit formula."""

import numpy as np
import pytest
from tests.compress.tiny import torch

from gossamer._core.errors import UnsupportedError
from gossamer.compress.finetune.forms import FakeQuantLinear, ScaledLinear, frozen, replaced
from gossamer.compress.finetune.placement import Placement, read_groups, with_groups
from gossamer.compress.finetune.starts import begin
from gossamer.compress.rule import Rule
from gossamer.linalg import GroupQuant, GroupSparseQuant, NMQuant, Unstructured, weighted_error

FAMILIES = [
    GroupQuant(bits=4, group=16),
    GroupQuant(bits=2, group=16, zero="float"),
    GroupQuant(bits=3, group=0, symmetric=True),
    GroupSparseQuant(bits=4, group=16, density=0.5),
    GroupSparseQuant(bits=2, group=8, density=0.3, scope="row", zero="float"),
    GroupSparseQuant(bits=8, group=16, density=0.7, symmetric=True),
    NMQuant(2, 4, bits=4, group=16),
    NMQuant(1, 4, bits=3, group=0, zero="float"),
]
WIDTHS = [48, 52]  # the second ends rows in a short group


def weights(width, rows=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, width)) @ rng.normal(size=(width, width))
    return rng.normal(size=(rows, width)).astype(np.float32), (x.T @ x / 200).astype(np.float32)


def explicit(layer, latent, scale, zero):
    """The rounded groups by the definition, with stop-gradients written out."""
    grid, s = layer.grid, scale[:, None]

    def ste(v):
        return v + (v.round() - v).detach()

    if zero is None:
        z = torch.tensor(float(2 ** (grid.bits - 1)))
        q = torch.clamp(ste(latent / s) + z, 0, grid.top)
    elif grid.zero == "int":
        z = zero[:, None] + (zero.clamp(0, grid.top).round() - zero).detach()[:, None]
        q = torch.clamp(ste(latent / s) + z, 0, grid.top)
    else:
        z = zero[:, None]
        q = torch.clamp(ste(latent / s + z), 0, grid.top)
    return (q - z) * s


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_start_is_exactly_the_projection(family, width):
    W, H = weights(width)
    for init in ("mask", "obs"):
        start = begin(W, Rule(family, pad=True), H, init)
        layer = FakeQuantLinear(start.matrix, start.latent)
        np.testing.assert_allclose(
            layer.weight().detach().numpy(), start.matrix.to_dense(), rtol=2e-3, atol=1e-3
        )
        again = layer.export()
        for name, factor in start.matrix.factors.items():
            np.testing.assert_array_equal(again.factors[name], factor, err_msg=f"{init} {name}")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_gradients_are_those_of_the_straight_through_formula(family, width):
    W, H = weights(width)
    start = begin(W, Rule(family, pad=True), H, "mask")
    layer = FakeQuantLinear(start.matrix, start.latent)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that some entries leave the range
        layer.latent.mul_(1.3).add_(0.05 * torch.randn(layer.latent.shape, generator=rng))
    x, g = torch.randn(5, width, generator=rng), torch.randn(5, 6, generator=rng)
    (layer(x) * g).sum().backward()
    twins = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    named = dict(zip([name for name, _ in layer.named_parameters()], twins, strict=True))
    values = explicit(layer, named["latent"], named["scale"], named.get("zero"))
    (torch.nn.functional.linear(x, layer.placement.dense(values)) * g).sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, named[name].grad, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_scales_and_zeros_of_fixed_codes_get_the_gradients_of_the_formula(family, width):
    W, H = weights(width)
    A = family.project(W, metric=H)
    bias = torch.randn(6)
    layer = ScaledLinear(A, bias)
    x = torch.randn(2, 5, width, requires_grad=True)
    g = torch.randn(2, 5, 6)
    y = layer(x)
    expected = x @ torch.from_numpy(A.to_dense()).T + bias
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)
    (y * g).sum().backward()
    twin = x.detach().clone().requires_grad_()
    scale = layer.scale.detach().clone().requires_grad_()
    zero = None if layer.zero is None else layer.zero.detach().clone().requires_grad_()
    z = 2 ** (layer.grid.bits - 1) if zero is None else zero[:, None]
    dense = layer.placement.dense((layer.codes.float() - z) * scale[:, None])
    ((twin @ dense.T + bias) * g).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(layer.scale.grad, scale.grad, rtol=1e-5, atol=1e-4)
    if zero is not None:
        torch.testing.assert_close(layer.zero.grad, zero.grad, rtol=1e-5, atol=1e-4)
    again = layer.export()
    for name, factor in A.factors.items():
        np.testing.assert_array_equal(again.factors[name], factor)


def test_pruned_groups_are_exactly_zero_and_get_no_gradient():
    W, H = weights(48)
    start = begin(W, Rule(GroupSparseQuant(density=0.5)), H, "mask")
    layer = FakeQuantLinear(start.matrix, start.latent)
    assert layer.latent.shape == (9, 16), "only the kept groups are parameters"
    pruned = start.matrix.to_dense() == 0
    assert (layer.weight().detach().numpy()[pruned] == 0).all()


def test_weights_that_replied_to_their_neighbours_are_more_than_the_grid_they_round_to():
    W, H = weights(64, rows=24)
    start = begin(W, Rule(GroupSparseQuant(density=0.6)), H, "obs")
    _, scale, _zero = read_groups(start.matrix)
    off = start.latent / scale[:, None] - np.rint(start.latent / scale[:, None])
    assert np.abs(off).mean() > 0.15, "remainders of rounding, about evenly spread"


def test_auto_takes_the_start_that_is_better_on_other_inputs():
    W, few = weights(64, rows=16)
    rule = Rule(GroupSparseQuant(density=0.75))
    tried = {init: begin(W, rule, few, init).matrix for init in ("mask", "obs")}
    for judge in (few, np.eye(64, dtype=np.float32)):
        chosen = begin(W, rule, few, "auto", lambda judge=judge: judge).matrix
        errors = {init: weighted_error(W, A.to_dense(), judge) for init, A in tried.items()}
        best = tried[min(errors, key=errors.get)]
        np.testing.assert_array_equal(chosen.to_dense(), best.to_dense())
    without_correlations = begin(W, Rule(GroupQuant(group=16), metric="none"), None).matrix
    np.testing.assert_array_equal(without_correlations.to_dense(), GroupQuant(group=16).project(W).to_dense())


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_groups_come_out_and_go_back(family):
    A = family.project(weights(52)[0])
    codes, scale, zero = read_groups(A)
    again = with_groups(A, codes, scale, zero)
    assert again.structure == A.structure
    for name, factor in A.factors.items():
        np.testing.assert_array_equal(again.factors[name], factor)
        assert again.factors[name].dtype == factor.dtype
    placement = Placement(A)
    values = torch.randn(codes.shape)
    inside = placement.gather(torch.ones(A.shape))
    torch.testing.assert_close(placement.gather(placement.dense(values)), values * inside)


def test_zeros_may_be_stored_as_products_after_training():
    W, H = weights(48)
    A = GroupSparseQuant(density=0.5).project(W, metric=H)
    layer = ScaledLinear(A, zero="float")
    with torch.no_grad():
        layer.zero.add_(0.3)
    B = layer.export()
    assert B.structure.zero == "float"
    assert B.factors["zero"].dtype == np.float16
    np.testing.assert_array_equal(B.factors["qweight"], A.factors["qweight"])
    expected = layer.placement.dense(layer.steps(layer.zero) * layer.scale[:, None]).detach().numpy()
    np.testing.assert_allclose(B.to_dense(), expected, rtol=2e-3, atol=2e-3)


def test_other_families_are_refused():
    with pytest.raises(UnsupportedError, match="expected a matrix of one of the"):
        Placement(Unstructured(density=0.5).project(np.ones((4, 8), np.float32)))


def test_exchanged_modules_and_frozen_parameters_come_back_after_an_error():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    first = net[0]

    def fail():
        with frozen(net), replaced(net, {"0": torch.nn.Identity()}):
            assert not any(p.requires_grad for p in net.parameters())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert net[0] is first
    assert all(p.requires_grad for p in net.parameters())
