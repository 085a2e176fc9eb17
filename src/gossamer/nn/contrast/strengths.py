"""Which nodes are neighbours, and how strongly: a sparse matrix beside its transpose on one symmetric pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_finite
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._kernels import contrast
from gossamer.nn.graph.sparse_tensor import SparseTensor


class NeighbourStrengths:
    r"""Strengths :math:`\gamma_{ij} \ge 0` in the form in which contrastive losses read them.

    Parameters
    ----------
    pattern : scipy.sparse.csr_array of complex128, shape (n, n)
        :math:`\gamma_{ij} + i \gamma_{ji}`, so that its pattern is symmetric; :meth:`of` makes it.
    centres : int
        Rows of the loss: the first so many of n.
    """

    def __init__(self, pattern: scipy.sparse.csr_array, centres: int) -> None:
        self.indptr, self.indices = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int32)
        self.there, self.back = pattern.data.real.copy(), pattern.data.imag.copy()
        self.centres = centres
        self._native: dict[Any, contrast.Strengths] = {}

    @classmethod
    def of(cls, gamma: Any) -> NeighbourStrengths:
        """Take a sparse matrix of shape (m, n) from SciPy or torch, m <= n; its values are constants of the loss."""
        if isinstance(gamma, NeighbourStrengths):
            return gamma
        sparse = is_torch(gamma) and gamma.layout in (torch.sparse_csr, torch.sparse_coo)
        if not (sparse or scipy.sparse.issparse(gamma) or isinstance(gamma, SparseTensor)):
            raise UnsupportedError(
                f"gamma is a {type(gamma).__name__}: expected a sparse matrix of SciPy, or a tensor in CSR or COO"
            )
        if gamma.ndim != 2 or not 0 < gamma.shape[0] <= gamma.shape[1]:
            raise ShapeError(f"gamma has shape {tuple(gamma.shape)}: expected (m, n) with 1 <= m <= n")
        strengths = SparseTensor.of(gamma).to_scipy()
        check_finite("gamma", strengths.data)
        if strengths.nnz and strengths.data.min() < 0:
            raise ArgumentError(
                f"gamma has a negative entry, {strengths.data.min()}: expected strengths >= 0"
            )
        m, n = strengths.shape
        wide = scipy.sparse.csr_array(strengths.astype(np.complex128))
        wide.resize((n, n))
        # strengths are not negative, so that nothing cancels and the pattern of the sum is that of both
        pattern = scipy.sparse.csr_array(wide + 1j * wide.T.tocsr())
        pattern.sort_indices()
        return cls(pattern, m)

    @property
    def n(self) -> int:
        """Nodes, those that are only neighbours too."""
        return len(self.indptr) - 1

    def native(self, dtype: Any) -> contrast.Strengths:
        """For kernels, in float32 or float64."""
        kind = np.dtype(dtype)
        if kind not in self._native:
            values = self.there.astype(kind), self.back.astype(kind)
            self._native[kind] = contrast.strengths(self.indptr, self.indices, *values)
        return self._native[kind]


def neighbour_sums(
    u: torch.Tensor, strengths: NeighbourStrengths, tau: float, *, native: bool | None = None
) -> torch.Tensor:
    r"""Positive terms :math:`p_i = \sum_j \gamma_{ij} e^{\tau \langle u_i, u_j \rangle}` of the centres.

    The product of a row with itself counts as 0. Differentiable to any order. By kernels, which keep nothing of the
    size of the edges, on the CPU in float32 and float64; else, and for second derivatives, torch gathers
    both ends of each pair.

    Parameters
    ----------
    u : tensor, shape (n, d)
        Rows of length one, or zero.
    strengths : NeighbourStrengths
    tau : float
    native : bool, optional
        Choose the path.

    Returns
    -------
    tensor, shape (m,)
    """
    if native is None:
        native = u.device.type == "cpu" and u.dtype in (torch.float32, torch.float64)
    sums = _Sums.apply(u, strengths, tau) if native else gathered_sums(u, strengths, tau)
    return sums[: strengths.centres]


def gathered_sums(u: torch.Tensor, strengths: NeighbourStrengths, tau: float) -> torch.Tensor:
    """The same for all n rows, of which those that are no centres are 0, in plain torch: O(E d) memory."""
    counts = np.diff(strengths.indptr)
    rows = torch.from_numpy(np.repeat(np.arange(strengths.n), counts)).to(u.device)
    columns = torch.from_numpy(strengths.indices.astype(np.int64)).to(u.device)
    gamma = torch.from_numpy(strengths.there).to(u)
    s = (u.index_select(0, rows) * u.index_select(0, columns)).sum(dim=1)
    terms = gamma * (tau * s.masked_fill(rows == columns, 0.0)).exp()
    return u.new_zeros(strengths.n).index_add(0, rows, terms)


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, strengths: NeighbourStrengths, tau: float) -> torch.Tensor:
        ctx.save_for_backward(u)
        ctx.strengths, ctx.tau = strengths, tau
        points = to_numpy(u)
        return torch.from_numpy(contrast.sums(strengths.native(points.dtype), points, tau))

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (u,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate this again
            sums = gathered_sums(u, ctx.strengths, ctx.tau)
            return torch.autograd.grad(sums, u, slope, create_graph=True)[0], None, None
        points = to_numpy(u)
        strengths = ctx.strengths.native(points.dtype)
        to = contrast.gradient(strengths, points, ctx.tau, to_numpy(slope.contiguous()))
        return torch.from_numpy(np.ascontiguousarray(to)), None, None


__all__ = ["NeighbourStrengths", "gathered_sums", "neighbour_sums"]
