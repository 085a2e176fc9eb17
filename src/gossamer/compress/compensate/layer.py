"""A linear layer that keeps its compressed weight and carries a trainable low-rank term beside it."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_torch
from gossamer._core.errors import ShapeError
from gossamer.linalg import LowRank, LowRankMatrix, StructuredMatrix
from gossamer.linalg.autograd import product


class LowRankCompensation(torch.nn.Module):
    r"""``y = W_c x + B (A x) + b``: ``W_c`` is frozen and stays in its format, ``A`` and ``B`` are parameters.

    Gradients pass through ``W_c`` to the input, by the native product with its transpose, and reach ``A`` and ``B``
    only. Without gradients the term is fused into the product of ``W_c`` where its kernel can.

    Parameters
    ----------
    base : StructuredMatrix, shape (O, K)
        ``W_c``.
    B : array or tensor, shape (O, r)
    A : array or tensor, shape (r, K)
        Copied, as float32.
    bias : tensor, shape (O,), optional
        Frozen.

    Raises
    ------
    ShapeError
        If the factors do not fit the base.
    """

    def __init__(self, base: StructuredMatrix, B: Any, A: Any, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        left, right = (to_torch(factor).detach().float().clone().contiguous() for factor in (B, A))
        if (left.shape[0], right.shape[1]) != base.shape or left.shape[1] != right.shape[0]:
            raise ShapeError(
                f"B {tuple(left.shape)} and A {tuple(right.shape)} do not fit a base of {base.shape}"
            )
        self.base = base.torch()
        self.out_features, self.in_features = base.shape
        self.lora_B = torch.nn.Parameter(left)
        self.lora_A = torch.nn.Parameter(right)
        self.register_buffer("bias", None if bias is None else bias.detach().clone(), persistent=False)

    bias: torch.Tensor | None

    @property
    def weight(self) -> torch.Tensor:
        """The dense weight ``W_c + B A``, computed when asked for."""
        return self.base.to_dense().float() + self.lora_B @ self.lora_A

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer to ``x`` of shape (..., K)."""
        rows = x.reshape(-1, self.in_features)
        if torch.is_grad_enabled() and self.lora_A.requires_grad:
            y = product(self.base, rows.T).T + (rows @ self.lora_A.T) @ self.lora_B.T
        else:
            factors = {"left": self.lora_B.detach(), "right": self.lora_A.detach()}
            term = LowRankMatrix(LowRank(max(self.lora_A.shape[0], 1)), self.base.shape, factors)
            y = ((self.base + term) @ rows.T).T
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """The sizes, the rank and the format of the base."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.lora_A.shape[0]}, "
            f"base={self.base.structure}"
        )
