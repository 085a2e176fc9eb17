"""Pairs of sentences, neighbours and strangers: what an encoder must still tell apart after compression."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gossamer._core.checks import check_int
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.datasets.sotu import load_sotu


@dataclass(frozen=True)
class SentencePair:
    """Two sentences, and whether they stood next to each other."""

    first: str
    second: str
    neighbours: bool


def split_sentences(text: str, low: int = 40, high: int = 240) -> list[str]:
    """Cut running prose into sentences; too short and too long ones are left out, the order is kept.

    Parameters
    ----------
    text : str
        Prose; line breaks do not matter.
    low, high : int
        Characters of a sentence that is kept.

    Returns
    -------
    list of str
        Sentences with single blanks inside.
    """
    flat = " ".join(text.split())
    return [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'])", flat) if low <= len(s) <= high]


def load_sentence_pairs(
    count: int = 256, text: str | None = None, random_state: RandomState = 0
) -> list[SentencePair]:
    """Draw sentence pairs, half of them neighbours in the text and half of them strangers.

    Advice: nobody graded these pairs. They serve to compare the similarities of a compressed encoder with those of
    the original one, and to see that neighbours stay closer than strangers; they are no semantic benchmark.

    Parameters
    ----------
    count : int
        Pairs to draw, without drawing a first sentence twice.
    text : str, optional
        Prose; the State of the Union addresses from 1990 on if left out.
    random_state : int or Generator
        Same seed, same pairs.

    Returns
    -------
    list of SentencePair
        Neighbours and strangers in turn.

    Raises
    ------
    ArgumentError
        If the text has fewer than ``count + 1`` sentences.
    MissingDataError
        If no text is given and the package ``sotu`` is not installed.
    """
    count = check_int("count", count, low=2)
    rng = check_random_state(random_state)
    sentences = split_sentences(load_sotu("evaluate") if text is None else text)
    if len(sentences) <= count + 1:
        raise bad_argument(
            "count", count, f"at most {max(len(sentences) - 2, 0)}, the sentences of this text"
        )
    pairs = []
    for place, at in enumerate(rng.choice(len(sentences) - 1, size=count, replace=False)):
        near = place % 2 == 0
        other = at + 1
        while not near and abs(other - at) <= 1:
            other = rng.integers(len(sentences))
        pairs.append(SentencePair(sentences[at], sentences[other], near))
    return pairs
