"""Products of structured matrices with torch tensors: native kernels where no gradient of a factor is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gossamer._core.arrays import to_numpy

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix


def product(A: StructuredMatrix, x: torch.Tensor) -> torch.Tensor:
    """``A @ x`` for a tensor ``x`` of shape (K, N), differentiable in ``x`` and in the factors of ``A``."""
    if torch.is_grad_enabled() and any(getattr(f, "requires_grad", False) for f in A.factors.values()):
        return A._multiply_torch(x)
    if x.device.type != "cpu":
        return A.torch()._multiply_torch(x)
    return _NativeProduct.apply(x, A)


class _NativeProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, A: StructuredMatrix) -> torch.Tensor:
        ctx.A = A
        return _run(A._multiply, A, x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _run(ctx.A._multiply_transposed, ctx.A, grad), None


def _run(multiply: Any, A: StructuredMatrix, x: torch.Tensor) -> torch.Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)  # NumPy has no bfloat16
    result = multiply(
        to_numpy(x.to(wide)).astype(max(A.dtype, to_numpy(x.new_empty(0, dtype=wide)).dtype), copy=False)
    )
    return torch.from_numpy(result).to(torch.promote_types(x.dtype, wide) if x.dtype == wide else x.dtype)
