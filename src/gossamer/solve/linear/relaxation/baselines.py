"""What a learner is compared with: a fixed parameter, draws without learning, and the simplest learning there is."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState
from gossamer.solve.linear.relaxation.learner import Learner
from gossamer.solve.linear.relaxation.omega_grid import OmegaGrid


class FixedOmega(Learner):
    """Always the same parameter.

    Parameters
    ----------
    omega : float
        Inside (0, 2).

    Raises
    ------
    ArgumentError
        If it is not.
    """

    def __init__(self, omega: float) -> None:
        super().__init__([omega])

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        p = np.ones(1)
        return p, p

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        """There is nothing to learn."""


class UniformOmega(Learner):
    """A parameter drawn from all alike, whatever they cost.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from.
    random_state : int or Generator, optional
        Source of the draws.
    """

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        p = np.full(len(self.grid), 1 / len(self.grid))
        return p, p

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        """There is nothing to learn."""


class EpsilonGreedy(Learner):
    """The parameter of least mean cost so far, and now and then any other.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from.
    epsilon : float
        Share of draws from all alike. Parameters that were never tried count as free of cost, so that each is tried.
    random_state : int or Generator, optional
        Source of the draws.

    Raises
    ------
    ArgumentError
        If ``epsilon`` is not in [0, 1].
    """

    def __init__(self, grid: Any = None, epsilon: float = 0.1, random_state: RandomState = None) -> None:
        super().__init__(grid, random_state)
        self.epsilon = check_float("epsilon", epsilon, low=0, high=1)
        self._total, self._count = np.zeros(len(self.grid)), np.zeros(len(self.grid))

    def _scores(self, place: float | None) -> np.ndarray:
        return self._total / np.maximum(self._count, 1)

    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        p = np.full(len(self.grid), self.epsilon / len(self.grid))
        p[self._scores(place).argmin()] += 1 - self.epsilon
        return p, p

    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        self._total[index] += cost
        self._count[index] += 1


def best_fixed(costs: Any, grid: Any = None) -> tuple[float, float]:
    """Return the parameter that would have been best for all systems of a sequence, and its mean cost.

    Parameters
    ----------
    costs : array, shape (systems, d)
        What every parameter of the grid cost for every system.
    grid : array or OmegaGrid, optional
        The d parameters.

    Returns
    -------
    omega, mean : float

    Raises
    ------
    ShapeError
        If there are not as many columns as parameters.

    Examples
    --------
    >>> from gossamer.solve import best_fixed
    >>> best_fixed([[9, 4], [5, 6]], [1.0, 1.5])
    (1.5, 5.0)
    """
    grid, table = OmegaGrid(grid), check_array("costs", costs, ndim=2)
    if table.shape[1] != len(grid) or not len(table):
        raise ShapeError(
            f"costs has shape {table.shape}: expected (systems, {len(grid)}), a column a parameter"
        )
    mean = np.asarray(table, np.float64).mean(axis=0)
    at = int(mean.argmin())
    return float(grid.values[at]), float(mean[at])
