"""Leverage scores: how much a row matters to least squares."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_finite
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState, check_random_state
from gossamer.linalg.sketches.hashing import OSNAP
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks, squared_norms, triangles

Rows = Any
"""A real matrix (n, d) as an ndarray or csr_array."""


class RankDeficientRowsWarning(RuntimeWarning):
    """Columns depend on each other; what depends on an inverse was computed in the space that they span."""


def leverage_scores(A: Any, *, method: str = "auto", random_state: RandomState = None) -> np.ndarray:
    r"""Leverage scores of the rows, :math:`\tau_i = a_i (A^T A)^+ a_i^T`.

    The largest share that row i can have in the squared norm of ``A x``, over all x. They lie in [0, 1] and sum to the
    rank of A.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    method : {"auto", "exact", "sketch"}
        ``"exact"`` by a QR factorisation. ``"sketch"`` takes the triangular factor of a sparse sketch of A and Gaussian
        directions: within a factor 1.5 or so, for tall matrices with many columns. ``"auto"`` is exact for arrays, and
        for sparse matrices with at most a thousand columns.
    random_state : int, Generator or None
        Source of the sketch.

    Returns
    -------
    ndarray, shape (n,)
        float64; zero for rows that are zero.

    Raises
    ------
    ArgumentError
        For NaN or infinite entries, and for an unknown method.

    Notes
    -----
    Exact: ``2 n d^2`` operations for the factor and as many for the scores. Sketched:
    ``n d log n`` and a factorisation of ``8 d`` rows. Where columns depend on each other, the pseudo-inverse is taken
    and a :class:`RuntimeWarning` says so.

    References
    ----------
    Drineas, Magdon-Ismail, Mahoney, Woodruff, "Fast approximation of matrix coherence and statistical leverage",
    JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import leverage_scores
    >>> leverage_scores(np.array([[1.0, 0], [0, 1], [0, 1]])).round(12).tolist()
    [1.0, 0.5, 0.5]
    """
    check_choice("method", method, ("auto", "exact", "sketch"))
    A = check_rows_matrix("A", A)
    n, d = A.shape
    if method == "auto":
        method = "sketch" if scipy.sparse.issparse(A) and d > 1000 else "exact"
    if method == "exact" or n <= 8 * d:
        return np.minimum(squared_norms(MatrixBlocks(A), whitener(A)), 1.0)
    rng = check_random_state(random_state)
    whiten = whitener(OSNAP(n, 8 * d, min(8, 8 * d), seed=rng) @ A)
    count = max(8, math.ceil(4 * math.log(n + 1)))
    directions = rng.standard_normal((whiten.shape[1], count)) / math.sqrt(count)
    return np.minimum(squared_norms(MatrixBlocks(A), whiten @ directions), 1.0)


def whitener(A: Rows, warn: bool = True) -> np.ndarray:
    """A matrix X (d, rank) for which the columns of ``A X`` are orthonormal and span those of A."""
    return blocks_whitener(MatrixBlocks(A), warn)


def blocks_whitener(blocks: RowBlocks, warn: bool = True) -> np.ndarray:
    """:func:`whitener` of a matrix in blocks, in one pass."""
    d = blocks.d
    stack = triangles(blocks)
    scale = np.linalg.norm(stack, axis=0)  # norms of the columns of A
    scale[scale == 0] = 1.0
    R = np.linalg.qr(stack / scale, mode="r") if len(stack) >= d else stack / scale
    diagonal = np.abs(np.diagonal(R))
    if len(R) >= d and diagonal.min(initial=1.0) > 1e-8:
        return scipy.linalg.solve_triangular(R, np.eye(d)) / scale[:, None]
    values, right = np.linalg.svd(R, full_matrices=False)[1:]
    kept = values > max(blocks.n, d) * np.finfo(np.float64).eps * values.max(initial=0.0)
    if warn and kept.sum() < d:
        warnings.warn(
            f"A has rank {int(kept.sum())}, less than its {d} columns: the pseudo-inverse is taken",
            RankDeficientRowsWarning,
            stacklevel=4,
        )
    # in the space of the rows, so that solutions in this basis have the least norm
    space = np.linalg.qr(right[kept].T * scale[:, None])[0]
    return space @ (space.T @ ((right[kept].T / values[kept]) / scale[:, None]))


def check_rows_matrix(name: str, A: Any) -> Rows:
    """Return a finite real matrix as float64: an ndarray, or a csr_array where it was sparse."""
    if scipy.sparse.issparse(A):
        if A.dtype.kind == "c":
            raise ArgumentError(f"{name} is complex: expected real numbers")
        csr = scipy.sparse.csr_array(A).astype(np.float64)
        check_finite(name, csr.data)
        return csr
    array = to_numpy(check_array(name, A, ndim=2, finite=False)).astype(np.float64, copy=False)
    if not np.isfinite(array.sum()):  # one pass; a sum can also overflow
        check_finite(name, array)
    return array
