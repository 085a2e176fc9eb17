"""Convolutions with part of the spectrum left out, and not computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.linalg.transforms.fft_conv.autograd import tensor_fft_conv
from gossamer.linalg.transforms.fft_conv.chains import spectrum_order
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan, plan_fft_conv
from gossamer.linalg.transforms.fft_conv.run import spectra_of
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
    What is saved are tiles: all axes but the last two (:meth:`kept` says how many). Low frequencies are spread over all
    tiles, so "lowpass" changes the result but saves nothing. A spectrum with zeros belongs to a filter of N taps, which
    wraps around with a change of sign at N, as the literal definition does.

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
        plan = self._plan(u, k)
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (u, k, *gates)):
            return self._dense(u, k, gates, plan)
        mask = self.mask(plan)
        width = plan.factors[-1]
        live = mask.reshape(-1, width * width).any(axis=1)
        spectra = spectra_of(plan, to_numpy(k)).reshape(len(k), -1, width, 2, width)
        # in memory the last axis but one is the lane
        spectra *= mask.reshape(-1, width, width).transpose(0, 2, 1)[:, :, None, :]
        return tensor_fft_conv(u, k, gates, plan, spectra.reshape(len(k), -1), live.astype(np.uint8))

    def mask(self, plan: FFTConvPlan) -> np.ndarray:
        """Which of the ``plan.points`` numbers are kept, bool, in the order of the plan's spectrum."""
        if self.mode == "lowpass":
            frequency = (2 * spectrum_order(plan.factors) - 0.5 + plan.points) % (
                2 * plan.points
            ) - plan.points
            return np.abs(frequency) < self.n_partial / 2  # type: ignore[operator]
        pattern = self.pattern
        if pattern is None:
            pattern = pattern_for(
                self.sparsity or 0.0, plan.factors[:-2] if math.prod(plan.factors[:-2]) > 1 else plan.factors
            )
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
        plan = self._plan(u, k)
        mask = self.mask(plan)
        return float(mask.mean()), float(mask.reshape(-1, plan.factors[-1] ** 2).any(axis=1).mean())

    def explain(self, u: torch.Tensor, k: torch.Tensor) -> FFTConvPlan:
        """The plan, whose ``factors`` are the axes of the pattern."""
        u, k, _ = check_inputs(u, k, (None, None), None)
        return self._plan(u, k)

    def _plan(self, u: torch.Tensor, k: torch.Tensor) -> FFTConvPlan:
        kind = "float64" if u.dtype == torch.float64 else "float32"
        plan = plan_fft_conv(u.shape[2], k.shape[-1], channels=u.shape[1], dtype=kind, engine="codelet")
        if plan.columns:
            return plan
        from gossamer._kernels.fftconv import lanes

        width = lanes(kind)  # too short for a tile: padded to one
        return plan_fft_conv(
            u.shape[2],
            k.shape[-1],
            channels=u.shape[1],
            dtype=kind,
            engine="codelet",
            factors=(1, width, width),
        )

    def _dense(self, u: torch.Tensor, k: torch.Tensor, gates: Any, plan: FFTConvPlan) -> torch.Tensor:
        """With gradients: the masked filter first, by one transform more, then its convolution."""
        n, work = plan.size, k.dtype
        turn = torch.exp(torch.arange(n, dtype=torch.float64) * (-1j * math.pi / n)).to(torch.complex128)
        mask = np.zeros(n, bool)
        odd = 2 * spectrum_order(plan.factors) % n  # frequency 2 f - 1/2 of N is place f' with (2 f' + 1) / 2
        kept = self.mask(plan)
        places = (odd - 1) % n
        mask[places[kept]] = True
        mask[(-places[kept] - 1) % n] = True
        spectrum = torch.fft.fft(
            torch.nn.functional.pad(k.double()[:, :n], (0, max(0, n - k.shape[1]))) * turn
        )
        long = (torch.fft.ifft(spectrum * torch.from_numpy(mask)) * turn.conj()).real
        v = u.to(work) if gates[0] is None else (u * gates[0]).to(work)
        turned = torch.fft.fft(torch.nn.functional.pad(v.double(), (0, n - v.shape[2])) * turn)
        y = (
            (torch.fft.ifft(turned * torch.fft.fft(long * turn)) * turn.conj())
            .real[..., : u.shape[2]]
            .to(u.dtype)
        )
        y = y if gates[1] is None else gates[1] * y
        return y if gates[2] is None else y + gates[2][:, None] * u

    def extra_repr(self) -> str:
        """What is left out."""
        return f"pattern={self.pattern}, sparsity={self.sparsity}, n_partial={self.n_partial}, mode={self.mode!r}"
