"""Calibration text that the model writes itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import UnsupportedError
from gossamer.compress.assemble import base_artifact
from gossamer.compress.models.load import load_model

_LONGEST, _TOGETHER = 512, 32
_MARK = "\u2603"


def written_text(
    model: Any,
    tokens: int = 65536,
    *,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Let a decoder write, as token ids: text of all the kinds that it knows, and of no kind in particular.

    A model that is trained back on one source learns that source and forgets others. What it writes itself stands for
    what it knew. Half of the pieces begin as documents do; the other half, if the model has a chat template, as what
    a user says.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        See :func:`gossamer.compress.load_model`; a decoder.
    tokens : int
        How many at least.
    temperature, top_p
        See :class:`gossamer.engine.Sampling`. A small model that draws from all of its probabilities soon writes
        noise.
    seed : int
        Same seed, same text (on one machine).
    progress : callable, optional
        Called with the number of tokens so far.

    Returns
    -------
    ndarray of int64, shape (n,)
        Pieces of at most 512 tokens, one behind the other.

    Raises
    ------
    UnsupportedError
        For encoders and other modules.

    References
    ----------
    Liu et al., "LLM-QAT: Data-free quantization aware training for large language models", 2023.
    """
    from gossamer.engine import Engine

    check_int("tokens", tokens, low=1)
    source = load_model(model)
    if source.kind != "llama":
        raise UnsupportedError(f"{source.name}: only a decoder writes, and this is of kind {source.kind!r}")
    engine = Engine(base_artifact(source), act="fp32", kv="float32")
    openings = _openings(source)
    prompts = [openings[i % len(openings)] for i in range(_TOGETHER)]
    longest = min(_LONGEST, engine.max_context) - max(map(len, openings))
    end = sorted(engine.eos_ids)[:1]
    found: list[int] = []
    while len(found) < tokens:
        answers = engine.generate(
            prompts, max_new_tokens=max(longest, 1), temperature=temperature, top_p=top_p, seed=seed
        )
        seed += _TOGETHER
        for prompt, answer in zip(prompts, answers, strict=True):
            found += [*prompt, *answer.ids, *(end if answer.finish_reason == "eos" else [])]
        if progress is not None:
            progress(len(found))
    return np.array(found, dtype=np.int64)


def _openings(source: Any) -> list[list[int]]:
    """How a document begins, and how a user's turn does."""
    tokenizer, config = source.tokenizer, source.config
    begin = next((config[k] for k in ("bos_token_id", "eos_token_id") if isinstance(config.get(k), int)), 0)
    if tokenizer is None or not tokenizer.has_chat_template:
        return [[begin]]
    turn = tokenizer.chat(_MARK, generation_prompt=False).split(_MARK)[0]
    return [[begin], tokenizer.encode(turn, special=False)]
