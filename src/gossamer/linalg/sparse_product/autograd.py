"""Gradients of a sparse product of torch sparse CSR tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch.autograd.function import once_differentiable

from gossamer._core.errors import UnsupportedError


def differentiable(A: Any, B: Any, compute: Callable[..., Any], mask: Any) -> tuple[torch.Tensor, Any]:
    """``A B`` by ``compute(a_values, b_values)``; gradients keep to the patterns of A and B."""
    for name, tensor in (("A", A), ("B", B)):
        if not isinstance(tensor, torch.Tensor):
            raise UnsupportedError(
                f"{name} is a {type(tensor).__name__}: with gradients, expected two tensors"
            )
    found: dict[str, Any] = {}
    values = _Product.apply(A.values(), B.values(), A.detach(), B.detach(), compute, found)
    C = torch.sparse_csr_tensor(found["indptr"], found["indices"], values, size=found["shape"])
    return C, found["stats"]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, A: Any, B: Any, compute: Any, found: dict[str, Any]) -> Any:
        pointers, col, val, found["stats"] = compute(a.detach().numpy(), b.detach().numpy())
        found["indptr"], found["indices"] = torch.from_numpy(pointers), torch.from_numpy(col.astype(np.int64))
        found["shape"] = ctx.shape = (A.shape[0], B.shape[1])
        ctx.pattern = pointers, col
        ctx.A, ctx.B = (_scipy(X, x) for X, x in ((A, a), (B, b)))
        return torch.from_numpy(val)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        from gossamer.linalg.sparse_product.product import spgemm

        pointers, col = ctx.pattern
        G = scipy.sparse.csr_array((grad.detach().numpy(), col, pointers), shape=ctx.shape)
        A, B = ctx.A, ctx.B
        grads: list[Any] = [None] * 6
        if ctx.needs_input_grad[0]:  # dA = (dC B^H) on A's pattern
            grads[0] = _at(A, spgemm(G, B.conj().T, mask=A))
        if ctx.needs_input_grad[1]:  # dB = (A^H dC) on B's pattern
            grads[1] = _at(B, spgemm(A.conj().T, G, mask=B))
        return tuple(grads)


def _scipy(X: Any, values: Any) -> Any:
    parts = (values.detach().numpy(), X.col_indices().numpy(), X.crow_indices().numpy())
    return scipy.sparse.csr_array(parts, shape=tuple(X.shape))


def _at(pattern: Any, found: Any) -> torch.Tensor:
    """Values of ``found``, sorted, at the stored entries of ``pattern``; 0 where it has none."""
    keys, wanted = _keys(found), _keys(pattern)
    values = np.zeros(len(wanted), found.dtype)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        values = np.where(keys[at] == wanted, found.data[at], values)
    return torch.from_numpy(values.astype(pattern.dtype, copy=False))


def _keys(X: Any) -> np.ndarray:
    rows = np.repeat(np.arange(X.shape[0], dtype=np.int64), np.diff(X.indptr))
    return rows * X.shape[1] + X.indices
