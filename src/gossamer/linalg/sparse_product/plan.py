"""The pattern of a product, found once and used for many values."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.linalg.sparse_product.passes import Operands


def spgemm_symbolic(
    A: Any, B: Any, *, with_indices: bool = False, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Find how many entries every row of ``A B`` stores, without computing values.

    Parameters
    ----------
    A, B : sparse, shapes (m, k) and (k, n)
        As for :func:`spgemm`; their values are never read.
    with_indices : bool
        Return the columns too.
    threads : int, optional
        Threads to use.

    Returns
    -------
    indptr : ndarray of int64, shape (m + 1,)
        Pointers of the product; ``indptr[-1]`` is its number of entries, also beyond 2^31.
    indices : ndarray or None
        Sorted columns, with ``with_indices``.

    Raises
    ------
    ShapeError
        Inner dimensions differ.

    References
    ----------
    Gustavson, "Two fast algorithms for sparse matrices", ACM TOMS 1978.
    """
    operands = Operands(A, B, semiring="plus_pair", threads=threads)
    product = operands.product()
    pointers = product.symbolic()
    if not with_indices:
        return pointers, None
    nothing = np.empty(0)
    return pointers, product.numeric(operands.operation, pointers, nothing, nothing, operands.writes, True)[0]


class SpGEMMPlan:
    """A product whose pattern and accumulators are known: new values cost the numeric pass only.

    Parameters
    ----------
    A, B : sparse, shapes (m, k) and (k, n)
        As for :func:`spgemm`. The plan keeps their patterns (shared, not copied).
    semiring, mask, complement, accumulator, threads, dtype
        As for :func:`spgemm`.
    sort_indices : bool
        As for :func:`spgemm`.
    max_bytes : int, optional
        Refuse a plan whose results would be larger (MemoryError).

    Notes
    -----
    Values are given in the order of ``A.tocsr().data`` and ``B.tocsr().data``. Right for time stepping and for
    multigrid set-up on a fixed grid.

    References
    ----------
    Shivdikar, "SMASH", arXiv 2105.14156 (2021).
    """

    def __init__(
        self,
        A: Any,
        B: Any,
        *,
        semiring: str = "plus_times",
        mask: Any = None,
        complement: bool = False,
        accumulator: str = "auto",
        sort_indices: bool = True,
        threads: int | None = None,
        dtype: Any = None,
        max_bytes: int | None = None,
    ) -> None:
        self._operands = Operands(
            A,
            B,
            semiring=semiring,
            mask=mask,
            complement=complement,
            accumulator=accumulator,
            threads=threads,
            dtype=dtype,
        )
        self._sort = sort_indices
        self._product = self._operands.product(sort=sort_indices)
        self._pointers = self._product.symbolic()
        self._operands.afford(self.nnz, max_bytes)
        self.shape = self._operands.shape

    @property
    def nnz(self) -> int:
        """Stored entries of the product."""
        return int(self._pointers[-1])

    @property
    def flops(self) -> int:
        """Scalar products of one numeric pass."""
        return self._product.flops

    def numeric(self, a_data: Any, b_data: Any) -> Any:
        """Compute the product for these values, arrays of shape (nnz(A),) and (nnz(B),)."""
        operands = self._operands
        values = operands.values("A", a_data), operands.values("B", b_data)
        col, val = self._product.numeric(
            operands.operation, self._pointers, *values, operands.writes, self._sort
        )
        return operands.build(self._pointers, col, val)
