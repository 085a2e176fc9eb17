"""What is remembered of moves: a record of each, and masks at a bit a weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Exploration:
    """One move of live weights.

    Attributes
    ----------
    step : int
        When.
    ratio : float
        Share of the live weights that was to move.
    moved : int
        Weights that left, and as many that entered.
    returned : int
        Those that did both, and start again from zero.
    live : dict of str to int
        Live weights of each parameter afterwards.
    """

    step: int
    ratio: float
    moved: int
    returned: int
    live: dict[str, int]


def packed(mask: torch.Tensor) -> torch.Tensor:
    """A mask as bytes of eight entries."""
    bits = torch.nn.functional.pad(mask.reshape(-1).to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8, device=mask.device)).sum(1).to(torch.uint8)


def unpacked(bits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The mask, in the shape of ``like``, that :func:`packed` made bytes of."""
    flags = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    return flags.reshape(-1)[: like.numel()].reshape(like.shape).bool()
