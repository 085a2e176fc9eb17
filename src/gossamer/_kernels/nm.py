"""N:M sparsity: of every ``m`` neighbours in a row, ``n`` are stored, each with its position."""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.packing import position_bits, unpack_positions
from gossamer._kernels.views import expect_array, operand, ready


def check(values: np.ndarray, positions: np.ndarray, shape: tuple[int, int], *, n: int, m: int) -> None:
    """Refuse factors that native code could not walk safely. O(stored); done once, at construction.

    ``values`` is float32 or float64 (O, ceil(K / m) n), ``positions`` uint8, packed along a row, ascending
    within each group.
    """
    check_int("m", m, low=1, high=256)
    check_int("n", n, low=1, high=m)
    rows, cols = shape
    kept = -(-cols // m) * n
    if values.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"values are {values.dtype}: expected float32 or float64")
    expect_array("values", values, values.dtype, (rows, kept))
    expect_array("positions", positions, np.uint8, (rows, -(-kept * position_bits(m) // 8)))
    where = unpack_positions(positions, m, kept).reshape(rows, kept // n, n)
    if where.size and where.max() >= m:
        raise ArgumentError(f"positions reach {where.max()}: expected 0..{m - 1}")
    if (where[..., 1:] <= where[..., :-1]).any():
        raise ArgumentError("positions do not ascend within a group")


def matmat(
    values: np.ndarray, positions: np.ndarray, x: np.ndarray, n: int, m: int, threads: int | None = None
) -> np.ndarray:
    """Multiply checked factors with ``x`` of shape (K, N) in the dtype of ``values``; returns (O, N)."""
    x = operand(x, values.dtype)
    padded = values.shape[1] // n * m
    if not padded - m < x.shape[0] <= padded:
        raise ShapeError(f"x has {x.shape[0]} rows: expected {padded - m + 1}..{padded} for {n}:{m}")
    if padded != x.shape[0]:
        x = np.concatenate([x, np.zeros((padded - x.shape[0], x.shape[1]), x.dtype)])
    y = np.empty((len(values), x.shape[1]), dtype=x.dtype)
    multiply = getattr(_native.nm, x.dtype.name)
    multiply(ready(values), ready(positions), x, y, n, m, position_bits(m), get_threads(threads))
    return y
