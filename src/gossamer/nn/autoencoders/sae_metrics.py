"""How good a sparse autoencoder is: as a code, and in the place of what it encodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.autoencoders.hooks import check_deterministic, clean_run, logits_of, next_token_losses
from gossamer.nn.autoencoders.sparse_autoencoder import SparseAutoencoder
from gossamer.nn.autoencoders.splice import Replace, replaceable, splice
from gossamer.nn.autoencoders.zipf import ZipfSchedule

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def evaluate(
    sae: SparseAutoencoder, x: Any, grads: Any = None, *, mode: str | None = None, batch_size: int = 1024
) -> dict[str, Any]:
    """Measure a code on activations that it was not trained on.

    Parameters
    ----------
    sae : SparseAutoencoder
    x : array, tensor or ActivationCache.x, shape (n, d)
        Activations.
    grads : same, optional
        Gradients to choose by.
    mode : {"threshold", "batch"}, optional
        Token by token, or within batches; by default as the autoencoder stands.
    batch_size : int
        Of ``mode="batch"``.

    Returns
    -------
    dict
        ``normalised_mse``: squared error over squared distance from the mean; ``explained_variance``, one minus that;
        ``l0`` the mean number of active features, ``l0_quantiles`` at 5, 25, 50, 75, 95 %; ``dead`` the share of
        features that are silent on all of x; ``density`` (F,) the share of tokens of each feature and
        ``density_histogram`` its counts by decade (``edges`` are logarithms to base 10); ``zipf_r2`` of the fitted
        law, NaN with fewer than three features in use.
    """
    check_int("batch_size", batch_size, low=1)
    if mode is not None:
        check_choice("mode", mode, ("threshold", "batch"))
    n = len(x)
    error = 0.0
    total, square = np.zeros(sae.d), 0.0
    counts, active = np.zeros(sae.n_features, np.int64), []
    for first in range(0, n, batch_size):
        part = to_torch(x[first : first + batch_size]).to(sae.W_dec)
        slope = None if grads is None else to_torch(grads[first : first + batch_size])
        codes = sae.encode(part, slope, mode=mode)
        with torch.no_grad():
            error += float((sae.decode(codes) - part).double().square().sum())
        total += part.double().sum(dim=0).numpy()
        square += float(part.double().square().sum())
        counts += codes.per_feature
        active.append(codes.per_token)
    spread = square - float(total @ total) / n
    density, per_token = counts / n, np.concatenate(active)
    edges = np.arange(-6.0, 0.51, 0.5)
    histogram, _ = np.histogram(np.log10(density[density > 0]), edges)
    live = int((density > 0).sum())
    return {
        "normalised_mse": error / spread,
        "explained_variance": 1 - error / spread,
        "l0": float(per_token.mean()),
        "l0_quantiles": np.quantile(per_token, _QUANTILES).tolist(),
        "dead": float((counts == 0).mean()),
        "density": density,
        "density_histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
        "zipf_r2": ZipfSchedule.fit(density).r2 if live >= 3 else float("nan"),
    }


def downstream(
    model: nn.Module,
    hook: str | nn.Module,
    sae: SparseAutoencoder,
    batches: Iterable[Any],
    modes: Sequence[str] = ("grad", "plain"),
    *,
    max_norm: float | None = 5.0,
) -> dict[str, float]:
    """What the model loses when the autoencoder's reconstruction takes the place of the activations.

    Parameters
    ----------
    model : nn.Module
        A causal language model.
    hook : str or nn.Module
        Where.
    sae : SparseAutoencoder
    batches : iterable of integer arrays, shape (B, S)
        Tokens. First positions, and tokens with norms above ``max_norm`` times the median, are not replaced.
    modes : sequence of {"grad", "plain"}
        With codes that also look at gradients of the clean run (which have seen the label), and without.
    max_norm : float or None
        See above.

    Returns
    -------
    dict of str to float
        ``ce`` of the clean model, ``ce_zero`` and ``ce_mean`` with zeros and with the mean activation in the place;
        and for each mode ``ce_<mode>``, ``delta_ce_<mode>`` (over the clean one), ``recovered_<mode>``
        (``(ce_zero - ce_mode) / (ce_zero - ce)``), ``kl_<mode>`` (from the clean to the spliced prediction) and
        ``normalised_mse_<mode>``. Means over all predicted tokens.
    """
    return downstream_of(model, hook, {"": sae}, batches, modes, max_norm=max_norm)[""]


def downstream_of(
    model: nn.Module,
    hook: str | nn.Module,
    saes: Mapping[str, SparseAutoencoder],
    batches: Iterable[Any],
    modes: Sequence[str] = ("grad", "plain"),
    *,
    max_norm: float | None = 5.0,
) -> dict[str, dict[str, float]]:
    """:func:`downstream` of several autoencoders, which share the runs of the clean model.

    Parameters
    ----------
    model, hook, batches, modes, max_norm
        As there.
    saes : mapping of str to SparseAutoencoder
        By name.
    """
    for mode in modes:
        check_choice("mode", mode, ("grad", "plain"))
    check_deterministic(model)
    if any(sae.training for sae in saes.values()):
        raise ArgumentError("sae is in training mode: call sae.eval() before")
    sums: dict[str, dict[str, float]] = {name: {} for name in saes}
    shared = dict.fromkeys(("ce", "ce_zero", "ce_mean"), 0.0)
    tokens_seen, spread = 0, 0.0
    for batch in batches:
        tokens = torch.from_numpy(to_numpy(batch).astype(np.int64))
        x, g, logits = clean_run(model, hook, tokens, gradients="grad" in modes)
        x, clean = x.detach(), logits.detach()
        rows = x[replaceable(x, max_norm=max_norm)]
        mean = rows.mean(dim=0)
        spread += float((rows - mean).double().square().sum())
        shared["ce"] += float(next_token_losses(clean, tokens).sum())
        for name, constant in (("ce_zero", torch.zeros_like(mean)), ("ce_mean", mean)):
            replaced = _spliced(model, hook, tokens, _constantly(constant), "plain", None, max_norm)
            shared[name] += float(next_token_losses(replaced, tokens).sum())
        for name, sae in saes.items():
            for mode in modes:
                slopes = g if mode == "grad" else None
                replaced = _spliced(model, hook, tokens, sae, mode, slopes, max_norm)
                given = None if slopes is None else slopes[replaceable(x, max_norm=max_norm)]
                found = {
                    f"ce_{mode}": float(next_token_losses(replaced, tokens).sum()),
                    f"kl_{mode}": float(divergence(clean[:, :-1], replaced[:, :-1]).sum()),
                    f"normalised_mse_{mode}": float(
                        (sae.reconstruct(rows, given) - rows).double().square().sum()
                    ),
                }
                for key, value in found.items():
                    sums[name][key] = sums[name].get(key, 0.0) + value
        tokens_seen += tokens.shape[0] * (tokens.shape[1] - 1)
    if not tokens_seen:
        raise ArgumentError("batches holds no batch")
    shared = {key: value / tokens_seen for key, value in shared.items()}
    return {name: _figures(shared, found, modes, tokens_seen, spread) for name, found in sums.items()}


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of the predictions of two sets of logits (..., vocabulary), shape (...)."""
    p, q = first.log_softmax(dim=-1), second.log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def _constantly(value: torch.Tensor) -> Replace:
    return lambda rows: value.expand_as(rows)


def _spliced(
    model: nn.Module,
    hook: str | nn.Module,
    tokens: torch.Tensor,
    sae: SparseAutoencoder | Replace,
    mode: str,
    grads: torch.Tensor | None,
    max_norm: float | None,
) -> torch.Tensor:
    with torch.no_grad(), splice(model, hook, sae, mode, grads=grads, max_norm=max_norm):
        return logits_of(model, tokens)


def _figures(
    shared: dict[str, float], sums: dict[str, float], modes: Sequence[str], tokens: int, spread: float
) -> dict[str, float]:
    found = dict(shared)
    for mode in modes:
        ce = sums[f"ce_{mode}"] / tokens
        found[f"ce_{mode}"] = ce
        found[f"delta_ce_{mode}"] = ce - shared["ce"]
        found[f"recovered_{mode}"] = (shared["ce_zero"] - ce) / (shared["ce_zero"] - shared["ce"])
        found[f"kl_{mode}"] = sums[f"kl_{mode}"] / tokens
        found[f"normalised_mse_{mode}"] = sums[f"normalised_mse_{mode}"] / spread
    return found


__all__ = ["divergence", "downstream", "downstream_of", "evaluate"]
