"""Products with torch tensors: native kernels unless the gradient of a factor is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix


def product(A: StructuredMatrix, x: torch.Tensor) -> torch.Tensor:
    """``A @ x`` for a tensor ``x`` of shape (K, N), differentiable in ``x`` and in the factors of ``A``.

    The result has the dtype of ``x``, or is complex as ``A``; half precision is computed in float32.
    """
    if x.is_complex() and not A.is_complex:
        return torch.complex(product(A, x.real), product(A, x.imag))
    if A.is_complex:
        single = torch.complex64 if A.dtype == np.complex64 else torch.complex128
        return A.torch()._multiply_torch(x.to(torch.promote_types(single, x.dtype)))
    if torch.is_grad_enabled() and any(getattr(f, "requires_grad", False) for f in A.factors.values()):
        return A._multiply_torch(x)
    if x.device.type != "cpu":
        return A.torch()._multiply_torch(x)
    return _NativeProduct.apply(x, A, False)


class _NativeProduct(torch.autograd.Function):
    """The product is linear in ``x``: its derivative is the product with the transpose, to any order."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, A: StructuredMatrix, transposed: bool) -> torch.Tensor:
        ctx.A, ctx.transposed = A, transposed
        columns = to_numpy(x)
        dtype = np.result_type(A.dtype, columns.dtype)
        multiply = A._multiply_transposed if transposed else A._multiply
        y = multiply(columns.astype(dtype, copy=False))
        whole = y.flags.c_contiguous or y.flags.f_contiguous  # either order: tokens often come as columns
        return torch.from_numpy(y if whole else np.ascontiguousarray(y)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _NativeProduct.apply(grad, ctx.A, not ctx.transposed), None, None
