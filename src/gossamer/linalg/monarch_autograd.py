"""The product with a Monarch matrix whose factors are trained."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_numpy
from gossamer._kernels import monarch
from gossamer.linalg.nearest.monarch import MonarchSizes


def monarch_product(
    w1: torch.Tensor,
    w2: torch.Tensor,
    x: torch.Tensor,
    sizes: MonarchSizes,
    shape: tuple[int, int],
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """``A @ x``, and a number added to every row, differentiable in all tensors to any order.

    Real CPU tensors of float32 or float64 run by the native kernel, forward and backward; others by batched products.
    """
    if w1.device.type == x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        tracked = any(t is not None and t.requires_grad for t in (w1, w2, x, bias))
        if tracked and torch.is_grad_enabled():
            return _MonarchProduct.apply(w1, w2, x, bias, sizes, shape)
        weights, added = (to_numpy(w1), to_numpy(w2)), None if bias is None else to_numpy(bias)
        chain = monarch.monarch(tuple(sizes), shape)
        return torch.from_numpy(monarch.multiply(chain, weights, to_numpy(x), bias=added))
    y = composed(w1, w2, x, sizes, shape)
    return y if bias is None else y + bias[:, None]


def composed(
    w1: torch.Tensor, w2: torch.Tensor, x: torch.Tensor, sizes: MonarchSizes, shape: tuple[int, int]
) -> torch.Tensor:
    """The same by torch operations."""
    k, _, p, l, s, r = sizes
    n = x.shape[1]
    if shape[1] != k * p:
        x = torch.nn.functional.pad(x, (0, 0, 0, k * p - shape[1]))
    h = torch.bmm(w1, x.reshape(k, p, n)).reshape(r, l, n)
    return torch.bmm(w2, h.transpose(0, 1)).transpose(0, 1).reshape(s * l, n)[: shape[0]]


class _MonarchProduct(torch.autograd.Function):
    """Keeps the channels between the factors, in the order in which the second one takes them."""

    @staticmethod
    def forward(
        ctx: Any,
        w1: torch.Tensor,
        w2: torch.Tensor,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        sizes: MonarchSizes,
        shape: tuple[int, int],
    ) -> torch.Tensor:
        ctx.sizes, ctx.shape = sizes, shape
        chain = monarch.monarch(tuple(sizes), shape)
        weights, columns = (to_numpy(w1), to_numpy(w2)), to_numpy(x)
        added = None if bias is None else to_numpy(bias)
        channels = monarch.multiply(chain.part(0), weights[:1], columns, order="C")
        y = monarch.multiply(chain.part(1), weights[1:], channels, order=_order(x), bias=added)
        ctx.save_for_backward(w1, w2, x, torch.from_numpy(channels))
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        w1, w2, x, channels = ctx.saved_tensors
        grad_bias = grad.sum(1) if ctx.needs_input_grad[3] else None
        if torch.is_grad_enabled():  # asked for derivatives of the derivative
            wanted = [t for t in (w1, w2, x) if t.requires_grad]
            y = composed(w1, w2, x, ctx.sizes, ctx.shape)
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            first = (next(found) if t.requires_grad else None for t in (w1, w2, x))
            return (*first, grad_bias, None, None)
        k, q, p, l, s, r = ctx.sizes
        n, upstream = x.shape[1], to_numpy(grad)
        chain = monarch.monarch_transposed(tuple(ctx.sizes), ctx.shape)
        back = monarch.multiply(chain.part(0), [to_numpy(w2)], upstream, order="C")
        grad_w1 = grad_w2 = grad_x = None
        if ctx.needs_input_grad[0]:
            inputs = (
                x if ctx.shape[1] == k * p else torch.nn.functional.pad(x, (0, 0, 0, k * p - ctx.shape[1]))
            )
            grad_w1 = torch.bmm(
                torch.from_numpy(back).reshape(k, q, n), inputs.reshape(k, p, n).transpose(1, 2)
            )
        if ctx.needs_input_grad[1]:
            outputs = torch.from_numpy(monarch.multiply(chain.entry(), [], upstream, order="C"))
            grad_w2 = torch.bmm(outputs.reshape(l, s, n), channels.reshape(l, r, n).transpose(1, 2))
        if ctx.needs_input_grad[2]:
            grad_x = torch.from_numpy(monarch.multiply(chain.part(1), [to_numpy(w1)], back, order=_order(x)))
        return grad_w1, grad_w2, grad_x, grad_bias, None, None


def _order(x: torch.Tensor) -> str:
    return "C" if x.is_contiguous() else "F"
