"""Prepared linear maps: weights repacked once for the machine, for the token loops of decoder and encoder.

Every function returns a native ``Linear`` with ``shape``, ``kernel`` (what runs), ``nbytes`` (what one product
reads), ``row(i, out)`` and ``matmat``. The factors are copied; native code checks every size and index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native


def dense(weight: np.ndarray) -> Any:
    """Prepare a dense matrix of shape (O, K): uint16 means raw bfloat16, anything else becomes float32."""
    if weight.ndim != 2:
        raise ShapeError(f"weight has shape {weight.shape}: expected a 2-D array")
    if weight.dtype == np.uint16:
        return _native.linear.dense_bf16(np.ascontiguousarray(weight))
    return _native.linear.dense_f32(np.ascontiguousarray(weight, dtype=np.float32))


def bitmap(weight: np.ndarray) -> Any:
    """Prepare a matrix with many zeros, given dense; only the others are stored, as float32 and one bit an entry."""
    return _native.linear.bitmap(np.ascontiguousarray(weight, dtype=np.float32))


def group_quant(
    qweight: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, *, cols: int, bits: int, group: int
) -> Any:
    """Prepare group-quantised factors (see :mod:`gossamer._kernels.packing`); ``group`` 0 is the whole row.

    Raises
    ------
    ArgumentError
        For groups that are neither a multiple of 16 nor the whole row, or factors of the wrong sizes.
    """
    if qweight.ndim != 3 or scale.ndim != 2:
        raise ShapeError(f"qweight {qweight.shape} and scale {scale.shape}: expected a 3-D and a 2-D array")
    zero_int, zero_float = _zeros(zero)
    return _call(
        _native.linear.group_quant,
        _bytes(qweight),
        _halves(scale),
        zero_int,
        zero_float,
        rows=qweight.shape[0],
        cols=cols,
        bits=bits,
        group=group or cols,
    )


def group_sparse_quant(
    row_ptr: np.ndarray,
    col: np.ndarray,
    qweight: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    *,
    cols: int,
    bits: int,
    group: int,
) -> Any:
    """Prepare group-sparse factors: groups of a multiple of 16 columns, at most 65536 columns."""
    if qweight.ndim != 2:
        raise ShapeError(f"qweight has shape {qweight.shape}: expected a 2-D array")
    zero_int, zero_float = _zeros(zero)
    return _call(
        _native.linear.group_sparse_quant,
        np.ascontiguousarray(row_ptr, dtype=np.int32),
        np.ascontiguousarray(col, dtype=np.uint16),
        _bytes(qweight),
        _halves(scale),
        zero_int,
        zero_float,
        cols=cols,
        bits=bits,
        group=group,
    )


def nm(values: np.ndarray, positions: np.ndarray, *, cols: int, n: int, m: int) -> Any:
    """Prepare n:m factors, m <= 4: values (O, ceil(K / m) n) in float32, float16 or raw bfloat16 (uint16).

    ``positions`` are packed as :func:`gossamer._kernels.packing.pack_positions` does, 2 bits each. Activations stay
    float32: a product reads 2.25 bytes a kept 16-bit entry.

    Raises
    ------
    ArgumentError
        For m > 4, other dtypes, wrong sizes, or positions that do not ascend within a group.
    """
    makers = {
        "float32": _native.linear.nm_f32,
        "float16": _native.linear.nm_f16,
        "uint16": _native.linear.nm_bf16,
    }
    if values.dtype.name not in makers:
        raise ArgumentError(f"values are {values.dtype}: expected float32, float16 or uint16 (raw bfloat16)")
    if values.ndim != 2 or positions.ndim != 2 or positions.dtype != np.uint8:
        raise ShapeError(
            f"values {values.shape}, positions {positions.shape}: expected 2-D arrays, positions uint8"
        )
    bits = values.view(np.uint16) if values.dtype == np.float16 else values
    return _call(
        makers[values.dtype.name], np.ascontiguousarray(bits), np.ascontiguousarray(positions), cols, n, m
    )


def blocks(
    weight: np.ndarray,
    start: Sequence[int],
    depth: Sequence[int],
    *,
    rows: int,
    cols: int,
    period: int,
    tail: int,
) -> Any:
    """Prepare rows of which each block of 16 sees ``depth`` steps of ``period`` columns from ``start`` on.

    Row i of a block is multiplied with ``x[start + k period + i % period]`` at step k, and at ``tail`` more steps with
    the last entries of x. ``weight`` (float32, or uint16 for raw bfloat16) holds [block][step][16].
    """
    make = _native.linear.blocks_bf16 if weight.dtype == np.uint16 else _native.linear.blocks_f32
    flat = np.ascontiguousarray(weight, None if weight.dtype == np.uint16 else np.float32)
    return _call(
        make, flat, np.asarray(start, np.int32), np.asarray(depth, np.int32), rows, cols, period, tail
    )


def chain(left: Any, right: Any) -> Any:
    """``left @ right`` of two prepared matrices, multiplied one after the other."""
    return _call(_native.linear.chain, left, right)


def low_rank(base: Any, left: Any, right: Any) -> Any:
    """Add ``left @ right`` to a prepared matrix; both are prepared matrices as well."""
    return _call(_native.linear.low_rank, base, left, right)


def matmat(
    linear: Any, x: np.ndarray, *, act: str = "fp32", threads: int | None = None, tiled: bool = False
) -> np.ndarray:
    """Multiply with ``x`` of shape (K, N) as the token loops do; returns float32 (O, N). For tests and probes.

    ``tiled`` packs int8 activations by 8 tokens, as the encoder does.
    """
    tokens = np.ascontiguousarray(x.T, dtype=np.float32)
    y = np.empty((len(tokens), linear.shape[0]), dtype=np.float32)
    for start in range(0, len(tokens), 64):
        part = slice(start, start + 64)
        _call(linear.matmat, tokens[part], y[part], act == "int8", get_threads(threads), tiled)
    return y.T


def _call(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def _bytes(qweight: np.ndarray) -> np.ndarray:
    if qweight.dtype != np.uint8:
        raise ArgumentError(f"qweight is {qweight.dtype}: expected uint8")
    return np.ascontiguousarray(qweight).reshape(-1, qweight.shape[-1])


def _halves(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float16:
        raise ArgumentError(f"scale or zero is {values.dtype}: expected float16")
    return np.ascontiguousarray(values).reshape(-1).view(np.uint16)


def _zeros(zero: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    if zero is None:
        return None, None
    if zero.dtype == np.uint8:
        return np.ascontiguousarray(zero).reshape(-1), None
    return None, _halves(zero)
