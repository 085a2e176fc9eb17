"""Perceptual path lengths: how fast pictures change along paths of codes, and along single directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.results import Result
from gossamer.nn.generative.factor_reader import Distance
from gossamer.nn.generative.modulation import Directions, shifted

Mapping = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class PathLength(Result):
    """A perceptual path length.

    Attributes
    ----------
    value : float
        Mean of what the percentiles leave.
    error : float
        Its standard error.
    lengths : ndarray, shape (n,)
        All of them.
    """

    value: float
    error: float
    lengths: np.ndarray = field(repr=False)


@torch.no_grad()
def ppl(
    G: torch.nn.Module,
    mapping: Mapping,
    *,
    distance: Distance,
    n: int = 5000,
    eps: float = 1e-2,
    sampling: str = "full",
    features: int = 64,
    batch: int = 100,
    seed: int = 0,
) -> PathLength:
    r"""Perceptual path length, :math:`E[d(G(w_t), G(w_{t + \epsilon})) / \epsilon^2]` between random codes.

    Parameters
    ----------
    G : torch.nn.Module
        Codes (B, features) to pictures.
    mapping : callable
        Noise (B, features) to codes.
    distance : callable
        Of two batches of pictures, (B,): the features of a network that knows such pictures, compared as in LPIPS,
        such as :meth:`FactorReader.distance`.
    n : int
        Pairs.
    eps : float
        Step along the segment between two codes. Below 1e-2, float32 measures its own rounding.
    sampling : {"full", "end"}
        Anywhere on the segment, or at its start.
    features : int
        Length of the noise.
    batch : int
        Pairs at a time.
    seed : int
        Of the noise.

    Returns
    -------
    PathLength
        Without the lengths below the 1st and above the 99th percentile.

    References
    ----------
    Karras et al., "A style-based generator architecture for generative adversarial networks", CVPR 2019.
    """
    step = check_float("eps", eps, low=0, closed="right")
    check_choice("sampling", sampling, ("full", "end"))
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    lengths = []
    for size in _sizes(n, batch):
        first, second = (mapping(torch.randn(size, features, generator=rng)) for _ in range(2))
        t = torch.rand(size, 1, generator=rng) if sampling == "full" else torch.zeros(size, 1)
        near, far = (torch.lerp(first, second, at.expand_as(first)) for at in (t, t + step))
        lengths.append(distance(G(near), G(far)) / step**2)
    return _summary(lengths)


@torch.no_grad()
def pipl(
    G: torch.nn.Module,
    mapping: Mapping,
    directions: Directions,
    *,
    distance: Distance,
    n: int = 5000,
    eps: float = 1.0,
    features: int = 64,
    batch: int = 100,
    seed: int = 0,
) -> PathLength:
    r"""Perceptual path length along single directions: :math:`E[d(G(w), G(w + \epsilon v)) / \epsilon^2]`.

    Each pair draws a layer and one of its directions; only that layer sees the moved code.

    Parameters
    ----------
    G : torch.nn.Module
        Codes (B, features) to pictures.
    mapping : callable
        Noise (B, features) to codes.
    directions : mapping of str to tensor, shape (r, features)
        As :func:`latent_directions` gives them.
    distance, n, eps, features, batch, seed
        As in :func:`ppl`; codes lie anywhere between two random ones.

    Returns
    -------
    PathLength

    References
    ----------
    Song et al., ICCV 2023.
    """
    step = check_float("eps", eps, low=0, closed="right")
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    lengths = []
    for size in _sizes(n, batch):
        first, second = (mapping(torch.randn(size, features, generator=rng)) for _ in range(2))
        w = torch.lerp(first, second, torch.rand(size, 1, generator=rng).expand_as(first))
        shifts, _ = draw_shifts(directions, size, step, rng)
        with shifted(G, shifts):
            moved = G(w)
        lengths.append(distance(G(w), moved) / step**2)
    return _summary(lengths)


def draw_shifts(
    directions: Directions, n: int, step: float, rng: torch.Generator
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """For each of ``n`` samples one layer and direction: shifts by layer, zero elsewhere, and which it was (n,)."""
    counts = [len(V) for V in directions.values()]
    label = torch.randint(sum(counts), (n,), generator=rng)
    shifts, before = {}, 0
    for (name, V), count in zip(directions.items(), counts, strict=True):
        inside = (label >= before) & (label < before + count)
        shifts[name] = torch.where(inside[:, None], step * V[(label - before).clamp(0, count - 1)], 0.0)
        before += count
    return shifts, label


def _sizes(n: int, batch: int) -> list[int]:
    check_int("n", n, low=2)
    check_int("batch", batch, low=1)
    return [min(batch, n - at) for at in range(0, n, batch)]


def _summary(pieces: list[Any]) -> PathLength:
    lengths = torch.cat(pieces).double().numpy()
    low, high = (
        np.percentile(lengths, [1, 99], method="lower"),
        np.percentile(lengths, [1, 99], method="higher"),
    )
    kept = lengths[(lengths >= low[0]) & (lengths <= high[1])]
    return PathLength(value=float(kept.mean()), error=float(kept.std() / np.sqrt(len(kept))), lengths=lengths)


__all__ = ["PathLength", "draw_shifts", "pipl", "ppl"]
