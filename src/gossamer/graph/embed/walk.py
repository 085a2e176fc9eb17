"""The matrix whose powers an embedding multiplies: steps of a walk, adjacency, or its symmetric form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from gossamer._kernels import propagate

MATRICES = ("transition", "adjacency", "sym")


@dataclass(frozen=True)
class Walk:
    """A graph, ready for products with its powers.

    Power k of the matrix, times rows scaled by ``head``, is ``growth**k`` and ``tail`` times what ``edges`` give.

    Attributes
    ----------
    edges : Edges
        Rows for the native product, each divided by its degree or all by ``growth``.
    degrees : ndarray, shape (n,)
        Sums of rows.
    head : ndarray, shape (n,)
        What the rows of the random matrix are multiplied with.
    tail : ndarray, shape (n,), or None
        What the rows of products are multiplied with; None for 1.
    growth : float
        Keeps powers of an adjacency in the range of float32.
    """

    edges: propagate.Edges
    degrees: np.ndarray
    head: np.ndarray
    tail: np.ndarray | None
    growth: float


def make_walk(A: scipy.sparse.csr_array, beta: float, input_matrix: str) -> Walk:
    """Prepare a graph; the popularity of a node is the sum of its column, to the power of ``beta``, 0 if that is 0."""
    degrees, popularity = _sums(A, 1), _sums(A, 0)
    total = popularity.sum()
    head = np.zeros(len(degrees))
    some = popularity > 0
    head[some] = (popularity[some] / total) ** beta
    growth = float(degrees @ popularity / total) if input_matrix == "adjacency" and total > 0 else 1.0
    tail = None
    if input_matrix == "sym":
        tail = np.sqrt(degrees)
        head = np.where(degrees > 0, head / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    return Walk(step_edges(A, degrees, input_matrix, growth), degrees, head, tail, growth)


def step_edges(
    A: scipy.sparse.csr_array, degrees: np.ndarray, input_matrix: str, growth: float
) -> propagate.Edges:
    """Rows (r, n) for the native product; weights that are all the same become a factor of the row."""
    divisor = np.full(A.shape[0], growth) if input_matrix == "adjacency" else degrees
    inverse = 1 / np.where(divisor > 0, divisor, 1)
    if A.nnz == 0 or (A.data == A.data[0]).all():
        scale = (inverse * (A.data[0] if A.nnz else 1)).astype(np.float32)
        return propagate.edges(A.indptr, A.indices, None, scale, A.shape[1])
    weights = (A.data * np.repeat(inverse, np.diff(A.indptr))).astype(np.float32)
    return propagate.edges(A.indptr, A.indices, weights, None, A.shape[1])


def _sums(A: scipy.sparse.csr_array, axis: int) -> np.ndarray:
    return np.asarray(A.sum(axis=axis, dtype=np.float64)).ravel()
