"""A convolutional network on two or more levels that proposes search directions for the residual of a grid system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import FormatError, ShapeError
from gossamer._core.files import atomic_path

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}
SIZES = ("dim", "channels", "n_fine", "n_coarse", "n_up", "n_back", "levels", "bias", "relu")
COARSEST = 2
"""Cells along the longest edge of the last level, where the number of levels is left open."""


class ConjugateDirectionNet(nn.Module):
    r"""Propose a search direction :math:`z \approx c A^{-1} r`, c any number, for a residual r on a grid.

    Convolutions of :math:`3^d` cells on the grid and on one of half its resolution that averages are carried to, as
    published; or on coarser and coarser ones down to a few cells, all with the weights of the second. Then waves as
    long as the grid are met in one direction, whatever its size. Nothing depends on the place or on the grid, so that
    weights that were trained on one serve on any other.

    Parameters
    ----------
    dim : int
        2 or 3, dimensions of the grid.
    channels : int
        Of every level.
    n_fine, n_coarse, n_up : int
        Residual blocks on the fine grid, on a coarse one, and on the fine grid after the way back. Published: 1, 3, 2
        for grids of 64 cells an edge, 2, 5, 3 for 128.
    n_back : int
        Residual blocks of a coarse level after the way back from the one under it; unused with two levels.
    levels : int or None
        At least 2, as published; None halves the resolution until the longest edge has 2 cells.
    bias : bool
        Without biases a multiple of a residual has that multiple of the direction, and levels on which the same
        residual is of another size can share weights: the choice for more than two levels.
    relu : bool
        False leaves out the activations: then a direction is linear in its residual.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Notes
    -----
    With the defaults 32,657 weights in two dimensions, 97,457 in three. Per cell ``2 * 3**d * channels**2`` flops a
    fine layer, of which there are ``2 + 2 (n_fine + n_up)``; coarse ones cost :math:`2^d` times less, and with all
    levels together ``1 / (2**d - 1)`` of a fine one each.

    References
    ----------
    Kaneda, Akar, Chen, Kala, Hyde and Teran, "A deep conjugate direction method for iteratively solving linear
    systems", ICML 2023, arXiv 2205.10763, figure 3.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import ConjugateDirectionNet
    >>> ConjugateDirectionNet(dim=2)(torch.randn(4, 1, 30, 21)).shape
    torch.Size([4, 1, 30, 21])
    """

    def __init__(
        self,
        dim: int = 2,
        channels: int = 16,
        n_fine: int = 1,
        n_coarse: int = 3,
        n_up: int = 2,
        *,
        n_back: int = 1,
        levels: int | None = 2,
        bias: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.dim = int(check_choice("dim", dim, CONV))
        self.channels = check_int("channels", channels, low=1)
        self.n_fine = check_int("n_fine", n_fine, low=0)
        self.n_coarse = check_int("n_coarse", n_coarse, low=0)
        self.n_up = check_int("n_up", n_up, low=0)
        self.n_back = check_int("n_back", n_back, low=0)
        self.levels = None if levels is None else check_int("levels", levels, low=2)
        self.bias, self.relu = (
            bool(check_choice("bias", bias, (0, 1))),
            bool(check_choice("relu", relu, (0, 1))),
        )
        deep = self.levels != 2
        self.lift = self._conv(1)
        self.first, self.last = self._conv(channels), self._conv(channels)
        self.fine, self.coarse, self.up, self.back = (
            nn.ModuleList(_Block(self._conv(channels), self._conv(channels), self.relu) for _ in range(count))
            for count in (n_fine, n_coarse, n_up, n_back if deep else 0)
        )
        self.bridge = CONV[dim](channels, channels, 1, bias=self.bias) if deep else None
        self.head = CONV[dim](channels, 1, 1, bias=self.bias)
        self.to(memory_format=FORMAT[dim])  # type: ignore[call-overload]

    @property
    def sizes(self) -> dict[str, int | None]:
        """The arguments that make a network of the same shape."""
        return {name: getattr(self, name) for name in SIZES}

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """Directions (B, 1, \\*grid) for residuals (B, 1, \\*grid); odd edges are padded where they are halved."""
        if r.ndim != self.dim + 2 or r.shape[1] != 1:
            raise ShapeError(f"r has shape {tuple(r.shape)}: expected (B, 1, *grid) with {self.dim} axes")
        h = self._act(self.first(self.lift(r.contiguous(memory_format=FORMAT[self.dim]))))
        for block in self.fine:
            h = block(h)
        skip = self._act(self.last(h))
        h = self._raised(self._below(self._lowered(skip), 1), skip) + skip
        for block in self.up:
            h = block(h)
        return self.head(h)

    def _below(self, h: torch.Tensor, level: int) -> torch.Tensor:
        """A coarse level and, where there are more, those under it: the same weights for all."""
        for block in self.coarse:
            h = block(h)
        if self.bridge is not None and self._goes_on(level, h.shape[2:]):
            h = h + self._raised(self.bridge(self._below(self._lowered(h), level + 1)), h)
            for block in self.back:
                h = block(h)
        return h

    def _act(self, h: torch.Tensor) -> torch.Tensor:
        return F.relu(h) if self.relu else h

    def _goes_on(self, level: int, grid: torch.Size) -> bool:
        return max(grid) > COARSEST if self.levels is None else level + 1 < self.levels

    def _lowered(self, h: torch.Tensor) -> torch.Tensor:
        """Half the resolution by means of 2 cells an axis; an odd edge is padded by zeros."""
        grid = h.shape[2:]
        odd = [side for points in reversed(grid) for side in (0, points % 2 if points > 1 else 0)]
        return POOL[self.dim](F.pad(h, odd) if any(odd) else h, [min(points, 2) for points in grid])

    def _raised(self, g: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Twice the resolution by repetition, cut to the grid of ``like``."""
        grid = like.shape[2:]
        g = F.interpolate(g, scale_factor=[min(points, 2) for points in grid], mode="nearest")
        inside: tuple[Any, ...] = (..., *(slice(points) for points in grid))
        return g[inside]

    def __repr__(self) -> str:
        return f"ConjugateDirectionNet({', '.join(f'{name}={size}' for name, size in self.sizes.items())})"

    def _conv(self, channels: int) -> nn.Module:
        return CONV[self.dim](channels, self.channels, 3, padding=1, bias=self.bias)


