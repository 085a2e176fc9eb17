"""Rows of a Dask array, looked at where their chunks lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._core.lazy import require


def check_chunked_rows(name: str, A: Any) -> Any:
    """Return a Dask array whose chunks have all columns."""
    if not hasattr(A, "dask") or not hasattr(A, "to_delayed"):
        raise UnsupportedError(f"{name} is a {type(A).__name__}: expected a Dask array")
    return A if A.ndim == 1 else A.rechunk({1: -1})


class ChunkedRows:
    """A :class:`RowBlocks` of the chunks of a Dask array (n, d), with b (n,) as one more column if given."""

    def __init__(self, A: Any, b: Any = None) -> None:
        da = require("dask.array", "distributed")
        A = check_chunked_rows("A", A)
        if A.ndim != 2:
            raise ShapeError(f"A has shape {A.shape}: expected two axes")
        if A.dtype.kind not in "fiub":
            raise ArgumentError(f"A has dtype {A.dtype}: expected real numbers")
        if b is not None:
            b = b if hasattr(b, "dask") else da.from_array(np.asarray(b), chunks=-1)
            if b.shape != A.shape[:1]:
                raise ShapeError(f"b has shape {b.shape}: expected ({A.shape[0]},), as many as A has rows")
            A = da.concatenate([A, b[:, None].rechunk((A.chunks[0], -1))], axis=1).rechunk({1: -1})
        self.A = A
        self.n, self.d = A.shape

    def each(self, f: Callable[..., Any], *columns: np.ndarray, **shared: Any) -> list[Any]:
        """``f(chunk, *parts, **shared)`` of every chunk, in order."""
        dask = require("dask", "distributed")
        ends = np.cumsum(self.A.chunks[0])
        options = dask.delayed(shared, pure=False)
        return list(
            dask.compute(
                *(
                    dask.delayed(_call)(f, chunk, int(lo), [column[lo:hi] for column in columns], options)
                    for chunk, lo, hi in zip(self.A.to_delayed().ravel(), [0, *ends[:-1]], ends, strict=True)
                )
            )
        )

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some rows, brought here."""
        return np.asarray(self.A[index].compute(), np.float64)


def _call(f: Callable[..., Any], chunk: Any, start: int, parts: list[Any], options: dict[str, Any]) -> Any:
    block = np.asarray(chunk, np.float64)
    if not np.isfinite(block).all():
        raise ValueError(f"rows {start} to {start + len(block) - 1} have NaN or infinite entries")
    return f(block, *parts, **options)
