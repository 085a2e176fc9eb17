"""What every loss on representations refuses."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError


def check_representations(name: str, zs: Sequence[torch.Tensor], least: int = 2) -> None:
    """Refuse what is not two or more real floating (m, K) tensors of one shape with m >= 2."""
    if len(zs) < 2:
        raise ShapeError(f"{name} has {len(zs)} views: expected two or more")
    for z in zs:
        if not isinstance(z, torch.Tensor) or not z.is_floating_point():
            kind = z.dtype if isinstance(z, torch.Tensor) else type(z).__name__
            raise UnsupportedError(f"{name} holds {kind}: expected real floating tensors")
        if z.ndim != 2 or z.shape != zs[0].shape:
            raise ShapeError(f"{name} has shapes {[tuple(v.shape) for v in zs]}: expected equal (m, K)")
    if len(zs[0]) < least:
        raise ArgumentError(f"{name} has {len(zs[0])} rows: expected at least {least}")
