"""ChebCB: a contextual bandit that regresses costs on Chebyshev polynomials of the context."""

from __future__ import annotations

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
        self.degree = check_int("degree", degree, low=0)
        self._costs = relax.Regressions(len(self.grid), self.degree + 1)

    @property
    def eta(self) -> float:
        """Sharpness of the law; 0 before the first cost."""
        return self._costs.eta

    def predict(self, context: float) -> np.ndarray:
        """Iterations that each parameter is expected to take at a context, shape (d,)."""
        with self._lock:
            return 1 + self._costs.scale * self._scores(self._place(context))

    @property
    def coefficients(self) -> np.ndarray:
        """Coefficients of the scaled costs, shape (d, degree + 1)."""
        return self._costs.theta / self._costs.scale

    @property
    def coefficient_bounds(self) -> np.ndarray:
        """Largest magnitude that each of the :attr:`coefficients` may have, shape (degree + 1,)."""
        return self._costs.bound / self._costs.scale

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        return self._costs.law(self._centred(place))

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        self._costs.learn(self._centred(place), index, cost, remembered)

    def _scores(self, place: float | None) -> np.ndarray:
        return self._law(place)[1]

    def _centred(self, place: float | None) -> float:
        low, high = self.bounds
        return 2 * (place - low) / (high - low) - 1  # type: ignore[operator]
