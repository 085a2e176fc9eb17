"""Sketches of growing size from one nested design, until nothing is left unexplained or the budget ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer.linalg.transforms.sparse_wht.designs import Design
from gossamer.linalg.transforms.sparse_wht.offsets import Offsets
from gossamer.linalg.transforms.sparse_wht.peeling import Decoded, Detection, decode, fold
from gossamer.linalg.transforms.sparse_wht.samples import BudgetExceeded, Samples

LARGEST_B = 24
MEETING = 0.015
"""Accepted probability that two of few coefficients meet in every group, which no peeling takes apart."""
LEAST_EXPLAINED = 0.25
"""Least share of the power to be found where neither the noise nor K is known: many terms a bin look like noise."""


@dataclass(frozen=True)
class Noise:
    """What is known about the noise of a sample: its deviation, the signal-to-noise ratio, or nothing."""

    sigma: float | None
    snr_db: float | None

    @property
    def unknown(self) -> bool:
        """Whether it has to be estimated."""
        return self.sigma is None and self.snr_db is None

    def variance(self, samples: np.ndarray) -> float | None:
        """Of one entry of a bin, from samples (C, B, P)."""
        if self.sigma is not None:
            return self.sigma**2 / samples.shape[1]
        if self.snr_db is not None:
            return float(np.square(samples).mean()) / (1 + 10 ** (self.snr_db / 10)) / samples.shape[1]
        return None


@dataclass(frozen=True)
class Stage:
    """The last sketch that was decoded: bits of a bin's number, whether the budget cut it short, and its terms."""

    b: int
    short: bool
    found: Decoded


def sizes(n: int, K: int | None, b: int | None, groups: int) -> list[int]:
    """Bits of a bin's number to try, in turn."""
    if K is not None:
        K = check_int("K", K, low=1)
        if math.log2(K) > 0.9 * n:
            raise bad_argument(
                "K",
                K,
                f"at most 2**(0.9 n) = {int(2 ** (0.9 * n))}",
                "for a denser spectrum use gossamer.linalg.fwht",
            )
    if b is not None:
        return [check_int("b", b, low=0, high=min(n, LARGEST_B))]
    if K is not None:
        needed = max(2, math.ceil(math.log2(K)))
        while MEETING * 2.0 ** (groups * needed) < K * (K - 1) / 2 and groups > 1:
            needed += 1
        if needed > LARGEST_B:
            raise bad_argument("K", K, f"at most 2**{LARGEST_B}")
        return [min(needed, n)]
    largest = max(1, min(math.floor(0.9 * n), LARGEST_B))
    return list(range(min(4, largest), largest + 1))


def run_stages(
    design: Design,
    offsets: Offsets,
    samples: Samples,
    how: Detection,
    noise: Noise,
    tried: list[int],
    threads: int | None,
) -> Stage:
    """Decode the nested sketches of ``tried`` until one explains its bins."""

    def attempt(b: int) -> Decoded:
        part = design.first(b)
        values = samples(part.points(offsets.shifts))
        return decode(
            part, offsets, fold(values, threads), how, noise.variance(values), samples.precision, threads
        )

    last: Stage | None = None
    for b in tried:
        try:
            last = Stage(b, False, attempt(b))
        except BudgetExceeded:
            if last is not None:
                return Stage(last.b, True, last.found)
            break
        if explained(last.found, noise, len(tried) > 1):
            return last
    if last is not None:
        return last
    for b in range(tried[0] - 1, -1, -1):  # the largest sketch that the budget allows says what it can
        try:
            return Stage(b, True, attempt(b))
        except BudgetExceeded:
            continue
    raise ArgumentError(
        f"max_queries={samples.max_queries}: expected at least C P = {offsets.shifts.size}, one bin in each group"
    )


def explained(found: Decoded, noise: Noise, adaptive: bool) -> bool:
    """Whether noise explains what is left."""
    if found.unresolved or (noise.unknown and found.uneven):
        return False
    blind = adaptive and noise.unknown and found.energy > 0
    return not blind or 1 - found.levels.nu2 / found.energy >= LEAST_EXPLAINED
