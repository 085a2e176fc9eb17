"""Causal convolution with kernels as long as the sequence."""

from __future__ import annotations

import torch

from gossamer.nn.conv.flash_fft_conv import FlashFFTConv

_FUSED = FlashFFTConv()


def causal_conv(u: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``y[..., h, k] = sum_l kernel[h, l] u[..., h, k - l]`` for rows (B, H, L) under kernels (H, L).

    By :class:`gossamer.nn.FlashFFTConv`. Real and imaginary parts of complex rows are rows of their own; a complex
    kernel is two real ones.
    """
    rows = torch.cat([u.real, u.imag]) if u.is_complex() else u.contiguous()
    if not kernel.is_complex():
        y: torch.Tensor = _FUSED(rows, kernel)
        return torch.complex(*y.chunk(2)) if u.is_complex() else y
    real, imaginary = (_FUSED(rows, part.contiguous()) for part in (kernel.real, kernel.imag))
    if not u.is_complex():
        return torch.complex(real, imaginary)
    (a, b), (c, d) = real.chunk(2), imaginary.chunk(2)
    return torch.complex(a - d, b + c)


def convolve_directions(u: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """``u`` (B, L, H) under kernels (1 or 2, H, L); the second runs backwards in time and is added."""
    rows = u.transpose(1, 2)
    y = causal_conv(rows, kernels[0])
    if len(kernels) == 2:
        y = y + causal_conv(rows.flip(-1), kernels[1]).flip(-1)
    return y.transpose(1, 2)
