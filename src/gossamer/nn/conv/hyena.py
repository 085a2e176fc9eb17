"""Hyena: attention replaced by gates and convolutions with implicit filters as long as the sequence."""

from __future__ import annotations

import math

import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer.nn.conv.depthwise import DepthwiseConv1d
from gossamer.nn.conv.flash_fft_conv import FlashFFTConv


class HyenaFilter(torch.nn.Module):
    r"""Filters of any length from a small network of the position, times a window that decays.

    .. math:: k_h(t) = \bigl(\mathrm{net}(t / L, \cos, \sin)_h\bigr) \, e^{-a_h t / L}

    Parameters
    ----------
    channels : int
        Filters.
    length : int
        L, to which positions are relative.
    width : int
        Of the network.
    bands : int
        Frequencies of the position's coordinates.
    """

    decay: torch.Tensor

    def __init__(self, channels: int, length: int, width: int = 64, bands: int = 8) -> None:
        super().__init__()
        self.length = check_int("length", length, low=1)
        self.bands = check_int("bands", bands, low=1)
        self.enter = torch.nn.Linear(2 * bands + 1, width)
        self.inner = torch.nn.Linear(width, width)
        self.leave = torch.nn.Linear(width, channels, bias=False)
        self.frequency = torch.nn.Parameter(torch.full((width,), 10.0))
        rates = torch.linspace(math.log(100) / 1.5, math.log(100) / 0.3, channels)
        self.register_buffer("decay", rates)

    def forward(self, length: int) -> torch.Tensor:
        """The first ``length`` taps (channels, length)."""
        t = torch.arange(length, dtype=self.decay.dtype) / self.length
        angles = 2 * math.pi * t[:, None] * torch.arange(1, self.bands + 1, dtype=t.dtype)
        x = torch.cat([t[:, None], angles.cos(), angles.sin()], dim=1).to(self.enter.weight.dtype)
        x = torch.sin(self.frequency * self.enter(x))
        x = torch.sin(self.frequency * self.inner(x))
        window = torch.exp(-self.decay[:, None] * t)
        return self.leave(x).T.contiguous() * window.to(x.dtype) / math.sqrt(self.length)


class HyenaOperator(torch.nn.Module):
    r"""Gates and long convolutions in turn, between two projections.

    .. math:: v \leftarrow x_i \odot (k_i * v), \quad i = 1, \dots, \text{order}

    of projections :math:`(x_1, \dots, v)` of the input after a short convolution. A direct term is the first tap of
    each filter. Each step is one fused call: its gate is multiplied at the store.

    Parameters
    ----------
    channels : int
        Width.
    length : int
        Longest sequence.
    order : int
        Convolutions; 2 as published.
    engine : str
        Of :class:`FlashFFTConv`.

    References
    ----------
    Poli et al., "Hyena Hierarchy: Towards Larger Convolutional Language Models", ICML 2023, arXiv 2302.10866.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import HyenaOperator
    >>> HyenaOperator(8, 64)(torch.randn(2, 50, 8)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(self, channels: int, length: int, order: int = 2, engine: str = "auto") -> None:
        super().__init__()
        self.channels, self.length = (
            check_int("channels", channels, low=1),
            check_int("length", length, low=1),
        )
        self.order = check_int("order", order, low=1)
        self.enter = torch.nn.Linear(channels, (order + 1) * channels)
        self.short = DepthwiseConv1d((order + 1) * channels, 3, layout="BLC")
        self.filters = HyenaFilter(order * channels, length)
        self.direct = torch.nn.Parameter(torch.randn(order, channels))
        self.leave = torch.nn.Linear(channels, channels)
        self.conv = FlashFFTConv(engine=engine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, channels) to the same, L at most ``length``."""
        if x.ndim != 3 or x.shape[2] != self.channels or x.shape[1] > self.length:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}: expected (B, L, {self.channels}) with L <= {self.length}"
            )
        parts = self.short(self.enter(x)).transpose(1, 2).contiguous().chunk(self.order + 1, dim=1)
        taps = self.filters(x.shape[1]).view(self.order, self.channels, -1)
        first = torch.zeros_like(taps[0])
        first[:, 0] = 1
        v = parts[-1].contiguous()
        for gate, k, direct in zip(parts[:-1], taps, self.direct, strict=True):
            v = self.conv(v, k + direct[:, None] * first, postgate=gate.contiguous())
        return self.leave(v.transpose(1, 2))


class HyenaBlock(torch.nn.Module):
    """A residual block of a sequence model: norm, Hyena operator, norm, two-layer perceptron.

    Parameters
    ----------
    channels, length, order : int
        As in :class:`HyenaOperator`.
    expansion : int
        Width of the perceptron, in channels.
    engine : str
        Of :class:`FlashFFTConv`.
    """

    def __init__(
        self, channels: int, length: int, order: int = 2, expansion: int = 2, engine: str = "auto"
    ) -> None:
        super().__init__()
        self.first, self.second = torch.nn.LayerNorm(channels), torch.nn.LayerNorm(channels)
        self.operator = HyenaOperator(channels, length, order, engine)
        self.perceptron = torch.nn.Sequential(
            torch.nn.Linear(channels, expansion * channels),
            torch.nn.GELU(),
            torch.nn.Linear(expansion * channels, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, channels) to the same."""
        x = x + self.operator(self.first(x))
        return x + self.perceptron(self.second(x))
