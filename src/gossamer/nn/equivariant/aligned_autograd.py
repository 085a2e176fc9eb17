"""Convolutions about directions in torch: the slope in a direction is a torque, and needs no further product."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from gossamer._core.arrays import to_numpy
from gossamer.linalg.products.gaunt.aligned import aligned_filter, aligned_product
from gossamer.linalg.transforms.spherical.rotations import rotation_generators

Degrees = tuple[int, int, int]


class AlignedProduct(torch.autograd.Function):
    r"""z of features x, filters h and directions v; linear in x and in h.

    A convolution commutes with rotations: turning the direction by :math:`\omega` changes z by
    :math:`\omega G z - z(\omega G x, h, v)`, G the generators of rotations. With g the slope in z and dx that in x, the
    slope in :math:`\omega` is the torque :math:`\langle g, G z \rangle - \langle dx, G x \rangle`.
    """

    @staticmethod
    def forward(ctx: Any, degrees: Degrees, *tensors: torch.Tensor) -> torch.Tensor:
        """Shapes (edges, channels, (L + 1)^2), (edges, channels, L_filter + 1) and (edges, 3)."""
        x, filters, vectors = (to_numpy(tensor) for tensor in tensors)
        z = torch.from_numpy(aligned_product(x, filters, vectors, degrees))
        ctx.degrees = degrees
        ctx.save_for_backward(*tensors, z)
        return z

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Differentiable, as it consists of functions of this file."""
        (L, L_filter, L_out), (x, filters, vectors, z) = ctx.degrees, ctx.saved_tensors
        _, need_x, need_filters, need_vectors = ctx.needs_input_grad
        dx: Any = None
        df = dv = None
        if need_x or need_vectors:
            dx = AlignedProduct.apply((L_out, L_filter, L), grad, filters, vectors)
        if need_filters:
            df = AlignedFilter.apply(ctx.degrees, x, grad, vectors)
        if need_vectors:
            dv = _lever(_torque(grad, z) - _torque(dx, x), vectors)
        return None, dx, df, dv


class AlignedFilter(torch.autograd.Function):
    """The slope of :class:`AlignedProduct` in the filters, given features x, slopes g and directions."""

    @staticmethod
    def forward(ctx: Any, degrees: Degrees, *tensors: torch.Tensor) -> torch.Tensor:
        """(edges, channels, L_filter + 1)."""
        ctx.degrees = degrees
        ctx.save_for_backward(*tensors)
        x, slope, vectors = (to_numpy(tensor) for tensor in tensors)
        return torch.from_numpy(aligned_filter(x, slope, vectors, degrees))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Products with the slope as the filter."""
        (L, L_filter, L_out), (x, g, vectors) = ctx.degrees, ctx.saved_tensors
        dx = AlignedProduct.apply((L_out, L_filter, L), g, grad, vectors)
        dg = AlignedProduct.apply((L, L_filter, L_out), x, grad, vectors)
        dv = None
        if ctx.needs_input_grad[3]:
            dv = _lever(_torque(g, dg) - _torque(dx, x), vectors)
        return None, dx, dg, dv


def _torque(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(edges, 3): sums over channels of ``a . G b``."""
    L = int(a.shape[-1] ** 0.5) - 1
    total = a.new_zeros(len(a), 3)
    for l in range(1, L + 1):
        own = slice(l * l, (l + 1) ** 2)
        total = total + (a[..., own].transpose(1, 2) @ b[..., own]).flatten(1) @ _generators(l, a.dtype)
    return total


def _lever(torque: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """What moves the ends of vectors as the torque turns them."""
    return torch.linalg.cross(torque, vectors) / vectors.square().sum(-1, keepdim=True)


@lru_cache(maxsize=128)
def _generators(l: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(rotation_generators(l).reshape(3, -1).T.copy()).to(dtype)
