"""How many features an attention gradient takes as norms grow: the phase transition, measured."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import BoundError
from gossamer.nn.attention.chained_low_rank import SoftmaxPlan, polynomial_attention


@dataclass(frozen=True)
class PhasePoint:
    """One length and one norm.

    Attributes
    ----------
    L : int
        Tokens.
    gamma : float
        Largest entry of queries and keys.
    scaled : float
        ``gamma / sqrt(log L)``.
    R : float
        Certified bound on the logits.
    k1 : float
        Features, the median over seeds; infinite past the limit.
    seconds : float
        Forward and backward pass, the median over seeds; NaN past the limit.
    """

    L: int
    gamma: float
    scaled: float
    R: float
    k1: float
    seconds: float


@dataclass(frozen=True)
class PhaseResult:
    """What :func:`phase_transition` found.

    Attributes
    ----------
    table : tuple of PhasePoint
        By length and norm.
    threshold : dict of int to float
        For each L the ``gamma / sqrt(log L)`` at which k1 passes L, interpolated: above it the exact sum is cheaper.
    """

    table: tuple[PhasePoint, ...]
    threshold: dict[int, float]


def phase_transition(
    L: Sequence[int] = (1024, 4096, 16384),
    gamma: Sequence[float] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0),
    d: int = 8,
    eps: float = 1e-3,
    seeds: int = 3,
    max_features: int = 20_000,
) -> PhaseResult:
    r"""Measure the features and the time that a certified attention gradient takes, against the norm of its inputs.

    Queries and keys are Gaussian, scaled so that their largest entry is gamma; logits are scaled by ``d ** -0.5``. The
    theorem: near-linear time for gamma = o(sqrt(log L)), none that is truly below quadratic otherwise.

    Parameters
    ----------
    L : sequence of int
        Numbers of tokens.
    gamma : sequence of float
        Largest entries.
    d : int
        Width of the head.
    eps : float
        Certified relative error of every exponential.
    seeds : int
        Draws a point.
    max_features : int
        Where to give up.

    Returns
    -------
    PhaseResult
        A table and the threshold for every length.

    References
    ----------
    Hu et al., "Computational Limits of Low-Rank Adaptation", ICLR 2025, arXiv 2406.03136.

    Examples
    --------
    >>> result = phase_transition((256,), (0.2, 1.0), d=4, seeds=1)
    >>> [point.k1 for point in result.table] == sorted(point.k1 for point in result.table)
    True
    """
    check_int("d", d, low=1)
    check_float("eps", eps, low=0, high=1 / 3, closed="right")
    check_int("seeds", seeds, low=1)
    lengths = [check_int(f"L[{i}]", n, low=2) for i, n in enumerate(L)]
    norms = [check_float(f"gamma[{i}]", g, low=0, closed="neither") for i, g in enumerate(gamma)]
    table = [_point(n, g, d, eps, seeds, max_features) for n in lengths for g in norms]
    return PhaseResult(tuple(table), {n: _crossing([p for p in table if n == p.L], n) for n in lengths})


def _point(L: int, gamma: float, d: int, eps: float, seeds: int, max_features: int) -> PhasePoint:
    ranks, bounds, times = [], [], []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        q, k, v = (torch.randn(L, d, generator=generator) for _ in range(3))
        q, k = (x * (gamma / x.abs().max()) for x in (q, k))
        q = (q * d**-0.5).requires_grad_()
        try:
            start = time.perf_counter()
            plan = SoftmaxPlan.of(q, k, eps, max_features)
            polynomial_attention(q, k, v, plan).sum().backward()
            times.append(time.perf_counter() - start)
            ranks.append(float(plan.features))
            bounds.append(plan.R)
        except BoundError as error:
            ranks.append(math.inf)
            bounds.append(error.R)
            times.append(math.nan)
    scaled = gamma / math.sqrt(math.log(L))
    return PhasePoint(L, gamma, scaled, *(float(np.median(x)) for x in (bounds, ranks, times)))


def _crossing(points: list[PhasePoint], level: float) -> float:
    """Where k1 passes the level, linear in logarithms between the points around it; NaN if it does not."""
    for a, b in itertools.pairwise(points):
        if a.k1 <= level < b.k1:
            if math.isinf(b.k1):
                return b.scaled
            share = math.log(level / a.k1) / math.log(b.k1 / a.k1)
            return a.scaled * (b.scaled / a.scaled) ** share
    return math.nan


__all__ = ["PhasePoint", "PhaseResult", "phase_transition"]
