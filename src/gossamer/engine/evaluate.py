"""How good a language model is: perplexity and multiple choice, over anything that gives logits."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.results import Result

LogitsOf = Callable[[Sequence[int]], Iterator[np.ndarray]]
"""Given ids, yields their logits in pieces of shape (t, V) that together cover every position in order."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PerplexityResult(Result):
    """Perplexity with all that is needed to compare it.

    Attributes
    ----------
    perplexity : float
        ``exp(nll)``.
    nll : float
        Mean negative log-likelihood of the predicted tokens, in nats.
    window, windows : int
        Tokens in a window; how many windows. The first token of each is not predicted.
    predicted : int
        Number of predicted tokens, ``windows * (window - 1)``.
    window_nll : list of float
        Mean of each window.
    seconds : float
        Time of the whole evaluation.
    """

    perplexity: float
    nll: float
    window: int
    windows: int
    predicted: int
    seconds: float = 0.0
    window_nll: list[float] = field(default_factory=list, repr=False)


@dataclass(frozen=True, kw_only=True, repr=False)
class AccuracyResult(Result):
    """Multiple-choice accuracy.

    Attributes
    ----------
    accuracy, standard_error : float
        Fraction of questions answered with the gold choice, and its binomial standard error.
    questions : int
        How many were asked.
    normalise : str
        How the log-likelihood of a choice was divided by its length.
    seconds : float
        Time of the whole evaluation.
    chosen : list of int
        The answers.
    """

    accuracy: float
    standard_error: float
    questions: int
    normalise: str
    seconds: float = 0.0
    chosen: list[int] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Question:
    """A question with its possible continuations and the index of the right one."""

    query: str
    choices: tuple[str, ...]
    gold: int


def windows_of(ids: Sequence[int], window: int, windows: int | None) -> list[Sequence[int]]:
    """Cut a token stream into non-overlapping windows from its start; an incomplete last one is dropped.

    Raises
    ------
    ArgumentError
        If there are fewer tokens than asked for; the message says how many there are.
    """
    window = check_int("window", window, low=2)
    available = len(ids) // window
    if not available:
        raise ArgumentError(f"the text has {len(ids)} tokens: expected at least one window of {window}")
    count = available if windows is None else check_int("windows", windows, low=1)
    if count > available:
        raise ArgumentError(
            f"windows={count}: the text has {len(ids)} tokens, enough for {available} windows of {window}"
        )
    return [ids[i * window : (i + 1) * window] for i in range(count)]


