"""Back from structured layers to plain ones."""

from __future__ import annotations

import torch

from gossamer.nn.linear.structured import StructuredLinear


def densify(model: torch.nn.Module) -> torch.nn.Module:
    """Multiply the factors of every structured layer out, in place: what remains is plain ``torch.nn.Linear``.

    Parameters
    ----------
    model : torch.nn.Module
        The model. Biases stay the same parameters, so that an optimiser keeps its state of them.

    Returns
    -------
    torch.nn.Module
        ``model``, or its replacement if the model itself is a structured layer. Its ``state_dict`` is that of the
        dense architecture.
    """
    done: dict[torch.nn.Module, torch.nn.Linear] = {}

    def dense(layer: StructuredLinear) -> torch.nn.Linear:
        if layer not in done:
            linear = layer.to_linear()
            if layer.bias is not None:
                linear.bias = layer.bias
            done[layer] = linear
        return done[layer]

    if isinstance(model, StructuredLinear):
        return dense(model)
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, StructuredLinear):
                setattr(parent, name, dense(child))
    return model
