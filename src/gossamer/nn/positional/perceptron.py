"""Perceptrons: one for all channels, and one for each channel."""

from __future__ import annotations

import math
from itertools import pairwise

import torch


def perceptron(
    in_features: int, hidden: int, out_features: int, layers: int = 3, norm: bool = True
) -> torch.nn.Sequential:
    """Linear layers with ReLU between them, and LayerNorm before it.

    LayerNorm, not BatchNorm, which would mix graphs of a batch with each other and with padding.
    """
    sizes = [in_features, *[hidden] * (layers - 1), out_features]
    parts: list[torch.nn.Module] = []
    for number, (a, b) in enumerate(pairwise(sizes)):
        if number:
            parts += [torch.nn.LayerNorm(a), torch.nn.ReLU()] if norm else [torch.nn.ReLU()]
        parts.append(torch.nn.Linear(a, b))
    return torch.nn.Sequential(*parts)


class ScalarPerceptrons(torch.nn.Module):
    """m perceptrons from a number to a number, computed side by side: (..., 1) to (..., m)."""

    def __init__(self, m: int, hidden: int, layers: int) -> None:
        super().__init__()
        sizes = [1, *[hidden] * (layers - 1), 1]
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        for a, b in pairwise(sizes):
            bound = 1 / math.sqrt(a)
            self.weights.append(torch.nn.Parameter(torch.empty(m, a, b).uniform_(-bound, bound)))
            self.biases.append(torch.nn.Parameter(torch.empty(m, 1, b).uniform_(-bound, bound)))

    def start_at_zero(self) -> None:
        """Make every output 0 until training moves the last layer."""
        with torch.no_grad():
            self.weights[-1].zero_()
            self.biases[-1].zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply all of them to each number."""
        h = x.reshape(1, -1, 1).expand(len(self.weights[0]), -1, 1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h = torch.baddbmm(bias, h.relu() if number else h, weight)
        return h[:, :, 0].T.reshape(*x.shape[:-1], -1)


__all__ = ["ScalarPerceptrons", "perceptron"]
