"""Sketches and sketched least squares of Dask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._core.lazy import require
from gossamer.distributed.row_blocks import check_chunked_rows
from gossamer.linalg import Sketch
from gossamer.solve import SketchedResult
from gossamer.solve.sketch.lstsq import solve_tall


def sketch_rows(S: Sketch, A: Any) -> Any:
    """``S @ A`` for a Dask array: every chunk of rows is sketched where it is, and only (m, k) products travel.

    Equivalent, up to rounding, to ``S @ A.compute()``.

    Parameters
    ----------
    S : Sketch, shape (m, n)
        Sent to the workers.
    A : dask.array.Array, shape (n,) or (n, k)
        Chunked along rows; several chunks of columns become one.

    Returns
    -------
    dask.array.Array, shape (m,) or (m, k)
        Lazy; the products are summed as a tree.

    Raises
    ------
    ShapeError
        If S and A do not fit together.
    UnsupportedError
        If A is not a Dask array.
    """
    da, dask = require("dask.array", "distributed"), require("dask", "distributed")
    A = check_chunked_rows("A", A)
    if A.shape[0] != S.shape[1]:
        raise ShapeError(f"A has shape {A.shape}: expected {S.shape[1]} rows to fit S{S.shape}")
    held = dask.delayed(S)
    starts = np.concatenate([[0], np.cumsum(A.chunks[0])[:-1]])
    parts = [
        dask.delayed(_partial)(held, block, int(start))
        for block, start in zip(A.to_delayed().ravel(), starts, strict=True)
    ]
    while len(parts) > 1:
        parts = [dask.delayed(sum)(parts[i : i + 4]) for i in range(0, len(parts), 4)]
    dtype = A.dtype if A.dtype == np.float32 else np.dtype(np.float64)
    return da.from_delayed(parts[0], (S.shape[0], *A.shape[1:]), dtype)


def sketched_lstsq(A: Any, b: Any, **options: Any) -> SketchedResult:
    """:func:`gossamer.solve.sketched_lstsq` for a Dask array A that need not fit into memory.

    The same seed gives the same solution as in memory, up to rounding. One pass over A for each sketch, two for each
    iteration of "refine" and "iterative", one for the residual; vectors of n numbers are kept here.

    Parameters
    ----------
    A : dask.array.Array, shape (n, d)
        Chunked along rows.
    b : dask.array.Array or array, shape (n,) or (n, k)
        Right sides.
    **options
        As for :func:`gossamer.solve.sketched_lstsq`, without ``weights`` and without ``sketch="leverage"``.

    Returns
    -------
    SketchedResult
        As in memory.

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        If A is not a Dask array, or as in memory.
    """
    return solve_tall(_TallBlocks(A, b), **options)


class _TallBlocks:
    """A tall problem in chunks of rows."""

    lengths: tuple[int, ...] = ()

    def __init__(self, A: Any, b: Any) -> None:
        da = require("dask.array", "distributed")
        self.A = check_chunked_rows("A", A)
        if self.A.ndim != 2 or self.A.shape[0] < self.A.shape[1] or not self.A.shape[1]:
            raise ShapeError(
                f"A has shape {self.A.shape}: expected at least as many rows as columns, and one"
            )
        self.n, self.d = self.A.shape
        if self.A.dtype not in (np.float32, np.float64):
            self.A = self.A.astype(np.float64)
        self.dtype = np.dtype(self.A.dtype)
        b = b if hasattr(b, "dask") else da.from_array(np.asarray(b), chunks=-1)
        self.vector = b.ndim == 1
        b = b[:, None] if self.vector else b
        if b.ndim != 2 or b.shape[0] != self.n:
            raise ShapeError(f"b has shape {b.shape}: expected {self.n} rows, as many as A has")
        self.b = b.rechunk((self.A.chunks[0], -1)).astype(self.dtype)
        self.k = b.shape[1]

    def sketched(self, S: Sketch) -> tuple[np.ndarray, np.ndarray]:
        """``S A`` and ``S b``, in one pass."""
        da = require("dask.array", "distributed")
        both = da.concatenate([self.A, self.b], axis=1)
        product = sketch_rows(S, both).compute()
        return product[:, : self.d], product[:, self.d :]

    def times(self, x: np.ndarray) -> np.ndarray:
        """``A x``."""
        return (self.A @ x).compute()

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """``A^T r``."""
        da = require("dask.array", "distributed")
        return (self.A.T @ da.from_array(r, chunks=(self.A.chunks[0], -1))).compute()

    def sides(self) -> np.ndarray:
        """``b``."""
        return self.b.compute()

    def rows(self) -> Any:
        """Refused: scores would need all rows at once."""
        raise UnsupportedError('sketch="leverage": expected another sketch for a Dask array')


def _partial(S: Sketch, block: Any, start: int) -> np.ndarray:
    if not np.isfinite(block).all():
        raise ValueError(f"rows {start} to {start + len(block) - 1} have NaN or infinite entries")
    return S.partial(block, start)
