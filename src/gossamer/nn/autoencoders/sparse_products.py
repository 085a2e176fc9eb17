"""Encoder values and decoder sums at the kept entries alone, with their gradients: 8 nnz d flops in all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._kernels import completion, csr
from gossamer.nn.autoencoders.codes import SparseCodes


def native(*tensors: torch.Tensor) -> bool:
    """Whether the kernels take these tensors: on the CPU, float32 or float64, all of one type."""
    kinds = {tensor.dtype for tensor in tensors}
    return (
        len(kinds) == 1
        and kinds <= {torch.float32, torch.float64}
        and all(t.device.type == "cpu" for t in tensors)
    )


def encode_values(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, codes: SparseCodes, *, sparse: bool
) -> torch.Tensor:
    """``(x W^T + b)[n, f]`` at the entries of ``codes``, whose own values are taken for it; with gradients.

    Parameters
    ----------
    x : Tensor, shape (N, d)
    weight : Tensor, shape (F, d)
    bias : Tensor, shape (F,)
    codes : SparseCodes
    sparse : bool
        Gradients from the kept entries alone, in kernels; else through the dense product.
    """
    if sparse:
        return _Encode.apply(x, weight, bias, codes)
    tokens, features = (torch.from_numpy(part).long().to(x.device) for part in (codes.tokens, codes.features))
    return torch.addmm(bias, x, weight.T)[tokens, features]


def decode_sum(codes: SparseCodes, weight: torch.Tensor, *, sparse: bool) -> torch.Tensor:
    """``C W`` of shape (N, d) for codes C (N, F) and one row of ``weight`` a feature."""
    if sparse:
        return _Decode.apply(codes.values, weight, codes)
    return codes.to_dense() @ weight


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, codes: SparseCodes
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.codes = codes
        return codes.values.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        codes, slope = ctx.codes, grads[0].contiguous().numpy()
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = torch.from_numpy(csr.matmat(codes.start, codes.features, slope, weight.detach().numpy()))
        if ctx.needs_input_grad[1]:
            dw = _transposed(codes, slope, x.detach().numpy())
        if ctx.needs_input_grad[2]:
            sums = np.bincount(codes.features, slope.astype(np.float64), minlength=codes.shape[1])
            db = torch.from_numpy(sums.astype(slope.dtype))
        return dx, dw, db, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor, codes: SparseCodes) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        ctx.codes = codes
        held = values.detach().contiguous().numpy()
        return torch.from_numpy(csr.matmat(codes.start, codes.features, held, weight.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        values, weight = ctx.saved_tensors
        codes, slope = ctx.codes, grads[0].contiguous().numpy()
        dvalues = dw = None
        if ctx.needs_input_grad[0]:
            dots = completion.dots(slope, weight.detach().numpy(), codes.tokens, codes.features)
            dvalues = torch.from_numpy(dots)
        if ctx.needs_input_grad[1]:
            dw = _transposed(codes, values.detach().numpy(), slope)
        return dvalues, dw, None


def _transposed(codes: SparseCodes, values: np.ndarray, x: np.ndarray) -> torch.Tensor:
    """``C^T x`` for codes with these values."""
    start, tokens, places = codes.by_feature()
    return torch.from_numpy(csr.matmat(start, tokens, values[places], x))
