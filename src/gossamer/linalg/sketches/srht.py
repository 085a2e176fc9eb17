"""The subsampled randomised Hadamard transform: a dense sketch in n log n additions a column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import scipy.fft

from gossamer._core.checks import check_choice
from gossamer._core.random import RandomState
from gossamer._core.threads import get_threads
from gossamer.linalg.sketches.sketch import (
    Block,
    Sketch,
    check_rows,
    dense_rows,
    is_empty,
    power_of_two,
    random_signs,
    sampled_rows,
    seeded,
)
from gossamer.linalg.transforms.sparse_wht.bits import parity
from gossamer.linalg.transforms.walsh_hadamard import fwht

BUFFER = 1 << 22  # numbers in the buffer that a transform runs in


class SRHT(Sketch):
    r"""Subsampled randomised Hadamard transform, :math:`S = \sqrt{N/m}\, P H D`.

    D has independent uniform signs, H is the orthonormal Hadamard matrix of order N, the power of two that n is padded
    to, and P draws m rows uniformly. Every entry of S is :math:`\pm 1/\sqrt m`: a dense matrix, which spreads an error
    evenly over the coordinates of a solution, at the price of a sparse one.

    Parameters
    ----------
    n, m : int
        Columns and rows.
    replace : bool
        Draw rows with replacement, as analyses do. Without, all rows differ, the error is smaller, and m = n = N is
        an orthogonal matrix.
    transform : {"hadamard", "dct"}
        ``"dct"`` takes the orthonormal cosine transform of length n: no padding, rows that are not all of one
        magnitude.
    seed : int, Generator or None
        Source of signs and rows.

    Raises
    ------
    ArgumentError
        For m > n without replacement.

    Notes
    -----
    ``S @ A`` for A (n, k) runs Hadamard transforms of length L, the power of two at or above m, on pieces of A: a row
    of H restricted to an aligned piece is a row of the smaller matrix times a sign. That is ``n k (log2 L + m / L)``
    additions and a buffer of ``L k`` numbers for any n, and gives blocks of rows (:meth:`Sketch.partial`) for free.
    The cosine transform has no such rule: a product with all rows costs ``n k log2 n``, with a block c of them
    ``c m k``.

    References
    ----------
    Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Comput. 39, 2009. Song, Ye, Yang, Zhang,
    "A nearly-optimal bound for fast regression with l-infinity guarantee", ICML 2023, arXiv 2302.00248.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import SRHT
    >>> S = SRHT(1000, 100, seed=0)
    >>> (S @ np.ones((1000, 3))).shape, bool(np.allclose(abs(S.to_dense()), 0.1))
    ((100, 3), True)
    """

    def __init__(
        self,
        n: int,
        m: int,
        *,
        replace: bool = False,
        transform: Literal["hadamard", "dct"] = "hadamard",
        seed: RandomState = None,
    ) -> None:
        super().__init__(n, m)
        self.transform = check_choice("transform", transform, ("hadamard", "dct"))
        check_rows(n, m, replace)
        rng = seeded(seed)
        self.order = power_of_two(n) if transform == "hadamard" else n
        self.signs = random_signs(rng, n)
        self.rows = sampled_rows(rng, self.order, m, replace)

    def _rows(self, x: Block, start: int) -> np.ndarray:
        if self.transform == "hadamard":
            return self._hadamard(x, start)
        m, n = self.shape
        if x.shape[0] < n:
            return self._cosines(x, start)
        signed = dense_rows(x, 0, n) * self.signs[:, None].astype(x.dtype)
        whole = scipy.fft.dct(signed, axis=0, norm="ortho", overwrite_x=True, workers=get_threads())
        return whole[self.rows] * x.dtype.type(math.sqrt(n / m))

    def _hadamard(self, x: Block, start: int) -> np.ndarray:
        m, k = self.shape[0], x.shape[1]
        out = np.zeros((m, k), x.dtype)
        longest = min(power_of_two(max(m, 1024)), self.order)
        width = max(BUFFER // longest, 8)
        for base, size, lo, hi in aligned_pieces(start, start + x.shape[0], longest):
            if is_empty(x, lo - start, hi - start):
                continue
            part = dense_rows(x, lo - start, hi - start)
            inner = self.rows & (size - 1)
            flips = (1 - 2 * parity(self.rows & base).astype(np.int8)).astype(x.dtype)[:, None]
            signs = self.signs[lo:hi, None].astype(x.dtype)
            for first in range(0, k, width):
                columns = slice(first, first + width)
                buffer = np.zeros((size, len(range(k)[columns])), x.dtype)
                np.multiply(part[:, columns], signs, out=buffer[lo - base : hi - base])
                fwht(buffer, axis=0, inplace=True)
                picked = np.take(buffer, inner, axis=0)
                picked *= flips
                out[:, columns] += picked
        out *= x.dtype.type(1 / math.sqrt(m))
        return out

    def _cosines(self, x: Block, start: int) -> np.ndarray:
        """A block of rows by the entries of the cosine transform."""
        m, n = self.shape
        out = np.zeros((m, x.shape[1]), x.dtype)
        scale = np.where(self.rows == 0, 1.0, math.sqrt(2.0))[:, None] / math.sqrt(m)
        step = max(BUFFER // m, 1)
        for lo in range(0, x.shape[0], step):
            hi = min(lo + step, x.shape[0])
            position = np.arange(start + lo, start + hi)
            # angles modulo 2 pi in integers: a product of large ones would lose digits
            turns = np.multiply.outer(self.rows, 2 * position + 1) % (4 * n)
            entries = scale * np.cos(turns * (np.pi / (2 * n))) * self.signs[position]
            out += entries.astype(x.dtype) @ dense_rows(x, lo, hi)
        return out

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        m, n = self.shape
        whole = np.zeros((self.order, y.shape[1]), y.dtype)
        np.add.at(whole, self.rows, y)
        if self.transform == "hadamard":
            fwht(whole, axis=0, inplace=True)
            scale = 1 / math.sqrt(m)
        else:
            whole = scipy.fft.idct(whole, axis=0, norm="ortho", overwrite_x=True, workers=get_threads())
            scale = math.sqrt(n / m)
        return whole[:n] * (self.signs[:, None].astype(y.dtype) * y.dtype.type(scale))


def aligned_pieces(start: int, stop: int, longest: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut rows start to stop into pieces that lie in aligned cells of a power of two at most ``longest``.

    Yields ``(base, size, lo, hi)``: rows lo to hi lie in the smallest aligned cell ``[base, base + size)``.
    """
    lo = start
    while lo < stop:
        size, base = longest, lo - lo % longest
        hi = min(stop, base + longest)
        while size > 1:
            half = size // 2
            if lo >= base + half:
                base += half
            elif hi > base + half:
                break
            size = half
        yield base, size, lo, hi
        lo = hi
