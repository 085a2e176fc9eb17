"""What theory says of the relaxation parameter, against dense eigenvalues and against what the solvers do."""

import math

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.solve import (
    GridStencil,
    golden_section,
    sor,
    sor_theory,
    ssor_cg_bound,
    ssor_pcg,
    young_omega,
    young_radius,
)

A = GridStencil((10, 10)).to_scipy()
BETA = math.cos(math.pi / 11)
OMEGAS = np.linspace(0.02, 1.98, 100)


@pytest.fixture(scope="module")
def theory():
    return sor_theory(A, OMEGAS)


def test_youngs_formulas_hold_on_the_square(theory):
    assert theory.beta == pytest.approx(BETA, abs=1e-12)
    assert theory.omega_opt == pytest.approx(young_omega(BETA), abs=1e-10)
    np.testing.assert_allclose(theory.rho, [young_radius(BETA, omega) for omega in OMEGAS], atol=1e-6)
    away = np.abs(OMEGAS - theory.omega_opt) > 0.05  # at the parameter itself the eigenvalue is defective
    np.testing.assert_allclose(theory.rho[away], [young_radius(BETA, w) for w in OMEGAS[away]], atol=1e-8)


def test_the_count_is_least_near_youngs_parameter(theory):
    assert abs(OMEGAS[theory.counts.argmin()] - theory.omega_opt) < 0.07


def test_bounds_bound(theory):
    assert (theory.energy <= theory.energy_bound + 1e-12).all()
    assert (theory.energy_bound < 1).all()
    assert (theory.rho <= theory.energy + 1e-9).all()
    assert (theory.counts <= theory.surrogate + 1e-9).all()
    assert 0 < theory.tau < 1
    assert theory.counts.tolist() == [sor(A, np.ones(100), omega=omega).nit for omega in OMEGAS]
    b = np.random.default_rng(0).normal(size=100)
    taken = [ssor_pcg(A, b, omega=omega).nit for omega in OMEGAS]
    assert (taken <= ssor_cg_bound(A, OMEGAS)).all()


def test_the_surrogate_bounds_counts_for_other_shifts_and_sides():
    b = np.random.default_rng(1).normal(size=100)
    for shift in (-0.1, 0.0, 0.2):
        theory = sor_theory(GridStencil((10, 10), shift=shift), np.linspace(1, 1.9, 10), b=b)
        assert theory.beta**2 >= (4 / math.e**2) * (1 - 1 / math.e**2)
        assert (theory.counts <= theory.surrogate + 1e-9).all()


def test_limits_of_youngs_parameter():
    assert young_omega(0.0) == 1
    assert young_radius(0.0, 1.0) == 0
    assert young_radius(0.9, 1.0) == pytest.approx(0.81)  # Gauss-Seidel converges twice as fast as Jacobi
    one = sor_theory([[2.0]], [1.0, 1.5])
    assert one.beta == 0
    assert one.rho == pytest.approx([0, 0.5])
    for beta, words in ((1.0, "beta=1.0"), (-0.1, "beta=-0.1")):
        with pytest.raises(ArgumentError, match=words):
            young_omega(beta)


@pytest.mark.parametrize(
    ("matrix", "omegas", "words"),
    [
        ([[2.0, 1.0], [0.0, 2.0]], [1.0], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], [1.0], "not positive definite"),
        (np.eye(2), [1.0, 2.0], "omegas=2.0"),
        (np.ones((2, 3)), [1.0], "square"),
    ],
)
def test_bad_input(matrix, omegas, words):
    for function in (sor_theory, ssor_cg_bound):
        with pytest.raises(ArgumentError, match=words):
            function(matrix, omegas)


def test_golden_section_finds_a_minimum_and_counts_its_calls():
    calls = []
    x, value = golden_section(lambda x: calls.append(x) or (x - 0.3) ** 2, -1, 2, evaluations=20)
    assert len(calls) == 20
    assert abs(x - 0.3) < 3 * 0.62**18
    assert value == min((c - 0.3) ** 2 for c in calls)
    steps = golden_section(lambda w: abs(round(20 * (w - 1.6))) + 5, 1.0, 1.95)
    assert steps[1] == 5
    for low, high, evaluations in ((1, 1, 12), (2, 1, 12), (0, 1, 1), (0, math.nan, 12)):
        with pytest.raises(ArgumentError):
            golden_section(abs, low, high, evaluations=evaluations)
