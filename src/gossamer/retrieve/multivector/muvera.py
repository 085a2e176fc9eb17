"""MUVERA: find documents of many vectors through one vector for each, and score the best of them exactly."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gossamer._core.arrays import widen
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, UnsupportedError
from gossamer._core.ranking import best
from gossamer.retrieve.dense.backends import Vectors, check_backend, make_vectors
from gossamer.retrieve.documents import Documents
from gossamer.retrieve.multivector.chamfer import ball_carve
from gossamer.retrieve.multivector.fde import FDEConfig, FDEncoder
from gossamer.retrieve.multivector.ragged import TokenVectors, as_ragged
from gossamer.retrieve.multivector.token_store import TokenStore
from gossamer.retrieve.ranking import SearchResult
from gossamer.retrieve.storage import load_index, save_index

_KIND = "muvera"
_BATCH = 256  # queries at a time: their encodings and scores of all documents stay small


class MuveraIndex:
    """Search documents of token vectors by Chamfer similarity (MaxSim), through fixed dimensional encodings.

    Documents become one vector each (:class:`FDEncoder`), which any index of inner products can search. The best
    ``n_candidates`` of it are scored exactly, by a native kernel, from the token vectors.

    Parameters
    ----------
    config : FDEConfig
        Of the encodings.
    backend : {"exact", "faiss-hnsw", "faiss-pq", "hnswlib", "usearch", "scann"}
        What searches encodings: all of them by matrix products, a graph, or a scan of codes of one byte.
    pq : int, optional
        Coordinates that share a byte, for "faiss-pq": 8, the default, makes encodings 32 times smaller and loses almost
        nothing. The first :meth:`add` trains centroids, from at least 256 documents.
    rerank : bool
        Keep token vectors and score candidates exactly. Without it, scores are the estimates.
    ball_tau : float, optional
        Group query vectors for exact scores, see :func:`ball_carve`; 0.7 in the paper. None scores every vector.
    center : array of shape (dim,), optional
        See :class:`FDEncoder`.
    token_dtype : {"float32", "float16"}
        In which token vectors are kept.
    options : mapping, optional
        Of the backend: ``m``, ``ef_construction``, ``ef_search`` of graphs; ``leaves``, ``searched``, ``reorder`` of
        scann.
    threads : int, optional
        Of encoding, search and scores; matrix products of "exact" are NumPy's, with its threads.

    Raises
    ------
    ArgumentError, UnsupportedError
        For values that are not offered.
    MissingDependencyError
        If the backend's package is not installed.

    Notes
    -----
    Memory: ``4 fde_dim`` bytes a document (``fde_dim / pq`` with codes) and the token vectors. Deleted documents keep
    their place until :meth:`compact`. :meth:`save` writes what is new; a loaded index is mapped into memory, so token
    vectors stay on the disk until they are scored.

    References
    ----------
    Dhulipala, Hadian, Jayaram, Lee, Mirrokni, NeurIPS 2024, arXiv 2405.19504.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import FDEConfig, MuveraIndex
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.normal(size=(n, 32)) for n in (5, 9, 7)]
    >>> index = MuveraIndex(FDEConfig(dim=32)).add(documents)
    >>> index.search(documents[1][:4], k=2).ids[0, 0].item()
    1
    """

    def __init__(
        self,
        config: FDEConfig,
        backend: str = "exact",
        *,
        pq: int | None = None,
        rerank: bool = True,
        ball_tau: float | None = None,
        center: Any = None,
        token_dtype: str = "float32",
        options: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ) -> None:
        self.encoder = FDEncoder(config, center=center, threads=threads)
        self.backend, self.pq, self.rerank = check_backend(backend, pq), pq, bool(rerank)
        self.ball_tau = None if ball_tau is None else check_float("ball_tau", ball_tau)
        self.token_dtype = check_choice("token_dtype", token_dtype, ("float32", "float16"))
        self.options, self.threads = dict(options or {}), threads
        self._seen: tuple[str, int] | None = None  # the folder and generation that were loaded or saved last
        self._rewrite = False  # whether its segments are not ours any more
        self._clear()

    def _clear(self) -> None:
        self._vectors: Vectors = make_vectors(self.backend, self.config.fde_dim, self.pq, self.options)
        self._tokens, self._documents = TokenStore(self.config.dim, self.token_dtype), Documents()

    @property
    def config(self) -> FDEConfig:
        """How documents are encoded."""
        return self.encoder.config

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def highest_id(self) -> int:
        """The largest id ever used, -1 before the first document."""
        return int(self._documents.ids.max(initial=-1))

    def add(self, X: Any, offsets: Any = None, ids: Any = None) -> MuveraIndex:
        """Add documents.

        Parameters
        ----------
        X : array (sum l, dim) with ``offsets``, list of (l_i, dim), one (l, dim), or TokenVectors
            Token vectors.
        offsets : array of shape (n + 1,), optional
            Where documents begin in ``X``.
        ids : array of n integers >= 0, optional
            What :meth:`search` calls them; by default they are counted on.

        Returns
        -------
        MuveraIndex
            Itself.

        Raises
        ------
        ShapeError, ArgumentError
            For vectors that do not fit, ids that are there, or too few documents to train codes. Nothing is added then.
        """
        sets = as_ragged("X", X, offsets, dim=self.config.dim)
        chosen = self._documents.new_ids(ids, len(sets))
        self._vectors.add(self.encoder.encode_document(sets), self.threads)
        if self.rerank:
            self._tokens.add(sets)
        self._documents.append(chosen)
        return self

    def delete(self, ids: Any) -> MuveraIndex:
        """Delete documents by id; returns itself.

        Raises
        ------
        ArgumentError
            If one of them is not there; nothing is deleted then.
        """
        self._documents.delete(ids)
        return self

    def compact(self) -> MuveraIndex:
        """Take deleted documents out of the files and of the graph: encodes and adds all others again.

        Raises
        ------
        ArgumentError
            Without ``rerank``, as token vectors are not kept.
        """
        if not self.rerank:
            raise ArgumentError("rerank=False keeps no token vectors: build the index again")
        at, tokens = np.flatnonzero(self._documents.alive), self._tokens
        ids = self._documents.ids[at]
        self._clear()
        self._rewrite = True
        return self.add(tokens.take(at), ids=ids) if len(at) else self

    def candidates(self, queries: Any, n: int = 200, offsets: Any = None) -> SearchResult:
        """The n documents of each query with the largest estimates, the best first; arguments as of :meth:`search`."""
        sets, n = self._check_queries(queries, offsets), check_int("n", n, low=1)
        begun = time.perf_counter()
        encoded = self.encoder.encode_query(sets)
        middle = time.perf_counter()
        positions, scores = self._fetch(encoded, n)
        ids = np.where(positions >= 0, self._documents.ids[positions], -1)
        return SearchResult(
            ids=ids,
            scores=scores / np.float32(self.config.reps),
            timings={"encode": middle - begun, "candidates": time.perf_counter() - middle},
        )

    def search(
        self, queries: Any, k: int = 10, n_candidates: int | None = 200, offsets: Any = None
    ) -> SearchResult:
        """The k documents of each query with the largest Chamfer similarity among its candidates.

        Parameters
        ----------
        queries : one (m, dim), list of (m_i, dim), array (sum m, dim) with ``offsets``, or TokenVectors
            Token vectors.
        k : int
            Documents a query.
        n_candidates : int or None
            How many are scored exactly, at least k. None scores all: exact search, without encodings.
        offsets : array of shape (n + 1,), optional
            Where queries begin.

        Returns
        -------
        SearchResult
            ``ids`` and ``scores`` (n, k), and ``timings`` of "encode", "candidates" and "rerank". Without ``rerank``
            scores are the estimates.

        Raises
        ------
        ShapeError, ArgumentError
            For queries that do not fit, an empty index, ``k < 1``, or ``n_candidates=None`` without ``rerank``.
        """
        sets, k = self._check_queries(queries, offsets), check_int("k", k, low=1)
        if n_candidates is not None:
            n_candidates = max(check_int("n_candidates", n_candidates, low=1), k)
        elif not self.rerank:
            raise ArgumentError("n_candidates=None scores token vectors: expected a number with rerank=False")
        parts = [self._search(_cut(sets, first), k, n_candidates) for first in range(0, len(sets), _BATCH)]
        return SearchResult(
            ids=np.concatenate([part.ids for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            timings={stage: sum(part.timings[stage] for part in parts) for stage in parts[0].timings},
        )

    def _search(self, sets: TokenVectors, k: int, n_candidates: int | None) -> SearchResult:
        clock = [time.perf_counter()]
        if n_candidates is None:
            alive = np.flatnonzero(self._documents.alive)
            positions = np.broadcast_to(alive, (len(sets), len(alive)))
            clock += clock
        else:
            encoded = self.encoder.encode_query(sets)
            clock.append(time.perf_counter())
            positions, scores = self._fetch(encoded, n_candidates if self.rerank else k)
            scores = scores / np.float32(self.config.reps)
        clock.append(time.perf_counter())
        if self.rerank:
            terms = [np.ascontiguousarray(widen(sets.of(i)), np.float32) for i in range(len(sets))]
            if self.ball_tau is not None:
                terms = [ball_carve(query, self.ball_tau) for query in terms]
            columns, scores = best(self._tokens.score(terms, positions, self.threads), k)
            positions = np.where(columns >= 0, np.take_along_axis(positions, columns, 1), -1)
        clock.append(time.perf_counter())
        ids = np.where(positions >= 0, self._documents.ids[positions], -1)
        stages = zip(("encode", "candidates", "rerank"), np.diff(clock).tolist(), strict=True)
        return SearchResult(ids=ids, scores=scores, timings=dict(stages))

    def _check_queries(self, queries: Any, offsets: Any) -> TokenVectors:
        sets = as_ragged("queries", queries, offsets, dim=self.config.dim)
        if not len(self):
            raise ArgumentError("the index is empty: add documents first")
        return sets

    def _fetch(self, encoded: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and estimates (m, n) of living documents, as many more fetched as are deleted."""
        gone = self._documents.deleted
        positions, scores = self._vectors.search(encoded, n + gone, self.threads)
        if not gone:
            return positions, scores
        there = (positions >= 0) & self._documents.alive[positions]
        columns, scores = best(np.where(there, scores, -np.inf), n)
        return np.where(columns >= 0, np.take_along_axis(positions, columns, 1), -1), scores

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of encodings (with a graph's links, or codes), token vectors, random matrices and ids."""
        return {
            "encodings": self._vectors.nbytes,
            "tokens": self._tokens.nbytes,
            "matrices": self.encoder.nbytes,
            "ids": self._documents.ids.nbytes + self._documents.alive.nbytes,
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all parts, see :attr:`memory`."""
        return sum(self.memory.values())

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which :meth:`from_state` makes the same index."""
        meta = {
            "config": asdict(self.config), "backend": self.backend, "pq": self.pq, "rerank": self.rerank,
            "ball_tau": self.ball_tau, "token_dtype": self.token_dtype, "options": self.options,
        }  # fmt: skip
        arrays = self._documents.state()
        arrays |= {f"encodings.{name}": array for name, array in self._vectors.state().items()}
        arrays |= {f"tokens.{name}": array for name, array in self._tokens.state().items()}
        if self.encoder.center is not None:
            arrays["center"] = self.encoder.center
        return meta, arrays

    @classmethod
    def from_state(
        cls, meta: dict[str, Any], arrays: dict[str, np.ndarray], *, threads: int | None = None
    ) -> MuveraIndex:
        """The index that :meth:`state` described; everything is checked, as it may come from a file.

        Raises
        ------
        FormatError
            If they do not describe an index.
        """
        arrays = dict(arrays)
        try:
            config = FDEConfig(**meta["config"])
            settings = {name: meta[name] for name in meta if name not in ("config",)}
            index = cls(config, center=arrays.pop("center", None), threads=threads, **settings)
            index._vectors.restore(_under("encodings.", arrays))
            index._tokens.restore(_under("tokens.", arrays))
            count = len(index._vectors)
            index._documents.restore(arrays, count)
        except (KeyError, TypeError, ArgumentError, UnsupportedError) as error:
            raise FormatError(f"not the state of a MuveraIndex: {error}") from error
        if len(index._tokens) != (count if index.rerank else 0):
            raise FormatError(f"{count} encodings and {len(index._tokens)} documents")
        return index

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the index into a folder, whole or not at all; segments that the folder holds are not written again.

        Raises
        ------
        ConflictError
            If somebody else writes it, or has written it since this index was loaded from it or saved to it.
        """
        meta, arrays = self.state()
        where, keep, replaces = os.path.realpath(folder), set[str](), None
        if self._seen is not None and self._seen[0] == where:
            replaces = self._seen[1]
            stored = load_index(folder, _KIND, verify=False)
            if stored.generation == replaces and not self._rewrite:
                segments = ("tokens.", "encodings.vectors.")
                keep = {name for name in stored.arrays if name.startswith(segments) and name in arrays}
        written = {name: array for name, array in arrays.items() if name not in keep}
        self._seen = where, save_index(folder, _KIND, meta, written, keep=keep, replaces=replaces)
        self._rewrite = False

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, verify: bool = True, threads: int | None = None
    ) -> MuveraIndex:
        """Open an index that :meth:`save` wrote, its arrays mapped into memory.

        Parameters
        ----------
        folder : path
            Of the index.
        verify : bool
            Compare checksums, which reads everything once.
        threads : int, optional
            As for the class.

        Raises
        ------
        FormatError
            If it is damaged, or no index of this kind.
        """
        stored = load_index(folder, _KIND, verify=verify)
        index = cls.from_state(stored.meta, stored.arrays, threads=threads)
        index._seen = os.path.realpath(folder), stored.generation
        return index

    def __repr__(self) -> str:
        return f"MuveraIndex({len(self):,} documents, {self.config.fde_dim:,} dimensions, {self.backend})"


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def _cut(sets: TokenVectors, first: int) -> TokenVectors:
    offsets = sets.offsets[first : first + _BATCH + 1]
    return TokenVectors(sets.vectors[offsets[0] : offsets[-1]], offsets - offsets[0])
