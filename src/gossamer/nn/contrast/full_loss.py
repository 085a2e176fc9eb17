"""The contrastive loss of a graph with all pairs of nodes as negatives, in blocks of rows."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_float, check_int
from gossamer.nn.contrast.strengths import neighbour_sums
from gossamer.nn.contrast.unit_rows import check_points, check_strengths, check_tau, unit_rows


def full_contrastive_loss(
    z: torch.Tensor,
    gamma: Any,
    *,
    tau: float = 0.5,
    include_self: bool = False,
    block: int = 256,
    eps: float = 1e-10,
) -> torch.Tensor:
    r"""Pull neighbours together and push all nodes apart.

    .. math::

        L = - \frac1N \sum_i \log \sum_j \gamma_{ij} e^{\tau \cos(z_i, z_j)}
            + \frac1N \sum_i \log \sum_{j \ne i} e^{\tau \cos(z_i, z_j)}

    with :math:`\cos(z_i, z_i)` set to 0 before the exponential in the first sum. O(N^2) time: what :func:`pamc_loss`
    approximates in linear time.

    Parameters
    ----------
    z : tensor, shape (N, d)
        Representations, float32 or float64; half precision is widened.
    gamma : sparse matrix, shape (N, N)
        How strongly i and j are neighbours, as for :func:`pamc_loss`.
    tau : float
        Multiplies similarities, in (0, 80].
    include_self : bool
        Count j = i among the negatives as well, as similarity 0: :func:`pamc_loss` with each node a cluster.
    block : int
        Rows whose similarities are in memory at a time.
    eps : float
        Added inside of both logarithms.

    Returns
    -------
    tensor, shape ()

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        As of :func:`pamc_loss`.

    Notes
    -----
    6 N^2 d flops and N^2 exponentials for loss and gradient together, in one pass over the blocks; O(N block) memory.
    Differentiable once.

    References
    ----------
    Kulatilleke, Portmann, Chandra, "SCGC: Self-supervised contrastive graph clustering", 2022, arXiv 2204.12656.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import full_contrastive_loss
    >>> gamma = scipy.sparse.eye_array(3, format="csr")
    >>> round(float(full_contrastive_loss(torch.eye(3), gamma, tau=1.0)), 4)
    0.6931
    """
    z = check_points(z)
    strengths, tau = check_strengths(gamma, z), check_tau(tau)
    block, eps = check_int("block", block, low=1), check_float("eps", eps, low=0)
    u = unit_rows(z)
    positive = (neighbour_sums(u, strengths, tau) + eps).log().mean()
    return _Negatives.apply(u, strengths.centres, tau, bool(include_self), block, eps) - positive


class _Negatives(torch.autograd.Function):
    """The negative term, and the gradient that its blocks give on the way."""

    @staticmethod
    def forward(
        ctx: Any, u: torch.Tensor, rows: int, tau: float, include_self: bool, block: int, eps: float
    ) -> torch.Tensor:
        gradient, total = torch.zeros_like(u), 0.0
        for start in range(0, rows, block):
            own = u[start : min(start + block, rows)]
            e = (own @ u.T).mul_(tau).exp_()
            itself = e.diagonal(start)
            itself.fill_(1.0 if include_self else 0.0)
            sums = e.sum(dim=1, keepdim=True).add_(eps)
            total += float(sums.log().sum(dtype=torch.float64))
            itself.zero_()
            e.div_(sums)
            gradient[start : start + len(own)] += e @ u
            gradient.addmm_(e.T, own)
        ctx.save_for_backward(gradient.mul_(tau / rows))
        return u.new_tensor(total / rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None, None]:
        return slope * ctx.saved_tensors[0], None, None, None, None, None


__all__ = ["full_contrastive_loss"]
