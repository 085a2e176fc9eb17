"""Graphs as most methods take them: undirected, without loops, in double precision."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse

from gossamer.graph.inputs import as_adjacency


def simple_adjacency(graph: Any, *, weighted: bool = True, name: str = "A") -> scipy.sparse.csr_array:
    """The adjacency of an undirected graph of any form, float64; loops are dropped with a warning."""
    A = as_adjacency(graph, weighted=weighted, name=name).astype(np.float64)
    loops = int(np.count_nonzero(A.diagonal()))
    if loops:
        warnings.warn(f"{name} has {loops} self-loops, which are dropped", UserWarning, stacklevel=3)
        A = as_adjacency(A, self_loops=False)
    return A
