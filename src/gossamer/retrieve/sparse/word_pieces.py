"""Texts as token ids, from any tokenizer: what document and query encoders share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, UnsupportedError


class WordPieces:
    """One face for the tokenizers of ``tokenizers``, ``transformers`` and ``gossamer.engine``.

    Parameters
    ----------
    tokenizer : object
        ``tokenizers.Tokenizer``, a ``transformers`` tokenizer, or :class:`gossamer.engine.Tokenizer`. Its own padding
        and truncation do not matter.

    Attributes
    ----------
    special : frozenset of int
        Ids that stand for no text: padding, mask, unknown, and what is put around a text.

    Raises
    ------
    UnsupportedError
        For anything else.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._python = None
        definition = getattr(tokenizer, "definition", None)
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if isinstance(definition, str) or hasattr(backend, "to_str"):
            from tokenizers import Tokenizer

            self._fast = Tokenizer.from_str(definition if isinstance(definition, str) else backend.to_str())
            self._fast.no_padding()
            self._fast.no_truncation()
            added = self._fast.get_added_tokens_decoder()
            special = {i for i, token in added.items() if token.special}
            special |= set(self._fast.encode("").ids)
            named = (self._fast.token_to_id(name) for name in ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"))
            special |= {i for i in named if i is not None}
        elif callable(tokenizer) and hasattr(tokenizer, "all_special_ids"):
            self._python = tokenizer
            special = set(tokenizer.all_special_ids)
        else:
            raise UnsupportedError(
                f"tokenizer is a {type(tokenizer).__name__}: expected one of tokenizers, transformers or "
                "gossamer.engine"
            )
        self.special = frozenset(int(i) for i in special)

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return len(self._python) if self._python is not None else self._fast.get_vocab_size()

    def ids(
        self, texts: Sequence[str], *, max_length: int | None = None, wrap: bool = True
    ) -> list[list[int]]:
        """Token ids of each text.

        Parameters
        ----------
        texts : sequence of str
            Empty ones are allowed.
        max_length : int, optional
            Cut to so many ids, those around a text counted.
        wrap : bool
            Put special tokens around a text as its model expects them.

        Returns
        -------
        list of list of int
            One list a text.
        """
        texts = as_texts("texts", texts)
        if self._python is not None:
            cut = {} if max_length is None else {"truncation": True, "max_length": max_length}
            found = self._python(texts, add_special_tokens=wrap, **cut)["input_ids"] if texts else []
            return [list(ids) for ids in found]
        if len(texts) == 1:
            found = [self._fast.encode(texts[0], add_special_tokens=wrap)]
        else:
            found = self._fast.encode_batch(texts, add_special_tokens=wrap)
        if max_length is not None:
            for encoding in found:
                if len(encoding.ids) > max_length:
                    return self._cut(texts, max_length, wrap)
        return [encoding.ids for encoding in found]

    def token(self, i: int) -> str:
        """The text of token ``i``."""
        if self._python is not None:
            return str(self._python.convert_ids_to_tokens(int(i)))
        return str(self._fast.id_to_token(int(i)))

    def vocabulary(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self._python.get_vocab() if self._python is not None else self._fast.get_vocab())

    def definition(self) -> str:
        """The text of ``tokenizer.json``.

        Raises
        ------
        UnsupportedError
            For a tokenizer written in Python.
        """
        if self._python is not None:
            raise UnsupportedError(
                f"{type(self._python).__name__} has no tokenizer.json: use its fast version"
            )
        return self._fast.to_str()

    def _cut(self, texts: list[str], max_length: int, wrap: bool) -> list[list[int]]:
        self._fast.enable_truncation(max_length)
        try:
            return [found.ids for found in self._fast.encode_batch(texts, add_special_tokens=wrap)]
        finally:
            self._fast.no_truncation()


def as_texts(name: str, texts: Any) -> list[str]:
    """``texts`` as a list of str; a lone str is refused, since its letters would be taken for texts."""
    if isinstance(texts, (str, bytes)):
        raise ArgumentError(f"{name} is one {type(texts).__name__}: expected a list of texts")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise ArgumentError(f"{name}[{i}] is a {type(text).__name__}: expected str")
    return found


def distinct(ids: list[int]) -> np.ndarray:
    """Ids once each, ascending, as int32."""
    return np.array(sorted(set(ids)), np.int32)
