"""The p-th power of residuals, smoothed at zero: what Newton's method needs of it."""

from __future__ import annotations

import math

import numpy as np


def smoothed(r: np.ndarray, p: float, mu: float) -> np.ndarray:
    """``(r^2 + mu^2)^{p/2}``, which is at most ``mu^p`` above ``|r|^p`` for p <= 2."""
    return np.abs(r) ** p if mu == 0 else (r * r + mu * mu) ** (p / 2)


def slope(r: np.ndarray, p: float, mu: float) -> np.ndarray:
    """Its derivative in r."""
    if mu == 0:
        return p * np.sign(r) * np.abs(r) ** (p - 1)
    return p * r * (r * r + mu * mu) ** (p / 2 - 1)


def curvature(r: np.ndarray, p: float, mu: float) -> np.ndarray:
    """Its second derivative; positive for p >= 1 and mu > 0."""
    if mu == 0:
        return p * (p - 1) * np.abs(r) ** (p - 2)
    square = r * r + mu * mu
    return p * square ** (p / 2 - 2) * (mu * mu + (p - 1) * r * r)


def stages(p: float, scale: float, last: float = 1e-6) -> list[tuple[float, float]]:
    """Pairs ``(exponent, mu)`` to solve for one after another, each from the solution of the one before.

    Below two, mu falls to ``last`` times the scale of the residuals, by a quarter each time, so that Newton's method
    stays near; far below 1e-6 and close to p = 1 Hessians lose their flat directions to rounding. Above two, the
    exponent rises by half each time.
    """
    if p == 2:
        return [(2.0, 0.0)]
    if p < 2:
        count = math.ceil(-math.log(last) / math.log(4))
        return [(p, scale * last ** (k / count)) for k in range(1, count + 1)]
    exponents = [p]
    while exponents[-1] > 3:
        exponents.append(max(exponents[-1] / 1.5, 2.0))
    return [(q, 0.0) for q in reversed(exponents)]
