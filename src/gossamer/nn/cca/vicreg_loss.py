"""VICReg: invariance, variance and covariance of two augmentations."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float
from gossamer.nn.cca.checks import check_representations


class VICRegLoss(torch.nn.Module):
    r"""Distance of two augmentations, with hinges that keep variances up and penalties that keep covariances down.

    .. math:: \gamma \, \mathrm{mean} |z - z'|^2 + \sum_{views} \Big[ \frac{\mu}{K} \sum_k
              \max(0, 1 - \sqrt{\mathrm{Var}_k + 10^{-4}}) + \frac{\nu}{K} \sum_{k \ne l} \mathrm{Cov}_{kl}^2 \Big]

    Linear encoders at its optimum span a CCA subspace, but dimensions may collapse, which :class:`SSLEYLoss` avoids.

    Parameters
    ----------
    invariance, variance, covariance : float
        :math:`\gamma`, :math:`2 \mu` and :math:`\nu`: the variance term is the mean of both views, as published.

    References
    ----------
    Bardes, Ponce, LeCun, "VICReg", ICLR 2022, arXiv 2105.04906.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import VICRegLoss
    >>> z = torch.randn(512, 4)
    >>> bool(VICRegLoss()(z, z) < VICRegLoss()(z, torch.randn(512, 4)))
    True
    """

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        self.invariance = check_float("invariance", invariance, low=0)
        self.variance = check_float("variance", variance, low=0)
        self.covariance = check_float("covariance", covariance, low=0)

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Loss of two augmentations, each (m, K)."""
        check_representations("zs", (z, z2))
        loss = self.invariance * (z - z2).square().mean()
        for view in (z, z2):
            centred = view - view.mean(dim=0)
            cov = centred.T @ centred / (len(view) - 1)
            deviation = (cov.diagonal() + 1e-4).sqrt()
            off = cov - torch.diag(cov.diagonal())
            loss = loss + self.variance / 2 * torch.relu(1 - deviation).mean()
            loss = loss + self.covariance / view.shape[1] * off.square().sum()
        return loss

    def extra_repr(self) -> str:
        """Its settings."""
        return f"invariance={self.invariance}, variance={self.variance}, covariance={self.covariance}"


__all__ = ["VICRegLoss"]
