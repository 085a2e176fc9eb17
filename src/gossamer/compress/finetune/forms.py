"""Linear layers in training form: weights that are rounded on the way, or fixed codes with free scales and zeros."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gossamer.compress.finetune.placement import Placement, read_groups, real_zeros, store, with_groups
from gossamer.linalg import StructuredMatrix
from gossamer.linalg.nearest.quantizer import Grid


class FakeQuant(torch.autograd.Function):
    r"""Round groups to their grids; the gradient is that of the straight-through estimator.

    With ``v = w / s`` the value is ``(q - z) s``, ``q = clamp(round(v) + z, 0, top)``. Rounding counts as the
    identity; the clamp does not: outside the range ``w`` gets no gradient, ``s`` gets ``q - z`` and ``z`` gets
    ``-s``; inside, ``w`` gets 1, ``s`` gets ``q - z - v`` and ``z`` nothing. The gradient of the values is
    reduced to those of ``s`` and ``z`` here and kept nowhere.
    """

    @staticmethod
    def forward(
        ctx: Any, latent: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, grid: Grid
    ) -> torch.Tensor:
        step, top = scale[:, None], grid.top
        v = latent / step
        if zero is None:
            offset: Any = float(2 ** (grid.bits - 1))
        elif grid.zero == "int":
            offset = zero.clamp(0, top).round()[:, None]
        else:
            offset = zero[:, None]
        if zero is None or grid.zero == "int":
            raw = v.round().add_(offset)
        else:
            raw = (v + offset).round_()
        q = raw.clamp(0, top)
        inside = raw == q
        q -= offset
        values = q * step
        ctx.save_for_backward(inside, q.sub_(v.mul_(inside)), scale)
        ctx.with_zero = zero is not None
        return values

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inside, slope, scale = ctx.saved_tensors
        (grad,) = grads
        latent = grad * inside
        zero = ((latent.sum(1) - grad.sum(1)) * scale) if ctx.with_zero else None
        return latent, (grad * slope).sum(1), zero, None


class FakeQuantLinear(torch.nn.Module):
    """A linear layer whose weight is rounded to the pattern and the grids of a structured matrix at every call.

    Parameters
    ----------
    matrix : StructuredMatrix
        Pattern, grids, and the first scales and zeros.
    latent : ndarray of float32, shape (n, G)
        The weights before rounding, in the matrix's groups. Entries outside them are zero and stay it.
    bias : tensor, optional
        Not trained.
    """

    def __init__(
        self, matrix: StructuredMatrix, latent: np.ndarray, bias: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        _, scale, zero = read_groups(matrix)
        self.matrix, self.grid, self.placement = matrix, matrix.structure.grid, Placement(matrix)
        self.latent = torch.nn.Parameter(torch.from_numpy(np.array(latent, np.float32)))
        self.scale = torch.nn.Parameter(torch.from_numpy(scale.astype(np.float32)))
        self.zero = None if zero is None else torch.nn.Parameter(torch.from_numpy(real_zeros(scale, zero)))
        self.bias = None if bias is None else bias.detach()

    def weight(self) -> torch.Tensor:
        """The rounded weight (O, K)."""
        values = FakeQuant.apply(self.latent, self.scale, self.zero, self.grid)
        return self.placement.dense(values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight(), self.bias)

    def export(self) -> StructuredMatrix:
        """The matrix as a file holds it: codes are computed against the rounded scales and zeros."""
        with torch.no_grad():
            latent = self.latent.numpy()
            zero = None if self.zero is None else self.zero.numpy()
            scale, stored = store(self.grid, self.scale.numpy(), zero)
            return with_groups(self.matrix, self.grid.encode(latent, scale, stored), scale, stored)


class ScaledLinear(torch.nn.Module):
    """A linear layer with fixed codes and pattern, of which scales and zeros are trained: ``w = (q - z) s``.

    Parameters
    ----------
    matrix : StructuredMatrix
        A member of one of the quantised families.
    bias : tensor, optional
        Not trained.
    zero : {"keep", "int", "float"}
        How :meth:`export` stores zeros.

    Notes
    -----
    Neither the dense weight nor its gradient is kept between the passes: the forward pass keeps the input, the
    backward pass makes both again, one layer at a time, and reduces the gradient to two numbers a group.
    """

    def __init__(
        self, matrix: StructuredMatrix, bias: torch.Tensor | None = None, zero: str = "keep"
    ) -> None:
        super().__init__()
        codes, scale, zeros = read_groups(matrix)
        self.matrix, self.placement = matrix, Placement(matrix)
        grid = matrix.structure.grid
        self.grid = grid if zero == "keep" else Grid(grid.bits, grid.symmetric, zero, grid.clip)
        self.codes = torch.from_numpy(codes)
        self.scale = torch.nn.Parameter(torch.from_numpy(scale.astype(np.float32)))
        self.zero = None if zeros is None else torch.nn.Parameter(torch.from_numpy(real_zeros(scale, zeros)))
        self.bias = None if bias is None else bias.detach()

    def steps(self, zero: torch.Tensor | None) -> torch.Tensor:
        """``q - z`` (n, G)."""
        offset: Any = float(2 ** (self.grid.bits - 1)) if zero is None else zero[:, None]
        return self.codes.float() - offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = _ScaledProduct.apply(x, self.scale, self.zero, self)
        return y if self.bias is None else y + self.bias

    def round_zeros(self) -> None:
        """Move zeros to the codes that will be stored, where zeros are stored as codes."""
        if self.zero is not None and self.grid.zero == "int":
            with torch.no_grad():
                self.zero.copy_(self.zero.clamp(0, self.grid.top).round())

    def export(self) -> StructuredMatrix:
        """The matrix as a file holds it; its codes are those it came with."""
        with torch.no_grad():
            zero = None if self.zero is None else self.zero.numpy()
            scale, stored = store(self.grid, self.scale.numpy(), zero)
            return with_groups(self.matrix, self.codes.numpy(), scale, stored)


class BesideTerm(torch.nn.Module):
    """A layer in training form with a fixed term beside it, as compensation adds one; gradients flow through both.

    Parameters
    ----------
    layer : FakeQuantLinear or ScaledLinear
    term : StructuredMatrix
        Added to the layer's weight.
    """

    def __init__(self, layer: torch.nn.Module, term: StructuredMatrix) -> None:
        super().__init__()
        self.layer, self.term = layer, term.torch()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        beside = (self.term @ flat.T).T.reshape(*x.shape[:-1], -1)
        y: torch.Tensor = self.layer(x)
        return y + beside.to(y.dtype)


def beside(layer: torch.nn.Module, term: StructuredMatrix | None) -> torch.nn.Module:
    """The layer, with ``term`` beside it if there is one."""
    return layer if term is None else BesideTerm(layer, term)


class _ScaledProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, layer: ScaledLinear
    ) -> torch.Tensor:
        ctx.dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        ctx.layer, ctx.outer = layer, x.dtype
        x = x.to(ctx.dtype)
        ctx.save_for_backward(x, scale, zero)
        weight = layer.placement.dense(layer.steps(zero) * scale[:, None])
        return torch.nn.functional.linear(x, weight.to(ctx.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, zero = ctx.saved_tensors
        grad, layer = grads[0].to(ctx.dtype), ctx.layer
        steps = layer.steps(zero)
        weight = layer.placement.dense(steps * scale[:, None]).to(ctx.dtype)
        down = (grad @ weight).to(ctx.outer) if ctx.needs_input_grad[0] else None
        flat = grad.reshape(-1, grad.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        groups = layer.placement.gather(flat.to(scale.dtype))
        upon_zero = -scale * groups.sum(1) if zero is not None else None
        return down, (groups * steps).sum(1), upon_zero, None


@contextmanager
def replaced(root: torch.nn.Module, modules: Mapping[str, torch.nn.Module]) -> Iterator[None]:
    """Put other modules in the places of those at the given paths, and the original ones back afterwards."""
    originals: list[tuple[torch.nn.Module, str, torch.nn.Module]] = []
    try:
        for path, module in modules.items():
            parent, _, name = path.rpartition(".")
            owner = root.get_submodule(parent)
            originals.append((owner, name, getattr(owner, name)))
            setattr(owner, name, module)
        yield
    finally:
        for owner, name, module in originals:
            setattr(owner, name, module)


@contextmanager
def frozen(root: torch.nn.Module) -> Iterator[None]:
    """Let no parameter of ``root`` take part in gradients; put the flags back afterwards."""
    flags = {parameter: parameter.requires_grad for parameter in root.parameters()}
    try:
        root.requires_grad_(False)
        yield
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
