"""A sequence spread over processes: what a causal layer needs of the part before."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError


def left_neighbour(u: torch.Tensor, count: int, group: Any = None) -> torch.Tensor:
    """The last ``count`` points of the process before, in front of one's own; zeros in front of the first process's.

    A convolution with ``count + 1`` taps of the result is then that of the whole sequence, from place ``count`` on:
    each process holds a contiguous part, in the order of ranks, and only ``count`` points a row travel. Gradients go
    the other way. Works with gloo.

    Parameters
    ----------
    u : tensor, shape (B, H, n)
        This process's part of the sequence; B and H agree everywhere, n need not.
    count : int
        ``taps - 1``, at most the length of every part.
    group : process group, optional
        Of torch.distributed; the default one by default.

    Returns
    -------
    joined : tensor, shape (B, H, count + n)

    Raises
    ------
    ShapeError
        If this part is shorter than ``count``.

    Examples
    --------
    ::

        joined = left_neighbour(u, taps - 1)
        y = PartialFFTConv(taps)(joined, k)[..., taps - 1:]
    """
    count = check_int("count", count, low=0)
    if u.ndim != 3 or u.shape[2] < count:
        raise ShapeError(f"u has shape {tuple(u.shape)}: expected (B, H, n) with n >= count = {count}")
    return torch.cat([_Tail.apply(u, count, group), u], dim=2) if count else u


class _Tail(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, count: int, group: Any) -> torch.Tensor:
        ctx.length, ctx.count, ctx.group = u.shape[2], count, group
        return _passed_on(u[..., u.shape[2] - count :], 1, group)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        own = _Back.apply(grad, ctx.group)
        return torch.nn.functional.pad(own, (ctx.length - ctx.count, 0)), None, None


class _Back(torch.autograd.Function):
    """The transpose: what comes from the process after."""

    @staticmethod
    def forward(ctx: Any, grad: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        return _passed_on(grad, -1, group)

    @staticmethod
    def backward(ctx: Any, v: torch.Tensor) -> Any:
        return _Tail.apply(v, v.shape[2], ctx.group), None


def _passed_on(x: torch.Tensor, by: int, group: Any) -> torch.Tensor:
    """Send to the process ``by`` ranks on, give what arrives from as many ranks before, or zeros where nobody is."""
    import torch.distributed as dist

    rank, size = dist.get_rank(group), dist.get_world_size(group)
    arrived = torch.zeros_like(x, memory_format=torch.contiguous_format)
    pending: list[Any] = []
    for peer, operation, tensor in (
        (rank + by, dist.isend, x.contiguous()),
        (rank - by, dist.irecv, arrived),
    ):
        if 0 <= peer < size:
            there = peer if group is None else dist.get_global_rank(group, peer)
            pending.append(operation(tensor, there, group=group))
    for work in pending:
        work.wait()
    return arrived
