"""Block sparsity: whole ``r x c`` blocks are kept, in compressed block rows."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_ascending, check_pointers, expect_array, operand, ready


def check(indptr: np.ndarray, indices: np.ndarray, blocks: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuse factors that native code could not walk safely. O(blocks); done once, at construction.

    ``indptr`` is int32 (ceil(O / r) + 1,), ``indices`` int32 (n,) with the block columns, ascending within a
    block row, ``blocks`` float32 or float64 (n, r, c).
    """
    if blocks.ndim != 3 or 0 in blocks.shape[1:]:
        raise ShapeError(f"blocks has shape {blocks.shape}: expected (n, r, c) with r, c >= 1")
    if blocks.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"blocks are {blocks.dtype}: expected float32 or float64")
    stored, r, c = blocks.shape
    rows, cols = -(-shape[0] // r), -(-shape[1] // c)
    expect_array("indptr", indptr, np.int32, (rows + 1,))
    expect_array("indices", indices, np.int32, (stored,))
    check_pointers("indptr", indptr, rows, stored)
    check_ascending("indices", indices, indptr, cols)


def matmat(
    indptr: np.ndarray, indices: np.ndarray, blocks: np.ndarray, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Multiply checked factors with ``x`` of shape (K, N) in the dtype of ``blocks``; returns ((rows) r, N).

    The result has whole block rows. Where K is not a multiple of ``c``, ``x`` is padded by the caller.
    """
    x = operand(x, blocks.dtype)
    if x.shape[0] % blocks.shape[2]:
        raise ShapeError(f"x has {x.shape[0]} rows: expected a multiple of the block width {blocks.shape[2]}")
    y = np.empty(((len(indptr) - 1) * blocks.shape[1], x.shape[1]), dtype=x.dtype)
    multiply = getattr(_native.block, x.dtype.name)
    multiply(ready(indptr), ready(indices), ready(blocks), x, y, get_threads(threads))
    return y
