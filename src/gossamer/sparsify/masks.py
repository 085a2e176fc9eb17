"""Masks of a network: which parameters may be pruned, which entries are zero, and that they stay so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require


def prunable_parameters(model: Any) -> dict[str, Any]:
    """Weights of the linear and convolutional layers of a torch module by name; no bias, no norm."""
    torch = require("torch", "torch")
    nn = torch.nn
    convolutions = (
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    )
    return {
        f"{name}.weight" if name else "weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, *convolutions))
    }


def masks_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Boolean masks of the entries of each parameter that are not zero."""
    return {name: p.detach() != 0 for name, p in params.items()}


def model_sparsity(masks: Mapping[str, Any]) -> float:
    """Share of entries that the masks remove."""
    total = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / total


def hold_masks(optimizer: Any, params: Mapping[str, Any], masks: Mapping[str, Any]) -> Any:
    """Set masked entries to zero now and after every step of ``optimizer``, whatever momentum it carries.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its steps are followed.
    params : mapping of str to tensor
        Parameters by name.
    masks : mapping of str to bool tensor
        False entries are held at zero; names must be among those of ``params``.

    Returns
    -------
    handle
        ``handle.remove()`` ends it.
    """
    torch = require("torch", "torch")
    unknown = set(masks) - set(params)
    if unknown:
        raise ArgumentError(f"masks has {sorted(unknown)}: expected names of params, {sorted(params)}")

    def apply(*_: Any) -> None:
        with torch.no_grad():
            for name, mask in masks.items():
                params[name].masked_fill_(~mask, 0.0)  # a product would leave NaN and -0

    apply()
    return optimizer.register_step_post_hook(apply)
