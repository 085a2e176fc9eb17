"""What the meta-nodes of a contrastive loss leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from gossamer._core.checks import check_int
from gossamer._core.results import Result
from gossamer.nn.contrast.meta_nodes import cluster_sums, meta_negatives, shares
from gossamer.nn.contrast.unit_rows import check_points, check_tau, unit_rows


@dataclass(frozen=True, kw_only=True, repr=False)
class PamCGap(Result):
    """Negative terms between clusters, exact and by meta-nodes.

    Attributes
    ----------
    exact : float
        From the means of exponentials over all pairs of nodes of two clusters.
    approximate : float
        From exponentials of the mean similarities of two clusters; never above ``exact``.
    loss : float
        From the cosines of sums, as :func:`pamc_loss` has it.
    """

    exact: float = 0.0
    approximate: float = 0.0
    loss: float = 0.0

    @property
    def gap(self) -> float:
        """Exact less approximate, at least 0."""
        return self.exact - self.approximate


def pamc_gap(z: Any, labels: Any, tau: float = 0.5, *, block: int = 256) -> PamCGap:
    r"""Compare the negative term of meta-nodes with that of all pairs of nodes.

    .. math::

        E = \frac1k \sum_a \log \Big( 1 + \sum_{b \ne a} M_{ab} \Big), \qquad
        M_{ab} = \frac{1}{n_a n_b} \sum_{i \in a, j \in b} e^{\tau s_{ij}} \;\ge\; e^{\tau \langle m_a, m_b \rangle}

    with :math:`m_a` the mean of the unit vectors of a cluster, whose products are the mean similarities: Jensen's
    inequality. The gap is of the order :math:`\tau^2` times the variance of similarities within a pair of clusters.

    Parameters
    ----------
    z : tensor or array, shape (N, d)
        Representations, real.
    labels : integers, shape (N,)
        The cluster of each node.
    tau : float
        Multiplies similarities, in (0, 80].
    block : int
        Rows whose similarities are in memory at a time.

    Returns
    -------
    PamCGap
        ``exact``, ``approximate``, their difference ``gap``, and ``loss``, the term in :func:`pamc_loss`.

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        As of :func:`pamc_loss`.

    Notes
    -----
    O(N^2 d) time and O(N block) memory, in float64: a diagnosis, not for training.

    References
    ----------
    Kulatilleke, Portmann, Chandra, 2022, arXiv 2209.14067.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import pamc_gap
    >>> z = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    >>> found = pamc_gap(z, [0, 0, 1, 1], tau=1.0)
    >>> 0 < found.gap < 1e-4
    True
    """
    z = check_points(torch.as_tensor(z)).detach().double()
    tau, block = check_tau(tau), check_int("block", block, low=1)
    u, labels = unit_rows(z), shares(labels, len(z), None, "hard", z.device)
    sums, sizes = cluster_sums(u, labels, None)
    blocks = u.new_zeros(len(sizes), len(sizes))
    for start in range(0, len(u), block):
        e = (u[start : start + block] @ u.T).mul_(tau).exp_()
        columns, _ = cluster_sums(e.T, labels, None)
        blocks += cluster_sums(columns.T, labels[start : start + block], len(sizes))[0]
    full = sizes > 0
    pairs = torch.outer(sizes, sizes)[full][:, full]
    means = (sums[full] @ sums[full].T) / pairs
    return PamCGap(
        message=f"{int(full.sum())} clusters of {len(z)} nodes",
        exact=_between(blocks[full][:, full] / pairs),
        approximate=_between((tau * means).exp()),
        loss=float(meta_negatives(cluster_sums(z, labels, None)[0], sizes, tau, "equal", 0.0)),
    )


def _between(e: torch.Tensor) -> float:
    return float(e.fill_diagonal_(1.0).sum(dim=1).log().mean())


__all__ = ["PamCGap", "pamc_gap"]
