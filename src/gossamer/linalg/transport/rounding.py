"""From a plan that nearly has its marginals to one that has them exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer.linalg.transport.problem import Iterate, Problem


@dataclass(frozen=True, eq=False)
class Rounded:
    """A plan with exact marginals: ``exp(u + v - eta C) + a b^T``.

    Attributes
    ----------
    u, v : ndarray, shapes (n,) and (m,)
        Potentials, lowered where a row or column had too much.
    a, b : ndarray, shapes (n,) and (m,)
        What rows and columns lack after that, scaled so that ``a b^T`` adds it.
    """

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray
    b: np.ndarray


def round_plan(problem: Problem, iterate: Iterate) -> Rounded:
    """Scale rows and then columns down to their marginals and add a correction of rank one.

    The plan moves by at most twice the error of its marginals. Three passes over it.

    References
    ----------
    Altschuler, Weed, Rigollet, "Near-linear time approximation algorithms for optimal transport via Sinkhorn
    iteration", NeurIPS 2017.
    """
    u = iterate.u + np.log(np.minimum(1.0, problem.r / np.maximum(iterate.rows, 1e-300)))
    lower = problem.at(u, iterate.v)
    v = iterate.v + np.log(np.minimum(1.0, problem.c / np.maximum(lower.columns, 1e-300)))
    last = problem.at(u, v)
    a, b = np.maximum(last.gx, 0), np.maximum(last.gy, 0)
    lack = b.sum()
    return Rounded(u, v, a, b / lack if lack > 0 else b)
