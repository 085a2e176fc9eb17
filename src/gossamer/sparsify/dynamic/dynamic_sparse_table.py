"""A table of vectors that stores its live entries alone, trains on them, and lets them move."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError, bad_argument
from gossamer._core.files import atomic_path
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.tensorfile import read_tensors, write_tensors
from gossamer._kernels import csr
from gossamer.sparsify.dynamic.graph_product import Graph, graph_product
from gossamer.sparsify.dynamic.moves import highest, lowest

BLOCK = 4096  # rows that are dense at a time


class DynamicSparseTable(torch.nn.Module):
    """Vectors of users, items or words with a budget of live entries: compressed rows, trained as they are.

    Rows may have different numbers of live entries: a vector is as long as its budget. Only the values have
    gradients. :meth:`explore` moves the budget, as :class:`DSLMasker` does for dense parameters, looking at gradients
    of a block of rows at a time.

    Parameters
    ----------
    indptr : array of int, shape (n + 1,)
        Where rows start.
    columns : array of int, shape (nnz,)
        Ascending within a row.
    values : array of float32, shape (nnz,)
        Live entries; zeros are live too.
    dim : int
        Length d of the vectors.

    Attributes
    ----------
    values : Parameter of float32, shape (nnz,)
        What is trained.
    columns : tensor of uint16 (int32 for d > 65,535), shape (nnz,)
        Columns of the values.
    indptr : tensor of int64, shape (n + 1,)
        Where rows start.

    Raises
    ------
    ArgumentError, ShapeError
        For arrays that are not compressed rows, or values that are not finite.

    Notes
    -----
    A live entry takes 6 bytes, a row 8. A lookup touches the live entries of its rows; a product with a graph
    (:meth:`propagate`) costs two operations for each edge and live entry of its end, in native code.

    References
    ----------
    Wang, Sui, Wu, Zheng, Xiong, "Dynamic sparse learning: a novel paradigm for efficient recommendation", WSDM 2024,
    arXiv 2402.02855.

    Examples
    --------
    >>> import torch
    >>> from gossamer.sparsify import DynamicSparseTable
    >>> table = DynamicSparseTable.random(1000, 64, density=0.1, random_state=0)
    >>> table(torch.tensor([3, 5])).shape, table.nnz, table.nbytes < 0.2 * 1000 * 64 * 4
    (torch.Size([2, 64]), 6400, True)
    """

    indptr: torch.Tensor
    columns: torch.Tensor

    def __init__(self, indptr: Any, columns: Any, values: Any, dim: int) -> None:
        super().__init__()
        self.dim = check_int("dim", dim, low=1)
        pointers = np.ascontiguousarray(to_numpy(indptr), np.int64)
        places = np.ascontiguousarray(to_numpy(columns), np.int64)
        numbers = np.array(to_numpy(values), np.float32)
        if pointers.ndim != 1 or not len(pointers):
            raise ShapeError(f"indptr has shape {pointers.shape}: expected (n + 1,)")
        csr.check(pointers, places, numbers, (len(pointers) - 1, self.dim))
        same_row = np.ones(max(len(places) - 1, 0), bool)
        starts = pointers[1:-1]
        same_row[starts[(starts > 0) & (starts < len(places))] - 1] = False
        if (np.diff(places)[same_row] <= 0).any():
            raise ArgumentError("columns: expected ascending ones within each row, each once")
        if not np.isfinite(numbers).all():
            raise ArgumentError("values have NaN or infinite entries: expected finite ones")
        narrow = np.uint16 if self.dim <= np.iinfo(np.uint16).max else np.int32
        self.register_buffer("indptr", torch.from_numpy(pointers.copy()))
        self.register_buffer("columns", torch.from_numpy(places.astype(narrow)))
        self.values = torch.nn.Parameter(torch.from_numpy(numbers))
        self._graph: Graph | None = None

    @classmethod
    def from_dense(cls, table: Any, mask: Any = None) -> DynamicSparseTable:
        """Take the live entries of a dense table (n, d): those of ``mask``, or those that are not zero."""
        dense = to_numpy(table)
        live = dense != 0 if mask is None else to_numpy(mask)
        if dense.ndim != 2 or live.shape != dense.shape or live.dtype != bool:
            raise ShapeError(
                f"table {dense.shape}, mask {live.shape} {live.dtype}: expected matrices, mask bool"
            )
        rows, columns = np.nonzero(live)
        return cls(_pointers(rows, len(dense)), columns, dense[rows, columns], dense.shape[1])

    @classmethod
    def random(
        cls, n: int, dim: int, density: float = 0.5, *, scale: float = 0.1, random_state: RandomState = None
    ) -> DynamicSparseTable:
        """Draw ``round(density n d)`` live entries at random places, normal with the standard deviation ``scale``."""
        n, dim = check_int("n", n, low=1), check_int("dim", dim, low=1)
        count = round(check_float("density", density, low=0, high=1, closed="right") * n * dim)
        if not count:
            raise bad_argument("density", density, f"enough for a live entry of {n} x {dim}")
        rng = check_random_state(random_state)
        keys = np.sort(rng.choice(n * dim, count, replace=False, shuffle=False))
        values = rng.normal(scale=scale, size=count)
        return cls(_pointers(keys // dim, n), keys % dim, values, dim)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and length of the vectors."""
        return len(self.indptr) - 1, self.dim

    @property
    def nnz(self) -> int:
        """Live entries."""
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of values, columns and row pointers."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.columns, self.indptr))

    def density(self) -> float:
        """Share of the entries that is live."""
        return self.nnz / math.prod(self.shape)

    def forward(self, ids: Any) -> torch.Tensor:
        """The same as :meth:`lookup`."""
        return self.lookup(ids)

    def lookup(self, ids: Any) -> torch.Tensor:
        """Dense rows (..., d) of the given ids; gradients flow to the values of these rows alone."""
        ids = torch.as_tensor(ids, device=self.indptr.device)
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise UnsupportedError(f"ids are {ids.dtype}: expected integers")
        flat = ids.reshape(-1).to(torch.int64)
        if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < self.shape[0]:
            raise ArgumentError(
                f"ids span {int(flat.min())}..{int(flat.max())}: expected 0..{self.shape[0] - 1}"
            )
        starts = self.indptr[flat]
        counts = self.indptr[flat + 1] - starts
        rows = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), counts)
        before = counts.cumsum(0) - counts
        entries = torch.arange(len(rows), device=flat.device) + (starts - before)[rows]
        dense = self.values.new_zeros(len(flat) * self.dim)
        places = rows * self.dim + self._columns(entries)
        # each place stands once, so that adding is putting
        dense = dense.index_add(0, places, self.values.index_select(0, entries))
        return dense.reshape(*ids.shape, self.dim)

    def propagate(self, A: Any) -> torch.Tensor:
        """``A @ table`` (m, d) for a sparse A (m, n), such as a graph; the table itself never becomes dense.

        Parameters
        ----------
        A : scipy.sparse matrix, or :class:`gossamer.nn.SparseTensor`, shape (m, n)
            Real and constant: only the values of the table get gradients, a block of rows of ``A.T @ gradient`` at a
            time. The last one is kept in the form that kernels take.
        """
        if self._graph is None or self._graph.of is not A:
            self._graph = Graph(A, self.shape[0])
        return graph_product(self.values, self.columns, self.indptr, self.dim, self._graph)

    def dot(self, x: Any, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Products (stop - start, m) of rows of the table with the columns of x (d, m), without gradients."""
        stop = self.shape[0] if stop is None else check_int("stop", stop, low=0, high=self.shape[0])
        start = check_int("start", start, low=0, high=stop)
        x = np.ascontiguousarray(to_numpy(x), np.float32)
        if x.ndim != 2 or x.shape[0] != self.dim:
            raise ShapeError(f"x has shape {x.shape}: expected ({self.dim}, m)")
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        pointers = self.indptr[start : stop + 1].numpy() - first
        columns = self.columns.numpy()[first:last]
        kind = np.int32 if last - first < np.iinfo(np.int32).max else np.int64
        values = self.values.detach().numpy()[first:last]
        return csr.matmat(pointers.astype(kind), columns.astype(kind), values, x)

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Dense rows from ``start`` to ``stop``, without gradients."""
        with torch.no_grad():
            return self.lookup(torch.arange(start, stop))

    def to_dense(self) -> torch.Tensor:
        """The dense table, without gradients."""
        return self.rows(0, self.shape[0])

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A copy of the live entries as a ``scipy.sparse.csr_array``, zeros among them."""
        columns = self.columns.numpy().astype(np.int64)
        return scipy.sparse.csr_array(
            (self.values.detach().numpy().copy(), columns, self.indptr.numpy().copy()), shape=self.shape
        )

    def mask(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Which entries of the rows from ``start`` to ``stop`` are live, bool (stop - start, d)."""
        stop = self.shape[0] if stop is None else stop
        live = torch.zeros((stop - start) * self.dim, dtype=torch.bool)
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        live[self._keys(first, last) - start * self.dim] = True
        return live.reshape(stop - start, self.dim)

    @torch.no_grad()
    def resize_rows(self, prune: Any, grow: Any, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Let entries go and others in; rows become shorter and longer.

        Parameters
        ----------
        prune, grow : tensor of int
            Entries as ``row * dim + column``: live ones that leave, dead ones that enter with the value 0. One may do
            both, and starts again from 0.
        optimizer : torch.optim.Optimizer, optional
            What it remembers of each value (moments) moves along, and is 0 for those that enter.

        Raises
        ------
        ArgumentError
            If an entry of ``prune`` is not live, one of ``grow`` is live and stays, or one stands twice.
        """
        out, into = (torch.as_tensor(part, dtype=torch.int64).reshape(-1) for part in (prune, grow))
        keys = self._keys(0, self.nnz)
        at = torch.searchsorted(keys, out)
        if len(out.unique()) != len(out) or not bool(torch.isin(out, keys).all()):
            raise ArgumentError("prune: expected live entries, each once")
        keep = torch.ones(self.nnz, dtype=torch.bool)
        keep[at] = False
        merged = torch.cat([keys[keep], into])
        order = merged.argsort(stable=True)
        merged = merged[order]
        if len(merged) and (int(merged[0]) < 0 or int(merged[-1]) >= math.prod(self.shape)):
            raise ArgumentError(f"grow: expected entries between 0 and {math.prod(self.shape) - 1}")
        if bool((merged[1:] == merged[:-1]).any()):
            raise ArgumentError("grow: expected dead entries, each once")

        def moved(old: torch.Tensor) -> torch.Tensor:
            return torch.cat([old[keep], old.new_zeros(len(into))])[order]

        before = self.values.shape
        state = {} if optimizer is None else optimizer.state.get(self.values, {})
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == before:
                state[name] = moved(value)
        self.values.grad = None
        self.values.data = moved(self.values.data)
        self.columns = torch.from_numpy((merged % self.dim).numpy().astype(self.columns.numpy().dtype))
        self.indptr = torch.from_numpy(_pointers((merged // self.dim).numpy(), self.shape[0]))

    @torch.no_grad()
    def explore(
        self,
        ratio: float,
        gradient: torch.Tensor | Callable[[int, int], torch.Tensor],
        optimizer: torch.optim.Optimizer | None = None,
        block: int = BLOCK,
    ) -> int:
        """Move ``ceil(ratio nnz)`` live entries: the smallest leave, those with the largest gradients enter.

        Parameters
        ----------
        ratio : float
            Share of the live entries, in [0, 1]; see :func:`update_ratio`.
        gradient : tensor (n, d), or callable
            Of the loss in the dense table; ``gradient(start, stop)`` gives a block of its rows.
        optimizer : torch.optim.Optimizer, optional
            As for :meth:`resize_rows`.
        block : int
            Rows that are looked at together: ``block`` times d numbers of memory.

        Returns
        -------
        int
            How many moved. The same entries as :class:`DSLMasker` moves, of equal ones the first.
        """
        count = math.ceil(check_float("ratio", ratio, low=0, high=1) * self.nnz)
        block = check_int("block", block, low=1)
        if self.nnz == math.prod(self.shape):
            return 0
        leave = self._keys(0, self.nnz)[lowest(self.values.detach().abs(), count)]
        keys, sizes = torch.empty(0, dtype=torch.int64), torch.empty(0)
        for start in range(0, self.shape[0], block):
            stop = min(start + block, self.shape[0])
            part = gradient(start, stop) if callable(gradient) else gradient[start:stop]
            if part.shape != (stop - start, self.dim) or not bool(part.isfinite().all()):
                raise ArgumentError(
                    f"gradient {start}..{stop}: expected finite numbers of shape ({stop - start}, {self.dim})"
                )
            first, last = start * self.dim, stop * self.dim
            dead = ~self.mask(start, stop).reshape(-1)
            dead[leave[(leave >= first) & (leave < last)] - first] = True
            places = dead.nonzero()[:, 0]
            keys = torch.cat([keys, places + first])
            sizes = torch.cat([sizes, part.reshape(-1)[places].abs().float()])
            best = highest(sizes, min(count, len(sizes)))
            keys, sizes = keys[best], sizes[best]
        self.resize_rows(leave, keys, optimizer)
        return count

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write values, columns, row pointers and d as a safetensors file, atomically."""
        with atomic_path(path) as temporary:
            write_tensors(temporary, self.tensors())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DynamicSparseTable:
        """Read what :meth:`save` wrote; anything else is a :class:`FormatError`."""
        return cls.of_tensors(read_tensors(path), os.fspath(path))

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays that :meth:`save` writes."""
        return {
            "values": self.values.detach().numpy(),
            "columns": self.columns.numpy(),
            "indptr": self.indptr.numpy(),
            "dim": np.array([self.dim], np.int64),
        }

    @classmethod
    def of_tensors(cls, tensors: dict[str, np.ndarray], where: str) -> DynamicSparseTable:
        """The table with these :meth:`tensors`; ``where`` is what an error calls them."""
        if set(tensors) != {"values", "columns", "indptr", "dim"} or tensors["dim"].shape != (1,):
            raise FormatError(f"{where}: not a sparse table; it holds {sorted(tensors)}")
        try:
            return cls(tensors["indptr"], tensors["columns"], tensors["values"], int(tensors["dim"][0]))
        except ArgumentError as error:
            raise FormatError(f"{where}: {error}") from None

    def extra_repr(self) -> str:
        """Shape and live entries."""
        return f"{self.shape[0]}, {self.dim}, nnz={self.nnz}"

    def _columns(self, entries: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.columns.numpy()[entries.numpy()].astype(np.int64))

    def _keys(self, first: int, last: int) -> torch.Tensor:
        """Entries ``row * dim + column`` of some of the values, ascending."""
        rows = torch.searchsorted(self.indptr, torch.arange(first, last), right=True) - 1
        return rows * self.dim + self._columns(torch.arange(first, last))


def _pointers(rows: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)


__all__ = ["DynamicSparseTable"]
