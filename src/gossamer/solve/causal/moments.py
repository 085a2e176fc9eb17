"""Second moments of a table: all that linear causal discovery sees of it, also from chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError

TOLERANCE = 1e-8
"""How far, relative to its largest entry, a covariance may be from symmetric and positive semidefinite."""


@dataclass(frozen=True)
class Moments:
    """Rows so far, their mean and their scatter about it; what chunks of one table merge into.

    Attributes
    ----------
    n : int
        Rows.
    mean : ndarray, shape (d,)
        Of the columns.
    scatter : ndarray, shape (d, d)
        Sum over rows of the outer product of what is left after the mean.
    """

    n: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Scatter over n: (d, d) float64."""
        return self.scatter / self.n

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together; the order does not matter up to rounding."""
        if len(self.mean) != len(other.mean):
            raise ShapeError(f"a chunk has {len(other.mean)} columns: expected {len(self.mean)} as before")
        n = self.n + other.n
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.n * other.n / n)
        return Moments(n, self.mean + gap * (other.n / n), scatter)


def partial_cov(X: Any, state: Moments | None = None) -> Moments:
    """Add a chunk of rows to the moments of a table that does not fit into memory.

    Each chunk is centred by itself and merged by Chan's formula, so that large means cost no digits. Costs
    ``O(rows d^2)`` and one copy of the chunk.

    Parameters
    ----------
    X : array, shape (rows, d)
        At least one row; finite.
    state : Moments, optional
        Of the chunks before; None begins.

    Returns
    -------
    Moments
        ``.covariance`` goes into :func:`colide_ev` with ``is_cov=True``.

    Raises
    ------
    ArgumentError
        If X is empty or has NaN or infinite entries, or its width changes.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import partial_cov
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> halves = partial_cov(X[50:], partial_cov(X[:50]))
    >>> bool(np.allclose(halves.covariance, np.cov(X.T, bias=True)))
    True
    """
    rows = to_numpy(check_array("X", X, ndim=2)).astype(np.float64)
    if not rows.size:
        raise ShapeError(f"X has shape {rows.shape}: expected at least one row and one column")
    mean = rows.mean(axis=0)
    rows -= mean
    chunk = Moments(len(rows), mean, rows.T @ rows)
    return chunk if state is None else state.merge(chunk)


def check_covariance(X: Any, is_cov: bool) -> np.ndarray:
    """The covariance (over n) of data, or one that was given: (d, d) float64, a copy, exactly symmetric."""
    array = to_numpy(check_array("X", X, ndim=2))
    if array.shape[1] < 2:
        raise ShapeError(f"X has shape {array.shape}: expected at least 2 columns, a graph of 1 has no edges")
    if is_cov:
        return _given(array.astype(np.float64))
    if len(array) < 2:
        raise ShapeError(f"X has shape {array.shape}: expected at least 2 rows")
    S = partial_cov(array).covariance
    size = np.abs(array).max(axis=0).astype(np.float64)
    resolution = np.finfo(array.dtype if array.dtype != np.float16 else np.float16).eps
    _check_varying(np.sqrt(np.diag(S)) <= 4 * resolution * size)
    return S


def _given(S: np.ndarray) -> np.ndarray:
    if S.shape[0] != S.shape[1]:
        raise ShapeError(f"X has shape {S.shape}: expected a square covariance with is_cov=True")
    size = np.abs(S).max()
    gap = np.abs(S - S.T).max()
    if gap > TOLERANCE * size:
        raise ArgumentError(f"X differs from its transpose by {gap:.3g}: expected a symmetric covariance")
    S = (S + S.T) / 2
    least = np.linalg.eigvalsh(S)[0]
    if least < -TOLERANCE * size:
        raise ArgumentError(f"X has the eigenvalue {least:.3g}: expected a positive semidefinite covariance")
    _check_varying(np.diag(S) <= 0)
    return S


def _check_varying(constant: np.ndarray) -> None:
    if constant.any():
        raise ArgumentError(
            f"column {int(np.argmax(constant))} of X is constant: it has no noise to estimate, leave it out"
        )
