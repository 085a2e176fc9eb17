"""Columns of an embedding brought to mean 0 and variance 1."""

from __future__ import annotations

import numpy as np

from gossamer._kernels import propagate


def column_moments(X: np.ndarray, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each column and the reciprocal of its deviation, 0 where all values are one; float64."""
    mean, variance = propagate.moments(X, threads)
    deviation = np.sqrt(variance)
    varies = deviation > 1e-6 * np.abs(mean)
    return mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0)


def shift_and_scale(X: np.ndarray, mean: np.ndarray, inverse: np.ndarray, threads: int | None = None) -> None:
    """Subtract and multiply columns, in place."""
    propagate.standardize(X, mean, inverse, threads)
