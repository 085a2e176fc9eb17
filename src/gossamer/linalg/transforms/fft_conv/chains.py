"""Which short transforms make a long one, and in which order its spectrum comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from gossamer._core.errors import ArgumentError

PRIMES = (2, 3, 5, 7)
LARGEST_FACTOR = 64

PUBLISHED = {
    2**8: (16, 16), 2**10: (32, 32), 2**12: (16, 16, 16), 2**13: (32, 16, 16), 2**14: (16, 32, 32), 2**15: (32, 32, 32),
    2**16: (16, 16, 16, 16), 2**17: (16, 32, 16, 16), 2**18: (16, 16, 32, 32), 2**19: (16, 32, 32, 32),
    2**20: (32, 32, 32, 32), 2**21: (64, 32, 32, 32), 2**22: (128, 32, 32, 32),
}  # fmt: skip
"""Factors of the publication's table; sizes from 65536 on are an outer factor times an inner size of three."""

_PASS_COST = {2: 4.0, 3: 5.5, 4: 5.0, 5: 7.0, 7: 10.0, 8: 7.5, 16: 11.0}
"""Of one pass of this radix over a vector of points, in cycles or so: what one passes over memory for."""


def is_smooth(n: int) -> bool:
    """Whether n has no prime factor above 7."""
    for prime in PRIMES:
        while n > 1 and n % prime == 0:
            n //= prime
    return n == 1


def next_smooth(n: int, multiple: int = 1) -> int:
    """The least number >= n that is ``multiple`` times a number without prime factors above 7."""
    rest = max(1, -(-n // multiple))
    while not is_smooth(rest):
        rest += 1
    return rest * multiple


@lru_cache(maxsize=1024)
def cheapest_radices(n: int) -> tuple[int, ...]:
    """Radices of compiled passes with product n, cheapest in sum, the largest first; ``(1,)`` for 1."""
    return _cheapest(n)[1] or (1,)


def pass_cost(radices: Sequence[int]) -> float:
    """Cost of a chain of passes, per point."""
    return sum(_PASS_COST.get(radix, 2.0) for radix in radices)


@lru_cache(maxsize=4096)
def _cheapest(n: int) -> tuple[float, tuple[int, ...]]:
    if n == 1:
        return 0.0, ()
    best: tuple[float, tuple[int, ...]] = (math.inf, ())
    for radix, cost in _PASS_COST.items():
        if n % radix == 0:
            rest, radices = _cheapest(n // radix)
            best = min(best, (cost + rest, tuple(sorted((*radices, radix), reverse=True))))
    return best


def published_factors(n: int, exactly: bool = False) -> tuple[int, ...]:
    """Those of the least published size that holds n points, or is n."""
    for size, factors in PUBLISHED.items():
        if size == n or (size > n and not exactly):
            return factors
    raise ArgumentError(
        f"factors='paper' for {n} points: expected {'one of' if exactly else 'at most the last of'} {tuple(PUBLISHED)}"
    )


def balanced_factors(n: int) -> tuple[int, ...]:
    """As few factors as fit below 64, as equal as they can be, the largest first: those of matrix products."""
    if not is_smooth(n):
        raise ArgumentError(f"n={n}: expected prime factors 2, 3, 5 and 7; nearest valid: {next_smooth(n)}")
    count = 1
    while LARGEST_FACTOR**count < n:
        count += 1
    while True:
        found = _balanced(n, count)
        if found:
            return found
        count += 1


def _balanced(n: int, count: int) -> tuple[int, ...] | None:
    if count == 1:
        return (n,) if n <= LARGEST_FACTOR else None
    root = n ** (1 / count)
    divisors = [d for d in range(1, LARGEST_FACTOR + 1) if n % d == 0]
    for d in sorted(divisors, key=lambda d: abs(math.log(d / root))):
        rest = _balanced(n // d, count - 1)
        if rest:
            return tuple(sorted((d, *rest), reverse=True))
    return None


@lru_cache(maxsize=16)
def spectrum_order(factors: tuple[int, ...]) -> np.ndarray:
    """Frequency at each place of a spectrum in Monarch order, int64 (n,).

    Place ``(f_1, ..., f_p)`` of the view ``factors`` holds frequency ``f_1 + N_1 (f_2 + N_2 (f_3 + ...))``.
    """
    order = np.zeros(1, np.int64)
    for factor in reversed(factors):
        # digits to the left are less significant: those already placed move up by this factor
        order = (np.arange(factor)[:, None] + factor * order[None, :]).reshape(-1)
    order.setflags(write=False)
    return order
