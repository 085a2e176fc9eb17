"""``C = A B`` with all three sparse, row by row, merged as products are made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import is_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels.dispatch import active_isa
from gossamer._kernels.spgemm import KINDS, Product
from gossamer.linalg.sparse_product.passes import Clock, Operands

METHODS = ("auto", "one-phase", "two-phase")
_SPLIT = KINDS.index("split")
_ALWAYS_FITS = 1 << 20


@dataclass(frozen=True)
class SpGEMMStats:
    """What a sparse product did.

    Attributes
    ----------
    flops : int
        Scalar products F.
    nnz : int
        Stored entries of C, before ``drop_zeros``.
    compression : float
        ``F / nnz``.
    rows : dict of str to int
        Rows of each accumulator.
    seconds : dict of str to float
        Seconds of each phase.
    table_bytes : int
        Bytes of the largest accumulator, of all threads together.
    method : str
        One-phase or two-phase.
    threads : int
        Threads that were asked for.
    isa : str
        Instruction set of the kernels.
    """

    flops: int
    nnz: int
    compression: float
    rows: dict[str, int]
    seconds: dict[str, float]
    table_bytes: int
    method: str
    threads: int
    isa: str


def spgemm(
    A: Any,
    B: Any,
    *,
    semiring: str = "plus_times",
    mask: Any = None,
    complement: bool = False,
    method: str = "auto",
    accumulator: str = "auto",
    sort_indices: bool = True,
    drop_zeros: bool = False,
    threads: int | None = None,
    dtype: Any = None,
    max_bytes: int | None = None,
    return_stats: bool = False,
    out: str = "matrix",
) -> Any:
    r"""Multiply two sparse matrices into a third.

    ``C[i, j] = sum_k A[i, k] B[k, j]``, row by row (Gustavson): the products of a row are merged as they are made, in
    the accumulator that suits the row, so that they never exist in memory all at once.

    Parameters
    ----------
    A, B : sparse, shapes (m, k) and (k, n)
        ``scipy.sparse`` in any format, torch sparse CSR, or :class:`CSRMatrix`. Rows may be unsorted and hold a column
        twice. Values bool, int32, int64, float32, float64, complex64 or complex128; smaller types are widened. With
        torch tensors the result is differentiable in the values of both (``plus_times`` only).
    semiring : {"plus_times", "min_plus", "max_times", "or_and", "plus_pair"}
        Sum and product. ``plus_pair`` counts products, as int64; ``plus_times`` of bool is ``or_and``. Integers wrap
        as in NumPy.
    mask : sparse, shape (m, n), optional
        Compute only entries that are stored here, whatever their value.
    complement : bool
        Compute only those that are not.
    method : {"auto", "two-phase", "one-phase"}
        Two passes of which the first counts, or one pass: threads compute runs of rows in memory of their own and
        copy them into C as soon as the runs before them are counted. C is then allocated for the upper bound of its
        entries, only touched as far as it is filled, and cut. ``auto`` takes one pass where the upper bound fits into
        a quarter of the free memory. Rows shared by several threads need two: ``one-phase`` shares none.
    accumulator : str
        ``auto``, or one of scale, small, merge, dense, hash, hash-vector, split and split-atomic for every row that it
        can hold (scale needs one entry in the row of A, merge four, both a sorted B); others choose for themselves.
    sort_indices : bool
        Sort the columns of every row. False saves the sort of hashed rows.
    drop_zeros : bool
        Remove entries equal to 0, as SciPy does. By default exact cancellation leaves a stored zero, as in GraphBLAS.
    threads : int, optional
        All that :func:`gossamer.set_threads` allows by default.
    dtype : dtype, optional
        Compute in this type instead of the common type of A and B.
    max_bytes : int, optional
        Refuse a larger result; with ``out="blocks"``, the size of a block.
    return_stats : bool
        Return ``(C, SpGEMMStats)``.
    out : {"matrix", "blocks"}
        ``blocks`` returns an iterator over blocks of rows, from top to bottom, for results larger than memory. Blocks
        are of about equal work: 16 of them, or as many as ``max_bytes`` needs.

    Returns
    -------
    sparse, shape (m, n)
        The container kind of A; indices int32 while columns and entries stay below 2^31, else int64. A
        :class:`CSRMatrix` holds floats only: integers become float64.

    Raises
    ------
    ShapeError
        Inner dimensions differ, or the mask has another shape.
    ArgumentError
        Unknown name, or an order is asked of complex numbers.
    UnsupportedError
        Another container or value type (also a ``TypeError``).
    MemoryError
        The result would exceed ``max_bytes``; raised before it is allocated.

    Notes
    -----
    O(F) for F scalar products, and O(nnz(C) log(row length)) for sorting hashed rows. The result does not depend on
    the number of threads, except values of rows that threads share (accumulator ``split``, rows with more than
    ``F / (8 threads)`` products): with private windows they are fixed for a fixed number of threads; with the shared
    atomic table they depend on the order of arrival.

    References
    ----------
    Shivdikar, "SMASH: Sparse Matrix Atomic Scratchpad Hashing", arXiv 2105.14156 (2021): hashing with atomic merging
    and tokens of rows. Gustavson, "Two fast algorithms for sparse matrices", ACM TOMS 1978. The binning of rows and
    its thresholds are ours.
    """
    check_choice("out", out, ("matrix", "blocks"))
    check_choice("method", method, METHODS)
    if max_bytes is not None:
        max_bytes = check_int("max_bytes", max_bytes, low=0)
        if method == "one-phase":
            raise ArgumentError("max_bytes needs the exact size first: expected method 'auto' or 'two-phase'")
    if method == "one-phase" and accumulator.startswith("split"):
        raise ArgumentError(
            f"accumulator={accumulator!r} needs the size of a row first: expected method 'auto'"
        )
    operands = Operands(
        A,
        B,
        semiring=semiring,
        mask=mask,
        complement=complement,
        accumulator=accumulator,
        threads=threads,
        dtype=dtype,
    )
    if out == "blocks":
        if return_stats:
            raise ArgumentError("return_stats=True: blocks have no common statistics; expected out='matrix'")
        return _blocks(operands, method, sort_indices, drop_zeros, max_bytes)
    if (is_torch(A) or is_torch(B)) and (A.requires_grad or B.requires_grad):
        if semiring != "plus_times" or drop_zeros or dtype is not None:
            raise ArgumentError("gradients need semiring='plus_times', drop_zeros=False and dtype=None")
        from gossamer.linalg.sparse_product.autograd import differentiable

        C, stats = differentiable(
            A, B, lambda a, b: _compute(operands, method, sort_indices, max_bytes, a, b), mask
        )
        return (C, stats) if return_stats else C
    pointers, col, val, stats = _compute(
        operands, method, sort_indices, max_bytes, operands.A.data, operands.B.data
    )
    C = operands.build(pointers, col, val, drop_zeros)
    return (C, stats) if return_stats else C


def _compute(
    operands: Operands, method: str, sort: bool, max_bytes: int | None, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, SpGEMMStats]:
    clock = Clock()
    with clock.phase("analysis"):
        product = operands.product(split=method != "one-phase", sort=sort)
        if method == "auto":
            method = _choose(operands, product, max_bytes)
    values = operands.values("A", a), operands.values("B", b)
    if method == "one-phase":
        with clock.phase("numeric"):
            pointers, col, val = product.one_phase(operands.operation, *values, operands.writes, sort)
    else:
        with clock.phase("symbolic"):
            pointers = product.symbolic()
        operands.afford(int(pointers[-1]), max_bytes)
        with clock.phase("numeric"):
            col, val = product.numeric(operands.operation, pointers, *values, operands.writes, sort)
    return pointers, col, val, _stats(operands, product, method, int(pointers[-1]), clock)


def _choose(operands: Operands, product: Product, max_bytes: int | None) -> str:
    """One phase where no row is shared and memory has room for the upper bound of the result; else two."""
    if max_bytes is not None or (product.kind == _SPLIT).any():
        return "two-phase"
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    fits = operands.nbytes(int(product.bound.sum())) <= max(free // 4, _ALWAYS_FITS)
    return "one-phase" if fits else "two-phase"


def _stats(operands: Operands, product: Product, method: str, entries: int, clock: Clock) -> SpGEMMStats:
    counts = np.bincount(product.kind, minlength=len(KINDS))
    dense = product.kind == KINDS.index("dense")
    hashed = (product.kind == KINDS.index("hash")) | (product.kind == KINDS.index("hash-vector"))
    width = int((product.high - product.low)[dense].max(initial=0))
    held = int(product.bound[hashed].max(initial=0))
    each = operands.writes.itemsize
    table = 1 << max(2 * held - 1, 1).bit_length() if held else 0
    return SpGEMMStats(
        flops=product.flops,
        nnz=entries,
        compression=product.flops / max(entries, 1),
        rows={name: int(n) for name, n in zip(KINDS, counts, strict=True)},
        seconds=clock.seconds,
        table_bytes=product.threads * max(width * each + width // 8, table * (each + product.index.itemsize)),
        method=method,
        threads=product.threads,
        isa=active_isa(),
    )


def _blocks(
    operands: Operands, method: str, sort: bool, drop_zeros: bool, max_bytes: int | None
) -> Iterator[Any]:
    product = operands.product(split=False)
    if max_bytes is None:
        cuts = product.cut(16)
    else:
        counted = product.symbolic()
        cuts = _cut_by_bytes(operands, counted, max_bytes)
    for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        block = operands.block(start, stop)
        pointers, col, val, _ = _compute(block, method, sort, max_bytes, block.A.data, block.B.data)
        yield block.build(pointers, col, val, drop_zeros)


def _cut_by_bytes(operands: Operands, pointers: np.ndarray, max_bytes: int) -> np.ndarray:
    """The longest runs of rows whose part of C fits; a single row that does not is a MemoryError later."""
    each = 8 if operands.shape[1] > np.iinfo(np.int32).max else 4
    size = pointers * (each + operands.dtype.itemsize) + np.arange(len(pointers)) * each
    cuts = [0]
    while cuts[-1] < len(pointers) - 1:
        fits = int(np.searchsorted(size, size[cuts[-1]] + max_bytes - each, side="right")) - 1
        cuts.append(max(fits, cuts[-1] + 1))
    return np.array(cuts)
