r"""Factors ``W`` (m, d) with :math:`F^{-1} = \lambda^{-1} I - W^T W`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from scipy.linalg import cholesky, get_blas_funcs

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve.shards import Reduce


def gemm_factor(G: np.ndarray, damp: float, reduce: Reduce | None = None) -> np.ndarray:
    r"""Factor the inverse by matrix products: :math:`K = m\lambda I + GG^T = LL^T`, :math:`W = L^{-1}G/\sqrt\lambda`.

    Row i equals ``v_i / sqrt(s_i)`` of :func:`recurrence_factor`. The m x m part is float64.

    Parameters
    ----------
    G : ndarray, shape (m, d)
        Gradients, float32 or float64.
    damp : float
        Damping.
    reduce : callable, optional
        Sums an array over processes that hold other columns of G.

    Returns
    -------
    ndarray, shape (m, d)
        W in the dtype of G. O(d m^2) operations, one Gram product and one triangular solve.
    """
    L = _factor_gram(_gram(G, G), damp, reduce)
    # a row-major (m, d) array is BLAS's (d, m): W^T L^T = G^T, solved in place of a copy
    solve = get_blas_funcs("trsm", dtype=G.dtype)
    upper = np.asfortranarray(L.T, dtype=G.dtype)
    return solve(1 / np.sqrt(damp), upper, np.array(G, order="C").T, side=1, lower=0, overwrite_b=1).T


def paged_factor(
    G: np.ndarray, damp: float, pages: int, out: np.ndarray, reduce: Reduce | None = None
) -> np.ndarray:
    """The same, a page of rows at a time: two pages are in memory at once, ``G`` and ``out`` may be memmaps."""
    m = len(G)
    cuts = np.linspace(0, m, pages + 1).astype(int)
    rows = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    K = np.empty((m, m))
    for p, page in enumerate(rows):
        here = np.asarray(G[page])
        for other in rows[: p + 1]:
            K[page, other] = _gram(here, np.asarray(G[other]))
            K[other, page] = K[page, other].T
    L = _factor_gram(K, damp, reduce)
    for p, page in enumerate(rows):
        rest = np.array(G[page], order="C")
        for other in rows[:p]:  # earlier pages hold W, which is 1 / sqrt(damp) too large for this
            rest -= (L[page, other] * np.sqrt(damp)).astype(G.dtype) @ np.asarray(out[other])
        solve = get_blas_funcs("trsm", dtype=G.dtype)
        upper = np.asfortranarray(L[page, page].T, dtype=G.dtype)
        out[page] = solve(1 / np.sqrt(damp), upper, rest.T, side=1, lower=0, overwrite_b=1).T
    return out


def recurrence_factor(
    gradients: Iterable[np.ndarray], m: int, damp: float, block: int | None = None
) -> np.ndarray:
    r"""Factor the inverse by the Woodbury recurrence, a gradient at a time.

    :math:`v_i = \lambda^{-1} g_i - \sum_{j<i} (v_j^T g_i / s_j) v_j`, :math:`s_i = m + g_i^T v_i`; row i is
    :math:`v_i / \sqrt{s_i}`. It needs no gradient twice, so that they may come from a stream; otherwise
    :func:`gemm_factor` does the same in fewer passes.

    Parameters
    ----------
    gradients : iterable of ndarray, shape (d,)
        m of them.
    m : int
        Their number, known from the start: it scales the sum.
    damp : float
        Damping.
    block : int, optional
        Size of independent blocks of coordinates.

    Returns
    -------
    ndarray, shape (m, d)
        W in the dtype of the first gradient. O(d m^2) operations.
    """
    W: np.ndarray | None = None
    count = 0
    for i, gradient in enumerate(gradients):
        g = np.asarray(gradient)
        if not np.isfinite(g).all():
            raise ArgumentError(f"gradient {i} of {m} has NaN or infinite entries")
        count = i + 1
        if count > m:
            break
        if W is None:
            d, size = len(g), min(block or len(g), len(g))
            W = np.zeros((m, d), g.dtype)
            cuts = [slice(a, min(a + size, d)) for a in range(0, d, size)]
        if g.shape != (W.shape[1],):
            raise ShapeError(f"gradient {i} has shape {g.shape}: expected ({W.shape[1]},)")
        for cut in cuts:
            part, before = g[cut], W[:i, cut]
            v = part / g.dtype.type(damp) - before.T @ (before @ part)
            W[i, cut] = v / np.sqrt(m + float(part @ v))
    if W is None or count != m:
        raise ArgumentError(f"gradients has {count}{'+' if count > m else ''} items: expected m={m}")
    return W


def _gram(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left right^T``; long float32 sums are cut, so that their error does not grow with d."""
    step = 1 << 18
    out = np.zeros((len(left), len(right)))
    for start in range(0, left.shape[1], step):
        out += left[:, start : start + step] @ right[:, start : start + step].T
    return out


def _factor_gram(K: np.ndarray, damp: float, reduce: Reduce | None) -> np.ndarray:
    if reduce is not None:
        K = reduce(K)
    K = (K + K.T) / 2
    K[np.diag_indices_from(K)] += len(K) * damp
    try:
        return cholesky(K, lower=True, check_finite=False)
    except np.linalg.LinAlgError as error:
        raise ArgumentError(f"damp={damp!r}: too small for gradients of this size, K is singular") from error
