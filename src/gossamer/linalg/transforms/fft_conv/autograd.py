"""The convolution of torch tensors: kernels forward and backward, and one operator for compiled graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gossamer._core.arrays import to_bits, to_numpy, to_torch
from gossamer.linalg.transforms.fft_conv import run
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan, plan_fft_conv

Tensors = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]


def plan_for(
    u: torch.Tensor,
    k: torch.Tensor,
    fft_size: int | None,
    circular: bool,
    allow_alias: bool,
    engine: str,
    factors: Sequence[int] | None,
) -> FFTConvPlan:
    """The plan of a call; bfloat16 is computed in float32."""
    batch, channels, length = u.shape
    return plan_fft_conv(
        length, k.shape[1], channels=channels, batch=batch,
        dtype="float64" if u.dtype == torch.float64 else "float32",
        fft_size=fft_size, circular=circular, allow_alias=allow_alias, engine=engine, factors=factors,
    )  # fmt: skip


def tensor_fft_conv(
    u: torch.Tensor, k: torch.Tensor, gates: Tensors, plan: FFTConvPlan, spectra: Any = None, live: Any = None
) -> torch.Tensor:
    """``post * ((pre * u) conv k) + skip * u`` with gradients, of contiguous tensors."""
    if not plan.circular and k.shape[1] > u.shape[2]:  # taps that reach no output
        k = k[:, : max(u.shape[2], 1)].contiguous()
    return _Convolution.apply(u, k, *gates, plan, spectra, live)


def composed(u: torch.Tensor, k: torch.Tensor, gates: Tensors, plan: FFTConvPlan) -> torch.Tensor:
    """The same by torch's transforms, differentiable to any order."""
    pre, post, skip = gates
    work = torch.float64 if plan.dtype == "float64" else torch.float32
    x, taps = u.to(work), k.to(work)[:, : plan.size]
    v = x if pre is None else pre.to(work) * x
    y = torch.fft.irfft(torch.fft.rfft(v, n=plan.size) * torch.fft.rfft(taps, n=plan.size), n=plan.size)
    y = y[..., : u.shape[-1]]
    y = y if post is None else post.to(work) * y
    y = y if skip is None else y + skip.to(work)[:, None] * x
    return y.to(u.dtype)


def _array(x: torch.Tensor | None) -> Any:
    if x is None:
        return None
    return to_bits(x) if x.dtype == torch.bfloat16 else to_numpy(x)


def _tensor(x: Any, like: torch.Tensor) -> torch.Tensor:
    result = to_torch(x)
    return result.view(torch.bfloat16) if result.dtype == torch.uint16 else result.to(like.dtype)


def _run_forward(
    u: torch.Tensor, k: torch.Tensor, gates: Tensors, plan: FFTConvPlan, spectra: Any = None, live: Any = None
) -> torch.Tensor:
    arrays = tuple(_array(g) for g in gates)
    return _tensor(run.forward(plan, _array(u), _array(k), arrays, spectra=spectra, live=live), u)


def _run_backward(
    dy: torch.Tensor,
    u: torch.Tensor,
    k: torch.Tensor,
    gates: Tensors,
    plan: FFTConvPlan,
    needs: Sequence[bool],
) -> list[torch.Tensor | None]:
    arrays = tuple(_array(g) for g in gates)
    grads = run.backward(plan, _array(dy.contiguous()), _array(u), _array(k), arrays, needs=needs)
    return [
        None if grad is None else _tensor(grad, like)  # type: ignore[arg-type]
        for grad, like in zip(grads, (u, k, *gates), strict=True)
    ]


class _Convolution(torch.autograd.Function):
    """Keeps its inputs and nothing else; spectra are computed again backward."""

    @staticmethod
    def forward(
        ctx: Any, u: Any, k: Any, pre: Any, post: Any, skip: Any, plan: Any, spectra: Any, live: Any
    ) -> Any:
        ctx.save_for_backward(u, k, pre, post, skip)
        ctx.plan, ctx.masked = plan, live is not None
        return _run_forward(u, k, (pre, post, skip), plan, spectra, live)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return (*_gradients(ctx.saved_tensors, dy, ctx.plan, ctx.needs_input_grad[:5]), None, None, None)


def _gradients(
    saved: Sequence[Any], dy: torch.Tensor, plan: FFTConvPlan, needs: Sequence[bool]
) -> list[torch.Tensor | None]:
    u, k, *gates = saved
    if not torch.is_grad_enabled():
        return _run_backward(dy, u, k, (gates[0], gates[1], gates[2]), plan, needs)
    # a graph of the gradients is wanted: they are composed of operations that have one
    wanted = [x for x, need in zip(saved, needs, strict=True) if need]
    with torch.enable_grad():
        y = composed(u, k, (gates[0], gates[1], gates[2]), plan)
        grads = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    return [next(grads) if need else None for need in needs]


@torch.library.custom_op("gossamer::fft_conv", mutates_args=())
def _operator(
    u: torch.Tensor,
    k: torch.Tensor,
    pre: torch.Tensor | None,
    post: torch.Tensor | None,
    skip: torch.Tensor | None,
    fft_size: int | None,
    circular: bool,
    allow_alias: bool,
    engine: str,
    factors: list[int] | None,
) -> torch.Tensor:
    plan = plan_for(u, k, fft_size, circular, allow_alias, engine, factors)
    return _run_forward(u.contiguous(), k.contiguous(), _rows(pre, post, skip), plan)


@torch.library.custom_op("gossamer::fft_conv_backward", mutates_args=())
def _backward_operator(
    dy: torch.Tensor,
    u: torch.Tensor,
    k: torch.Tensor,
    pre: torch.Tensor | None,
    post: torch.Tensor | None,
    skip: torch.Tensor | None,
    fft_size: int | None,
    circular: bool,
    allow_alias: bool,
    engine: str,
    factors: list[int] | None,
    needs: list[bool],
) -> list[torch.Tensor]:
    plan = plan_for(u, k, fft_size, circular, allow_alias, engine, factors)
    grads = _run_backward(dy, u.contiguous(), k.contiguous(), _rows(pre, post, skip), plan, needs)
    return [grad for grad in grads if grad is not None]


def _rows(*gates: torch.Tensor | None) -> Tensors:
    pre, post, skip = (None if gate is None else gate.contiguous() for gate in gates)
    return pre, post, skip


@_operator.register_fake
def _(u: Any, k: Any, pre: Any, post: Any, skip: Any, *how: Any) -> Any:
    return torch.empty_like(u, memory_format=torch.contiguous_format)


@_backward_operator.register_fake
def _(dy: Any, u: Any, k: Any, pre: Any, post: Any, skip: Any, *how: Any) -> Any:
    needs = how[-1]
    inputs = (u, k, pre, post, skip)
    return [
        torch.empty_like(x, memory_format=torch.contiguous_format)
        for x, need in zip(inputs, needs, strict=True)
        if need and x is not None
    ]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.how = inputs[5:]


def _compiled_backward(ctx: Any, dy: torch.Tensor) -> Any:
    needs = [
        need and x is not None for need, x in zip(ctx.needs_input_grad[:5], ctx.saved_tensors, strict=True)
    ]
    grads = iter(torch.ops.gossamer.fft_conv_backward(dy, *ctx.saved_tensors, *ctx.how, needs))
    return (*(next(grads) if need else None for need in needs), None, None, None, None, None)


_operator.register_autograd(_compiled_backward, setup_context=_setup)
