"""The parts of a style-based generator: equalised layers, modulated convolutions, resampling."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from gossamer._core.checks import check_int


class EqualLinear(torch.nn.Module):
    r"""A linear layer whose learning rate does not depend on its size: ``y = (m / sqrt(K)) W x + m b``.

    Parameters
    ----------
    in_features, out_features : int
        K and O.
    bias_init : float
        What ``m b`` starts at.
    rate : float
        m, the multiplier of the learning rate.
    """

    def __init__(
        self, in_features: int, out_features: int, bias_init: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, low=1)
        self.out_features = check_int("out_features", out_features, low=1)
        self.rate, self.gain = rate, rate / math.sqrt(in_features)
        self.weight = torch.nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = torch.nn.Parameter(torch.full((out_features,), bias_init / rate))

    def effective_weight(self) -> torch.Tensor:
        """The matrix that inputs are multiplied by, (O, K)."""
        return self.weight * self.gain

    def effective_bias(self) -> torch.Tensor:
        """What is added, (O,)."""
        return self.bias * self.rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., K) to (..., O)."""
        return F.linear(x, self.effective_weight(), self.effective_bias())


class EqualConv(torch.nn.Module):
    """A convolution with a normally distributed kernel that is scaled at run time; no change of size.

    Parameters
    ----------
    in_channels, out_channels, size : int
        Of the kernel.
    stride : int
        Steps of the output.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.gain, self.stride = 1 / math.sqrt(in_channels * size * size), stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        padding = self.weight.shape[-1] // 2
        weight = (self.weight * self.gain).to(x.dtype)
        return F.conv2d(x, weight, stride=self.stride, padding=padding)


class ModulatedConv(torch.nn.Module):
    r"""A convolution whose input channels are scaled by a style ``s = A w + b``, and its outputs normalised.

    The kernel of a sample is :math:`W_{oi} s_i / \sqrt{\sum_{i} s_i^2 W_{oi}^2}`; scaling the inputs before a shared
    convolution and its outputs after gives the same, without a kernel for each sample.

    Parameters
    ----------
    in_channels, out_channels, style_features : int
        Channels, and the length of ``w``.
    size : int
        Of the kernel.
    demodulate : bool
        Whether outputs are normalised; colours are not.
    """

    affine: torch.nn.Module

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_features: int,
        size: int = 3,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = EqualConv(in_channels, out_channels, size)
        self.affine = EqualLinear(style_features, in_channels, bias_init=1.0)
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))
        self.demodulate = demodulate

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and codes (B, style_features) to (B, C', H, W)."""
        style = self.affine(w)
        y = self.kernel(x * style[:, :, None, None].to(x.dtype))
        if self.demodulate:
            energy = (self.kernel.weight * self.kernel.gain).square().sum(dim=(2, 3))
            y = y * torch.rsqrt(style.square() @ energy.T + 1e-8)[:, :, None, None].to(x.dtype)
        return y + self.bias[:, None, None].to(x.dtype)


def activate(x: torch.Tensor) -> torch.Tensor:
    """The leaky rectifier, at unit variance for normal inputs."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def upsampling(size: int) -> torch.Tensor:
    """The (2 size, size) matrix of zeros between samples and the filter [1, 3, 3, 1] / 4, edges repeated."""
    identity = torch.eye(size)[:, None]
    return F.interpolate(identity, scale_factor=2, mode="linear")[:, 0].T.contiguous()


def blurring(size: int) -> torch.Tensor:
    """The (size, size) matrix of the filter [1, 2, 1] / 4, edges repeated."""
    identity = F.pad(torch.eye(size)[:, None], (1, 1), mode="replicate")
    return F.conv1d(identity, torch.tensor([[[0.25, 0.5, 0.25]]]))[:, 0].T.contiguous()


def resample(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Apply one matrix to both sides of every picture: ``M X M^T``, products that differentiate to any order."""
    M = matrix.to(x.dtype)
    return M @ x @ M.T
