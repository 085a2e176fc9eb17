"""Run a language model over text and keep what one place in it computes, with or without gradients of the loss."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_finite, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.autoencoders.activation_cache import ActivationCache, CacheWriter, batch_digest
from gossamer.nn.autoencoders.hooks import check_deterministic, clean_run, module_at

Hook = str | nn.Module


def load_activations(
    model: nn.Module,
    hook: Hook,
    batches: Iterable[Any],
    *,
    out: str | os.PathLike[str],
    skip_first: bool = True,
    max_norm: float | None = 5.0,
    shard_tokens: int = 16_384,
    progress: Callable[[int], None] | None = None,
) -> ActivationCache:
    """Stream the activations of one place in a model to memory-mapped shards of float16.

    A directory that holds part of the work is completed: batches that it has are not run again. Decoder-only models
    put norms a hundred times the usual one at the first position and at a few later tokens, which would take all of a
    sparse code's budget; they are left out.

    Parameters
    ----------
    model : nn.Module
        A causal language model of transformers, or a module that maps tokens (B, S) to logits. Not changed.
    hook : str or nn.Module
        Whose output: ``"model.layers.17"`` is the residual stream after the 18th block of a Llama.
    batches : iterable of integer arrays, shape (B, S)
        Token ids, in an order that is the same when the work is resumed.
    out : path
        Directory of the cache.
    skip_first : bool
        Leave out the first position of each sequence.
    max_norm : float or None
        Leave out tokens whose norm is above so many times the median of the first batch; None keeps all.
    shard_tokens : int
        Rows after which a shard is written.
    progress : callable, optional
        Called with the number of batches done.

    Returns
    -------
    ActivationCache

    Raises
    ------
    ArgumentError
        If the hook does not exist (with the nearest names), dropout is active, or the directory belongs to another
        model, place or text.
    """
    return _collect(model, hook, batches, out, False, "sum", skip_first, max_norm, shard_tokens, progress)


def collect_activations_and_gradients(
    model: nn.Module,
    hook: Hook,
    batches: Iterable[Any],
    *,
    out: str | os.PathLike[str],
    skip_first: bool = True,
    reduction: str = "sum",
    max_norm: float | None = 5.0,
    shard_tokens: int = 16_384,
    progress: Callable[[int], None] | None = None,
) -> ActivationCache:
    """Stream activations x and the gradients ``dL/dx`` of the next-token loss to memory-mapped shards.

    Only what lies above the hook is differentiated, and no weight. A gradient at one position holds its effect on the
    predictions of all later ones. The last position of a sequence, which predicts nothing, is left out.

    Parameters
    ----------
    model, hook, batches, out, skip_first, max_norm, shard_tokens, progress
        As for :func:`load_activations`.
    reduction : {"sum", "mean"}
        Of the losses of a batch, before the derivative.

    Returns
    -------
    ActivationCache
        ``.g`` gives the gradients as they are; float16 holds them times the power of two in ``.scale``.

    Raises
    ------
    ArgumentError
        As for :func:`load_activations`, and for gradients that are not finite, with their place.

    References
    ----------
    Olmo et al., "Features that Make a Difference: Leveraging Gradients for Improved Dictionary Learning", Findings of
    NAACL 2025.
    """
    check_choice("reduction", reduction, ("sum", "mean"))
    return _collect(model, hook, batches, out, True, reduction, skip_first, max_norm, shard_tokens, progress)


def _collect(
    model: nn.Module,
    hook: Hook,
    batches: Iterable[Any],
    out: str | os.PathLike[str],
    gradients: bool,
    reduction: str,
    skip_first: bool,
    max_norm: float | None,
    shard_tokens: int,
    progress: Callable[[int], None] | None,
) -> ActivationCache:
    name, _ = module_at(model, hook)
    check_deterministic(model)
    check_int("shard_tokens", shard_tokens, low=1)
    if max_norm is not None:
        check_float("max_norm", max_norm, low=0, closed="neither")
    setting = f"{name}|{gradients}|{reduction}|{skip_first}|{max_norm}"
    writer = CacheWriter(out, f"{model_hash(model, setting)}", gradients=gradients)
    done, sequences = writer.done, 0
    for number, batch in enumerate(batches):
        tokens = _checked_tokens(batch)
        digest = batch_digest(tokens)
        if number < len(done):
            if done[number] != digest:
                raise ArgumentError(f"batch {number} differs from the one that {out} was written for")
        else:
            x, g, _ = clean_run(
                model, hook, torch.from_numpy(tokens), gradients=gradients, reduction=reduction
            )
            rows = _rows(writer.state, x, g, tokens, sequences, skip_first, max_norm)
            writer.add(digest, **rows)
            if writer.pending >= shard_tokens:
                writer.flush()
        sequences += len(tokens)
        if progress is not None:
            progress(number + 1)
    if not sequences:
        raise ArgumentError("batches holds no batch")
    return writer.finish()


def _rows(
    state: dict[str, Any],
    x: torch.Tensor,
    g: torch.Tensor | None,
    tokens: np.ndarray,
    first: int,
    skip_first: bool,
    max_norm: float | None,
) -> dict[str, np.ndarray]:
    """What the cache keeps of one batch; the first batch settles the largest norm and the scale of gradients."""
    check_finite("activations", x)
    count, length = tokens.shape
    keep = torch.ones(count, length, dtype=torch.bool)
    keep[:, 0] = not skip_first
    if g is not None:
        check_finite("gradients", g)
        keep[:, -1] = False
    norms = x.float().norm(dim=-1)
    if max_norm is not None and state["norm_limit"] is None and keep.any():
        state["norm_limit"] = max_norm * float(norms[keep].median())
    if state["norm_limit"] is not None:
        keep &= norms <= state["norm_limit"]
    flat = keep.flatten().nonzero().flatten()
    rows = {"x": to_numpy(x.flatten(0, 1)[flat].float())}
    if np.abs(rows["x"]).max(initial=0) > np.finfo(np.float16).max:
        raise ArgumentError("activations exceed float16: leave massive tokens out with max_norm")
    if g is not None:
        slopes = to_numpy(g.flatten(0, 1)[flat].float())
        if state["scale"] == 1.0 and np.any(slopes):
            # the root mean square becomes about 1: four orders of magnitude below float16's largest number
            state["scale"] = 2.0 ** -round(math.log2(float(np.sqrt(np.mean(np.square(slopes))))))
        most = np.finfo(np.float16).max
        rows["g"] = np.clip(slopes * np.float32(state["scale"]), -most, most)
    flat_numpy = flat.numpy()
    rows["tokens"] = tokens.reshape(-1)[flat_numpy]
    rows["positions"] = flat_numpy % length
    rows["sequences"] = first + flat_numpy // length
    return rows


def _checked_tokens(batch: Any) -> np.ndarray:
    tokens = to_numpy(batch)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or tokens.shape[1] < 2 or not len(tokens):
        raise ArgumentError(
            f"batch is {tokens.dtype} of shape {tokens.shape}: expected integer tokens (B, S) with S >= 2"
        )
    return tokens.astype(np.int64)


def model_hash(model: nn.Module, setting: str) -> str:
    """SHA-256 of all weights of a model and of a setting."""
    digest = hashlib.sha256(setting.encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


__all__ = ["collect_activations_and_gradients", "load_activations"]
