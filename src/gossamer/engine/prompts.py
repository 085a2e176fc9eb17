"""What a user gives as a prompt (text, ids, a conversation, several of those) as checked token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer.engine.tokenizer import Tokenizer

Prompt = str | Sequence[int] | Sequence[Mapping[str, str]]


class PromptReader:
    """Reads prompts for one model: its tokenizer, if it has one, and the size of its vocabulary."""

    def __init__(self, tokenizer: Tokenizer | None, vocab_size: int) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size

    def prompts(self, prompt: Any, chat: bool = False) -> tuple[list[list[int]], bool]:
        """Ids of each prompt, and whether there were several.

        Raises
        ------
        ArgumentError
            If a prompt is empty, has another type, or an id outside the vocabulary.
        """
        if isinstance(prompt, np.ndarray):
            prompt = prompt.tolist()
        if isinstance(prompt, str) or _is_single(prompt, chat):
            return [self.read(prompt, chat)], False
        if not isinstance(prompt, Sequence) or not prompt:
            raise ArgumentError(f"prompt={prompt!r}: expected a text, token ids, or a sequence of those")
        return [self.read(one, chat) for one in prompt], True

    def read(self, prompt: Any, chat: bool = False) -> list[int]:
        """Ids of one prompt; a text is wrapped in the special tokens that the tokenizer adds."""
        if chat:
            tokenizer = self.need_tokenizer()
            return self.checked(tokenizer.encode(tokenizer.chat(prompt), special=False))
        return self.checked(self.need_tokenizer().encode(prompt) if isinstance(prompt, str) else prompt)

    def plain(self, text: str) -> list[int]:
        """Ids of a text as it stands, without special tokens around it."""
        return self.checked(self.need_tokenizer().encode(text, special=False))

    def checked(self, ids: Any) -> list[int]:
        """Ids within the vocabulary, at least one."""
        if isinstance(ids, np.ndarray):
            ids = ids.tolist()
        if not isinstance(ids, Sequence):
            raise ArgumentError(f"prompt={ids!r}: expected a text or token ids")
        if not ids:
            raise ArgumentError("the prompt is empty: expected at least one token")
        return [check_int("token id", i, low=0, high=self.vocab_size - 1) for i in ids]

    def need_tokenizer(self) -> Tokenizer:
        """The tokenizer; a model without one takes only ids."""
        if self.tokenizer is None:
            raise ArgumentError("this artifact has no tokenizer: give token ids instead of text")
        return self.tokenizer


def _is_single(prompt: Any, chat: bool) -> bool:
    if not isinstance(prompt, Sequence) or not prompt:
        return False
    if chat:
        return all(isinstance(item, Mapping) for item in prompt)
    return not any(isinstance(item, (str, Sequence, np.ndarray)) for item in prompt)


__all__ = ["Prompt", "PromptReader"]
