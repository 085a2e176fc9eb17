"""The texts on which each feature of an autoencoder is strongest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.autoencoders.activation_cache import ActivationCache
from gossamer.nn.autoencoders.sparse_autoencoder import SparseAutoencoder
from gossamer.plots.features import Feature, FeatureText

_ROWS = 4096


def describe_features(
    sae: SparseAutoencoder,
    cache: ActivationCache,
    sequences: Any,
    piece: Callable[[int], str],
    *,
    texts: int = 6,
    before: int = 14,
    after: int = 6,
    unembedding: Any = None,
    words: int = 6,
) -> list[Feature]:
    """Find where each feature that is in use is strongest, one place a sequence.

    Parameters
    ----------
    sae : SparseAutoencoder
    cache : ActivationCache
        Activations with the tokens they belong to.
    sequences : array of int, shape (n, S)
        The tokens that the cache was collected from, in that order.
    piece : callable
        Text of a token id.
    texts : int
        Texts of a feature.
    before, after : int
        Tokens that a text shows on either side of its strongest one.
    unembedding : array, shape (vocabulary, d), optional
        Output layer, times the last norm's weight: gives the tokens that a feature raises and lowers.
    words : int
        How many of those.

    Returns
    -------
    list of Feature
        From the most to the least used.
    """
    tokens = to_numpy(sequences)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ArgumentError(f"sequences is {tokens.dtype} of shape {tokens.shape}: expected tokens (n, S)")
    if len(cache) and not np.array_equal(tokens[cache.sequences, cache.positions], cache.tokens):
        raise ArgumentError("sequences: not the tokens that the cache was collected from")
    check_int("texts", texts, low=1)
    columns = _columns(sae, cache)
    named: dict[int, str] = {}

    def text_of(token: int) -> str:
        if token not in named:
            named[token] = piece(token)
        return named[token]

    raised = _words(sae, unembedding, words, text_of) if unembedding is not None else {}
    found = []
    for latent in range(sae.n_features):
        rows, values = columns[latent]
        if not len(rows):
            continue
        strength = dict(
            zip(zip(cache.sequences[rows].tolist(), cache.positions[rows].tolist()), values.tolist())
        )
        seen: set[int] = set()
        shown = []
        for at in np.argsort(-values, kind="stable"):
            sequence, position = int(cache.sequences[rows[at]]), int(cache.positions[rows[at]])
            if sequence in seen:
                continue
            seen.add(sequence)
            window = range(max(0, position - before), min(tokens.shape[1], position + after + 1))
            shown.append(
                FeatureText(
                    tuple(text_of(int(tokens[sequence, i])) for i in window),
                    tuple(strength.get((sequence, i), 0.0) for i in window),
                )
            )
            if len(shown) == texts:
                break
        up, down = raised.get(latent, ((), ()))
        found.append(Feature(latent, len(rows) / len(cache), float(values.max()), tuple(shown), up, down))
    return sorted(found, key=lambda feature: -feature.density)


def _columns(sae: SparseAutoencoder, cache: ActivationCache) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of the cache on which each feature is active, and its values there, in the units of the activations."""
    import scipy.sparse

    parts = [
        sae.encode(torch.from_numpy(cache.x[first : first + _ROWS]), mode="threshold").to_csr()
        for first in range(0, len(cache), _ROWS)
    ]
    codes = (scipy.sparse.vstack(parts) * float(sae.scale)).tocsc()
    bounds = codes.indptr
    return [(codes.indices[a:b], codes.data[a:b]) for a, b in itertools.pairwise(bounds)]


def _words(
    sae: SparseAutoencoder, unembedding: Any, count: int, text_of: Callable[[int], str]
) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tokens whose logits a feature raises and lowers most, compared with its mean effect."""
    with torch.no_grad():
        output = torch.as_tensor(to_numpy(unembedding)).to(sae.W_dec)
        found = {}
        for first in range(0, sae.n_features, 256):
            effect = sae.W_dec[first : first + 256] @ output.T
            ends = [effect.topk(count, dim=1, largest=largest).indices.tolist() for largest in (True, False)]
            for i, (up, down) in enumerate(zip(*ends, strict=True)):
                found[first + i] = (tuple(map(text_of, up)), tuple(map(text_of, down)))
    return found


def output_directions(model: nn.Module) -> torch.Tensor | None:
    """Output layer of a causal language model, times the weight of its last norm; None if it has none.

    Parameters
    ----------
    model : nn.Module
        Of transformers.
    """
    find: Any = getattr(model, "get_output_embeddings", None)
    layer = None if find is None else find()
    if layer is None:
        return None
    norm = getattr(getattr(model, "model", None), "norm", None)
    weight = layer.weight.detach()
    return weight if norm is None else weight * norm.weight.detach()


__all__: Sequence[str] = ["describe_features", "output_directions"]
