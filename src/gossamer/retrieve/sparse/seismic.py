"""Approximate search of sparse vectors by the Seismic library."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.lazy import require
from gossamer._core.threads import get_threads
from gossamer.retrieve.sparse.rows import sparse_rows
from gossamer.retrieve.storage import load_index, save_index

_KIND = "seismic-index"


class SeismicIndex:
    """Sparse documents in clusters by token, of which a search opens those whose summaries promise enough.

    The library behind it (``pip install pyseismic-lsr``) keeps the largest weights of each token only, groups its
    documents, and skips a group if an upper part of its weights cannot compete. Results are approximate:
    :class:`InvertedIndex` is exact, and for queries of a few tokens often as fast.

    Parameters
    ----------
    n_postings : int
        Postings kept a token, on average.
    centroid_fraction : float
        Groups of a list over its postings.
    summary_energy : float
        Share of the weights of a group that its summary keeps.
    query_cut : int
        The largest weights of a query that choose groups.
    heap_factor : float
        Groups are opened if their bound exceeds the bar over this, at most 1: larger is slower and more exact.

    Attributes
    ----------
    n_documents, vocabulary : int
        0 before :meth:`build`.

    References
    ----------
    Bruch, Nardini, Rulli, Venturini, *Efficient inverted indexes for approximate retrieval over learned sparse
    representations*, SIGIR 2024.

    Examples
    --------
    >>> index = SeismicIndex().build(documents)  # doctest: +SKIP
    >>> ids, scores = index.search(queries, k=10)  # doctest: +SKIP
    """

    def __init__(
        self,
        n_postings: int = 3500,
        centroid_fraction: float = 0.1,
        summary_energy: float = 0.4,
        query_cut: int = 10,
        heap_factor: float = 0.8,
    ) -> None:
        self.n_postings = check_int("n_postings", n_postings, low=1)
        self.centroid_fraction = check_float("centroid_fraction", centroid_fraction, low=0, high=1)
        self.summary_energy = check_float("summary_energy", summary_energy, low=0, high=1)
        self.query_cut = check_int("query_cut", query_cut, low=1)
        self.heap_factor = check_float("heap_factor", heap_factor, low=0, high=1, closed="right")
        self.n_documents = self.vocabulary = 0
        self._index: Any = None
        self._bytes: np.ndarray | None = None

    def build(self, docs: Any) -> SeismicIndex:
        """Index ``docs``, in place of what was there.

        Parameters
        ----------
        docs : sparse matrix of shape (n, V)
            Weights >= 0, at least one above 0. A row may be empty.

        Returns
        -------
        SeismicIndex
            Itself.

        Raises
        ------
        ArgumentError
            For documents without weights, negative, NaN or infinite weights.
        MissingDependencyError
            If the library is not installed.
        """
        rows = sparse_rows("docs", docs)
        if not rows.nnz:
            raise ArgumentError(f"docs of shape {rows.shape} have no weight above 0: expected one at least")
        library = _library()
        names = np.arange(rows.shape[1]).astype(library.get_seismic_string())
        dataset = library.SeismicDataset()
        for i in range(rows.shape[0]):
            part = slice(rows.indptr[i], rows.indptr[i + 1])
            dataset.add_document(str(i), names[rows.indices[part]], rows.data[part])
        self._index = library.SeismicIndex.build_from_dataset(
            dataset,
            n_postings=self.n_postings,
            centroid_fraction=self.centroid_fraction,
            summary_energy=self.summary_energy,
            num_threads=get_threads(None),
        )
        self.n_documents, self.vocabulary = rows.shape
        self._bytes = None
        return self

    def search(self, queries: Any, k: int = 10, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Documents of each query with large scores above 0, most of the k best ones.

        Parameters
        ----------
        queries : sparse matrix of shape (m, V)
            Weights >= 0.
        k : int
            Documents a query.
        threads : int, optional
            For several queries.

        Returns
        -------
        ids : ndarray of shape (m, k)
            int64, the best first; -1 where fewer were found.
        scores : ndarray of shape (m, k)
            float32; 0 where the id is -1.

        Raises
        ------
        ArgumentError
            For k < 1, bad weights, or an index without documents.
        ShapeError
            If the queries have another vocabulary.
        """
        if self._index is None:
            raise ArgumentError("the index is empty: build it first")
        k = check_int("k", k, low=1)
        rows = sparse_rows("queries", queries, self.vocabulary)
        names = np.arange(self.vocabulary).astype(_library().get_seismic_string())
        parts = [slice(a, b) for a, b in zip(rows.indptr[:-1], rows.indptr[1:])]
        asked = [i for i, part in enumerate(parts) if part.stop > part.start]
        ids = np.full((len(parts), k), -1, np.int64)
        scores = np.zeros((len(parts), k), np.float32)
        found = self._index.batch_search(
            queries_ids=np.array([str(i) for i in asked], names.dtype),
            query_components=[names[rows.indices[parts[i]]] for i in asked],
            query_values=[rows.data[parts[i]] for i in asked],
            k=k,
            query_cut=self.query_cut,
            heap_factor=self.heap_factor,
            num_threads=get_threads(threads),
        )
        for hits in filter(len, found):  # in any order: the first entry names the query
            i = int(hits[0][0])
            good = sorted(((-score, int(name)) for _, score, name in hits if score > 0))[:k]
            ids[i, : len(good)] = [name for _, name in good]
            scores[i, : len(good)] = [-score for score, _ in good]
        return ids, scores

    @property
    def nbytes(self) -> int:
        """Bytes of the index as the library writes it; 0 before :meth:`build`."""
        return 0 if self._index is None else len(self._written())

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the index into a folder, whole or not at all.

        Parameters
        ----------
        folder : path
            Made if it is not there; an index that it holds is replaced.

        Raises
        ------
        ArgumentError
            For an index without documents.
        """
        if self._index is None:
            raise ArgumentError("the index is empty: build it first")
        names = ("n_postings", "centroid_fraction", "summary_energy", "query_cut", "heap_factor")
        meta: dict[str, Any] = {"options": {name: getattr(self, name) for name in names}}
        meta |= {"documents": self.n_documents, "vocabulary": self.vocabulary}
        save_index(folder, _KIND, meta, {"index": self._written()})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SeismicIndex:
        """Read an index that :meth:`save` wrote.

        Parameters
        ----------
        folder : path
            Of the index.

        Raises
        ------
        FormatError
            If it is damaged or no such index.
        """
        stored = load_index(folder, _KIND)
        try:
            index = cls(**stored.meta["options"])
            index.n_documents = check_int("documents", stored.meta["documents"], low=1)
            index.vocabulary = check_int("vocabulary", stored.meta["vocabulary"], low=1)
            index._bytes = stored.arrays["index"]
        except (KeyError, TypeError, ArgumentError) as error:
            raise FormatError(f"{folder}: not the state of a Seismic index ({error})") from error
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "index.index.seismic"
            path.write_bytes(index._bytes.tobytes())
            index._index = _library().SeismicIndex.load(str(path))
        return index

    def _written(self) -> np.ndarray:
        if self._bytes is None:
            with tempfile.TemporaryDirectory() as temporary:
                self._index.save(str(Path(temporary) / "index"))
                self._bytes = np.fromfile(Path(temporary) / "index.index.seismic", np.uint8)
        return self._bytes


def _library() -> Any:
    return require("seismic", "retrieve")
