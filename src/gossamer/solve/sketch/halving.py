"""Scores of all rows from a coreset of a random half of them, which is found from a half of the half, and so on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from gossamer.solve.sketch.leverage import whitener
from gossamer.solve.sketch.lewis import iterate_weights
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks
from gossamer.solve.sketch.row_sample import independent_sample

DISTORTION = 1 / 2  # of a coreset that stands for a half
HELD = 1 << 22  # numbers of a half that is copied, so that its own halves cost no pass over the matrix


def halving_scores(blocks: RowBlocks, p: float, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    r"""Overestimates of the sensitivities of rows, and the rank.

    Let B be a coreset of a uniform half of the rows. The generalised sensitivity of a row is the largest
    :math:`|a x|^p / (\|B x\|_p^p + |a x|^p)`: an overestimate, as far as B keeps norms, because a half has smaller
    norms than the whole; and the sum over all rows is at most twice the total sensitivity of a half on average, because
    no row differs from those in the half. It is bounded, in turn, by the ellipsoid of the Lewis weights of B. A row
    that leaves the span of B has score one.

    Parameters
    ----------
    blocks : RowBlocks
        n rows. There is one pass over all, and one over half, a quarter and so on until that fits in memory.
    p : float
        Positive.
    rng : Generator
        Source of halves and coresets.

    References
    ----------
    Cohen, Lee, Musco, Musco, Peng, Sidford, "Uniform sampling for matrix approximation", ITCS 2015.
    """
    F, normal = _ellipsoid(_stand_in(_half(blocks, p, rng), p, rng), p)
    scores = np.concatenate(blocks.each(_scores, F=F, normal=normal, p=p))
    leave = np.flatnonzero(np.isinf(scores))
    rank = F.shape[1]
    if len(leave):
        rank += np.linalg.matrix_rank(blocks.take(leave[: 10 * blocks.d]) @ normal)
    return np.minimum(scores, 1.0), int(rank)


def _stand_in(blocks: RowBlocks, p: float, rng: np.random.Generator) -> np.ndarray:
    """All rows if they are few, and otherwise a coreset, rows times roots of weights."""
    size = _coreset_size(blocks.d, p)
    if blocks.n <= 2 * size:
        return blocks.take(np.arange(blocks.n))
    F, normal = _ellipsoid(_stand_in(_half(blocks, p, rng), p, rng), p)
    scores = np.minimum(np.concatenate(blocks.each(_scores, F=F, normal=normal, p=p)), 1.0)
    if not scores.any():
        return np.zeros((1, blocks.d))
    index, weight = independent_sample(scores, size, rng)
    return blocks.take(index) * weight[:, None] ** (1 / p)


def _half(blocks: RowBlocks, p: float, rng: np.random.Generator) -> RowBlocks:
    if blocks.n <= 2 * _coreset_size(blocks.d, p):
        return blocks
    mask = rng.random(blocks.n) < 0.5
    part = _Part(blocks, mask)
    return MatrixBlocks(part.take(np.arange(part.n))) if part.n * blocks.d <= HELD else part


def _coreset_size(d: int, p: float) -> int:
    return math.ceil(max(d, d ** (p / 2)) * math.log(max(d, 2)) / DISTORTION**2)


def _ellipsoid(rows: np.ndarray, p: float) -> tuple[np.ndarray, np.ndarray]:
    """F with the Lewis weights ``|a F|^p`` of the rows, and an orthonormal basis of what is orthogonal to them."""
    X = whitener(rows, warn=False)
    F = X @ iterate_weights(MatrixBlocks(rows), X, p, 0.3)[2]  # a factor of two is as good
    d, rank = X.shape
    normal = np.zeros((d, 0)) if rank == d else scipy.linalg.qr(X)[0][:, rank:]
    if p > 2:  # norms of the ellipsoid are up to this times norms of the rows
        F = F * rank ** (0.5 - 1 / p)
    return F * (1 + DISTORTION) ** (1 / p), normal


def _scores(block: Any, F: np.ndarray, normal: np.ndarray, p: float) -> np.ndarray:
    """Bounds for the rows of a block; infinite outside the span."""
    part = np.asarray(block @ F)
    bound = np.einsum("ij,ij->i", part, part) ** (p / 2)
    if normal.shape[1]:
        off = np.asarray(block @ normal)
        size = np.asarray((block * block).sum(axis=1)).ravel()
        bound[np.einsum("ij,ij->i", off, off) > 1e-18 * size] = np.inf
    return bound


class _Part:
    """Some of the rows, where they lie."""

    def __init__(self, blocks: RowBlocks, mask: np.ndarray) -> None:
        self._blocks, self._mask = blocks, mask
        self._index = np.flatnonzero(mask)
        self.n, self.d = len(self._index), blocks.d

    def each(self, f: Callable[..., Any], *columns: np.ndarray, **shared: Any) -> list[Any]:
        """As of the blocks, with these rows only."""
        whole = []
        for column in columns:
            whole.append(np.zeros(len(self._mask), column.dtype))
            whole[-1][self._index] = column
        return self._blocks.each(_of_some, self._mask, *whole, call=f, options=shared)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some of them."""
        return self._blocks.take(self._index[index])


def _of_some(
    block: Any, mask: np.ndarray, *parts: np.ndarray, call: Callable[..., Any], options: dict[str, Any]
) -> Any:
    return call(block[mask], *(part[mask] for part in parts), **options)
