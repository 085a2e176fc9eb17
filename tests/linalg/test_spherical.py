"""Harmonics, Gaunt coefficients, Fourier series and rotations against closed forms, quadrature, SymPy and e3nn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, CostError, FormatError, ShapeError
from gossamer.linalg import (
    fourier_to_sh,
    gaunt_coefficients,
    gaunt_path_factor,
    load_gaunt_coefficients,
    rotate_harmonics,
    save_gaunt_coefficients,
    sh_to_fourier,
    spherical_harmonics,
    wigner_d,
)

RNG = np.random.default_rng(0)


def sphere(count_theta, count_phi):
    """Points and weights that integrate polynomials of degree below 2 count_theta exactly."""
    y, weights = np.polynomial.legendre.leggauss(count_theta)
    phi = 2 * np.pi * np.arange(count_phi) / count_phi
    s = np.sqrt(1 - y**2)[:, None]
    points = np.stack(np.broadcast_arrays(s * np.sin(phi), y[:, None], s * np.cos(phi)), -1)
    return points.reshape(-1, 3), np.repeat(weights, count_phi) * 2 * np.pi / count_phi


def rotations(count, seed=0):
    Q, R = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))
    Q = Q * np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None]
    return Q * np.sign(np.linalg.det(Q))[:, None, None]


def table(L1, L2, L3):
    indices, values = gaunt_coefficients(L1, L2, L3)
    dense = np.zeros([(L + 1) ** 2 for L in (L1, L2, L3)])
    dense[tuple(indices.T)] = values
    return dense


def test_harmonics_of_low_degree_are_the_polynomials_of_the_textbook():
    v = RNG.normal(size=(9, 3))
    x, y, z = (v / np.linalg.norm(v, axis=1, keepdims=True)).T
    a, b, c = np.sqrt(1 / np.pi) / 2, np.sqrt(3 / np.pi) / 2, np.sqrt(15 / np.pi) / 2
    expected = [a + 0 * x, b * x, b * y, b * z, c * x * z, c * x * y, np.sqrt(5 / np.pi) / 4 * (3 * y * y - 1),
                c * y * z, c / 2 * (z * z - x * x)]  # fmt: skip
    assert np.allclose(spherical_harmonics(v, 2), np.stack(expected, 1), atol=1e-15)


@pytest.mark.parametrize("L", [0, 1, 9, 40])
def test_harmonics_are_orthonormal(L):
    points, weights = sphere(L + 1, 2 * L + 1)
    some = np.unique(np.linspace(0, (L + 1) ** 2 - 1, 100).astype(int))
    Y = spherical_harmonics(points, L)[:, some]
    assert np.abs(Y.T @ (weights[:, None] * Y) - np.eye(len(some))).max() < 1e-12


def test_harmonics_are_those_of_e3nn():
    o3 = pytest.importorskip("e3nn.o3")
    v = torch.randn(20, 3, dtype=torch.float64)
    expected = o3.spherical_harmonics(list(range(9)), v, True, "integral")
    assert torch.allclose(spherical_harmonics(v, 8), expected, atol=1e-13)


def test_harmonics_keep_kind_and_dtype_and_have_derivatives_at_the_poles():
    assert spherical_harmonics(np.ones((2, 3), np.float32), 3).dtype == np.float32
    v = torch.tensor([[0.0, 1, 0], [0, -2, 0], [1, 2, 3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: spherical_harmonics(v, 3), (v,))
    assert torch.autograd.gradgradcheck(lambda v: spherical_harmonics(v, 3), (v,))


def test_harmonics_refuse_what_has_no_direction_or_degree():
    with pytest.raises(ArgumentError, match=r"zero at \(1,\)"):
        spherical_harmonics(np.array([[1.0, 0, 0], [0, 0, 0]]), 1)
    with pytest.raises(ArgumentError, match="L=65"):
        spherical_harmonics(np.ones(3), 65)
    with pytest.raises(ShapeError, match="3"):
        spherical_harmonics(np.ones(4), 2)


def test_gaunt_coefficients_are_those_of_sympy():
    from sympy.physics.wigner import real_gaunt

    dense = table(4, 4, 4)
    index = [(l, m) for l in range(5) for m in range(-l, l + 1)]
    places = RNG.integers(0, 25, (400, 3))
    nonzero, _ = gaunt_coefficients(4, 4, 4)
    for i, j, k in np.concatenate([places, RNG.permutation(nonzero)[:150]]):
        (l1, m1), (l2, m2), (l3, m3) = index[i], index[j], index[k]
        assert abs(float(real_gaunt(l1, l2, l3, m1, m2, m3)) - dense[i, j, k]) < 1e-14, (i, j, k)


def test_a_coefficient_of_high_degree_is_that_of_sympy():
    from sympy.physics.wigner import real_gaunt

    indices, values = gaunt_coefficients(10, 10, 20)
    where = (indices == [10 * 11 - 9, 10 * 11 - 9, 20 * 21]).all(1)
    assert abs(values[where][0] - float(real_gaunt(10, 10, 20, -9, -9, 0, prec=30))) < 1e-14


def test_gaunt_coefficients_are_integrals_of_three_harmonics():
    points, weights = sphere(16, 32)
    a, b, c = (spherical_harmonics(points, L) for L in (5, 7, 9))
    integral = np.einsum("pi,pj,pk->ijk", a, b * weights[:, None], c, optimize=True)
    assert np.abs(integral - table(5, 7, 9)).max() < 1e-13


def test_gaunt_coefficients_are_multiples_of_the_3j_symbols_of_e3nn():
    o3 = pytest.importorskip("e3nn.o3")
    dense = table(4, 4, 8)
    for l1 in range(5):
        for l2 in range(5):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                w = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
                block = dense[l1**2 : (l1 + 1) ** 2, l2**2 : (l2 + 1) ** 2, l3**2 : (l3 + 1) ** 2]
                assert np.abs(block - gaunt_path_factor(l1, l2, l3) * w).max() < 1e-13
    assert abs(gaunt_path_factor(2, 1, 3) - 0.8462843753216341) < 1e-13
    assert gaunt_path_factor(1, 1, 1) == gaunt_path_factor(1, 1, 4) == 0


def test_a_table_is_sorted_read_only_and_survives_a_file(tmp_path):
    indices, values = gaunt_coefficients(3, 2, 4)
    assert np.array_equal(np.lexsort(indices.T[::-1]), np.arange(len(indices)))
    assert indices.dtype == np.int32
    assert not values.flags.writeable
    save_gaunt_coefficients(tmp_path / "t.safetensors", 3, 2, 4)
    again = load_gaunt_coefficients(tmp_path / "t.safetensors")
    assert np.array_equal(again[0], indices)
    assert np.array_equal(again[1], values)
    data = (tmp_path / "t.safetensors").read_bytes()
    (tmp_path / "t.safetensors").write_bytes(data.replace(b"3 2 4", b"1 2 4"))
    with pytest.raises(FormatError, match="degrees"):
        load_gaunt_coefficients(tmp_path / "t.safetensors")
    (tmp_path / "t.safetensors").write_bytes(data[:100])
    with pytest.raises(FormatError):
        load_gaunt_coefficients(tmp_path / "t.safetensors")


def test_a_table_that_would_fill_the_memory_is_refused():
    with pytest.raises(CostError, match="engines"):
        gaunt_coefficients(64, 64, 64)


@pytest.mark.parametrize("L", [0, 1, 4, 16, 32])
def test_fourier_coefficients_give_the_function_and_come_back(L):
    x = RNG.normal(size=(3, (L + 1) ** 2))
    f = sh_to_fourier(x, L)
    theta, phi = RNG.uniform(0, np.pi, 6), RNG.uniform(0, 2 * np.pi, 6)
    points = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
    u = np.arange(-L, L + 1)
    series = np.einsum("buv,pu,pv->pb", f, np.exp(1j * np.outer(theta, u)), np.exp(1j * np.outer(phi, u)))
    assert np.abs(series - spherical_harmonics(points, L) @ x.T).max() < 1e-12
    assert np.abs(fourier_to_sh(f, L) - x).max() < 1e-13
    assert np.abs(fourier_to_sh(np.pad(f, ((0, 0), (2, 2), (2, 2))), L) - x).max() < 1e-13


def test_fourier_coefficients_have_their_symmetries_and_zeros():
    f = sh_to_fourier(np.eye(16), 3)
    sign = (-1.0) ** np.arange(-3, 4)
    assert np.array_equal(f[:, ::-1], f * sign)
    assert np.allclose(f[:, ::-1, ::-1], np.conj(f), atol=0)
    assert np.count_nonzero(np.abs(f) > 1e-12) == 86


def test_a_product_of_functions_is_a_convolution_of_fourier_coefficients():
    import scipy.signal

    x, y = RNG.normal(size=(2, 16))
    f = scipy.signal.convolve2d(sh_to_fourier(x, 3), sh_to_fourier(y, 3))
    assert np.abs(fourier_to_sh(f, 6) - np.einsum("i,j,ijk->k", x, y, table(3, 3, 6))).max() < 1e-13


def test_a_zonal_filter_convolves_along_one_axis():
    y = np.zeros(16)
    y[[0, 2, 6, 12]] = RNG.normal(size=4)  # order 0 only
    f = sh_to_fourier(y, 3)
    assert np.abs(np.delete(f, 3, axis=1)).max() == 0  # v = 0
    x = RNG.normal(size=16)
    columns = np.stack([np.convolve(column, f[:, 3]) for column in sh_to_fourier(x, 3).T], 1)
    product = fourier_to_sh(np.pad(columns, ((0, 0), (3, 3))), 6)
    assert np.abs(product - np.einsum("i,j,ijk->k", x, y, table(3, 3, 6))).max() < 1e-13


def test_projection_of_any_fourier_array_is_its_integral():
    K, L = 4, 3
    f = RNG.normal(size=(9, 9)) + 1j * RNG.normal(size=(9, 9))
    f = f + np.conj(f[::-1, ::-1])  # a real function, without the symmetry of the torus
    points, weights = sphere(400, 20)
    theta, phi = np.arccos(points[:, 1]), np.arctan2(points[:, 0], points[:, 2])
    u = np.arange(-K, K + 1)
    values = np.einsum("uv,pu,pv->p", f, np.exp(1j * np.outer(theta, u)), np.exp(1j * np.outer(phi, u)))
    expected = spherical_harmonics(points, L).T @ (weights * values.real)
    assert (
        np.abs(fourier_to_sh(f, L) - expected).max() < 1e-4
    )  # not a polynomial: quadrature converges slowly


def test_fourier_transforms_keep_kind_and_dtype_and_refuse_other_shapes():
    x = torch.randn(2, 9, requires_grad=True)
    f = sh_to_fourier(x, 2)
    assert (f.dtype, fourier_to_sh(f, 2).dtype) == (torch.complex64, torch.float32)
    fourier_to_sh(f, 2).sum().backward()
    assert torch.allclose(x.grad, torch.ones(2, 9), atol=1e-5)
    with pytest.raises(ShapeError, match="expected 16"):
        sh_to_fourier(np.zeros(9), 3)
    for shape in ((4, 4), (5, 7), (3, 3), (5,)):
        with pytest.raises(ShapeError, match="odd n >= 5"):
            fourier_to_sh(np.zeros(shape, complex), 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 8), st.integers(0, 10_000))
def test_wigner_matrices_represent_rotations(L, seed):
    R, S = rotations(2, seed)
    v = np.random.default_rng(seed).normal(size=(4, 3))
    Y = spherical_harmonics(v, L)
    assert np.abs(rotate_harmonics(Y, R, L) - spherical_harmonics(v @ R.T, L)).max() < 1e-12
    D = wigner_d(L, R)
    assert np.abs(D @ D.T - np.eye(2 * L + 1)).max() < 1e-13
    assert np.abs(wigner_d(L, R @ S) - D @ wigner_d(L, S)).max() < 1e-12


def test_wigner_matrices_are_those_of_e3nn_and_right_where_angles_degenerate():
    o3 = pytest.importorskip("e3nn.o3")
    R = torch.from_numpy(rotations(5))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn builds its angles in it
    try:
        expected = [o3.Irrep(l, 1).D_from_matrix(R) for l in range(7)]
    finally:
        torch.set_default_dtype(default)
    for l, D in enumerate(expected):
        assert (wigner_d(l, R) - D).abs().max() < 1e-12
    v = RNG.normal(size=(6, 3))
    for S in (np.eye(3), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])):
        moved = rotate_harmonics(spherical_harmonics(v, 6), S, 6)
        assert np.abs(moved - spherical_harmonics(v @ S.T, 6)).max() < 1e-13


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12])
def test_generators_are_the_slopes_of_rotations(l):
    from scipy.linalg import expm
    from scipy.spatial.transform import Rotation

    from gossamer.linalg.transforms.spherical.rotations import rotation_generators

    omega = np.array([0.3, -0.7, 0.4])
    G = rotation_generators(l)
    assert np.abs(G + G.transpose(0, 2, 1)).max() < 1e-12
    assert np.allclose(
        expm(np.tensordot(omega, G, 1)), wigner_d(l, Rotation.from_rotvec(omega).as_matrix()), atol=1e-11
    )


def test_what_is_not_a_rotation_is_refused():
    with pytest.raises(ArgumentError, match="orthogonal up to"):
        wigner_d(2, 2 * np.eye(3))
    with pytest.raises(ArgumentError, match="determinant sign -1"):
        wigner_d(2, -np.eye(3))
    with pytest.raises(ShapeError, match="3, 3"):
        wigner_d(2, np.eye(4))
