"""Separable penalties: weighted absolute values, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Penalty:
    """``h_i(x) = lam_i |x|`` for ``low_i <= x <= high_i``, infinite elsewhere.

    Attributes
    ----------
    lam, low, high : ndarray, shape (n,)
        Weights and bounds.
    """

    lam: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, n: int, lam: Any = 0.0, low: float = -np.inf, high: float = np.inf) -> Penalty:
        """A penalty for n coordinates; ``lam`` is a number or one for each."""
        return cls(weights("lam", lam, n), np.full(n, low), np.full(n, high))

    @cached_property
    def kind(self) -> str:
        """What it comes to: none, l1 or bounds."""
        if np.isfinite(self.low).any() or np.isfinite(self.high).any():
            return "bounds"
        return "l1" if self.lam.any() else "none"

    def value(self, x: np.ndarray, b: Any = slice(None)) -> float:
        """``sum h_i(x_i)`` for x within its bounds."""
        return 0.0 if self.kind == "none" else float(self.lam[b] @ np.abs(x))

    def free(self, x: np.ndarray, b: Any = slice(None)) -> np.ndarray:
        """Which coordinates are neither at a zero that is penalised nor at a bound."""
        return ((x != 0) | (self.lam[b] == 0)) & (x > self.low[b]) & (x < self.high[b])

    def prox(self, v: np.ndarray, step: np.ndarray | float, b: Any = slice(None)) -> np.ndarray:
        """``argmin_x h(x) + (x - v)^2 / (2 step)`` for the coordinates b."""
        shrunk = np.sign(v) * np.maximum(np.abs(v) - self.lam[b] * step, 0.0) + 0.0  # no -0
        return np.clip(shrunk, self.low[b], self.high[b])

    def subgradient(self, x: np.ndarray, g: np.ndarray, b: Any = slice(None)) -> np.ndarray:
        """The element of least magnitude of ``g + dh(x)``: zero at a minimum."""
        lam = self.lam[b]
        s = np.where(x == 0, np.sign(g) * np.maximum(np.abs(g) - lam, 0.0), g + lam * np.sign(x))
        s = np.where((x <= self.low[b]) & (s > 0), 0.0, s)
        return np.where((x >= self.high[b]) & (s < 0), 0.0, s)


def weights(name: str, value: Any, n: int) -> np.ndarray:
    """A non-negative number, or one for each of n coordinates, as an array (n,)."""
    if np.ndim(value) == 0:
        return np.full(n, check_float(name, value, low=0))
    array = np.asarray(check_array(name, value, ndim=1), np.float64)
    if array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}: expected a number or ({n},)")
    if (array < 0).any():
        raise ArgumentError(f"{name}[{int(np.argmin(array))}]={array.min()!r}: expected numbers >= 0")
    return array
