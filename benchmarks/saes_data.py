"""Activations and gradients of SmolLM2-135M-Instruct that both benchmarks of sparse autoencoders train and test on.

``python -m benchmarks.saes_data`` collects them once: residual stream after block 18 of 30, WikiText-2 (valid), windows
of 128 tokens.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CACHE = Path(__file__).parents[1] / ".cache" / "saes"
HOOK = "model.layers.17"
LENGTH, BATCH = 128, 8
PARTS = {"train": (0, 40), "validation": (40, 44), "test": (44, 52)}
"""Batches of 1,024 tokens of the text, from and to: 40,000 to train on, 4,000 to choose by, 8,000 to report on."""


@cache
def model() -> Any:
    """The language model, float32."""
    from gossamer.compress import load_model

    return load_model("smollm2-135m")


@cache
def token_batches() -> dict[str, list[np.ndarray]]:
    """Batches of tokens, shape (8, 128) each, by what they are for."""
    from gossamer.datasets import load_wikitext2

    tokens = np.asarray(model().tokenizer.encode(load_wikitext2("valid"), special=False))
    count = max(last for _, last in PARTS.values())
    windows = tokens[: count * BATCH * LENGTH].reshape(count, BATCH, LENGTH)
    return {part: list(windows[first:last]) for part, (first, last) in PARTS.items()}


def activations(part: str) -> Any:
    """The cache of one part, made or completed where it is not complete."""
    from gossamer.nn import ActivationCache, collect_activations_and_gradients

    if (CACHE / part / "cache.json").exists():
        cache = ActivationCache(CACHE / part)
        if cache.complete:
            return cache

    def tell(done: int) -> None:
        print(f"{part}: {done} batches", flush=True)

    return collect_activations_and_gradients(
        model().module, HOOK, token_batches()[part], out=CACHE / part, shard_tokens=1024, progress=tell
    )


if __name__ == "__main__":
    for name in ("validation", "test", "train"):
        print(activations(name))
