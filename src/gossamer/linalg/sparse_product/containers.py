"""The containers that a sparse product takes and gives back: SciPy, torch sparse CSR, :class:`CSRMatrix`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.errors import UnsupportedError
from gossamer.linalg.operator import StructuredMatrix

Build = Callable[["Rows"], Any]
_LIMIT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Rows:
    """Compressed sparse rows as NumPy arrays, and how to make the caller's kind of container of such."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]
    build: Build

    @property
    def pattern(self) -> tuple[np.ndarray, np.ndarray]:
        """Pointers and indices."""
        return self.indptr, self.indices

    def indexed(self, dtype: Any) -> Rows:
        """The same with indices of ``dtype``."""
        return replace(
            self, indptr=self.indptr.astype(dtype, copy=False), indices=self.indices.astype(dtype, copy=False)
        )

    def rows(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop``, sharing memory."""
        at = slice(int(self.indptr[start]), int(self.indptr[stop]))
        return replace(
            self,
            indptr=self.indptr[start : stop + 1] - self.indptr[start],
            indices=self.indices[at],
            data=self.data[at],
            shape=(stop - start, self.shape[1]),
        )


def read(name: str, X: Any) -> Rows:
    """Take a sparse container apart; anything else is an :class:`UnsupportedError`."""
    if scipy.sparse.issparse(X):
        if X.ndim != 2:
            raise UnsupportedError(f"{name} is a sparse array of {X.ndim} dimensions: expected 2")
        csr = X.tocsr()
        wrap = scipy.sparse.csr_array if isinstance(X, scipy.sparse.sparray) else scipy.sparse.csr_matrix
        return Rows(csr.indptr, csr.indices, csr.data, csr.shape, lambda C: _scipy(wrap, C))
    if is_torch(X) and str(X.layout) == "torch.sparse_csr":
        indptr, indices, data = (to_numpy(x) for x in (X.crow_indices(), X.col_indices(), X.values()))
        return Rows(indptr, indices, data, (X.shape[0], X.shape[1]), _torch)
    if isinstance(X, StructuredMatrix) and hasattr(X, "to_scipy"):
        return replace(read(name, X.to_scipy()), build=lambda C: _structured(type(X), C))
    found = str(X.layout) + " tensor" if is_torch(X) else type(X).__name__
    raise UnsupportedError(
        f"{name} is a {found}: expected a scipy.sparse matrix, a torch sparse CSR tensor or a CSRMatrix"
    )


def narrow(*matrices: Rows) -> np.dtype:
    """The index type that holds every pointer and column of ``matrices``: int32 where it can."""
    largest = max(max(*m.shape, len(m.indices)) for m in matrices)
    return np.dtype(np.int32 if largest <= _LIMIT else np.int64)


def fitted(C: Rows) -> Rows:
    """``C`` with int32 indices while columns and entries fit, else int64."""
    small = max(C.shape[1], len(C.indices)) <= _LIMIT
    return C.indexed(np.int32 if small else np.int64)


def _scipy(wrap: Any, C: Rows) -> Any:
    made = wrap((C.data, C.indices, C.indptr), shape=C.shape, copy=False)
    return made


def _torch(C: Rows) -> Any:
    import torch

    return torch.sparse_csr_tensor(
        torch.from_numpy(C.indptr.astype(np.int64, copy=False)),
        torch.from_numpy(C.indices.astype(np.int64, copy=False)),
        torch.from_numpy(C.data),
        size=C.shape,
    )


def _structured(kind: Any, C: Rows) -> Any:
    floating = C.data if C.data.dtype in (np.float32, np.float64) else C.data.astype(np.float64)
    return kind.from_scipy(scipy.sparse.csr_array((floating, C.indices, C.indptr), shape=C.shape))
