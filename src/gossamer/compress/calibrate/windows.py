"""Windows of tokens cut from a text."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError


def calibration_windows(
    text: str | os.PathLike[str] | np.ndarray, tokenizer: Any, length: int = 256, count: int = 64
) -> np.ndarray:
    """Cut ``count`` windows of ``length`` tokens, spread evenly over a text.

    Parameters
    ----------
    text : str or path
        The text, or the path of a UTF-8 file that holds it. An integer array of shape (count, length) or (n,) is
        taken as token ids.
    tokenizer : gossamer.engine.tokenizer.Tokenizer, or a tokenizer of transformers or tokenizers
        A tokenizer that wraps sequences in [CLS] and [SEP] gets windows that begin and end with them.
    length, count : int
        Tokens in a window, and number of windows.

    Returns
    -------
    ndarray of int64, shape (count, length)
        Windows do not overlap.

    Raises
    ------
    ArgumentError
        If the text holds fewer than ``count * length`` tokens; the message has both numbers.
    """
    return _cut(text, tokenizer, length, count, "calibration text", spread=True)


def evaluation_windows(
    text: str | os.PathLike[str] | np.ndarray, tokenizer: Any, length: int = 256, count: int = 16
) -> np.ndarray:
    """Cut the first ``count`` windows of ``length`` tokens, as perplexity is measured: no overlap, no BOS.

    Parameters
    ----------
    text, tokenizer
        As for :func:`calibration_windows`.
    length, count : int
        Tokens in a window, and number of windows.
    """
    return _cut(text, tokenizer, length, count, "evaluation text", spread=False)


def split_windows(windows: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Split windows in those to calibrate on and ``held_out`` others, spread evenly among them.

    Parameters
    ----------
    windows : ndarray, shape (count, length)
        All windows.
    held_out : int
        How many to set aside.
    """
    total = len(windows)
    check_int("held_out", held_out, low=1, high=total - 1)
    chosen = np.zeros(total, dtype=bool)
    chosen[((np.arange(held_out) + 0.5) * total / held_out).astype(int)] = True
    return windows[~chosen], windows[chosen]


def windows_hash(windows: np.ndarray) -> str:
    """SHA-256 of token windows, shape included."""
    return hashlib.sha256(f"{windows.shape}".encode() + np.ascontiguousarray(windows).tobytes()).hexdigest()


def read_text(text: str | os.PathLike[str]) -> str:
    """The text itself, or what the UTF-8 file at that path holds."""
    looks_like_path = isinstance(text, os.PathLike) or (len(text) < 1024 and "\n" not in text)
    if looks_like_path and Path(text).is_file():
        try:
            return Path(text).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"{os.fspath(text)}: not UTF-8 text ({error})") from None
    if isinstance(text, os.PathLike) or (
        looks_like_path and text.endswith((".txt", ".md", ".json", ".jsonl"))
    ):
        raise FormatError(f"{os.fspath(text)}: no such file")
    return text


def _cut(text: Any, tokenizer: Any, length: int, count: int, what: str, spread: bool) -> np.ndarray:
    length, count = check_int("length", length, low=2), check_int("windows", count, low=1)
    prefix: list[int] = []
    suffix: list[int] = []
    if isinstance(text, np.ndarray):
        if not np.issubdtype(text.dtype, np.integer) or text.ndim not in (1, 2):
            raise ArgumentError(f"{what}: expected token ids, got {text.dtype} of shape {text.shape}")
        ids = text.reshape(-1).astype(np.int64)
    else:
        if tokenizer is None:
            raise ArgumentError(f"{what}: the model brings no tokenizer; pass tokenizer= or token ids")
        from gossamer.engine.tokenizer import Tokenizer

        content = read_text(text)
        wrapped = Tokenizer.wrap(tokenizer)
        ids = np.array(wrapped.encode(content, special=False), dtype=np.int64)
        prefix, suffix = _frame(wrapped)
    inner = check_int("length", length - len(prefix) - len(suffix), low=1)
    need = count * inner
    if ids.size < need:
        raise ArgumentError(
            f"{what} is too short: it has {ids.size} tokens, and {count} windows of {length} need {need}; "
            "give more text, or fewer or shorter windows"
        )
    gap = (ids.size - need) / count if spread else 0.0
    starts = (np.arange(count) * (inner + gap)).astype(int)
    body = ids[starts[:, None] + np.arange(inner)]
    columns = [np.full((count, 1), token, dtype=np.int64) for token in prefix]
    return np.hstack([*columns, body, *(np.full((count, 1), token, dtype=np.int64) for token in suffix)])


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer of an encoder puts around a text; none for decoders."""
    first, last = tokenizer.token_id("[CLS]"), tokenizer.token_id("[SEP]")
    return ([], []) if first is None or last is None else ([first], [last])
