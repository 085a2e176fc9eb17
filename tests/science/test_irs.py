"""Pilots over a surface are what the formulas of the channel say, and its dictionary explains them exactly."""

import numpy as np
import pytest
from scipy.stats import norm

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.science import channel_nmse, simulate_channel, symbol_error_rate
from gossamer.science.irs.channel import steering
from gossamer.solve import kro_sbl, kron_support_rate


@pytest.mark.parametrize("seed", range(4))
def test_the_dictionary_reproduces_channels_and_pilots(seed):
    problem = simulate_channel(300, random_state=seed)  # hardly any noise
    H = np.kron(np.kron(*problem.factors[:2]), problem.factors[2])
    np.testing.assert_allclose(H @ problem.x, problem.y, atol=1e-12 * np.abs(problem.y).max())
    np.testing.assert_allclose(problem.channels_of(problem.x), problem.channels, atol=1e-10)
    assert [len(s) for s in problem.support] == [3, 1, 3]
    assert (np.diff(problem.support[2]) == 1).all()
    assert set(np.diff(problem.support[0]) % 18) <= {1, 16}  # a run, modulo the grid
    assert channel_nmse(problem, problem.x) < 1e-20
    assert channel_nmse(problem, 0 * problem.x) == 1
    assert np.linalg.matrix_rank(problem.channels[0]) == 1


def test_products_of_surface_responses_depend_on_the_difference_modulo_the_grid():
    n, L = 18, 64
    u = 2 * np.arange(n) / n - 1
    A = steering(L, u)
    np.testing.assert_allclose(np.linalg.norm(A, axis=0), 1)
    columns = A[:, :1] * A.conj()
    for arrive in range(n):
        for leave in range(n):
            np.testing.assert_allclose(
                A[:, arrive] * A[:, leave].conj(), columns[:, (leave - arrive) % n], atol=1e-12
            )


def test_noise_has_the_power_that_was_asked_for():
    problem = simulate_channel(10, patterns=40, pilots=10, random_state=0)
    H = np.kron(np.kron(*problem.factors[:2]), problem.factors[2])
    noise = problem.y - H @ problem.x
    assert np.square(np.abs(noise)).mean() == pytest.approx(problem.noise_var, rel=0.05)
    assert np.square(np.abs(H @ problem.x)).mean() / problem.noise_var == pytest.approx(10, rel=1e-9)


def test_a_known_channel_makes_as_many_errors_as_theory_says_and_a_wrong_one_more():
    problem = simulate_channel(6, random_state=1)
    per_axis = norm.sf(np.sqrt(10**0.6))
    rate = symbol_error_rate(problem, problem.x, random_state=0)
    assert rate == pytest.approx(1 - (1 - per_axis) ** 2, rel=0.03)
    # QPSK is decided by phase: a wrong size costs nothing, a wrong phase everything
    assert symbol_error_rate(problem, 2 * problem.x, random_state=0) == rate
    assert symbol_error_rate(problem, 1j * problem.x, symbols=1000, random_state=0) > 0.9
    assert symbol_error_rate(problem, np.roll(problem.x, 5), symbols=1000, random_state=0) > 10 * rate


def test_more_patterns_make_an_easy_channel():
    problem = simulate_channel(25, patterns=14, pilots=5, random_state=0)
    found = kro_sbl(problem.factors, problem.y, noise_var=problem.noise_var)
    assert channel_nmse(problem, found.x) < 0.01
    assert kron_support_rate(problem.x, found.x, relative=0.1) > 0.5


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match="paths=20: expected at most grid=18"):
        simulate_channel(10, paths=20)
    with pytest.raises(ArgumentError, match="pilots=0"):
        simulate_channel(10, pilots=0)
    with pytest.raises(ShapeError, match=r"expected \(5832,\)"):
        channel_nmse(simulate_channel(10, random_state=0), np.ones(3))
