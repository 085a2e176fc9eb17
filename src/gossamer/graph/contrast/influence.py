"""How strongly nodes of a graph reach each other in a few steps of a random walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import CostError
from gossamer.graph.inputs import as_adjacency
from gossamer.linalg import spgemm, spgemm_symbolic


def influence_matrix(
    A: Any,
    order: int = 3,
    cumulative: bool = True,
    *,
    max_per_row: int | None = None,
    max_nnz: float = 2e8,
    name: str = "A",
) -> scipy.sparse.csr_array:
    r"""Sum the first powers of the random walk on a graph with self-loops.

    .. math::

        \gamma = \sum_{r=1}^R \hat A^r \quad \text{or} \quad \hat A^R, \qquad
        \hat A = D^{-1} (\max(A, A^T) + I)

    Row i says how strongly each node is a neighbour of node i within R steps. Powers fill up: on a graph with hubs the
    fourth may hold most pairs. Then lower the order, or keep the largest entries of each row.

    Parameters
    ----------
    A : sparse matrix, networkx graph, edges, or path, of n nodes
        As in :func:`as_adjacency`; directed edges count in both directions.
    order : int
        R, at least 1.
    cumulative : bool
        The sum of powers, or the last one alone.
    max_per_row : int, optional
        Keep so many largest entries of each row of every power, scaled so that rows sum to 1. Not part of the paper.
    max_nnz : float
        Refuse results with more entries, before they are computed.
    name : str
        What error messages call the graph.

    Returns
    -------
    scipy.sparse.csr_array of float32, shape (n, n)
        Rows sum to R, or to 1.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As of :func:`as_adjacency`, and for settings out of range.
    CostError
        A power would have more than ``max_nnz`` entries.

    Notes
    -----
    Powers are computed in float64. O(nnz of a power times the mean degree) each.

    References
    ----------
    Kulatilleke, Portmann, Chandra, 2022, arXiv 2209.14067.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.graph import influence_matrix
    >>> influence_matrix(np.array([[0, 1], [1, 2]]), 2, cumulative=False).toarray().round(3)
    array([[0.417, 0.417, 0.167],
           [0.278, 0.444, 0.278],
           [0.167, 0.417, 0.417]], dtype=float32)
    """
    order = check_int("order", order, low=1)
    if max_per_row is not None:
        max_per_row = check_int("max_per_row", max_per_row, low=1)
    max_nnz = check_float("max_nnz", max_nnz, low=1)
    A = as_adjacency(A, directed=True, name=name).astype(np.float64)
    looped = scipy.sparse.csr_array(A.maximum(A.T) + scipy.sparse.eye_array(A.shape[0]))
    step = _normed(looped)
    power = step if max_per_row is None else _largest(step, max_per_row)
    total = power
    for _ in range(order - 1):
        _refuse_large(power, step, max_nnz, max_per_row)
        if max_per_row is None:
            power = scipy.sparse.csr_array(spgemm(power, step))
        else:
            blocks: Iterator[Any] = spgemm(power, step, out="blocks")
            kept = [_largest(scipy.sparse.csr_array(block), max_per_row) for block in blocks]
            power = scipy.sparse.csr_array(scipy.sparse.vstack(kept))
        total = scipy.sparse.csr_array(total + power) if cumulative else power
    return total.astype(np.float32)


def _normed(A: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Rows that sum to 1."""
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / A.sum(axis=1)) @ A)


def _refuse_large(power: Any, step: Any, most: float, max_per_row: int | None) -> None:
    if max_per_row is not None:
        entries = float(max_per_row) * power.shape[0]
    else:
        entries = float(spgemm_symbolic(power, step)[0][-1])
    if entries > most:
        raise CostError(
            f"a power of the graph has {entries:.3g} entries, more than max_nnz={most:.3g}: lower the order, set "
            f"max_per_row, or raise max_nnz"
        )


def _largest(A: scipy.sparse.csr_array, count: int) -> scipy.sparse.csr_array:
    """The ``count`` largest entries of each row, of equal ones the first, scaled so that rows sum to 1."""
    rows = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    order = np.lexsort((A.indices, -A.data, rows))
    rank = np.arange(A.nnz) - A.indptr[rows]
    kept = np.sort(order[rank < count])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=A.shape[0]))])
    return _normed(scipy.sparse.csr_array((A.data[kept], A.indices[kept], indptr), shape=A.shape))
