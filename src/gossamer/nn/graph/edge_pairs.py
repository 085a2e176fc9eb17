"""Undirected edges as pairs of entries, and the lowest of them in an order that does not depend on storage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class EdgePairs:
    """Which undirected edge each stored entry belongs to.

    Attributes
    ----------
    number : ndarray of int64, shape (E,)
        Of the edge; -1 for self-loops, which belong to none.
    ends : ndarray of int64, shape (2, P)
        Lower above higher node of each edge.
    """

    number: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, columns: np.ndarray) -> EdgePairs:
        """Number the edges of entries at ``rows`` and ``columns``, shape (E,) each."""
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        number = np.full(len(rows), -1)
        apart = rows != columns
        low, high = np.minimum(rows, columns)[apart], np.maximum(rows, columns)[apart]
        width = int(high.max(initial=0)) + 1
        keys, number[apart] = np.unique(low * width + high, return_inverse=True)
        return cls(number, np.stack([keys // width, keys % width]))

    def __len__(self) -> int:
        return self.ends.shape[1]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the entries of each edge, (E,) to (P,)."""
        apart = self.number >= 0
        number, count = self.number[apart], len(self)
        return np.bincount(number, np.asarray(values)[apart], count) / np.bincount(number, minlength=count)

    def entries(self, chosen: np.ndarray) -> np.ndarray:
        """Entries whose edge is chosen, bool (P,) to (E,); self-loops are not."""
        return np.append(chosen, False)[self.number]


def lowest(scores: np.ndarray, count: int, ends: np.ndarray) -> np.ndarray:
    """Choose the ``count`` lowest scores, bool (P,); equal ones by a fixed hash of ``ends`` (2, P). O(P)."""
    chosen = np.zeros(len(scores), bool)
    if count <= 0:
        return chosen
    limit = np.partition(scores, count - 1)[count - 1]
    chosen[:] = scores < limit
    level = np.flatnonzero(scores == limit)
    order = np.argsort(_hash(ends[:, level]), kind="stable")
    chosen[level[order[: count - int(chosen.sum())]]] = True
    return chosen


def _hash(ends: np.ndarray) -> np.ndarray:
    """Two rounds of the mixing of splitmix64, in arithmetic modulo 2^64."""
    mixed = np.zeros(ends.shape[1], np.uint64)
    for node in ends.astype(np.uint64):
        mixed = (mixed ^ node) + _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        mixed ^= mixed >> np.uint64(31)
    return mixed


__all__ = ["EdgePairs", "lowest"]
