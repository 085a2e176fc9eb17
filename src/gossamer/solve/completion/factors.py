"""Two thin factors: bases, balance, distance, incoherence, and what a completion returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer._kernels import completion as kernel
from gossamer.solve.iteration import SolverResult

LARGEST_DENSE = 1 << 27  # entries that to_dense forms without being asked twice


@dataclass(frozen=True, kw_only=True)
class CompletionResult(SolverResult):
    """A matrix of low rank, ``U V^T`` plus, where fitted, a mean and biases of rows and columns.

    Attributes
    ----------
    U, V : ndarray, shapes (m, k) and (n, k)
        Balanced: ``U^T U = V^T V = diag(S)``. ``x`` is U.
    S : ndarray, shape (k,)
        Singular values of ``U V^T``, falling.
    mean : float
        Mean of the entries; 0 without biases.
    row_bias, column_bias : ndarray or None
        Shapes (m,) and (n,).
    rmse : float
        On the entries that were fitted.
    mu : (float, float)
        Incoherence of the bases: largest row norm over that of evenly spread rows.
    clipped : int
        Entries of the start that incoherence clipping set to zero.
    n_empty : (int, int)
        Rows and columns without an entry: their factors are zero.
    n_deficient : int
        Regressions of the last sweep that their entries did not determine.
    """

    U: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    V: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    S: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    mean: float = 0.0
    row_bias: np.ndarray | None = field(default=None, repr=False)
    column_bias: np.ndarray | None = field(default=None, repr=False)
    rmse: float = float("nan")
    mu: tuple[float, float] = (float("nan"), float("nan"))
    clipped: int = 0
    n_empty: tuple[int, int] = (0, 0)
    n_deficient: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Of the completed matrix."""
        return len(self.U), len(self.V)

    def predict(self, i: Any, j: Any, *, threads: int | None = None) -> np.ndarray:
        """Entries at places ``(i[e], j[e])``, shape (e,); 2 k flops each.

        Raises
        ------
        ArgumentError, ShapeError
            A place outside the matrix, or lengths that differ.
        """
        i, j = np.atleast_1d(np.asarray(i)), np.atleast_1d(np.asarray(j))
        for name, places in (("i", i), ("j", j)):
            if places.dtype.kind not in "iu" and places.size:
                raise ShapeError(f"{name} is {places.dtype}: expected integers")
        out = kernel.dots(self.U, self.V, i.astype(np.int64), j.astype(np.int64), threads)
        if self.row_bias is not None and self.column_bias is not None:
            out += self.mean + self.row_bias[i] + self.column_bias[j]
        return out

    def to_dense(self) -> np.ndarray:
        """The completed matrix, shape (m, n)."""
        m, n = self.shape
        check_int("m * n", m * n, high=LARGEST_DENSE)
        out = self.U @ self.V.T
        if self.row_bias is not None and self.column_bias is not None:
            out += self.mean + self.row_bias[:, None] + self.column_bias
        return out


def balance(U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same product with ``U^T U = V^T V = diag(S)``. O((m + n) k^2)."""
    Q, R = np.linalg.qr(U)
    P, T = np.linalg.qr(V)
    left, S, right = np.linalg.svd(R @ T.T)
    # signs are the factorisation's choice: the largest entry of a left vector is positive
    left_vectors = Q @ left
    signs = np.sign(left_vectors[np.abs(left_vectors).argmax(axis=0), np.arange(len(S))])
    signs[signs == 0] = 1
    root = np.sqrt(S) * signs
    return np.ascontiguousarray(left_vectors * root), np.ascontiguousarray((P @ right.T) * root), S


def orthonormalise(U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same product with an orthonormal U. O((m + n) k^2)."""
    Q, R = np.linalg.qr(U)
    return np.ascontiguousarray(Q), np.ascontiguousarray(V @ R.T)


def subspace_distance(U: np.ndarray, W: np.ndarray) -> float:
    """Sine of the largest angle between the spans of orthonormal U and W, ``|(I - U U^T) W|_2``."""
    rest = W - U @ (U.T @ W)
    return float(np.sqrt(max(np.linalg.eigvalsh(rest.T @ rest)[-1], 0.0)))


def incoherence(Q: np.ndarray) -> float:
    """``sqrt(m / k) max_i |q_i|`` of an orthonormal basis: 1 for evenly spread rows, at most ``sqrt(m / k)``."""
    m, k = Q.shape
    return float(np.sqrt(m / k * np.max(np.einsum("ij,ij->i", Q, Q))))
