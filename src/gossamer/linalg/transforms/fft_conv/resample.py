"""Low frequencies alone, on a coarser grid: down to it, and back by the transpose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._kernels import fftconv as kernels

FACTORS = (16, 8, 4, 2)
REACH = {"float32": 4, "float64": 8}
"""Coarse points on each side of the window: aliases are below the rounding of the dtype at twice the bandwidth."""


@dataclass(frozen=True)
class CoarseGrid:
    r"""A ring of ``coarse`` points for frequencies below ``band`` of ``factor * coarse``, 2 ``band`` <= ``coarse``.

    Rows are smoothed by a Kaiser-Bessel window as they are sampled. It damps what would be aliased below rounding; what
    it does to frequencies that are kept is known exactly, and divided out: :meth:`response`.

    Attributes
    ----------
    coarse, factor : int
        Points of the ring, and fine ones for each of them: 2, 4, 8 or 16.
    band : float
        In frequencies of the fine ring.
    dtype : str
        float32 or float64.
    """

    coarse: int
    factor: int
    band: float
    dtype: str

    @cached_property
    def taps(self) -> np.ndarray:
        """The window (factor, 2 reach) at distances ``r + (q - reach) factor``, float64, of sum ``sqrt(factor)``."""
        reach = REACH[self.dtype]
        # the window's transform falls from its main lobe, which ends where aliases of the band begin
        beta = 2 * math.pi * reach * (1 - self.band / self.coarse) * 0.995
        at = (np.arange(self.factor)[:, None] / self.factor + np.arange(-reach, reach)) / reach
        window = np.i0(beta * np.sqrt(np.maximum(1 - at**2, 0)))
        window[np.abs(at) >= 1] = 0
        return window * (math.sqrt(self.factor) / window.sum())

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Real: what the window multiplies frequencies of the fine ring by."""
        reach = REACH[self.dtype]
        distance = np.arange(self.factor)[:, None] + np.arange(-reach, reach) * self.factor
        cosines = np.cos(2 * math.pi / (self.coarse * self.factor) * np.outer(frequency, distance))
        return cosines @ self.taps.reshape(-1)

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (..., n) to the ring (..., coarse), with gradients of any order."""
        return _Resampled.apply(x, self, x.shape[-1], False)

    def up(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """The transpose: (..., coarse) to (..., length)."""
        return _Resampled.apply(x, self, length, True)


class _Resampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, grid: CoarseGrid, length: int, up: bool) -> torch.Tensor:
        ctx.how = grid, length, up
        rows = to_numpy(x.contiguous()).reshape(-1, x.shape[-1])
        window = grid.taps.astype(grid.dtype)
        out = kernels.interpolate(rows, window, length) if up else kernels.decimate(rows, window, grid.coarse)
        return to_torch(out).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        grid, length, up = ctx.how
        return _Resampled.apply(grad, grid, length, not up), None, None, None
