"""Burgers' equation on a periodic interval, by Fourier modes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state


def burgers(u: Any, viscosity: float = 0.1, time: float = 1.0, steps: int = 400) -> np.ndarray:
    r"""Solve :math:`u_t + (u^2 / 2)_x = \nu u_{xx}` on the periodic unit interval.

    Diffusion is solved exactly, mode by mode; what remains goes by the classical Runge-Kutta method. Products are
    formed without aliasing (the upper third of the modes stays empty).

    Parameters
    ----------
    u : array, shape (..., n)
        Initial values on n equidistant points.
    viscosity : float
        :math:`\nu`, positive.
    time : float
        When the solution is wanted.
    steps : int
        Of the time integration; the error falls with their fourth power.

    Returns
    -------
    ndarray of float64, shape (..., n)
        The solution at ``time``.

    Raises
    ------
    ArgumentError
        If an argument is out of range or ``u`` holds NaN or infinity.

    Notes
    -----
    O(steps n log n). The advection must be resolved: ``steps`` above ``time n max|u|`` is safe.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.science import burgers
    >>> x = np.arange(64) / 64
    >>> bool(abs(burgers(np.sin(2 * np.pi * x)).mean()) < 1e-12)
    True
    """
    values = np.asarray(check_array("u", u, ndim=(1, 2, 3)), np.float64)
    n = values.shape[-1]
    if n < 4:
        raise ShapeError(f"u has shape {values.shape}: expected at least 4 points in the last place")
    nu = check_float("viscosity", viscosity, low=0, closed="right")
    dt = check_float("time", time, low=0) / check_int("steps", steps, low=1)
    k = 2 * np.pi * np.arange(n // 2 + 1)
    alive = np.arange(n // 2 + 1) <= n // 3
    half = np.exp(-nu * k**2 * dt / 2)

    def advection(modes: np.ndarray) -> np.ndarray:
        field = np.fft.irfft(modes, n)
        return -0.5j * k * np.fft.rfft(field * field) * alive

    modes = np.fft.rfft(values) * alive
    for _ in range(steps):
        a = advection(modes)
        b = advection(half * (modes + dt / 2 * a))
        c = advection(half * modes + dt / 2 * b)
        d = advection(half**2 * modes + dt * half * c)
        modes = half**2 * modes + dt / 6 * (half**2 * a + 2 * half * (b + c) + d)
    return np.fft.irfft(modes, n)


def burgers_fields(count: int, n: int = 1024, random_state: RandomState = None) -> np.ndarray:
    r"""Draw fields from the normal distribution with mean zero and covariance :math:`625 (-\Delta + 25 I)^{-2}`.

    Parameters
    ----------
    count : int
        Fields.
    n : int
        Points of each.
    random_state : int or Generator
        Source of the modes.

    Returns
    -------
    ndarray of float64, shape (count, n)
    """
    rng = check_random_state(random_state)
    check_int("count", count, low=0)
    k = 2 * np.pi * np.arange(check_int("n", n, low=4) // 2 + 1)
    deviation = 25 / (k**2 + 25)
    modes = rng.standard_normal((count, len(k))) + 1j * rng.standard_normal((count, len(k)))
    modes = modes * deviation / np.sqrt(2)  # each mode and its mirror image share the variance
    modes[:, 0] = np.sqrt(2) * modes[:, 0].real
    if n % 2 == 0:
        modes[:, -1] = np.sqrt(2) * modes[:, -1].real
    return np.fft.irfft(modes, n) * n
