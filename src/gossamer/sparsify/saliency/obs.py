"""Optimal Brain Surgeon: what a weight's removal costs, and how the others make up for it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_choice
from gossamer._core.errors import ShapeError


def obs_saliency(w: Array, fisher_inverse: Any, groups: Any = None) -> np.ndarray:
    r"""Loss increase of removing each weight, or each group of weights, with the others moved optimally.

    :math:`\rho_q = w_q^2 / (2 [F^{-1}]_{qq})`; for a group :math:`\rho_Q = \frac12 w_Q^T ([F^{-1}]_{QQ})^{-1} w_Q`.

    Parameters
    ----------
    w : array, shape (d,)
        Weights.
    fisher_inverse : FisherInverse or another inverse of :mod:`gossamer.solve`
        Inverse of the curvature.
    groups : list of int arrays, or int array of shape (n, k), optional
        Coordinates of each group.

    Returns
    -------
    ndarray of float64, shape (d,) or (n groups,)
        Savings first: prune the smallest.
    """
    w = _weights(w, fisher_inverse)
    if groups is None:
        return w**2 / (2 * fisher_inverse.diag())
    out = np.empty(len(groups))
    sizes = np.array([len(group) for group in groups])
    for size in np.unique(sizes):  # groups of one size go through LAPACK together
        which = np.flatnonzero(sizes == size)
        step = max(1, (1 << 24) // max(1, size * max(size, getattr(fisher_inverse, "m", 1))))
        for start in range(0, len(which), step):
            some = which[start : start + step]
            idx = np.stack([np.asarray(groups[i]) for i in some])
            part = w[idx]
            solved = np.linalg.solve(fisher_inverse.submatrix(idx), part[..., None])[..., 0]
            out[some] = 0.5 * (part * solved).sum(axis=1)
    return out


def obs_update(w: Array, fisher_inverse: Any, drop: np.ndarray, joint: str = "independent") -> np.ndarray:
    r"""Weights after the removal of ``drop``: those are zero exactly, the others are moved to make up for it.

    ``"independent"``: the single moves added up, :math:`\delta w = F^{-1} e`, :math:`e_q = -w_q/[F^{-1}]_{qq}`.
    ``"exact"``: the minimiser over all moves that zero the set, :math:`\delta w = -F^{-1} E_Q ([F^{-1}]_{QQ})^{-1} w_Q`
    by blocks; :math:`O(|Q|^3)` a block, so it wants blocks.

    Parameters
    ----------
    w : array, shape (d,)
        Weights.
    fisher_inverse : FisherInverse or another inverse of :mod:`gossamer.solve`
        Inverse of the curvature.
    drop : ndarray of int
        Coordinates to remove.
    joint : {"independent", "exact"}
        How removals interact.

    Returns
    -------
    ndarray of float64, shape (d,)
    """
    check_choice("joint", joint, ("independent", "exact"))
    w = _weights(w, fisher_inverse)
    drop = np.sort(np.asarray(drop, dtype=np.int64))
    e = np.zeros_like(w)
    if joint == "independent":
        e[drop] = -w[drop] / fisher_inverse.diag()[drop]
    else:
        for cut in fisher_inverse.blocks():
            inside = drop[np.searchsorted(drop, cut.start) : np.searchsorted(drop, cut.stop)]
            if len(inside):
                e[inside] = -np.linalg.solve(fisher_inverse.submatrix(inside), w[inside])
    out = w + fisher_inverse.mul(e)
    out[drop] = 0.0
    return out


def nm_drop(w: Array, fisher_inverse: Any, groups: np.ndarray, count: int) -> np.ndarray:
    """Choose ``count`` coordinates to drop in each group (N:M patterns): the subset with the least saliency.

    Parameters
    ----------
    w : array, shape (d,)
        Weights.
    fisher_inverse : FisherInverse or another inverse of :mod:`gossamer.solve`
        Inverse of the curvature.
    groups : ndarray of int, shape (n, k)
        Coordinates of each group.
    count : int
        Coordinates to drop; all subsets are tried.

    Returns
    -------
    ndarray of int, shape (n * count,)
        Coordinates to drop.
    """
    subsets = np.array(list(itertools.combinations(range(groups.shape[1]), count)))
    scores = np.stack([obs_saliency(w, fisher_inverse, groups[:, subset]) for subset in subsets], axis=1)
    return np.take_along_axis(groups, subsets[scores.argmin(axis=1)], axis=1).reshape(-1)


def _weights(w: Array, fisher_inverse: Any) -> np.ndarray:
    w = to_numpy(w).astype(np.float64)
    if w.shape != (fisher_inverse.d,):
        raise ShapeError(f"w has shape {w.shape}: expected ({fisher_inverse.d},)")
    return w
