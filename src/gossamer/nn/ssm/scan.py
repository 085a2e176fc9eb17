"""Recurrences along time: natively for a constant transition, by a scan of log depth for one that varies."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._kernels import ssm


def ssm_scan(
    Lbar: torch.Tensor, Bu: torch.Tensor, x0: torch.Tensor | None = None, reverse: bool = False
) -> torch.Tensor:
    r"""Return all states of a diagonal recurrence, :math:`x_k = \bar\Lambda \odot x_{k-1} + (Bu)_k`.

    One native pass with the states in registers: 16 bytes of traffic a state and step in single precision. Sequences
    of any length go in parts: the last state of one is the ``x0`` of the next.

    Parameters
    ----------
    Lbar : complex tensor, shape (P,)
        Transition, constant in time. For one that varies take :func:`associative_scan`.
    Bu : complex tensor, shape (B, L, P)
        Inputs.
    x0 : complex tensor, shape (B, P), optional
        State before the first step; zero by default.
    reverse : bool
        Run from the last step to the first; ``x0`` is then the state behind the last one.

    Returns
    -------
    complex tensor, shape (B, L, P)
        Differentiable once in all tensors.

    Raises
    ------
    ShapeError
        Shapes or dtypes do not fit.
    UnsupportedError
        Tensors are not on the CPU, or not complex.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import ssm_scan
    >>> ssm_scan(torch.tensor([0.5 + 0j]), torch.ones(1, 3, 1, dtype=torch.complex64))[0, :, 0].real.tolist()
    [1.0, 1.5, 1.75]
    """
    if not Bu.is_complex() or Bu.device.type != "cpu":
        raise UnsupportedError(f"Bu is {Bu.dtype} on {Bu.device}: expected a complex tensor on the CPU")
    if Bu.ndim != 3 or Lbar.shape != Bu.shape[2:] or Lbar.dtype != Bu.dtype:
        raise ShapeError(
            f"Lbar is {Lbar.dtype} {tuple(Lbar.shape)}, Bu {Bu.dtype} {tuple(Bu.shape)}: expected (P,) and (B, L, P)"
        )
    if x0 is not None and (x0.shape != (Bu.shape[0], Bu.shape[2]) or x0.dtype != Bu.dtype):
        raise ShapeError(
            f"x0 is {x0.dtype} {tuple(x0.shape)}: expected {Bu.dtype} {(Bu.shape[0], Bu.shape[2])}"
        )
    return _Scan.apply(Lbar, Bu, x0, bool(reverse))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, x0: Any, reverse: bool) -> torch.Tensor:
        a, b = a.detach().resolve_conj().resolve_neg(), b.detach().resolve_conj().resolve_neg()
        start = None if x0 is None else x0.detach().resolve_conj().resolve_neg()
        x = torch.from_numpy(
            ssm.scan(a.numpy(), b.numpy(), None if start is None else start.numpy(), reverse)
        )
        ctx.save_for_backward(a, x, *(() if start is None else (start,)))
        ctx.reverse = reverse
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[Any, ...]:
        a, x, *start = (t.numpy() for t in ctx.saved_tensors)
        da, db, dx0 = ssm.scan_back(
            a, x, slope.resolve_conj().resolve_neg().numpy(), start[0] if start else None, ctx.reverse
        )
        return (
            torch.from_numpy(da),
            torch.from_numpy(db),
            torch.from_numpy(dx0) if start else None,
            None,
        )


def associative_scan(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r"""Return all states of :math:`x_k = a_k \odot x_{k-1} + b_k` for a transition that varies in time.

    Pairs compose as :math:`(a_i, b_i) \bullet (a_j, b_j) = (a_j a_i, a_j b_i + b_j)`, which is associative: steps are
    joined two by two, the joined ones scanned, and the steps between filled in. Log depth, O(L P) work, plain torch
    operations on any device, differentiable to any order.

    Parameters
    ----------
    a, b : tensors, shape (B, L, P)
        Transitions and inputs, real or complex.

    Returns
    -------
    tensor, shape (B, L, P)

    Raises
    ------
    ShapeError
        Shapes differ.

    References
    ----------
    Blelloch, "Prefix sums and their applications", 1990.
    """
    if a.shape != b.shape or a.ndim != 3:
        raise ShapeError(
            f"a and b have shapes {tuple(a.shape)} and {tuple(b.shape)}: expected (B, L, P) twice"
        )
    return _joined(a, b)[1]


def _joined(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    length = a.shape[1]
    if length < 2:
        return a, b
    even = length - length % 2
    first_a, first_b, second_a, second_b = a[:, 0:even:2], b[:, 0:even:2], a[:, 1:even:2], b[:, 1:even:2]
    A, X = _joined(second_a * first_a, second_a * first_b + second_b)  # states behind every second step
    out_a, out_x = torch.empty_like(a), torch.empty_like(b)
    out_a[:, 1::2], out_x[:, 1::2] = A, X
    out_a[:, :1], out_x[:, :1] = a[:, :1], b[:, :1]
    behind = A[:, : (length - 1) // 2], X[:, : (length - 1) // 2]
    out_a[:, 2::2] = a[:, 2::2] * behind[0]
    out_x[:, 2::2] = a[:, 2::2] * behind[1] + b[:, 2::2]
    return out_a, out_x
