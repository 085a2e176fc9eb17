"""Products of reflections with torch tensors: an orthogonal product is undone on the way back, nothing is stored."""

from __future__ import annotations

from typing import Any

import torch

from gossamer.linalg.transforms.reflections import (
    PANEL,
    apply_units,
    inverse_T,
    panels,
    solve,
    unit_columns,
)


def tensor_reflect(
    W: torch.Tensor, X: torch.Tensor, transposed: bool, algorithm: str, stop_recursion: int | None
) -> torch.Tensor:
    """:func:`gossamer.linalg.transforms.reflections.reflect` of tensors."""
    kept = torch.promote_types(W.dtype, X.dtype)
    wide = torch.promote_types(kept, torch.float32)
    with torch.autocast(W.device.type, enabled=False):
        unit, start = unit_columns(W.to(wide)), X.to(wide)
        if algorithm != "wy":
            return apply_units(unit, start, transposed, algorithm, stop_recursion).to(kept)
        # the product in the opposite order is the transpose
        return _Reflect.apply(unit.flip(1) if transposed else unit, start).to(kept)


class _Reflect(torch.autograd.Function):
    r"""``Y = H_1 ... H_k X`` for unit columns. Per panel ``Y = X - W S`` with ``S = T W^T X``:

    with ``P = T^T W^T G`` for the gradient ``G`` of Y, that of W is
    ``-G S^T - X P^T + W (Z + Z^T)``, ``Z = striu(P S^T)``, and that of X is ``G - W P``. X is found again from Y by the
    transposed panel. All of it is made of differentiable products, so that the second derivative exists too.
    """

    @staticmethod
    def forward(ctx: Any, W: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
        Y = apply_units(W, X, False, "wy")
        ctx.save_for_backward(W, Y)
        return Y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        W, Y = ctx.saved_tensors
        pieces = []
        for at in panels(W.shape[1]):  # the leftmost panel was applied last
            V = W[:, at : at + PANEL]
            inverse = inverse_T(V)
            P = solve(inverse, V.T @ grad, True)
            if ctx.needs_input_grad[0]:
                Y = Y - V @ solve(inverse, V.T @ Y, True)
                S = solve(inverse, V.T @ Y, False)
                Z = (P @ S.T).triu(1)
                pieces.append(V @ (Z + Z.T) - grad @ S.T - Y @ P.T)
            grad = grad - V @ P
        return torch.cat(pieces, dim=1) if pieces else None, grad
