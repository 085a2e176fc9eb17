"""Monomials of points and products with the matrix of all of them, which is never formed."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready


class Program:
    """The order of multiplications: feature m is feature ``parent[m]`` times coordinate ``variable[m]``.

    ``parent`` and ``variable`` have shape (r,); feature 0 is the constant 1 and its entries are not read.
    """

    def __init__(self, parent: np.ndarray, variable: np.ndarray, d: int) -> None:
        parent, variable = ready(parent, np.int32), ready(variable, np.int32)
        if parent.ndim != 1 or parent.shape != variable.shape or not len(parent):
            raise ShapeError(
                f"parent {parent.shape} and variable {variable.shape}: expected (r,) with r >= 1"
            )
        if (parent[1:] >= np.arange(1, len(parent))).any() or (parent[1:] < 0).any():
            raise ArgumentError("parent must name an earlier feature")
        if len(variable) > 1 and (variable[1:].min() < 0 or variable[1:].max() >= d):
            raise ArgumentError(
                f"variable spans {variable[1:].min()}..{variable[1:].max()}: expected 0..{d - 1}"
            )
        self.parent, self.variable, self.d = parent, variable, d

    def __len__(self) -> int:
        return len(self.parent)

    def features(self, x: np.ndarray, threads: int | None = None) -> np.ndarray:
        """F (batch, n, r) for x (batch, n, d)."""
        x = self._points(x)
        out = np.empty((*x.shape[:2], len(self)), x.dtype)
        self._call("features", x, out, threads=threads)
        return out

    def accumulate(self, x: np.ndarray, v: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``F^T v`` (batch, r, p) for x (batch, n, d) and v (batch, n, p). O(n r p)."""
        x = self._points(x)
        v = _operand("v", v, x.dtype, (*x.shape[:2], None))
        s = np.empty((len(x), len(self), v.shape[2]), x.dtype)
        self._call("accumulate", x, v, s, threads=threads)
        return s

    def apply(self, x: np.ndarray, w: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``F w^T`` (batch, n, p) for x (batch, n, d) and w (batch, p, r). O(n r p)."""
        x = self._points(x)
        w = _operand("w", w, x.dtype, (len(x), None, len(self)))
        y = np.empty((*x.shape[:2], w.shape[1]), x.dtype)
        self._call("apply", x, w, y, threads=threads)
        return y

    def gradient(self, x: np.ndarray, v: np.ndarray, s: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Gradient (batch, n, d) of ``sum(F * (v s^T))`` in x, for v (batch, n, p) and s (batch, r, p). O(n r p)."""
        x = self._points(x)
        v = _operand("v", v, x.dtype, (*x.shape[:2], None))
        s = _operand("s", s, x.dtype, (len(x), len(self), v.shape[2]))
        dx = np.empty_like(x)
        self._call("gradient", x, v, s, dx, threads=threads)
        return dx

    def _points(self, x: np.ndarray) -> np.ndarray:
        if x.ndim != 3 or x.shape[2] != self.d:
            raise ShapeError(f"x has shape {x.shape}: expected (batch, n, {self.d})")
        if x.dtype not in (np.float32, np.float64):
            raise ArgumentError(f"x is {x.dtype}: expected float32 or float64")
        return ready(x)

    def _call(self, name: str, *arrays: np.ndarray, threads: int | None) -> None:
        function = getattr(_native.monomial, f"{name}_{arrays[0].dtype.name}")
        function(self.parent, self.variable, *arrays, get_threads(threads))


def _operand(name: str, value: np.ndarray, dtype: np.dtype, shape: tuple[int | None, ...]) -> np.ndarray:
    expected = tuple(
        size if wanted is None else wanted for wanted, size in zip(shape, value.shape, strict=False)
    )
    if value.ndim != 3 or value.shape != expected:
        wanted_shape = ", ".join("p" if size is None else str(size) for size in shape)
        raise ShapeError(f"{name} has shape {value.shape}: expected ({wanted_shape})")
    return ready(value, dtype)
