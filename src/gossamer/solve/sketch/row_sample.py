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
    if m >= len(held):
        return (scores > 0).astype(np.float64)
    most = min(int(m) + 1, len(held))  # no more than m can be certain: the others need no order
    top = held if most == len(held) else held[np.argpartition(-scores[held], most - 1)[:most]]
    order = top[np.argsort(-scores[top], kind="stable")]
    below = np.ones(len(scores), bool)
    below[top] = False
    rest = np.cumsum(scores[order][::-1])[::-1] + scores.sum(
        where=below
    )  # rest[k]: sum without the k largest
    free = m - np.arange(len(order))
    certain = int(np.argmax((free > 0) & (scores[order] * free <= rest)))
    out = np.minimum(scores * ((m - certain) / rest[certain]), 1.0)
    out[order[:certain]] = 1.0
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
