"""Convolutions with part of the spectrum left out, and not computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels.fftconv import lanes
from gossamer.linalg.transforms.fft_conv.chains import cheapest_radices, next_smooth
from gossamer.linalg.transforms.fft_conv.lowpass import lowpass_fft_conv
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan, plan_fft_conv
from gossamer.linalg.transforms.fft_conv.resample import FACTORS, CoarseGrid
from gossamer.linalg.transforms.fft_conv.spectrum_part import SpectrumPart, frequencies, sparse_fft_conv
from gossamer.nn.conv.flash_fft_conv import check_inputs

MODES = ("block", "lowpass")


def pattern_for(sparsity: float, factors: Sequence[int]) -> tuple[int, ...]:
    """How many last indices to leave out on each axis, so that a share ``sparsity`` of the spectrum is zero.

    Axes are halved one after the other, from the first on, as often as the share needs; the last cut is the nearest
    that the axis has. Leaving out indices of an early axis saves most.

    Parameters
    ----------
    sparsity : float
        In [0, 1).
    factors : sequence of int
        Lengths of the axes.

    Returns
    -------
    pattern : tuple of int
        a, for zeros where ``index_i >= factors_i - a_i`` on some axis.

    Examples
    --------
    >>> from gossamer.nn import pattern_for
    >>> pattern_for(0.75, (32, 32, 32, 32))
    (16, 16, 0, 0)
    """
    check_float("sparsity", sparsity, low=0, high=1, closed="left")
    kept, target = [check_int("factors", f, low=1) for f in factors], 1 - sparsity
    share = 1.0
    while share > target * (1 + 1e-9):
        axes = [i for i, (count, length) in enumerate(zip(kept, factors, strict=True)) if count > 1]
        if not axes:
            break
        most = max(kept[i] / factors[i] for i in axes)
        axis = next(i for i in axes if kept[i] / factors[i] == most)
        wanted = max(kept[axis] // 2, round(kept[axis] * target / share), 1)
        if wanted == kept[axis]:
            break
        share *= wanted / kept[axis]
        kept[axis] = wanted
    return tuple(length - count for count, length in zip(kept, factors, strict=True))


class FrequencySparseFFTConv(torch.nn.Module):
    r"""Padded convolution of which only some frequencies of the filter are kept; the rest is not computed.

    The spectrum lies on odd multiples of :math:`\pi / N`, where no frequency is its own mirror: N / 2 numbers stand for
    all, every one for itself and its mirror. So any of them may be left out and the result stays real.

    Parameters
    ----------
    pattern : sequence of int, optional
        Zeros on the last ``pattern[i]`` indices of axis i of the spectrum's view, one for each of ``explain().factors``
        (missing ones are 0).
    sparsity : float, optional
        Share to leave out; :func:`pattern_for` chooses the pattern, on the axes that can be skipped.
    n_partial : int, optional
        For mode "lowpass": keep frequencies below ``n_partial / 2`` of N.
    mode : {"block", "lowpass"}
        Blocks of Monarch order, or all low frequencies.

    Raises
    ------
    ArgumentError
        If not exactly one of ``pattern``, ``sparsity`` and ``n_partial`` is given, or it does not fit.

    Notes
    -----
    Skipped are tiles, all axes but the last two, forward and backward (:meth:`kept` says how many). Low frequencies are
    spread over all tiles; but they are a convolution on a grid 2 to 16 times as coarse, of which they take a half: rows
    are smoothed and sampled, convolved there, and brought back by the transpose. A spectrum with zeros belongs to a
    filter of N taps, which wraps around with a change of sign at N, as the literal definition does.

    References
    ----------
    Fu, Kumbong, Nguyen and Ré, "FlashFFTConv", ICLR 2024, arXiv 2311.05908, section 3.3.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import FrequencySparseFFTConv
    >>> conv = FrequencySparseFFTConv(sparsity=0.5)
    >>> u, k = torch.randn(2, 4, 4096), torch.randn(4, 4096)
    >>> conv(u, k).shape, conv.kept(u, k)
    (torch.Size([2, 4, 4096]), (0.5, 0.5))
    """

    def __init__(
        self,
        pattern: Sequence[int] | None = None,
        *,
        sparsity: float | None = None,
        n_partial: int | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__()
        mode = check_choice("mode", mode or ("lowpass" if n_partial is not None else "block"), MODES)
        given = [
            name
            for name, x in (("pattern", pattern), ("sparsity", sparsity), ("n_partial", n_partial))
            if x is not None
        ]
        if len(given) != 1 or (mode == "lowpass") != (given == ["n_partial"]):
            raise ArgumentError(
                f"mode={mode!r} with {given}: expected one of pattern and sparsity for 'block', n_partial for 'lowpass'"
            )
        self.pattern = None if pattern is None else tuple(check_int("pattern", a, low=0) for a in pattern)
        self.sparsity = (
            None if sparsity is None else check_float("sparsity", sparsity, low=0, high=1, closed="left")
        )
        self.n_partial = None if n_partial is None else check_int("n_partial", n_partial, low=1)
        self.mode = mode
        self._parts: dict[FFTConvPlan, SpectrumPart] = {}

    def forward(
        self,
        u: torch.Tensor,
        k: torch.Tensor,
        pregate: torch.Tensor | None = None,
        postgate: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Convolve; arguments and result are those of :class:`FlashFFTConv`."""
        u, k, gates = check_inputs(u, k, (pregate, postgate), skip)
        plan, grid = self._plan(u, k)
        if grid is None:
            return sparse_fft_conv(u, k, gates, self._part(plan))
        pre, post, skip = gates
        v = (u if pre is None else pre * u).to(k.dtype)
        y = lowpass_fft_conv(v, k[:, : plan.size].contiguous(), grid, _coarse_part(grid)).to(u.dtype)
        y = y if post is None else post * y
        return y if skip is None else y + skip[:, None] * u

    def mask(self, plan: FFTConvPlan) -> np.ndarray:
        """Which of the ``plan.points`` numbers are kept, bool, in the order of the plan's spectrum."""
        if self.mode == "lowpass":
            return np.abs(frequencies(plan.factors)) < self.n_partial / 2  # type: ignore[operator]
        pattern = self.pattern
        if pattern is None:
            outer = plan.factors[:-2]
            pattern = pattern_for(self.sparsity or 0.0, outer if math.prod(outer) > 1 else plan.factors)
        if len(pattern) > len(plan.factors) or any(
            a >= f for a, f in zip(pattern, plan.factors, strict=False)
        ):
            raise ArgumentError(f"pattern={pattern}: expected numbers below the factors {plan.factors}")
        keep = np.ones(plan.factors, bool)
        for axis, left_out in enumerate(pattern):
            keep &= (np.arange(plan.factors[axis]) < plan.factors[axis] - left_out).reshape(
                -1, *(1,) * (len(plan.factors) - axis - 1)
            )
        return keep.reshape(-1)

    def kept(self, u: torch.Tensor, k: torch.Tensor) -> tuple[float, float]:
        """Shares of the spectrum that are kept, and that are computed."""
        plan, grid = self._plan(u, k)
        mask = self.mask(plan)
        if grid is not None:
            return float(mask.mean()), 1 / grid.factor
        return float(mask.mean()), float(mask.reshape(-1, plan.factors[-1] ** 2).any(axis=1).mean())

    def explain(self, u: torch.Tensor, k: torch.Tensor) -> FFTConvPlan:
        """The plan, whose ``factors`` are the axes of the pattern."""
        u, k, _ = check_inputs(u, k, (None, None), None)
        return self._plan(u, k)[0]

    def _plan(self, u: torch.Tensor, k: torch.Tensor) -> tuple[FFTConvPlan, CoarseGrid | None]:
        kind = "float64" if u.dtype == torch.float64 else "float32"
        length, taps, channels = u.shape[2], k.shape[-1], u.shape[1]
        if self.n_partial is not None:
            grid = _coarse_grid(max(1, length + min(taps, length) - 1), self.n_partial, kind)
            if grid is not None:
                return _columns(grid.coarse * grid.factor, kind), grid
        plan = plan_fft_conv(length, taps, channels=channels, dtype=kind, engine="codelet")
        return plan if plan.columns else _columns(1, kind), None  # too short for a tile: padded to one

    def _part(self, plan: FFTConvPlan) -> SpectrumPart:
        known = self._parts.get(plan)
        if known is None:
            known = SpectrumPart(self.mask(plan), plan)
            self._parts = {plan: known}
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": {}}

    def extra_repr(self) -> str:
        """What is left out."""
        return f"pattern={self.pattern}, sparsity={self.sparsity}, n_partial={self.n_partial}, mode={self.mode!r}"


