"""The matrices of a trained recommender: in compressed rows where they are sparse, and their file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import scipy.sparse
import torch

from gossamer._core.errors import FormatError
from gossamer._core.files import atomic_path
from gossamer.sparsify import DynamicSparseTable

FORMAT = "gossamer recommender 1"
_USERS = 128


class StoredTables:
    """Matrices and vectors by name.

    Parameters
    ----------
    entries : mapping of str to DynamicSparseTable or ndarray
        What was masked in training, and what was not.
    """

    def __init__(self, entries: Mapping[str, DynamicSparseTable | np.ndarray]) -> None:
        self.entries = dict(entries)

    @classmethod
    def of(cls, params: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor] | None) -> StoredTables:
        """Trained parameters; those that have a mask with zeros in compressed rows."""
        masks = {name: mask for name, mask in (masks or {}).items() if not bool(mask.all())}
        return cls(
            {
                name: DynamicSparseTable.from_dense(p.detach(), masks[name])
                if name in masks
                else p.detach().numpy().copy()
                for name, p in params.items()
            }
        )

    @property
    def sparse(self) -> dict[str, DynamicSparseTable]:
        """Those in compressed rows."""
        return {name: e for name, e in self.entries.items() if isinstance(e, DynamicSparseTable)}

    @property
    def n_live(self) -> int:
        """Weights that are stored."""
        return sum(self.count(name) for name in self.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return sum(entry.nbytes for entry in self.entries.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all."""
        return {name: tuple(entry.shape) for name, entry in self.entries.items()}

    def count(self, name: str) -> int:
        """Weights that are stored of one."""
        entry = self.entries[name]
        return entry.nnz if isinstance(entry, DynamicSparseTable) else entry.size

    def rows(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Dense rows (m, d)."""
        entry = self.entries[name]
        if not isinstance(entry, DynamicSparseTable):
            return entry[ids]
        with torch.no_grad():
            return entry.lookup(ids).numpy()

    def dot(self, name: str, x: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows from ``start`` to ``stop`` times the columns of x, (stop - start, m)."""
        entry = self.entries[name]
        return entry.dot(x, start, stop) if isinstance(entry, DynamicSparseTable) else entry[start:stop] @ x

    def products(self, name: str, x: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Rows of x (m, d) times rows from ``start`` to ``stop``, (m, stop - start)."""
        entry = self.entries[name]
        if not isinstance(entry, DynamicSparseTable):
            return x @ entry[start:stop].T
        out = np.empty((len(x), stop - start), np.float32)
        for first in range(0, len(x), _USERS):  # turned over while they are in the cache
            rows = slice(first, first + _USERS)
            out[rows] = entry.dot(x[rows].T, start, stop).T
        return out

    def propagate(self, name: str, graph: scipy.sparse.csr_array) -> np.ndarray:
        """A sparse matrix (m, n) times the whole, (m, d)."""
        entry = self.entries[name]
        if not isinstance(entry, DynamicSparseTable):
            return graph @ entry
        with torch.no_grad():
            return entry.propagate(graph).numpy()

    def live_in_rows(self, name: str) -> np.ndarray:
        """Stored weights of each row."""
        entry = self.entries[name]
        if isinstance(entry, DynamicSparseTable):
            return np.diff(entry.indptr.numpy())
        return np.full(len(entry), entry.shape[1])

    def dense(self, name: str) -> np.ndarray:
        """The whole, dense: for vectors and small matrices."""
        entry = self.entries[name]
        return entry.to_dense().numpy() if isinstance(entry, DynamicSparseTable) else entry

    def save(
        self, path: str | os.PathLike[str], about: Mapping[str, Any], more: Mapping[str, np.ndarray]
    ) -> None:
        """Write all, with settings and more arrays, as one safetensors file, atomically."""
        tensors = {f"more.{name}": np.ascontiguousarray(array) for name, array in more.items()}
        for name, entry in self.entries.items():
            if isinstance(entry, DynamicSparseTable):
                tensors |= {f"sparse.{name}/{part}": array for part, array in entry.tensors().items()}
            else:
                tensors[f"dense.{name}"] = np.ascontiguousarray(entry)
        text = json.dumps({"format": FORMAT, **about})
        with atomic_path(path) as temporary:
            safetensors.numpy.save_file(tensors, os.fspath(temporary), {"gossamer": text})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[StoredTables, dict[str, Any], dict[str, np.ndarray]]:
        """Read what :meth:`save` wrote: tables, settings, more arrays; anything else is a :class:`FormatError`."""
        try:
            with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
                about = json.loads((file.metadata() or {})["gossamer"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if about.pop("format") != FORMAT:
                raise KeyError("format")
            entries: dict[str, Any] = {}
            sparse: dict[str, dict[str, np.ndarray]] = {}
            more = {}
            for key, array in tensors.items():
                kind, name = key.split(".", 1)
                if kind == "more":
                    more[name] = array
                elif kind == "dense":
                    entries[name] = array
                else:
                    name, part = name.rsplit("/", 1)
                    sparse.setdefault(name, {})[part] = array
        except (
            safetensors.SafetensorError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            raise FormatError(f"{path}: not a recommender ({error})") from None
        entries |= {
            name: DynamicSparseTable.of_tensors(parts, f"{path}: {name}") for name, parts in sparse.items()
        }
        return cls(entries), about, more
