"""Token vectors of many documents in segments, and their exact scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gossamer._core.arrays import widen
from gossamer._core.errors import FormatError
from gossamer._kernels import maxsim
from gossamer.retrieve.multivector.ragged import TokenVectors


class TokenStore:
    """Documents by position; a segment is what one :meth:`add` brought and never changes."""

    def __init__(self, dim: int, dtype: str) -> None:
        self.dim, self.dtype = dim, np.dtype(dtype)
        self.segments: list[TokenVectors] = []
        self._first = np.zeros(1, np.int64)  # where segments begin, and the number of documents

    def __len__(self) -> int:
        return int(self._first[-1])

    def add(self, sets: TokenVectors) -> None:
        """Append documents, their vectors stored in the store's dtype."""
        vectors = sets.vectors
        if vectors.dtype != self.dtype:
            vectors = widen(vectors).astype(self.dtype)
        elif vectors.flags.writeable:
            vectors = vectors.copy()  # the caller may go on using it
        self.segments.append(TokenVectors(vectors, sets.offsets))
        self._first = np.append(self._first, len(self) + len(sets))

    def take(self, positions: np.ndarray) -> TokenVectors:
        """Vectors of some documents, a copy."""
        segment = np.searchsorted(self._first, positions, side="right") - 1
        parts = [
            self.segments[s].of(int(p - self._first[s])) for s, p in zip(segment, positions, strict=True)
        ]
        offsets = np.cumsum([0] + [len(part) for part in parts], dtype=np.int64)
        return TokenVectors(np.concatenate(parts), offsets)

    def score(
        self, queries: Sequence[np.ndarray], positions: np.ndarray, threads: int | None = None
    ) -> np.ndarray:
        """Chamfer similarities (m, n) of queries, float32 each, with documents at ``positions`` (m, n).

        Minus infinity where the position is -1.
        """
        scores = np.full(positions.shape, -np.inf, np.float32)
        flat = np.concatenate(queries)
        offsets = np.cumsum([0] + [len(query) for query in queries], dtype=np.int64)
        segment = np.searchsorted(self._first, positions, side="right") - 1
        for s, sets in enumerate(self.segments):
            here = (segment == s) & (positions >= 0)
            starts = np.concatenate([[0], np.cumsum(here.sum(1))])
            pairs = positions[here] - self._first[s]
            scores[here] = maxsim.chamfer(flat, offsets, sets.vectors, sets.offsets, starts, pairs, threads)
        return scores

    @property
    def nbytes(self) -> int:
        """Bytes of vectors and offsets."""
        return sum(sets.vectors.nbytes + sets.offsets.nbytes for sets in self.segments)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return {
            f"{part}.{i}": getattr(sets, part)
            for i, sets in enumerate(self.segments)
            for part in ("vectors", "offsets")
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`, as they are."""
        for i in range(len(arrays) // 2):
            vectors, offsets = arrays.get(f"vectors.{i}"), arrays.get(f"offsets.{i}")
            if vectors is None or vectors.dtype != self.dtype or vectors.shape[1:] != (self.dim,):
                raise FormatError(f"vectors.{i}: expected {self.dtype} (rows, {self.dim})")
            if offsets is None or offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) < 2:
                raise FormatError(f"offsets.{i}: expected int64 (n + 1,)")
            if offsets[0] != 0 or offsets[-1] != len(vectors) or (np.diff(offsets) < 1).any():
                raise FormatError(f"offsets.{i}: expected to rise from 0 to {len(vectors)}")
            self.segments.append(TokenVectors(vectors, offsets))
            self._first = np.append(self._first, len(self) + len(offsets) - 1)
