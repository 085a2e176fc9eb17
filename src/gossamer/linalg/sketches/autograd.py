"""Sketches of torch tensors: linear, so the derivative is the product with the transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gossamer._core.errors import UnsupportedError

if TYPE_CHECKING:
    from gossamer.linalg.sketches.sketch import Sketch


def product(S: Sketch, x: torch.Tensor, transposed: bool = False) -> torch.Tensor:
    """``S @ x``, or ``S.T @ x``, for a tensor on the CPU; the result has its dtype."""
    if x.device.type != "cpu":
        raise UnsupportedError(f"x is on {x.device}: expected a tensor on the CPU")
    columns = x[:, None] if x.ndim == 1 else x
    y = _Product.apply(columns, S, transposed)
    return y[:, 0] if x.ndim == 1 else y


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, S: Sketch, transposed: bool) -> torch.Tensor:
        ctx.S, ctx.transposed = S, transposed
        wide = x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()
        array = wide.resolve_neg().numpy()
        y = S._adjoint(array) if transposed else S._rows(array, 0)
        return torch.from_numpy(y).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _Product.apply(grad, ctx.S, not ctx.transposed), None, None
