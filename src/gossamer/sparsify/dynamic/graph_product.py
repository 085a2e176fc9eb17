"""A graph times a table in compressed rows, with gradients for the live entries of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._kernels import propagate

BLOCK = 4096  # rows of the gradient that are dense at a time, about


class Graph:
    """A sparse matrix (m, n) and its transpose as kernels take them; ``of`` is what it was made of."""

    def __init__(self, A: Any, n: int) -> None:
        self.of = A
        matrix = A.to_scipy() if hasattr(A, "to_scipy") else A
        if not scipy.sparse.issparse(matrix):
            raise UnsupportedError(f"A is a {type(A).__name__}: expected a sparse matrix")
        if matrix.ndim != 2 or matrix.shape[1] != n:
            raise ShapeError(f"A has shape {matrix.shape}: expected (m, {n})")
        rows = scipy.sparse.csr_array(matrix, dtype=np.float32)
        self.edges, self.transposed = _edges(rows), _edges(scipy.sparse.csr_array(rows.T))


def graph_product(
    values: torch.Tensor, columns: torch.Tensor, indptr: torch.Tensor, dim: int, graph: Graph
) -> torch.Tensor:
    """``A @ table`` (m, dim); two operations for each edge and live entry of its end."""
    return _Product.apply(values, columns, indptr, dim, graph)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, columns: torch.Tensor, indptr: torch.Tensor, dim: int, graph: Graph
    ) -> torch.Tensor:
        ctx.columns, ctx.indptr, ctx.transposed = columns, indptr, graph.transposed
        y = np.empty((graph.edges.rows, dim), np.float32)
        arrays = values.detach().numpy(), columns.numpy().astype(np.int32), indptr.numpy()
        panel = scipy.sparse.csr_array(arrays, shape=(len(indptr) - 1, dim))
        propagate.sparse(graph.edges, panel, propagate.After(y=y))
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        indptr, found = ctx.indptr.numpy(), np.empty(len(ctx.columns), np.float32)
        dense = np.ascontiguousarray(grad.numpy(), np.float32)
        for rows, part in propagate.split(ctx.transposed, -(-(len(indptr) - 1) // BLOCK)):
            y = np.empty((part.rows, dense.shape[1]), np.float32)
            propagate.dense(part, dense, propagate.After(y=y))
            ends = indptr[rows.start : rows.stop + 1]
            here = np.repeat(np.arange(part.rows), np.diff(ends))
            found[ends[0] : ends[-1]] = y[here, ctx.columns.numpy()[ends[0] : ends[-1]]]
        return torch.from_numpy(found), None, None, None, None


def _edges(matrix: scipy.sparse.csr_array) -> propagate.Edges:
    matrix.sum_duplicates()
    return propagate.edges(matrix.indptr, matrix.indices, matrix.data, None, matrix.shape[1])


__all__ = ["Graph", "graph_product"]
