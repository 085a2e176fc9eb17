"""From structured matrices to prepared native weights: which kernel multiplies which family."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from gossamer._core.arrays import to_numpy, widen
from gossamer._kernels import linear, lscd
from gossamer._kernels.packing import pack_codes, unpack_codes, unpack_zeros
from gossamer.engine.monarch import fits, prepare_monarch
from gossamer.linalg import (
    DenseMatrix,
    GroupQuantMatrix,
    GroupSparseQuantMatrix,
    LowRankMatrix,
    MonarchMatrix,
    NMMatrix,
    NMQuantMatrix,
    ProductMatrix,
    SumMatrix,
    TiledBitmapMatrix,
)
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.positions import stored_columns

# Skipping zeros costs one bit an entry and a look at it; it pays below this fraction of non-zeros.
_SPARSE_BELOW = 0.7


def prepare(matrix: StructuredMatrix) -> Any:
    """Repack a matrix for the token loops.

    Bitmap tiles stay as they are. Group-quantised and group-sparse matrices keep their codes, N:M in codes become
    group-quantised, dense ones keep their float32 or bfloat16. Sparse ones become non-zeros with a bitmap, or with
    2-bit positions where n of m <= 4 entries are kept. Low-rank terms of a sum, in floats or in codes, are fused into
    its product. Monarch matrices, with what low rank is added to them, run as a chain of two products where their sizes
    fit. Every other family runs as the dense matrix that it represents, because none of them is faster on one token.

    Parameters
    ----------
    matrix : StructuredMatrix
        With NumPy factors; they are copied.

    Returns
    -------
    _native.linear.Linear
        Its ``kernel`` names what was chosen.
    """
    if isinstance(matrix, SumMatrix):
        return _sum(matrix)
    if isinstance(matrix, MonarchMatrix) and fits(matrix):
        return prepare_monarch(matrix)
    if (
        isinstance(matrix, LowRankMatrix)
        and sum(matrix.shape) * matrix.rank < matrix.shape[0] * matrix.shape[1]
    ):
        return _with_low_rank(linear.bitmap(np.zeros(matrix.shape, np.float32)), [matrix])
    f = {name: to_numpy(factor) for name, factor in matrix.factors.items()}
    if isinstance(matrix, TiledBitmapMatrix):
        return lscd.prepare(f["masks"], f["values"], f["tile_ptr"], matrix.shape)
    if isinstance(matrix, DenseMatrix):
        return linear.dense(f["weight"])
    if isinstance(matrix, NMMatrix) and 1 < matrix.structure.m <= 4:
        n, m = matrix.structure.n, matrix.structure.m
        values = f["values"].astype(np.float32, copy=False)
        return linear.nm(values, f["positions"], cols=matrix.shape[1], n=n, m=m)
    if isinstance(matrix, (GroupQuantMatrix, GroupSparseQuantMatrix)):
        bits, group, cols = matrix.structure.bits, matrix.structure.group, matrix.shape[1]
        if isinstance(matrix, GroupQuantMatrix) and (group % 16 == 0 or group >= cols):
            return linear.group_quant(
                f["qweight"], f["scale"], f.get("zero"), cols=cols, bits=bits, group=group
            )
        if isinstance(matrix, GroupSparseQuantMatrix) and group % 16 == 0 and cols <= 65536:
            return linear.group_sparse_quant(
                f["row_ptr"],
                f["col"],
                f["qweight"],
                f["scale"],
                f.get("zero"),
                cols=cols,
                bits=bits,
                group=group,
            )
    if isinstance(matrix, NMQuantMatrix):
        whole = _with_zeros(matrix)
        if whole is not None:
            return whole
    return _best_of(to_numpy(matrix.to_dense()))


def _with_zeros(matrix: NMQuantMatrix) -> Any | None:
    """N:M in codes as group-quantised codes, pruned entries being zero points; None where the grid has no zero.

    A group of G stored values covers G m / n columns. The codes of what is pruned cost memory and are multiplied,
    which for one token and for many still beats floats that are skipped.
    """
    s, (rows, cols) = matrix.structure, matrix.shape
    scale, zero = to_numpy(matrix.factors["scale"]), matrix.factors.get("zero")
    group = s.group or s.stored(matrix.shape)
    width = cols if scale.shape[1] == 1 else group * s.m // s.n
    if group * s.m % s.n or -(-cols // width) != scale.shape[1] or (width % 16 and width < cols):
        return None
    if zero is not None and to_numpy(zero).dtype != np.uint8:
        return None
    points = np.full(scale.shape, 2 ** (s.bits - 1), np.uint8)
    if zero is not None:
        zero = to_numpy(zero)
        points = unpack_zeros(zero.reshape(-1), s.bits, scale.size).reshape(scale.shape)
    stored = unpack_codes(to_numpy(matrix.factors["qweight"]), s.bits, group).reshape(rows, -1)
    columns = stored_columns(to_numpy(matrix.factors["positions"]), s.n, s.m, matrix.shape)
    codes = np.repeat(points, width, axis=1)
    beyond = codes[:, cols:].copy()
    np.put_along_axis(codes, columns, stored[:, : columns.shape[1]], axis=1)
    codes[:, cols:] = beyond  # what a short last pattern stores past the last column
    qweight = pack_codes(codes.reshape(*scale.shape, width), s.bits)
    return linear.group_quant(qweight, scale, zero, cols=cols, bits=s.bits, group=width)


def _best_of(weight: np.ndarray) -> Any:
    sparse = np.count_nonzero(weight) < _SPARSE_BELOW * weight.size
    return linear.bitmap(weight) if sparse else linear.dense(weight.astype(np.float32, copy=False))


def _sum(matrix: SumMatrix) -> Any:
    coded = [term for term in matrix.parts if _is_coded_term(term)]
    if len(matrix.parts) == 2 and len(coded) == 1:
        (base,) = (term for term in matrix.parts if term is not coded[0])
        left, right = coded[0].parts
        return linear.low_rank(prepare(base), prepare(left), prepare(right))
    low = [term for term in matrix.parts if isinstance(term, LowRankMatrix)]
    rest = [term for term in matrix.parts if not isinstance(term, LowRankMatrix)]
    if not low or not rest:
        return _best_of(to_numpy(matrix.to_dense()))
    if (
        len(rest) == 1
        and isinstance(rest[0], MonarchMatrix)
        and fits(rest[0], sum(term.rank for term in low))
    ):
        return prepare_monarch(rest[0], low)
    if len(rest) == 1:
        return _with_low_rank(prepare(rest[0]), low)
    return _with_low_rank(_best_of(np.sum([to_numpy(term.to_dense()) for term in rest], axis=0)), low)


def _is_coded_term(term: StructuredMatrix) -> TypeGuard[ProductMatrix]:
    """Two thin group-quantised factors: a low-rank term in 3 to 8 bits."""
    if not isinstance(term, ProductMatrix) or len(term.parts) != 2:
        return False
    if not all(isinstance(part, GroupQuantMatrix) for part in term.parts):
        return False
    return sum(term.shape) * term.parts[1].shape[0] < term.shape[0] * term.shape[1]


def _with_low_rank(base: Any, terms: list[LowRankMatrix]) -> Any:
    lefts = [to_numpy(term.factors["left"]) for term in terms]
    rights = [to_numpy(term.factors["right"]) for term in terms]
    if len({left.dtype for left in lefts}) > 1:  # raw bfloat16 stays raw only among its own kind
        lefts, rights = [widen(left) for left in lefts], [widen(right) for right in rights]
    left, right = np.concatenate(lefts, axis=1), np.concatenate(rights, axis=0)
    return linear.low_rank(base, linear.dense(left), linear.dense(right))


__all__ = ["prepare"]
