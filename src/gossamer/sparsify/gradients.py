"""Rows of gradients for curvature estimates: a mini-batch or a sample each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require


def collect_gradients(
    model: Any,
    loader: Iterable[Any],
    criterion: Callable[[Any, Any], Any],
    ngrads: int,
    params: Mapping[str, Any],
    support: np.ndarray | None = None,
    per_sample: bool = False,
    grads_from: str = "data",
    seed: int = 0,
) -> np.ndarray:
    """Collect ``ngrads`` gradients of the loss, in eval mode; modes and gradients of the model are put back.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    loader : iterable of (inputs, targets)
        Mini-batches; one that ends early is started again, with a warning.
    criterion : callable
        ``criterion(outputs, targets)``, the mean loss.
    ngrads : int
        Rows.
    params : mapping of str to tensor
        Parameters of the model by name, in the order of the columns.
    support : ndarray of int, optional
        Columns to keep, out of the concatenated flattened parameters.
    per_sample : bool
        A row a sample, through ``torch.func.vmap(grad)``, instead of a row a mini-batch.
    grads_from : {"data", "model"}
        Targets of the loader, or classes sampled from the model's own softmax (the true Fisher).
    seed : int
        Of the sampled classes.

    Returns
    -------
    ndarray of float32, shape (ngrads, d)
        Every row is filled. float64 for a model in float64.
    """
    torch = require("torch", "torch")
    check_int("ngrads", ngrads, low=1)
    check_choice("grads_from", grads_from, ("data", "model"))
    size = sum(p.numel() for p in params.values())
    wide = all(p.dtype == torch.float64 for p in params.values())
    out = np.empty((ngrads, size if support is None else len(support)), np.float64 if wide else np.float32)
    generator = torch.Generator().manual_seed(seed)
    rows = _sample_rows if per_sample else _batch_rows
    modes = [(module, module.training) for module in model.modules()]
    count = 0
    model.eval()
    try:
        for inputs, targets in _cycle(loader, ngrads):
            if grads_from == "model":
                with torch.no_grad():
                    odds = torch.softmax(model(inputs).double(), dim=-1)
                targets = torch.multinomial(odds, 1, generator=generator)[:, 0]
            for row in rows(torch, model, criterion, params, inputs, targets):
                row = row.numpy()
                if not np.isfinite(row).all():
                    raise ArgumentError(f"gradient {count} of {ngrads} has NaN or infinite entries")
                out[count] = row if support is None else row[support]
                count += 1
                if count == ngrads:
                    return out
    finally:
        for module, training in modes:
            module.training = training
    raise ArgumentError("loader is empty: expected mini-batches of (inputs, targets)")


def _batch_rows(
    torch: Any, model: Any, criterion: Any, params: Mapping[str, Any], inputs: Any, targets: Any
) -> Iterator[Any]:
    # autograd.grad leaves .grad alone
    found = torch.autograd.grad(criterion(model(inputs), targets), list(params.values()), allow_unused=True)
    yield torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).detach().reshape(-1).cpu()
            for g, p in zip(found, params.values())
        ]
    )


def _sample_rows(
    torch: Any, model: Any, criterion: Any, params: Mapping[str, Any], inputs: Any, targets: Any
) -> Iterator[Any]:
    fixed = {k: v.detach() for k, v in [*model.named_parameters(), *model.named_buffers()] if k not in params}

    def loss(free: Any, x: Any, y: Any) -> Any:
        return criterion(torch.func.functional_call(model, {**fixed, **free}, (x[None],)), y[None])

    free = {k: v.detach() for k, v in params.items()}
    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(free, inputs, targets)
    yield from torch.cat([found[name].reshape(len(inputs), -1) for name in params], dim=1).cpu()


def _cycle(loader: Iterable[Any], ngrads: int) -> Iterator[Any]:
    warned = False
    while True:
        batches = 0
        for batch in loader:
            batches += 1
            yield batch
        if not batches:
            return
        if not warned:
            warnings.warn(
                f"loader has {batches} batches, fewer than ngrads={ngrads} gradients need: it is run again",
                stacklevel=3,
            )
            warned = True
