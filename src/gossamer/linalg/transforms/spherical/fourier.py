"""Spherical-harmonic coefficients to Fourier coefficients on the torus, and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gossamer._core.arrays import Array, like, namespace
from gossamer._core.errors import ShapeError
from gossamer.linalg.transforms.spherical.harmonics import (
    check_coefficients,
    check_degree,
    theta_functions,
)


def sh_to_fourier(x: Array, L: int) -> Array:
    r"""Fourier coefficients on the torus of a function given by spherical harmonics.

    .. math:: F_x(\theta, \varphi) = \sum_{lm} x_{lm} Y_{lm} = \sum_{|u|, |v| \le L} f_{uv} e^{i (u \theta + v \varphi)}

    with :math:`\theta` extended to the whole circle. F is real, so :math:`f_{-u,-v} = \overline{f_{uv}}`; it comes back
    to itself after passing the pole, so :math:`f_{-u,v} = (-1)^v f_{uv}`: a quarter of the coefficients is independent.
    Products of functions are convolutions of these arrays.

    Parameters
    ----------
    x : array, shape (..., (L + 1)**2)
        Real coefficients in NumPy or torch, float32 or float64.
    L : int
        Largest degree, at most 64.

    Returns
    -------
    complex array, shape (..., 2 L + 1, 2 L + 1)
        ``f[..., u + L, v + L]``.

    Raises
    ------
    ShapeError
        If the last axis is not ``(L + 1)**2``.

    Notes
    -----
    O(L^3) operations for each function: a harmonic (l, m) reaches only v = m and -m, and u of the parity of l.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import fourier_to_sh, sh_to_fourier
    >>> x = np.random.default_rng(0).normal(size=(5, 16))
    >>> np.allclose(fourier_to_sh(sh_to_fourier(x, 3), 3), x)
    True
    """
    check_coefficients("x", x, check_degree("L", L))
    xp = namespace(x)
    cosine, sine = (
        x[..., like(index, x)] for index in _orders(L)
    )  # (..., m, l); for m = 0 both are the same
    table = _complex_like(_theta_series(L), x)
    # cos m phi and sin m phi are (e^{im phi} +- e^{-im phi}) / 2, the latter over i; m = 0 has no sine
    upper = np.arange(L + 1)[:, None] > 0
    cosine, sine = cosine * _real_like(np.where(upper, 0.5, 1), x), sine * _real_like(0.5 * upper, x)
    wave = xp.einsum("...ml,mlu->...um", cosine - 1j * sine, table)
    mirror = xp.einsum("...ml,mlu->...um", cosine + 1j * sine, table)
    return xp.concat([xp.flip(mirror[..., 1:], axis=-1), wave], axis=-1)


def fourier_to_sh(f: Array, L_out: int) -> Array:
    r"""Spherical-harmonic coefficients of a function given by its Fourier coefficients on the torus.

    .. math:: z_{lm} = \sum_{uv} f_{uv} \int_0^{2\pi} \int_0^\pi e^{i (u \theta + v \varphi)} Y_{lm}
              \sin\theta \, d\theta \, d\varphi

    Only v = m and -m contribute, but every u does: :math:`\sin\theta` is not band-limited on the torus.

    Parameters
    ----------
    f : complex array, shape (..., n, n)
        ``f[..., u + K, v + K]`` with an odd size n = 2 K + 1 of at least ``2 L_out + 1``, in NumPy or torch.
    L_out : int
        Largest degree wanted.

    Returns
    -------
    real array, shape (..., (L_out + 1)**2)
        The projection of the real part of the function.

    Raises
    ------
    ShapeError
        If f is not square, of even size, or too small.

    Notes
    -----
    O(L^3) operations for each function.
    """
    check_degree("L_out", L_out)
    n = f.shape[-1] if f.ndim >= 2 else 0
    if n % 2 == 0 or f.shape[-2] != n or n < 2 * L_out + 1:
        raise ShapeError(
            f"f has shape {tuple(f.shape)}: expected (..., n, n) with an odd n >= {2 * L_out + 1}"
        )
    xp = namespace(f)
    K = n // 2
    wave, mirror = f[..., K : K + L_out + 1], xp.flip(f[..., K - L_out : K + 1], axis=-1)
    table = _theta_integrals(K, L_out) * np.pi
    back = _complex_like(table, f)  # (m, l, u); m = 0 comes twice, as wave and as mirror
    cosine = xp.einsum("...um,mlu->...ml", wave + mirror, back)
    sine = xp.einsum("...um,mlu->...ml", 1j * (wave - mirror), back)
    both = xp.stack([xp.real(sine), xp.real(cosine)], axis=-3)
    flat = both.reshape(*both.shape[:-3], 2 * (L_out + 1) ** 2)
    index = [
        ((m >= 0) * (L_out + 1) + abs(m)) * (L_out + 1) + l
        for l in range(L_out + 1)
        for m in range(-l, l + 1)
    ]
    return flat[..., like(np.array(index), f)]


def fourier_table(L: int) -> np.ndarray:
    r"""Half series of the polar functions: :math:`\bar P_l^m = \sum_{u \ge 0} t_{mlu} \cos u\theta`, sin for odd m.

    Shape (m, l, u), float64; u has the parity of l. Right to 1e-14 for L <= 32.
    """
    series = _theta_series(L)[:, :, L:]
    even = np.arange(L + 1)[:, None, None] % 2 == 0
    twice = np.where(np.arange(L + 1) == 0, 1, 2)
    return np.where(even, series.real, -series.imag) * twice


def fourier_integrals(K: int, L: int) -> np.ndarray:
    r""":math:`\int_0^\pi \cos(u\theta) \bar P_l^m \sin\theta \, d\theta`, sin for odd m: shape (m, l, u), u = 0..K."""
    table = _theta_integrals(K, L)[:, :, K:]
    even = np.arange(L + 1)[:, None, None] % 2 == 0
    return np.where(even, table.real, table.imag)


@lru_cache(maxsize=2 * 65)
def _theta_series(L: int) -> np.ndarray:
    """Complex Fourier coefficients (m, l, u + L) of the polar functions on the circle, by an FFT: exact."""
    count = 2 * L + 1
    values = theta_functions(L, 2 * np.pi * np.arange(count) / count)
    series = np.fft.fftshift(np.fft.fft(values, axis=-1) / count, axes=-1)
    m, l = np.ogrid[: L + 1, : L + 1]
    u = np.arange(-L, L + 1)
    allowed = ((l >= m)[..., None]) & (np.abs(u) <= l[..., None]) & ((u - l[..., None]) % 2 == 0)
    return np.where(allowed, np.where((m % 2 == 0)[..., None], series.real, 1j * series.imag), 0)


@lru_cache(maxsize=2 * 65)
def _theta_integrals(K: int, L: int) -> np.ndarray:
    r""":math:`\int_0^\pi e^{iu\theta} \bar P_l^m \sin\theta \, d\theta`, shape (m, l, u + K).

    Term by term of the series of the polar function: the integral of :math:`e^{in\theta} \sin\theta` is
    :math:`2 / (1 - n^2)` for even n, :math:`\pm i \pi / 2` for n = 1 and -1, and 0 for other odd n.
    """
    n = np.arange(-L, L + 1)[:, None] + np.arange(-K, K + 1)
    even = n % 2 == 0
    wave = np.where(even, 2 / np.where(even, 1.0 - n**2, 1), 0.5j * np.pi * ((n == 1) * 1.0 - (n == -1)))
    return _theta_series(L) @ wave


@lru_cache(maxsize=65)
def _orders(L: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of (l, m) and (l, -m) in an (m, l) grid; where l < m any place will do, its factor is zero."""
    m, l = np.mgrid[: L + 1, : L + 1]
    m = np.minimum(m, l)
    return l * (l + 1) + m, l * (l + 1) - m


def _complex_like(table: np.ndarray, x: Array) -> Array:
    return like(table.astype(np.complex64 if _single(x) else np.complex128), x)


def _real_like(table: np.ndarray, x: Array) -> Array:
    return like(table.astype(np.float32 if _single(x) else np.float64), x)


def _single(x: Array) -> bool:
    return str(x.dtype).rsplit(".", 1)[-1] in ("float32", "complex64")