class _Block(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module, relu: bool) -> None:
        super().__init__()
        self.first, self.second, self.relu = first, second, relu

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        if not self.relu:
            return self.second(self.first(u)) + u
        return F.relu(self.second(F.relu(self.first(u)))) + u


def load_conjugate_direction_net(
    dim: int = 2, path: str | os.PathLike[str] | None = None, *, published: bool = False
) -> ConjugateDirectionNet:
    """Load a trained network: one of those that come with gossamer, or one from a file.

    Those have all levels, no biases and no ReLU: what they are trained for is linear in the residual, and a direction
    that is too keeps to the conjugacy of the few that are remembered. ``python -m gossamer.science.fluids train`` is
    the command that made them; the metadata of the files say on which grids and for how long. They serve on other
    grids and around obstacles. With ``published`` two levels, biases and ReLU, trained for some minutes.

    Parameters
    ----------
    dim : int
        2 or 3, dimensions of the grid.
    path : path, optional
        A file that :func:`save_conjugate_direction_net` wrote.
    published : bool
        The architecture of the paper; without a path.

    Returns
    -------
    ConjugateDirectionNet
        Ready to evaluate.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of another network.
    ArgumentError
        If there is no such dimension.

    Examples
    --------
    >>> from gossamer.nn import load_conjugate_direction_net
    >>> load_conjugate_direction_net(2, published=True).sizes["levels"]
    2
    """
    check_choice("dim", dim, CONV)
    own = f"conjugate_direction_{dim}d{'_published' if published else ''}.safetensors"
    file = Path(__file__).with_name(own) if path is None else Path(path)
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            metadata = handle.metadata() or {}
            sizes = _sizes(metadata)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise FormatError(f"{file}: no such file") from None
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise FormatError(f"{file}: not a whole file of this kind ({error})") from None
    if sizes["dim"] != dim or max(sizes.values()) > 1024 or min(sizes.values()) < 0:
        raise FormatError(f"{file}: holds a network with {sizes}, expected dim={dim}")
    try:
        shape: dict[str, Any] = {**sizes, "levels": sizes["levels"] or None}
        net = ConjugateDirectionNet(**shape)
        net.load_state_dict(tensors)
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"{file}: its weights do not fit the network that it names ({error})") from None
    if not all(bool(torch.isfinite(weight).all()) for weight in net.parameters()):
        raise FormatError(f"{file}: has weights that are NaN or infinite")
    return net.eval()


def _sizes(metadata: dict[str, str]) -> dict[str, int]:
    """Sizes of a network as numbers; 0 levels are as many as the grid allows."""
    return {name: int(metadata[name]) for name in SIZES}


def save_conjugate_direction_net(
    net: ConjugateDirectionNet, path: str | os.PathLike[str], **facts: object
) -> None:
    """Write a network, atomically, so that :func:`load_conjugate_direction_net` reads it.

    Parameters
    ----------
    net : ConjugateDirectionNet
        Whose weights are written, in float32.
    path : path
        Of a safetensors file.
    **facts
        What else the metadata shall say, such as what the network was trained on.
    """
    tensors = {name: value.float().contiguous() for name, value in net.state_dict().items()}
    sizes = {name: str(int(size or 0)) for name, size in net.sizes.items()}
    metadata = {**{name: str(fact) for name, fact in facts.items()}, **sizes}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata=metadata)
