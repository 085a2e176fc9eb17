"""Several answers at once: one pass over the weights serves a token of every prompt."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._kernels import _native
from gossamer.engine.generation import GenerateResult, TextBuilder
from gossamer.engine.sampling import Sampling

_LIVE = 32  # answers in flight; each holds a cache


def generate_batch(
    decoder: Any,
    prompts: Sequence[list[int]],
    builders: Sequence[TextBuilder],
    sizes: Sequence[int],
    samplings: Sequence[Sampling],
) -> list[GenerateResult]:
    """Draw tokens for all prompts together; as one answer ends, the next prompt takes its place.

    Every answer draws from its own seed, as a single one does. ``decode_seconds`` of an answer is the time from its
    first logits to its end, in which the others advanced as well.
    """
    answers = [_Answer(*item) for item in zip(prompts, builders, sizes, samplings, strict=True)]
    waiting = deque(answers)
    live: list[_Answer] = []
    while waiting or live:
        while waiting and len(live) < _LIVE:
            answer = waiting.popleft()
            if answer.start(decoder):
                live.append(answer)
        if live:
            logits = decoder.decode_batch([a.session for a in live], [a.seen[-1] for a in live])
            live = [answer for answer, row in zip(live, logits, strict=True) if answer.take(row)]
    return [answer.result for answer in answers]


class _Answer:
    def __init__(self, prompt: list[int], builder: TextBuilder, size: int, sampling: Sampling) -> None:
        self.prompt, self.builder, self.size = prompt, builder, size
        self.sampling = sampling.seeded()
        self.seen = list(prompt)
        self.session: Any = None
        self.result: GenerateResult
        self._drawn = 0
        self._state = self.sampling.seed or 0

    def start(self, decoder: Any) -> bool:
        """Prefill and draw the first token; whether there is more to draw."""
        self._begin = time.perf_counter()
        self.session = decoder.new_session()
        logits = self.session.prefill(self.prompt)
        self._middle = time.perf_counter()
        return self.take(logits) if self.size else self._end()

    def take(self, logits: np.ndarray) -> bool:
        """Draw a token from the logits; whether there is more to draw."""
        s = self.sampling
        uniform = 0.0 if s.temperature == 0 else self._uniform()
        top_k = min(s.top_k, len(logits))
        seen = self.seen if s.repetition_penalty != 1 else []
        token = _native.decoder.draw(
            np.ascontiguousarray(logits), seen, s.temperature, top_k, s.top_p, s.repetition_penalty, uniform
        )
        self.seen.append(token)
        self._drawn += 1
        return (self.builder.put(token) and self._drawn < self.size) or self._end()

    def _end(self) -> bool:
        end = time.perf_counter()
        self.session = None  # frees the cache
        text = self.builder.finish()
        self.result = GenerateResult(
            text=text,
            ids=self.builder.ids,
            finish_reason=self.builder.reason,
            prompt_tokens=len(self.prompt),
            prefill_seconds=self._middle - self._begin,
            decode_seconds=end - self._middle,
            sampling=self.sampling,
            message=f"ended by {self.builder.reason} after {len(self.builder.ids)} tokens",
        )
        return False

    def _uniform(self) -> float:
        """The next number of SplitMix64, as the native token loop draws it."""
        mask = (1 << 64) - 1
        self._state = (self._state + 0x9E3779B97F4A7C15) & mask
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53


__all__ = ["generate_batch"]