def token_nll(pieces: Iterator[np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """Negative log-likelihood (T - 1,) of ``ids[1:]`` under logits that come in pieces."""
    targets = np.asarray(ids[1:], dtype=np.int64)
    found, at = [], 0
    for piece in pieces:
        rows = piece[: len(targets) - at].astype(np.float32, copy=False)
        top = rows.max(axis=1, initial=-np.inf)
        total = np.exp(rows - top[:, None]).sum(axis=1, dtype=np.float64)
        picked = rows[np.arange(len(rows)), targets[at : at + len(rows)]]
        found.append(top + np.log(total) - picked)
        at += len(rows)
    return np.concatenate(found) if found else np.zeros(0)


def perplexity(
    logits_of: LogitsOf, ids: Sequence[int], *, window: int = 512, windows: int | None = None
) -> PerplexityResult:
    r"""Perplexity of a token stream, ``exp(mean of -log p(token | tokens before it in its window))``.

    Non-overlapping windows from the start of the stream, no beginning-of-text token, mean over predicted tokens.
    Short windows give much larger values: compare only equal windows and counts.

    Parameters
    ----------
    logits_of : callable
        Yields the logits of a sequence in pieces.
    ids : sequence of int
        The token stream.
    window, windows : int
        Tokens a window, and how many windows (all that fit by default).

    Returns
    -------
    PerplexityResult
    """
    start = time.perf_counter()
    parts = windows_of(ids, window, windows)
    means = [float(token_nll(logits_of(part), part).mean()) for part in parts]
    nll = float(np.mean(means))
    return PerplexityResult(
        success=math.isfinite(nll),
        message=f"{len(parts)} windows of {window} tokens, from the start, no BOS",
        perplexity=math.exp(min(nll, 700)),
        nll=nll,
        window=window,
        windows=len(parts),
        predicted=len(parts) * (window - 1),
        window_nll=means,
        seconds=time.perf_counter() - start,
    )


def read_questions(
    path: str | os.PathLike[str], limit: int | None = None, ending: str = "\nAnswer:"
) -> list[Question]:
    """Read multiple-choice questions from JSON lines with the fields ``query``, ``choices`` and ``gold``.

    Parameters
    ----------
    path : path
        The file.
    limit : int, optional
        Read at most so many.
    ending : str
        Put after every query that does not end with it already, so that a choice can follow.

    Raises
    ------
    FormatError
        If a line is damaged; its number is named.
    """
    questions: list[Question] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a text file of JSON lines ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if limit is not None and len(questions) == limit:
            break
        try:
            item = json.loads(line)
            query, choices, gold = item["query"], item["choices"], item["gold"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{path}, line {number}: expected query, choices and gold ({error!r})"
            ) from None
        texts = (
            isinstance(choices, list) and len(choices) > 1 and all(isinstance(c, str) and c for c in choices)
        )
        if not isinstance(query, str) or not texts:
            raise FormatError(f"{path}, line {number}: expected query: text, choices: at least two texts")
        if not isinstance(gold, int) or not 0 <= gold < len(choices):
            raise FormatError(f"{path}, line {number}: gold={gold!r}: expected 0..{len(choices) - 1}")
        prompt = query if query.endswith(ending) else query + ending
        questions.append(Question(prompt, tuple(choices), gold))
    if not questions:
        raise FormatError(f"{path} holds no questions")
    return questions


def choice_scores(
    logits_of: LogitsOf,
    encode: Callable[[str], list[int]],
    query: str,
    choices: Sequence[str],
    normalise: str = "bytes",
) -> np.ndarray:
    """Log-likelihood of each choice as the continuation of ``query``, divided by its length.

    Parameters
    ----------
    logits_of, encode : callable
        The model and its tokenizer.
    query : str
        The question, ending where the answer begins.
    choices : sequence of str
        The answers; a space is put before those that have none.
    normalise : {"bytes", "tokens", "none"}
        What a log-likelihood is divided by. Bytes are what lm-evaluation-harness calls ``acc_norm``.

    Returns
    -------
    array of shape (len(choices),)
    """
    check_choice("normalise", normalise, ("bytes", "tokens", "none"))
    prompt = encode(query)
    if not prompt or len(choices) < 2:
        raise ArgumentError(
            f"query of {len(prompt)} tokens, {len(choices)} choices: expected text and two choices"
        )
    scores = []
    for choice in choices:
        text = choice if choice[:1].isspace() else " " + choice
        answer = encode(text)
        ids = prompt + answer
        likelihood = -float(token_nll(logits_of(ids), ids)[len(prompt) - 1 :].sum())
        scores.append(likelihood / {"bytes": len(text.encode()), "tokens": len(answer), "none": 1}[normalise])
    return np.array(scores)


def accuracy(
    logits_of: LogitsOf,
    encode: Callable[[str], list[int]],
    questions: Sequence[Question],
    normalise: str = "bytes",
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyResult:
    """Fraction of ``questions`` whose gold choice has the highest score; ``progress`` hears (done, all)."""
    start, chosen = time.perf_counter(), []
    if not questions:
        raise ArgumentError("questions is empty: expected at least one")
    for done, question in enumerate(questions, 1):
        scores = choice_scores(logits_of, encode, question.query, question.choices, normalise)
        chosen.append(int(scores.argmax()))
        if progress is not None:
            progress(done, len(questions))
    right = float(np.mean([a == q.gold for a, q in zip(chosen, questions, strict=True)]))
    return AccuracyResult(
        message=f"{len(questions)} questions, log-likelihood by {normalise}",
        accuracy=right,
        standard_error=math.sqrt(right * (1 - right) / len(questions)),
        questions=len(questions),
        normalise=normalise,
        chosen=chosen,
        seconds=time.perf_counter() - start,
    )


__all__ = [
    "AccuracyResult",
    "PerplexityResult",
    "Question",
    "accuracy",
    "choice_scores",
    "perplexity",
    "read_questions",
    "token_nll",
    "windows_of",
]
