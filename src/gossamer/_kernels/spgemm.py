"""Sparse times sparse, ``C = A B`` in compressed rows over a semiring, in passes over one analysed product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready

KINDS: tuple[str, ...] = tuple(_native.spgemm.kinds)
OPERATIONS: tuple[str, ...] = tuple(_native.spgemm.operations)
TOKENS_A_THREAD = 64
PRODUCTS_A_TOKEN = 1 << 15  # a token's part of C fits the cache of a core


@dataclass(frozen=True)
class Thresholds:
    """Where one accumulator takes over from another.

    Attributes
    ----------
    small_limit : int
        Most products of a row that is sorted in a fixed buffer.
    dense_window : int
        Widest window of columns that always takes a dense accumulator, when C is sorted.
    dense_ratio : int
        A wider window takes one when more than ``1 / dense_ratio`` of it may be filled.
    split_share : int
        A row is shared by all threads above ``1 / (split_share * threads)`` of all products.
    split_floor : int
        And above this many products.
    """

    small_limit: int = 32
    dense_window: int = 1 << 18
    dense_ratio: int = 8
    split_share: int = 8
    split_floor: int = 1 << 16

    def unsorted(self) -> Thresholds:
        """The same for a product whose hashed rows need no sort: hashing pays sooner."""
        return replace(self, dense_window=max(self.dense_window // 4, 1))

    def without_split(self) -> Thresholds:
        """The same with no row shared by threads."""
        return replace(self, split_floor=np.iinfo(np.int64).max)


class Product:
    """One product ``A B``, analysed: products, column window and accumulator of every row.

    Parameters
    ----------
    a, b : (indptr, indices)
        Patterns of A (m, k) and B (k, n): int32 or int64, the same for all. Rows may be unsorted and hold a column
        twice.
    cols : int
        n.
    mask : (indptr, indices), optional
        Pattern (m, n) that limits C, or with ``complement`` the one that C stays out of.
    forced : str, optional
        Accumulator for every row that it can hold; ``"split-atomic"`` is ``"split"`` without private windows.
    """

    def __init__(
        self,
        a: tuple[np.ndarray, np.ndarray],
        b: tuple[np.ndarray, np.ndarray],
        cols: int,
        *,
        mask: tuple[np.ndarray, np.ndarray] | None = None,
        complement: bool = False,
        forced: str | None = None,
        thresholds: Thresholds | None = None,
        threads: int | None = None,
    ) -> None:
        self.threads = get_threads(threads)
        self.rows, self.cols, self.index = len(a[0]) - 1, cols, a[0].dtype
        if mask is not None and len(mask[0]) != len(a[0]):
            raise ArgumentError(f"mask has {len(mask[0]) - 1} rows: expected {self.rows}")
        arrays = [ready(x) for x in (*a, *b, *(mask or ()))]
        if len({x.dtype for x in arrays}) != 1:
            raise ArgumentError(
                f"indices are {', '.join(str(x.dtype) for x in arrays)}: expected one type for all"
            )
        check_pattern("A", arrays[0], arrays[1], len(b[0]) - 1, self.threads)
        check_pattern("B", arrays[2], arrays[3], cols, self.threads)
        if mask is not None:
            check_pattern("mask", arrays[4], arrays[5], cols, self.threads)
        self.entries = (len(arrays[1]), len(arrays[3]))
        build = getattr(_native.spgemm, f"Product_{self.index.name}")
        self._native: Any = build(
            *arrays[:4],
            cols,
            *(arrays[4:] if mask is not None else (None, None)),
            complement,
            self.threads,
        )
        limits = thresholds or Thresholds()
        self.fma, self.low, self.high, self.bound = (np.empty(self.rows, np.int64) for _ in range(4))
        self.kind = np.empty(self.rows, np.uint8)
        atomic = forced == "split-atomic"
        self._native.analyse(
            self.fma,
            self.low,
            self.high,
            self.bound,
            self.kind,
            -1 if forced is None else KINDS.index("split" if atomic else forced),
            atomic,
            limits.small_limit,
            limits.dense_window,
            limits.dense_ratio,
            limits.split_share,
            limits.split_floor,
        )
        self.flops = int(self.fma.sum())
        tokens = max(self.threads * TOKENS_A_THREAD, self.flops // PRODUCTS_A_TOKEN)
        self.cuts = self.cut(tokens if self.threads > 1 else 1)
        self.count = np.zeros(self.rows, np.int64)

    @property
    def sorted(self) -> bool:
        """Whether every row of B ascends strictly."""
        return self._native.sorted

    def cut(self, tokens: int) -> np.ndarray:
        """Bounds of at most ``tokens`` runs of rows with about equal products."""
        ends = np.cumsum(self.fma)
        inner = np.searchsorted(ends, self.flops * np.arange(1, tokens) / tokens, side="left") + 1
        return np.unique(np.r_[0, np.minimum(inner, self.rows), self.rows]).astype(np.int64)

    def symbolic(self) -> np.ndarray:
        """Pointers of C: int64 (m + 1,)."""
        self._native.symbolic(self.cuts, self.count)
        return self._pointers()

    def numeric(
        self,
        operation: str,
        pointers: np.ndarray,
        a_data: np.ndarray,
        b_data: np.ndarray,
        dtype: np.dtype,
        sort: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices and values of C, whose pointers are known."""
        col, val = self._allocate(int(pointers[-1]), dtype)
        self._run(operation, pointers, False, col, val, self._values(operation, a_data, b_data), sort)
        return col, val

    def one_phase(
        self, operation: str, a_data: np.ndarray, b_data: np.ndarray, dtype: np.dtype, sort: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pointers, indices and values of C without a symbolic pass; no row may be of kind split.

        C is allocated for the upper bound, of which the system gives only what is touched, then cut: threads compute
        tokens in memory of their own and copy them where they belong as soon as that is known.
        """
        starts = np.zeros(self.rows + 1, np.int64)
        np.cumsum(self.bound, out=starts[1:])
        starts = starts[self.cuts]
        col, val = self._allocate(int(starts[-1]), dtype)
        self._run(operation, starts, True, col, val, self._values(operation, a_data, b_data), sort)
        pointers = self._pointers()
        col.resize(int(pointers[-1]), refcheck=False)
        val.resize(int(pointers[-1]), refcheck=False)
        return pointers, col, val

    def _run(
        self,
        operation: str,
        where: np.ndarray,
        by_token: bool,
        col: np.ndarray,
        val: np.ndarray,
        values: list[np.ndarray],
        sort: bool,
    ) -> None:
        number, raw = OPERATIONS.index(operation), val.view(np.uint8)
        self._native.numeric(number, self.cuts, self.count, where, by_token, col, raw, *values, sort)

    def _pointers(self) -> np.ndarray:
        pointers = np.zeros(self.rows + 1, np.int64)
        np.cumsum(self.count, out=pointers[1:])
        return pointers

    def _allocate(self, entries: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        return np.empty(entries, self.index), np.empty(entries, dtype)

    def _values(self, operation: str, *data: np.ndarray) -> list[np.ndarray]:
        if operation.startswith("plus_pair"):
            return [np.empty(0, np.uint8)] * 2
        for name, values, entries in zip(("A", "B"), data, self.entries, strict=True):
            if values.shape != (entries,) or values.dtype.name != operation.rsplit("_", 1)[1]:
                raise ArgumentError(
                    f"values of {name} are {values.dtype} {values.shape}: "
                    f"expected {operation.rsplit('_', 1)[1]} ({entries},)"
                )
        return [ready(values).view(np.uint8) for values in data]


def check_pattern(name: str, indptr: np.ndarray, indices: np.ndarray, cols: int, threads: int = 1) -> None:
    """Refuse pointers and indices that native code could not walk. O(nnz)."""
    if indptr.ndim == indices.ndim == 1 and _native.spgemm.walkable(indptr, indices, cols, threads):
        return
    if indptr.ndim != 1 or not len(indptr) or indptr[0] != 0 or indptr[-1] != len(indices):
        raise ArgumentError(f"pointers of {name} must rise from 0 to {len(indices)} stored entries")
    if (indptr[1:] < indptr[:-1]).any():
        raise ArgumentError(f"pointers of {name} fall at row {int((indptr[1:] < indptr[:-1]).argmax())}")
    raise ArgumentError(f"columns of {name} span {indices.min()}..{indices.max()}: expected 0..{cols - 1}")
