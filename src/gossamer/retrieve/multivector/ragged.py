"""Sets of vectors of different sizes: one flat array, and where each set begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.arrays import is_torch, to_bits, to_numpy
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument

DTYPES = ("float32", "float16", "uint16")


class TokenVectors(NamedTuple):
    """Vectors of many texts: those of text i are ``vectors[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    vectors : ndarray of shape (sum of lengths, dim)
        One row a token.
    offsets : ndarray of shape (n + 1,), int64
        Rises from 0 to the number of rows.
    """

    vectors: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, i: int) -> np.ndarray:
        """The vectors (l, dim) of text i, a view."""
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]


def as_ragged(name: str, X: Any, offsets: Any = None, *, dim: int | None = None) -> TokenVectors:
    """Sets of vectors in any of the forms that users have, checked, as one flat array.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    X : array (sum l, dim) with ``offsets``, one array (l, dim), a list of arrays, or TokenVectors
        NumPy or torch; float32 and float16 stay as they are, bfloat16 becomes its raw bits in uint16, other real
        numbers become float32.
    offsets : array of shape (n + 1,), optional
        Where sets begin.
    dim : int, optional
        What the vectors must have.

    Raises
    ------
    ShapeError, ArgumentError
        For other shapes, an empty set, offsets that do not fit, NaN or infinity.
    """
    if isinstance(X, TokenVectors):
        if offsets is not None:
            raise ArgumentError(f"offsets are given twice: {name} brings its own")
        X, offsets = X
    if isinstance(X, (list, tuple)):
        if offsets is not None:
            raise ArgumentError(f"{name} is a list of sets: expected no offsets beside it")
        sets = [_matrix(f"{name}[{i}]", x) for i, x in enumerate(X)]
        if not sets:
            raise bad_argument(name, X, "at least one set of vectors")
        if len({(x.shape[1], x.dtype.name) for x in sets}) > 1:
            raise ShapeError(
                f"{name} holds sets of {sorted({x.shape[1] for x in sets})} dimensions and dtypes "
                f"{sorted({x.dtype.name for x in sets})}: expected one of each"
            )
        flat = sets[0] if len(sets) == 1 else np.concatenate(sets)
        starts = np.cumsum([0] + [len(x) for x in sets], dtype=np.int64)
    else:
        flat = _matrix(name, X)
        starts = _offsets(name, [0, len(flat)] if offsets is None else offsets, len(flat))
    if dim is not None and flat.shape[1] != dim:
        raise ShapeError(f"{name} has vectors of {flat.shape[1]} dimensions: expected {dim}")
    empty = np.flatnonzero(np.diff(starts) == 0)
    if len(empty):
        raise ArgumentError(f"{name}: set {empty[0]} is empty: expected at least one vector in each")
    check_finite(name, flat)
    return TokenVectors(flat, starts)


def check_finite(name: str, flat: np.ndarray) -> None:
    """Refuse NaN and infinity, saying in which row."""
    for start in range(0, len(flat), 1 << 16):
        block = flat[start : start + (1 << 16)]
        good = (block & 0x7F80) != 0x7F80 if block.dtype == np.uint16 else np.isfinite(block)
        if not good.all():
            row = start + int(np.argmin(good.all(1)))
            raise ArgumentError(f"{name} has NaN or infinite entries, first in row {row}")


def _matrix(name: str, x: Any) -> np.ndarray:
    if is_torch(x) and str(x.dtype) == "torch.bfloat16":
        array = to_bits(x)
    else:
        array = to_numpy(x)
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"{name} is {array.dtype}: expected real numbers")
        if array.dtype.name not in DTYPES:
            array = array.astype(np.float32)
    if array.ndim != 2 or not array.shape[1]:
        raise ShapeError(f"{name} has shape {array.shape}: expected (vectors, dimensions)")
    return array


def _offsets(name: str, offsets: Any, rows: int) -> np.ndarray:
    starts = to_numpy(offsets)
    if starts.ndim != 1 or len(starts) < 2 or starts.dtype.kind not in "iu":
        raise ShapeError(
            f"offsets are {starts.dtype} of shape {starts.shape}: expected (n + 1,) integers, n >= 1"
        )
    starts = starts.astype(np.int64)
    if starts[0] != 0 or starts[-1] != rows or (starts[1:] < starts[:-1]).any():
        raise ArgumentError(f"offsets must rise from 0 to {rows}, the number of rows of {name}")
    return starts
