"""A style-based generator and its discriminator, after StyleGAN2, small enough to train on a CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.generative.style_blocks import (
    EqualConv,
    EqualLinear,
    ModulatedConv,
    activate,
    blurring,
    resample,
    upsampling,
)

CHANNELS = (64, 64, 32, 32)


class MappingNetwork(torch.nn.Module):
    """Normal noise ``z`` to codes ``w``; remembers the mean code.

    Parameters
    ----------
    features : int
        Length of ``z`` and ``w``.
    layers : int
        Linear layers, which learn at a hundredth of the rate.
    """

    mean: torch.Tensor

    def __init__(self, features: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.features = check_int("features", features, low=1)
        self.layers = torch.nn.ModuleList(
            EqualLinear(features, features, rate=0.01) for _ in range(check_int("layers", layers, low=1))
        )
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, z: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """(B, features) to codes of the same shape, drawn towards their mean by ``truncation`` below one."""
        w = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            w = activate(layer(w))
        return w if truncation == 1 else self.mean + truncation * (w - self.mean)

    @torch.no_grad()
    def track(self, w: torch.Tensor, decay: float = 0.995) -> None:
        """Move the remembered mean towards that of a batch."""
        self.mean.lerp_(w.mean(dim=0), 1 - decay)


class StyleBlock(torch.nn.Module):
    """One resolution: an upsampling convolution (not in the first block), a second one, and colours.

    Parameters
    ----------
    in_channels, out_channels, style_features, resolution : int
        ``in_channels`` is zero in the first block, whose input is a learned constant.
    """

    up: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, style_features: int, resolution: int) -> None:
        super().__init__()
        self.first = in_channels == 0
        if self.first:
            self.constant = torch.nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = ModulatedConv(in_channels, out_channels, style_features)
            self.register_buffer("up", upsampling(resolution // 2), persistent=False)
        self.conv1 = ModulatedConv(out_channels, out_channels, style_features)
        self.rgb = ModulatedConv(out_channels, 3, style_features, size=1, demodulate=False)

    def forward(
        self, x: torch.Tensor, image: torch.Tensor, ws: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and the picture so far to those of twice the size; ``ws`` holds three codes (two at first)."""
        if self.first:
            x = self.constant.to(x.dtype).expand(len(x), -1, -1, -1)
            ws = (ws[0], *ws)
        else:
            # filtering commutes with the convolution: upsampling first equals a transposed one that is blurred after
            x = activate(self.conv0(resample(x, self.up), ws[0]))
            image = resample(image, self.up)
        x = activate(self.conv1(x, ws[1]))
        return x, image + self.rgb(x, ws[2]).float()


