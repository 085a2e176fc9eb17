"""A diagonal system with many inputs and outputs in one pass: states are written over what drives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from gossamer._kernels import ssm

_BLOCK = 1 << 19
"""Real numbers of the states that go through all three stages while they are in a cache.

Half as many are a little faster on one thread and twice as many on two, whose products want more rows; one size for all
keeps sums the same for any number of threads.
"""


def driven_scan(
    u: torch.Tensor,
    Lbar: torch.Tensor,
    Bbar: torch.Tensor,
    C: torch.Tensor,
    x0: torch.Tensor,
    reverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""``y_k = Re(C x_k)``, ``x_k = Lbar x_{k-1} + Bbar u_k``, and the last state.

    What ``ssm_scan`` and two matrix products compute, in half of the memory and a block of time after the other: states
    are read while they are in a cache, and of slopes in them no more than a block is stored. Products are real, of
    pairs.

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
        u, readout = u.contiguous(), read.T.contiguous()
        x, y = u.new_empty(*u.shape[:2], drive.shape[1]), u.new_empty(*u.shape[:2], read.shape[0])
        states, poles, carry = _pairs(x), Lbar.numpy(), x0.numpy()
        for rows, steps, _, before in _blocks(u, drive.shape[1], reverse):
            torch.mm(_flat(u[rows, steps]), drive, out=_flat(x[rows, steps]))
            start = carry[rows] if before is None else states[rows, before]
            ssm.scan(poles, states[rows, steps], start, reverse, out=states[rows, steps])
            torch.mm(_flat(x[rows, steps]), readout, out=_flat(y[rows, steps]))
        ctx.save_for_backward(u, Lbar, drive, read, x0, x)
        ctx.reverse = reverse
        return y, torch.from_numpy(states[:, 0 if reverse else -1].copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, dlast: torch.Tensor) -> tuple[Any, ...]:
        u, Lbar, drive, read, x0, x = ctx.saved_tensors
        dy, back = dy.contiguous(), drive.T.contiguous()
        du = torch.empty_like(u) if ctx.needs_input_grad[0] else None
        da, ddrive, dread = torch.zeros_like(Lbar), torch.zeros_like(drive), torch.zeros_like(read)
        states, poles, first = _pairs(x), Lbar.numpy(), x0.numpy()
        behind = dlast.resolve_conj().numpy().copy()  # slope in the state behind a block
        room = torch.empty(0)
        for rows, steps, edge, before in reversed(_blocks(u, drive.shape[1], ctx.reverse)):
            shape = *u[rows, steps].shape[:2], drive.shape[1]
            if room.shape != shape:
                room = u.new_empty(shape)
            torch.mm(_flat(dy[rows, steps]), read, out=_flat(room))
            slopes = _pairs(room)
            slopes[:, edge] += behind[rows]
            start = first[rows] if before is None else states[rows, before]
            part, _, behind[rows] = ssm.scan_back(
                poles, states[rows, steps], slopes, start, ctx.reverse, out=slopes
            )
            da += torch.from_numpy(part)
            slope = _flat(room)
            if du is not None:
                torch.mm(slope, back, out=_flat(du[rows, steps]))
            ddrive.addmm_(_flat(u[rows, steps]).T, slope)
            dread.addmm_(_flat(dy[rows, steps]).T, _flat(x[rows, steps]))
        return du, da, ddrive, dread, torch.from_numpy(behind), None


def _blocks(u: torch.Tensor, width: int, reverse: bool) -> list[tuple[slice, slice, int, int | None]]:
    """Parts of (B, L, width) that stay in a cache and lie in one piece, in the order of the scan.

    Sequences, steps, where in the part its last step of the scan is, and the step before it, if there is one.
    """
    batch, length = u.shape[:2]
    steps = max(64, _BLOCK // width)
    if length <= steps:
        many = max(1, steps // length)
        edge = 0 if reverse else length - 1
        return [(slice(b, b + many), slice(0, length), edge, None) for b in range(0, batch, many)]
    parts = []
    for b in range(batch):
        spans = [(first, min(first + steps, length)) for first in range(0, length, steps)]
        for first, last in reversed(spans) if reverse else spans:
            edge, before = (0, last) if reverse else (last - first - 1, first - 1)
            inside = 0 <= before < length
            parts.append((slice(b, b + 1), slice(first, last), edge, before if inside else None))
    return parts


def _flat(x: torch.Tensor) -> torch.Tensor:
    """(B, L, n) in one piece as (B L, n)."""
    return x.view(-1, x.shape[-1])


def _pairs(x: torch.Tensor) -> np.ndarray:
    """Pairs of reals (B, L, 2 M) as complex numbers (B, L, M), shared."""
    states: np.ndarray = torch.view_as_complex(x.detach().unflatten(-1, (-1, 2))).numpy()
    return states
