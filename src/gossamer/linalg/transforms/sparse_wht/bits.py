"""Vectors of n bits: bit i of an integer is column i of a bit matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError, bad_argument


def unpack_bits(indices: np.ndarray, n: int) -> np.ndarray:
    """Integers (q,) as rows of bits (q, n) uint8: entry ``[r, i]`` is bit i of ``indices[r]``."""
    shifts = np.arange(n, dtype=np.uint64)
    return ((np.asarray(indices, np.uint64)[:, None] >> shifts) & np.uint64(1)).astype(np.uint8)


def pack_bits(bits: Any, n: int | None = None) -> np.ndarray:
    """Rows of zeros and ones (q, n) as integers (q,) uint64; the inverse of :func:`unpack_bits`."""
    array = np.asarray(bits)
    if array.ndim != 2 or (n is not None and array.shape[1] != n) or array.shape[1] > 64:
        raise ShapeError(f"bits have shape {array.shape}: expected (q, {'n' if n is None else n})")
    if not np.isin(array, (0, 1)).all():
        raise bad_argument("bits", array.dtype, "zeros and ones only")
    powers = np.uint64(1) << np.arange(array.shape[1], dtype=np.uint64)
    return (array.astype(np.uint64) * powers).sum(axis=1, dtype=np.uint64)


def parity(words: np.ndarray) -> np.ndarray:
    """Number of ones modulo two, uint8."""
    return (np.bitwise_count(words) & 1).astype(np.uint8)


def characters(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``(-1)^<left[i], right[j]>`` as float64 of shape left.shape + right.shape."""
    return 1.0 - 2.0 * parity(np.bitwise_and.outer(left, right))


def rank(words: np.ndarray) -> int:
    """Rank over two elements of the vectors ``words``."""
    basis: list[int] = []
    for word in (int(w) for w in words):
        for member in basis:
            word = min(word, word ^ member)
        if word:
            basis.append(word)
    return len(basis)


def random_words(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform vectors of n bits, (count,) uint64."""
    return rng.integers(0, 1 << n, count, dtype=np.uint64)
