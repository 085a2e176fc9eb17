"""Covariance of a Dask array: moments of chunks of rows, merged as a tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._core.lazy import require
from gossamer.solve import Moments, partial_cov


def covariance(X: Any) -> np.ndarray:
    """Covariance of the columns of a Dask array, in one pass; only (d, d) scatters travel.

    Every chunk of rows is centred where it is. Equivalent, up to rounding, to ``np.cov(X.T, bias=True)``; goes into
    :func:`gossamer.solve.colide_ev` with ``is_cov=True``.

    Parameters
    ----------
    X : dask.array.Array, shape (n, d)
        Chunked along rows; several chunks of columns become one.

    Returns
    -------
    ndarray, shape (d, d), float64
        Computed on the current Dask scheduler.

    Raises
    ------
    UnsupportedError
        If X is not a Dask array.
    ShapeError
        If it is not a matrix.
    """
    da, dask = require("dask.array", "distributed"), require("dask", "distributed")
    if not isinstance(X, da.Array):
        raise UnsupportedError(f"X is a {type(X).__name__}: expected a dask.array.Array")
    if X.ndim != 2 or 0 in X.shape:
        raise ShapeError(f"X has shape {X.shape}: expected rows and columns")
    X = X.rechunk({1: -1})
    parts = [dask.delayed(partial_cov)(block) for block in X.to_delayed().ravel()]
    while len(parts) > 1:
        parts = [dask.delayed(_merged)(parts[i : i + 4]) for i in range(0, len(parts), 4)]
    return parts[0].compute().covariance


def _merged(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    return total
