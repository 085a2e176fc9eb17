"""Real orthonormal spherical harmonics with the polar axis y, the convention of e3nn."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch, like
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError

MAX_DEGREE = 64


def spherical_harmonics(vectors: Array, L: int) -> Array:
    r"""Evaluate all real orthonormal spherical harmonics of degree at most L at directions.

    .. math:: Y_{l,m} = \bar P_l^{|m|}(\cos\theta) \cdot \{\sqrt 2 \cos m\varphi,\; 1,\; \sqrt 2 \sin |m|\varphi\}
              \quad\text{for}\quad m > 0,\; m = 0,\; m < 0,

    with :math:`y = \cos\theta`, :math:`z = \sin\theta \cos\varphi`, :math:`x = \sin\theta \sin\varphi`,
    :math:`\int Y Y' \, d\Omega = \delta`, and no Condon-Shortley sign. Polynomials in the direction, so that torch
    differentiates them at the poles as well, to any order. Equivalent to ``e3nn.o3.spherical_harmonics`` with
    ``normalization="integral", normalize=True``.

    Parameters
    ----------
    vectors : array, shape (..., 3)
        Points (x, y, z) in NumPy or torch, float32 or float64, of any length but 0.
    L : int
        Largest degree, at most 64.

    Returns
    -------
    array, shape (..., (L + 1)**2)
        At index ``l*l + l + m``; kind and dtype of ``vectors``.

    Raises
    ------
    ArgumentError
        If a vector is zero, the last axis is not 3, or L is out of range.

    Notes
    -----
    O(L^2) operations a vector, by a recursion over l for all m at once that uses no factorials.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import spherical_harmonics
    >>> spherical_harmonics(np.array([0.0, 1.0, 0.0]), 1).round(3)
    array([0.282, 0.   , 0.489, 0.   ])
    """
    check_degree("L", L)
    if not vectors.ndim or vectors.shape[-1] != 3:
        raise ShapeError(f"vectors has shape {tuple(vectors.shape)}: expected (..., 3)")
    lengths = (vectors * vectors).sum(-1)
    if bool((lengths == 0).any()):
        where = np.argwhere(np.asarray(like(lengths == 0, np.empty(0))))[0]
        raise ArgumentError(f"vectors is zero at {tuple(int(i) for i in where)}: it has no direction")
    unit = vectors / lengths[..., None] ** 0.5
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    real, imaginary = [x * 0 + 1], [x * 0]  # (z + i x)^m = sin(theta)^m exp(i m phi)
    for _ in range(L):
        a, b = real[-1], imaginary[-1]
        real.append(z * a - x * b)
        imaginary.append(z * b + x * a)
    Q = _stack(polar_polynomials(L, y), -2, x)
    cosine = Q * _stack(real, -1, x)[..., None, :]
    sine = Q * _stack(imaginary, -1, x)[..., None, :]
    both = _stack([sine, cosine], -3, x)
    flat = both.reshape(*both.shape[:-3], 2 * (L + 1) ** 2)
    return flat[..., like(_positions(L), vectors)]


def polar_polynomials(L: int, y: Array) -> list[Array]:
    r"""Rows l of :math:`Q_{lm}(y)` (..., L + 1); times :math:`\sin^m\theta` they are the polar functions."""
    up, down, start = (table.astype(_dtype_name(y)) for table in _recursion(L))
    rows: list[Array] = []
    column = y[..., None]
    for l in range(L + 1):
        row = column * 0 + like(start[l], y)
        if l > 0:
            row = row + like(up[l], y) * column * rows[l - 1]
        if l > 1:
            row = row - like(down[l], y) * rows[l - 2]
        rows.append(row)
    return rows


def theta_functions(L: int, theta: np.ndarray) -> np.ndarray:
    r""":math:`\bar P_l^m(\cos\theta)`, times the root of 2 for m > 0: shape (m, l, points), zero where l < m.

    On the whole circle: :math:`\sin\theta < 0` beyond :math:`\pi`, as the torus wants it.
    """
    Q = np.stack(polar_polynomials(L, np.cos(theta)), 0)
    return np.moveaxis(Q * np.sin(theta)[:, None] ** np.arange(L + 1), -1, 0)


@lru_cache(maxsize=64)
def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Polar angles and weights that integrate polynomials in cos(theta) of degree below ``2 count``, sin included."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.arccos(nodes), weights


def check_degree(name: str, L: Any) -> int:
    """Refuse what is not a degree from 0 to 64."""
    return check_int(name, L, low=0, high=MAX_DEGREE)


def check_coefficients(name: str, x: Any, L: int) -> None:
    """Refuse coefficients whose last axis is not that of degree L."""
    if not x.ndim or x.shape[-1] != (L + 1) ** 2:
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)}: expected {(L + 1) ** 2} = (L + 1)^2 in the last place, for L={L}"
        )


@lru_cache(maxsize=MAX_DEGREE + 1)
def _recursion(L: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of y Q_{l-1}, of Q_{l-2}, and Q_ll, each (l, m)."""
    l, m = np.ogrid[: L + 1, : L + 1]
    inside = m < l
    with np.errstate(all="ignore"):
        up = np.where(inside, np.sqrt((4.0 * l**2 - 1) / (l**2 - m**2)), 0)
        back = np.sqrt(((l - 1.0) ** 2 - m**2) / (4 * (l - 1.0) ** 2 - 1))
    down = np.where(m < l - 1, up * back, 0)
    start = np.zeros((L + 1, L + 1))
    value = math.sqrt(1 / (4 * math.pi))
    for k in range(L + 1):
        value *= math.sqrt((2 * k + 1) / (2 * k)) if k else 1
        start[k, k] = value * (math.sqrt(2) if k else 1)
    return np.nan_to_num(up), np.nan_to_num(down), start


@lru_cache(maxsize=MAX_DEGREE + 1)
def _positions(L: int) -> np.ndarray:
    """Where (l, m) stands among (sine or cosine, l, |m|)."""
    size = L + 1
    return np.array([((m >= 0) * size + l) * size + abs(m) for l in range(size) for m in range(-l, l + 1)])


def _stack(arrays: list[Array], axis: int, reference: Array) -> Array:
    if is_torch(reference):
        import torch

        return torch.stack(arrays, axis)
    return np.stack(arrays, axis)


def _dtype_name(x: Array) -> str:
    return str(x.dtype).rsplit(".", 1)[-1]
