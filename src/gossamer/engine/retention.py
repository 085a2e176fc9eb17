"""How much of an encoder's sense of similarity survives compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer._core.results import Result


@dataclass(frozen=True, kw_only=True, repr=False)
class RetentionResult(Result):
    """Agreement of two embeddings of the same texts.

    Attributes
    ----------
    spearman : float
        Rank correlation of the cosines of all pairs of texts; 1 keeps every order.
    overlap : float
        Mean share of each text's ``neighbours`` nearest texts that are the same in both.
    cosine : float
        Mean cosine between a text's two embeddings.
    texts, neighbours : int
        How many texts, and how many neighbours each.
    """

    spearman: float
    overlap: float
    cosine: float
    texts: int
    neighbours: int


def retention(reference: Any, embeddings: Any, *, neighbours: int = 10) -> RetentionResult:
    """Compare two embeddings of the same texts by what retrieval needs: order of similarities and neighbours.

    Parameters
    ----------
    reference : array of shape (n, d)
        By the original encoder; rows need not be normalised but must not be zero.
    embeddings : array of shape (n, e)
        By the compressed encoder, in the same order.
    neighbours : int
        How many nearest neighbours are compared; at most ``n - 1``.

    Returns
    -------
    RetentionResult

    Raises
    ------
    ShapeError
        If the numbers of rows differ or are below 3.
    ArgumentError
        If a row is zero, so that it has no direction, or holds NaN.
    """
    from scipy.stats import spearmanr

    a, b = _normalised("reference", reference), _normalised("embeddings", embeddings)
    if len(a) != len(b) or len(a) < 3:
        raise ShapeError(
            f"reference has {len(a)} rows, embeddings {len(b)}: expected the same number, at least 3"
        )
    neighbours = check_int("neighbours", neighbours, low=1, high=len(a) - 1)
    cosines_a, cosines_b = a @ a.T, b @ b.T
    pairs = np.triu_indices(len(a), 1)
    nearest_a, nearest_b = _nearest(cosines_a, neighbours), _nearest(cosines_b, neighbours)
    same = [len(set(x) & set(y)) for x, y in zip(nearest_a.tolist(), nearest_b.tolist())]
    return RetentionResult(
        message=f"{len(a)} texts, {neighbours} nearest neighbours",
        spearman=float(spearmanr(cosines_a[pairs], cosines_b[pairs]).statistic),
        overlap=float(np.mean(same)) / neighbours,
        cosine=float((a * b).sum(axis=1).mean()) if a.shape == b.shape else float("nan"),
        texts=len(a),
        neighbours=neighbours,
    )


def _normalised(name: str, rows: Any) -> np.ndarray:
    array = np.asarray(check_array(name, rows, ndim=2), dtype=np.float64)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    if not norms.all():
        raise bad_argument(name, f"row {int(norms.argmin())} of zeros", "rows with a direction")
    return array / norms


def _nearest(cosines: np.ndarray, count: int) -> np.ndarray:
    distance = -cosines
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :count]
