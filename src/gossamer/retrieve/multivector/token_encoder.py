"""One unit vector a token, from any encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer._core.lazy import require
from gossamer.retrieve.multivector.ragged import TokenVectors


class TokenEncoder:
    """Encode texts as sets of vectors, one a token: last hidden states without the special tokens, of length 1.

    Parameters
    ----------
    model : object
        One of

        - :class:`gossamer.engine.Encoder` (``engine.encoder`` of a BERT engine), or another object with
          ``hidden(list of id lists) -> list of (length, dim) arrays``;
        - a ``transformers`` model, as ``AutoModel`` loads it: its ``last_hidden_state`` is taken;
        - a function with the signature of ``hidden``.
    tokenizer : object
        :class:`gossamer.engine.Tokenizer` or a ``transformers`` tokenizer; the model's own.
    max_length : int
        Longer texts are cut to so many tokens, special tokens counted.
    normalize : bool
        Scale vectors to length 1.
    pooled : bool
        One vector a text instead, the mean of its token vectors (special tokens counted, as sentence encoders do).

    Raises
    ------
    UnsupportedError
        For a model or tokenizer that has none of these forms.

    Notes
    -----
    Special tokens are those that the tokenizer puts around an empty text. Sequences of similar lengths are run
    together, so results do not depend on ``batch_size`` beyond rounding.

    Examples
    --------
    >>> from gossamer.engine import Engine  # doctest: +SKIP
    >>> engine = Engine.load("minilm-w8")  # doctest: +SKIP
    >>> encoder = TokenEncoder(engine.encoder, engine.tokenizer)  # doctest: +SKIP
    >>> encoder = TokenEncoder.from_transformers("path/of/all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> vectors, offsets = encoder.encode(["late interaction", "one vector a token"])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int = 128,
        normalize: bool = True,
        pooled: bool = False,
    ) -> None:
        if not (hasattr(model, "hidden") or callable(model)):
            raise UnsupportedError(
                f"model is a {type(model).__name__}: expected gossamer.engine.Encoder, a transformers model or a "
                f"function from lists of ids to hidden states"
            )
        if not (hasattr(tokenizer, "encode_batch") or callable(tokenizer)):
            raise UnsupportedError(
                f"tokenizer is a {type(tokenizer).__name__}: expected gossamer.engine.Tokenizer or one of "
                f"transformers"
            )
        self.model, self.tokenizer = model, tokenizer
        self.max_length = check_int("max_length", max_length, low=3)
        self.normalize, self.pooled = bool(normalize), bool(pooled)
        self._wrapping = frozenset(self.token_ids([""])[0])

    @classmethod
    def from_transformers(cls, path: str | os.PathLike[str], **options: Any) -> TokenEncoder:
        """Load model and tokenizer from a folder with ``transformers``; options are those of the class.

        Raises
        ------
        MissingDependencyError
            If ``transformers`` is not installed.
        """
        transformers = require("transformers", "models")
        model = transformers.AutoModel.from_pretrained(os.fspath(path)).eval()
        return cls(model, transformers.AutoTokenizer.from_pretrained(os.fspath(path)), **options)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, special tokens included, cut to ``max_length``."""
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ArgumentError(f"texts[{i}] is a {type(text).__name__}: expected str")
        if hasattr(self.tokenizer, "token_id"):
            return self.tokenizer.encode_batch(texts, max_length=self.max_length)
        return [
            list(ids)
            for ids in self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        ]

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> TokenVectors:
        """Vectors of every text.

        Parameters
        ----------
        texts : sequence of str
            At least one token each.
        batch_size : int
            Texts that a model sees at once.

        Returns
        -------
        TokenVectors
            ``vectors`` (sum of lengths, dim) float32 and ``offsets`` (n + 1,) int64.

        Raises
        ------
        ArgumentError
            If there are no texts, or one has no token.
        ShapeError
            If the model returns anything but one row a token.
        """
        if isinstance(texts, str):
            raise ArgumentError("texts is a str: expected a list of texts")
        batch_size = check_int("batch_size", batch_size, low=1)
        ids = self.token_ids(texts)
        if not ids:
            raise ArgumentError("texts is empty: expected at least one text")
        keep = [np.array([i not in self._wrapping for i in sequence]) for sequence in ids]
        for i, kept in enumerate(keep):
            if not kept.any():
                raise ArgumentError(f"texts[{i}] has no token: expected at least one")
        found: list[Any] = [None] * len(ids)
        for i, states in self._states(ids, batch_size):
            if states.ndim != 2 or len(states) != len(ids[i]):
                raise ShapeError(
                    f"the model gave {states.shape} for {len(ids[i])} tokens: expected one row a token"
                )
            rows = states.mean(0, keepdims=True) if self.pooled else states[keep[i]]
            found[i] = _unit(rows) if self.normalize else rows
        offsets = np.cumsum([0] + [len(rows) for rows in found], dtype=np.int64)
        return TokenVectors(np.concatenate(found), offsets)

    def _states(self, ids: list[list[int]], batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        run = _hidden_of(self.model)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            for i, states in zip(chosen, run([ids[i] for i in chosen]), strict=True):
                yield i, np.asarray(to_numpy(states), np.float32)


def _hidden_of(model: Any) -> Any:
    if hasattr(model, "hidden"):
        return model.hidden
    if hasattr(model, "config") and hasattr(model, "forward"):
        return lambda batch: _transformers_hidden(model, batch)
    return model


def _transformers_hidden(model: Any, batch: list[list[int]]) -> list[Any]:
    import torch

    device = next(model.parameters()).device
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(sequence) for sequence in batch], batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in batch])
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    with torch.no_grad():
        states = model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
    return [rows[: len(sequence)] for rows, sequence in zip(states, batch, strict=True)]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


__all__ = ["TokenEncoder"]
