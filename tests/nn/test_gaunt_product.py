"""Gaunt products: engines agree, rotations and parity pass through, derivatives of any order, and bad input."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg import rotate_harmonics, spherical_harmonics, wigner_d
from gossamer.nn import functional, gaunt_convolve, gaunt_plan, gaunt_power, gaunt_product

ENGINES = ("sphere-grid", "torus-grid", "fourier", "dense")
RNG = np.random.default_rng(0)


def rotation(seed=0):
    Q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return Q * np.sign(np.linalg.det(Q))


def coefficients(count, L, dtype=torch.float64, grad=False):
    x = torch.from_numpy(RNG.normal(size=(count, (L + 1) ** 2))).to(dtype)
    return x.requires_grad_(grad)


@pytest.mark.parametrize("L", [2, 5, 10, 16])
def test_engines_agree_with_quadrature(L):
    x, y = RNG.normal(size=(2, 5, (L + 1) ** 2))
    nodes, weights = np.polynomial.legendre.leggauss(2 * L + 3)
    phi = 2 * np.pi * np.arange(4 * L + 7) / (4 * L + 7)
    s = np.sqrt(1 - nodes**2)[:, None]
    points = np.stack(np.broadcast_arrays(s * np.sin(phi), nodes[:, None], s * np.cos(phi)), -1).reshape(
        -1, 3
    )
    Y = spherical_harmonics(points, L)
    expected = ((x @ Y.T) * (y @ Y.T) * np.repeat(weights, len(phi)) * 2 * np.pi / len(phi)) @ Y
    for engine in ENGINES if L <= 10 else ENGINES[:3]:
        z = gaunt_product(x, y, L, L, L, engine=engine)
        assert np.abs(z - expected).max() < 1e-12 * np.abs(expected).max() * 10, engine
        z = gaunt_product(x.astype(np.float32), y.astype(np.float32), L, L, L, engine=engine)
        assert z.dtype == np.float32
        assert np.abs(z - expected).max() < 1e-5 * np.abs(expected).max(), engine


@pytest.mark.parametrize("engine", ENGINES)
def test_products_commute_with_rotations_and_inversion(engine):
    L1, L2, L3 = 3, 4, 5
    x, y, R = RNG.normal(size=(6, 16)), RNG.normal(size=(6, 25)), rotation()
    z = gaunt_product(x, y, L1, L2, L3, engine)
    turned = gaunt_product(rotate_harmonics(x, R, L1), rotate_harmonics(y, R, L2), L1, L2, L3, engine)
    assert np.abs(turned - rotate_harmonics(z, R, L3)).max() < 1e-11
    parity = (-1.0) ** np.repeat(np.arange(6), 2 * np.arange(6) + 1)
    inverted = gaunt_product(x * parity[:16], y * parity[:25], L1, L2, L3, engine)
    assert np.abs(inverted - z * parity).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_products_form_an_algebra(engine):
    x, y, w = RNG.normal(size=(3, 4, 9))
    one = np.zeros(9)
    one[0] = np.sqrt(4 * np.pi)
    assert np.abs(gaunt_product(x, one, 2, 2, 2, engine) - x).max() < 1e-13
    assert np.abs(gaunt_product(x, y, 2, 2, 3, engine) - gaunt_product(y, x, 2, 2, 3, engine)).max() < 1e-13
    left = gaunt_product(gaunt_product(x, y, 2, 2, engine=engine), w, 4, 2, engine=engine)
    right = gaunt_product(x, gaunt_product(y, w, 2, 2, engine=engine), 2, 4, engine=engine)
    assert left.shape == (4, 49)
    assert np.abs(left - right).max() < 1e-12


def test_odd_paths_are_absent():
    x, y = np.zeros((2, 4))
    x[1:], y[1:] = RNG.normal(size=(2, 3))
    z = gaunt_product(x, y, 1, 1)
    assert np.abs(z[1:4]).max() < 1e-15  # no cross product
    assert abs(z[0] - x[1:] @ y[1:] / np.sqrt(4 * np.pi)) < 1e-14


@pytest.mark.parametrize("engine", ENGINES)
def test_first_and_second_derivatives(engine):
    x, y = coefficients(2, 3, grad=True), coefficients(1, 2, grad=True)

    def product(x, y):
        return gaunt_product(x, y, 3, 2, 3, engine)

    assert torch.autograd.gradcheck(product, (x, y))
    assert torch.autograd.gradgradcheck(product, (x, y))
    z = coefficients(2, 2, grad=True)
    assert torch.autograd.gradcheck(lambda z: gaunt_power(z, 3, 2, 2, engine), (z,))
    assert torch.autograd.gradgradcheck(lambda z: gaunt_power(z, 3, 2, 2, engine), (z,))


def test_powers_are_repeated_products():
    x = coefficients(5, 2)
    square = gaunt_product(x, x, 2, 2)
    cube = gaunt_product(square, x, 4, 2)
    for engine in ("auto", *ENGINES):
        assert torch.allclose(gaunt_power(x, 1, 2, 1, engine), x[:, :4], atol=1e-13)
        assert torch.allclose(gaunt_power(x, 2, 2, 3, engine), square[:, :16], atol=1e-12)
        assert torch.allclose(gaunt_power(x, 3, 2, 2, engine), cube[:, :9], atol=1e-11)
        fourth = gaunt_product(cube, x, 6, 2)[:, :9]
        assert torch.allclose(gaunt_power(x, 4, 2, 2, engine), fourth, atol=1e-11)


def test_auto_runs_what_its_plan_says():
    plan = gaunt_plan(2, 2, 2)
    assert plan.engine in plan.seconds
    x = coefficients(4, 2, torch.float32)
    assert torch.equal(gaunt_product(x, x, 2, 2, 2), gaunt_product(x, x, 2, 2, 2, plan.engine))
    assert functional.gaunt_product is gaunt_product


def test_kinds_and_dtypes_are_kept():
    x = coefficients(4, 2)
    assert gaunt_product(x, x.float(), 2, 2).dtype == torch.float64
    for half in (torch.bfloat16, torch.float16):
        z = gaunt_product(x.to(half), x.to(half), 2, 2)
        assert z.dtype == half
        assert torch.allclose(z.double(), gaunt_product(x, x, 2, 2), rtol=0.05, atol=0.05)
    assert gaunt_product(np.ones((0, 9)), np.ones((0, 9)), 2, 2).shape == (0, 25)
    grid = coefficients(6, 2).reshape(2, 3, 9).transpose(0, 1)
    assert torch.equal(gaunt_product(grid, grid, 2, 2)[1, 0], gaunt_product(grid[1, 0], grid[1, 0], 2, 2))


def test_degrees_beyond_the_product_are_zero_with_a_warning():
    x = coefficients(2, 1)
    with pytest.warns(UserWarning, match="L3=4"):
        z = gaunt_product(x, x, 1, 1, 4)
    assert torch.equal(z[:, 9:], torch.zeros(2, 16, dtype=z.dtype))


def test_bad_input_is_named():
    x = np.zeros((3, 16))
    with pytest.raises(ShapeError, match=r"x has shape.*expected 9"):
        gaunt_product(x, x, 2, 3)
    with pytest.raises(ValueError, match="expected 25"):
        gaunt_product(x, x, 3, 4)
    with pytest.raises(ArgumentError, match="L1=65"):
        gaunt_product(x, x, 65, 3)
    with pytest.raises(ArgumentError, match="did you mean 'fourier'"):
        gaunt_product(x, x, 3, 3, engine="fourir")
    with pytest.raises(UnsupportedError, match="complex"):
        gaunt_product(x + 0j, x, 3, 3)
    with pytest.raises(ArgumentError, match="power"):
        gaunt_power(x, 0, 3, 3)


def test_convolution_by_rotation_is_the_general_product():
    directions = torch.tensor([[0.0, 1, 0], [0, -1, 0], [1e-9, 2, 0], [0, -1, 1e-9]], dtype=torch.float64)
    v = torch.cat([directions, torch.from_numpy(RNG.normal(size=(8, 3)))])
    for degrees in ((2, 3, 3), (6, 6, 6), (1, 1, 4)):
        x = coefficients(36, degrees[0]).reshape(12, 3, -1)
        h = torch.from_numpy(RNG.normal(size=(12, 3, degrees[1] + 1)))
        a, b = (gaunt_convolve(x, h, v, *degrees, method) for method in ("rotate", "general"))
        assert (a - b).abs().max() < 1e-12
        assert gaunt_convolve(x.float(), h.float(), v.float(), *degrees).dtype == torch.float32


@pytest.mark.parametrize("method", ["rotate", "general"])
def test_derivatives_of_the_convolution_at_the_poles_too(method):
    v = torch.tensor([[0.0, 1, 0], [0, -2, 0], [0.3, 0.5, -1]], dtype=torch.float64, requires_grad=True)
    x = coefficients(6, 1).reshape(3, 2, 4).requires_grad_()
    h = torch.from_numpy(RNG.normal(size=(3, 2, 3))).requires_grad_()

    def convolve(x, h, v):
        return gaunt_convolve(x, h, v, 1, 2, 2, method)

    assert torch.autograd.gradcheck(convolve, (x, h, v))
    assert torch.autograd.gradgradcheck(convolve, (x, h, v))


def test_convolution_turns_with_its_edges():
    R = torch.from_numpy(rotation(3))
    x, h = coefficients(8, 2).reshape(4, 2, 9), torch.from_numpy(RNG.normal(size=(4, 2, 4)))
    v = torch.from_numpy(RNG.normal(size=(4, 3)))
    z = gaunt_convolve(x, h, v, 2, 3, 3)
    turned = gaunt_convolve(rotate_harmonics(x, R, 2), h, v @ R.T, 2, 3, 3)
    assert (turned - rotate_harmonics(z, R, 3)).abs().max() < 1e-12
    assert wigner_d(1, R).shape == (3, 3)


def test_an_edge_without_direction_is_refused():
    with pytest.raises(ValueError, match="edge_vec is zero at 1"):
        gaunt_convolve(
            torch.ones(2, 1, 4), torch.ones(2, 1, 2), torch.tensor([[1.0, 0, 0], [0, 0, 0]]), 1, 1, 1
        )
    with pytest.raises(ShapeError, match="filters"):
        gaunt_convolve(torch.ones(2, 1, 4), torch.ones(2, 1, 3), torch.ones(2, 3), 1, 1, 1)
