"""Weights of one view, and all that a step does with its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_finite
from gossamer._kernels import multiview

MOMENTUM = 0.9
LATE = 3  # of the average that gives late steps more weight: (t / T) ** LATE


@dataclass(frozen=True)
class Step:
    """How weights move: the number of the step from 1, its rate, a factor of the gradient that clips it."""

    number: int
    rate: float
    scale: float
    adam: bool
    average: bool


class View:
    """Weights U (K, p) of features, in float32 or float64, with the state of the optimiser.

    Features are centred by their mean over all batches before, the first batch by its own: within a batch of five
    rows a fifth of the variance would go. What takes a batch x (m, p) works in units of the data: who calls divides
    scores and derivatives by the scale of the view. Sums over features are what the methods return, so that the
    features of a view may lie in several objects.
    """

    def __init__(self, weights: np.ndarray, threads: int | None = None) -> None:
        self.u = np.array(weights, order="C")
        self.threads = threads
        K, p = self.u.shape
        self.offset = np.zeros(p, self.u.dtype)
        self.average, self.rows = np.zeros(p), 0
        self.first = self.second = self.mean_weights = self.u[:0]
        self.g = np.empty((K + 1, p), self.u.dtype)
        self.started = False

    def variance(self, x: np.ndarray) -> float:
        """Sum of the variances of the features; of the first batch, the means also are what is subtracted."""
        squares = 0.0
        width = max(1, (1 << 18) // max(len(x), 1))
        for start in range(0, x.shape[1], width):
            part = slice(start, start + width)
            wide = x[:, part].astype(np.float64)
            mean = wide.mean(axis=0)
            if not self.started:
                self.offset[part] = mean
            squares += float(((wide - mean) ** 2).sum())
        self.started = True
        return squares / max(len(x) - 1, 1)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """``(x - offset) U^T``, (m, K) float64."""
        return self._scores(x, self.u)

    def gram(self) -> np.ndarray:
        """``U U^T``, (K, K) float64."""
        return np.asarray(self.u @ self.u.T, np.float64)

    def adopt(self, rows: int) -> int:
        """Let the means of the first call of :meth:`variance`, of so many rows, count for those to come."""
        self.average[:], self.rows = self.offset, rows
        return rows

    def toward(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """``U <- z^T (x - offset)``; returns the new :meth:`gram`."""
        multiview.gradient(x, self.offset, z, self.u, None, self.g[:-1], self.threads)
        self.u[:] = self.g[:-1]
        return self.gram()

    def turn(self, factor: np.ndarray) -> np.ndarray:
        """``U <- factor^T U`` for factor (K, K); returns the new :meth:`gram`."""
        self.u = np.ascontiguousarray(factor.T.astype(self.u.dtype) @ self.u)
        return self.gram()

    def gradient(self, x: np.ndarray, r: np.ndarray, s: np.ndarray | None) -> float:
        """Keep ``r^T (x - offset) + s^T U`` for :meth:`step`; returns the sum of its squares."""
        ones = np.ones((len(x), 1))
        square = multiview.gradient(x, self.offset, np.hstack([r, ones]), self.u, s, self.g, self.threads)
        self._count(len(x))
        self.offset[:] = self.average
        return square

    def step(self, how: Step) -> np.ndarray:
        """Move along the kept gradient; returns the new :meth:`gram`."""
        g = self.g[:-1]
        if not len(self.first):
            self.first = np.zeros_like(self.u)
            self.second = np.zeros_like(self.u) if how.adam else self.second
        if how.adam:
            multiview.adam(
                self.u,
                g,
                self.first,
                self.second,
                how.number,
                how.rate,
                scale=how.scale,
                threads=self.threads,
            )
        else:
            self.first *= MOMENTUM
            self.first += how.scale * g
            self.u -= how.rate * self.first
        if how.average:
            if not len(self.mean_weights):
                self.mean_weights = self.u.copy()
            self.mean_weights += (self.u - self.mean_weights) * ((LATE + 1) / (how.number + LATE))
        return self.gram()

    def weights(self) -> np.ndarray:
        """U, or its average where steps kept one; (K, p)."""
        return self.mean_weights if len(self.mean_weights) else self.u

    def mean(self) -> np.ndarray:
        """Mean of the features over all batches since the last :meth:`forget`, (p,) float64."""
        return self.average.copy()

    def forget(self) -> np.ndarray:
        """Start the mean anew; returns the gram matrix of :meth:`weights`."""
        self.average[:], self.rows = 0.0, 0
        u = self.weights()
        return np.asarray(u @ u.T, np.float64)

    def final_scores(self, x: np.ndarray) -> np.ndarray:
        """As :meth:`scores`, of :meth:`weights`; the batch counts for the mean."""
        multiview.gradient(x, self.offset, np.ones((len(x), 1)), self.u[:0], None, self.g[-1:], self.threads)
        self._count(len(x))
        return self._scores(x, self.weights())

    def _scores(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        z = multiview.scores(x, self.offset, u, self.threads)
        if not np.isfinite(z).all():
            check_finite("a batch", x)
        return z

    def _count(self, rows: int) -> None:
        self.rows += rows
        self.average += (self.offset + self.g[-1] / rows - self.average) * (rows / self.rows)
