"""ChebCB: a contextual bandit that regresses costs on Chebyshev polynomials of the context."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState
from gossamer._kernels import relax
from gossamer.solve.linear.relaxation.learner import ContextualLearner


class ChebCB(ContextualLearner):
    r"""Learn the best parameter as a function of a number that is known of each system.

    The cost of every parameter is regressed on Chebyshev polynomials of the context, with coefficients bounded as those
    of a Lipschitz function are. The parameter with the least prediction is drawn most often, another one with
    :math:`1 / (d + \eta_t (\hat y_i - \hat y_{\min}))`: inverse-gap weighting, whose sharpness :math:`\eta_t` follows
    from how well the predictions have come true. The range of the costs is learned on the way.

    Good where a scalar tells systems apart: a diffusion coefficient, a shift, a step length.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from; 20 from 1 to 1.95 by default.
    degree : int
        Of the polynomials.
    bounds : tuple of two floats
        Interval (a, b) of the contexts.
    clip : bool
        Take contexts outside for the nearest bound, instead of refusing them.
    random_state : int or Generator, optional
        Source of the draws.

    Attributes
    ----------
    eta : float
        :math:`\eta_t`; 0 before the first cost.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Notes
    -----
    O(d m^2) memory for m = degree + 1, however many costs come; an answer takes O(m^3), and O(d m^3) where it is more,
    or less, than any before and bounds held. The measure of past predictions subtracts the cost itself where the
    regression subtracts cost - 1; the difference does not matter and is kept as published.

    References
    ----------
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax: setting solver parameters across a sequence of linear
    system instances", ICLR 2024, arXiv 2310.02246.
    Foster and Rakhlin, "Beyond UCB: optimal and efficient contextual bandits with regression oracles", ICML 2020.

    Examples
    --------
    >>> from gossamer.solve import ChebCB
    >>> learner = ChebCB([1.0, 1.5, 1.9], bounds=(0.0, 1.0), random_state=0)
    >>> for t in range(600):
    ...     c = (t * 0.618) % 1
    ...     index, omega = learner.ask(c)
    ...     learner.tell(index, cost=20 + 40 * abs(index / 2 - c), context=c)
    >>> [learner.best(c)[0] for c in (0.05, 0.5, 0.95)]
    [0, 1, 2]
    """

    def __init__(
        self,
        grid: Any = None,
        degree: int = 5,
        bounds: tuple[float, float] = (0.0, 1.0),
        *,
        clip: bool = False,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(grid, bounds, clip, random_state)
        d, m = len(self.grid), check_int("degree", degree, low=0) + 1
        self.degree, self.eta = m - 1, 0.0
        # Coefficients are kept in iterations; divided by the scale they are those of the paper.
        self._theta = np.zeros((d, m))
        self._gram, self._moment, self._square = np.zeros((d, m, m)), np.zeros((d, m)), np.zeros(d)
        self._bound, self._held = np.zeros(m), np.zeros(d, bool)
        self._count, self._most, self._least, self._scale = 0, 0.0, math.inf, 1.0
        self._predicted = [0.0, 0.0, 0.0]  # sums of prediction^2, prediction * cost, cost^2

    def predict(self, context: float) -> np.ndarray:
        """Iterations that each parameter is expected to take at a context, shape (d,)."""
        with self._lock:
            return 1 + self._theta @ self._features(self._place(context))

    @property
    def coefficients(self) -> np.ndarray:
        """Coefficients of the scaled costs, shape (d, degree + 1)."""
        return self._theta / self._scale

    @property
    def coefficient_bounds(self) -> np.ndarray:
        """Largest magnitude that each of the :attr:`coefficients` may have, shape (degree + 1,)."""
        return self._bound / self._scale

    def _features(self, place: float | None) -> np.ndarray:
        low, high = self.bounds
        x = 2 * (place - low) / (high - low) - 1  # type: ignore[operator]
        values = [1.0, x]
        for _ in range(self.degree - 1):
            values.append(2 * x * values[-1] - values[-2])
        return np.array(values[: self.degree + 1])

    def _scores(self, place: float | None) -> np.ndarray:
        return self._theta @ self._features(place)

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        scores = self._scores(place) / self._scale
        best = int(scores.argmin())
        p = 1 / (len(scores) + self.eta * (scores - scores[best]))
        p[best] = 0
        p[best] = 1 - p.sum()
        return p, scores

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        d, m = self._theta.shape
        phi, target = self._features(place), cost - 1
        self._gram[index] += phi[:, None] * phi
        self._moment[index] += target * phi
        self._square[index] += target * target
        for k, term in enumerate((remembered * remembered, remembered * cost, cost * cost)):
            self._predicted[k] += term
        self._count += 1
        if cost > self._most or cost < self._least:
            self._most, self._least = max(self._most, cost), min(self._least, cost)
            spread = self._most - self._least  # (b - a) Lip
            self._bound = np.concatenate([[self._most], 2 * spread / np.arange(1, m)])
            self._scale = 2 * self._most + 4 * spread * (1 + math.log(m))  # K N
            for arm in np.flatnonzero(self._held).tolist():  # the bounds have become wider
                self._fit(arm)
        self._fit(index)

        scale, t = self._scale, self._count
        squares, products, costs = self._predicted
        regret = squares - 2 * products / scale + costs / scale**2
        if self._held[index]:
            regret -= max(self._misfit(index), 0.0) / scale**2
        spread = (self._most - self._least) / scale
        alpha = (math.pi + 2 / math.pi * math.log(2 * m + 1)) / (2 * (m + 1)) * spread
        self.eta = 2 * t * math.sqrt(d * t / (max(regret, 1e-12) + 2 * alpha * alpha * t))

    def _fit(self, arm: int) -> None:
        self._held[arm] = relax.least_squares(
            self._gram[arm], self._moment[arm], self._bound, self._theta[arm]
        )

    def _misfit(self, arm: int) -> float:
        """Sum of squared errors of a parameter's regression."""
        theta = self._theta[arm]
        return float(theta @ (self._gram[arm] @ theta - 2 * self._moment[arm]) + self._square[arm])
