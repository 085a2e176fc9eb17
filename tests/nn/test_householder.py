"""Layers that stay partial isometries, in their own class and as a parametrization."""

import copy

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import RankDeficientWarning
from gossamer.nn import HouseholderProjector, latent_directions, partial_isometry
from gossamer.testing import check_module

FORMS = [None, 5, "full"]


def trained(out=9, features=7, seed=0, dtype=torch.float64):
    return torch.randn(out, features, generator=torch.Generator().manual_seed(seed)).to(dtype)


def nearest(A, r, scale):
    U, s, Vt = np.linalg.svd(A.numpy())
    return (s[:r].mean() if scale == "fit" else 1.0) * U[:, :r] @ Vt[:r]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", ["one", "fit"])
@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (7, 7)])
def test_it_starts_at_the_nearest_partial_isometry(form, scale, shape):
    A, bias = trained(*shape), torch.arange(shape[0]).double()
    layer = HouseholderProjector(*shape[::-1], rank=3, n_reflections=form, scale=scale, dtype=torch.float64)
    assert layer.init_from(A, bias) is layer
    np.testing.assert_allclose(layer.weight.detach(), nearest(A, 3, scale), atol=1e-12)
    x = torch.randn(4, shape[1], dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach(), (x @ layer.weight.T + bias).detach(), atol=1e-12)
    np.testing.assert_allclose(layer.matrix.to_dense().detach(), layer.weight.detach(), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_training_never_leaves_the_family(form):
    layer = HouseholderProjector(7, 9, rank=3, n_reflections=form, scale="fit").init_from(trained())
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    x, y = trained(20, 7, 1, torch.float32), trained(20, 9, 2, torch.float32)
    for _ in range(60):
        optimiser.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        s = torch.linalg.svdvals(layer.weight)
        V = layer.directions
        alpha = float(layer.alpha.abs())
        torch.testing.assert_close(s, torch.tensor([alpha] * 3 + [0.0] * 4), atol=3e-6, rtol=0)
        torch.testing.assert_close(V @ V.T, torch.eye(3), atol=2e-6, rtol=0)
        torch.testing.assert_close((layer.weight @ V.T).norm(dim=0), torch.full((3,), alpha))
        rest = torch.linalg.svd(V)[2][3:]
        assert float((layer.weight @ rest.T).abs().max()) < 3e-6


@pytest.mark.parametrize("options", [{}, {"scale": "fit"}, {"n_reflections": "full"}, {"bias": False}])
def test_it_keeps_the_contract_of_a_module(options):
    check_module(HouseholderProjector(7, 9, rank=3, **options).init_from(trained()), torch.randn(5, 7))


@pytest.mark.parametrize("algorithm", ["pairwise", "sequential"])
def test_the_algorithms_agree(algorithm):
    layer = HouseholderProjector(7, 9, rank=3, n_reflections="full").init_from(trained())
    twin = copy.deepcopy(layer)
    twin.algorithm = algorithm
    torch.testing.assert_close(twin.weight, layer.weight, atol=1e-6, rtol=0)


def test_a_full_product_may_be_compiled():
    layer = HouseholderProjector(7, 9, rank=3).init_from(trained())
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 7)
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).sum().backward()
    assert layer.left.grad is not None


def test_a_linear_layer_is_taken_over():
    linear = torch.nn.Linear(7, 9)
    layer = HouseholderProjector.from_linear(linear, rank=7, scale="fit")
    assert torch.equal(layer.bias, linear.bias)
    expected = nearest(linear.weight.detach(), 7, "fit")
    np.testing.assert_allclose(layer.weight.detach(), expected, atol=1e-6)


def test_the_parametrization_projects_what_is_assigned_and_survives_copies(tmp_path):
    layer = partial_isometry(torch.nn.Linear(7, 9).double(), rank=3, scale="fit")
    A = trained()
    layer.weight = A
    np.testing.assert_allclose(layer.weight.detach(), nearest(A, 3, "fit"), atol=1e-12)
    twin = partial_isometry(torch.nn.Linear(7, 9).double(), rank=3, scale="fit")
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)
    layer.weight.sum().backward()
    assert all(p.grad is not None for p in layer.parametrizations.weight.parameters())
    V = latent_directions(torch.nn.Sequential(layer))["0"]
    np.testing.assert_allclose(abs(V.numpy() @ np.linalg.svd(A.numpy())[2][:3].T), np.eye(3), atol=1e-12)


def test_the_parametrization_of_full_rank_is_an_orthogonal_weight():
    layer = partial_isometry(torch.nn.Linear(6, 6), rank=6)
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(6), atol=1e-6, rtol=0)


def test_a_deficient_weight_is_completed_with_a_warning():
    layer = HouseholderProjector(4, 5, rank=2)
    with pytest.warns(RankDeficientWarning):
        layer.init_from(torch.outer(torch.arange(1.0, 6), torch.ones(4)))
    torch.testing.assert_close(torch.linalg.svdvals(layer.weight.detach())[:2], torch.ones(2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: HouseholderProjector(4, 5, rank=5), ArgumentError, "rank=5"),
        (lambda: HouseholderProjector(4, 5, rank=0), ArgumentError, "rank=0"),
        (lambda: HouseholderProjector(4, 5, 2, n_reflections=1), ArgumentError, "n_reflections=1"),
        (lambda: HouseholderProjector(4, 5, 2, n_reflections="all"), ArgumentError, "'full'"),
        (lambda: HouseholderProjector(4, 5, 2, scale="free"), ArgumentError, "one, fit"),
        (lambda: HouseholderProjector(4, 5, 2).init_from(torch.ones(4, 5)), ShapeError, r"\(5, 4\)"),
        (
            lambda: HouseholderProjector(4, 5, 2).init_from(torch.full((5, 4), torch.nan)),
            ArgumentError,
            "NaN",
        ),
        (
            lambda: HouseholderProjector(4, 5, 2, bias=False).init_from(torch.randn(5, 4), torch.ones(5)),
            ArgumentError,
            "bias",
        ),
        (lambda: HouseholderProjector.from_linear(torch.nn.Conv2d(1, 1, 1)), UnsupportedError, "Conv2d"),
        (lambda: partial_isometry(torch.nn.Conv2d(1, 1, 1)), ArgumentError, "two-dimensional"),
        (lambda: partial_isometry(torch.nn.Linear(4, 5), rank=5), ArgumentError, "rank=5"),
        (lambda: latent_directions(torch.nn.Linear(2, 2)), ArgumentError, "no projector"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
