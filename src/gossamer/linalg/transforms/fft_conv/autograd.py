"""The convolution of torch tensors: kernels forward and backward, and one operator for compiled graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    factors: Sequence[int] | str | None,
    dtype: str | None = None,
) -> FFTConvPlan:
    """The plan of a call; without a ``dtype`` in float64 for float64, else in float32. Factors may be "16x16"."""
    if isinstance(factors, str) and factors != "paper":
        factors = tuple(int(f) for f in factors.split("x"))
    batch, channels, length = u.shape
    return plan_fft_conv(
        length, k.shape[1], channels=channels, batch=batch,
        dtype=dtype or ("float64" if u.dtype == torch.float64 else "float32"),
        fft_size=fft_size, circular=circular, allow_alias=allow_alias, engine=engine, factors=factors,
    )  # fmt: skip


def tensor_fft_conv(
    u: torch.Tensor, k: torch.Tensor, gates: Tensors, plan: FFTConvPlan, spectra: Any = None
) -> torch.Tensor:
    """``post * ((pre * u) conv k) + skip * u`` with gradients, of contiguous tensors."""
    if not plan.circular and k.shape[1] > u.shape[2]:  # taps that reach no output
        k = k[:, : max(u.shape[2], 1)].contiguous()
    return _Convolution.apply(u, k, *gates, plan, spectra)


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


def held_array(x: torch.Tensor | None) -> Any:
    """What kernels read: bfloat16 as raw uint16."""
    if x is None:
        return None
    return to_bits(x) if x.dtype == torch.bfloat16 else to_numpy(x)


def held_tensor(x: Any, like: torch.Tensor) -> torch.Tensor:
    """What kernels wrote, in the dtype of ``like``."""
    result = to_torch(x)
    return result.view(torch.bfloat16) if result.dtype == torch.uint16 else result.to(like.dtype)


def run_forward(
    u: torch.Tensor, k: torch.Tensor, gates: Tensors, plan: FFTConvPlan, spectra: Any = None, live: Any = None
) -> torch.Tensor:
    """The convolution of tensors, without a graph."""
    arrays = tuple(held_array(g) for g in gates)
    return held_tensor(run.forward(plan, held_array(u), held_array(k), arrays, spectra=spectra, live=live), u)


def run_backward(
    dy: torch.Tensor,
    u: torch.Tensor,
    k: torch.Tensor,
    gates: Tensors,
    plan: FFTConvPlan,
    needs: Sequence[bool],
    spectra: Any = None,
    live: Any = None,
) -> list[torch.Tensor | None]:
    """Its gradients with respect to u, k and gates, without a graph."""
    arrays = tuple(held_array(g) for g in gates)
    grads = run.backward(
        plan, held_array(dy.contiguous()), held_array(u), held_array(k), arrays, needs=needs, spectra=spectra, live=live
    )  # fmt: skip
    return [
        None if grad is None else held_tensor(grad, like)  # type: ignore[arg-type]
        for grad, like in zip(grads, (u, k, *gates), strict=True)
    ]


class _Convolution(torch.autograd.Function):
    """Keeps its inputs and nothing else; spectra are computed again backward."""

    @staticmethod
    def forward(ctx: Any, u: Any, k: Any, pre: Any, post: Any, skip: Any, plan: Any, spectra: Any) -> Any:
        ctx.save_for_backward(u, k, pre, post, skip)
        ctx.plan = plan
        return run_forward(u, k, (pre, post, skip), plan, spectra)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return (*_gradients(ctx.saved_tensors, dy, ctx.plan, ctx.needs_input_grad[:5]), None, None)


def _gradients(
    saved: Sequence[Any], dy: torch.Tensor, plan: FFTConvPlan, needs: Sequence[bool]
) -> list[torch.Tensor | None]:
    u, k, *gates = saved
    if not torch.is_grad_enabled():
        return run_backward(dy, u, k, (gates[0], gates[1], gates[2]), plan, needs)
    return with_graph(lambda u, k, *gates: composed(u, k, gates, plan), saved, dy, needs)


def with_graph(
    call: Callable[..., torch.Tensor], inputs: Sequence[Any], dy: torch.Tensor, needs: Sequence[bool]
) -> list[torch.Tensor | None]:
    """Gradients of ``call`` that have a graph themselves, as it is composed of operations that do."""
    wanted = [x for x, need in zip(inputs, needs, strict=True) if need]
    with torch.enable_grad():
        grads = iter(torch.autograd.grad(call(*inputs), wanted, dy, create_graph=True))
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
    factors: str | None,
    dtype: str | None,
) -> torch.Tensor:
    plan = plan_for(u, k, fft_size, circular, allow_alias, engine, factors, dtype)
    return run_forward(u.contiguous(), k.contiguous(), _rows(pre, post, skip), plan)


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
    factors: str | None,
    dtype: str | None,
    needs: list[bool],
) -> list[torch.Tensor]:
    plan = plan_for(u, k, fft_size, circular, allow_alias, engine, factors, dtype)
    grads = run_backward(dy, u.contiguous(), k.contiguous(), _rows(pre, post, skip), plan, needs)
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
    return (*(next(grads) if need else None for need in needs), None, None, None, None, None, None)


_operator.register_autograd(_compiled_backward, setup_context=_setup)
