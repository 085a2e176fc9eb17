"""Columns of an embedding brought to mean 0 and variance 1."""

from __future__ import annotations

import numpy as np

from gossamer.graph.embed.panels import row_blocks


def column_moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each column and the reciprocal of its deviation, 0 where all values are one; float64."""
    blocks = list(row_blocks(*X.shape))
    mean = sum(X[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / len(X)
    variance = sum(np.square(X[rows] - mean).sum(axis=0) for rows in blocks) / len(X)
    deviation = np.sqrt(variance)
    varies = deviation > 1e-6 * np.abs(mean)
    return mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0)


def shift_and_scale(X: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> None:
    """Subtract and multiply columns, in place."""
    for rows in row_blocks(*X.shape):
        X[rows] = (X[rows] - mean) * inverse
