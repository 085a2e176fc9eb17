"""Sparse codes of a batch: which features are active on which token, and how strongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.errors import ShapeError
from gossamer._kernels.csr import check


class SparseCodes:
    """The codes of N tokens over F features, by token, features ascending.

    Parameters
    ----------
    start : ndarray of int, shape (N + 1,)
        Token n has the entries ``start[n]`` to ``start[n + 1]``.
    features : ndarray of int32, shape (nnz,)
        Feature of each entry.
    values : Tensor, shape (nnz,)
        May carry gradients.
    n_features : int
        F.
    """

    def __init__(
        self, start: np.ndarray, features: np.ndarray, values: torch.Tensor, n_features: int
    ) -> None:
        self.start = np.ascontiguousarray(start, np.int32)
        self.features = np.ascontiguousarray(features, np.int32)
        self.values = values
        self.shape = (len(start) - 1, int(n_features))
        if values.shape != self.features.shape:
            raise ShapeError(f"values has shape {tuple(values.shape)}: expected {self.features.shape}")
        check(self.start, self.features, np.empty(len(self.features), np.float32), self.shape)
        self._columns: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @classmethod
    def from_dense(cls, dense: torch.Tensor) -> SparseCodes:
        """The entries of a dense matrix (N, F) that are not zero."""
        places = dense.detach().nonzero().cpu().numpy()
        start = np.searchsorted(places[:, 0], np.arange(dense.shape[0] + 1))
        return cls(start, places[:, 1], dense[tuple(torch.from_numpy(places).T)], dense.shape[1])

    def with_values(self, values: torch.Tensor) -> SparseCodes:
        """The same places with other values."""
        other = object.__new__(SparseCodes)
        other.__dict__.update(self.__dict__, values=values)
        return other

    @property
    def nnz(self) -> int:
        """Number of active entries."""
        return len(self.features)

    @property
    def tokens(self) -> np.ndarray:
        """Token of each entry, int32, shape (nnz,)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.start))

    @property
    def indices(self) -> torch.Tensor:
        """Token and feature of each entry, int32, shape (nnz, 2)."""
        return torch.from_numpy(np.stack([self.tokens, self.features], axis=1))

    @property
    def per_token(self) -> np.ndarray:
        """Active features of each token, shape (N,)."""
        return np.diff(self.start)

    @property
    def per_feature(self) -> np.ndarray:
        """Tokens on which each feature is active, shape (F,)."""
        return np.bincount(self.features, minlength=self.shape[1])

    def by_feature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same entries by feature: starts (F + 1,), tokens (nnz,), and the place of each in ``values``."""
        if self._columns is None:
            import scipy.sparse

            places = np.arange(self.nnz, dtype=np.int32)
            turned = scipy.sparse.csr_array((places, self.features, self.start), shape=self.shape).tocsc()
            self._columns = turned.indptr, turned.indices, turned.data
        return self._columns

    def to_dense(self) -> torch.Tensor:
        """The codes as a matrix (N, F); gradients flow."""
        rows, columns = (torch.from_numpy(part).long() for part in (self.tokens, self.features))
        where = rows * self.shape[1] + columns
        flat = torch.zeros(self.shape[0] * self.shape[1], dtype=self.values.dtype, device=self.values.device)
        return flat.index_put((where.to(flat.device),), self.values).view(self.shape)

    def to_csr(self) -> Any:
        """The codes as ``scipy.sparse.csr_array``."""
        import scipy.sparse

        return scipy.sparse.csr_array(
            (self.values.detach().cpu().float().numpy(), self.features, self.start), shape=self.shape
        )

    def mask(self) -> torch.Tensor:
        """Which entries are active, bool, shape (N, F)."""
        found = torch.zeros(self.shape, dtype=torch.bool)
        found[torch.from_numpy(self.tokens).long(), torch.from_numpy(self.features).long()] = True
        return found.to(self.values.device)

    def __repr__(self) -> str:
        return f"SparseCodes(shape={self.shape}, nnz={self.nnz})"
