"""A sweep over the pixels of an image that improves shares and sums up, and non-negative least squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array, ready


class Sums(NamedTuple):
    """What a sweep finds; sums of several blocks of pixels add up."""

    back: np.ndarray
    """``X^T A``: (L, K)."""
    gram: np.ndarray
    """``A^T A``: (K, K)."""
    squares: np.ndarray
    """``|x_l - A m_l|^2``: (L,)."""
    terms: np.ndarray
    """``sum (a + xi)^(1 - h)`` (0 where lam is) and ``sum (1 - sum a)^2``: (2,)."""


def sweep(
    x: np.ndarray,
    A: np.ndarray,
    h: np.ndarray,
    M: np.ndarray,
    weights: np.ndarray,
    *,
    steps: int,
    lam: float,
    xi: float,
    delta: float,
    floor: float,
    scale: float = 1.0,
    live: np.ndarray | None = None,
    measure: bool = True,
    threads: int | None = None,
) -> Sums:
    """``steps`` multiplicative steps of the shares A in place, then sums with the shares and spectra as they are.

    Parameters
    ----------
    x : ndarray, shape (N, L)
        Pixels, float32 or float64; rows or columns contiguous, else copied.
    A : ndarray, shape (N, K)
        Shares, of the same dtype.
    h : ndarray, shape (N,)
        Guidance, in [0, 1).
    M : ndarray, shape (K, L)
    weights : ndarray, shape (L,)
        Of channels.
    steps : int
        0 only sums.
    lam, xi, delta : float
        Of the penalties.
    floor : float
        Least share.
    scale : float
        What the values of x are multiplied by.
    live : ndarray of bool, shape (N,), optional
        Pixels that count.
    measure : bool
        False leaves the sums at zero.
    threads : int, optional

    Returns
    -------
    Sums
    """
    if x.ndim != 2 or x.dtype.name not in ("float32", "float64"):
        raise ShapeError(f"x is {x.dtype} of shape {x.shape}: expected float32 or float64 of shape (N, L)")
    (N, L), K, real = x.shape, len(M), x.dtype
    expect_array("A", A, real, (N, K))
    if not (A.flags.c_contiguous and A.flags.writeable):
        raise ArgumentError("A is not contiguous and writeable: expected an array to write into")
    if M.shape != (K, L) or weights.shape != (L,) or h.shape != (N,):
        raise ShapeError(
            f"M, weights and h have shapes {M.shape}, {weights.shape} and {h.shape}: "
            f"expected ({K}, {L}), ({L},) and ({N},)"
        )
    if live is not None:
        expect_array("live", live, np.bool_, (N,))
        live = ready(live).view(np.uint8)
    if not xi > 0 or (lam and xi < np.finfo(real).tiny):
        raise ArgumentError(f"xi={xi}: expected a positive number that is normal in {real}")
    if steps < 0:
        raise ArgumentError(f"steps={steps}: expected 0 or more")
    strides = tuple(stride // real.itemsize for stride in x.strides)
    if 1 not in strides or min(strides) < 0 or not x.flags.aligned:
        x = ready(x)
    weighted = M * weights
    sums = Sums(np.zeros((L, K)), np.zeros((K, K)), np.zeros(L), np.zeros(2))
    if x.size and K:
        getattr(_native.unmix, f"sweep_{real.name}")(
            x, live, scale, ready(weighted.T, real), ready(M.T, real), ready(weighted @ M.T + delta**2, real),
            ready(h, real), lam, xi, delta**2, floor, steps, measure, A, *sums, get_threads(threads),
        )  # fmt: skip
    return sums


def nonnegative(gram: np.ndarray, sides: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Minimise ``a^T G a / 2 - a^T b`` over ``a >= 0`` for every row b of ``sides`` (N, K): (N, K), float64.

    G (K, K) is symmetric and positive definite (a ridge at rounding is added).
    """
    K = len(gram)
    if gram.shape != (K, K) or sides.ndim != 2 or sides.shape[1] != K:
        raise ShapeError(
            f"gram and sides have shapes {gram.shape} and {sides.shape}: expected (K, K) and (N, K)"
        )
    if not (np.isfinite(gram).all() and np.isfinite(sides).all()):
        raise ArgumentError("gram or sides have NaN or infinite entries")
    out = np.empty(sides.shape)
    if out.size:
        failed = _native.unmix.nonnegative(
            ready(gram, np.float64), ready(sides, np.float64), out, get_threads(threads)
        )
        if failed:
            raise ArgumentError(f"gram is too close to singular: {failed} of {len(sides)} rows found no end")
    return out
