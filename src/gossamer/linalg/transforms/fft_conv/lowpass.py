"""Convolutions of low frequencies on their own grid, a few channels at a time: what lies between stays in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv import run
from gossamer.linalg.transforms.fft_conv.autograd import with_graph
from gossamer.linalg.transforms.fft_conv.resample import CoarseGrid
from gossamer.linalg.transforms.fft_conv.spectrum_part import SpectrumPart, sparse_fft_conv

_AT_ONCE = 1 << 17
"""Points of the coarse grid in one turn."""


def lowpass_fft_conv(u: torch.Tensor, k: torch.Tensor, grid: CoarseGrid, part: SpectrumPart) -> torch.Tensor:
    """``up(down(u) conv' down(k))``: u (B, H, L), k (H, taps) of the grid's dtype, the spectrum weighted."""
    return _LowPass.apply(u.contiguous(), k, grid, part)


class _Turns:
    """Rows of some channels on the coarse grid, and back."""

    def __init__(self, grid: CoarseGrid) -> None:
        self.grid, self.window = grid, grid.taps.astype(grid.dtype)

    def slices(self, batch: int, channels: int) -> Iterator[slice]:
        step = max(1, _AT_ONCE // max(1, batch * self.grid.coarse))
        return (slice(first, min(first + step, channels)) for first in range(0, channels, step))

    def down(self, x: np.ndarray, channels: slice) -> np.ndarray:
        """Of x (B, H, L)."""
        out = np.empty((len(x), channels.stop - channels.start, self.grid.coarse), x.dtype)
        for row, to in zip(x, out, strict=True):
            kernels.decimate(row[channels], self.window, self.grid.coarse, out=to)
        return out

    def up(self, x: np.ndarray, channels: slice, to: np.ndarray) -> None:
        """To ``to`` (B, H, L)."""
        for row, out in zip(x, to, strict=True):
            kernels.interpolate(row, self.window, to.shape[2], out=out[channels])


class _LowPass(torch.autograd.Function):
    """Keeps its inputs and nothing else."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, k: torch.Tensor, grid: CoarseGrid, part: SpectrumPart) -> Any:
        ctx.save_for_backward(u, k)
        ctx.how = grid, part
        turns, x, taps = _Turns(grid), to_numpy(u), to_numpy(k)[None]
        y = np.empty_like(x)
        for some in turns.slices(*u.shape[:2]):
            filters = turns.down(taps, some)[0]
            spectra = part.spectra(to_torch(filters))
            turns.up(
                run.forward(part.plan, turns.down(x, some), filters, spectra=spectra, live=part.live), some, y
            )
        return to_torch(y)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        (u, k), (grid, part), needs = ctx.saved_tensors, ctx.how, ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():

            def call(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
                y = sparse_fft_conv(grid.down(u), grid.down(k), (None, None, None), part)
                return grid.up(y, u.shape[2])

            return (*with_graph(call, (u, k), dy, needs), None, None)
        turns, x, taps, grad = _Turns(grid), to_numpy(u), to_numpy(k)[None], to_numpy(dy.contiguous())
        du, dk = np.empty_like(x), np.empty_like(taps)
        for some in turns.slices(*u.shape[:2]):
            filters = turns.down(taps, some)[0]
            parts = run.backward(
                part.plan, turns.down(grad, some), turns.down(x, some), filters, needs=(*needs, False, False, False),
                spectra=part.spectra(to_torch(filters)), live=part.live,
            )  # fmt: skip
            if parts[0] is not None:
                turns.up(parts[0], some, du)
            if parts[1] is not None:
                turns.up(to_numpy(part.project(to_torch(parts[1])))[None], some, dk)
        return to_torch(du) if needs[0] else None, to_torch(dk[0]) if needs[1] else None, None, None
