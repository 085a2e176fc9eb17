"""Libraries that search vectors approximately, each behind the methods of :class:`ExactVectors`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError, bad_argument
from gossamer._core.lazy import require
from gossamer._core.threads import get_threads

CENTROIDS = 256  # of a block of coordinates: a code is a byte


class FaissVectors:
    """``faiss``: a graph (HNSW) over vectors, or a scan of their codes.

    Parameters
    ----------
    dim : int
        Of the vectors.
    pq : int, optional
        Coordinates that share a byte; None makes a graph.
    m, ef_construction, ef_search : int
        Of HNSW: neighbours, and candidates held while building and searching.
    iterations, seed : int
        Of the k-means that finds centroids.
    """

    def __init__(
        self,
        dim: int,
        pq: int | None = None,
        *,
        m: int = 32,
        ef_construction: int = 200,
        ef_search: int = 600,
        iterations: int = 15,
        seed: int = 1,
    ) -> None:
        faiss = require("faiss", "retrieve")
        self._faiss, self.dim, self.pq, self.ef_search = faiss, dim, pq, ef_search
        product = faiss.METRIC_INNER_PRODUCT
        if pq is None:
            self._index = faiss.IndexHNSWFlat(dim, m, product)
            self._index.hnsw.efConstruction = ef_construction
            return
        if dim % check_int("pq", pq, low=1):
            raise bad_argument("pq", pq, f"a divisor of {dim}, the dimensions of encodings")
        self._index = faiss.IndexPQ(dim, dim // pq, 8, product)
        settings = self._index.pq.cp
        settings.niter, settings.seed, settings.min_points_per_centroid = iterations, seed, 1

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, rows: np.ndarray, threads: int | None = None) -> None:
        """Append rows (n, dim); the first ones train codes, if there are codes."""
        with _FaissThreads(self._faiss, threads):
            if not self._index.is_trained:
                if len(rows) < CENTROIDS:
                    raise ArgumentError(
                        f"{len(rows)} documents in the first call of add: expected at least {CENTROIDS}, which train "
                        f"the codes"
                    )
                self._index.train(rows)
            self._index.add(rows)

    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of about the n largest for every query."""
        if self.pq is None:
            self._index.hnsw.efSearch = max(self.ef_search, n)
        with _FaissThreads(self._faiss, threads):
            scores, positions = self._index.search(np.ascontiguousarray(queries), min(n, max(len(self), 1)))
        return padded(positions, scores, n)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes on a disk."""
        return len(self._faiss.serialize_index(self._index))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return {"faiss": self._faiss.serialize_index(self._index)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`."""
        kind = type(self._index)
        try:
            index = self._faiss.deserialize_index(np.array(arrays["faiss"]))
        except (KeyError, RuntimeError, AssertionError) as error:
            raise FormatError(f"not an index of faiss ({error})") from None
        if not isinstance(index, kind) or index.d != self.dim:
            raise FormatError(
                f"holds {type(index).__name__} of {index.d}: expected {kind.__name__} of {self.dim}"
            )
        self._index = index


