"""Convolutions of low frequencies alone, on their own grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.autograd import with_graph
from gossamer.linalg.transforms.fft_conv.resample import CoarseGrid
from gossamer.linalg.transforms.fft_conv.run import chain_of
from gossamer.linalg.transforms.fft_conv.spectrum_part import SpectrumPart, sparse_fft_conv


def lowpass_fft_conv(u: torch.Tensor, k: torch.Tensor, grid: CoarseGrid, part: SpectrumPart) -> torch.Tensor:
    """``up(down(u) conv down(k))``: u (B, H, L), k (H, taps) of the grid's dtype, the filter's spectrum weighted."""
    return _LowPass.apply(u.contiguous(), k.contiguous(), grid, part)


class _LowPass(torch.autograd.Function):
    """Keeps its inputs and nothing else; row by row, so that what lies between stays in the cache."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, k: torch.Tensor, grid: CoarseGrid, part: SpectrumPart) -> Any:
        ctx.save_for_backward(u, k)
        ctx.how = grid, part
        return to_torch(kernels.lowpass(chain_of(part.plan), to_numpy(u), to_numpy(k), *_tables(grid, part)))

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        (u, k), (grid, part), needs = ctx.saved_tensors, ctx.how, ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():

            def call(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
                y = sparse_fft_conv(grid.down(u), grid.down(k), (None, None, None), part)
                return grid.up(y, u.shape[2])

            return (*with_graph(call, (u, k), dy, needs), None, None)
        grads = kernels.lowpass_gradients(
            chain_of(part.plan), to_numpy(dy.contiguous()), to_numpy(u), to_numpy(k), *_tables(grid, part), needs=needs
        )  # fmt: skip
        return (*(None if grad is None else to_torch(grad) for grad in grads), None, None)


def _tables(grid: CoarseGrid, part: SpectrumPart) -> tuple[Any, Any]:
    # whole tiles are kept nowhere: responses are never one
    weights = np.zeros(part.plan.points, grid.dtype) if part.inside is None else part.inside.reshape(-1)
    return grid.taps.astype(grid.dtype), weights
