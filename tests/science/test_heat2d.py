"""The heat equation against its discrete modes, and the random systems against their laws."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.science import Heat2D, bump, shifted_laplacians, truncated_gaussian
from gossamer.solve import GridStencil, ssor_pcg


def kappa(t):
    return 2 + np.sin(9 * t)


def test_a_mode_decays_by_the_factor_of_crank_and_nicolson():
    nx, dt, wave = 9, 0.01, (2, 3)
    pde = Heat2D(nx, dt, kappa, initial=lambda x: np.sin(np.pi * np.array(wave) * x).prod(axis=1))
    start, factor = pde.u.copy(), 1.0
    eigenvalue = 4 * nx**2 * sum(np.sin(np.pi * k / (2 * nx)) ** 2 for k in wave)
    for step in range(6):
        half = kappa((step + 0.5) * dt) * dt / 2 * eigenvalue
        factor *= (1 - half) / (1 + half)
        A, b = pde.system()
        pde.advance(spla.spsolve(A.tocsc(), b))
    np.testing.assert_allclose(pde.u, factor * start, atol=1e-12)
    assert pde.t == pytest.approx(0.06)


def test_it_is_of_second_order():
    def error(nx, steps):
        def exact(t, x):
            return np.cos(3 * t) * np.sin(np.pi * x).prod(axis=1)

        def force(t, x):  # u_t - kappa Laplace u
            return (-3 * np.sin(3 * t) + kappa(t) * 2 * np.pi**2 * np.cos(3 * t)) * np.sin(np.pi * x).prod(
                axis=1
            )

        pde = Heat2D(nx, 0.5 / steps, kappa, force, lambda x: exact(0, x))
        for _ in range(steps):
            pde.advance(spla.spsolve(*pde.system()))
        return np.abs(pde.u - exact(pde.t, pde.points)).max()

    coarse, fine = error(8, 16), error(16, 32)
    assert 3.5 < coarse / fine < 4.5


def test_the_system_without_a_matrix_is_the_same():
    pde = Heat2D(12, 1e-3, 5.0, 1.0, lambda x: bump(x, (0.5, 0.5), 0.25))
    A, b = pde.system()
    star, same = pde.system(matrix_free=True)
    assert isinstance(star, GridStencil)
    np.testing.assert_allclose(star.to_scipy().toarray(), A.toarray(), rtol=1e-13)
    np.testing.assert_array_equal(b, same)
    np.testing.assert_allclose(A.toarray(), A.toarray().T)
    assert ssor_pcg(A, b, omega=1.2, x0=pde.u).nit == ssor_pcg(star, b, omega=1.2, x0=pde.u).nit
    assert pde.kappa == 5


def test_bump():
    points = np.array([[0.5, 0.5], [0.6, 0.5], [0.75, 0.5], [0.9, 0.9]])
    np.testing.assert_allclose(bump(points, (0.5, 0.5), 0.25), [1, np.exp(1 - 1 / 0.84), 0, 0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1, 0.1), ArgumentError, "nx=1"),
        ((4, 0.0), ArgumentError, "dt=0.0"),
        ((4, 0.1, 1.0, 0.0, lambda x: np.ones(4)), ShapeError, r"initial has shape \(4,\)"),
        ((4, 0.1, 1.0, 0.0, np.nan), ArgumentError, "initial"),
    ],
)
def test_bad_input(arguments, error, words):
    with pytest.raises(error, match=words):
        Heat2D(*arguments)


def test_bad_functions():
    with pytest.raises(ArgumentError, match="coefficient=-1"):
        Heat2D(4, 0.1, -1.0).system()
    with pytest.raises(ShapeError, match="forcing"):
        Heat2D(4, 0.1, 1.0, lambda t, x: np.ones(2)).system()
    with pytest.raises(ShapeError, match="u has shape"):
        Heat2D(4, 0.1).advance(np.ones(3))


@pytest.mark.parametrize(("variance", "deviation"), [("high", 0.6 * 0.25), ("low", 0.6 * (12 / 576) ** 0.5)])
def test_shifts_have_their_mean_and_variance(variance, deviation):
    drawn = list(shifted_laplacians(3000, variance=variance, sparse=False, random_state=0))
    shifts = np.array([c for _, _, c in drawn])
    assert shifts.mean() == pytest.approx(0, abs=4 * deviation / 3000**0.5)
    assert shifts.std() == pytest.approx(deviation, rel=0.05)
    assert shifts.min() >= -0.15
    assert shifts.max() <= 0.45
    assert max(np.linalg.norm(b) for _, b, _ in drawn) <= 10


def test_systems_are_reproducible_and_positive_definite():
    sparse = list(shifted_laplacians(5, random_state=3))
    for (A, b, c), (star, same, shift) in zip(sparse, shifted_laplacians(5, sparse=False, random_state=3)):
        np.testing.assert_allclose(A.toarray(), star.to_scipy().toarray())
        assert (b == same).all()
        assert c == shift
        assert np.linalg.eigvalsh(A.toarray())[0] > 0
    assert sparse[0][0] is not sparse[1][0]
    with pytest.raises(ArgumentError, match="variance="):
        shifted_laplacians(2, variance="medium")
    with pytest.raises(ArgumentError, match="side=11"):
        shifted_laplacians(2, side=11)


def test_truncated_gaussian():
    draws = np.array([truncated_gaussian(4, np.random.default_rng(seed)) for seed in range(800)])
    assert np.linalg.norm(draws, axis=1).max() <= 2
    assert np.abs(draws.mean(axis=0)).max() < 0.1
