"""Sparse matrices of torch tensors, with gradients in their values: adjacencies, and features with many zeros."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._kernels import csr

BLOCK = 1 << 22  # numbers that the gradient of values gathers at a time
STEEPEST = 60.0  # exponent of an entry of weight 0, whose score no other bounds


class Pattern:
    """Where a sparse matrix has entries, in compressed rows; made once, shared by all values on it."""

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, shape: tuple[int, int]) -> None:
        self.indptr, self.indices, self.shape = indptr, indices, shape
        self.columns = torch.from_numpy(indices.astype(np.int64))
        self.rows = torch.from_numpy(np.repeat(np.arange(shape[0]), np.diff(indptr)))
        self._transposed: tuple[Pattern, torch.Tensor] | None = None
        self._looped: tuple[Pattern, torch.Tensor] | None = None

    def transposed(self) -> tuple[Pattern, torch.Tensor]:
        """The pattern of the transpose, and which entry of this one each of its entries is."""
        if self._transposed is None:
            order = np.argsort(self.indices, kind="stable")
            counts = np.bincount(self.indices, minlength=self.shape[1])
            pattern = Pattern(
                np.concatenate([[0], np.cumsum(counts)]).astype(self.indptr.dtype),
                self.rows.numpy()[order].astype(self.indices.dtype),
                self.shape[::-1],
            )
            self._transposed = pattern, torch.from_numpy(order)
        return self._transposed

    def looped(self) -> tuple[Pattern, torch.Tensor]:
        """The pattern with a full diagonal, and where the entries of this one stand in it."""
        if self._looped is None:
            n, rows, columns = self.shape[0], self.rows.numpy(), self.indices
            missing = np.setdiff1d(np.arange(n), rows[rows == columns])
            all_rows = np.concatenate([rows, missing])
            order = np.lexsort((np.concatenate([columns, missing]), all_rows))
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            counts = np.bincount(all_rows, minlength=n)
            pattern = Pattern(
                np.concatenate([[0], np.cumsum(counts)]).astype(self.indptr.dtype),
                np.concatenate([columns, missing])[order].astype(columns.dtype),
                self.shape,
            )
            self._looped = pattern, torch.from_numpy(place[: len(rows)])
        return self._looped


class SparseTensor:
    r"""A sparse matrix whose products are differentiable in its values and in what it is multiplied with.

    As an adjacency, row i lists the nodes whose messages node i receives: ``(A @ x)[i]`` is
    :math:`\sum_j a_{ij} x_j`. For an undirected graph that is its symmetric matrix; of directed edges u -> v, which
    carry messages from u to v, the entry is at ``[v, u]``, as :meth:`from_edge_index` puts it. Tables of features with
    many zeros are held in the same way. Make it once: what is derived from the pattern (the transpose, self-loops,
    the normalised form) is kept with it.

    Parameters
    ----------
    pattern : Pattern
        Where the entries are; :meth:`of` and :meth:`from_edge_index` make it.
    values : tensor, shape (E,)
        Entries, row by row.

    Notes
    -----
    On the CPU products run by the library's kernel for compressed rows, in float32 or float64; half precision is
    widened. Elsewhere torch gathers and adds. The same bits for any number of threads.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import SparseTensor
    >>> A = SparseTensor.of(scipy.sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]))
    >>> (A @ torch.tensor([[1.0], [2.0]])).tolist()
    [[2.0], [1.0]]
    """

    ndim = 2

    def __init__(self, pattern: Pattern, values: torch.Tensor) -> None:
        if values.shape != pattern.columns.shape:
            raise ShapeError(f"values has shape {tuple(values.shape)}: expected ({len(pattern.columns)},)")
        self.pattern, self.values = pattern, values
        self._normalized: SparseTensor | None = None

    @classmethod
    def of(cls, matrix: Any, dtype: torch.dtype | None = None) -> SparseTensor:
        """Take a sparse matrix from SciPy or torch (CSR or COO), or pass a :class:`SparseTensor` through.

        Parameters
        ----------
        matrix : SparseTensor, scipy.sparse matrix or torch sparse tensor, shape (n, m)
            Duplicates are summed. Values of a torch tensor in CSR keep their gradients.
        dtype : torch.dtype, optional
            Of the values; float32 unless they are float64.
        """
        if isinstance(matrix, SparseTensor):
            return matrix if dtype is None else matrix.with_values(matrix.values.to(dtype))
        if is_torch(matrix):
            if matrix.layout == torch.sparse_coo:
                matrix = matrix.coalesce().to_sparse_csr()
            if matrix.layout != torch.sparse_csr or matrix.ndim != 2:
                raise UnsupportedError(f"matrix is a {matrix.layout} tensor: expected 2-D, sparse CSR or COO")
            arrays = to_numpy(matrix.crow_indices()), to_numpy(matrix.col_indices())
            values = matrix.values()
        elif scipy.sparse.issparse(matrix):
            compressed = scipy.sparse.csr_array(matrix)
            if not compressed.has_canonical_format:
                compressed = compressed.copy()
                compressed.sum_duplicates()
            arrays, values = (compressed.indptr, compressed.indices), torch.from_numpy(compressed.data.copy())
        else:
            raise UnsupportedError(f"matrix is a {type(matrix).__name__}: expected a sparse matrix")
        wanted = dtype or (torch.float64 if values.dtype == torch.float64 else torch.float32)
        shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        return cls(Pattern(*_compact(*arrays, shape), shape), values.to(wanted))

    @classmethod
    def from_edge_index(
        cls, edge_index: Any, n: int, edge_weight: Any = None
    ) -> tuple[SparseTensor, torch.Tensor]:
        """Build an adjacency from PyTorch Geometric's lists of sources and targets.

        Parameters
        ----------
        edge_index : array or tensor of int, shape (2, E)
            Sources above targets. Edges that are listed twice stay two entries.
        n : int
            Nodes.
        edge_weight : tensor, shape (E,), optional
            Ones by default; gradients flow.

        Returns
        -------
        adjacency : SparseTensor, shape (n, n)
        order : tensor of int, shape (E,)
            Which edge each entry is: ``edge_attr[order]`` are attributes in the order of the entries.
        """
        n, edges = check_int("n", n, low=0), to_numpy(edge_index)
        if edges.ndim != 2 or len(edges) != 2 or edges.dtype.kind not in "iu":
            raise ShapeError(f"edge_index is {edges.dtype} {edges.shape}: expected integers of shape (2, E)")
        if edges.size and (edges.min() < 0 or edges.max() >= n):
            raise ArgumentError(
                f"edge_index spans {edges.min()}..{edges.max()}: expected nodes in 0..{n - 1}"
            )
        source, target = edges
        order = torch.from_numpy(np.lexsort((source, target)))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=n))])
        weight = torch.ones(len(order)) if edge_weight is None else torch.as_tensor(edge_weight)
        if weight.shape != order.shape:
            raise ShapeError(f"edge_weight has shape {tuple(weight.shape)}: expected {tuple(order.shape)}")
        pattern = Pattern(*_compact(indptr, source[order.numpy()], (n, n)), (n, n))
        return cls(pattern, weight[order]), order

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pattern.shape

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return len(self.values)

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def T(self) -> SparseTensor:
        """The transpose."""
        pattern, order = self.pattern.transposed()
        return SparseTensor(pattern, self.values[order])

    def with_values(self, values: torch.Tensor) -> SparseTensor:
        """Other values (E,) at the same places."""
        return SparseTensor(self.pattern, values)

    def with_columns(self, place: torch.Tensor, m: int) -> SparseTensor:
        """Move column j to ``place[j]`` of m, which must rise, or leave it out where that is -1. Gradients flow."""
        p, where = self.pattern, place[self.pattern.columns]
        kept = where >= 0
        ends = np.concatenate([[0], np.cumsum(kept.numpy())])[p.indptr]
        shape = (self.shape[0], m)
        return SparseTensor(Pattern(*_compact(ends, where[kept].numpy(), shape), shape), self.values[kept])

    def to_scipy(self) -> Any:
        """A ``scipy.sparse.csr_array`` that shares memory."""
        p = self.pattern
        return scipy.sparse.csr_array((to_numpy(self.values), p.indices, p.indptr), shape=self.shape)

    def to_dense(self) -> torch.Tensor:
        """The dense matrix; gradients flow."""
        zeros = self.values.new_zeros(self.shape)
        return zeros.index_put((self.pattern.rows, self.pattern.columns), self.values, accumulate=True)

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        """Product with x of shape (m, ...), over its first axis, in the dtype of x."""
        if x.ndim == 0 or x.shape[0] != self.shape[1]:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.shape[1]} rows")
        columns = x if x.ndim == 2 else x.reshape(len(x), math.prod(x.shape[1:]))
        y = _Product.apply(self.values, columns, self.pattern)
        return y if x.ndim == 2 else y.reshape(len(y), *x.shape[1:])

    def sum_rows(self, values: torch.Tensor | None = None) -> torch.Tensor:
        """Sum entries of each row, or what stands for them: (E,) or (E, d) to (n,) or (n, d)."""
        values = self.values if values is None else values
        return values.new_zeros(self.shape[0], *values.shape[1:]).index_add(0, self.pattern.rows, values)

    def with_self_loops(self, weight: float = 1.0) -> SparseTensor:
        """The matrix with ``weight`` at those places of its diagonal where nothing is stored."""
        self._require_square()
        pattern, old = self.pattern.looped()
        values = self.values.new_full((len(pattern.columns),), weight)
        return SparseTensor(pattern, values.index_put((old,), self.values))

    def normalized(self) -> SparseTensor:
        r"""The propagation matrix of graph convolutions, :math:`D^{-1/2} (A + I) D^{-1/2}` with D the sums of rows.

        Self-loops that are stored keep their weight. Kept once computed, unless values ask for gradients.
        """
        if self._normalized is not None and not self.values.requires_grad:
            return self._normalized
        looped = self.with_self_loops()
        degree = looped.sum_rows()
        scale = torch.where(degree > 0, degree.clamp_min(torch.finfo(degree.dtype).tiny).rsqrt(), 0.0)
        p = looped.pattern
        found = looped.with_values(looped.values * scale[p.rows] * scale[p.columns])
        if not self.values.requires_grad:
            self._normalized = found
        return found

    def softmax(self, scores: torch.Tensor) -> torch.Tensor:
        r"""Shares of each row, :math:`a_{ij} e^{s_{ij}} / \sum_k a_{ik} e^{s_{ik}}`.

        An entry of weight 0 takes no part, as if it were not stored.

        Parameters
        ----------
        scores : tensor, shape (E,) or (E, H)
            One a stored entry, or one for each of H heads.
        """
        columns = scores[:, None] if scores.ndim == 1 else scores
        if columns.ndim != 2 or len(columns) != self.nnz:
            raise ShapeError(
                f"scores has shape {tuple(scores.shape)}: expected ({self.nnz},) or ({self.nnz}, H)"
            )
        rows, weight = self.pattern.rows, self.values[:, None].to(columns.dtype)
        live = columns.detach().masked_fill(weight == 0, -torch.inf)
        top = columns.new_full((self.shape[0], columns.shape[1]), -torch.inf)
        top = top.scatter_reduce(0, rows[:, None].expand_as(live), live, "amax")
        top = top.masked_fill(top.isinf(), 0.0)
        parts = weight * (columns - top[rows]).clamp(max=STEEPEST).exp()
        total = self.sum_rows(parts).clamp_min(torch.finfo(parts.dtype).tiny)
        return (parts / total[rows]).reshape(scores.shape)

    def _require_square(self) -> None:
        if self.shape[0] != self.shape[1]:
            raise ShapeError(f"the matrix has shape {self.shape}: expected a square adjacency")

    def __repr__(self) -> str:
        return f"<SparseTensor {self.shape[0]}x{self.shape[1]}, {self.nnz} entries, {self.dtype}>"


class _Product(torch.autograd.Function):
    """``A x``: linear in both, so that the derivatives are products and dot products again, to any order."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, x: torch.Tensor, pattern: Pattern) -> torch.Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, x)
        if x.device.type != "cpu":
            y = x.new_zeros(pattern.shape[0], x.shape[1])
            return y.index_add(0, pattern.rows, values[:, None].to(x.dtype) * x[pattern.columns])
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        arrays = to_numpy(values.to(wide)), to_numpy(x.to(wide))
        return torch.from_numpy(csr.matmat(pattern.indptr, pattern.indices, *arrays)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        values, x = ctx.saved_tensors
        to_values = to_x = None
        if ctx.needs_input_grad[0]:
            step = max(1, BLOCK // max(x.shape[1], 1))
            places = zip(ctx.pattern.rows.split(step), ctx.pattern.columns.split(step))
            to_values = torch.cat([(grad[i] * x[j]).sum(1) for i, j in places]).to(values.dtype)
        if ctx.needs_input_grad[1]:
            pattern, order = ctx.pattern.transposed()
            to_x = _Product.apply(values[order], grad, pattern)
        return to_values, to_x, None


def _compact(
    indptr: np.ndarray, indices: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pointers and indices in the narrower type that holds them, checked once: kernels trust them."""
    kind = np.int32 if max(len(indices), *shape) < np.iinfo(np.int32).max else np.int64
    indptr, indices = indptr.astype(kind), indices.astype(kind)
    csr.check(indptr, indices, np.empty(len(indices), np.float32), shape)
    return indptr, indices


__all__ = ["Pattern", "SparseTensor"]
