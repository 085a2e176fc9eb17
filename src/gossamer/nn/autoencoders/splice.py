"""Put a reconstruction into a running model, in the place of what it reconstructs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from gossamer._core.checks import check_choice, check_finite, check_float
from gossamer._core.errors import ArgumentError
from gossamer.nn.autoencoders.hooks import changed_output
from gossamer.nn.autoencoders.sparse_autoencoder import SparseAutoencoder

Replace = Callable[[torch.Tensor], torch.Tensor]


def replaceable(x: torch.Tensor, *, skip_first: bool = True, max_norm: float | None = 5.0) -> torch.Tensor:
    """Which tokens of activations (B, S, d) a reconstruction may replace, bool, shape (B, S).

    Not the first position, and none whose norm is above ``max_norm`` times the median of the others: such tokens carry
    a constant, and its reconstruction would be judged instead of everything else.
    """
    keep = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    keep[:, 0] = not skip_first
    norms = x.detach().norm(dim=-1)
    if max_norm is not None and bool(keep.any()):
        keep &= norms <= max_norm * norms[keep].median()
    return keep


@contextmanager
def splice(
    model: nn.Module,
    hook: str | nn.Module,
    sae: SparseAutoencoder | Replace,
    mode: str = "plain",
    *,
    grads: torch.Tensor | None = None,
    skip_first: bool = True,
    max_norm: float | None = 5.0,
) -> Iterator[None]:
    """Within the context the model runs on the autoencoder's reconstruction of the activations at the hook.

    Parameters
    ----------
    model : nn.Module
        A causal language model.
    hook : str or nn.Module
        Whose output is replaced.
    sae : SparseAutoencoder, or a function of activations (n, d)
        What replaces it.
    mode : {"plain", "grad"}
        Whether codes are chosen from the activations alone, or with ``grads`` as well. The latter has seen the label:
        an analysis, not a way to run a model.
    grads : Tensor, shape (B, S, d)
        Of the loss with respect to the activations, for ``mode="grad"``: of the same batch.
    skip_first : bool
        Leave the first position of each sequence as it is.
    max_norm : float or None
        Leave tokens as they are whose norm is above so many times the median.

    Raises
    ------
    ArgumentError
        If the hook does not exist, ``mode="grad"`` has no gradients, or they are not of the batch's shape.
    """
    check_choice("mode", mode, ("plain", "grad"))
    if mode == "grad" and grads is None:
        raise ArgumentError("mode='grad' needs grads")
    if max_norm is not None:
        check_float("max_norm", max_norm, low=0, closed="neither")
    if grads is not None:
        check_finite("grads", grads)

    def change(x: torch.Tensor) -> torch.Tensor:
        keep = replaceable(x, skip_first=skip_first, max_norm=max_norm)
        if mode == "grad" and grads is not None and grads.shape != x.shape:
            raise ArgumentError(
                f"grads has shape {tuple(grads.shape)}: expected that of the batch, {tuple(x.shape)}"
            )
        if not bool(keep.any()):
            return x
        rows = x[keep]
        if isinstance(sae, SparseAutoencoder):
            given: Any = grads[keep] if mode == "grad" and grads is not None else None
            new = sae.reconstruct(rows, given)
        else:
            new = sae(rows)
        return x.masked_scatter(keep[..., None], new.to(x.dtype))

    with changed_output(model, hook, change):
        yield
