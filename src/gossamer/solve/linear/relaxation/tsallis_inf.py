"""Tsallis-INF: a bandit over a grid of relaxation parameters, alone or one for each bin of contexts."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState
from gossamer._kernels import relax
from gossamer.solve.linear.relaxation.learner import ContextualLearner, Learner

LEAST_SCALE = 1e-12


class TsallisINF(Learner):
    r"""Learn the best fixed parameter from iteration counts, on any sequence of systems.

    Choices are drawn with :math:`p_i = 4 / (\eta_t (k_i - x))^2`, where :math:`k_i` sums the costs of parameter i,
    each divided by the probability of its choice, :math:`\eta_t = 2 / \sqrt t`, and x makes the sum 1: follow the
    regularised leader with Tsallis entropy of order 1/2. Costs are shifted by one and scaled by their mean so far. No
    horizon and no range need be known, and the regret is of the best order both for random and adversarial costs.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from; 20 from 1 to 1.95 by default.
    random_state : int or Generator, optional
        Source of the draws.

    Raises
    ------
    ArgumentError
        If the grid does not ascend inside (0, 2).

    Notes
    -----
    O(d) memory. A question takes a few Newton steps of O(d), an answer O(1).

    References
    ----------
    Zimmert and Seldin, "Tsallis-INF: an optimal algorithm for stochastic and adversarial bandits", JMLR 2021.
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax", ICLR 2024, arXiv 2310.02246.

    Examples
    --------
    >>> from gossamer.solve import TsallisINF
    >>> learner = TsallisINF([1.0, 1.5, 1.9], random_state=0)
    >>> for _ in range(300):
    ...     index, omega = learner.ask()
    ...     learner.tell(index, cost=100 - 40 * index)
    >>> learner.best()
    (2, 1.9)
    """

    def __init__(self, grid: Any = None, random_state: RandomState = None) -> None:
        super().__init__(grid, random_state)
        self._state = TsallisState(len(self.grid))

    @property
    def probabilities(self) -> np.ndarray:
        """The law of the next choice, shape (d,)."""
        return self.probabilities_at()

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        p = self._state.law()
        return p, p

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        self._state.add(index, cost, remembered)


class TsallisINFContextual(ContextualLearner):
    """Learn the best parameter for each of several bins of contexts: an independent :class:`TsallisINF` in each.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from.
    n_bins : int
        Bins, of equal width; a context belongs to the nearest centre.
    bounds : tuple of two floats
        Interval of the contexts.
    clip : bool
        Take contexts outside for the nearest bound, instead of refusing them.
    random_state : int or Generator, optional
        Source of the draws.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    References
    ----------
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax", ICLR 2024, arXiv 2310.02246.
    """

    def __init__(
        self,
        grid: Any = None,
        n_bins: int = 6,
        bounds: tuple[float, float] = (0.0, 1.0),
        *,
        clip: bool = False,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(grid, bounds, clip, random_state)
        m = check_int("n_bins", n_bins, low=1)
        low, high = self.bounds
        self.centres = low + (high - low) * np.linspace(0.5 / m, 1 - 0.5 / m, m)
        self._bins = [TsallisState(len(self.grid)) for _ in range(m)]

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        p = self._bin(place).law()
        return p, p

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        self._bin(place).add(index, cost, remembered)

    def _bin(self, place: float | None) -> TsallisState:
        return self._bins[int(np.abs(self.centres - place).argmin())]  # type: ignore[operator]


class TsallisState:
    """Weighted sums of costs, and the law that follows from them."""

    def __init__(self, size: int) -> None:
        self.losses = np.zeros(size)
        self.count, self.total = 0, 0.0

    def law(self) -> np.ndarray:
        """The law of the next choice."""
        scale = max(self.total / self.count - 1, LEAST_SCALE) if self.count else 1.0
        return relax.tsallis_law(self.losses / scale, 2 / (self.count + 1) ** 0.5)

    def add(self, index: int, cost: float, p: float) -> None:
        """Add a cost that was met with probability ``p``."""
        self.losses[index] += (cost - 1) / p
        self.count += 1
        self.total += cost
