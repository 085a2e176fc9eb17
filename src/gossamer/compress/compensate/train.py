"""Fine-tuning of the low-rank terms of a compressed model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.compress.compensate.result import CompensationResult
from gossamer.compress.finetune.descent import Descent
from gossamer.linalg import WeightedLowRank, weighted_low_rank

INITS = ("eora", "zero", "svd")


def finetune_compensation(
    result: CompensationResult,
    batches: Sequence[Any],
    *,
    init: str = "eora",
    lr: float = 1e-4,
    steps: int | None = None,
    warmup: int = 100,
    clip: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> CompensationResult:
    r"""Train ``A`` and ``B`` by next-token cross-entropy, the compressed weights frozen.

    The terms are LoRA parameters of scale 1. AdamW without decay, a linear warm-up and a cosine; gradients pass
    through the compressed matrices, which are multiplied out on the way, and stop at ``A`` and ``B``.

    Parameters
    ----------
    result : CompensationResult
        Of a decoder. Not changed.
    batches : sequence of array of int, shape (B, T)
        Token ids, one batch a step, taken in turn; a mapping with ``input_ids`` and ``attention_mask`` leaves padding
        out of the loss.
    init : {"eora", "zero", "svd"}
        Start from the compensation as it is; from ``B = 0`` and a random ``A`` (as QLoRA); or from the plain
        decomposition of the error (as LoftQ with one iteration). Ranks are those of ``result``.
    lr : float
        Peak rate; 1e-4 and 5e-5 are usual.
    steps : int, optional
        One pass over ``batches`` if None.
    warmup : int
        Steps in which the rate rises, at most a tenth of all.
    clip : float
        Largest norm of the gradient.
    seed : int
        Of ``"zero"``.
    progress : callable, optional
        Hears (step, loss).

    Returns
    -------
    CompensationResult
        With the trained adapters, and the loss of every step in ``history["loss"]``. Residuals in the report are
        those before training.

    References
    ----------
    Hu et al., "LoRA", 2022. Dettmers et al., "QLoRA", 2023. Li et al., "LoftQ", 2024. Liu et al., "EoRA", 2024.
    """
    check_choice("init", init, INITS)
    check_float("lr", lr, low=0, closed="neither")
    if result.pair.source.kind != "llama":
        raise UnsupportedError("finetune_compensation: expected a decoder, whose next-token loss is known")
    if not len(batches) or not result.adapters:
        raise ArgumentError(f"{len(batches)} batches and {len(result.adapters)} adapters: expected both")
    count = len(batches) if steps is None else check_int("steps", steps, low=1)
    start = replace(result, adapters=_initial(result, init, seed))
    module = start.model
    trained = {path: module.get_submodule(path) for path in start.adapters}
    parameters = [parameter for layer in trained.values() for parameter in (layer.lora_A, layer.lora_B)]
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    module.eval()  # no dropout: the term is small and the text is short
    descent = Descent([(parameters, lr)], count, clip=clip, warmup=min(warmup / count, 0.1))
    losses = []
    with torch.enable_grad():
        for step in range(count):
            ids, mask = _tensors(batches[step % len(batches)])
            losses.append(descent.step([partial(next_token_loss, module, ids, mask)]))
            if progress is not None:
                progress(step + 1, losses[-1])
    adapters = {
        path: replace(
            start.adapters[path],
            B=layer.lora_B.detach().numpy().copy(),
            A=layer.lora_A.detach().numpy().copy(),
            stored=None,
        )
        for path, layer in trained.items()
    }
    return replace(
        result, adapters=adapters, history={"loss": losses}, message=f"{result.message}, trained from {init}"
    )


def next_token_loss(module: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy of ``ids[:, 1:]``, those that are padding left out."""
    logits = module(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    targets = ids[:, 1:] if mask is None else ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def _initial(result: CompensationResult, init: str, seed: int) -> dict[str, WeightedLowRank]:
    if init == "eora":
        return dict(result.adapters)
    rng = np.random.default_rng(seed)
    found = {}
    for path, adapter in result.adapters.items():
        if init == "svd":
            error = result.pair.base(path) - result.pair.compressed(path)
            found[path] = weighted_low_rank(error, None, adapter.rank, solver="gram")
        else:
            bound = math.sqrt(1 / adapter.A.shape[1])  # Kaiming-uniform with a = sqrt(5), as in LoRA
            A = rng.uniform(-bound, bound, adapter.A.shape).astype(np.float32)
            found[path] = replace(adapter, B=np.zeros_like(adapter.B), A=A, stored=None)
    return found


def _tensors(batch: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    if hasattr(batch, "keys"):
        return torch.as_tensor(batch["input_ids"]), torch.as_tensor(batch["attention_mask"])
    return torch.as_tensor(np.asarray(batch), dtype=torch.long), None
