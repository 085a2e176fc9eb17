"""Soft clusters by a Student-t kernel around centres, and the sharper ones that they are drawn to."""

from __future__ import annotations

import torch


def soft_assignment(z: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    r"""Memberships :math:`q_{ia} \propto (1 + |z_i - \mu_a|^2)^{-1}` of z (n, d) in clusters (k, d); rows sum to 1."""
    distance = z.square().sum(1, keepdim=True) - 2 * (z @ centres.T) + centres.square().sum(1)
    closeness = (1 + distance.clamp_min(0)).reciprocal()
    return closeness / closeness.sum(dim=1, keepdim=True)


def sharpened(q: torch.Tensor) -> torch.Tensor:
    r"""Targets :math:`p_{ia} \propto q_{ia}^2 / \sum_i q_{ia}` of memberships (n, k), constants; rows sum to 1."""
    q = q.detach()
    weight = q.square() / q.sum(dim=0).clamp_min(torch.finfo(q.dtype).tiny)
    return weight / weight.sum(dim=1, keepdim=True)


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the Kullback-Leibler divergence of q from p."""
    return torch.nn.functional.kl_div(q.log(), p, reduction="batchmean")
