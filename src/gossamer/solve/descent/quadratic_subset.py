"""Subsets that a quadratic model likes best: ``min g^T d + 1/2 d^T H d`` with few nonzeros, NP-hard, in two ways."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from gossamer._kernels.descent import largest
from gossamer.solve.descent.problems.problem import DENSE, BCDProblem

ROUNDS = 10


def scaled_curvature(problem: BCDProblem) -> float:
    """The largest eigenvalue of ``S H S`` with ``S = diag(L)^(-1/2)``, by Lanczos where there are many; kept."""
    known = problem.__dict__.get("_scaled_curvature")
    if known is None:
        n = problem.n
        scale = np.where(problem.frozen, 0.0, 1 / np.sqrt(np.where(problem.frozen, 1.0, problem.lipschitz)))
        if n <= DENSE:
            H = problem.bound(np.arange(n)) * scale * scale[:, None]
            known = float(np.linalg.eigvalsh(H)[-1])
        else:
            operator = LinearOperator(
                (n, n), lambda d: scale * problem.bound_product(scale * np.ravel(d)), dtype=np.float64
            )
            known = float(eigsh(operator, 1, v0=np.ones(n), tol=1e-4, return_eigenvectors=False)[0]) * 1.001
        problem.__dict__["_scaled_curvature"] = known
    return known


def hard_threshold_support(problem: BCDProblem, g: np.ndarray, size: int) -> np.ndarray:
    """Iterative hard thresholding: gradient steps on the model, all but the ``size`` largest entries set to zero.

    Starts from the steps that coordinates would make alone, ``-g_i / L_i``. Entries are measured, and steps made, in
    units of ``L_i^(-1/2)``, so that columns of any length compete alike. Two products with A a round.
    """
    alive = ~problem.frozen
    L = np.where(alive, problem.lipschitz, 1.0)
    d = np.where(alive, -g / L, 0.0)
    root, step = np.sqrt(L), 1 / (L * scaled_curvature(problem))
    support = _keep(root * d, alive, size)
    for _ in range(ROUNDS):
        moved = d - step * (g + problem.bound_product(d))
        support = _keep(root * moved, alive, size)
        last, d = d, np.zeros_like(d)
        d[support] = moved[support]
        if float(np.abs(d - last).max()) < 1e-10:
            break
    return support


def _keep(d: np.ndarray, alive: np.ndarray, size: int) -> np.ndarray:
    return largest(np.where(alive, np.abs(d), -np.inf), size)


def matching_pursuit_support(problem: BCDProblem, g: np.ndarray, size: int) -> np.ndarray:
    """Forward selection: each round takes the coordinate along which the model, at its best so far, falls most.

    Orthogonal matching pursuit on the quadratic, which the paper does not have. The Cholesky factor of the block grows
    by a row a round; a round costs two products with A.
    """
    alive = ~problem.frozen
    curvature = np.where(alive, problem.lipschitz, np.inf)
    chosen: list[int] = []
    L = np.zeros((size, size))
    slope = g.copy()
    for _ in range(problem.n):
        k = len(chosen)
        gain = slope * slope / curvature
        gain[chosen] = gain[~alive] = -np.inf
        pick = int(np.argmax(gain))
        if k == size or not gain[pick] > 0:
            break
        column = problem.bound(np.array([*chosen, pick]))[:, -1]
        row = scipy.linalg.solve_triangular(L[:k, :k], column[:k], lower=True) if k else column[:0]
        rest = float(column[k] - row @ row)
        if rest <= 1e-12 * float(column[k]):  # a combination of what is there
            alive[pick] = False
            continue
        L[k, :k], L[k, k] = row, np.sqrt(rest)
        chosen.append(pick)
        block = np.array(chosen)
        d = np.zeros_like(g)
        d[block] = -scipy.linalg.cho_solve((L[: k + 1, : k + 1], True), g[block])
        slope = g + problem.bound_product(d)
    if len(chosen) < size:
        spare = np.where(problem.frozen, -np.inf, np.abs(g))
        spare[chosen] = np.inf
        return largest(spare, size)
    return np.sort(np.array(chosen, np.int64))