def _columns(size: int, dtype: str) -> FFTConvPlan:
    """The plan for ``size`` real numbers, or one tile."""
    square = lanes(dtype) ** 2
    rest = max(1, size // (2 * square))
    half = rest * square
    return plan_fft_conv(
        half, half, dtype=dtype, engine="codelet", factors=(*cheapest_radices(rest), *(lanes(dtype),) * 2)
    )


@lru_cache(maxsize=64)
def _coarse_grid(size: int, n_partial: int, dtype: str) -> CoarseGrid | None:
    """The coarsest grid that the band takes a half of, where it needs little more padding than ``size`` does."""
    tile = 2 * lanes(dtype) ** 2
    for factor in FACTORS:
        coarse = next_smooth(-(-size // factor), tile)
        if coarse >= 2 * n_partial and factor * coarse <= max(1.25 * size, 2 * tile):
            return CoarseGrid(coarse, factor, n_partial / 2, dtype)
    return None


@lru_cache(maxsize=16)
def _coarse_part(grid: CoarseGrid) -> SpectrumPart:
    """The band on the coarse ring, with what the windows did to input, filter and output divided out."""
    plan = _columns(grid.coarse, grid.dtype)
    frequency = frequencies(plan.factors)
    keep = np.abs(frequency) < grid.band
    weights = np.zeros(plan.points)
    weights[keep] = grid.factor**2 / grid.response(frequency[keep]) ** 3
    return SpectrumPart(weights, plan)
