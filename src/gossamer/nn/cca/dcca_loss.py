"""The full-batch objective of deep CCA: correlations of whitened representations."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError
from gossamer.nn.cca.checks import check_representations


class DCCALoss(torch.nn.Module):
    r"""Minus the sum of (squared) canonical correlations of a batch, by whitening both views.

    :math:`T = \Sigma_1^{-1/2} \Sigma_{12} \Sigma_2^{-1/2}` of the batch; the loss is :math:`-\sum \sigma_k(T)^2`, or
    :math:`-\sum \sigma_k(T)` as first published. A batch must be larger than the representation is wide, and large
    enough for its covariances to be worth inverting; where that is too much, take :class:`EYLoss`, which has the same
    optimum.

    Parameters
    ----------
    ridge : float
        Added to the diagonal of both covariances.
    squared : bool
        Sum of squares, which EY minimises too, or of the correlations.

    Raises
    ------
    ArgumentError
        Batches of at most K rows.

    References
    ----------
    Andrew, Arora, Bilmes, Livescu, "Deep canonical correlation analysis", ICML 2013.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import DCCALoss
    >>> z, mix = torch.randn(100, 3), torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    >>> round(float(DCCALoss(ridge=1e-6)(z, z @ mix)), 3)
    -3.0
    """

    def __init__(self, ridge: float = 1e-3, squared: bool = True) -> None:
        super().__init__()
        self.ridge = check_float("ridge", ridge, low=0)
        self.squared = squared

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Loss of two views, each (m, K) with m > K."""
        check_representations("zs", (z, z2))
        m, K = z.shape
        if m <= K:
            raise ArgumentError(f"a batch has {m} rows: expected more than the {K} components")
        z, z2 = z - z.mean(dim=0), z2 - z2.mean(dim=0)
        eye = self.ridge * torch.eye(K, dtype=z.dtype, device=z.device)
        roots = [torch.linalg.cholesky(v.T @ v / (m - 1) + eye) for v in (z, z2)]
        left = torch.linalg.solve_triangular(roots[0], z.T @ z2 / (m - 1), upper=False)
        T = torch.linalg.solve_triangular(roots[1], left.T, upper=False)
        return -T.square().sum() if self.squared else -torch.linalg.svdvals(T).sum()

    def extra_repr(self) -> str:
        """Its settings."""
        return f"ridge={self.ridge}, squared={self.squared}"


__all__ = ["DCCALoss"]
