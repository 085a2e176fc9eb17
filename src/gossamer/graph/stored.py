"""Graphs on the disk, for those that do not fit into memory: sorted once, then read a block of rows at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, bad_argument
from gossamer._core.files import read_json, write_json
from gossamer.graph.files import SPREAD, edge_chunks
from gossamer.graph.inputs import check_weights, mirrored

_BUCKET = 1 << 18  # rows that are sorted together
_BLOCK = 1 << 24  # edges that are read together
_LARGEST = (1 << 31) - 1
_ENTRY = [("row", np.int32), ("column", np.int32), ("back", np.bool_)]


@dataclass(frozen=True)
class Rows:
    """Some rows of an adjacency: pointers from 0, columns, and weights or None where all are 1."""

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray | None


class StoredGraph:
    """An adjacency in a folder, written by :func:`store_graph`, whose edges stay on the disk.

    Parameters
    ----------
    folder : path
        Where it lies.

    Attributes
    ----------
    shape : (int, int)
        Nodes, twice.
    directed : bool
        Whether edges have a direction; if not, each stands in both rows.
    n_edges : int
        Stored entries.

    Raises
    ------
    FormatError
        If the folder holds no such graph, or files of another length than it says.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        about = read_json(self.folder / "graph.json")
        try:
            n, self.n_edges, self.directed = int(about["nodes"]), int(about["edges"]), bool(about["directed"])
            weighted = bool(about["weighted"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{self.folder / 'graph.json'}: does not describe a graph ({error!r})"
            ) from None
        self.shape = (n, n)
        self.indptr = self._map("indptr", np.int64, n + 1)
        self.indices = self._map("indices", np.int32, self.n_edges)
        self.weights = self._map("weights", np.float64, self.n_edges) if weighted else None

    def _map(self, name: str, dtype: Any, length: int) -> np.ndarray:
        path = self.folder / f"{name}.bin"
        stored = path.stat().st_size if path.is_file() else 0
        if stored != length * np.dtype(dtype).itemsize or length < 1:
            raise FormatError(f"{path}: has {stored} bytes: expected {length} numbers of {np.dtype(dtype)}")
        return np.asarray(np.memmap(path, dtype, mode="r"))

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """Rows from the first to the last, some ten million edges at a time."""
        start = 0
        while start < self.shape[0]:
            past = int(np.searchsorted(self.indptr, self.indptr[start] + _BLOCK, side="right")) - 1
            stop = min(max(past, start + 1), self.shape[0])
            first, last = int(self.indptr[start]), int(self.indptr[stop])
            weights = None if self.weights is None else self.weights[first:last]
            pointers = self.indptr[start : stop + 1] - first
            yield slice(start, stop), Rows(pointers, self.indices[first:last], weights)
            start = stop

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of rows and of columns, each of shape (n,), float64."""
        rows, columns = np.zeros(self.shape[0]), np.zeros(self.shape[0])
        for where, block in self.blocks():
            counts = np.diff(block.indptr)
            local = np.repeat(np.arange(len(counts)), counts)
            rows[where] = np.bincount(local, block.weights, len(counts))
            if self.directed:
                columns += np.bincount(block.indices, block.weights, len(columns))
        return rows, (columns if self.directed else rows)

    def __repr__(self) -> str:
        return f"StoredGraph({str(self.folder)!r}: {self.shape[0]} nodes, {self.n_edges} entries)"


def store_graph(
    source: Any,
    folder: str | os.PathLike[str],
    *,
    directed: bool = False,
    weighted: bool = True,
    n_nodes: int | None = None,
) -> StoredGraph:
    """Sort edges into an adjacency on the disk, in memory for some hundred thousand nodes at a time.

    What comes out is the matrix of :func:`as_adjacency`; that each edge counts once, in both directions unless
    ``directed``, holds here too.

    Parameters
    ----------
    source : path or iterable
        A list of edges or a Parquet file, as :func:`read_graph` takes, with nodes that are row numbers; or pieces
        ``(2, E)`` of integers, or pairs ``(edges, weights)``, one after the other.
    folder : path
        Where the graph goes; it must not exist, or be empty. Appears when it is complete.
    directed, weighted, n_nodes
        As in :func:`as_adjacency`.

    Returns
    -------
    StoredGraph
        Takes 4 bytes an entry, and 8 more if weights are not all 1; while it is sorted, up to four times that.

    Raises
    ------
    FormatError
        If the file is missing, damaged or no list of edges between numbers.
    ArgumentError
        If the folder is not empty, there are no edges, or nodes, weights or directions are refused.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from gossamer.graph import fastrp_embedding, store_graph
    >>> pieces = (np.random.default_rng(i).integers(0, 900, (2, 5000)) for i in range(3))
    >>> graph = store_graph(pieces, tempfile.mkdtemp())
    >>> fastrp_embedding(graph, 64, panel=32, random_state=0).shape
    (900, 64)
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise bad_argument("folder", str(target), "a new or an empty one")
    n = 0 if n_nodes is None else check_int("n_nodes", n_nodes, low=1, high=_LARGEST)
    target.parent.mkdir(parents=True, exist_ok=True)
    path = isinstance(source, (str, os.PathLike))
    chunks = edge_chunks(source) if path else source
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as room:
        buckets, ready = Path(room) / "buckets", Path(room) / "graph"
        buckets.mkdir()
        ready.mkdir()
        largest, weighed = _scatter(chunks, buckets, directed, n_nodes)
        n = n or largest + 1
        _sort(buckets, ready, n, directed, weighed, weighted, str(source) if path else "source")
        if target.exists():
            target.rmdir()
        shutil.move(ready, target)
    return StoredGraph(target)


def _scatter(chunks: Iterable[Any], buckets: Path, directed: bool, n_nodes: int | None) -> tuple[int, bool]:
    """Write edges to files of their rows, both ways if undirected; the highest node, and whether weights are there."""
    largest, weighed = -1, None
    for chunk in chunks:
        edges, weights = chunk if isinstance(chunk, tuple) and len(chunk) == 2 else (chunk, None)
        edges = np.asarray(edges)
        if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
            raise ShapeError(
                f"source gives {edges.dtype} of shape {edges.shape}: expected integers in two rows, (2, E)"
            )
        high = _LARGEST if n_nodes is None else n_nodes
        if edges.size and (edges.min() < 0 or edges.max() >= high):
            raise ArgumentError(
                f"source has nodes from {edges.min()} to {edges.max()}: expected 0 to {high - 1}"
            )
        if weighed is not None and weighed != (weights is not None):
            raise ArgumentError("source gives weights for some pieces only: expected all or none")
        weighed = weights is not None
        entries = np.empty((2 - directed) * edges.shape[1], [*_ENTRY, *_weight(weighed)])
        for back in range(2 - directed):
            part = entries[back * edges.shape[1] : (back + 1) * edges.shape[1]]
            part["row"], part["column"], part["back"] = edges[back], edges[1 - back], back
            if weighed:
                checked = check_weights(np.asarray(weights), "source")
                if checked.shape != (edges.shape[1],):
                    raise ShapeError(
                        f"source gives {edges.shape[1]} edges with weights of shape {checked.shape}"
                    )
                part["weight"] = checked
        number = entries["row"] // _BUCKET
        order = np.argsort(number, kind="stable")
        cuts = np.flatnonzero(np.diff(number[order], prepend=-1))
        for some in np.split(order, cuts[1:]) if len(order) else ():
            with open(buckets / f"{number[some[0]]}", "ab") as file:
                entries[some].tofile(file)
        largest = max(largest, int(edges.max(initial=-1)))
    if largest < 0:
        raise ArgumentError("source has no edges: expected at least one")
    return largest, bool(weighed)


def _weight(weighed: bool) -> list[tuple[str, Any]]:
    return [("weight", np.float64)] if weighed else []


def _sort(
    buckets: Path, ready: Path, n: int, directed: bool, weighed: bool, weighted: bool, name: str
) -> None:
    """Turn the files of rows into one adjacency."""
    counts, seen = np.zeros(n, np.int64), np.zeros(n, bool)
    plain = True
    with open(ready / "indices.bin", "wb") as columns, open(ready / "weights.bin", "wb") as values:
        for bucket in range(-(-n // _BUCKET)):
            start, file = bucket * _BUCKET, buckets / str(bucket)
            if not file.is_file():
                continue
            entries = np.fromfile(file, [*_ENTRY, *_weight(weighed)])
            file.unlink()
            A = _rows(entries, start, min(_BUCKET, n - start), n, directed, weighed, weighted, name)
            counts[start : start + A.shape[0]] = np.diff(A.indptr)
            seen[start : start + A.shape[0]] |= np.diff(A.indptr) > 0
            seen[A.indices] = True
            A.indices.astype(np.int32).tofile(columns)
            if weighed and weighted:
                plain = plain and bool((A.data == 1).all())
                A.data.astype(np.float64).tofile(values)
    if n > 1000 and n > SPREAD * int(seen.sum()):
        raise ArgumentError(
            f"{name} numbers nodes up to {n - 1}, but only {int(seen.sum())} have edges: expected row numbers"
        )
    if plain:
        (ready / "weights.bin").unlink()
    np.concatenate([[0], np.cumsum(counts)]).astype(np.int64).tofile(ready / "indptr.bin")
    about = {"nodes": n, "edges": int(counts.sum()), "directed": directed, "weighted": not plain}
    write_json(ready / "graph.json", about)


def _rows(
    entries: np.ndarray,
    start: int,
    rows: int,
    n: int,
    directed: bool,
    weighed: bool,
    weighted: bool,
    name: str,
) -> scipy.sparse.csr_array:
    """Rows of the adjacency from the entries of a bucket: repeated edges summed, both directions of an edge joined."""

    def matrix(some: np.ndarray) -> scipy.sparse.csr_array:
        data = some["weight"] if weighed else np.ones(len(some))
        A = scipy.sparse.coo_array((data, (some["row"] - start, some["column"])), shape=(rows, n)).tocsr()
        A.eliminate_zeros()
        if not (weighed and weighted):
            A.data[:] = 1
        return A

    if directed:
        return matrix(entries)
    return mirrored(matrix(entries[~entries["back"]]), matrix(entries[entries["back"]]), name, start)
