"""How large noise is in the bins, and which bins it explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

FALSE_ALARM = 1e-3
"""Probability that noise alone makes any of all empty bins look occupied."""


@dataclass(frozen=True)
class Levels:
    """Thresholds for bins of P entries with noise of variance ``nu2`` each.

    Attributes
    ----------
    nu2 : float
        Variance of the noise in one entry of a bin.
    empty : float
        Largest mean square of a bin that holds nothing else.
    floor : float
        Square of the smallest amplitude that a single bin gives away.
    """

    nu2: float
    empty: float
    floor: float

    @classmethod
    def of(cls, nu2: float, P: int, bins: int, tiny: float) -> Levels:
        """From the variance; ``tiny`` is the mean square that rounding may leave.

        The mean square of P normal variables is ``nu2 chi^2_P / P``; its threshold is the quantile that one of all
        bins exceeds with probability :data:`FALSE_ALARM`.
        """
        empty = nu2 * float(chdtri(P, FALSE_ALARM / bins)) / P
        return cls(nu2, max(empty, tiny), max(16 * nu2 / P, tiny))

    @property
    def smallest(self) -> float:
        """Amplitude below which a term may hide: it must lift its bin over the noise."""
        return float(np.sqrt(max(self.empty - self.nu2, self.floor)))


def estimate_variance(energies: np.ndarray, P: int) -> float:
    """Variance of the noise from the mean squares of all bins, of which some hold nothing else.

    The largest step by a factor of ten or more between neighbours in the lower half parts them where there is one.
    Elsewhere the quietest tenth starts a mean that takes in what lies within three deviations of itself, until it
    stands. O(bins log bins).
    """
    ordered = np.sort(energies)
    quiet = max(len(ordered) // 10, 1)
    half = ordered[: max(len(ordered) // 2, 2)]
    if len(half) > 1 and half[-1] > 0:
        steps = half[1:] / np.maximum(half[:-1], np.finfo(float).tiny)
        at = int(steps.argmax())
        if steps[at] >= 10 and at + 1 >= quiet:
            return float(half[: at + 1].mean())
    spread = np.sqrt(2 / P)
    value = float(ordered[:quiet].mean()) / max(1 - 1.1 * spread, 0.3)
    for _ in range(50):
        inside = ordered[ordered <= value * (1 + 3 * spread)]
        mean = float(inside.mean()) if len(inside) else value
        if abs(mean - value) <= 1e-3 * value:
            return mean
        value = mean
    return value


def uneven(energies: np.ndarray, P: int) -> bool:
    """Whether mean squares of bins differ by more than those of pure noise do (z > 5)."""
    mean = float(energies.mean())
    if mean <= 0 or len(energies) < 2:
        return False
    dispersion = float(energies.var(ddof=1)) / (2 * mean**2 / P)
    return dispersion > 1 + 5 * np.sqrt(2 / (len(energies) - 1) + 12 / (P * len(energies)))
