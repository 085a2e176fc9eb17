"""Convolutions that keep part of the spectrum: what is left out is computed neither forward nor backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.autograd import Tensors, run_backward, run_forward, with_graph
from gossamer.linalg.transforms.fft_conv.chains import spectrum_order
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan
from gossamer.linalg.transforms.fft_conv.run import chain_of, spectra_of


def frequencies(factors: Sequence[int]) -> np.ndarray:
    """Frequency, of 2 n real numbers, at each of n places of a padded convolution's spectrum: from -n to n."""
    n = math.prod(factors)
    return (2 * spectrum_order(tuple(factors)) - 0.5 + n) % (2 * n) - n


class SpectrumPart:
    """What a spectrum is multiplied by, real, as tiles that are kept and weights inside them.

    Parameters
    ----------
    weights : array, shape (points,)
        In the order of the plan's spectrum; bool keeps or leaves out.
    plan : FFTConvPlan
        By codelets, padded, with a tile.
    """

    def __init__(self, weights: np.ndarray, plan: FFTConvPlan) -> None:
        self.plan, self.weights, width = plan, weights, plan.factors[-1]
        tiles = weights.reshape(-1, width, width)
        self.live = (tiles != 0).any(axis=(1, 2)).astype(np.uint8)
        plain = (tiles == self.live[:, None, None]).all()
        # in memory the last axis but one is the lane
        inside = tiles.transpose(0, 2, 1)[:, :, None, :]
        self.inside = None if plain else np.ascontiguousarray(inside, dtype=plan.sums)

    def spectra(self, k: torch.Tensor) -> np.ndarray | None:
        """Of filters, weighted; None where kernels may take them as they go, as whole tiles are all there is."""
        if self.inside is None:
            return None
        return spectra_of(self.plan, to_numpy(k), live=self.live, weights=self.inside.reshape(-1))

    def project(self, k: torch.Tensor) -> torch.Tensor:
        """Filters (H, N), of whose spectra dead tiles are zero, with weighted spectra."""
        if self.inside is None:
            return k
        own = np.zeros((*self.inside.shape[:2], 2, self.inside.shape[3]), self.plan.sums)
        own[:, :, :1] = self.inside / self.plan.points
        spectra = np.broadcast_to(own.reshape(-1), (len(k), own.size)).copy()
        rows = to_numpy(k)[None]
        return to_torch(
            kernels.convolve(
                chain_of(self.plan), rows, None, taps=k.shape[1], spectra=spectra, live=self.live
            )[0]
        )


def sparse_fft_conv(u: torch.Tensor, k: torch.Tensor, gates: Tensors, part: SpectrumPart) -> torch.Tensor:
    """``post * ((pre * u) conv k') + skip * u``, the spectrum of k' being that part of k's, with gradients."""
    return _Sparse.apply(u, k, *gates, part)


class _Sparse(torch.autograd.Function):
    """Keeps its inputs and nothing else."""

    @staticmethod
    def forward(ctx: Any, u: Any, k: Any, pre: Any, post: Any, skip: Any, part: SpectrumPart) -> Any:
        ctx.save_for_backward(u, k, pre, post, skip)
        ctx.part = part
        return run_forward(u, k, (pre, post, skip), part.plan, part.spectra(k), part.live)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        u, k, pre, post, skip = ctx.saved_tensors
        part, needs = ctx.part, ctx.needs_input_grad[:5]
        if torch.is_grad_enabled():

            def call(u: Any, k: Any, *gates: Any) -> torch.Tensor:
                return _composed(u, k, gates, part)

            return (*with_graph(call, ctx.saved_tensors, dy, needs), None)
        # as long as the spectrum: weights inside a tile reach all taps
        long = k if part.inside is None else torch.nn.functional.pad(k, (0, part.plan.size - k.shape[1]))
        grads = run_backward(dy, u, long, (pre, post, skip), part.plan, needs, part.spectra(k), part.live)
        if grads[1] is not None:
            dk = part.project(grads[1])
            grads[1] = torch.nn.functional.pad(dk, (0, k.shape[1] - dk.shape[1]))
        return (*grads, None)


def _composed(u: torch.Tensor, k: torch.Tensor, gates: Sequence[Any], part: SpectrumPart) -> torch.Tensor:
    """By torch's transforms, where a graph of the gradients is wanted."""
    plan = part.plan
    n, pre, post, skip = plan.size, *gates
    places = (2 * spectrum_order(plan.factors) - 1) % n  # of frequency 2 f - 1/2 of n among odd ones
    weights = np.zeros(n)
    weights[places] = weights[(-places - 1) % n] = part.weights
    turn = torch.exp(torch.arange(n, dtype=torch.float64) * (-1j * math.pi / n))

    def spectrum(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(torch.nn.functional.pad(x.double(), (0, n - x.shape[-1])) * turn)

    v = u if pre is None else u * pre
    product = spectrum(v) * spectrum(k[:, :n]) * torch.from_numpy(weights)
    y = (torch.fft.ifft(product) * turn.conj()).real[..., : u.shape[2]].to(u.dtype)
    y = y if post is None else post * y
    return y if skip is None else y + skip[:, None] * u
