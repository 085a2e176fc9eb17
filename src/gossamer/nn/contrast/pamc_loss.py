"""Contrastive loss of a graph whose negatives are sums of clusters: linear in nodes and edges."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.contrast.meta_nodes import (
    ASSIGNMENTS,
    WEIGHTINGS,
    cluster_sums,
    meta_negatives,
    shares,
)
from gossamer.nn.contrast.strengths import NeighbourStrengths, neighbour_sums
from gossamer.nn.contrast.unit_rows import check_points, check_strengths, check_tau, unit_rows


def pamc_loss(
    z: torch.Tensor,
    gamma: Any,
    labels: Any,
    *,
    tau: float = 0.5,
    n_clusters: int | None = None,
    assignment: str = "hard",
    weighting: str = "equal",
    eps: float = 1e-10,
) -> torch.Tensor:
    r"""Pull neighbours together and push the sums of clusters apart.

    .. math::

        L = - \frac1N \sum_i \log \sum_j \gamma_{ij} e^{\tau \cos(z_i, z_j)}
            + \frac1k \sum_a \log \sum_b e^{\tau \cos(C_a, C_b)}, \qquad C_a = \sum_{i : c_i = a} z_i

    with the similarity of anything to itself set to 0 before the exponential. Where :func:`full_contrastive_loss`
    compares all N^2 pairs of nodes, this compares the k^2 pairs of "meta-nodes" :math:`C_a`: no node is left out, as
    sampling does, and nothing is added that would have to be learnt. The two agree as far as clusters are tight;
    :func:`pamc_gap` measures how far. Labels are constants: gradients flow through z in both terms.

    Parameters
    ----------
    z : tensor, shape (N, d)
        Representations, float32 or float64; half precision is widened.
    gamma : sparse matrix, shape (N, N)
        How strongly i and j are neighbours, at least 0: SciPy, torch CSR or COO, or :class:`SparseTensor`. See
        :func:`gossamer.graph.influence_matrix`. A constant. A row without entries adds ``-log(eps)`` and no gradient.
    labels : integers, shape (N,), or memberships, shape (N, k)
        The cluster of each node; of memberships, the largest.
    tau : float
        Multiplies similarities, in (0, 80].
    n_clusters : int, optional
        Bounds labels.
    assignment : {"hard", "soft"}
        ``"soft"``: :math:`C = q^T z` with memberships q.
    weighting : {"equal", "size"}
        ``"size"`` counts a meta-node as often as it has nodes, in both sums: nearer to the full loss where clusters
        differ in size. Not part of the paper.
    eps : float
        Added inside of both logarithms.

    Returns
    -------
    tensor, shape ()

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        If shapes do not fit, a strength is negative, a label out of range, or z is no floating tensor.

    Notes
    -----
    O(nnz d + N d + k^2 d) time; the positive term, its gradient too, runs by a kernel that keeps O(N d) numbers. Each
    call lays gamma out anew; :class:`PamCLoss` keeps that. A cluster without nodes has no direction and takes no part.
    Differentiable twice.

    References
    ----------
    Kulatilleke, Portmann, Chandra, "Efficient block contrastive learning via parameter-free meta-node approximation",
    2022, arXiv 2209.14067.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn.functional import pamc_loss
    >>> gamma = scipy.sparse.block_diag([[[0.5, 0.5], [0.5, 0.5]]] * 2, format="csr")
    >>> apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(pamc_loss(apart, gamma, [0, 0, 1, 1], tau=1.0)), 4)
    -0.3069
    """
    z = check_points(z)
    strengths, tau = check_strengths(gamma, z), check_tau(tau)
    check_choice("weighting", weighting, WEIGHTINGS)
    eps = check_float("eps", eps, low=0)
    rows = strengths.centres
    found = shares(labels, rows, n_clusters, assignment, z.device)
    C, sizes = cluster_sums(z[:rows], found, n_clusters)
    return _loss(z, strengths, C, sizes, tau, weighting, eps)


class PamCLoss(torch.nn.Module):
    """:func:`pamc_loss` as a module, which lays a graph out once and can remember clusters from batch to batch.

    In mini-batches z starts with the m nodes of the batch, their neighbours follow, and gamma (m, n) has the rows of
    the batch. Meta-nodes of one batch are noisy; with ``momentum`` they are running averages of the sums of all
    batches, of which the last one has gradients.

    Parameters
    ----------
    tau : float
        Multiplies similarities, in (0, 80].
    n_clusters : int, optional
        Needed with momentum.
    assignment : {"hard", "soft"}
        As of :func:`pamc_loss`.
    weighting : {"equal", "size"}
        As of :func:`pamc_loss`.
    eps : float
        Added inside of both logarithms.
    momentum : float, optional
        Share of the past in the sums of clusters, in [0, 1); None for batches that are the whole graph.

    Raises
    ------
    ArgumentError
        Settings out of range, or momentum without ``n_clusters``.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import PamCLoss
    >>> gamma, z = scipy.sparse.eye_array(4, format="csr"), torch.eye(4, requires_grad=True)
    >>> PamCLoss(tau=1.0)(z, gamma, [0, 0, 1, 1]).backward()
    >>> z.grad.shape
    torch.Size([4, 4])
    """

    def __init__(
        self,
        tau: float = 0.5,
        *,
        n_clusters: int | None = None,
        assignment: str = "hard",
        weighting: str = "equal",
        eps: float = 1e-10,
        momentum: float | None = None,
    ) -> None:
        super().__init__()
        self.tau, self.eps = check_tau(tau), check_float("eps", eps, low=0)
        self.n_clusters = None if n_clusters is None else check_int("n_clusters", n_clusters, low=1)
        self.assignment = check_choice("assignment", assignment, ASSIGNMENTS)
        self.weighting = check_choice("weighting", weighting, WEIGHTINGS)
        if momentum is not None:
            momentum = check_float("momentum", momentum, low=0, high=1, closed="left")
            if self.n_clusters is None:
                raise ArgumentError(f"momentum={momentum} without n_clusters: expected both")
        self.momentum = momentum
        self.past: tuple[torch.Tensor, torch.Tensor] | None = None
        self._last: tuple[Any, NeighbourStrengths] | None = None

    def forward(self, z: torch.Tensor, gamma: Any, labels: Any) -> torch.Tensor:
        """Loss of representations (n, d), strengths (m, n) and labels (m,) or memberships (m, k) of the first m rows.

        What is derived from gamma is kept while it is the same object, which must not be changed in between.
        """
        z = check_points(z)
        if self._last is None or self._last[0] is not gamma:
            self._last = gamma, NeighbourStrengths.of(gamma)
        strengths = check_strengths(self._last[1], z)
        rows = strengths.centres
        found = shares(labels, rows, self.n_clusters, self.assignment, z.device)
        C, sizes = cluster_sums(z[:rows], found, self.n_clusters)
        if self.momentum is not None:
            C, sizes = self._remember(C, sizes)
        return _loss(z, strengths, C, sizes, self.tau, self.weighting, self.eps)

    def _remember(self, C: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Running averages of the sums and of the sizes; in evaluation nothing is remembered of the batch."""
        assert self.momentum is not None
        if self.past is not None:
            old, new = self.momentum, 1 - self.momentum
            C, sizes = old * self.past[0] + new * C, old * self.past[1] + new * sizes
        if self.training:
            self.past = C.detach(), sizes.detach()
        return C, sizes

    def extra_repr(self) -> str:
        """Its settings."""
        return f"tau={self.tau}, assignment={self.assignment!r}, weighting={self.weighting!r}, momentum={self.momentum}"


def _loss(
    z: torch.Tensor,
    strengths: NeighbourStrengths,
    C: torch.Tensor,
    sizes: torch.Tensor,
    tau: float,
    weighting: str,
    eps: float,
) -> torch.Tensor:
    positive = (neighbour_sums(unit_rows(z), strengths, tau) + eps).log().mean()
    return meta_negatives(C, sizes, tau, weighting, eps) - positive


__all__ = ["PamCLoss", "pamc_loss"]
