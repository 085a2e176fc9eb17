"""The Walsh-Hadamard transform of torch tensors: the kernel forward, and, as the matrix is symmetric, backward."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.linalg.transforms.walsh_hadamard import array_fwht, check_axis


def tensor_fwht(
    x: torch.Tensor, axis: int, norm: str, order: str, inplace: bool, threads: int | None
) -> torch.Tensor:
    """:func:`gossamer.linalg.fwht` of a tensor."""
    if x.device.type != "cpu":
        raise UnsupportedError(f"x is on {x.device}: expected a tensor on the CPU")
    if x.is_quantized or x.layout != torch.strided:
        raise UnsupportedError(f"x is {x.dtype} ({x.layout}): expected a dense tensor of numbers")
    check_axis(tuple(x.shape), axis)
    if not inplace:
        return _Transform.apply(x, axis, norm, order, threads)
    if x.requires_grad:
        raise ArgumentError("inplace=True: x needs gradients")
    if x.dtype == torch.bfloat16 or x.is_conj() or x.is_neg():
        return x.copy_(_Transform.apply(x, axis, norm, order, threads))
    array_fwht(x.numpy(), axis, norm, order, True, threads)
    torch.autograd.graph.increment_version(x)
    return x


class _Transform(torch.autograd.Function):
    """Linear and symmetric: its derivative is the transform itself, to any order."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, axis: int, norm: str, order: str, threads: int | None
    ) -> torch.Tensor:
        ctx.how = axis, norm, order, threads
        wide = x.float() if x.dtype == torch.bfloat16 else x
        wide = wide.resolve_conj().resolve_neg()
        result = torch.from_numpy(array_fwht(wide.detach().numpy(), axis, norm, order, False, threads))
        return result.to(x.dtype) if x.is_floating_point() else result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        return _Transform.apply(grad, *ctx.how), None, None, None, None
