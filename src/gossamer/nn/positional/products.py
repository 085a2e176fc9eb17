"""Powers of a normalised adjacency where they have entries, for graphs whose n by n tables are too large."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from gossamer._core.arrays import to_numpy


def adjacency_powers(edge_index: torch.Tensor, n: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (Z,) and values (Z, m) of the powers 0 to m - 1 of ``D^-1/2 A D^-1/2``, at all entries that one of them has.

    A node without edges keeps its 1 in every power, as in :func:`gossamer.graph.laplacian_eigs`. Rows ascend.
    """
    source, target = to_numpy(edge_index)
    A = scipy.sparse.csr_array((np.ones(len(source)), (target, source)), shape=(n, n))
    A.setdiag(0)
    A.eliminate_zeros()
    A.data[:] = 1  # edges that are listed twice are one
    degree = np.diff(A.indptr)
    half = scipy.sparse.diags_array(1 / np.sqrt(np.maximum(degree, 1)))
    step = half @ A @ half + scipy.sparse.diags_array((degree == 0).astype(np.float64))
    power = scipy.sparse.eye_array(n, format="csr")
    found = []
    for number in range(m):
        power = scipy.sparse.csr_array(step @ power) if number else scipy.sparse.csr_array(power)
        power.sort_indices()
        rows = np.repeat(np.arange(n), np.diff(power.indptr))
        found.append((rows * n + power.indices, power.data))
    places = np.unique(np.concatenate([place for place, _ in found]))
    values = np.zeros((len(places), m))
    for number, (place, data) in enumerate(found):
        values[np.searchsorted(places, place), number] = data
    return torch.from_numpy(places // n), torch.from_numpy(values)


__all__ = ["adjacency_powers"]
