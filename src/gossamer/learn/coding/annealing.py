"""How temperature, data truncation and noise on the parameters change over the steps of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import bad_argument

Course = float | Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Knobs:
    """What the schedule says of one step; fields as in :class:`AnnealingSchedule`."""

    T: float = 1.0
    truncation: float = 0.0
    anneal_prior: bool = False
    W_noise: float = 0.0
    pi_noise: float = 0.0
    sigma_noise: float = 0.0
    partial: float = 1.0


@dataclass(frozen=True)
class AnnealingSchedule:
    """Piecewise linear courses of what anneals a fit by expectation truncation.

    A course is a number, or pairs (position, value): between positions values are interpolated, outside they stay. A
    position is a share of all steps (a float in [0, 1]) or a step (an integer; negative ones count from the end).

    Start at a temperature at which all causes look alike (parts that end up twice in the dictionary ask for a higher
    one), and let truncation rise late: at the beginning the points with the least evidence are not the crowded ones.

    Parameters
    ----------
    n_steps : int
        EM steps.
    T : course, values >= 1
        The likelihood is taken to the power ``1 / T``.
    truncation : course, values in [0, 1]
        Share f of the points expected to hold more causes than a state may: those with the least evidence are left out.
    anneal_prior : bool
        Take the prior to the power ``1 / T`` as well. The two models with a maximum always do.
    W_noise, pi_noise, sigma_noise : course, values >= 0
        Standard deviation of Gaussian noise that is added to a parameter before a step, clipped to what is legal.
    partial : course, values in (0, 1]
        Share of the points that a step draws and uses.

    Raises
    ------
    ArgumentError
        For values out of range.

    Examples
    --------
    >>> from gossamer.learn import AnnealingSchedule
    >>> schedule = AnnealingSchedule(100, T=[(0, 5.0), (0.8, 1.0)])
    >>> schedule.at(0).T, schedule.at(40).T, schedule.at(99).T
    (5.0, 3.0, 1.0)
    """

    n_steps: int = 100
    T: Course = ((0, 2.0), (0.7, 1.0))
    truncation: Course = ((0, 0.0), (2 / 3, 1.0))
    anneal_prior: bool = False
    W_noise: Course = 0.0
    pi_noise: Course = 0.0
    sigma_noise: Course = 0.0
    partial: Course = 1.0

    def __post_init__(self) -> None:
        check_int("n_steps", self.n_steps, low=1)
        bounds = {"T": (1.0, np.inf), "truncation": (0.0, 1.0), "partial": (0.0, 1.0)}
        for name in ("T", "truncation", "W_noise", "pi_noise", "sigma_noise", "partial"):
            low, high = bounds.get(name, (0.0, np.inf))
            closed = "right" if name == "partial" else "both"
            for _, value in self._points(name):
                check_float(name, value, low=low, high=high, closed=closed)

    def at(self, step: int) -> Knobs:
        """What holds at a step, counted from 0; steps beyond the last one are like it."""
        values = {}
        for name in ("T", "truncation", "W_noise", "pi_noise", "sigma_noise", "partial"):
            points = np.array(self._points(name))
            values[name] = float(np.interp(step, points[:, 0], points[:, 1]))
        return Knobs(anneal_prior=bool(self.anneal_prior), **values)

    def _points(self, name: str) -> list[tuple[float, float]]:
        """Steps and values, by rising steps."""
        course: Any = getattr(self, name)
        if np.ndim(course) == 0:
            return [(0.0, check_float(name, course))]
        try:
            pairs = [(self._step(name, position), float(value)) for position, value in course]
        except (TypeError, ValueError) as error:
            raise bad_argument(name, course, "a number, or pairs (position, value)") from error
        if not pairs:
            raise bad_argument(name, course, "at least one pair (position, value)")
        return sorted(pairs, key=lambda pair: pair[0])

    def _step(self, name: str, position: float) -> float:
        if isinstance(position, (int, np.integer)):
            return float(position if position >= 0 else self.n_steps + position)
        return check_float(f"position in {name}", position, low=0.0, high=1.0) * self.n_steps
