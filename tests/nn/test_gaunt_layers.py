"""Layers made of Gaunt products: the contract of modules, equivariance, normalisation, and agreement with e3nn."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import rotate_harmonics
from gossamer.nn import (
    BesselBasis,
    GauntConvolution,
    GauntManyBody,
    GauntSelfMix,
    GauntTensorProduct,
    as_e3nn_module,
    from_e3nn_irreps,
    gaunt_path_scale,
    gaunt_product,
    to_e3nn_irreps,
)
from gossamer.nn.equivariant.degree_weights import power_scales
from gossamer.nn.equivariant.gaunt_product import gaunt_multiply
from gossamer.testing import check_module


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def rotation():
    Q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    return torch.from_numpy(Q * np.sign(np.linalg.det(Q)))


EDGES = (
    torch.nn.functional.normalize(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1) * 2
)
CASES = {
    "product": lambda: (GauntTensorProduct(2, 1, 2, 4), torch.randn(5, 4, 9), torch.randn(5, 4, 4)),
    "product of degrees": lambda: (
        GauntTensorProduct(2, 1, 2, 4, "l"),
        torch.randn(5, 4, 9),
        torch.randn(5, 1, 4),
    ),
    "cross": lambda: (
        GauntTensorProduct(2, 1, 2, 4, with_cross=True),
        torch.randn(5, 4, 9),
        torch.randn(5, 4, 4),
    ),
    "self mix": lambda: (GauntSelfMix(2, 4), torch.randn(5, 4, 9)),
    "self mix of two": lambda: (GauntSelfMix(2, 4, 3, 6, same=False), torch.randn(5, 4, 9)),
    "many-body of weighed factors": lambda: (
        GauntManyBody(2, 1, 3, 4, 2, factor_weights=True),
        torch.randn(5, 4, 9),
        torch.eye(2)[[0, 1, 1, 0, 1]],
    ),
    "many-body": lambda: (GauntManyBody(2, 1, 3, 4, 2), torch.randn(5, 4, 9), torch.eye(2)[[0, 1, 1, 0, 1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_keep_the_contract_of_modules(name):
    module, *inputs = CASES[name]()
    check_module(module, *inputs, half="many-body" not in name, learning_rate=1e-3)


def test_the_convolution_keeps_the_contract_of_modules():
    check_module(GauntConvolution(1, 2, 2, 4), torch.randn(6, 4, 4), EDGES, half=False)


@pytest.mark.parametrize("name", CASES)
def test_layers_commute_with_rotations(name):
    module, x, *rest = CASES[name]()
    module, R = module.double(), rotation()

    def turn(x):
        return rotate_harmonics(x, R, int(x.shape[-1] ** 0.5) - 1)

    rest = [tensor.double() for tensor in rest]
    turned = [turn(tensor) if "many-body" not in name else tensor for tensor in rest]
    assert (module(turn(x.double()), *turned) - turn(module(x.double(), *rest))).abs().max() < 1e-10


@pytest.mark.parametrize("degrees", [(1, 1, 1), (3, 2, 4), (4, 4, 4)])
def test_variance_one_stays_variance_one(degrees):
    layer = GauntTensorProduct(*degrees, channels=16)
    x, y = (torch.randn(3000, 16, (L + 1) ** 2) for L in degrees[:2])
    variance = layer(x, y).var((0, 1))
    assert (variance - 1).abs().max() < 0.1


def test_weights_are_of_rank_one_and_may_come_from_outside():
    x, y = torch.randn(3, 2, 9), torch.randn(3, 2, 9)
    plain = GauntTensorProduct(2, 2, 2, 2, weight="none")
    assert torch.equal(plain(x, y), gaunt_product(x, y, 2, 2, 2))
    inner, outer = GauntTensorProduct(2, 2, 2, 2), GauntTensorProduct(2, 2, 2, 2, shared=False)
    assert outer.weight_numel == 18
    assert not list(outer.parameters())
    assert torch.allclose(outer(x, y, torch.ones(3, 18)), inner(x, y))
    assert torch.allclose(outer(x, y, 2 * torch.ones(18)), 8 * inner(x, y), rtol=1e-4)
    with pytest.raises(ArgumentError, match="shared=False"):
        outer(x, y)
    with pytest.raises(ArgumentError, match="shared=True"):
        inner(x, y, torch.ones(18))
    with pytest.raises(ShapeError, match="expected"):
        outer(x, y, torch.ones(17))
    with pytest.raises(ShapeError, match="x has shape"):
        inner(torch.randn(3, 5, 9), y)


def test_the_cross_product_is_added_where_asked_for():
    layer = GauntTensorProduct(1, 1, 1, 2, weight="none", with_cross=True)
    x, y = torch.zeros(2, 2, 4), torch.zeros(2, 2, 4)
    x[..., 1:], y[..., 1:] = torch.randn(2, 2, 3), torch.randn(2, 2, 3)
    assert torch.allclose(
        layer(x, y)[..., 1:], 0.5**0.5 * torch.linalg.cross(x[..., 1:], y[..., 1:]), atol=1e-6
    )
    with pytest.raises(ArgumentError, match="with_cross"):
        GauntTensorProduct(1, 0, 1, 2, with_cross=True)


def per_order(weight):
    return weight[..., torch.tensor([l for l in range(weight.shape[-1]) for _ in range(2 * l + 1)])]


@pytest.mark.parametrize("own", [True, False])
def test_many_body_is_the_sum_of_weighted_whole_products(own):
    layer = GauntManyBody(2, 3, correlation=3, channels=2, elements=2, factor_weights=own).double()
    x, element = torch.randn(4, 2, 9, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    factors = [x] * 5 if not own else [x * per_order(weight) for weight in layer.factor_weight]
    square = gaunt_product(factors[0], factors[1], 2, 2)
    cube = gaunt_product(gaunt_product(factors[2], factors[3], 2, 2), factors[4], 4, 2)
    powers = [torch.nn.functional.pad(x, (0, 7)), square[..., :16], cube[..., :16]]
    weight = layer.weight * layer.scale
    expected = sum(per_order(weight[i, element]) * power for i, power in enumerate(powers))
    assert torch.allclose(layer(x, torch.eye(2)[element]), expected, atol=1e-11)
    with pytest.raises(ShapeError, match="onehot"):
        layer(x, torch.eye(3)[element])
    with pytest.raises(ShapeError, match="x has shape"):
        layer(x[:, :1], torch.eye(2)[element])


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize(("power", "L_out"), [(1, 2), (2, 3), (3, 2), (4, 1)])
def test_scales_bring_powers_of_normal_coefficients_to_mean_square_one(power, L_out, mixed):
    x = torch.randn(100_000, 1, 9)
    weights = torch.randn(len(x), power, 3) if mixed else torch.ones(len(x), power, 3)
    factors = (x * per_order(weights)).unbind(1)
    z = gaunt_multiply(factors, (2,) * power, L_out) if power > 1 else factors[0]
    scales = torch.tensor(power_scales(2, power, L_out, mixed))
    squares = (z * per_order(scales)).square().mean(0)
    for l in range(L_out + 1):
        assert abs(float(squares[l * l : (l + 1) ** 2].mean()) - 1) < (0.25 if power == 4 and mixed else 0.1)


def test_a_degree_beyond_the_power_keeps_the_factor_one():
    assert power_scales(1, 2, 4, True)[3:] == (1.0, 1.0)


def test_factors_may_subtract_what_a_square_can_only_add():
    x = torch.randn(200, 1, 9)
    plain = GauntManyBody(2, 0, 2, 1, 1)
    layer = GauntManyBody(2, 0, 2, 1, 1, factor_weights=True)
    with torch.no_grad():
        for module in (plain, layer):
            module.weight.copy_(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1))
        layer.factor_weight.copy_(torch.tensor([[[1.0, -1, 1]], [[1.0, 1, 1]]]))
    ones = torch.ones(200, 1)
    assert plain(x, ones).min() > 0
    parts = torch.stack([x[..., l * l : (l + 1) ** 2].square().sum((1, 2)) for l in range(3)], 1)
    expected = parts @ torch.tensor([1.0, -1, 1]) / (4 * np.pi) ** 0.5 * layer.scale[1].squeeze()
    assert torch.allclose(layer(x, ones).flatten(), expected, atol=1e-4)


def test_both_methods_of_the_convolution_have_the_same_derivatives():
    layer = GauntConvolution(2, 3, 3, 4).double()
    other = GauntConvolution(2, 3, 3, 4, layer.radial, method="general").double()
    x, v = torch.randn(6, 4, 9, dtype=torch.float64), EDGES.double().requires_grad_()
    slopes = []
    for module in (layer, other):
        energy = module(x, v).square().sum()
        (force,) = torch.autograd.grad(energy, v, create_graph=True)
        slopes.append((force, *torch.autograd.grad(force.square().sum(), layer.radial.parameters())))
    for a, b in zip(*slopes):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-9)


def test_radial_functions_end_smoothly_at_the_cutoff():
    basis = BesselBasis(8, r_max=5.0, p=5).double()
    r = torch.tensor([1.0, 4.99, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    values = basis(r)
    assert values.shape == (4, 8)
    assert values[2:].abs().max() == 0
    (slope,) = torch.autograd.grad(values.sum(), r)
    assert slope[1].abs() < 1e-3
    expected = np.sin(np.pi * np.arange(1, 9) / 5)
    envelope = 1 - 21 * 0.2**5 + 35 * 0.2**6 - 15 * 0.2**7
    ratio = values[0].detach().numpy() / (expected * envelope)
    points = torch.linspace(1e-3, 5, 20_001, dtype=torch.float64)
    mean = np.trapezoid((3 / 125 * points[:, None] ** 2 * basis(points) ** 2).numpy(), points, axis=0)
    assert np.allclose(mean, 1, atol=1e-6)
    assert (ratio > (2 / 5) ** 0.5 * (125 / 3) ** 0.5).all()


def test_layouts_of_e3nn_come_and_go():
    x = torch.randn(5, 3, 9)
    for normalization in ("component", "norm", "integral"):
        features, irreps = to_e3nn_irreps(x, normalization)
        assert irreps == "3x0e+3x1o+3x2e"
        assert torch.allclose(from_e3nn_irreps(features, irreps, normalization), x, atol=1e-6)
    assert np.array_equal(
        from_e3nn_irreps(np.arange(8.0), "2x0e+2x1o", "integral"), [[0, 2, 3, 4], [1, 5, 6, 7]]
    )
    with pytest.raises(ArgumentError, match=r"2x0e\+2x1o"):
        from_e3nn_irreps(np.zeros(8), "2x0e+2x1e")
    with pytest.raises(ArgumentError, match="banana"):
        from_e3nn_irreps(np.zeros(8), "banana")
    with pytest.raises(ShapeError, match="expected 8"):
        from_e3nn_irreps(np.zeros(9), "2x0e+2x1o")


def test_a_feature_of_e3nn_stands_for_the_same_function():
    o3 = pytest.importorskip("e3nn.o3")
    from gossamer.linalg import spherical_harmonics

    points, x = torch.randn(10, 3, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    for normalization in ("component", "norm", "integral"):
        theirs = o3.spherical_harmonics([0, 1, 2], points, True, normalization) @ x
        ours = spherical_harmonics(points, 2) @ from_e3nn_irreps(x, "0e+1o+2e", normalization)[0]
        assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_the_stand_in_gives_what_the_full_product_of_e3nn_gives_on_even_paths(normalization):
    o3 = pytest.importorskip("e3nn.o3")
    first, second = "3x0e + 2x1o + 2x1o + 1x2e + 1x1e", "2x1o + 1x3o"
    ours = as_e3nn_module(first, second, normalization)
    theirs = o3.FullTensorProduct(first, second, irrep_normalization=normalization)
    x, y = torch.randn(5, theirs.irreps_in1.dim), torch.randn(5, theirs.irreps_in2.dim)
    expected, parts = theirs(x, y), []
    sources = {i_out: (i1, i2) for i1, i2, i_out, *_ in theirs.instructions}
    for i, where in enumerate(theirs.irreps_out.slices()):
        degrees = [theirs.irreps_in1[sources[i][0]].ir.l, theirs.irreps_in2[sources[i][1]].ir.l]
        if (sum(degrees) + theirs.irreps_out[i].ir.l) % 2 == 0:
            parts.append(expected[:, where])
    assert torch.allclose(ours(x, y), torch.cat(parts, -1), atol=1e-5)
    assert o3.Irreps(ours.irreps_out).dim == ours(x, y).shape[-1]
    with pytest.raises(ShapeError, match="x1"):
        ours(x[:, 1:], y)
    with pytest.raises(ShapeError, match="even sum"):
        gaunt_path_scale(1, 1, 1)
