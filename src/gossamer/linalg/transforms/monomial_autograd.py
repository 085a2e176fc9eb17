"""Products with the matrix of all monomials on torch tensors: native on a CPU, by gathers elsewhere."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._core.arrays import to_numpy
from gossamer._kernels.monomial import Program


def features(program: Program, X: torch.Tensor) -> torch.Tensor:
    """F (..., n, r) for X (..., n, d), differentiable."""
    if _native(X) and not (torch.is_grad_enabled() and X.requires_grad):
        return torch.from_numpy(program.features(_flat(X))).reshape(*X.shape[:-1], len(program))
    parent, variable = (
        torch.from_numpy(index).long().to(X.device) for index in (program.parent, program.variable)
    )
    F, start = torch.ones_like(X[..., :1]), 1
    while start < len(program):  # all that need no monomial of this round: a degree at a time
        later = (parent[start:] >= start).nonzero()
        stop = start + int(later[0]) if len(later) else len(program)
        F = torch.cat([F, F[..., parent[start:stop]] * X[..., variable[start:stop]]], -1)
        start = stop
    return F


def accumulate(program: Program, X: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    """``F^T V`` (..., r, p) for V (..., n, p), differentiable in X and V."""
    return _Accumulate.apply(X, V, program) if _native(X) else features(program, X).mT @ V


def apply(program: Program, X: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
    """``F W`` (..., n, p) for W (..., r, p), differentiable in X and W."""
    return _Apply.apply(X, W, program) if _native(X) else features(program, X) @ W


def _native(X: torch.Tensor) -> bool:
    return X.device.type == "cpu" and X.dtype in (torch.float32, torch.float64)


def _flat(x: torch.Tensor) -> Any:
    return to_numpy(x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]))


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: torch.Tensor, V: torch.Tensor, program: Program) -> torch.Tensor:
        ctx.program = program
        ctx.save_for_backward(X, V)
        sums = torch.from_numpy(program.accumulate(_flat(X), _flat(V)))
        return sums.reshape(*X.shape[:-2], len(program), V.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        X, V = ctx.saved_tensors
        program, x, slopes = ctx.program, _flat(X), _flat(grad)
        dX = dV = None
        if ctx.needs_input_grad[0]:
            dX = torch.from_numpy(program.gradient(x, _flat(V), slopes)).reshape(X.shape)
        if ctx.needs_input_grad[1]:
            dV = torch.from_numpy(program.apply(x, slopes.swapaxes(1, 2))).reshape(V.shape)
        return dX, dV, None


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: torch.Tensor, W: torch.Tensor, program: Program) -> torch.Tensor:
        ctx.program = program
        ctx.save_for_backward(X, W)
        product = torch.from_numpy(program.apply(_flat(X), _flat(W).swapaxes(1, 2)))
        return product.reshape(*X.shape[:-1], W.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        X, W = ctx.saved_tensors
        program, x, slopes = ctx.program, _flat(X), _flat(grad)
        dX = dW = None
        if ctx.needs_input_grad[0]:
            dX = torch.from_numpy(program.gradient(x, slopes, _flat(W))).reshape(X.shape)
        if ctx.needs_input_grad[1]:
            dW = torch.from_numpy(program.accumulate(x, slopes)).reshape(W.shape)
        return dX, dW, None
