"""Short depthwise convolutions, in either layout."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._kernels import depthwise
from gossamer.linalg.transforms.fft_conv.autograd import held_array, held_tensor

LAYOUTS = ("BCL", "BLC")
LARGEST = 31


class DepthwiseConv1d(torch.nn.Module):
    r"""Convolve every channel with a few taps of its own: ``y[c, t] = b[c] + sum_j w[c, j] x[c, t + j - padding]``.

    Parameters
    ----------
    channels : int
        C.
    kernel_size : int
        K, 1 to 31, odd or even.
    padding : int, optional
        Zeros before and after; ``K - 1`` by default, of which the first L outputs are kept: causal.
    bias : bool
        Whether there is one.
    layout : {"BCL", "BLC"}
        Of inputs and outputs: channels first, or last as attention layers have them.

    Raises
    ------
    ArgumentError
        If ``kernel_size`` is not in 1..31, or (in the call) the padded sequence is shorter than it.

    Notes
    -----
    O(B C L K). Equivalent to :class:`torch.nn.Conv1d` with ``groups=channels`` where padding is given; in bfloat16 sums
    are of float32.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import DepthwiseConv1d
    >>> DepthwiseConv1d(8, 3)(torch.randn(2, 8, 50)).shape
    torch.Size([2, 8, 50])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        padding: int | None = None,
        bias: bool = True,
        layout: str = "BCL",
    ) -> None:
        super().__init__()
        self.channels = check_int("channels", channels, low=1)
        self.kernel_size = check_int("kernel_size", kernel_size, low=1, high=LARGEST)
        self.padding = None if padding is None else check_int("padding", padding, low=0)
        self.layout = check_choice("layout", layout, LAYOUTS)
        bound = kernel_size**-0.5
        self.weight = torch.nn.Parameter(torch.empty(channels, kernel_size).uniform_(-bound, bound))
        self.bias = torch.nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x`` (B, C, L), or (B, L, C) in that layout."""
        by_token = self.layout == "BLC"
        if x.dtype not in (torch.float32, torch.float64, torch.bfloat16) or x.device.type != "cpu":
            raise UnsupportedError(
                f"x is {x.dtype} on {x.device}: expected float32, float64 or bfloat16 on the CPU"
            )
        if x.ndim != 3 or x.shape[2 if by_token else 1] != self.channels:
            expected = f"(B, L, {self.channels})" if by_token else f"(B, {self.channels}, L)"
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {expected}")
        length = x.shape[1 if by_token else 2]
        left = self.kernel_size - 1 if self.padding is None else self.padding
        outputs = length if self.padding is None else length + 2 * left - self.kernel_size + 1
        if outputs < 0 or (outputs == 0 and length > 0):
            raise ArgumentError(
                f"x has length {length}: expected {self.kernel_size - 2 * left} or more with padding={left}"
            )
        return _Short.apply(x.contiguous(), self.weight, self.bias, left, outputs, by_token)

    def extra_repr(self) -> str:
        """Sizes and layout."""
        return (
            f"{self.channels}, kernel_size={self.kernel_size}, padding={self.padding}, layout={self.layout!r}"
        )


class _Short(torch.autograd.Function):
    """Both gradients are convolutions again, so that derivatives of any order exist."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, left: int, outputs: int, by_token: bool) -> Any:
        ctx.save_for_backward(x, weight, bias)
        ctx.how = left, outputs, by_token
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        taps = to_numpy(weight.detach().to(kind).contiguous())
        constant = None if bias is None else to_numpy(bias.detach().to(kind))
        y = depthwise.convolve(held_array(x), taps, constant, left, outputs, by_token=by_token)
        return held_tensor(y, x)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        x, weight, bias = ctx.saved_tensors
        left, outputs, by_token = ctx.how
        dy = dy.contiguous()
        taps = weight.shape[1]
        if torch.is_grad_enabled():
            return (*_composed(x, weight, bias, dy, ctx.how, ctx.needs_input_grad[:3]), None, None, None)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            # x[s] meets dy[t] through tap s - t + left: reversed taps, and what was cut before is padded after
            length = x.shape[1 if by_token else 2]
            shift = taps - 1 - left
            grad = (
                dy
                if shift >= 0
                else dy.narrow(1 if by_token else 2, -shift, max(outputs + shift, 0)).contiguous()
            )
            dx = _Short.apply(grad, weight.flip(1), None, max(shift, 0), length, by_token)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            dw, db = depthwise.correlate(held_array(x), held_array(dy), taps, left, by_token=by_token)
            dweight = to_torch(dw).to(weight.dtype) if ctx.needs_input_grad[1] else None
            dbias = to_torch(db).to(bias.dtype) if ctx.needs_input_grad[2] else None
        return dx, dweight, dbias, None, None, None


def _composed(x: Any, weight: Any, bias: Any, dy: Any, how: Any, needs: Any) -> list[Any]:
    """The gradients by torch's convolution, where a graph of them is wanted."""
    left, outputs, by_token = how
    inputs = (x, weight, bias)
    with torch.enable_grad():
        rows = x.transpose(1, 2) if by_token else x
        right = max(0, outputs - rows.shape[2] - left + weight.shape[1] - 1)
        padded = torch.nn.functional.pad(rows, (left, right))
        y = torch.nn.functional.conv1d(padded, weight.to(x.dtype)[:, None], groups=len(weight))[..., :outputs]
        y = y if bias is None else y + bias[:, None]
        y = y.transpose(1, 2) if by_token else y
        wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
        grads = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    return [next(grads) if need else None for need in needs]
