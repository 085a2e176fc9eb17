"""HiPPO matrices: their states are the coefficients they are said to be, and the theory of the diagonal case holds."""

import numpy as np
import pytest
import scipy.interpolate
import scipy.special

from gossamer._core.errors import ArgumentError
from gossamer.linalg import hippo, hippo_normal


def transfer(A, B, s):
    return np.linalg.solve(s * np.eye(len(A)) - A, B.astype(complex))


def test_legs_follows_its_formula():
    A, B = hippo(5)
    for i in range(5):
        for k in range(5):
            entry = -np.sqrt((2 * i + 1) * (2 * k + 1)) if i > k else -(i + 1) if i == k else 0
            assert A[i, k] == pytest.approx(entry)
    np.testing.assert_allclose(B, np.sqrt(2 * np.arange(5) + 1))


def test_legs_holds_the_legendre_coefficients_of_the_past():
    # in the time-invariant form the past is seen through s -> exp(-s): B must be what the constant 1 leaves at rest
    A, B = hippo(8)
    np.testing.assert_allclose(np.linalg.solve(A, -B), np.eye(8)[0], atol=1e-10)
    for s in (1.0, 2.0, 5.0):  # u(-tau) = exp(-s tau): its coefficients over P_k(2 exp(-tau) - 1)
        nodes, weights = np.polynomial.legendre.leggauss(40)
        z = (nodes + 1) / 2
        for k in range(8):
            coefficient = 0.5 * np.sum(
                weights * z**s * np.sqrt(2 * k + 1) * scipy.special.eval_legendre(k, 2 * z - 1)
            )
            assert transfer(A, B, s)[k].real == pytest.approx(coefficient, abs=1e-9)


def test_legt_is_the_pade_approximation_of_a_delay():
    n = 5
    A, B = hippo(n, "legt")
    taylor = [(-1.0) ** k / scipy.special.factorial(k) for k in range(2 * n)]
    top, bottom = scipy.interpolate.pade(taylor, n, n - 1)
    ends = np.sqrt(2 * np.arange(n) + 1.0)  # the polynomials at one unit of time ago
    for s in (0.3, 1.0 + 2j, 4j):
        assert ends @ transfer(A, B, s) == pytest.approx(top(s) / bottom(s), abs=1e-9)


def test_fourier_holds_the_coefficients_of_periodic_inputs():
    n = 7
    A, B = hippo(n, "fourier")
    assert np.linalg.eigvals(A).real.max() < 1e-9
    for m in range(4):
        x = transfer(A, B, 2j * np.pi * m + 1e-9)
        expected = np.zeros(n, complex)
        if m:
            expected[2 * m - 1], expected[2 * m] = np.sqrt(0.5), -1j * np.sqrt(0.5)
        else:
            expected[0] = 1
        np.testing.assert_allclose(x, expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_legs_is_normal_plus_rank_one(n):
    A, B = hippo(n)
    h = hippo_normal(n)
    np.testing.assert_allclose(h.V.conj().T @ h.V, np.eye(n), atol=1e-12)
    np.testing.assert_allclose(
        h.V @ (np.diag(h.Lambda) - np.outer(h.p, h.p.conj())) @ h.V.conj().T, A, atol=1e-12 * n**2
    )
    np.testing.assert_allclose(h.V @ h.B, B, atol=1e-12 * n)
    np.testing.assert_array_equal(h.Lambda.real, -0.5)
    np.testing.assert_array_equal(h.Lambda[: n // 2], h.Lambda[n - n // 2 :].conj())
    np.testing.assert_array_equal(h.V[:, : n // 2], h.V[:, n - n // 2 :].conj())


@pytest.mark.parametrize("n", [8, 32, 128])
def test_states_of_both_systems_equal_direct_solutions(n):
    A, B = hippo(n)
    h = hippo_normal(n)
    S = A + np.outer(B, B) / 2
    omegas = np.array([0.0, 0.7, n**2 / np.pi, 0.35 * n**2])
    for omega, full, diagonal in zip(omegas, h.states(omegas), h.diagonal_states(omegas)):
        np.testing.assert_allclose(h.V @ full, transfer(A, B, 1j * omega), atol=1e-9)
        np.testing.assert_allclose(h.V @ diagonal, transfer(S, B / 2, 1j * omega), atol=1e-9)
        g = (B @ transfer(S, B, 1j * omega)) / 2
        gap = np.sqrt(2) * transfer(S, B / np.sqrt(2), 1j * omega) * (1 - g) / (2 * (1 + g))
        np.testing.assert_allclose(h.V @ (full - diagonal), gap, atol=1e-9)


def test_the_state_of_hippo_is_largest_at_rest():
    h = hippo_normal(32)
    norms = np.linalg.norm(h.states(np.linspace(0, 500, 2001)), axis=1)
    assert norms[0] == pytest.approx(1)
    assert norms.argmax() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n=0"),
        ((4, "fourier"), "n=4.*nearest valid: 5"),
        ((4, "laguerre"), "measure='laguerre'"),
        ((2.5,), "n=2.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        hippo(*arguments)
