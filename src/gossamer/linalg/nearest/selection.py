"""Which entries matter (saliency), and which stay (masks). Equal scores are settled for the lower index."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular

from gossamer._core.checks import check_choice
from gossamer.linalg.nearest.inverse import inverse_diagonal, inverse_factor

KINDS = ("auto", "magnitude", "wanda", "obs", "hessian")
SCOPES = ("matrix", "row")


def saliency(W: np.ndarray, metric: np.ndarray | None = None, kind: str = "auto") -> np.ndarray:
    r"""Score every entry by what its loss would cost.

    ======================  =============================================================================
    ``kind``                score of ``w_ij``
    ======================  =============================================================================
    ``"magnitude"``         :math:`w_{ij}^2`
    ``"wanda"``             :math:`w_{ij}^2 H_{jj}`: the error if the other weights stay
    ``"obs"``               :math:`w_{ij}^2 / [H^{-1}]_{jj}`: the error if the others make up for it
    ``"hessian"``           :math:`w_{ij}^2 / [H^{-1}]_{jj}^2`: the form of SparseGPT's code and of GQSA
    ``"auto"``              magnitude, wanda or obs, for a metric of None, shape (K,) or shape (K, K)
    ======================  =============================================================================

    Parameters
    ----------
    W : ndarray, shape (O, K)
        Weights.
    metric : None or ndarray of shape (K,) or (K, K)
        Second moment of the inputs or its diagonal; None is the identity.
    kind : str
        One of the table.

    Returns
    -------
    ndarray of float64, shape (O, K)
        Scores; those of inputs that are always zero are 0.
    """
    check_choice("metric", kind, KINDS)
    scores = W.astype(np.float64)
    scores *= scores
    if metric is None or kind == "magnitude":
        return scores
    if kind == "auto":
        kind = "wanda" if metric.ndim == 1 else "obs"
    diagonal = metric if metric.ndim == 1 else np.diagonal(metric)
    if kind == "wanda":
        return scores * diagonal
    inverse = inverse_diagonal(metric)
    return scores * ((diagonal > 0) / (inverse if kind == "obs" else inverse**2))


def count_kept(density: float, n: int) -> int:
    """``ceil(density n)``, at least 1, safe from rounding such as ``0.07 * 100 > 7``."""
    return min(n, max(1, math.ceil(density * n - 1e-9 * n)))


def keep_largest(scores: np.ndarray, density: float, scope: str = "matrix") -> np.ndarray:
    """Mask of the ``ceil(density n)`` largest of the n scores of the matrix, or of every row.

    Parameters
    ----------
    scores : ndarray, shape (O, K)
        Finite scores.
    density : float in (0, 1]
        Fraction kept.
    scope : {"matrix", "row"}
        What the fraction refers to.

    Returns
    -------
    ndarray of bool, shape (O, K)
    """
    pool = scores.reshape(1, -1) if check_choice("scope", scope, SCOPES) == "matrix" else scores
    return _top(pool, count_kept(density, pool.shape[1])).reshape(scores.shape)


def keep_nm(scores: np.ndarray, n: int, m: int) -> np.ndarray:
    """Mask (O, K) of the n largest scores in every m consecutive ones; a short last group keeps up to n."""
    rows, width = scores.shape
    padded = np.pad(scores, ((0, 0), (0, -width % m)), constant_values=-np.inf)
    mask = _top(padded.reshape(-1, m), n).reshape(rows, -1)
    return mask[:, :width]


def group_losses(W: np.ndarray, metric: np.ndarray, width: int) -> np.ndarray:
    r"""What losing each group of ``width`` columns costs a row in the sweep of :mod:`gossamer.linalg.nearest.obs`.

    For the group g it is :math:`w_g ([H_{g:}^{-1}]_{gg})^{-1} w_g^T`, the error after the columns to the
    right of the group have replied by least squares, those to the left being settled. With groups of 16 it
    leads to masks whose error is lower than that of masks by element-wise scores, which do not know what a
    group can make up for.

    Parameters
    ----------
    W : ndarray, shape (O, K)
    metric : ndarray, shape (K, K)
        Second moment of the inputs; damped here.
    width : int
        Columns of a group.

    Returns
    -------
    ndarray of float64, shape (O, ceil(K / width))
    """
    upper, dead = inverse_factor(metric)
    weights = np.where(dead, 0, W.astype(np.float64)).T
    losses = np.empty((len(W), -(-len(weights) // width)))
    for g in range(losses.shape[1]):
        part = slice(g * width, (g + 1) * width)
        whitened = solve_triangular(upper[part, part], weights[part], trans="T", check_finite=False)
        losses[:, g] = np.einsum("ij,ij->j", whitened, whitened)
    return losses


def block_sums(scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sum of the scores of every (r, c) block, shape (ceil(O/r), ceil(K/c))."""
    r, c = shape
    return np.add.reduceat(
        np.add.reduceat(scores, range(0, scores.shape[1], c), axis=1), range(0, scores.shape[0], r), axis=0
    )


def block_means(scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean score of every (r, c) block, shape (ceil(O/r), ceil(K/c)); short blocks average what they have."""
    heights, widths = (np.minimum(size, n - np.arange(0, n, size)) for size, n in zip(shape, scores.shape))
    return block_sums(scores, shape) / np.multiply.outer(heights, widths)


def expand_blocks(mask: np.ndarray, shape: tuple[int, int], full: tuple[int, int]) -> np.ndarray:
    """Repeat a mask of (r, c) blocks to one of entries of shape ``full``."""
    return np.repeat(np.repeat(mask, shape[0], axis=0), shape[1], axis=1)[: full[0], : full[1]]


def rationed(density: float, scope: str = "matrix") -> Callable[[np.ndarray, int], np.ndarray]:
    """Return ``select(scores, start)`` for the sweep: it keeps a window's share of the density.

    The window ``start <= j < start + width`` keeps what the columns before it have left of ``ceil(density
    n)``, so that the whole matrix (or every row) ends with exactly that count.
    """
    check_choice("scope", scope, SCOPES)

    def select(scores: np.ndarray, start: int) -> np.ndarray:
        rows, width = scores.shape
        pool = scores.reshape(1, -1) if scope == "matrix" else scores
        each = rows if scope == "matrix" else 1
        before = count_kept(density, each * start) if start else 0
        return _top(pool, count_kept(density, each * (start + width)) - before).reshape(scores.shape)

    return select


def _top(pool: np.ndarray, k: int) -> np.ndarray:
    """Mask of the k largest of every row of a 2-D array."""
    width = pool.shape[1]
    if k <= 0 or k >= width:
        return np.full(pool.shape, k > 0)
    threshold = np.partition(pool, width - k, axis=1)[:, width - k, None]
    above, level = pool > threshold, pool == threshold
    room = k - above.sum(axis=1, keepdims=True)
    if (level.sum(axis=1, keepdims=True) != room).any():
        level &= np.cumsum(level, axis=1) <= room
    return above | level
