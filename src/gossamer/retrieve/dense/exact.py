"""Exact search for the largest inner products."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import FormatError
from gossamer._core.ranking import best

_BLOCK = 1 << 24  # products at a time, 64 MB


class ExactVectors:
    """Vectors in segments, compared one and all; a segment is what one :meth:`add` brought and never changes."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.segments: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments)

    def add(self, rows: np.ndarray, threads: int | None = None) -> None:
        """Append rows (n, dim)."""
        self.segments.append(rows)

    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of the n largest for every query, (m, n) each."""
        positions = np.full((len(queries), n), -1, np.int64)
        scores = np.full((len(queries), n), -np.inf, np.float32)
        step = max(1, _BLOCK // max(1, max((len(s) for s in self.segments), default=1)))
        for from_ in range(0, len(queries), step):
            part, first, found = queries[from_ : from_ + step], 0, []
            for segment in self.segments:
                columns, values = best(part @ segment.T, n)
                found.append((np.where(columns >= 0, columns + first, -1), values))
                first += len(segment)
            if found:
                where = np.concatenate([columns for columns, _ in found], axis=1)
                chosen, values = best(np.concatenate([v for _, v in found], axis=1), n)
                rows = slice(from_, from_ + step)
                positions[rows] = np.where(chosen >= 0, np.take_along_axis(where, chosen, 1), -1)
                scores[rows] = values
        return positions, scores

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return sum(segment.nbytes for segment in self.segments)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return {f"vectors.{i}": segment for i, segment in enumerate(self.segments)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`, as they are."""
        for i in range(len(arrays)):
            segment: Any = arrays.get(f"vectors.{i}")
            if segment is None or segment.dtype != np.float32 or segment.shape[1:] != (self.dim,):
                raise FormatError(f"vectors.{i}: expected float32 (n, {self.dim})")
            self.segments.append(segment)
