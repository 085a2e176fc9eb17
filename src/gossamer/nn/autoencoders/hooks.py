"""A place in a model whose output is read or replaced."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from gossamer._core.errors import ArgumentError, UnsupportedError

Change = Callable[[torch.Tensor], torch.Tensor]


def module_at(model: nn.Module, hook: str | nn.Module) -> tuple[str, nn.Module]:
    """Path and module of a hook; an unknown path is an error that lists the nearest ones."""
    modules = dict(model.named_modules())
    if isinstance(hook, nn.Module):
        for name, module in modules.items():
            if module is hook:
                return name, module
        raise ArgumentError(f"hook is a {type(hook).__name__} that is not part of the model")
    if hook in modules and hook:
        return hook, modules[hook]
    near = difflib.get_close_matches(str(hook), [name for name in modules if name], n=4, cutoff=0.3)
    raise ArgumentError(
        f"hook={hook!r}: expected a module of the model; nearest: {', '.join(near) or 'none'}"
    )


def check_deterministic(model: nn.Module) -> None:
    """Refuse a model whose dropout is active: its activations and gradients would be noise."""
    for name, module in model.named_modules():
        if module.training and isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise ArgumentError(f"{name} has dropout p={module.p} in training mode: call model.eval() before")


@contextmanager
def changed_output(model: nn.Module, hook: str | nn.Module, change: Change) -> Iterator[None]:
    """Within the context the output ``x`` of the hook is ``change(x)``.

    A module that returns a tuple keeps the rest of it.
    """
    _, module = module_at(model, hook)

    def replace(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return change(output)
        if isinstance(output, tuple) and output and isinstance(output[0], torch.Tensor):
            return (change(output[0]), *output[1:])
        raise UnsupportedError(
            f"hook {hook!r} returns a {type(output).__name__}: expected a tensor or a tuple"
        )

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def logits_of(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (B, S, vocabulary) of a model of transformers, or of any module that maps tokens to them."""
    output = model(tokens)
    return output if isinstance(output, torch.Tensor) else output.logits


def next_token_losses(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """``-log p(next token)`` at positions 0 .. S-2, shape (B, S - 1)."""
    flat = nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float() if logits.dtype.itemsize < 4 else logits[:, :-1].flatten(0, 1),
        tokens[:, 1:].flatten(),
        reduction="none",
    )
    return flat.view(tokens.shape[0], -1)


def clean_run(
    model: nn.Module, hook: str | nn.Module, tokens: torch.Tensor, *, gradients: bool, reduction: str = "sum"
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Activations x at the hook, gradients of the loss with respect to them (or None), and logits.

    The activation is detached and attached anew, so that only what lies above the hook is differentiated.
    """
    kept: list[torch.Tensor] = []

    def cut(x: torch.Tensor) -> torch.Tensor:
        kept[:] = [x.detach().requires_grad_(gradients)]
        return kept[0]

    with changed_output(model, hook, cut), torch.set_grad_enabled(gradients):
        logits = logits_of(model, tokens)
    if not kept:
        raise ArgumentError(f"hook={hook!r}: the model did not call it")
    if not gradients:
        return kept[0], None, logits
    losses = next_token_losses(logits, tokens)
    loss = losses.sum() if reduction == "sum" else losses.mean()
    (slope,) = torch.autograd.grad(loss, kept[0])
    return kept[0].detach(), slope, logits.detach()
