"""The Walsh-Hadamard transform: N log2 N additions in place of a product with a matrix of signs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, bad_argument
from gossamer._kernels import walsh

NORMS = ("none", "forward", "ortho")
ORDERS = ("natural", "dyadic", "sequency")


def fwht(
    x: Array,
    axis: int = -1,
    norm: str = "none",
    order: str = "natural",
    inplace: bool = False,
    threads: int | None = None,
) -> Array:
    r"""Walsh-Hadamard transform along one axis.

    .. math:: X[k] = c \sum_m x[m] (-1)^{\langle m, k \rangle}

    for a length of ``N = 2**n``, with the parity ``<m, k>`` of ``m & k`` and ``c = 1`` ("none"), ``1 / N``
    ("forward") or ``1 / sqrt(N)`` ("ortho"). The matrix is symmetric in every order and its square is ``c^2 N I``: the
    transform is its own adjoint, "ortho" is its own inverse, and "none" undoes "forward".

    Parameters
    ----------
    x : array or tensor
        Real or complex numbers, any number of axes. float32, float64, int32, int64, complex64 and complex128 are
        kept; float16 and bfloat16 are computed in float32; narrower integers and booleans become int64. Integers are
        exact while sums stay in range and wrap around beyond it; a scaled norm turns them into float64. Gradients
        flow through tensors, to any order.
    axis : int
        The axis; its length is a power of two (zero-pad others).
    norm : {"none", "forward", "ortho"}
        The factor c.
    order : {"natural", "dyadic", "sequency"}
        Order of the results: Hadamard's (as above), Paley's (bits of k reversed), Walsh's (by number of sign changes).
    inplace : bool
        Write the result into ``x`` and return it.
    threads : int, optional
        As :func:`gossamer.set_threads` by default. The bits of the result do not depend on it.

    Returns
    -------
    array or tensor
        Of the shape and kind of ``x``.

    Raises
    ------
    ArgumentError
        For a length that is no power of two, an unknown norm or order, an axis out of range, or ``inplace`` where
        ``x`` is read-only, needs gradients or would have to change its dtype.
    UnsupportedError
        For tensors that are not on the CPU, and for dtypes that are not numbers.

    Notes
    -----
    ``N log2 N`` additions. Equivalent to ``scipy.linalg.hadamard(N) @ x`` in natural order without a norm.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import fwht
    >>> fwht(np.array([1, 0, 1, 0]))
    array([2, 2, 0, 0])
    """
    check_choice("norm", norm, NORMS)
    check_choice("order", order, ORDERS)
    if is_torch(x):
        from gossamer.linalg.transforms.walsh_autograd import tensor_fwht

        return tensor_fwht(x, axis, norm, order, inplace, threads)
    array = np.asarray(x)
    if inplace and array is not x:
        raise ArgumentError(f"inplace=True: x is a {type(x).__name__}, expected an array")
    if array.dtype.kind not in "biufc" or array.dtype.char in "gG":
        raise UnsupportedError(
            f"x is {array.dtype}: expected real or complex numbers of at most 64 bits a part"
        )
    return array_fwht(array, axis, norm, order, inplace, threads)


def array_fwht(
    x: np.ndarray, axis: int, norm: str, order: str, inplace: bool, threads: int | None
) -> np.ndarray:
    """:func:`fwht` of a NumPy array of numbers."""
    axis = check_axis(tuple(x.shape), axis)
    kept = result_dtype(x.dtype, norm)
    if inplace and (kept != x.dtype or not x.flags.writeable):
        why = f"{x.dtype} becomes {kept}" if kept != x.dtype else "x is read-only"
        raise ArgumentError(f"inplace=True: {why}")
    work = np.dtype(np.float32) if kept == np.float16 else kept
    source = np.require(x, work, ("C", "A"))
    direct = source is x or np.shares_memory(source, x)
    out = source if inplace or not direct else np.empty_like(source)
    _transform(source, out, axis, factor(norm, x.shape[axis]), threads)
    if order != "natural":
        out = np.take(out, order_index(x.shape[axis], order), axis=axis)
    if inplace:
        if out is not x:
            x[...] = out
        return x
    return out.astype(kept, copy=False)


def _transform(x: np.ndarray, out: np.ndarray, axis: int, scale: float, threads: int | None) -> None:
    if x.dtype.kind == "c":
        part = np.float32 if x.dtype == np.complex64 else np.float64
        x, out = (a.view(part).reshape(*a.shape, 2) for a in (x, out))
    walsh.transform(x, out, axis, scale, threads)


def check_axis(shape: tuple[int, ...], axis: int) -> int:
    """Return ``axis`` counted from the front, if its length is a power of two."""
    if not shape:
        raise ShapeError("x has no axes: expected at least one")
    axis = check_int("axis", axis, low=-len(shape), high=len(shape) - 1) % len(shape)
    n = shape[axis]
    if n < 1 or n & (n - 1):
        nearest = 1 << max(n - 1, 0).bit_length()
        raise ShapeError(
            f"x has shape {shape}: expected a power of two along axis {axis}; zero-pad it to {nearest}"
        )
    return axis


def result_dtype(dtype: np.dtype, norm: str) -> np.dtype:
    """The dtype that a transform of ``dtype`` returns."""
    if dtype.kind == "u" and dtype.itemsize == 8:
        raise UnsupportedError("x is uint64: expected signed integers, the transform has negative values")
    if dtype.kind in "biu":
        if norm != "none":
            return np.dtype(np.float64)
        return dtype.newbyteorder("=") if dtype.kind == "i" and dtype.itemsize >= 4 else np.dtype(np.int64)
    return dtype.newbyteorder("=")


def factor(norm: str, n: int) -> float:
    """The constant c of a norm."""
    return {"none": 1.0, "forward": 1.0 / n, "ortho": 1.0 / math.sqrt(n)}[norm]


def order_index(n: int, order: str) -> np.ndarray:
    """``index[k]``: where the k-th result of an order stands in natural order; int64 (N,).

    Dyadic k is natural k with its bits reversed; sequency k is dyadic ``k ^ (k >> 1)``, its Gray code.
    """
    k = np.arange(n, dtype=np.int64)
    if order == "natural":
        return k
    if order == "sequency":
        k ^= k >> 1
    bits = n.bit_length() - 1
    reverse = np.zeros_like(k)
    for bit in range(bits):
        reverse |= ((k >> bit) & 1) << (bits - 1 - bit)
    return reverse


def signs(n: int, order: str = "natural", dtype: Any = np.float64) -> np.ndarray:
    """The matrix of the transform without a norm: +1 and -1, (N, N)."""
    if n < 1 or n & (n - 1):
        raise bad_argument("n", n, "a power of two")
    return array_fwht(np.eye(n, dtype=dtype), 0, "none", order, False, 1)
