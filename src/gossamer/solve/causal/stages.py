"""What the inner solvers of a stage are given and say at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

TOLERANCE, MOST, STOPPED, DOMAIN = "tolerance", "max_iter", "callback", "domain"


@dataclass(frozen=True)
class Stage:
    """One point of the path and the budget spent on it."""

    mu: float
    s: float
    lr: float
    max_iter: int
    tol: float
    checkpoint: int


class End(NamedTuple):
    """Why a stage ended, and after how many iterations."""

    reason: str
    nit: int


Record = Callable[[int, float], bool]
"""Takes the iteration and the objective at a checkpoint; True ends the path."""
