"""What an iterative solver reports while it runs and returns in the end: one vocabulary for stopping."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.results import Result

CONVERGED, MAXITER, STOPPED, BREAKDOWN = range(4)


class ConvergenceWarning(RuntimeWarning):
    """An iteration ended before it reached its tolerance."""


@dataclass(frozen=True, kw_only=True)
class SolverResult(Result):
    """Base of what iterative solvers return.

    Attributes
    ----------
    x : ndarray
        The solution, or the last iterate.
    nit : int
        Iterations.
    status : int
        0 converged, 1 ``maxiter`` reached, 2 stopped by the callback, 3 cannot go on (``message`` says why).
    method : str
        Which algorithm ran.
    value : float
        The measure that was compared with the tolerance, at ``x``.
    """

    x: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    nit: int = 0
    status: int = CONVERGED
    method: str = ""
    value: float = math.nan


@dataclass(frozen=True)
class Iteration:
    """What a callback is handed.

    Attributes
    ----------
    nit : int
        Iterations so far; 0 is the start.
    x : ndarray
        The iterate: a view, valid during the call only.
    value : float
        The measure that is compared with the tolerance.
    values : mapping of str to float
        Everything that the history records of this iteration.
    """

    nit: int
    x: np.ndarray
    value: float
    values: Mapping[str, Any]


Callback = Callable[[Iteration], Any]
R = TypeVar("R", bound=SolverResult)


class Watch:
    """Records an iteration and says when it is over.

    Call it once at the start and once after every iteration; it returns True when the loop must end. A callback ends
    the loop by raising ``StopIteration``, as in SciPy, or by returning True.

    Parameters
    ----------
    measure : str
        Name of the value that is compared with ``tol``, in the history and in messages.
    tol : float
        The iteration has converged when the value is at most this.
    maxiter : int
        Most iterations.
    callback : callable, optional
        Called with an :class:`Iteration`.
    """

    def __init__(self, measure: str, *, tol: float, maxiter: int, callback: Callback | None = None) -> None:
        self.measure = measure
        self.tol = check_float("tol", tol, low=0)
        self.maxiter = check_int("maxiter", maxiter, low=0)
        self.callback = callback
        self.history: dict[str, list[Any]] = {measure: [], "seconds": []}
        self.status, self.message = MAXITER, ""
        self._began = time.perf_counter()

    @property
    def nit(self) -> int:
        """Iterations so far."""
        return max(len(self.history[self.measure]) - 1, 0)

    @property
    def value(self) -> float:
        """The last value."""
        values = self.history[self.measure]
        return values[-1] if values else math.nan

    def __call__(self, x: np.ndarray, value: float, *, settled: bool = True, **more: Any) -> bool:
        """Record one iterate; True if the loop must end.

        An estimate that is not ``settled`` yet is recorded but not judged: only ``maxiter`` and the callback count.
        """
        value = float(value)
        values = {self.measure: value, "seconds": time.perf_counter() - self._began, **more}
        for name, entry in values.items():
            self.history.setdefault(name, []).append(entry)
        if self.callback is not None:
            try:
                asked = self.callback(Iteration(self.nit, x, value, values))
                asked = isinstance(asked, (bool, np.bool_)) and bool(asked)
            except StopIteration:
                asked = True
            if asked:
                self.status, self.message = STOPPED, f"stopped by the callback at iteration {self.nit}"
                return True
        return self._over(value, settled)

    def replay(self, values: Iterable[float]) -> bool:
        """Record what a compiled loop kept of its iterations; True if it must end."""
        added = values.tolist() if isinstance(values, np.ndarray) else [float(value) for value in values]
        self.history[self.measure] += added
        self.history["seconds"] += [time.perf_counter() - self._began] * len(added)
        return bool(added) and self._over(added[-1])

    def give_up(self, reason: str) -> None:
        """End the iteration because it cannot go on."""
        self.status, self.message = BREAKDOWN, f"{reason} at iteration {self.nit}"

    def result(self, x: np.ndarray, *, kind: type[R], warn: bool = False, **fields: Any) -> R:
        """The result object of this class, with all that was recorded; ``warn`` where it did not converge."""
        if warn and self.status != CONVERGED:
            warnings.warn(self.message, ConvergenceWarning, stacklevel=3)
        return kind(
            x=x,
            nit=self.nit,
            status=self.status,
            success=self.status == CONVERGED,
            message=self.message,
            value=self.value,
            history=self.history,
            **fields,
        )

    def _over(self, value: float, settled: bool = True) -> bool:
        if settled and not math.isfinite(value):
            self.give_up(f"{self.measure} is {value}: diverged")
        elif settled and value <= self.tol:
            self.status = CONVERGED
            self.message = f"{self.measure} {value:.3g} <= {self.tol:.3g} after {self.nit} iterations"
        elif self.nit >= self.maxiter:
            self.status = MAXITER
            self.message = f"maxiter={self.maxiter} reached with {self.measure} {value:.3g} > {self.tol:.3g}"
        else:
            return False
        return True
