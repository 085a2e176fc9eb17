"""Offsets of the queries: what a detector reads the bits of k from, by the signs of the entries of a bin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gossamer._core.errors import bad_argument
from gossamer.linalg.transforms.sparse_wht.bits import random_words, rank

METHODS = ("identity", "nso", "coded", "mle")
PRIMITIVE = {1: 3, 2: 7, 3: 11, 4: 19, 5: 37, 6: 67}
"""Primitive polynomials over two elements by degree, as bits."""


@dataclass(frozen=True)
class Offsets:
    """Offsets of every group and how they are laid out.

    Attributes
    ----------
    shifts : ndarray, shape (C, P), uint64
        The offsets ``d_{c,p}``.
    rows : int
        For "identity" and "nso": offsets that follow each base, 0 otherwise.
    bch_bits : int
        Degree of the field whose BCH check gives the rows; 0 where they are the n unit vectors.
    """

    shifts: np.ndarray
    rows: int = 0
    bch_bits: int = 0


def sign_rows(n: int, max_degree: int | None) -> tuple[np.ndarray, int]:
    """Rows whose parities with k determine it, and the degree of their field.

    The n unit vectors; or, where they are fewer, the t m rows of the parity check of a BCH code of length 2**m - 1 that
    corrects t = max_degree errors, to which any k of at most t ones is its own error pattern.
    """
    m = max(2, n.bit_length())  # 2**m - 1 >= n
    if max_degree is None or max_degree * m >= n or m > 6 or 2 * max_degree > (1 << m) - 2:
        return np.uint64(1) << np.arange(n, dtype=np.uint64), 0
    order = (1 << m) - 1
    powers = [1]
    for _ in range(order - 1):
        value = powers[-1] << 1
        powers.append(value ^ PRIMITIVE[m] if value > order else value)
    rows = []
    for exponent in range(1, 2 * max_degree, 2):  # the check of alpha^exponent: one column a position
        elements = [powers[(exponent * position) % order] for position in range(n)]
        rows += [sum(((element >> bit) & 1) << i for i, element in enumerate(elements)) for bit in range(m)]
    return np.array(rows, np.uint64), m


def default_offsets(n: int, b: int, method: str, max_degree: int | None, snr_db: float | None) -> int:
    """P where it is not given: 4n at 0 dB falling to 2n at 10 dB for "coded", 3n where nothing is known."""
    level = 5.0 if snr_db is None else min(max(snr_db, -10.0), 20.0)
    if method in ("coded", "mle"):
        return min(max(math.ceil(n * (4 - level / 5)), n - b + 9), 1 << n)
    rows, _ = sign_rows(n, max_degree)
    if method == "identity":
        return len(rows) + 1
    bases = min(max(2, math.ceil(2 ** (4 - level / 5))), 1 << n)  # 16 at 0 dB, 8 at 5 dB, 4 at 10 dB
    return bases * (len(rows) + 1)


def make_offsets(
    n: int, groups: int, P: int, method: str, max_degree: int | None, rng: np.random.Generator
) -> Offsets:
    """Draw P offsets for every group."""
    if method in ("identity", "nso"):
        rows, field = sign_rows(n, max_degree)
        run = len(rows) + 1
        if P % run or (method == "identity" and run != P):
            wanted = run if method == "identity" else f"a multiple of {run}"
            raise bad_argument("P", P, f"{wanted} for method={method!r}")
        shape = (groups, P // run)
        bases = np.zeros(shape, np.uint64) if method == "identity" else _distinct(groups, shape[1], n, rng)
        shifts = bases[:, :, None] ^ np.concatenate([np.zeros(1, np.uint64), rows])
        return Offsets(shifts.reshape(groups, P), len(rows), field)
    shifts = np.empty((groups, P), np.uint64)
    for c in range(groups):
        # [1 | G] of full rank: no two pairs (sign, k) have the same codeword
        while True:
            shifts[c] = _distinct(1, P, n, rng)[0]
            if rank((shifts[c] << np.uint64(1)) | np.uint64(1)) >= min(P, n + 1):
                break
    return Offsets(shifts)


def _distinct(groups: int, count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    if count > 1 << n:
        raise bad_argument("P", count, f"at most 2**n = {1 << n} distinct offsets")
    out = np.empty((groups, count), np.uint64)
    for c in range(groups):
        drawn = random_words(count, n, rng)
        while len(np.unique(drawn)) < count:
            _, first = np.unique(drawn, return_index=True)
            again = np.setdiff1d(np.arange(count), first)
            drawn[again] = random_words(len(again), n, rng)
        out[c] = drawn
    return out
