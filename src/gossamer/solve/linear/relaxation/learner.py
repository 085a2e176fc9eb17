"""What learners of a relaxation parameter have in common: asking, telling, and answers that come late."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels import relax
from gossamer.solve.linear.relaxation.omega_grid import OmegaGrid


class Guarded:
    """State that several threads share, and that can be pickled though a lock cannot."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()


class Learner(Guarded, ABC):
    """A learner that is asked for a parameter and told what it cost.

    Several questions may be open at once, from several threads; an answer belongs to the oldest open question about the
    same index and context. The same seed and the same order of calls give the same choices. Learners can be pickled
    at any time.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from.
    random_state : int or Generator, optional
        Source of the draws, one number a question.
    """

    def __init__(self, grid: Any = None, random_state: RandomState = None) -> None:
        super().__init__()
        self.grid = OmegaGrid(grid)
        self._rng = check_random_state(random_state)
        self._open: dict[tuple[int, float | None], deque[float]] = {}

    def ask(self, context: float | None = None) -> tuple[int, float]:
        """Choose a parameter: its index in the grid, and itself."""
        with self._lock:
            place = self._place(context)
            p, memory = self._law(place)
            index = relax.draw(p, self._rng.random())
            self._open.setdefault((index, place), deque()).append(float(memory[index]))
            return index, float(self.grid.values[index])

    def tell(self, index: int, cost: float, context: float | None = None) -> None:
        """Report what a choice of :meth:`ask` cost: a number of iterations, at least 1.

        Raises
        ------
        ArgumentError
            If the cost is below 1 or not finite, or no such question is open.
        """
        cost = check_float("cost", cost, low=1)
        with self._lock:
            place = self._place(context)
            self._learn(index, cost, place, self._close(index, place))

    def withdraw(self, index: int, context: float | None = None) -> None:
        """Close a question of :meth:`ask` without an answer, because the solve did not take place."""
        with self._lock:
            self._close(index, self._place(context))

    def probabilities_at(self, context: float | None = None) -> np.ndarray:
        """The law of the next choice, shape (d,)."""
        with self._lock:
            return self._law(self._place(context))[0]

    def best(self, context: float | None = None) -> tuple[int, float]:
        """The parameter that the learner would choose if it did not explore."""
        with self._lock:
            index = int(self._scores(self._place(context)).argmin())
            return index, float(self.grid.values[index])

    @abstractmethod
    def _law(self, place: float | None) -> tuple[np.ndarray, np.ndarray]:
        """The law of the choice at a place that :meth:`_place` returned, and what to remember of each until told."""

    @abstractmethod
    def _learn(self, index: int, cost: float, place: float | None, remembered: float) -> None:
        """Take an answer in."""

    def _place(self, context: float | None) -> float | None:
        """What of a context matters; None where none does."""
        return None

    def _scores(self, place: float | None) -> np.ndarray:
        """Small for a parameter that is believed to be good."""
        return -self._law(place)[0]

    def _close(self, index: int, place: float | None) -> float:
        key = (check_int("index", index, low=0, high=len(self.grid) - 1), place)
        waiting = self._open.get(key)
        if not waiting:
            where = "" if place is None else f", context={place!r}"
            raise ArgumentError(
                f"index={index}{where}: no such question is open, expected what ask() returned"
            )
        remembered = waiting.popleft()
        if not waiting:
            del self._open[key]
        return remembered


class ContextualLearner(Learner):
    """A learner whose choices depend on a number that is known of each system.

    Parameters
    ----------
    grid : array or OmegaGrid, optional
        Parameters to choose from.
    bounds : tuple of two floats
        Interval of the contexts.
    clip : bool
        Take contexts outside for the nearest bound, instead of refusing them.
    random_state : int or Generator, optional
        Source of the draws.
    """

    def __init__(
        self, grid: Any, bounds: tuple[float, float], clip: bool = False, random_state: RandomState = None
    ) -> None:
        super().__init__(grid, random_state)
        low, high = check_bounds(bounds)
        self.bounds, self.clip = (low, high), bool(clip)

    def _place(self, context: float | None) -> float:
        low, high = self.bounds
        try:
            value = float(context)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = math.nan
        if math.isnan(value):
            raise bad_argument("context", context, f"a number in [{low}, {high}]")
        if not self.clip and not low - 1e-9 <= value <= high + 1e-9:
            raise bad_argument(
                "context", context, f"a number in [{low}, {high}]", "clip=True takes the nearest bound"
            )
        return min(max(value, low), high)


def check_bounds(bounds: Any) -> tuple[float, float]:
    """Return the ends of an interval that is not empty."""
    try:
        low, high = (check_float("bounds", end) for end in bounds)
    except (TypeError, ValueError):
        raise bad_argument("bounds", bounds, "two numbers (low, high)") from None
    if not low < high:
        raise bad_argument("bounds", bounds, "low < high")
    return low, high
