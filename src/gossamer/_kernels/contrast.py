"""Positive terms of contrastive losses: exponentials of similarities along stored pairs, summed by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, expect_array, ready


@dataclass(frozen=True)
class Strengths:
    """A symmetric pattern with g_ij and g_ji at each of its places; made by :func:`strengths`."""

    indptr: np.ndarray
    indices: np.ndarray
    there: np.ndarray
    back: np.ndarray

    @property
    def rows(self) -> int:
        """How many, and columns."""
        return len(self.indptr) - 1


def strengths(indptr: np.ndarray, indices: np.ndarray, there: np.ndarray, back: np.ndarray) -> Strengths:
    """Check a pattern whose values are both float32 or both float64. The caller sees to it that it is symmetric."""
    indptr, indices = ready(indptr, np.int64), ready(indices, np.int32)
    rows = len(indptr) - 1
    check_pointers("indptr", indptr, rows, len(indices))
    if len(indices) and (indices.min() < 0 or indices.max() >= rows):
        raise ArgumentError(f"indices span {indices.min()}..{indices.max()}: expected 0..{rows - 1}")
    if there.dtype not in (np.float32, np.float64):
        raise ArgumentError(f"strengths are {there.dtype}: expected float32 or float64")
    expect_array("there", there, there.dtype, indices.shape)
    expect_array("back", back, there.dtype, indices.shape)
    return Strengths(indptr, indices, ready(there), ready(back))


def sums(g: Strengths, u: np.ndarray, tau: float, threads: int | None = None) -> np.ndarray:
    """Sum ``g_ij exp(tau <u_i, u_j>)`` over the pairs of each row, with 0 for ``<u_i, u_i>``; returns (n,)."""
    u = _points(g, u)
    p = np.empty(g.rows, u.dtype)
    _native_of("sums", u)(g.indptr, g.indices, g.there, g.back, u, tau, p, get_threads(threads))
    return p


def gradient(
    g: Strengths, u: np.ndarray, tau: float, slope: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Carry ``slope`` (n,) of :func:`sums` back to u; returns (n, width)."""
    expect_array("slope", slope, u.dtype, (g.rows,))
    width, u = u.shape[1], _points(g, u)
    to = np.empty_like(u)
    _native_of("gradient", u)(
        g.indptr, g.indices, g.there, g.back, u, tau, ready(slope), to, get_threads(threads)
    )
    return to[:, :width]


def _points(g: Strengths, u: np.ndarray) -> np.ndarray:
    """Rows padded by zeros to whole vectors."""
    if u.ndim != 2 or len(u) != g.rows or u.dtype != g.there.dtype:
        raise ShapeError(f"u is {u.dtype} of shape {u.shape}: expected {g.there.dtype} ({g.rows}, width)")
    lanes = _native.contrast.lanes
    width = max(lanes, -(-u.shape[1] // lanes) * lanes)
    if width == u.shape[1]:
        return ready(u)
    padded = np.zeros((len(u), width), u.dtype)
    padded[:, : u.shape[1]] = u
    return padded


def _native_of(entry: str, u: np.ndarray) -> Any:
    return getattr(_native.contrast, f"{entry}_{u.dtype.name}")