class StyleGenerator(torch.nn.Module):
    r"""A generator in the manner of StyleGAN2: mapping network, modulated convolutions, colours summed over scales.

    Layer ``l`` turns its code into the styles ``s = A_l w + b_l`` of its input channels; these ``A_l`` (the modules
    named ``blocks.<n>.conv0.affine`` and so on) hold the editable directions. There are no noise inputs: a picture is a
    function of its codes.

    Parameters
    ----------
    resolution : int
        Side of the pictures, a power of two of at least 8.
    channels : sequence of int
        Channels at sides 4, 8, ..., ``resolution``.
    features : int
        Length of ``z`` and ``w``.
    mapping_layers : int
        Layers of the mapping network.

    Attributes
    ----------
    mapping : MappingNetwork
        ``z`` (B, features) to ``w`` (B, features).
    n_codes : int
        Codes that a picture takes, L.

    Notes
    -----
    A convolution at side s with C channels takes 18 C^2 s^2 flops a picture; about 60 MFLOP at the defaults.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import StyleGenerator
    >>> G = StyleGenerator()
    >>> G(G.mapping(torch.randn(2, 64), truncation=0.7)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        resolution: int = 32,
        channels: Sequence[int] = CHANNELS,
        features: int = 64,
        mapping_layers: int = 4,
    ) -> None:
        super().__init__()
        self.resolution = _power(resolution, channels)
        self.mapping = MappingNetwork(features, mapping_layers)
        before = [0, *channels]
        self.blocks = torch.nn.ModuleList(
            StyleBlock(before[i], channel, features, 4 << i) for i, channel in enumerate(channels)
        )
        self.n_codes = 2 * len(channels)
        self.precision = torch.float32

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        """Codes (B, features), or one for each layer (B, L, features), to pictures (B, 3, side, side)."""
        features = self.mapping.features
        if w.ndim == 2:
            w = w[:, None].expand(-1, self.n_codes, -1)
        if w.ndim != 3 or w.shape[1:] != (self.n_codes, features):
            raise ShapeError(
                f"w has shape {tuple(w.shape)}: expected (B, {features}) or (B, {self.n_codes}, {features})"
            )
        codes = w.unbind(dim=1)
        x = w.new_empty(len(w), 0, dtype=self.precision)
        image = w.new_zeros(())
        for i, block in enumerate(self.blocks):
            # the colours of a block share the code of the next block's first convolution
            own = codes[:2] if i == 0 else codes[2 * i - 1 : 2 * i + 2]
            x, image = block(x, image, own)
        return image


class _DownBlock(torch.nn.Module):
    """Halves the side: two convolutions beside a filtered shortcut."""

    blur: torch.Tensor
    down: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int) -> None:
        super().__init__()
        self.conv0 = EqualConv(in_channels, in_channels)
        self.conv1 = EqualConv(in_channels, out_channels, stride=2)
        self.skip = EqualConv(in_channels, out_channels, size=1)
        self.bias0 = torch.nn.Parameter(torch.zeros(in_channels, 1, 1))
        self.bias1 = torch.nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.register_buffer("blur", blurring(resolution), persistent=False)
        self.register_buffer("down", upsampling(resolution // 2).T / 2, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = activate(self.conv0(x) + self.bias0.to(x.dtype))
        y = activate(self.conv1(resample(y, self.blur)) + self.bias1.to(x.dtype))
        return (y + self.skip(resample(x, self.down))) * math.sqrt(0.5)


class StyleDiscriminator(torch.nn.Module):
    """The residual discriminator of StyleGAN2: one number a picture, high for real ones.

    Parameters
    ----------
    resolution : int
        Side of the pictures.
    channels : sequence of int
        Channels at sides 4, 8, ..., ``resolution``.
    group : int
        Pictures whose spread is shown to the last layers, against generators of little variety.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import StyleDiscriminator
    >>> StyleDiscriminator()(torch.randn(4, 3, 32, 32)).shape
    torch.Size([4])
    """

    def __init__(self, resolution: int = 32, channels: Sequence[int] = CHANNELS, group: int = 4) -> None:
        super().__init__()
        self.resolution = _power(resolution, channels)
        self.group = check_int("group", group, low=1)
        sizes = list(channels)[::-1]
        self.enter = EqualConv(3, sizes[0], size=1)
        self.bias = torch.nn.Parameter(torch.zeros(sizes[0], 1, 1))
        self.blocks = torch.nn.ModuleList(
            _DownBlock(sizes[i], sizes[i + 1], resolution >> i) for i in range(len(sizes) - 1)
        )
        self.last = EqualConv(sizes[-1] + 1, sizes[-1])
        self.last_bias = torch.nn.Parameter(torch.zeros(sizes[-1], 1, 1))
        self.dense = EqualLinear(16 * sizes[-1], sizes[-1])
        self.score = EqualLinear(sizes[-1], 1)
        self.precision = torch.float32

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, side, side) to (B,)."""
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, self.resolution, self.resolution):
            raise ShapeError(
                f"image has shape {tuple(image.shape)}: expected (B, 3, {self.resolution}, {self.resolution})"
            )
        x = image.to(self.precision)
        x = activate(self.enter(x) + self.bias.to(x.dtype))
        for block in self.blocks:
            x = block(x)
        x = self._spread(x.float())
        x = activate(self.last(x) + self.last_bias)
        return self.score(activate(self.dense(x.flatten(1))))[:, 0]

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """Append the mean deviation within groups as a channel."""
        batch, _, high, wide = x.shape
        size = math.gcd(batch, self.group)
        groups = x.reshape(size, batch // size, *x.shape[1:])
        deviation = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(batch, 1, high, wide)], dim=1)


def sample_codes(
    generator: StyleGenerator, n: int, rng: torch.Generator, mixing: float = 0.0
) -> torch.Tensor:
    """Draw codes (n, L, features); with probability ``mixing`` the later layers of a picture take a second code."""
    check_int("n", n, low=1)
    check_float("mixing", mixing, low=0, high=1)
    mapping = generator.mapping
    z = torch.randn(2 * n if mixing else n, mapping.features, generator=rng)
    w = mapping(z)[:, None].expand(-1, generator.n_codes, -1)
    if not mixing:
        return w
    cut = torch.randint(1, generator.n_codes, (n, 1), generator=rng)
    cut = torch.where(torch.rand(n, 1, generator=rng) < mixing, cut, generator.n_codes)
    later = torch.arange(generator.n_codes) >= cut
    return torch.where(later[..., None], w[n:], w[:n])


def _power(resolution: int, channels: Sequence[int]) -> int:
    side = check_int("resolution", resolution, low=8)
    if 4 << (len(channels) - 1) != side:
        raise ArgumentError(
            f"channels={tuple(channels)}: expected one number for each of the sides 4, 8, ..., resolution={side}"
        )
    for channel in channels:
        check_int("channels", channel, low=1)
    return side


__all__ = ["MappingNetwork", "StyleDiscriminator", "StyleGenerator", "sample_codes"]
