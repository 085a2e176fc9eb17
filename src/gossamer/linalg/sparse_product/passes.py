"""From two containers to the arrays of their product: what :func:`spgemm` and :class:`SpGEMMPlan` share."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gossamer._core.arrays import is_torch
from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.spgemm import KINDS, Product
from gossamer.linalg.sparse_product.containers import Rows, fitted, narrow, read
from gossamer.linalg.sparse_product.semirings import operation, value_dtype
from gossamer.linalg.sparse_product.thresholds import load_thresholds

ACCUMULATORS = ("auto", *KINDS[1:], "split-atomic")
_MASKED = ("auto", "hash")


class Operands:
    """Checked operands of one product: patterns with one index type, and the operation on their values."""

    def __init__(
        self,
        A: Any,
        B: Any,
        *,
        semiring: str = "plus_times",
        mask: Any = None,
        complement: bool = False,
        accumulator: str = "auto",
        threads: int | None = None,
        dtype: Any = None,
    ) -> None:
        check_choice("accumulator", accumulator, ACCUMULATORS)
        if mask is not None and accumulator not in _MASKED:
            raise ArgumentError(f"accumulator={accumulator!r}: a masked product takes 'auto' or 'hash'")
        if complement and mask is None:
            raise ArgumentError("complement=True: expected a mask to take the complement of")
        left, right = read("A", A), read("B", B)
        if left.shape[1] != right.shape[0]:
            raise ShapeError(
                f"A has shape {left.shape} and B {right.shape}: expected as many rows of B as columns of A"
            )
        self.shape = (left.shape[0], right.shape[1])
        limits = None if mask is None else read("mask", mask)
        if limits is not None and limits.shape != self.shape:
            raise ShapeError(
                f"mask has shape {limits.shape}: expected {self.shape}, the shape of the product"
            )
        index = narrow(*(m for m in (left, right, limits) if m is not None))
        self.A, self.B = left.indexed(index), right.indexed(index)
        self.mask = None if limits is None else limits.indexed(index)
        self.complement, self.accumulator, self.threads = complement, accumulator, threads
        given = np.result_type(value_dtype("A", left.data.dtype), value_dtype("B", right.data.dtype))
        wanted = given if dtype is None else value_dtype("dtype", dtype)
        self.operation, self.reads, self.writes = operation(semiring, np.dtype(wanted))
        self.dtype = self.writes if dtype is None else np.dtype(wanted)

    def block(self, start: int, stop: int) -> Operands:
        """The operands of rows ``start`` to ``stop`` of the product."""
        part = copy.copy(self)
        part.A = self.A.rows(start, stop)
        part.mask = None if self.mask is None else self.mask.rows(start, stop)
        part.shape = (stop - start, self.shape[1])
        return part

    def values(self, name: str, data: Any) -> np.ndarray:
        """Values of A or B in the type that the kernel reads."""
        entries = len((self.A if name == "A" else self.B).indices)
        array = data.detach().numpy() if is_torch(data) else np.asarray(data)
        if array.shape != (entries,):
            raise ShapeError(f"values of {name} have shape {array.shape}: expected ({entries},)")
        if self.reads == np.bool_:
            return (array != 0).astype(np.bool_, copy=False).view(np.bool_)
        return array.astype(self.reads, copy=False)

    def product(self, *, split: bool = True, sort: bool = True) -> Product:
        """The analysed product; without ``split`` no row is shared by threads."""
        limits = load_thresholds() if sort else load_thresholds().unsorted()
        return Product(
            self.A.pattern,
            self.B.pattern,
            self.shape[1],
            mask=None if self.mask is None else self.mask.pattern,
            complement=self.complement,
            forced=None if self.accumulator == "auto" else self.accumulator,
            thresholds=limits if split else limits.without_split(),
            threads=self.threads,
        )

    def nbytes(self, entries: int) -> int:
        """Bytes of a result with so many entries."""
        index = 4 if max(entries, self.shape[1]) <= np.iinfo(np.int32).max else 8
        return entries * (index + self.dtype.itemsize) + (self.shape[0] + 1) * index

    def afford(self, entries: int, max_bytes: int | None) -> None:
        """Refuse a result above ``max_bytes`` before it is allocated."""
        if max_bytes is not None and self.nbytes(entries) > max_bytes:
            raise MemoryError(
                f"the product has {entries:,} entries, {self.nbytes(entries):,} bytes: more than "
                f"max_bytes={max_bytes:,}; out='blocks' yields it in row blocks"
            )

    def build(self, pointers: np.ndarray, col: np.ndarray, val: np.ndarray, drop_zeros: bool = False) -> Any:
        """The result in the container kind of A."""
        if self.writes != self.dtype:
            val = val.astype(self.dtype)
        if drop_zeros:
            kept = val != 0
            pointers = np.r_[0, np.cumsum(kept)].astype(np.int64)[pointers]
            col, val = col[kept], val[kept]
        return self.A.build(fitted(Rows(pointers, col, val, self.shape, self.A.build)))


class Clock:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time inside to phase ``name``."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
