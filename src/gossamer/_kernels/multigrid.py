"""Multigrid by matching: coarsening of a symmetric matrix in pairs, and the smoothing sweeps of a cycle; float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import _native
from gossamer._kernels.relax import Rows
from gossamer._kernels.views import expect_array, ready


def compatibility(matrix: Rows, w: np.ndarray) -> np.ndarray:
    """``|1 - 2 a_ij w_i w_j / (a_ii w_i^2 + a_jj w_j^2)|`` for each stored entry, 0 on the diagonal.

    Where the denominator is not above the machine's epsilon the value is that epsilon. Values below the diagonal are
    those above it.
    """
    weight = np.empty(len(matrix.parts[1]))
    expect_array("w", w, np.float64, (matrix.n,))
    row = _entry("compatibility", matrix)(*_parts(matrix), ready(w), weight)
    if row >= 0:
        raise ArgumentError(f"A has an entry in row {row} without a counterpart: expected a symmetric matrix")
    return weight


def match(matrix: Rows, weight: np.ndarray) -> np.ndarray:
    """The partner of each row in a matching of locally heaviest edges, or -1, in the matrix's index type.

    ``weight`` has a value a stored entry, not negative, the same on both sides of the diagonal; the diagonal does not
    count. Among equal weights the edge with the smallest ends comes first.
    """
    mate = np.empty(matrix.n, matrix.kind)
    expect_array("weight", weight, np.float64, matrix.parts[1].shape)
    _entry("match", matrix)(*_parts(matrix), ready(weight), mate)
    return mate


def galerkin(
    matrix: Rows, group: np.ndarray, p: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``P^T A P`` in CSR for ``P[i, group[i]] = p[i]``; rows with group -1 are left out; O(nnz)."""
    expect_array("group", group, np.dtype(matrix.kind), (matrix.n,))
    expect_array("p", p, np.float64, (matrix.n,))
    if matrix.n and not -1 <= group.min() <= group.max() < groups:
        raise ArgumentError(f"group spans {group.min()}..{group.max()}: expected -1..{groups - 1}")
    return _entry("galerkin", matrix)(*_parts(matrix), ready(group), ready(p), int(groups))


def descend(matrix: Rows, b: np.ndarray, x: np.ndarray, *, zero: bool = False) -> np.ndarray:
    """One forward Gauss-Seidel sweep in place in ``x``, from zero if ``zero``; returns ``b - A x`` after it."""
    r = np.empty(matrix.n)
    _vectors(matrix, b, x)
    _entry("descend", matrix)(*_parts(matrix), ready(b), bool(zero), x, r)
    return r


def ascend(matrix: Rows, b: np.ndarray, x: np.ndarray) -> None:
    """One backward Gauss-Seidel sweep in place in ``x``."""
    _vectors(matrix, b, x)
    _entry("ascend", matrix)(*_parts(matrix), ready(b), x)


def _entry(name: str, matrix: Rows) -> Any:
    return getattr(_native.multigrid, f"{name}_{matrix.kind}")


def _parts(matrix: Rows) -> tuple[Any, ...]:
    return matrix.parts[:4]


def _vectors(matrix: Rows, b: np.ndarray, x: np.ndarray) -> None:
    for name, vector in (("b", b), ("x", x)):
        if vector.shape != (matrix.n,) or vector.dtype != np.float64:
            raise ShapeError(
                f"{name} is {vector.dtype} of shape {vector.shape}: expected float64 of shape ({matrix.n},)"
            )
    flags = x.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ArgumentError("x is written to: expected a contiguous array that may be")
