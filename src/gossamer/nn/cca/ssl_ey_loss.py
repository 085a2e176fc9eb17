"""Self-supervised learning by the Eckart-Young loss: two augmentations, one encoder, nothing to tune."""

from __future__ import annotations

from typing import Any

import torch

from gossamer.nn.cca.ey_loss import ey_loss


def ssl_ey_loss(z: torch.Tensor, z2: torch.Tensor, *, group: Any = None) -> torch.Tensor:
    r"""SSL-EY: ``tr(-2 C + V V)`` with ``C = Cov(z, z') + Cov(z', z)`` and ``V = Cov(z) + Cov(z')``.

    :func:`ey_loss` of two views of one encoder. Its minimum is minus the sum of squared canonical correlations of the
    two augmentations; unlike VICReg and Barlow Twins no dimension collapses whose correlation is above zero.

    Parameters
    ----------
    z, z2 : tensor, shape (m, K)
        Representations of two augmentations of the same m samples.
    group : torch.distributed process group or True, optional
        As of :func:`ey_loss`.

    Returns
    -------
    tensor, shape ()

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        As of :func:`ey_loss`.

    References
    ----------
    Chapman, Wells, Lawry Aguila, ICLR 2024, arXiv 2310.01012.
    """
    return ey_loss([z, z2], group=group)


class SSLEYLoss(torch.nn.Module):
    """:func:`ssl_ey_loss` as a module.

    Parameters
    ----------
    group : torch.distributed process group or True, optional
        As of :func:`ey_loss`.
    """

    def __init__(self, group: Any = None) -> None:
        super().__init__()
        self.group = group

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Loss of two augmentations, each (m, K)."""
        return ssl_ey_loss(z, z2, group=self.group)


__all__ = ["SSLEYLoss", "ssl_ey_loss"]
