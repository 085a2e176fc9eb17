"""Stochastic steps on the Eckart-Young loss of linear scores, whatever the views lie in."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import FitFailedWarning

from gossamer._core.errors import ArgumentError, bad_argument
from gossamer.learn.cca.view import Step
from gossamer.linalg.eckart_young import ey_terms

SCALE_ROWS = 1000  # rows after which the scale of a view is known well enough to stay
CLIP = 10.0
FLOORS = 1e-6, 1e-2  # together, variances are evened out by up to 1e8


class EYDescent:
    """State of a fit: views, their scales, and the number of the step.

    Parameters
    ----------
    views : list
        Objects with the methods of :class:`View`.
    features : sequence of int
        Numbers of features.
    components : int
        K.
    ridge : sequence of float
        One a view.
    rate : float or "auto"
        Of the optimiser.
    adam, paired, shift, scale, average : bool
        As of the estimators.
    """

    def __init__(
        self,
        views: list[Any],
        features: Sequence[int],
        components: int,
        ridge: Sequence[float],
        *,
        rate: float | str,
        adam: bool,
        paired: bool,
        shift: bool,
        scale: bool,
        average: bool,
    ) -> None:
        self.views, self.features, self.ridge = views, list(features), list(ridge)
        self.rate, self.adam, self.paired, self.shift, self.average = rate, adam, paired, shift, average
        self.scales = np.ones(len(views))
        self._K = components
        # Adam moves every weight by about the rate, and weights of a view of p features are of size 1 / sqrt(p)
        p = np.array(self.features, np.float64)
        self._paces = np.exp(np.log(p).mean() / 2) / np.sqrt(p) if adam else np.ones(len(p))
        self.number = 0
        self.losses: list[float] = []
        self._scaled = scale
        self.rows_seen = 0  # rows of the steps before
        self._rows, self._variance = 0, np.zeros(len(views))
        self._grams: list[np.ndarray] = []
        self._norms: deque[float] = deque(maxlen=100)

    def each(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """Call a method of every view, each with its own arguments."""
        rows = zip(*arguments, strict=True) if arguments else [()] * len(self.views)
        return [getattr(view, method)(*row) for view, row in zip(self.views, rows, strict=True)]

    def step(self, xs: Sequence[Any], m: int) -> float:
        """One step on a batch of m rows of every view; returns its loss."""
        least = 4 if self.paired else 2
        if m < least:
            raise bad_argument("rows of a batch", m, f"at least {least}{' with paired=True' * self.paired}")
        if not self._grams:
            self.begin(xs, m)
        elif self._rows < SCALE_ROWS and self.number:
            self._measure(xs, m)
        zs = self._scores(xs)
        half = m // 2 if self.paired else m
        with np.errstate(over="ignore", invalid="ignore"):  # told apart below
            terms = ey_terms(
                [z[:half] for z in zs],
                ridge=self.ridge,
                grams=self._grams,
                independent=[z[half : 2 * half] for z in zs] if self.paired else None,
                shift=self.shift,
                centred=1 + 1 / self.rows_seen if self.rows_seen else (m - 1) / m,
            )
        loss = float(terms.loss)
        if not np.isfinite(loss):
            self._diverged()
        slopes = self._slopes(terms.scores, terms.independent, m)
        inner = [a * terms.weights if a else None for a in self.ridge]
        norm = float(np.sqrt(sum(self.each("gradient", xs, slopes, inner))))
        if not np.isfinite(norm):
            self._diverged()
        self.number += 1
        self.rows_seen += m
        self.losses.append(loss)
        rate, clip = self._rate(m), self._clip(norm)
        how = [Step(self.number, rate * f, clip, self.adam, self.average) for f in self._paces]
        self._grams = self.each("step", how)
        if not all(np.isfinite(gram).all() for gram in self._grams):
            self._diverged()
        return loss

    def resume(self, other: EYDescent) -> None:
        """Go on from another descent's count and scales; the optimiser's moments, which views hold, start anew."""
        self.scales, self.number, self.losses = other.scales.copy(), other.number, list(other.losses)
        self.rows_seen, self._rows, self._variance = other.rows_seen, other._rows, other._variance.copy()
        self._norms = deque(other._norms, maxlen=other._norms.maxlen)
        self._grams = self.each("gram")

    def begin(self, xs: Sequence[Any], m: int, *, apart: bool = False) -> None:
        """Choose the first weights from m rows: Gaussian directions, for CCA after one power step towards variance.

        They are turned so that ``V = I``; rows that are too few for that leave them Gaussian.
        """
        self._measure(xs, m)
        if apart:  # rows that are no batch yet
            self.each("adopt", [m] * len(self.views))
            self.rows_seen = m
        enough = m >= 4 * self._K
        if enough and max(self.ridge) < 1:  # for unit weights Gaussian ones are white already
            self._grams = self.each("toward", xs, self._scores(xs))
        for floor in FLOORS:  # in two rounds, because a power step squares how different variances are
            grams = self.each("gram")
            factors = [
                _whitening((1 - a) * np.cov(z.T).reshape(gram.shape) + a * gram, floor)
                if a == 1 or enough
                else np.eye(self._K) / np.sqrt(np.trace(gram) / self._K)
                for a, z, gram in zip(self.ridge, self._scores(xs), grams, strict=True)
            ]
            self.each("turn", factors)
        self._grams = self.each("turn", [np.eye(self._K) / np.sqrt(len(factors))] * len(factors))

    def _measure(self, xs: Sequence[Any], m: int) -> None:
        """Root mean variance of each view over the first rows."""
        self._variance += m * np.array(self.each("variance", xs))
        self._rows += m
        if self._scaled:
            means = self._variance / (self._rows * np.array(self.features))
            self.scales = np.sqrt(np.where(means > 0, means, 1.0))

    def _scores(self, xs: Sequence[Any]) -> list[np.ndarray]:
        zs = [z / s for z, s in zip(self.each("scores", xs), self.scales, strict=True)]
        if not all(np.isfinite(z).all() for z in zs):
            self._diverged()
        return zs

    def _slopes(self, own: list[np.ndarray], other: list[np.ndarray] | None, m: int) -> list[np.ndarray]:
        """Derivatives in the scores of all m rows, in units of the data."""
        if other is not None:
            own = [
                np.concatenate([a, b, np.zeros((m - len(a) - len(b), a.shape[1]))])
                for a, b in zip(own, other)
            ]
        return [r / s for r, s in zip(own, self.scales, strict=True)]

    def _rate(self, m: int) -> float:
        if not isinstance(self.rate, str):
            return self.rate
        return 1e-3 if m <= 20 else 3e-3

    def _clip(self, norm: float) -> float:
        """Factor that keeps a gradient below ten times the median of the last hundred."""
        limit = CLIP * float(np.median(self._norms)) if len(self._norms) >= 10 else np.inf
        self._norms.append(min(norm, limit))
        return min(1.0, limit / norm) if norm > 0 else 1.0

    def _diverged(self) -> None:
        message = f"diverged at step {self.number + 1}; lower learning_rate or raise ridge"
        warnings.warn(message, FitFailedWarning, stacklevel=2)
        raise ArgumentError(message)


def _whitening(metric: np.ndarray, floor: float) -> np.ndarray:
    """Symmetric F with ``F metric F = I``, but for directions below ``floor`` times the largest."""
    sizes, Q = np.linalg.eigh(metric)
    return Q / np.sqrt(np.maximum(sizes, max(floor * sizes[-1], 1e-300))) @ Q.T
