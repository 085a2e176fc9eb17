"""How often features are used, by rank: the law of Zipf and Mandelbrot, and budgets that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class ZipfSchedule:
    """Densities by rank, ``p_(r) = min(1, C / (r + b)^a)`` for r = 1 .. F.

    The density of a feature is the share of tokens on which it is active.

    Attributes
    ----------
    a, b, C : float
        Exponent, shift and size.
    n_features : int
        F.
    r2 : float
        Share of the variance of the logarithms that the fit explains; 1 for a law that was not fitted.

    References
    ----------
    Ayonrinde, "Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders",
    arXiv 2411.02124, 2024.
    """

    a: float
    b: float
    C: float
    n_features: int
    r2: float = 1.0

    @classmethod
    def fit(cls, density: Any, k: float | None = None) -> ZipfSchedule:
        """Fit the law to densities: least squares on logarithms over features that are used, then C for the sum.

        Parameters
        ----------
        density : array of shape (F,)
            Of each feature, in any order.
        k : float, optional
            What the densities of the law add up to, the average number of active features; that of ``density`` if
            not given.

        Raises
        ------
        ArgumentError
            If fewer than three features are used, or a density lies outside [0, 1].
        """
        p = np.sort(to_numpy(density).astype(np.float64))[::-1]
        if p.ndim != 1 or not np.isfinite(p).all() or (len(p) and (p[-1] < 0 or p[0] > 1 + 1e-9)):
            raise ArgumentError("density: expected a 1-D array of shares between 0 and 1")
        live = p[p > 0]
        if len(live) < 3:
            raise ArgumentError(f"density has {len(live)} features in use: expected at least 3")
        target, logs, ranks = (
            float(p.sum()) if k is None else float(k),
            np.log(live),
            np.arange(1, len(live) + 1),
        )
        low, high = 0.0, len(p) / 4
        for _ in range(60):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            if _line(logs, np.log(ranks + left))[1] <= _line(logs, np.log(ranks + right))[1]:
                high = right
            else:
                low = left
        b = (low + high) / 2
        a, lost = _line(logs, np.log(ranks + b))
        spread = float(np.square(logs - logs.mean()).sum())
        r2 = 1 - lost / spread if spread > 0 else 1.0
        return cls.of(a, b, len(p), target, r2)

    @classmethod
    def of(cls, a: float, b: float, n_features: int, k: float, r2: float = 1.0) -> ZipfSchedule:
        """The law with exponent a and shift b whose densities add up to k.

        Parameters
        ----------
        a, b : float
            Not negative.
        n_features : int
            F.
        k : float
            Between 0 and F.
        r2 : float
            Of the fit it comes from.
        """
        check_float("a", a, low=0)
        check_float("b", b, low=0)
        check_int("n_features", n_features, low=1)
        check_float("k", k, low=0, high=n_features, closed="right")
        shape = -a * np.log(np.arange(1, n_features + 1) + b)
        low, high = np.log(k / n_features) - shape.max() - 1, -shape.min() + 1
        for _ in range(200):  # bisection on log C, because of the cap at 1
            middle = (low + high) / 2
            if np.exp(np.minimum(0, middle + shape)).sum() < k:
                low = middle
            else:
                high = middle
        return cls(float(a), float(b), float(np.exp(high)), n_features, float(r2))

    @property
    def density(self) -> np.ndarray:
        """``p_(r)``, float64, shape (F,), from the most to the least used."""
        return np.minimum(1.0, self.C / (np.arange(1, self.n_features + 1) + self.b) ** self.a)

    def score(self, density: Any, low: int = 1, high: int | None = None) -> float:
        """R^2 between log densities and the law over ranks low .. high; the size C is refitted there.

        Parameters
        ----------
        density : array of shape (F,)
            Of each feature, in any order.
        low, high : int
            First and last rank, from 1.
        """
        p = np.sort(to_numpy(density).astype(np.float64))[::-1][low - 1 : high]
        law = np.log(self.density[low - 1 : high][p > 0])
        logs = np.log(p[p > 0])
        rest = logs - law
        return float(1 - np.square(rest - rest.mean()).sum() / np.square(logs - logs.mean()).sum())

    def targets(self, density: Any, rotation: int = 0) -> np.ndarray:
        """The density that the law wants of each feature, by its rank in ``density``.

        Parameters
        ----------
        density : array of shape (F,)
            What features are used now.
        rotation : int
            Features that are used equally, such as dead ones, are ranked by index, counted from this one on, so that
            by rotating it none of them claims the last ranks for ever.
        """
        p = to_numpy(density)
        order = np.roll(np.arange(len(p)), -rotation)
        ranked = order[np.argsort(-p[order], kind="stable")]
        wanted = np.empty(len(p))
        wanted[ranked] = self.density
        return wanted


class Rounding:
    """Turns rates that are no integers into integers a round, so that what was given follows what was due.

    After T rounds every feature has got its due to within one: of the features that are owed part of a unit, those go
    first whose unit is due first.

    Parameters
    ----------
    n_features : int
    """

    def __init__(self, n_features: int) -> None:
        self.owed = np.zeros(n_features)

    def next(self, rate: np.ndarray, total: int) -> np.ndarray:
        """Integers >= 0 that sum to ``total``, which is also what ``rate`` (F,) sums to."""
        due = self.owed + rate
        given = np.maximum(np.floor(due + 1e-9), 0).astype(np.int64)
        part = due - given
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(part > 1e-12, (1 - part) / rate, np.inf)
        rest = total - int(given.sum())
        if rest > 0:
            given[np.argsort(wait, kind="stable")[:rest]] += 1
        elif rest < 0:  # where rates changed between rounds
            latest = np.argsort(np.where(given > 0, part, np.inf), kind="stable")[:-rest]
            given[latest] -= 1
        self.owed = due - given
        return given


def _line(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Slope -a <= 0 of y on x, and the sum of squared residuals."""
    dx, dy = x - x.mean(), y - y.mean()
    square = float(dx @ dx)
    a = max(0.0, -float(dx @ dy) / square) if square > 0 else 0.0
    return a, float(np.square(dy + a * dx).sum())
