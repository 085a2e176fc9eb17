"""Convolution kernels of diagonal state-space models."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._kernels import ssm
from gossamer.nn.ssm.discretize import DISCRETIZATIONS, discretize


def ssm_kernel(
    Lambda: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    dt: torch.Tensor,
    L: int,
    weights: torch.Tensor | None = None,
    disc: str = "zoh",
) -> torch.Tensor:
    r"""Return the first L values of the impulse response of H diagonal systems.

    :math:`K_{h \ell} = \mathrm{Re} \sum_n w_n C_{hn} \bar B_{hn} \bar\Lambda_{hn}^\ell`, by a native product of
    powers: 4 N L flops a system forward, 8 N L backward, with powers made in double precision.

    Parameters
    ----------
    Lambda : complex tensor, shape (H, N) or (N,)
        Eigenvalues of the systems.
    B, C : complex tensors, shape (H, N)
        Inputs and outputs in the basis of eigenvectors.
    dt : tensor, shape (H,)
        Step sizes.
    L : int
        Length.
    weights : tensor, shape (N,), optional
        2 for one of a conjugate pair whose other half is left out, 1 for a real eigenvalue; 1 by default.
    disc : {"zoh", "bilinear"}
        Discretisation.

    Returns
    -------
    tensor, shape (H, L)
        Real; differentiable once in all tensors.

    Raises
    ------
    ShapeError
        Shapes do not fit.
    UnsupportedError
        Tensors are not on the CPU.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import ssm_kernel
    >>> one = torch.ones(1, 1, dtype=torch.complex64)
    >>> ssm_kernel(-one, one, one, torch.ones(1), 3)
    tensor([[0.6321, 0.2325, 0.0855]])
    """
    check_choice("disc", disc, DISCRETIZATIONS)
    if (
        B.ndim != 2
        or C.shape != B.shape
        or Lambda.shape not in (B.shape, B.shape[1:])
        or dt.shape != B.shape[:1]
    ):
        raise ShapeError(
            f"Lambda, B, C and dt have shapes {[tuple(t.shape) for t in (Lambda, B, C, dt)]}: "
            "expected (H, N) or (N,), (H, N), (H, N), (H,)"
        )
    Lbar, Bbar = discretize(Lambda, B, dt[:, None], disc)
    return vandermonde(C * Bbar if weights is None else weights * C * Bbar, Lbar.expand_as(Bbar), L)


def vandermonde(c: torch.Tensor, z: torch.Tensor, length: int) -> torch.Tensor:
    """``Re sum_n c[..., n] z[..., n]^l`` for l below ``length``; complex (..., n) in, real (..., length) out."""
    length = check_int("L", length, low=0)
    if c.shape != z.shape or c.dtype != z.dtype:
        raise ShapeError(f"c is {c.dtype} {tuple(c.shape)}: expected as z, {z.dtype} {tuple(z.shape)}")
    if c.device.type != "cpu":
        raise UnsupportedError(f"c is on {c.device}: expected a tensor on the CPU")
    rows = _Vandermonde.apply(c.reshape(-1, c.shape[-1]), z.reshape(-1, c.shape[-1]), length)
    return rows.reshape(*c.shape[:-1], length)


class _Vandermonde(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, c: torch.Tensor, z: torch.Tensor, length: int) -> torch.Tensor:
        c, z = (t.detach().resolve_conj().resolve_neg() for t in (c, z))
        ctx.save_for_backward(c, z)
        return torch.from_numpy(ssm.kernel(c.numpy(), z.numpy(), length))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        c, z = ctx.saved_tensors
        dc, dz = ssm.kernel_back(c.numpy(), z.numpy(), slope.resolve_neg().numpy())
        return torch.from_numpy(dc), torch.from_numpy(dz), None
