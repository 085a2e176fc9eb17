r"""Scores of a linear graph and the noise scales that minimise them, in closed form.

With V = W - I and R = S V the residual second moments are the column sums q of V * R, and R over the scale is the
gradient of the score by W.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Scale:
    """The noise scale of one score: ``update`` sets ``sigma`` to the minimiser, ``smooth`` is the score without l1."""

    sigma: Any

    def __init__(self, S: np.ndarray, floor: float) -> None:
        self.sigma = 1.0

    def update(self, V: np.ndarray, R: np.ndarray, scratch: np.ndarray) -> None:
        """Set the scale to the one that minimises the score at this graph."""

    def half_gradient(self, R: np.ndarray, mu: float, out: np.ndarray) -> None:
        """``mu / 2`` times the gradient of the score by W."""
        np.multiply(R, (0.5 * mu) / self.sigma, out=out)

    def smooth(self, V: np.ndarray, R: np.ndarray) -> float:
        """The score at the present scale, without its l1 term."""
        raise TypeError(f"{type(self).__name__} does not say what its score is")


class OneScale(Scale):
    r"""EV: :math:`\mathrm{Tr}[(I-W)^T S (I-W)] / (2 \sigma) + d \sigma / 2`, one :math:`\sigma \geq \sigma_0`."""

    def __init__(self, S: np.ndarray, floor: float) -> None:
        self.d = len(S)
        variances = np.diag(S)
        self.floor = floor * float(np.sqrt(variances.mean()))
        self.sigma = max(float(np.sqrt(variances.min())), self.floor)

    def update(self, V: np.ndarray, R: np.ndarray, scratch: np.ndarray) -> None:
        # rounding can leave a residual below zero when S is singular
        self.sigma = max(max(float(np.vdot(V, R)) / self.d, 0.0) ** 0.5, self.floor)

    def smooth(self, V: np.ndarray, R: np.ndarray) -> float:
        return float(0.5 * (np.vdot(V, R) / self.sigma + self.d * self.sigma))


class ManyScales(Scale):
    r"""NV: :math:`\mathrm{Tr}[\Sigma^{-1} (I-W)^T S (I-W)] / 2 + \mathrm{Tr}(\Sigma) / 2`, one scale a variable."""

    def __init__(self, S: np.ndarray, floor: float) -> None:
        deviations = np.sqrt(np.diag(S))
        self.floor = floor * deviations
        self.sigma = np.maximum(deviations, self.floor)
        self._factor = np.empty_like(deviations)

    def update(self, V: np.ndarray, R: np.ndarray, scratch: np.ndarray) -> None:
        np.multiply(V, R, out=scratch)
        np.add.reduce(scratch, axis=0, out=self.sigma)
        np.maximum(self.sigma, 0.0, out=self.sigma)
        np.sqrt(self.sigma, out=self.sigma)
        np.maximum(self.sigma, self.floor, out=self.sigma)

    def half_gradient(self, R: np.ndarray, mu: float, out: np.ndarray) -> None:
        np.divide(0.5 * mu, self.sigma, out=self._factor)
        np.multiply(R, self._factor, out=out)

    def smooth(self, V: np.ndarray, R: np.ndarray) -> float:
        return float(0.5 * ((V * R).sum(axis=0) / self.sigma + self.sigma).sum())


class UnitScale(Scale):
    r"""Least squares: :math:`\mathrm{Tr}[(I-W)^T S (I-W)] / 2`, the scale frozen at one."""

    def smooth(self, V: np.ndarray, R: np.ndarray) -> float:
        return 0.5 * float(np.vdot(V, R))


SCALES: dict[str, type[Scale]] = {"ev": OneScale, "nv": ManyScales, "unit": UnitScale}
