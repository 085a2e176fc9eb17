"""Windows that a long sequence is cut into where the filter is short: how long they are by predicted time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv import chains
from gossamer.linalg.transforms.fft_conv.rates import Rates, current_rates

_LARGEST = 1 << 17
"""Points of a window at most, or 16 times the taps: longer ones leave the cache."""


@dataclass(frozen=True)
class Windows:
    """How a sequence is cut.

    Attributes
    ----------
    points : int
        Complex numbers that a window is transformed as: twice as many real ones.
    radices : tuple of int
        Of the chain before its tile.
    step : int
        Outputs of a window, ``2 points - taps + 1``; it reads ``taps - 1`` inputs before them.
    count : int
        Windows of a row.
    dtype : str
        Of the arithmetic.
    seconds : float
        Predicted time of all rows on one thread.
    """

    points: int
    radices: tuple[int, ...]
    step: int
    count: int
    dtype: str
    seconds: float

    def chain(self) -> kernels.Chain:
        """The compiled chain."""
        return kernels.chain(self.points, self.radices, columns=True, twisted=True, dtype=self.dtype)

    def __str__(self) -> str:
        factors = " x ".join(map(str, (*self.radices, *(kernels.lanes(self.dtype),) * 2)))
        return (
            f"{self.count} windows a row of {2 * self.points} points as {self.points} complex numbers = {factors}, "
            f"{self.step} outputs each; about {1e3 * self.seconds:.3g} ms on one thread"
        )


def choose_windows(
    length: int,
    taps: int,
    *,
    chunk: int | None = None,
    rows: int = 1,
    channels: int = 1,
    dtype: str = "float32",
) -> Windows:
    """The windows of least predicted time, or of at least ``chunk`` outputs where that is given.

    ``rows`` are sequences with ``channels`` filters among them, each transformed once. The shorter a window, the fewer
    passes it takes and the nearer its memory; the longer, the smaller the share of ``taps - 1`` inputs read twice.
    """
    return _choose(
        max(length, 1), taps, chunk, rows, channels, dtype, kernels.lanes(dtype) ** 2, current_rates()
    )


@lru_cache(maxsize=512)
def _choose(
    length: int, taps: int, chunk: int | None, rows: int, channels: int, dtype: str, square: int, rates: Rates
) -> Windows:
    width = int(np.sqrt(square))
    whole = chains.next_smooth(-(-(length + taps - 1) // (2 * square)))
    if chunk is not None:
        candidates = [min(whole, chains.next_smooth(-(-(chunk + taps - 1) // (2 * square))))]
    else:
        top = max(_LARGEST, 16 * taps) // (2 * square)
        candidates = [rest for rest in _smooth(min(whole, top)) if 2 * square * rest >= 2 * taps] or [whole]
    found = []
    for rest in candidates:
        points, radices = rest * square, chains.cheapest_radices(rest)
        step = 2 * points - taps + 1
        count = -(-length // step)
        seconds = points * (rows * count + channels / 2) * rates.codelet(points, radices, True, width, dtype)
        found.append(Windows(points, radices, step, count, dtype, seconds))
    return min(found, key=lambda windows: windows.seconds)


@lru_cache(maxsize=64)
def _smooth(top: int) -> tuple[int, ...]:
    """Numbers up to ``top`` without prime factors above 7."""
    found = [1]
    for prime in chains.PRIMES:
        powers = [prime**i for i in range(1 + int(np.log(max(top, 1)) / np.log(prime) + 1e-9))]
        found = [n * power for n in found for power in powers if n * power <= top]
    return tuple(sorted(found))
