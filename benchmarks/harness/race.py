"""A race between two callables: interleaved, so that a busy machine slows both of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Race:
    """Rates of two competitors over the same rounds (work a second: more is better).

    Attributes
    ----------
    ours, peer : tuple of float
        One rate a round, in the order in which they ran.
    unit : str
        For example ``"tokens/s"``.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]
    unit: str

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours over the peer, round by round: drift of the machine cancels."""
        return tuple(a / b for a, b in zip(self.ours, self.peer, strict=True))

    @property
    def ratio(self) -> float:
        """Median of :attr:`ratios`."""
        return float(np.median(self.ratios))

    def spread(self) -> dict[str, Any]:
        """Quartiles of the rates and of their ratio, and how many rounds there were."""
        return {
            "kind": "quartiles",
            "rounds": len(self.ours),
            "ours": _quartiles(self.ours),
            "peer": _quartiles(self.peer),
            "ratio": _quartiles(self.ratios),
        }


def compare(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    work: float = 1.0,
    unit: str = "calls/s",
    rounds: int = 9,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Time two callables in turn, A B B A A B ..., and return their rates.

    Parameters
    ----------
    ours, peer : callable
        Called without arguments; each call does the same amount of work. Set up, and check that both compute the
        same thing, before.
    work : float
        What one call does, in units of ``unit`` (64 for a call that decodes 64 tokens).
    unit : str
        Name of the rate.
    rounds : int
        Timed calls of each.
    warmup : int
        Untimed calls of each, first.
    clock : callable
        Seconds; tests replace it.
    """
    if rounds < 3:
        raise ValueError(f"rounds={rounds}: a median and a spread need at least 3")
    for _ in range(warmup):
        ours()
        peer()
    times: dict[Callable[[], Any], list[float]] = {ours: [], peer: []}
    if len(times) != 2:
        raise ValueError("ours and peer are the same callable")
    collects = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            # who goes first alternates: neither always runs in the other's wake
            for runner in (ours, peer) if number % 2 == 0 else (peer, ours):
                start = clock()
                runner()
                times[runner].append(clock() - start)
    finally:
        if collects:
            gc.enable()
    return Race(tuple(work / t for t in times[ours]), tuple(work / t for t in times[peer]), unit)


def _quartiles(values: tuple[float, ...]) -> list[float]:
    return [float(v) for v in np.quantile(values, (0.25, 0.75))]
