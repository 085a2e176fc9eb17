"""Products of functions on the sphere in torch: their derivatives are products again."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_numpy
from gossamer.linalg.products.gaunt.engines import multiply
from gossamer.linalg.products.gaunt.factors import Degrees


class GauntFunction(torch.autograd.Function):
    r"""Project :math:`\prod_i F_i^{p_i}`.

    The slope in :math:`x_i` projects :math:`p_i F_i^{p_i - 1} \prod_{j \ne i} F_j^{p_j} F_g`, g that of the result.
    """

    @staticmethod
    def forward(ctx: Any, degrees: Degrees, engine: str, *tensors: torch.Tensor) -> torch.Tensor:
        """Shapes (..., (L_i + 1)^2), leading axes broadcast."""
        ctx.degrees, ctx.engine = degrees, engine
        ctx.save_for_backward(*tensors)
        return torch.from_numpy(multiply([to_numpy(tensor) for tensor in tensors], degrees, engine))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Differentiable, as it consists of the same function."""
        tensors, degrees = ctx.saved_tensors, ctx.degrees
        slopes: list[torch.Tensor | None] = [None, None]
        for i, tensor in enumerate(tensors):
            if not ctx.needs_input_grad[i + 2]:
                slopes.append(None)
                continue
            powers = [p - (j == i) for j, p in enumerate(degrees.powers)]
            kept = [j for j, p in enumerate(powers) if p]
            of_slope = Degrees(
                (*(degrees.factors[j] for j in kept), degrees.out),
                (*(powers[j] for j in kept), 1),
                degrees.factors[i],
            )
            slope = GauntFunction.apply(of_slope, ctx.engine, *(tensors[j] for j in kept), grad)
            slopes.append((slope * degrees.powers[i]).sum_to_size(tensor.shape))
        return tuple(slopes)
