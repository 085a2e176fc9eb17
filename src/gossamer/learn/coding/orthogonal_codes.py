"""Codes in an orthogonal dictionary: the derivative of their norm, the largest of them, a dictionary to start from."""

from __future__ import annotations

from typing import Any

import numpy as np


def stretched(codes: np.ndarray, p: float) -> np.ndarray:
    """``|z|^(p - 2) z``, the derivative of ``|z|^p / p``."""
    size = np.abs(codes)
    if p == 3:
        return size * codes
    if p == 4:
        return size * size * codes
    return size ** codes.real.dtype.type(p - 2) * codes


def largest(codes: np.ndarray, k: int) -> np.ndarray:
    """Codes (N, n) with all but the k largest of each row set to zero."""
    if k >= codes.shape[1]:
        return codes.copy()
    kept = np.argpartition(-np.abs(codes), k - 1, axis=1)[:, :k]
    out = np.zeros_like(codes)
    np.put_along_axis(out, kept, np.take_along_axis(codes, kept, axis=1), axis=1)
    return out


def random_orthogonal(n: int, dtype: Any, rng: np.random.Generator) -> np.ndarray:
    """Haar-distributed orthogonal (or unitary) matrix; [[1]] for n = 1."""
    dtype = np.dtype(dtype)
    if n == 1:
        return np.ones((1, 1), dtype)
    Z = rng.standard_normal((n, n))
    if dtype.kind == "c":
        Z = Z + 1j * rng.standard_normal((n, n))
    Q, R = np.linalg.qr(Z)
    d = np.diagonal(R)
    return (Q * (d / np.abs(d))).astype(dtype)
