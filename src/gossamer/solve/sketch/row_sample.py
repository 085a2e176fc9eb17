"""Draws of rows by scores: independent coins, or a number of draws."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError


def inclusion_probabilities(scores: np.ndarray, m: float) -> np.ndarray:
    """``min(1, s / alpha)`` with alpha such that they sum to m, or to all rows with a score if those are fewer.

    Exact: the rows that are certain are the largest, and how many there are follows from sums of the others.
    """
    held = np.flatnonzero(scores > 0)
    if not len(held):
        raise ArgumentError("scores: expected at least one positive number")
    out = np.zeros(len(scores))
    if m >= len(held):
        out[held] = 1.0
        return out
    order = held[np.argsort(-scores[held], kind="stable")]
    rest = np.cumsum(scores[order][::-1])[::-1]  # rest[k]: sum without the k largest
    free = m - np.arange(len(order))
    certain = int(np.argmax((free > 0) & (scores[order] * free <= rest)))
    out[order[:certain]] = 1.0
    out[order[certain:]] = np.minimum(scores[order[certain:]] * (m - certain) / rest[certain], 1.0)
    return out


def independent_sample(
    scores: np.ndarray, m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that a coin each keeps, m on average, and one over their probabilities."""
    chance = inclusion_probabilities(scores, m)
    kept = np.flatnonzero(rng.random(len(chance)) < chance)
    return kept, 1 / chance[kept]


def multinomial_sample(scores: np.ndarray, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """m draws with probabilities proportional to the scores, each row once, weighted by how often it came."""
    if not scores.any():
        raise ArgumentError("scores: expected at least one positive number")
    chance = scores / scores.sum()
    index, count = np.unique(rng.choice(len(chance), m, p=chance), return_counts=True)
    return index, count / (m * chance[index])
