"""The discrete Fourier transform as a chain of short ones, its spectrum left in the order of the chain or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, like, to_numpy
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv import chains

ORDERS = ("natural", "monarch")


def monarch_order(factors: Sequence[int]) -> np.ndarray:
    r"""Frequency at each place of a spectrum in Monarch order.

    Place ``(f_1, ..., f_p)`` of the view ``factors`` holds :math:`f_1 + N_1 (f_2 + N_2 (f_3 + \dots))`.

    Parameters
    ----------
    factors : sequence of int
        N_1, ..., N_p.

    Returns
    -------
    order : array of int64, shape (N,)
        A permutation of 0, ..., N - 1.

    Examples
    --------
    >>> from gossamer.linalg import monarch_order
    >>> monarch_order((2, 3))
    array([0, 2, 4, 1, 3, 5])
    """
    return chains.spectrum_order(tuple(check_int("factors", f, low=1) for f in factors)).copy()


def monarch_fft(
    x: Array, factors: Sequence[int] | None = None, *, order: str = "natural", threads: int | None = None
) -> Array:
    r"""Fourier transform of the last axis by a chain of short transforms.

    With :math:`N = N_1 N_2`, :math:`n = n_1 N_2 + n_2` and :math:`f = f_1 + N_1 f_2`,

    .. math:: X[f] = \sum_{n_2} \omega_{N_2}^{n_2 f_2} \Bigl( \omega_N^{n_2 f_1}
              \sum_{n_1} \omega_{N_1}^{n_1 f_1} x[n_1 N_2 + n_2] \Bigr),

    and so on for more factors. What comes out has ``f_1`` outermost; order "natural" sorts it.

    Parameters
    ----------
    x : array or tensor, shape (..., N)
        Real or complex; N has no prime factor above 7.
    factors : sequence of int, optional
        N_1, ..., N_p, which order "monarch" goes by; few and nearly equal by default.
    order : {"natural", "monarch"}
        Of the spectrum; "monarch" is that of :func:`monarch_order`.
    threads : int, optional
        At most so many.

    Returns
    -------
    X : array or tensor, shape (..., N)
        complex64 for float32 and complex64, else complex128. No gradients.

    Raises
    ------
    ArgumentError
        If N has other prime factors, or ``factors`` do not multiply to N.

    Notes
    -----
    O(N log N). Equivalent to :func:`numpy.fft.fft`. For transforms alone SciPy is as good.

    References
    ----------
    Fu, Kumbong, Nguyen and Ré, "FlashFFTConv", ICLR 2024, arXiv 2311.05908.
    """
    rows, native, factors = _prepare(x, factors, order)
    spectrum = kernels.transform(native, rows, threads=threads)
    out = np.empty_like(spectrum)
    out[:, chains.spectrum_order(native.factors)] = spectrum
    if order == "monarch":
        out = out[:, chains.spectrum_order(factors)]
    return like(out.reshape(x.shape), x)


def monarch_ifft(
    X: Array, factors: Sequence[int] | None = None, *, order: str = "natural", threads: int | None = None
) -> Array:
    """Inverse of :func:`monarch_fft`, from a spectrum in either order.

    Parameters
    ----------
    X : array or tensor, shape (..., N)
        The spectrum.
    factors, order, threads : optional
        As there.

    Returns
    -------
    x : array or tensor, shape (..., N)
        Complex.

    Raises
    ------
    ArgumentError
        As there.
    """
    rows, native, factors = _prepare(X, factors, order)
    if order == "monarch":
        natural = np.empty_like(rows)
        natural[:, chains.spectrum_order(factors)] = rows
        rows = natural
    rows = np.ascontiguousarray(rows[:, chains.spectrum_order(native.factors)])
    out = kernels.transform(native, rows, inverse=True, threads=threads)
    out /= native.points
    return like(out.reshape(X.shape), X)


def _prepare(
    x: Array, factors: Sequence[int] | None, order: str
) -> tuple[np.ndarray, kernels.Chain, tuple[int, ...]]:
    check_choice("order", order, ORDERS)
    array: Any = to_numpy(check_array("x", x, ndim=tuple(range(1, 32)), finite=False, real=False))
    n = array.shape[-1]
    if n < 1:
        raise ShapeError(f"x has shape {array.shape}: expected at least one point")
    chosen = (
        chains.balanced_factors(n)
        if factors is None
        else tuple(check_int("factors", f, low=1) for f in factors)
    )
    if np.prod(chosen, dtype=np.int64) != n or not chains.is_smooth(n):
        raise ArgumentError(
            f"factors={chosen}: expected a product of {n}, without prime factors above 7; "
            f"nearest valid N: {chains.next_smooth(n)}"
        )
    single = array.dtype in (np.float32, np.complex64, np.float16)
    rows = np.ascontiguousarray(array.reshape(-1, n), np.complex64 if single else np.complex128)
    real = np.dtype(np.float32 if single else np.float64)
    square = kernels.lanes(real) ** 2
    columns = n % square == 0
    radices = chains.cheapest_radices(n // square if columns else n)
    return rows, kernels.chain(n, radices, columns=columns, twisted=False, dtype=real), chosen
