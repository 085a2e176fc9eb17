"""Colours for the unknowns of a sparse matrix, such that no two of a colour are coupled."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from gossamer._kernels import relax


def colour_levels(A: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Colour greedily, in the order of the rows; a 5- or 7-point star gets two colours.

    Parameters
    ----------
    A : csr_array, shape (n, n)
        A coupling may stand above or below the diagonal only.

    Returns
    -------
    order : ndarray of int64, shape (n,)
        Unknowns, those of a colour together.
    levels : ndarray of int64, shape (colours + 1,)
        Where each colour begins in ``order``.

    Notes
    -----
    O(nnz); at most one colour more than an unknown has neighbours.
    """
    pattern = scipy.sparse.csr_array((np.ones(A.nnz, np.int8), A.indices, A.indptr), shape=A.shape)
    graph = scipy.sparse.csr_array(pattern + pattern.T)
    colours = relax.colour(graph.indptr, graph.indices)
    order = np.argsort(colours, kind="stable").astype(np.int64)
    counts = np.bincount(colours) if len(colours) else np.zeros(0, np.int64)
    return order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
