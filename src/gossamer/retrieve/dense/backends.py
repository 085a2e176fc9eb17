"""Which library searches vectors, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import bad_argument
from gossamer.retrieve.dense.exact import ExactVectors

BACKENDS = ("exact", "faiss-hnsw", "faiss-pq", "hnswlib", "usearch", "scann")
_PQ = 8  # coordinates that share a byte, the paper's choice


class Vectors(Protocol):
    """What a backend can do; positions count rows in the order in which they came."""

    def __len__(self) -> int: ...
    def add(self, rows: np.ndarray, threads: int | None = None) -> None: ...
    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...
    @property
    def nbytes(self) -> int: ...
    def state(self) -> dict[str, np.ndarray]: ...
    def restore(self, arrays: dict[str, np.ndarray]) -> None: ...


def check_backend(backend: str, pq: int | None) -> str:
    """Refuse unknown names, and codes where the library has none."""
    check_choice("backend", backend, BACKENDS)
    if pq is not None and backend != "faiss-pq":
        raise bad_argument("pq", pq, f"None with backend={backend!r}: only faiss-pq has codes")
    return backend


def make_vectors(
    backend: str, dim: int, pq: int | None = None, options: Mapping[str, Any] | None = None
) -> Vectors:
    """An empty store of vectors (dim,) that finds large inner products.

    Parameters
    ----------
    backend : {"exact", "faiss-hnsw", "faiss-pq", "hnswlib", "usearch", "scann"}
        By what.
    dim : int
        Of the vectors.
    pq : int, optional
        Coordinates that share a byte, for "faiss-pq"; 8 by default.
    options : mapping, optional
        Passed on to the backend's class.
    """
    check_backend(backend, pq)
    chosen = dict(options or {})
    try:
        if backend == "exact":
            return ExactVectors(dim, **chosen)
        if backend == "scann":
            from gossamer.retrieve.dense.scann import ScannVectors

            return ScannVectors(dim, **chosen)
        from gossamer.retrieve.dense.libraries import FaissVectors, HnswlibVectors, UsearchVectors

        if backend == "hnswlib":
            return HnswlibVectors(dim, **chosen)
        if backend == "usearch":
            return UsearchVectors(dim, **chosen)
        if backend == "faiss-pq":
            return FaissVectors(dim, _PQ if pq is None else pq, **chosen)
        return FaissVectors(dim, **chosen)
    except TypeError as error:
        raise bad_argument("options", chosen, f"those of {backend} ({error})") from None
