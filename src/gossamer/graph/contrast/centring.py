"""Codes around the origin: a contrast of angles depends on it, and an autoencoder leaves it anywhere."""

from __future__ import annotations

from typing import Any

import torch

from gossamer.graph.contrast.autoencoder import Perceptron


class Shifted(torch.nn.Module):
    """An encoder of any kind, and a trained vector that is added to its outputs (n, d)."""

    def __init__(self, encoder: torch.nn.Module, shift: torch.Tensor) -> None:
        super().__init__()
        self.encoder, self.shift = encoder, torch.nn.Parameter(shift)

    def forward(self, x: Any) -> torch.Tensor:
        """Outputs of the encoder, moved."""
        return self.encoder(x) + self.shift


@torch.no_grad()
def shifted(encoder: torch.nn.Module, shift: torch.Tensor) -> torch.nn.Module:
    """Add a vector (d,) to all that an encoder gives; a perceptron is changed in place, by its last bias."""
    if not isinstance(encoder, Perceptron):
        return Shifted(encoder, shift)
    last = encoder.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias.add_(shift)
    return encoder
