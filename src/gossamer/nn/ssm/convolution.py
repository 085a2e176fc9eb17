"""Causal convolution with kernels as long as the sequence."""

from __future__ import annotations

import scipy.fft
import torch

from gossamer.nn.conv.flash_fft_conv import FlashFFTConv

_FUSED = FlashFFTConv()


def causal_conv(u: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``y[..., k] = sum_l kernel[..., l] u[..., k - l]`` along the last axis; both of one length, shapes broadcast.

    Real rows (B, H, L) under kernels (H, L) go through :class:`gossamer.nn.FlashFFTConv`.
    """
    if not (u.is_complex() or kernel.is_complex()) and u.ndim == 3 and kernel.shape == u.shape[1:]:
        y: torch.Tensor = _FUSED(u.contiguous(), kernel)
        return y
    length = u.shape[-1]
    n = scipy.fft.next_fast_len(2 * length, real=not u.is_complex())
    if u.is_complex():
        return torch.fft.ifft(torch.fft.fft(u, n) * torch.fft.fft(kernel, n), n)[..., :length]
    return torch.fft.irfft(torch.fft.rfft(u, n) * torch.fft.rfft(kernel, n), n)[..., :length]


def convolve_directions(u: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """``u`` (B, L, H) under kernels (1 or 2, H, L); the second runs backwards in time and is added."""
    rows = u.transpose(1, 2)
    y = causal_conv(rows, kernels[0])
    if len(kernels) == 2:
        y = y + causal_conv(rows.flip(-1), kernels[1]).flip(-1)
    return y.transpose(1, 2)
