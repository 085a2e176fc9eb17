"""Burgers' equation against the closed form of Cole and Hopf."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.science import burgers, burgers_fields


def cole_hopf(x, t, nu):
    """u = -2 nu phi_x / phi with phi = 2 + exp(-4 pi^2 nu t) cos(2 pi x), which solves the heat equation."""
    decay = np.exp(-4 * np.pi**2 * nu * t)
    return 4 * np.pi * nu * decay * np.sin(2 * np.pi * x) / (2 + decay * np.cos(2 * np.pi * x))


@pytest.mark.parametrize("nu", [0.1, 0.02])
def test_the_solution_is_that_of_cole_and_hopf(nu):
    x = np.arange(128) / 128
    u = burgers(cole_hopf(x, 0, nu), nu, time=0.5, steps=200)
    np.testing.assert_allclose(u, cole_hopf(x, 0.5, nu), atol=1e-9)


def test_the_error_falls_with_the_fourth_power_of_the_steps():
    x = np.arange(64) / 64
    fine = burgers(np.sin(2 * np.pi * x), 0.05, steps=1600)
    errors = [abs(burgers(np.sin(2 * np.pi * x), 0.05, steps=steps) - fine).max() for steps in (50, 100)]
    assert 10 < errors[0] / errors[1] < 25


def test_the_mean_stays_and_the_energy_falls():
    u = burgers_fields(5, 256, random_state=0)
    v = burgers(u, 0.1, steps=800)
    np.testing.assert_allclose(v.mean(1), u.mean(1), atol=1e-12)
    assert (np.square(v).mean(1) < np.square(u).mean(1)).all()
    np.testing.assert_array_equal(burgers(u[2], 0.1, steps=800), v[2])


def test_fields_have_the_covariance_they_should():
    u = burgers_fields(20000, 64, random_state=1)
    k = 2 * np.pi * np.arange(1, 33)
    variance = (25 / (k**2 + 25)) ** 2
    expected = 1 + 2 * variance[:-1].sum() + variance[-1]
    assert abs(u.var(axis=0).mean() / expected - 1) < 0.03
    lag = 1 + 2 * (variance[:-1] * np.cos(k[:-1] / 4)).sum() + variance[-1]
    assert abs((u * np.roll(u, 16, axis=1)).mean() / expected - lag / expected) < 0.03


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="viscosity"):
        burgers(np.zeros(16), viscosity=0)
    with pytest.raises(ArgumentError, match="NaN"):
        burgers(np.full(16, np.nan))
    with pytest.raises(ArgumentError, match="steps"):
        burgers(np.zeros(16), steps=0)
    with pytest.raises(ShapeError, match="4 points"):
        burgers(np.zeros(3))
    assert burgers_fields(0, 16).shape == (0, 16)
