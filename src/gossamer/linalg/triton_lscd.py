"""Products of Tiled-CSL matrices on a GPU by Triton: load as sparse, compute as dense. Needs ``triton``.

Nothing else imports this module. Without a GPU it runs in Triton's interpreter, for tests, if ``TRITON_INTERPRET=1`` is
set before triton is imported.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import triton
import triton.language as tl

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.structures.tiled_csl import COLS, ROWS, VECTOR, TiledCSLMatrix

COLUMNS = 16  # the least that a matrix unit takes


@triton.jit
def _multiply_tiles(  # type: ignore[no-untyped-def]
    words, offsets, b, partial, tiles, rows, depth, columns, across, split,
    TM: tl.constexpr, TK: tl.constexpr, TN: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """One row of tiles times TN columns, over one of `split` parts of the depth: partial[part] (rows, columns)."""
    row_tile, block, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    program = (part * tl.num_programs(1) + block) * tl.num_programs(0) + row_tile
    m, k, n = tl.arange(0, TM), tl.arange(0, TK), block * TN + tl.arange(0, TN)
    # Triton has no scatter to shared memory: the dense tile lies in a piece of global memory that this program alone
    # uses, 16 KB, and therefore in the nearest cache
    buffer = tiles + program.to(tl.int64) * TM * TK
    place = m[:, None] * TK + k[None, :]
    swizzled = m[:, None] * TK + (k[None, :] ^ ((m[:, None] % 8) << 3))
    total = tl.zeros((TM, TN), tl.float32)
    for j in range(part * across // split, (part + 1) * across // split):
        tl.store(buffer + place, tl.zeros((TM, TK), tl.float16))
        tl.debug_barrier()
        start = tl.load(offsets + row_tile * across + j) * 4
        end = tl.load(offsets + row_tile * across + j + 1) * 4
        for first in range(start, end, WORDS):
            at = first + tl.arange(0, WORDS)
            word = tl.load(words + at, mask=at < end, other=0)
            value = (word & 0xFFFF).to(tl.uint16).to(tl.float16, bitcast=True)
            # padding writes zero to places that hold zero
            tl.store(buffer + ((word >> 16) & 0xFFFF), value, mask=at < end)
        tl.debug_barrier()
        dense = tl.load(buffer + swizzled)
        inner = j * TK + k
        right = tl.load(
            b + inner[:, None].to(tl.int64) * columns + n[None, :],
            mask=(inner[:, None] < depth) & (n[None, :] < columns),
            other=0.0,
        )
        total += tl.dot(dense, right)
        tl.debug_barrier()  # the tile is read before the next one zeroes it
    row = row_tile * TM + m
    to = partial + part.to(tl.int64) * rows * columns + row[:, None].to(tl.int64) * columns + n[None, :]
    tl.store(to, total, mask=(row[:, None] < rows) & (n[None, :] < columns))


def interpreted() -> bool:
    """Whether kernels of this module run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def spmm(A: TiledCSLMatrix, B: Any, *, split_k: int = 1) -> Any:
    """Multiply a Tiled-CSL matrix with a tensor on a GPU: float16 products, float32 sums.

    A program zeroes a dense tile of 128 x 64, scatters the words of a tile of ``A`` to it by location, and multiplies
    it with 16, 32 or 64 columns by the matrix units; it goes through the tiles of its part of a row of tiles. The CUDA
    kernel of the paper holds the tile in shared memory, which Triton cannot scatter to, and overlaps loading,
    scattering and multiplying by hand; expect less than its speed. Not measured.

    Parameters
    ----------
    A : TiledCSLMatrix, shape (O, K)
        Its words are copied to the device of ``B`` at every call unless they are tensors there.
    B : tensor, shape (K,) or (K, N)
        Rounded to float16.
    split_k : int
        Parts of K in work at the same time, for matrices of few rows; their sums are added in order.

    Returns
    -------
    tensor of float32, shape (O,) or (O, N)
        On the device of ``B``.

    Raises
    ------
    ArgumentError
        If ``A`` is no Tiled-CSL matrix, ``B`` is not on a GPU and kernels are not interpreted, or ``split_k`` is less
        than 1 or more than the tiles of a row.
    ShapeError
        If ``B`` is no vector or matrix of K rows.

    References
    ----------
    Xia et al., "Flash-LLM", VLDB 2024, section 4.
    """
    if not isinstance(A, TiledCSLMatrix):
        raise ArgumentError(f"A is a {type(A).__name__}: expected a TiledCSLMatrix")
    if B.ndim not in (1, 2) or B.shape[0] != A.shape[1]:
        raise ShapeError(f"A has shape {A.shape} and B {tuple(B.shape)}: expected (K,) or (K, N)")
    if not (B.is_cuda or interpreted()):
        raise ArgumentError(f"B is on {B.device}: expected a GPU (or TRITON_INTERPRET=1)")
    rows, depth = A.shape
    down, across = -(-rows // ROWS), -(-depth // COLS)
    check_int("split_k", split_k, low=1, high=across)
    right = (B[:, None] if B.ndim == 1 else B).to(torch.float16).contiguous()
    columns = right.shape[1]
    width = min(max(COLUMNS, triton.next_power_of_2(columns)), 64)
    blocks = -(-columns // width)
    words = torch.as_tensor(A.words.view("int32")).to(B.device)
    offsets = torch.as_tensor(A.tile_offsets).to(B.device)
    tiles = torch.empty(down * blocks * split_k * ROWS * COLS, dtype=torch.float16, device=B.device)
    partial = torch.zeros(split_k, rows, columns, device=B.device)
    if columns:
        _multiply_tiles[(down, blocks, split_k)](
            words, offsets, right, partial, tiles, rows, depth, columns, across, split_k,
            TM=ROWS, TK=COLS, TN=width, WORDS=128 * VECTOR,
        )  # fmt: skip
    y = partial.sum(0)
    return y[:, 0] if B.ndim == 1 else y
