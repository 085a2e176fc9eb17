"""Several teachers of different kinds as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError

Teacher = Callable[[Sequence[str], Sequence[str]], Any]
"""Scores of shape (queries, documents) for lists of texts."""


class HeterogeneousTeacher:
    """The mean of several teachers' scores, each normalised per query.

    ``S~ = (S - min S) / (max S - min S + eps)`` over the candidates of a query, then ``scale * mean over teachers``.
    Cosines lie in a narrow band and sparse scores in a wide one: a plain sum would follow the sparse teacher alone.

    Parameters
    ----------
    teachers : sequence of callable
        Each takes queries and documents (lists of str) and returns scores (nq, nd), larger for better.
    scale : float
        How sharp the distribution over documents becomes that a student is to learn.
    eps : float
        Where all scores of a query are equal, they become 0.
    normalize : {"minmax", "none"}
        ``"none"``: the plain mean of raw scores times ``scale``, for comparison.

    Raises
    ------
    ArgumentError
        For no teachers.

    References
    ----------
    Geng, Ru, Yang, *Towards competitive search relevance for inference-free learned sparse retrievers*,
    arXiv 2411.04403, 2024.

    Examples
    --------
    >>> teacher = HeterogeneousTeacher([lambda q, d: [[0.9, 0.8]], lambda q, d: [[10.0, 30.0]]])
    >>> teacher(["a query"], ["a text", "another"]).round(2).tolist()
    [[15.0, 15.0]]
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        scale: float = 30.0,
        eps: float = 1e-6,
        *,
        normalize: str = "minmax",
    ) -> None:
        self.teachers = list(teachers)
        if not self.teachers or not all(callable(teacher) for teacher in self.teachers):
            raise ArgumentError("teachers: expected at least one function of queries and documents")
        self.scale = check_float("scale", scale, low=0, closed="neither")
        self.eps = check_float("eps", eps, low=0, closed="neither")
        self.normalize = check_choice("normalize", normalize, ("minmax", "none"))

    def combine(self, scores: Sequence[Any]) -> np.ndarray:
        """Combine scores that were computed before, as for fixed lists of candidates.

        Parameters
        ----------
        scores : sequence of arrays of shape (nq, nd)
            One of each teacher, NumPy or torch.

        Returns
        -------
        ndarray of shape (nq, nd)
            float32.

        Raises
        ------
        ShapeError
            If shapes differ.
        ArgumentError
            For NaN or infinite scores.
        """
        parts = [np.asarray(to_numpy(part), np.float64) for part in scores]
        if len(parts) != len(self.teachers) or len({part.shape for part in parts}) != 1 or parts[0].ndim != 2:
            shapes = [part.shape for part in parts]
            raise ShapeError(f"scores of {shapes}: expected {len(self.teachers)} of one shape (nq, nd)")
        for number, part in enumerate(parts):
            if not np.isfinite(part).all():
                raise ArgumentError(f"teacher {number} gave NaN or infinite scores")
        if self.normalize == "minmax":
            parts = [self._normalized(part) for part in parts]
        return (self.scale * np.mean(parts, axis=0)).astype(np.float32)

    def _normalized(self, scores: np.ndarray) -> np.ndarray:
        low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
        return (scores - low) / (high - low + self.eps)

    def __call__(self, queries: Sequence[str], docs: Sequence[str]) -> np.ndarray:
        """Scores of every document for every query.

        Parameters
        ----------
        queries, docs : sequence of str
            nq and nd texts.

        Returns
        -------
        ndarray of shape (nq, nd)
            float32.
        """
        scores = [teacher(queries, docs) for teacher in self.teachers]
        wrong = [np.shape(part) for part in scores if np.shape(part) != (len(queries), len(docs))]
        if wrong:
            raise ShapeError(f"a teacher gave {wrong[0]}: expected {(len(queries), len(docs))}")
        return self.combine(scores)


class SiameseTeacher:
    """A teacher that encodes queries and documents alike and takes inner products.

    Parameters
    ----------
    encode : callable
        From a list of texts to one row a text: an array, a tensor or a sparse matrix.
    normalize : bool
        Scale rows to length 1: cosines.
    keep : bool
        Remember the row of every text: in training the same documents come again each epoch, and encoding them costs
        more than a step of a small student.

    Examples
    --------
    >>> import numpy as np
    >>> teacher = SiameseTeacher(lambda texts: np.array([[len(t), 1.0] for t in texts]))
    >>> teacher(["ab"], ["abc", ""]).tolist()
    [[7.0, 1.0]]
    """

    def __init__(
        self, encode: Callable[[list[str]], Any], *, normalize: bool = False, keep: bool = True
    ) -> None:
        self.encode, self.normalize, self.keep = encode, bool(normalize), bool(keep)
        self._known: dict[str, Any] = {}

    def __call__(self, queries: Sequence[str], docs: Sequence[str]) -> np.ndarray:
        """Scores of every document for every query.

        Parameters
        ----------
        queries, docs : sequence of str
            nq and nd texts.

        Returns
        -------
        ndarray of shape (nq, nd)
            float64 or the dtype of the rows.
        """
        product = self._rows(list(queries)) @ self._rows(list(docs)).T
        return product.toarray() if sparse.issparse(product) else np.asarray(product)

    def _rows(self, texts: list[str]) -> Any:
        known = self._known if self.keep else {}
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh:
            rows = self.encode(fresh)
            rows = sparse.csr_matrix(rows) if sparse.issparse(rows) else np.asarray(to_numpy(rows))
            if rows.ndim != 2 or rows.shape[0] != len(fresh):
                raise ShapeError(f"encode gave {rows.shape} for {len(fresh)} texts: expected one row a text")
            if self.normalize:
                rows = _unit(rows)
            known.update((text, rows[[i]]) for i, text in enumerate(fresh))
        chosen = [known[text] for text in texts]
        return sparse.vstack(chosen, "csr") if sparse.issparse(chosen[0]) else np.concatenate(chosen)


def _unit(rows: Any) -> Any:
    if sparse.issparse(rows):
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
        return sparse.diags(1 / np.maximum(length, 1e-12)) @ rows
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
