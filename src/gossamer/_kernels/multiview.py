"""The passes of a stochastic step on one view: scores, gradient, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array, raw_halves, ready

DTYPES = ("int8", "uint8", "float16", "float32", "float64")


def arithmetic(dtype: Any) -> np.dtype:
    """What numbers of this dtype are computed in: float64 for float64, float32 for narrower ones."""
    name = np.dtype(dtype).name
    if name not in DTYPES:
        raise ArgumentError(f"a view is {name}: expected one of {', '.join(DTYPES)}")
    return np.dtype(np.float64 if name == "float64" else np.float32)


def scores(x: np.ndarray, offset: np.ndarray, u: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``(X - offset) U^T`` for X (m, p), offset (p,) and U (K, p); sums of features, then float64 (m, K)."""
    real = _check(x, offset, u)
    z = np.zeros((len(x), len(u)))
    if x.size and u.size:
        getattr(_native.multiview, f"scores_{x.dtype.name}")(
            _stored(x), ready(offset, real), ready(u), z, get_threads(threads)
        )
    return z


def gradient(
    x: np.ndarray,
    offset: np.ndarray,
    r: np.ndarray,
    u: np.ndarray,
    s: np.ndarray | None,
    g: np.ndarray,
    threads: int | None = None,
) -> float:
    """``G = R^T (X - offset) + S^T U``, in place, for R (m, C), U (K, p), S (K, K) or None, and G (C, p) with C >= K.

    Rows of G from K on are ``R^T (X - offset)`` alone. Returns the sum of squares of the first K rows.
    """
    real = _check(x, offset, u)
    K = len(u)
    if r.ndim != 2 or len(r) != len(x) or r.shape[1] < K:
        raise ShapeError(f"r has shape {r.shape}: expected ({len(x)}, C) with C >= {K}")
    if s is not None and s.shape != (K, K):
        raise ShapeError(f"s has shape {s.shape}: expected ({K}, {K})")
    expect_array("g", g, real, (r.shape[1], x.shape[1]))
    if not g.flags.c_contiguous:
        raise ArgumentError("g is not contiguous: expected an array to write into")
    if not g.size:
        return 0.0
    return getattr(_native.multiview, f"gradient_{x.dtype.name}")(
        _stored(x), ready(offset, real), ready(r, real), ready(u), None if s is None else ready(s, real), g,
        get_threads(threads),
    )  # fmt: skip


def adam(
    u: np.ndarray,
    g: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    step: int,
    rate: float,
    *,
    scale: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    threads: int | None = None,
) -> None:
    """Step number ``step`` (from 1) of Adam on u, first and second (K, p) in place, along ``scale * g``."""
    for name, array in (("u", u), ("g", g), ("first", first), ("second", second)):
        expect_array(name, array, u.dtype, u.shape)
        if not array.flags.c_contiguous or array.dtype.name not in ("float32", "float64") or array.ndim != 2:
            raise ArgumentError(
                f"{name} is {array.dtype} {array.shape}: expected contiguous float32 or float64 (K, p)"
            )
    if step < 1:
        raise ArgumentError(f"step={step}: expected 1 or more")
    # rate * (m / c1) / (sqrt(v / c2) + eps) with both corrections moved out of the loop
    root = (1 - betas[1] ** step) ** 0.5
    getattr(_native.multiview, f"adam_{u.dtype.name}")(
        u, g, first, second, betas[0], betas[1], rate * root / (1 - betas[0] ** step), epsilon * root, scale,
        get_threads(threads),
    )  # fmt: skip


def _check(x: np.ndarray, offset: np.ndarray, u: np.ndarray) -> np.dtype:
    if x.ndim != 2:
        raise ShapeError(f"a view has shape {x.shape}: expected (m, p)")
    real = arithmetic(x.dtype)
    if offset.shape != (x.shape[1],):
        raise ShapeError(f"offset has shape {offset.shape}: expected ({x.shape[1]},)")
    if u.ndim != 2 or u.shape[1] != x.shape[1] or u.dtype != real:
        raise ShapeError(f"u is {u.dtype} of shape {u.shape}: expected {real} (K, {x.shape[1]})")
    return real


def _stored(x: np.ndarray) -> np.ndarray:
    return raw_halves(x) if x.dtype == np.float16 else ready(x)
