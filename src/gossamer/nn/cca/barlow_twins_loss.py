"""Barlow Twins: the cross-correlation of two augmentations is the identity."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float
from gossamer.nn.cca.checks import check_representations


class BarlowTwinsLoss(torch.nn.Module):
    r"""Distance of the cross-correlation of two augmentations from the identity.

    :math:`\sum_k (1 - R_{kk})^2 + \lambda \sum_{k \ne l} R_{kl}^2`, R between outputs normalised over the batch.

    Parameters
    ----------
    redundancy : float
        :math:`\lambda`.

    References
    ----------
    Zbontar, Jing, Misra, LeCun, Deny, "Barlow Twins", ICML 2021, arXiv 2103.03230.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import BarlowTwinsLoss
    >>> z = torch.randn(4096, 3)
    >>> bool(BarlowTwinsLoss()(z, z) < 0.01)
    True
    """

    def __init__(self, redundancy: float = 5e-3) -> None:
        super().__init__()
        self.redundancy = check_float("redundancy", redundancy, low=0)

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Loss of two augmentations, each (m, K)."""
        check_representations("zs", (z, z2))
        a, b = (_normalised(view) for view in (z, z2))
        R = a.T @ b / len(z)
        diagonal = R.diagonal()
        rest = R.square().sum() - diagonal.square().sum()
        return (1 - diagonal).square().sum() + self.redundancy * rest

    def extra_repr(self) -> str:
        """Its settings."""
        return f"redundancy={self.redundancy}"


def _normalised(z: torch.Tensor) -> torch.Tensor:
    centred = z - z.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + 1e-5).sqrt()


__all__ = ["BarlowTwinsLoss"]
