"""A layer whose filter is learned tap by tap, as long as the sequence."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.nn.conv.flash_fft_conv import FlashFFTConv


class LongConv(torch.nn.Module):
    r"""Causal convolution with a learned filter of L taps a channel, a direct term, and a gated output.

    .. math:: y = \mathrm{GLU}\bigl(W\, \mathrm{gelu}(u * \mathrm{squash}(k) + D u)\bigr),
              \qquad \mathrm{squash}(k) = \mathrm{sign}(k) \max(|k| - \lambda, 0)

    Parameters
    ----------
    channels : int
        Of inputs and outputs.
    length : int
        L, taps; longer sequences see no further back.
    squash : float
        lambda: taps below it are zero, which regularises filters this long.
    engine : str
        Of :class:`FlashFFTConv`.

    Raises
    ------
    ArgumentError
        If a size is less than one or ``squash`` is negative.

    References
    ----------
    Fu et al., "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", ICML 2023, arXiv 2302.06646.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import LongConv
    >>> LongConv(8, 100)(torch.randn(2, 100, 8)).shape
    torch.Size([2, 100, 8])
    """

    def __init__(self, channels: int, length: int, squash: float = 0.003, engine: str = "auto") -> None:
        super().__init__()
        self.channels = check_int("channels", channels, low=1)
        self.length = check_int("length", length, low=1)
        self.squash = check_float("squash", squash, low=0)
        decay = torch.exp(-torch.linspace(0, 4, length) * torch.linspace(0.25, 4, channels)[:, None])
        self.kernel = torch.nn.Parameter(0.1 * torch.randn(channels, length) * decay)
        self.skip = torch.nn.Parameter(torch.randn(channels))
        self.mix = torch.nn.Linear(channels, 2 * channels)
        self.conv = FlashFFTConv(engine=engine)

    def filters(self) -> torch.Tensor:
        """The filters (H, L) after squashing."""
        return torch.nn.functional.softshrink(self.kernel, self.squash)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, H) to (B, L, H)."""
        if x.ndim != 3 or x.shape[2] != self.channels:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected (B, L, {self.channels})")
        y = self.conv(x.transpose(1, 2).contiguous(), self.filters(), skip=self.skip)
        return torch.nn.functional.glu(self.mix(torch.nn.functional.gelu(y.transpose(1, 2))), dim=-1)
