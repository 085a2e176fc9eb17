"""Pixels of an image cube in blocks: each keeps its shares and guidance, and answers in sums that add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer._kernels import unmix
from gossamer.learn.unmix.constrained import nonnegative_least_squares
from gossamer.learn.unmix.guidance import guidance_map, purity
from gossamer.learn.unmix.vertex import CornerSearch

BLOCK = 1 << 16  # pixels
FLOOR = 1e-9  # of shares: a zero would stay for ever
PART = 1 << 13  # pixels in double precision at a time


class Survey(NamedTuple):
    """What one look at the values of pixels tells; infinite or negative values are only counted, with the first."""

    live: int
    """Pixels that are not zero."""
    bad: int
    """Values that are NaN or infinite."""
    negative: int
    first: tuple[int, int] | None
    """Pixel and channel of the first value that is not finite, else of the first negative one."""
    value: float
    sums: np.ndarray
    """Of each channel."""
    peaks: np.ndarray
    """Largest value of each channel."""
    second: np.ndarray
    """``X^T X``: (L, L)."""


class Block:
    """Some pixels of a cube.

    Parameters
    ----------
    X : array, shape (n, L) or (rows, columns, L)
        Read whenever it is needed: memory maps stay on disk.
    dtype : dtype
        Of the arithmetic on pixels, float32 or float64.
    clip : bool
        Take negative values as zero.
    threads : int, optional
        As many as there are cores by default.
    """

    def __init__(self, X: Any, dtype: Any, clip: bool = False, threads: int | None = None) -> None:
        self.X, self.dtype, self.clip, self.threads = X, np.dtype(dtype), clip, threads
        self.count = int(np.prod(X.shape[:-1]))
        self.live: np.ndarray | None = None
        self.scale = 1.0
        self.A, self.h = np.empty((0, 0), self.dtype), np.zeros(self.count, self.dtype)
        self.kept: tuple[np.ndarray, np.ndarray] | None = None

    def rows(self) -> np.ndarray:
        """Values (n, L), without a copy where type and order allow."""
        rows = np.asarray(self.X).reshape(-1, self.X.shape[-1]).astype(self.dtype, copy=False)
        return np.maximum(rows, 0) if self.clip else rows

    def survey(self) -> Survey:
        """Look at the values once, and remember which pixels are zero."""
        rows = self.rows()
        L = rows.shape[1]
        second, sums, peaks = np.zeros((L, L)), np.zeros(L), np.zeros(L)
        live = np.empty(len(rows), bool)
        bad = negative = 0
        first, value = None, 0.0
        for start in range(0, len(rows), PART):
            here = rows[start : start + PART].astype(np.float64)
            live[start : start + PART] = here.any(axis=1)
            wrong = ~np.isfinite(here)
            below = here < 0
            if wrong.any() or below.any():
                place = np.argwhere(wrong if wrong.any() else below)[0]
                if first is None or (wrong.any() and not bad):
                    first, value = (start + int(place[0]), int(place[1])), float(here[tuple(place)])
                bad, negative = bad + int(wrong.sum()), negative + int(below.sum())
                continue
            sums += here.sum(axis=0)
            peaks = np.maximum(peaks, here.max(axis=0))
            second += here.T @ here
        self.live = None if live.all() else live
        return Survey(int(live.sum()), bad, negative, first, value, sums, peaks, second)

    def prepare(self, scale: float) -> None:
        """Divide values by ``scale`` from now on."""
        self.scale = 1 / scale

    def project(self, search: CornerSearch) -> float:
        """Project for a search of corners; returns how far the pixels reach."""
        self.low = search.project(self.rows())
        if self.live is not None:
            self.low[~self.live] = 0
        return search.reach(self.low[self._where()])

    def farthest(
        self, search: CornerSearch, reach: float, direction: np.ndarray
    ) -> tuple[float, int, np.ndarray]:
        """How far out in a direction, which pixel, and its point."""
        points = search.points(self.low, reach)
        sizes = np.abs(points @ direction)
        if self.live is not None:
            sizes[~self.live] = -1
        best = int(np.argmax(sizes)) if len(sizes) else -1
        return (float(sizes[best]), best, points[best]) if len(sizes) else (-1.0, -1, np.zeros(0))

    def low_point(self, index: int) -> np.ndarray:
        """The projection of a pixel."""
        return self.low[index]

    def forget_projection(self) -> None:
        """Free what :meth:`project` kept."""
        self.low = np.empty((0, 0))

    def lit(self) -> int:
        """How many pixels are not zero."""
        return self.count if self.live is None else int(self.live.sum())

    def spectrum(self, index: int) -> np.ndarray:
        """Values of the pixel that is number ``index`` among those that are not zero."""
        place = index if self.live is None else int(np.flatnonzero(self.live)[index])
        return self.rows()[place].astype(np.float64)

    def start(self, M: np.ndarray, weights: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray]:
        """Shares by least squares with signs; returns ``A^T A`` and ``A^T X`` (scaled)."""
        rows = self.rows()
        sides = rows @ (M * weights).T.astype(self.dtype)
        sides = sides.astype(np.float64) * self.scale + delta**2
        self.set_shares(
            nonnegative_least_squares((M * weights) @ M.T + delta**2, sides, self.threads), floor=False
        )
        A = self.A if self.live is None else self.A * self.live[:, None]
        return A.T.astype(np.float64) @ A, (A.T @ rows).astype(np.float64) * self.scale

    def set_shares(self, A: np.ndarray, floor: bool = True) -> None:
        """Give the pixels shares (n, K); those of zero get even ones."""
        self.A = np.array(A, self.dtype, order="C")
        if floor:
            np.maximum(self.A, self.dtype.type(FLOOR), out=self.A)
        if self.live is not None:
            self.A[~self.live] = 1 / self.A.shape[1]

    def raise_to_floor(self) -> None:
        """Make all shares positive, so that products can change them."""
        np.maximum(self.A, self.dtype.type(FLOOR), out=self.A)

    def sweep(
        self, M: np.ndarray, weights: np.ndarray, steps: int, lam: float, xi: float, delta: float
    ) -> unmix.Sums:
        """Steps of the shares, then the sums of the block."""
        return unmix.sweep(
            self.rows(), self.A, self.h, M, weights, steps=steps, lam=lam, xi=xi, delta=delta, floor=FLOOR,
            scale=self.scale, live=self.live, threads=self.threads,
        )  # fmt: skip

    def improve(
        self, M: np.ndarray, weights: np.ndarray, steps: int, lam: float, xi: float, delta: float
    ) -> None:
        """Steps of the shares alone."""
        unmix.sweep(
            self.rows(), self.A, self.h, M, weights, steps=steps, lam=lam, xi=xi, delta=delta, floor=FLOOR,
            scale=self.scale, live=self.live, measure=False, threads=self.threads,
        )  # fmt: skip

    def learn_map(self, measure: str, h_max: float, M: np.ndarray, precision: np.ndarray) -> None:
        """Take the guidance from the shares, and for "evidence" from the pixels and the noise of channels."""
        if measure != "evidence":
            self.set_map(guidance_map(self.A, measure, h_max))
            return
        weighted = M * precision
        sides = (self.rows() @ weighted.T.astype(self.dtype)).astype(np.float64) * self.scale
        chance = purity(self.A.astype(np.float64), sides, weighted @ M.T, int((precision > 0).sum()))
        self.set_map(h_max * chance)

    def set_map(self, h: Any) -> None:
        """Give the pixels a guidance: a number or (n,)."""
        self.h = np.array(np.broadcast_to(h, self.count), self.dtype)
        if self.live is not None:
            self.h[~self.live] = 0

    def map(self) -> np.ndarray:
        """Guidance: (n,)."""
        return self.h

    def shares(self) -> np.ndarray:
        """Shares: (n, K)."""
        return self.A

    def largest(self) -> np.ndarray:
        """Largest share of each endmember: (K,)."""
        return self.A[self._where()].max(axis=0, initial=0.0)

    def keep(self) -> None:
        """Remember shares and guidance as the best so far."""
        self.kept = self.A.copy(), self.h.copy()

    def recall(self) -> None:
        """Go back to the best shares and guidance."""
        if self.kept is not None:
            self.A, self.h = self.kept

    def _where(self) -> Any:
        return slice(None) if self.live is None else self.live


class Blocks:
    """All blocks of a cube, in order, on this machine."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = list(blocks)
        self.ends = np.cumsum([block.count for block in self.blocks])

    @classmethod
    def of(cls, X: Any, dtype: Any, clip: bool = False) -> Blocks:
        """Cut (N, L) or (rows, columns, L) into blocks of about 65,536 pixels."""
        step = BLOCK if X.ndim == 2 else max(1, BLOCK // max(X.shape[1], 1))
        return cls([Block(X[i : i + step], dtype, clip) for i in range(0, max(len(X), 1), step)])

    def call(self, method: str, *shared: Any) -> list[Any]:
        """``block.method(*shared)`` of every block."""
        return [getattr(block, method)(*shared) for block in self.blocks]

    def scatter(self, method: str, parts: Any) -> None:
        """``block.method(part)``, rows of an array split among the blocks."""
        for block, part in zip(self.blocks, np.split(parts, self.ends[:-1]), strict=True):
            getattr(block, method)(part)

    def one(self, index: int, method: str, *arguments: Any) -> Any:
        """``block.method(*arguments)`` of one block."""
        return getattr(self.blocks[index], method)(*arguments)


def surveyed(blocks: Any) -> Survey:
    """Surveys of all blocks as one; refuses NaN, infinite and negative values with their first place."""
    parts = blocks.call("survey")
    bad, negative = sum(p.bad for p in parts), sum(p.negative for p in parts)
    if bad or negative:
        starts = [0, *blocks.ends[:-1]]
        at = next(i for i, p in enumerate(parts) if (p.bad if bad else p.negative))
        assert parts[at].first is not None
        place = (int(starts[at]) + parts[at].first[0], parts[at].first[1])
        if bad:
            raise ArgumentError(f"X has {bad} NaN or infinite entries, the first at {place}")
        raise ArgumentError(
            f"Negative values in data: X is {parts[at].value:.4g} at {place}; expected none, or clip_negative=True"
        )
    return Survey(
        sum(p.live for p in parts), 0, 0, None, 0.0, sum(p.sums for p in parts),
        np.max([p.peaks for p in parts], axis=0), sum(p.second for p in parts),
    )  # fmt: skip
