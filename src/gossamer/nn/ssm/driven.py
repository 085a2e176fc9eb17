"""A diagonal system with many inputs and outputs in one pass: states are written over what drives them."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._kernels import ssm


def driven_scan(
    u: torch.Tensor,
    Lbar: torch.Tensor,
    Bbar: torch.Tensor,
    C: torch.Tensor,
    x0: torch.Tensor,
    reverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""``y_k = Re(C x_k)``, ``x_k = Lbar x_{k-1} + Bbar u_k``, and the last state.

    What ``ssm_scan`` and two matrix products compute, in half of the memory: one array of states is made forward, one
    of their slopes backward. Products are real, of pairs.

    Parameters
    ----------
    u : tensor, shape (B, L, H)
        Real inputs, L at least 1.
    Lbar, Bbar, C : complex tensors, shape (M,), (M, H) and (H, M)
    x0 : complex tensor, shape (B, M)
    reverse : bool
        As for :func:`ssm_scan`.

    Returns
    -------
    (tensor of shape (B, L, H), complex tensor of shape (B, M))
    """
    drive = torch.view_as_real(Bbar.resolve_conj()).permute(1, 0, 2).flatten(1)
    read = torch.view_as_real(C.conj().resolve_conj()).flatten(1)
    return _DrivenScan.apply(u, Lbar, drive, read, x0, reverse)


class _DrivenScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        u: torch.Tensor,
        Lbar: torch.Tensor,
        drive: torch.Tensor,
        read: torch.Tensor,
        x0: torch.Tensor,
        reverse: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        Lbar, x0 = (t.resolve_conj().resolve_neg() for t in (Lbar, x0))
        x = u @ drive
        states = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        array = states.detach().numpy()
        ssm.scan(Lbar.detach().numpy(), array, x0.detach().numpy(), reverse, out=array)
        ctx.save_for_backward(u, Lbar, drive, read, x0, x)
        ctx.reverse = reverse
        return x @ read.T, states[:, 0 if reverse else -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, dlast: torch.Tensor) -> tuple[Any, ...]:
        u, Lbar, drive, read, x0, x = ctx.saved_tensors
        slope = dy @ read
        slopes, states = (torch.view_as_complex(part.unflatten(-1, (-1, 2))) for part in (slope, x))
        slopes[:, 0 if ctx.reverse else -1] += dlast
        array = slopes.numpy()
        da, _, dx0 = ssm.scan_back(Lbar.numpy(), states.numpy(), array, x0.numpy(), ctx.reverse, out=array)
        flat = slope.flatten(0, 1)
        return (
            slope @ drive.T if ctx.needs_input_grad[0] else None,
            torch.from_numpy(da),
            u.flatten(0, 1).T @ flat,
            dy.flatten(0, 1).T @ x.flatten(0, 1),
            torch.from_numpy(dx0),
            None,
        )
