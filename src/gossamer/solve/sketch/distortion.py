"""How far a coreset is from the matrix it stands for, at the worst x that can be found."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.sketch.coreset import Coreset
from gossamer.solve.sketch.leverage import check_rows_matrix, whitener
from gossamer.solve.sketch.lewis import iterate_weights
from gossamer.solve.sketch.row_blocks import MatrixBlocks

ASCENTS, STEPS, TOP = 50, 40, 200


def coreset_distortion(
    A: Any, coreset: Coreset, p: float, *, budget: int = 3000, random_state: RandomState = None
) -> float:
    r"""A lower bound of :math:`\sup_x | \, \|S A x\|_p^p / \|A x\|_p^p - 1 |`, by search.

    Random directions alone miss what a coreset does wrong. Looked at are Gaussian directions in the basis of Lewis
    weights, the coordinate directions, those of the most sensitive rows, in the sample and not, and gradient ascents
    from the worst of all these.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        The matrix.
    coreset : Coreset
        Drawn from it.
    p : float
        The exponent, as of the coreset.
    budget : int
        Directions to start from.
    random_state : int, Generator or None
        Source of directions.

    Returns
    -------
    float
        At least zero; one or more where the sample loses a direction.

    Notes
    -----
    ``2 n d (budget + 50 * 40)`` operations and as many powers.
    """
    p = check_float("p", p, low=0, closed="neither")
    check_int("budget", budget, low=1)
    A = check_rows_matrix("A", A)
    if coreset.n != A.shape[0] or coreset.p != p:
        raise ArgumentError(
            f"coreset is of {coreset.n} rows and p={coreset.p:g}: expected {A.shape[0]} and p={p:g}"
        )
    rng = check_random_state(random_state)
    Q = np.asarray(A @ whitener(A))
    weights = coreset.sample_weight()
    lewis, _, basis = iterate_weights(MatrixBlocks(Q), None, p, 1e-8)
    top = np.argsort(-lewis)[:TOP]
    gram = basis @ basis.T
    starts = np.concatenate(
        [
            rng.standard_normal((max(budget - TOP - Q.shape[1], 1), Q.shape[1])) @ basis.T,
            np.eye(Q.shape[1]),
            Q[top] @ gram,
        ]
    )
    ratios = _ratios(Q, weights, starts, p)
    order = np.argsort(-np.abs(ratios))[:ASCENTS]
    worst = float(np.abs(ratios[order]).max())
    x, sign = starts[order], np.sign(ratios[order])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    value, step = sign * ratios[order], np.full(len(order), 0.3)
    for _ in range(STEPS):
        slope = sign[:, None] * _gradients(Q, weights, x, p)
        slope -= np.einsum("id,id->i", slope, x)[:, None] * x
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)
        trial = x + step[:, None] * slope
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        found = sign * _ratios(Q, weights, trial, p)
        better = found > value
        x[better], value[better] = trial[better], found[better]
        step = np.where(better, 1.3 * step, 0.4 * step)
    return max(worst, float(value.max()))


def _ratios(Q: np.ndarray, weights: np.ndarray, x: np.ndarray, p: float) -> np.ndarray:
    """``||S Q x||^p / ||Q x||^p - 1`` for rows of x."""
    out = np.empty(len(x))
    step = max((1 << 22) // max(len(Q), 1), 1)
    for lo in range(0, len(x), step):
        powers = np.abs(Q @ x[lo : lo + step].T) ** p
        out[lo : lo + step] = (weights @ powers) / powers.sum(axis=0) - 1
    return out


def _gradients(Q: np.ndarray, weights: np.ndarray, x: np.ndarray, p: float) -> np.ndarray:
    """Their gradients, up to the factor p; where a residual is zero, as if its power were smooth."""
    out = np.empty_like(x)
    step = max((1 << 22) // max(len(Q), 1), 1)
    for lo in range(0, len(x), step):
        R = Q @ x[lo : lo + step].T
        size = np.abs(R)
        powers = size**p
        slopes = np.sign(R) * np.maximum(size, 1e-12) ** (p - 1)
        total = powers.sum(axis=0)
        ratio = (weights @ powers) / total
        out[lo : lo + step] = (Q.T @ (slopes * (weights[:, None] - ratio) / total)).T
    return out
