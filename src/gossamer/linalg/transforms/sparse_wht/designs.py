"""Which inputs a group of bins looks at: ``M_c`` of n x b bits, so that coefficient k falls into bin ``M_c^T k``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.errors import ArgumentError, bad_argument
from gossamer.linalg.transforms.sparse_wht.bits import parity, random_words

DESIGNS = ("random", "partition", "cyclic")


@dataclass(frozen=True)
class Design:
    """Columns of every ``M_c``, independent over two elements.

    Attributes
    ----------
    n : int
        Bits of an index.
    columns : ndarray, shape (C, b), uint64
        Column i of ``M_c``. The first b' columns are a design of 2**b' bins whose samples are among those of this one.
    """

    n: int
    columns: np.ndarray

    @property
    def b(self) -> int:
        """Bits of a bin's number."""
        return self.columns.shape[1]

    def first(self, b: int) -> Design:
        """The nested design with ``2**b`` bins."""
        return Design(self.n, np.ascontiguousarray(self.columns[:, :b]))

    def points(self, offsets: np.ndarray) -> np.ndarray:
        """Queried inputs ``M_c l ^ d_{c,p}``: uint64 (C, 2**b, P) for offsets (C, P)."""
        span = np.zeros((len(self.columns), 1), np.uint64)
        for column in self.columns.T:
            span = np.concatenate([span, span ^ column[:, None]], axis=1)
        return span[:, :, None] ^ offsets[:, None, :]

    def bins(self, support: np.ndarray) -> np.ndarray:
        """The bin ``M_c^T k`` of every coefficient in every group: int64 (C, K)."""
        bits = parity(self.columns[:, :, None] & support[None, None, :]).astype(np.int64)
        return (bits << np.arange(self.b)[None, :, None]).sum(axis=1)


def make_design(n: int, b: int, groups: int, design: str, rng: np.random.Generator) -> Design:
    """Draw a design of ``groups`` matrices with b columns."""
    if not 0 <= b <= n:
        raise bad_argument("b", b, f"an integer from 0 to n={n}")
    make = {"random": _random, "partition": _partition, "cyclic": _cyclic}[design]
    return Design(n, make(n, b, groups, rng))


def _random(n: int, b: int, groups: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform among matrices of full rank: each column is redrawn until it is independent of those before it."""
    columns = np.zeros((groups, b), np.uint64)
    for c in range(groups):
        basis: list[int] = []
        while len(basis) < b:
            column = int(random_words(1, n, rng)[0])
            left = column
            for member in basis:
                left = min(left, left ^ member)
            if left:
                columns[c, len(basis)] = column
                basis.append(left)
    return columns


def _partition(n: int, b: int, groups: int, rng: np.random.Generator) -> np.ndarray:
    """Coordinates; those of one group come back in another only after all others have been used."""
    picks: list[int] = []
    columns = np.zeros((groups, b), np.uint64)
    for c in range(groups):
        own: list[int] = []
        while len(own) < b:
            if not picks:
                picks = [int(i) for i in rng.permutation(n)]
            fresh = next((i for i in picks if i not in own), None)
            if fresh is None:  # what is left of this pass is in the group already
                picks = [int(i) for i in rng.permutation(n)]
                continue
            picks.remove(fresh)
            own.append(fresh)
        columns[c] = np.uint64(1) << np.array(own, np.uint64) if own else 0
    return columns


def _cyclic(n: int, b: int, groups: int, rng: np.random.Generator) -> np.ndarray:
    """Windows of b neighbouring coordinates, evenly spread over a random circle of all n."""
    if groups > n:
        raise ArgumentError(f"C={groups}: expected at most n={n} windows for the cyclic design")
    circle = rng.permutation(n)
    starts = (np.arange(groups) * n) // groups
    places = (starts[:, None] + np.arange(b)[None, :]) % n
    return np.uint64(1) << circle[places].astype(np.uint64)
