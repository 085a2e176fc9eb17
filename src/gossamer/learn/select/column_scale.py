"""Scaling of columns that is learnt from a stream of rows, and applied to a batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice

MODES = ("standard", "minmax", "none")


def dense_rows(X: Any, rows: Any) -> np.ndarray:
    """Some rows of a dense or CSR matrix as a dense array."""
    part = X[rows]
    return part.toarray() if scipy.sparse.issparse(part) else np.asarray(part)


class ColumnScale:
    """Mean and deviation, or least and largest value, of each column; float64, one pass.

    Parameters
    ----------
    n_features : int
        Columns.
    mode : {"standard", "minmax", "none"}
        To mean 0 and variance 1, to [0, 1], or not at all. Columns of one value become 0 in the first two.
    """

    def __init__(self, n_features: int, mode: str) -> None:
        self.mode = check_choice("mode", mode, MODES)
        self.count = 0
        self.mean, self.squares = np.zeros(n_features), np.zeros(n_features)
        self.low, self.high = np.full(n_features, np.inf), np.full(n_features, -np.inf)

    def update(self, X: Any, rows_at_once: int) -> None:
        """Take in the rows of X, of which ``rows_at_once`` are made dense at a time."""
        for start in range(0, X.shape[0], rows_at_once):
            rows = dense_rows(X, slice(start, start + rows_at_once)).astype(np.float64)
            self.low, self.high = (
                np.minimum(self.low, rows.min(axis=0)),
                np.maximum(self.high, rows.max(axis=0)),
            )
            mean = rows.mean(axis=0)
            rows -= mean
            step, total = mean - self.mean, self.count + len(rows)
            # the sums of squares of two parts about their own means, and what their distance adds
            self.squares += np.einsum("ij,ij->j", rows, rows) + step**2 * (self.count * len(rows) / total)
            self.mean += step * (len(rows) / total)
            self.count = total

    @property
    def constant(self) -> np.ndarray:
        """Columns that had one value so far: (n_features,) bool."""
        return self.low == self.high

    def apply(self, rows: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
        """Scaled rows, a new array of ``dtype``."""
        if self.mode == "none":
            return rows.astype(dtype)
        if self.mode == "standard":
            shift, spread = self.mean, np.sqrt(self.squares / max(self.count, 1))
        else:
            shift, spread = self.low, self.high - self.low
        # a column of one value is shifted by that value itself: its mean carries rounding
        shift = np.where(self.constant, self.low, shift)
        factor = 1 / np.where(self.constant | (spread == 0), 1, spread)
        out = np.subtract(rows, shift.astype(dtype), dtype=dtype, casting="unsafe")
        out *= factor.astype(dtype)
        return out
