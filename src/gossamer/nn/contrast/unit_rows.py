"""Representations on the unit sphere, and what every contrastive loss refuses."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_float
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer.nn.contrast.strengths import NeighbourStrengths

STEEPEST = 80.0
"""Largest tau: its exponential is a number in float32."""


def unit_rows(z: torch.Tensor) -> torch.Tensor:
    """Rows of length one; rows of zeros, which have no direction, stay zero and get no gradient."""
    square = z.square().sum(dim=1, keepdim=True)
    there = square > 0
    return z * torch.where(there, square, 1.0).rsqrt() * there


def check_points(z: Any) -> torch.Tensor:
    """Real floating rows (n, d) with n >= 2; half precision is widened to float32."""
    if not isinstance(z, torch.Tensor) or not z.is_floating_point() or z.layout != torch.strided:
        kind = z.dtype if isinstance(z, torch.Tensor) else type(z).__name__
        raise UnsupportedError(f"z is {kind}: expected a dense tensor of real floating type")
    if z.ndim != 2 or len(z) < 2 or z.shape[1] < 1:
        raise ShapeError(f"z has shape {tuple(z.shape)}: expected (n, d) with n >= 2 and d >= 1")
    return z.float() if z.dtype.itemsize == 2 else z


def check_strengths(gamma: Any, z: torch.Tensor) -> NeighbourStrengths:
    """Strengths between the rows of z."""
    strengths = NeighbourStrengths.of(gamma)
    if strengths.n != len(z):
        raise ShapeError(
            f"gamma has {strengths.n} columns, z has {len(z)} rows: expected one column for each row of z"
        )
    return strengths


def check_tau(tau: Any) -> float:
    """The factor of similarities."""
    return check_float("tau", tau, low=0, high=STEEPEST, closed="right")


__all__ = ["check_points", "check_strengths", "check_tau", "unit_rows"]
