"""Passes over a matrix of gradients: products, factors of blocks, Cholesky factors that exchange a row."""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready

DTYPES = ("float32", "float64", "uint16")
GRAM_COLUMNS = 65536
"""Width of the parts whose sums make a Gram matrix."""


def check(rows: np.ndarray, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Refuse what is not an (m, d) array of ``dtypes`` (uint16: raw bfloat16)."""
    if rows.ndim != 2:
        raise ShapeError(f"gradients have shape {rows.shape}: expected (m, d)")
    if rows.dtype.name not in dtypes:
        raise ArgumentError(f"gradients are {rows.dtype}: expected one of {', '.join(dtypes)}")


def project(rows: np.ndarray, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``G x`` for G (m, d) and x (d,) in float32 or float64; sums and result (m,) are float64.

    bfloat16 rows times a float32 x: runs of eight products in float32, the runs in float64. So in :func:`combine`.
    """
    check(rows)
    x = _vector("x", x, rows.shape[1], keep=True)
    t = np.empty(rows.shape[0])
    getattr(_native.fisher, f"project_{rows.dtype.name}")(ready(rows), x, t, get_threads(threads))
    return t


def combine(
    rows: np.ndarray, c: np.ndarray, x: np.ndarray, alpha: float, threads: int | None = None
) -> np.ndarray:
    """``alpha x - G^T c`` for G (m, d), c (m,) and x (d,); sums are float64, the result (d,) is float32 if x is."""
    check(rows)
    c, x = _vector("c", c, rows.shape[0]), _vector("x", x, rows.shape[1], keep=True)
    y = np.empty_like(x)
    getattr(_native.fisher, f"combine_{rows.dtype.name}")(
        ready(rows), c, x, float(alpha), y, get_threads(threads)
    )
    return y


def blocks_factor(rows: np.ndarray, block: int, damp: float, threads: int | None = None) -> np.ndarray:
    """``W_b = L^-1 G_b / sqrt(damp)`` with ``L L^T = m damp I + G_b G_b^T`` for every block of columns."""
    check(rows, DTYPES[:2])
    w = np.empty(rows.shape, rows.dtype)
    factor = getattr(_native.fisher, f"blocks_factor_{rows.dtype.name}")
    if not factor(ready(rows), check_int("block", block, low=1), float(damp), w, get_threads(threads)):
        raise ArgumentError(f"damp={damp!r}: too small for gradients of this size, a block is singular")
    return w


def gram(rows: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``G G^T`` for G (m, d) in float32 or float64, summed in float64; (m, m), the same bits for any threads.

    The sum of what blocks of :data:`GRAM_COLUMNS` columns give, in their order, has the same bits too.
    """
    check(rows, DTYPES[:2])
    out = np.empty((len(rows), len(rows)))
    getattr(_native.fisher, f"gram_{rows.dtype.name}")(ready(rows), out, get_threads(threads))
    return out


def blocks_multiply(
    factor: np.ndarray, block: int, damp: float, x: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """``x / damp - W_b^T (W_b x_b)`` block by block, in one reading of W; result (d,) is float64."""
    check(factor, DTYPES[:2])
    x = _vector("x", x, factor.shape[1])
    y = np.empty(factor.shape[1])
    multiply = getattr(_native.fisher, f"blocks_multiply_{factor.dtype.name}")
    multiply(ready(factor), check_int("block", block, low=1), float(damp), x, y, get_threads(threads))
    return y


def replace(upper: np.ndarray, r: int, row: np.ndarray) -> bool:
    """Exchange row and column ``r`` of ``K = upper^T upper`` for ``row`` in O(m^2), in place.

    Returns False, with ``upper`` spoilt, if the new matrix is not positive definite to working precision.
    """
    m = _order(upper)
    return _native.fisher.replace(upper, check_int("r", r, low=0, high=m - 1), _vector("row", row, m).copy())


def solve(upper: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``K^-1 t`` for ``K = upper^T upper`` (m, m) and t (m,). O(m^2)."""
    t = _vector("t", t, _order(upper)).copy()
    _native.fisher.solve(upper, t)
    return t


def store_row(rows: np.ndarray, r: int, g: np.ndarray, threads: int | None = None) -> np.ndarray | None:
    """Write g (d,) into row ``r`` of float32 or raw bfloat16 rows; returns what the row then holds, in float32.

    Returns None, with nothing written, if g has NaN or infinite entries in float32.
    """
    check(rows, ("float32", "uint16"))
    row = rows[check_int("r", r, low=0, high=len(rows) - 1)]
    if g.shape != row.shape:
        raise ShapeError(f"g has shape {g.shape}: expected {row.shape}")
    g = ready(g, np.float32)
    if rows.dtype == np.float32:
        return row if _native.fisher.copy_row(g, row, get_threads(threads)) else None
    held = np.empty_like(g)
    return held if _native.fisher.round_row(g, row, held, get_threads(threads)) else None


def columns_dot(factor: np.ndarray, a: int, b: int) -> float:
    """``W[:, a] . W[:, b]`` for W (m, d) and columns that lie in it, summed in float64. O(m)."""
    return _COLUMNS_DOT[factor.dtype.char](factor, a, b)


_COLUMNS_DOT = {"f": _native.fisher.columns_dot_float32, "d": _native.fisher.columns_dot_float64}


def _order(upper: np.ndarray) -> int:
    m = len(upper)
    if upper.shape != (m, m) or upper.dtype != np.float64 or not upper.flags.c_contiguous:
        raise ArgumentError(
            f"upper is {upper.dtype} of shape {upper.shape}: expected contiguous float64 (m, m)"
        )
    return m


def _vector(name: str, x: np.ndarray, size: int, keep: bool = False) -> np.ndarray:
    if x.shape != (size,):
        raise ShapeError(f"{name} has shape {x.shape}: expected ({size},)")
    return ready(x, np.float32 if keep and x.dtype == np.float32 else np.float64)
