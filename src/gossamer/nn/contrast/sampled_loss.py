"""The contrastive loss of a graph with some random nodes as negatives of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer.nn.contrast.strengths import NeighbourStrengths, neighbour_sums
from gossamer.nn.contrast.unit_rows import check_points, check_strengths, check_tau, unit_rows


def sampled_contrastive_loss(
    z: torch.Tensor,
    gamma: Any,
    n_samples: int = 64,
    *,
    tau: float = 0.5,
    eps: float = 1e-10,
    random_state: RandomState = None,
) -> torch.Tensor:
    r"""Pull neighbours together and push each node from ``n_samples`` random others.

    :func:`full_contrastive_loss` with :math:`\sum_{j \ne i} e^{\tau \cos(z_i, z_j)}` replaced by
    :math:`\frac{N - 1}{m}` times the sum over m nodes drawn with replacement: the sum is unbiased, its logarithm is too
    low on average.

    Parameters
    ----------
    z : tensor, shape (N, d)
        Representations, float32 or float64; half precision is widened.
    gamma : sparse matrix, shape (N, N)
        How strongly i and j are neighbours, as for :func:`pamc_loss`.
    n_samples : int
        m.
    tau : float
        Multiplies similarities, in (0, 80].
    eps : float
        Added inside of both logarithms.
    random_state : int, Generator or None
        Of the draw.

    Returns
    -------
    tensor, shape ()

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        As of :func:`pamc_loss`.

    Notes
    -----
    O((nnz + m N) d) time. Differentiable twice.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import sampled_contrastive_loss
    >>> gamma = scipy.sparse.eye_array(3, format="csr")
    >>> round(float(sampled_contrastive_loss(torch.eye(3), gamma, 5, random_state=0)), 4)
    0.6931
    """
    z = check_points(z)
    strengths, tau = check_strengths(gamma, z), check_tau(tau)
    m, eps = check_int("n_samples", n_samples, low=1), check_float("eps", eps, low=0)
    u = unit_rows(z)
    drawn = _drawn(strengths.centres, len(z), m, check_random_state(random_state))
    terms = (neighbour_sums(u, g, tau) + eps for g in (drawn, strengths))
    negative, positive = (term.log().mean() for term in terms)
    return negative - positive


def _drawn(rows: int, n: int, m: int, rng: np.random.Generator) -> NeighbourStrengths:
    """Others of each row, as strengths that sum to n - 1."""
    columns = rng.integers(n - 1, size=(rows, m))
    columns += columns >= np.arange(rows)[:, None]
    weights = np.full(rows * m, (n - 1) / m)
    pointers = np.arange(0, rows * m + 1, m)
    drawn = scipy.sparse.csr_array((weights, columns.ravel(), pointers), shape=(rows, n))
    return NeighbourStrengths.of(drawn)


__all__ = ["sampled_contrastive_loss"]
