"""Bitmap tiles of 16 x 64 (load as sparse, compute as dense): packing, checks, ``y = A x``.

A tile holds, for every column (float32, float16) or pair of columns (bfloat16), a mask over its 16 rows, and the
non-zeros in the order of the bits. Bit ``r`` of a column's mask is row ``r``; bit ``2 r + c`` of a pair's mask is row
``r`` of its column ``c``. Tiles go by rows of tiles. ``values`` ends in 32 zeros, so that kernels may read whole
vectors; bfloat16 and float16 are raw uint16 in native code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, expect_array, operand, ready

ROWS, COLS, TAIL = 16, 64, 32
DTYPES = {"bfloat16": np.uint16, "float16": np.float16, "float32": np.float32}
"""Storage types and the NumPy type that holds them; bfloat16 as raw bits."""


def grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles."""
    return -(-shape[0] // ROWS), -(-shape[1] // COLS)


def pack(stored: np.ndarray, mask: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pack entries (O, K) of a storage type where ``mask`` holds into ``masks``, ``values``, ``tile_ptr``. O(O K)."""
    tiles, width = grid(stored.shape), 2 if dtype == "bfloat16" else 1
    masks, values, counts = [], [], []
    for top in range(0, tiles[0] * ROWS, ROWS):  # a row of tiles at a time: the dense matrix is not copied
        kept, entries = (_tiles(array[top : top + ROWS], tiles[1], width) for array in (mask, stored))
        masks.append(
            np.packbits(kept.reshape(tiles[1] * COLS // width, ROWS * width), axis=1, bitorder="little")
        )
        values.append(entries[kept])
        counts.append(kept.sum(axis=(1, 2, 3)))
    joined = np.concatenate([*values, np.zeros(TAIL, DTYPES[dtype])])
    words = np.concatenate(masks).view(np.uint32 if width == 2 else np.uint16)
    tile_ptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return words.reshape(tiles[0] * tiles[1], COLS // width), joined, tile_ptr


def _tiles(rows: np.ndarray, count: int, width: int) -> np.ndarray:
    """At most 16 rows as (tiles, column steps, 16, width), padded with zeros."""
    padded = np.zeros((ROWS, count * COLS), rows.dtype)
    padded[: len(rows), : rows.shape[1]] = rows
    parts = padded.reshape(ROWS, count, COLS // width, width)
    return np.ascontiguousarray(parts.transpose(1, 2, 0, 3))


def places(masks: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every stored value, in the order of ``values``."""
    width = COLS // masks.shape[1]
    bits = np.unpackbits(ready(masks).view(np.uint8), bitorder="little")
    at = np.nonzero(bits.reshape(-1, COLS // width, ROWS, width))
    tile, step, row, column = (part.astype(np.int64) for part in at)
    across = grid(shape)[1]
    return tile // across * ROWS + row, tile % across * COLS + step * width + column


def check(
    masks: np.ndarray, values: np.ndarray, tile_ptr: np.ndarray, shape: tuple[int, int], dtype: str
) -> None:
    """Refuse factors that native code could not walk safely. O(O K / 8), once, at construction."""
    tiles, pairs = int(np.prod(grid(shape))), dtype == "bfloat16"
    expect_array("masks", masks, np.uint32 if pairs else np.uint16, (tiles, COLS // (2 if pairs else 1)))
    if values.dtype != DTYPES[dtype] or values.ndim != 1 or len(values) < TAIL:
        raise ShapeError(
            f"values is {values.dtype} of shape {values.shape}: "
            f"expected {np.dtype(DTYPES[dtype])} of shape (nnz + {TAIL},)"
        )
    if tile_ptr.dtype != np.int64:
        raise ArgumentError(f"tile_ptr is {tile_ptr.dtype}: expected int64")
    check_pointers("tile_ptr", tile_ptr, tiles, len(values) - TAIL)
    counts = np.bitwise_count(masks).sum(axis=1) if hasattr(np, "bitwise_count") else _count(masks)
    if (np.diff(tile_ptr) != counts).any():
        raise ArgumentError("tile_ptr does not count the bits of masks")
    rows, columns = places(masks, shape) if any(n % t for n, t in zip(shape, (ROWS, COLS))) else ([0], [0])
    if len(rows) and (np.max(rows) >= shape[0] or np.max(columns) >= shape[1]):
        raise ArgumentError(f"masks has bits outside of the matrix of shape {shape}")


def _count(masks: np.ndarray) -> np.ndarray:
    return np.unpackbits(ready(masks).view(np.uint8), axis=1).sum(axis=1)


def matmat(
    masks: np.ndarray,
    values: np.ndarray,
    tile_ptr: np.ndarray,
    x: np.ndarray,
    rows: int,
    *,
    split: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply checked tiles of a matrix of ``rows`` rows with ``x``; returns float32 (O, N).

    Parameters
    ----------
    masks, values, tile_ptr : ndarray
        The tiles; uint32 masks say that ``values`` are bfloat16.
    x : ndarray, shape (K, N)
        float32, or raw bfloat16 as uint16 with bfloat16 values: then products of pairs are made by one
        instruction where the CPU has it.
    rows : int
        O.
    split : int
        Slices of K that are summed in order; 0 chooses by the shape, never by the threads.
    threads : int, optional
        At most this many.
    """
    kind = "bfloat16" if masks.dtype == np.uint32 else "float32" if values.dtype == np.float32 else "float16"
    brain = x.dtype == np.uint16
    if brain and kind != "bfloat16":
        raise ArgumentError(f"x is raw bfloat16, values are {kind}: expected float32 x")
    x = operand(x, np.uint16 if brain else np.float32)
    tiles = -(-x.shape[0] // COLS) * -(-rows // ROWS)
    if len(masks) != tiles:
        raise ShapeError(
            f"x has {x.shape[0]} rows: a matrix of {rows} rows in {len(masks)} tiles has another width"
        )
    y = np.empty((rows, x.shape[1]), np.float32)
    multiply = getattr(_native.lscd, "bfloat16_both" if brain else kind)
    multiply(
        ready(masks),
        _raw(values),
        ready(tile_ptr),
        x,
        y,
        check_int("split", split, low=0),
        get_threads(threads),
    )
    return y


def prepare(masks: np.ndarray, values: np.ndarray, tile_ptr: np.ndarray, shape: tuple[int, int]) -> Any:
    """Check tiles and copy them into a native ``Linear`` for the token loops (:mod:`gossamer._kernels.linear`)."""
    kind = "bfloat16" if masks.dtype == np.uint32 else "float32" if values.dtype == np.float32 else "float16"
    check(masks, values, tile_ptr, shape, kind)
    return getattr(_native.lscd, f"linear_{kind}")(ready(masks), _raw(values), ready(tile_ptr), *shape)


def _raw(values: np.ndarray) -> np.ndarray:
    return ready(values).view(np.uint16) if values.dtype == np.float16 else ready(values)


CSL_ROWS, CSL_COLS, CSL_VECTOR = 128, 64, 4


def csl_pack(half: np.ndarray, reorder: bool, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Tiled-CSL words and tile offsets of a float16 matrix (O, K), as the GPU kernel reads them.

    Returns
    -------
    words : ndarray of uint32
        ``value | location << 16``, every tile padded to whole vectors of 4 by zeros.
    tile_offsets : ndarray of int32, shape (tiles + 2,)
        In vectors; the last two entries are the end.
    """
    down, across = -(-half.shape[0] // CSL_ROWS), -(-half.shape[1] // CSL_COLS)
    counts = np.zeros((down, across), np.int64)
    for i in range(down):  # a row of tiles at a time: the matrix is not copied
        kept = (half[i * CSL_ROWS : (i + 1) * CSL_ROWS] != 0).sum(axis=0)
        counts[i] = np.add.reduceat(kept, np.arange(0, half.shape[1], CSL_COLS))
    offsets = np.concatenate([[0], np.cumsum(-(-counts.ravel() // CSL_VECTOR)), [0]])
    offsets[-1] = offsets[-2]
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ArgumentError(f"the matrix takes {offsets[-1]} vectors: tile offsets of 32 bits hold 2^31 - 1")
    words, offsets = np.empty(CSL_VECTOR * int(offsets[-1]), np.uint32), offsets.astype(np.int32)
    _native.lscd.csl_pack(ready(half).view(np.uint16), offsets, reorder, words, get_threads(threads))
    return words, offsets


def csl_matmat(
    words: np.ndarray, tile_offsets: np.ndarray, x: np.ndarray, rows: int, *, threads: int | None = None
) -> np.ndarray:
    """Multiply checked Tiled-CSL tiles of a matrix of ``rows`` rows with float32 ``x``, a scattered tile at a time."""
    x = operand(x, np.float32)
    tiles = -(-x.shape[0] // CSL_COLS) * -(-rows // CSL_ROWS)
    if len(tile_offsets) != tiles + 2:
        raise ShapeError(f"x has {x.shape[0]} rows: a matrix of {rows} rows in these tiles has another width")
    y = np.empty((rows, x.shape[1]), np.float32)
    _native.lscd.csl_scatter(ready(words), ready(tile_offsets), x, y, get_threads(threads))
    return y
