"""The discrete Fourier transform as a Monarch matrix: exact at the start, and free to be learned."""

from __future__ import annotations

import math
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.structures.monarch import MonarchMatrix

NORMS = ("backward", "ortho", "forward")


def factor_pair(n: int) -> tuple[int, int]:
    """The two factors of n that are closest to its root, the larger one first."""
    small = next(d for d in range(math.isqrt(n), 0, -1) if n % d == 0)
    return n // small, small


class MonarchFFT(torch.nn.Module):
    r"""Fourier transform along the last axis, as two block-diagonal factors after a permutation.

    With ``n = a b``, ``t = t_1 b + t_2`` and ``f = f_2 a + f_1``, the exponent splits into three,

    .. math:: e^{-2 \pi i t f / n} = e^{-2 \pi i t_1 f_1 / a} \, e^{-2 \pi i t_2 f_1 / n} \, e^{-2 \pi i t_2 f_2 / b}:

    the first two are ``w1[t_2, f_1, t_1]``, the third is ``w2[f_1, f_2, t_2]``. Both are parameters.

    Parameters
    ----------
    n : int
        Length of the last axis.
    sizes : (int, int), optional
        ``(a, b)``; by default the pair closest to the root of n, the larger one first.
    inverse : bool
        The inverse transform.
    norm : {"backward", "ortho", "forward"}
        As in :func:`torch.fft.fft`.
    pad : bool
        Allow a prime n: the axis is padded with zeros to the next length that is not, which the transform then has.
    dtype : torch.float32 or torch.float64, optional
        Of the real and imaginary parts, which are stored as pairs.

    Raises
    ------
    ArgumentError
        If n is prime and ``pad`` is false, or ``sizes`` do not multiply to n.

    Notes
    -----
    O(n^{3/2}) operations where an FFT takes O(n log n): this is for transforms that are learned, not for speed.
    Equivalent to :func:`torch.fft.fft` (or ``ifft``) until it is trained.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import MonarchFFT
    >>> x = torch.randn(3, 36)
    >>> torch.allclose(MonarchFFT(36)(x), torch.fft.fft(x), atol=1e-4)
    True
    """

    def __init__(
        self,
        n: int,
        sizes: tuple[int, int] | None = None,
        *,
        inverse: bool = False,
        norm: str = "backward",
        pad: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.inputs = self.n = check_int("n", n, low=1)
        while sizes is None and self.n > 1 and factor_pair(self.n)[1] == 1:
            if not pad:
                raise ArgumentError(
                    f"n={n} is prime: expected a product of two sizes, or pad=True for the next length that is one"
                )
            self.n += 1
        self.sizes = factor_pair(self.n) if sizes is None else (int(sizes[0]), int(sizes[1]))
        if self.sizes[0] * self.sizes[1] != self.n or min(self.sizes) < 1:
            raise ArgumentError(f"sizes={sizes}: expected a pair whose product is n={self.n}; "
                                f"nearest valid: {factor_pair(self.n)}")  # fmt: skip
        self.inverse, self.norm = bool(inverse), check_choice("norm", norm, NORMS)
        a, b = self.sizes
        sign = 1 if self.inverse else -1

        def wave(rows: torch.Tensor, cols: torch.Tensor, period: int) -> torch.Tensor:
            # the product is reduced by the period while it is an integer: exact for any length
            angle = (rows * cols % period).double() * (2 * math.pi / period)
            return torch.polar(torch.ones_like(angle), sign * angle)

        t1, t2, f1, f2 = (torch.arange(size) for size in (a, b, a, b))
        w1 = wave(f1[None, :, None], t1, a) * wave(t2[:, None, None], f1[None, :, None], self.n)
        w2 = wave(f2[:, None], t2, b).expand(a, b, b)
        scaled = self.norm == "ortho" or (self.norm == "forward") != self.inverse
        power = 0.5 if self.norm == "ortho" else float(scaled)
        kind = dtype or torch.get_default_dtype()
        self.w1 = torch.nn.Parameter(torch.view_as_real(w1 / a**power).to(kind))
        self.w2 = torch.nn.Parameter(torch.view_as_real(w2 / b**power).to(kind))

    @property
    def matrix(self) -> MonarchMatrix:
        """The Monarch matrix, to be applied after the permutation."""
        return MonarchMatrix.of(torch.view_as_complex(self.w1), torch.view_as_complex(self.w2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The transform of ``x`` (..., n), real or complex."""
        if x.shape[-1] != self.inputs:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.inputs} in the last place")
        if self.n != self.inputs:
            x = torch.nn.functional.pad(x, (0, self.n - self.inputs))
        a, b = self.sizes
        rows = x.reshape(-1, a, b).transpose(1, 2).reshape(-1, self.n)
        return (self.matrix @ rows.T).T.reshape(*x.shape[:-1], self.n)

    def extra_repr(self) -> str:
        """Length, sizes and kind."""
        return f"n={self.n}, sizes={self.sizes}, inverse={self.inverse}, norm={self.norm!r}"


class MonarchFFT2(torch.nn.Module):
    """Fourier transform along the last two axes: :class:`MonarchFFT` along each.

    Parameters
    ----------
    n1, n2 : int
        Lengths of the last but one and of the last axis.
    inverse, norm, pad, dtype : optional
        As in :class:`MonarchFFT`.
    """

    def __init__(self, n1: int, n2: int, **options: Any) -> None:
        super().__init__()
        self.rows, self.cols = MonarchFFT(n1, **options), MonarchFFT(n2, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The transform of ``x`` (..., n1, n2), real or complex."""
        return self.rows(self.cols(x).transpose(-1, -2)).transpose(-1, -2)
