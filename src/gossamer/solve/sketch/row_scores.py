"""Scores to draw rows by, by name, and samples that are drawn in rounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError
from gossamer.solve.sketch.leverage import blocks_whitener
from gossamer.solve.sketch.lewis import iterate_weights
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks, squared_norms
from gossamer.solve.sketch.row_sample import independent_sample
from gossamer.solve.sketch.sensitivities import recursive_scores

SCORES = (
    "lewis",
    "sensitivity",
    "leverage",
    "root_leverage",
    "leverage+sensitivity",
    "sensitivity+l2",
    "halving",
    "uniform",
)


def sample_in_rounds(
    blocks: RowBlocks, X: np.ndarray, p: float, m: int, eps: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Sample by roots of leverage, again and again, while that takes a tenth of the rows away."""
    n = blocks.n
    index, weight = np.arange(n), np.ones(n)
    rounds = 0
    while True:
        rounds += 1
        forms = np.minimum(squared_norms(blocks, X), 1.0) ** (p / 2)
        share = 2 * rounds**2  # accuracies eps / (2 r^2) sum to less than eps
        wanted = max(m, forms.sum() * math.log(n + 1) * share**2 / eps**2 / 4)
        wanted = m if wanted >= 0.9 * len(index) else wanted
        if wanted >= len(index):
            return index, weight, rounds
        kept, factor = independent_sample(forms, wanted, rng)
        rows = blocks.take(kept)
        index, weight = index[kept], weight[kept] * factor
        if wanted == m:
            return index, weight, rounds
        blocks = MatrixBlocks(rows * factor[:, None] ** (1 / p))
        X = blocks_whitener(blocks)


def row_scores(
    blocks: RowBlocks, X: np.ndarray, p: float, scores: Any, rng: np.random.Generator
) -> np.ndarray:
    """Scores by name, in the basis X in which columns are orthonormal; or given ones, checked."""
    if not isinstance(scores, str):
        values = to_numpy(check_array("scores", scores, ndim=1)).astype(np.float64)
        if values.shape != (blocks.n,) or values.min(initial=0) < 0:
            raise ArgumentError(f"scores: expected {blocks.n} numbers >= 0, one a row")
        return values
    if scores == "uniform":
        return np.ones(blocks.n)
    if scores == "lewis":  # a sample is as good by weights within a twentieth
        return iterate_weights(blocks, X, p, 0.05)[0]
    if scores == "sensitivity":
        return recursive_scores(blocks, X, p, 2.0, rng)[0]
    forms = squared_norms(blocks, X)
    if scores in ("leverage", "root_leverage"):
        return forms if scores == "leverage" else forms ** (p / 2)
    values = recursive_scores(blocks, X, p, 2.0, rng)[0]
    if scores == "sensitivity+l2":
        return values + forms
    return values / values.sum() / 2 + forms / forms.sum() / 2
