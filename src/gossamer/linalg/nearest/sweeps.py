"""The stop rule of alternating descents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

State = TypeVar("State")


def while_falling(
    sweep: Callable[[State], State],
    state: State,
    error: Callable[[State], float],
    sweeps: int,
    tolerance: float = 1e-9,
) -> State:
    """Sweep while the error falls by more than a share of ``tolerance``; a sweep that raises it is undone."""
    best = error(state)
    for _ in range(sweeps):
        trial = sweep(state)
        reached = error(trial)
        if not reached < best:
            break
        done = reached > best * (1 - tolerance)
        state, best = trial, reached
        if done:
            break
    return state
