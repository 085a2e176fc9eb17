"""Inference with weights that have many zeros: products that skip them, for dense and for sparse features."""

from __future__ import annotations

import copy
from typing import Any

import torch

from gossamer._core.checks import check_float
from gossamer.linalg import CSRMatrix
from gossamer.nn.graph.sparse_tensor import SparseTensor
from gossamer.nn.linear.structured import StructuredLinear, replace_linears


class ZeroSkippingLinear(StructuredLinear):
    """A linear map by its non-zero weights, for inference.

    Dense features meet the stored entries only. Of sparse features those are left out that no weight waits for; what
    remains goes through dense rows, laid out for the product once.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        weight = linear.weight.detach()
        matrix = CSRMatrix.from_scipy(SparseTensor.of(weight.to_sparse_csr()).to_scipy())
        super().__init__(
            linear.in_features, linear.out_features, linear.bias is not None, matrix=matrix, trainable=False
        )
        if linear.bias is not None:
            self.bias = torch.nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
        heard = weight.ne(0).any(dim=0)
        self.place: torch.Tensor
        self.rows: torch.Tensor
        self.register_buffer("place", torch.where(heard, heard.cumsum(0) - 1, -1), persistent=False)
        self.register_buffer("rows", weight.T[heard].contiguous(), persistent=False)
        self._last: tuple[SparseTensor, SparseTensor] | None = None

    def multiply(self, x: torch.Tensor | SparseTensor) -> torch.Tensor:
        """``x A^T``; sparse features x (n, K) are cut down once and kept while they are the same object."""
        if isinstance(x, torch.Tensor):
            return (self.matrix @ x.T).T
        if self._last is None or self._last[0] is not x:
            self._last = x, x.with_columns(self.place, len(self.rows))
        return self._last[1] @ self.rows


def skip_zeros(model: torch.nn.Module, density: float = 0.3) -> torch.nn.Module:
    """Copy a model for inference whose linear maps skip their zero weights.

    Parameters
    ----------
    model : torch.nn.Module
        Such as ``TicketResult.model``; it is not changed.
    density : float
        Maps with a larger share of non-zero weights stay dense.

    Returns
    -------
    torch.nn.Module
        Computes the same, up to rounding, without gradients in the weights. Faster where features are sparse or few
        weights are left; measure it.

    Raises
    ------
    ArgumentError
        A density outside [0, 1].

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from gossamer.nn import GCN, skip_zeros
    >>> model = GCN(4, 8, 2).eval()
    >>> with torch.no_grad():
    ...     _ = model.layers[0].linear.weight[:, 1:].zero_()
    >>> path = scipy.sparse.csr_array([[0.0, 1.0], [1.0, 0.0]])
    >>> x = torch.eye(2, 4)
    >>> torch.allclose(skip_zeros(model)(x, path), model(x, path))
    True
    """
    density = check_float("density", density, low=0, high=1)

    def exchange(name: str, linear: torch.nn.Linear) -> Any:
        share = float(linear.weight.detach().ne(0).double().mean())
        return ZeroSkippingLinear(linear) if share <= density else None

    return replace_linears(copy.deepcopy(model), exchange).eval()


__all__ = ["ZeroSkippingLinear", "skip_zeros"]
