"""A small network that reads the factors off a picture; its features measure how different pictures look."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer.datasets.shape_images import FACTORS, RANGES, SHAPES

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes two batches of pictures (B, 3, side, side); returns a number for each pair (B,)."""

OUTPUTS = len(SHAPES) + 6
_BOUNDED = ("x", "y", "size", "background")


class FactorReader(torch.nn.Module):
    """Reads shape, position, size, hue and background off pictures of :func:`gossamer.datasets.factor_images`.

    Parameters
    ----------
    width : int
        Channels of the first convolution.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import FactorReader
    >>> FactorReader()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 9])
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        check_int("width", width, low=1)
        sizes = (3, width, 2 * width, 2 * width, 2 * width)
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(sizes[i], sizes[i + 1], 3, stride=1 if i == 0 else 2, padding=1) for i in range(4)
        )
        self.dense = torch.nn.Linear(sizes[-1] * 16, 96)
        self.read = torch.nn.Linear(96, OUTPUTS)

    def layers(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features after each convolution, (B, C, H, W) each."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ShapeError(f"images have shape {tuple(images.shape)}: expected (B, 3, side, side)")
        found, x = [], images
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.1)
            found.append(x)
        return found

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """What the factors are read from, (B, 96); pictures of 32 x 32."""
        return F.leaky_relu(self.dense(self.layers(images)[-1].flatten(1)), 0.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the shapes, x, y, size and background scaled to [-1, 1], sine and cosine of the hue: (B, 9)."""
        return self.read(self.features(images))

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """How different two batches look, (B,): squared differences of features of unit length, over all layers.

        In the manner of LPIPS (Zhang et al., CVPR 2018), with this network instead of one trained on photographs.
        """
        pairs = zip(self.layers(first), self.layers(second), strict=True)
        return torch.stack(
            [(_unit(a) - _unit(b)).square().sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]
        ).sum(dim=0)

    @torch.no_grad()
    def factors(self, images: torch.Tensor) -> np.ndarray:
        """Estimates in the columns of :data:`gossamer.datasets.shape_images.FACTORS`, (n, 6)."""
        out = _in_batches(self, images)
        found = {name: _unscaled(name, out[:, len(SHAPES) + i]) for i, name in enumerate(_BOUNDED)}
        found["shape"] = out[:, : len(SHAPES)].argmax(dim=1)
        found["hue"] = torch.atan2(out[:, -2], out[:, -1]) / (2 * math.pi) % 1
        return np.stack([found[name].numpy() for name in FACTORS], axis=1)

    @torch.no_grad()
    def changes(self, first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
        """How far each factor differs between two batches, (n, 6).

        Total variation of the probabilities of the shapes, the shorter way around for the hue, else the difference.
        """
        a, b = self.factors(first), self.factors(second)
        change = np.abs(a - b)
        hue = FACTORS.index("hue")
        change[:, hue] = np.minimum(change[:, hue], 1 - change[:, hue])
        p, q = (_in_batches(self, x)[:, : len(SHAPES)].softmax(dim=1) for x in (first, second))
        change[:, FACTORS.index("shape")] = (p - q).abs().sum(dim=1).numpy() / 2
        return change


def train_factor_reader(
    images: torch.Tensor,
    factors: Any,
    *,
    steps: int = 2500,
    batch: int = 64,
    rate: float = 3e-3,
    seed: int = 0,
) -> FactorReader:
    """Train a reader: cross entropy of the shape and squared errors of the others, Adam with a cosine schedule.

    Parameters
    ----------
    images : tensor, shape (n, 3, 32, 32)
    factors : array, shape (n, 6)
        As :func:`gossamer.datasets.factor_images` gives them.
    steps, batch, rate, seed
        Of the training.

    Returns
    -------
    FactorReader
    """
    targets = torch.from_numpy(np.asarray(factors, np.float32))
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    reader = FactorReader()
    optimiser = torch.optim.Adam(reader.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, check_int("steps", steps, low=1))
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=rng)
        loss = _loss(reader(images[chosen]), targets[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return reader.eval()


def read_quality(reader: FactorReader, images: torch.Tensor, factors: Any) -> dict[str, float]:
    """The share of each factor's variance that the reader explains; of the shape, the accuracy.

    Parameters
    ----------
    reader : FactorReader
    images : tensor, shape (n, 3, 32, 32)
        That it was not trained on.
    factors : array, shape (n, 6)
        The truth.
    """
    truth, found = np.asarray(factors, np.float64), reader.factors(images).astype(np.float64)
    quality = {}
    for i, name in enumerate(FACTORS):
        error = found[:, i] - truth[:, i]
        if name == "shape":
            quality[name] = float((error == 0).mean())
            continue
        if name == "hue":
            error = (error + 0.5) % 1 - 0.5
        quality[name] = float(1 - (error**2).mean() / truth[:, i].var())
    return quality


def _loss(out: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    names = dict(zip(FACTORS, targets.T, strict=True))
    n = len(SHAPES)
    shape = F.cross_entropy(out[:, :n], names["shape"].long())
    bounded = torch.stack([_scaled(name, names[name]) for name in _BOUNDED], dim=1)
    angle = 2 * math.pi * names["hue"]
    hue = torch.stack([angle.sin(), angle.cos()], dim=1)
    return shape + (out[:, n:] - torch.cat([bounded, hue], dim=1)).square().sum(dim=1).mean()


def _scaled(name: str, value: torch.Tensor) -> torch.Tensor:
    low, high = RANGES[name]
    return 2 * (value - low) / (high - low) - 1


def _unscaled(name: str, value: torch.Tensor) -> torch.Tensor:
    low, high = RANGES[name]
    return low + (value + 1) * (high - low) / 2


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + 1e-10)


def _in_batches(reader: FactorReader, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([reader(piece) for piece in images.split(500)])
