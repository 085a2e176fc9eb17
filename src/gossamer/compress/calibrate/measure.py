"""Perplexity of torch models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer.compress.calibrate.stream import open_stream, swapped
from gossamer.compress.models.load import load_model


def perplexity(
    model: Any,
    ids: Any,
    window: int = 256,
    windows: int | None = None,
    *,
    weights: Mapping[str, Any] | None = None,
) -> float:
    r"""Perplexity of a decoder, :math:`\exp(-\frac1T \sum_t \log p(x_t \mid x_{<t}))`.

    The token stream is cut into windows from its start, without overlap and without a BOS token; the mean is over
    the ``window - 1`` predicted tokens of every window. Short windows give much larger values: state both numbers.

    Parameters
    ----------
    model : SourceModel or LlamaForCausalLM
        The model; anything that :func:`load_model` takes.
    ids : array of int, shape (n,) or (windows, window)
        Tokens.
    window : int
        Tokens in a window.
    windows : int, optional
        How many windows; as many as there are if None.
    weights : dict of str to array, optional
        Dense weights to use instead of the model's own, by module path.

    Notes
    -----
    Blocks run one after another over all windows, and logits are made for a few tokens at a time, so that the
    vocabulary's width costs little memory.
    """
    source = load_model(model)
    tokens = np.asarray(ids, dtype=np.int64).reshape(-1)
    window = check_int("window", window, low=2)
    count = tokens.size // window if windows is None else check_int("windows", windows, low=1)
    if not count or tokens.size < count * window:
        raise ArgumentError(
            f"{tokens.size} tokens: {max(count, 1)} windows of {window} need {max(count, 1) * window}"
        )
    weights = {} if weights is None else weights
    with source.evaluating(), swapped(source, weights):
        stream = open_stream(source, tokens[: count * window].reshape(count, window))
        for block in source.blocks:
            stream.advance(source.module.get_submodule(block))
        return math.exp(min(stream.loss(), 700.0))
