"""Sketches with independent entries: Gaussian numbers or signs."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from gossamer._core.random import RandomState
from gossamer.linalg.sketches.sketch import Block, Sketch, dense_rows, is_empty, seeded

WIDTH = 256  # columns that are drawn at a time


class IndependentEntries(Sketch):
    """Base of sketches whose entries are independent: columns are drawn when they are needed, and never kept."""

    def __init__(self, n: int, m: int, *, seed: RandomState = None) -> None:
        super().__init__(n, m)
        self._key = [int(word) for word in seeded(seed).integers(0, 1 << 32, 4)]

    @abstractmethod
    def _draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Entries of unit variance, (m, WIDTH)."""

    def _block(self, number: int) -> np.ndarray:
        rng = np.random.Generator(np.random.SFC64([*self._key, number]))
        return self._draw(rng, (self.shape[0], WIDTH))

    def _rows(self, x: Block, start: int) -> np.ndarray:
        out = np.zeros((self.shape[0], x.shape[1]), x.dtype)
        stop = start + x.shape[0]
        for number in range(start // WIDTH, -(-stop // WIDTH)):
            first = number * WIDTH
            lo, hi = max(first, start), min(first + WIDTH, stop)
            if not is_empty(x, lo - start, hi - start):
                entries = self._block(number)[:, lo - first : hi - first].astype(x.dtype, copy=False)
                out += entries @ dense_rows(x, lo - start, hi - start)
        out *= x.dtype.type(1 / math.sqrt(self.shape[0]))
        return out

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        n = self.shape[1]
        parts = [
            self._block(number)[:, : n - number * WIDTH].astype(y.dtype, copy=False).T @ y
            for number in range(-(-n // WIDTH))
        ]
        return np.concatenate(parts) * y.dtype.type(1 / math.sqrt(self.shape[0]))


class GaussianSketch(IndependentEntries):
    """Independent normal entries of variance 1/m: the best statistics, at ``2 n m k`` operations for k columns.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    seed : int, Generator or None
        Source of the entries.

    Notes
    -----
    Entries are drawn anew, 256 columns at a time, in every product: memory is ``256 m`` numbers. Columns that meet no
    entries of a sparse matrix are not drawn.
    """

    def _draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        return rng.standard_normal(size)


class RademacherSketch(IndependentEntries):
    """Independent signs over the root of m, the sketch of Alon, Matias and Szegedy.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    seed : int, Generator or None
        Source of the signs.

    Notes
    -----
    Cost and memory as of :class:`GaussianSketch`; drawing is several times faster.

    References
    ----------
    Alon, Matias, Szegedy, "The space complexity of approximating the frequency moments", STOC 1996.
    """

    def _draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        bits = np.frombuffer(rng.bytes(size[0] * size[1] // 8), np.uint8)
        return 1.0 - 2.0 * np.unpackbits(bits).reshape(size)
