"""``scann`` behind the methods of :class:`ExactVectors`."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.lazy import require
from gossamer.retrieve.dense.exact import ExactVectors
from gossamer.retrieve.dense.libraries import padded

_SCANNED = 100_000  # vectors whose codes are scanned without a tree, as ScaNN's authors advise
_FEWEST = 16  # centroids of a pair of coordinates in ScaNN's codes


class ScannVectors:
    """``scann``: 4-bit codes by anisotropic quantisation, the best compared exactly, beneath a tree for many vectors.

    It cannot grow well: it is made again, from all vectors, at the first search after vectors came or were loaded.
    Vectors themselves are kept.

    Parameters
    ----------
    dim : int
        Of the vectors.
    leaves, searched : int, optional
        Of the tree, and how many of them a query looks into. By default there is no tree up to 100,000 vectors, beyond
        it has their square root as leaves, of which a quarter is searched.
    reorder : int
        How many times as many candidates are compared exactly.
    """

    def __init__(
        self,
        dim: int,
        *,
        leaves: int | None = None,
        searched: int | None = None,
        reorder: int = 4,
        seed: int = 1,
    ) -> None:
        self._library = require("scann", "retrieve")
        self.dim, self.leaves, self.searched, self.reorder = dim, leaves, searched, reorder
        self._vectors, self._searcher, self._made_for = ExactVectors(dim), None, 0

    def __len__(self) -> int:
        return len(self._vectors)

    def add(self, rows: np.ndarray, threads: int | None = None) -> None:
        """Append rows (n, dim)."""
        self._vectors.add(rows)
        self._searcher = None

    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of about the n largest for every query."""
        found = min(n, len(self))
        if len(self) < _FEWEST:
            raise ArgumentError(f"{len(self)} documents: expected at least {_FEWEST} for scann")
        if self._searcher is None or self._made_for < found:
            self._make(found)
        assert self._searcher is not None
        positions, scores = self._searcher.search_batched(
            np.ascontiguousarray(queries), final_num_neighbors=found
        )
        filled = np.isfinite(scores)
        return padded(np.where(filled, positions.astype(np.int64), -1), scores, n)

    def _make(self, found: int) -> None:
        rows = np.concatenate(self._vectors.segments)
        builder = self._library.scann_ops_pybind.builder(rows, found, "dot_product")
        leaves = self.leaves or (round(len(rows) ** 0.5) if len(rows) > _SCANNED else 0)
        if leaves:
            searched = self.searched or -(-leaves // 4)
            builder = builder.tree(leaves, searched, training_sample_size=len(rows))
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        self._searcher = builder.reorder(min(len(rows), self.reorder * found)).build()
        self._made_for = found

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors; ScaNN's tree and codes take about an eighth of that more."""
        return self._vectors.nbytes

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return self._vectors.state()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`."""
        try:
            self._vectors.restore(arrays)
        except FormatError as error:
            raise FormatError(f"not vectors for scann ({error})") from None
        self._searcher = None
