"""Semirings by name, and the value type in which each computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, UnsupportedError

SEMIRINGS = ("plus_times", "min_plus", "max_times", "or_and", "plus_pair")
_ORDERED = ("min_plus", "max_times")


def value_dtype(name: str, dtype: Any) -> np.dtype:
    """The type in which values of ``dtype`` are multiplied: bool, int32, int64, float or complex."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return dtype
    if dtype.kind in "iu" and dtype != np.uint64:
        return np.dtype(np.int32 if np.can_cast(dtype, np.int32) else np.int64)
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    if dtype.kind == "c" and dtype.itemsize <= 16:
        return dtype
    raise UnsupportedError(
        f"{name} is {dtype}: expected bool, an integer of at most 64 bits with sign, float32, float64, "
        "complex64 or complex128"
    )


def operation(semiring: str, dtype: np.dtype) -> tuple[str, np.dtype, np.dtype]:
    """The kernel of a semiring for inputs of ``dtype``: its name, the type it reads and the type it writes."""
    check_choice("semiring", semiring, SEMIRINGS)
    if semiring == "plus_pair":
        return "plus_pair_int64", dtype, np.dtype(np.int64)
    if semiring == "or_and" or (semiring == "plus_times" and dtype == np.bool_):
        return "or_and_bool", np.dtype(np.bool_), np.dtype(np.bool_)
    if semiring in _ORDERED and dtype.kind == "c":
        raise ArgumentError(f"semiring={semiring!r} needs an order, and {dtype} has none")
    if dtype == np.bool_:
        dtype = np.dtype(np.int64)
    return f"{semiring}_{dtype.name}", dtype, dtype