class HnswlibVectors:
    """``hnswlib``: a graph (HNSW). Built by several threads, it depends on how they took turns.

    Parameters
    ----------
    dim : int
        Of the vectors.
    m, ef_construction, ef_search : int
        Neighbours, and candidates held while building and searching.
    seed : int
        Of the levels of nodes.
    """

    def __init__(
        self, dim: int, *, m: int = 32, ef_construction: int = 200, ef_search: int = 600, seed: int = 1
    ) -> None:
        self._library = require("hnswlib", "retrieve")
        self.dim, self.ef_search = dim, ef_search
        self._index = self._library.Index("ip", dim)
        self._index.init_index(1024, M=m, ef_construction=ef_construction, random_seed=seed)

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def add(self, rows: np.ndarray, threads: int | None = None) -> None:
        """Append rows (n, dim)."""
        first, needed = len(self), len(self) + len(rows)
        if needed > self._index.get_max_elements():
            self._index.resize_index(max(needed, 2 * self._index.get_max_elements()))
        self._index.add_items(rows, np.arange(first, needed), num_threads=get_threads(threads))

    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of about the n largest for every query."""
        found = min(n, len(self))
        self._index.set_ef(max(self.ef_search, found))
        positions, distances = self._index.knn_query(queries, k=found, num_threads=get_threads(threads))
        return padded(positions.astype(np.int64), 1 - distances, n)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes on a disk."""
        return int(self._index.index_file_size())

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return {"hnswlib": np.fromfile(path, np.uint8)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`."""
        self._index = self._library.Index("ip", self.dim)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            try:
                arrays["hnswlib"].tofile(path)
                self._index.load_index(str(path))
            except (KeyError, RuntimeError) as error:
                raise FormatError(f"not an index of hnswlib ({error})") from None


class UsearchVectors:
    """``usearch``: a graph (HNSW). Built by several threads, it depends on how they took turns.

    Parameters
    ----------
    dim : int
        Of the vectors.
    m, ef_construction, ef_search : int
        Neighbours, and candidates held while building and searching.
    """

    def __init__(
        self, dim: int, *, m: int = 32, ef_construction: int = 200, ef_search: int = 600, seed: int = 1
    ) -> None:
        self._library = require("usearch.index", "retrieve")
        self.dim, self.ef_search = dim, ef_search
        self._index = self._library.Index(
            ndim=dim, metric="ip", dtype="f32", connectivity=m, expansion_add=ef_construction
        )

    def __len__(self) -> int:
        return len(self._index)

    def add(self, rows: np.ndarray, threads: int | None = None) -> None:
        """Append rows (n, dim)."""
        keys = np.arange(len(self), len(self) + len(rows), dtype=np.uint64)
        self._index.add(keys, np.ascontiguousarray(rows), threads=get_threads(threads))

    def search(
        self, queries: np.ndarray, n: int, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of about the n largest for every query."""
        found = min(n, len(self))
        self._index.expansion_search = max(self.ef_search, found)
        matches = self._index.search(
            np.ascontiguousarray(queries).reshape(-1, self.dim), found, threads=get_threads(threads)
        )
        keys = np.asarray(matches.keys).reshape(len(queries), -1).astype(np.int64)
        scores = 1 - np.asarray(matches.distances).reshape(len(queries), -1)
        return padded(np.where(np.isfinite(scores), keys, -1), scores, n)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes on a disk."""
        return int(self._index.serialized_length)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`restore` takes."""
        return {"usearch": np.frombuffer(self._index.save(), np.uint8)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays of :meth:`state`."""
        try:
            index = self._library.Index.restore(arrays["usearch"].tobytes())
        except (KeyError, RuntimeError, ValueError) as error:
            raise FormatError(f"not an index of usearch ({error})") from None
        if index is None or index.ndim != self.dim:
            raise FormatError(f"not an index of usearch for {self.dim} dimensions")
        self._index = index


class _FaissThreads:
    """Let faiss use so many threads within the context; its number is one for the process."""

    def __init__(self, faiss: Any, threads: int | None) -> None:
        self._faiss, self._threads = faiss, get_threads(threads)

    def __enter__(self) -> None:
        self._before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(self._threads)

    def __exit__(self, *_: object) -> None:
        self._faiss.omp_set_num_threads(self._before)


def padded(positions: np.ndarray, scores: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns up to n: position -1 and minus infinity, also where a library found nothing."""
    missing = ((0, 0), (0, n - positions.shape[1]))
    positions = np.pad(positions.astype(np.int64), missing, constant_values=-1)
    scores = np.pad(np.asarray(scores, np.float32), missing)
    return positions, np.where(positions >= 0, scores, np.float32(-np.inf))
