"""Khatri-Rao products: column-wise Kronecker products of dense matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.sweeps import while_falling
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


def khatri_rao(*mats: Array) -> KhatriRaoMatrix:
    r"""The column-wise Kronecker product of matrices with equally many columns, without forming it.

    Row ``(j_1, ..., j_k)``, the last index fastest, of column l is :math:`\prod_i A_i[j_i, l]`.
    Equivalent to ``scipy.linalg.khatri_rao`` for two matrices, after ``to_dense()``.

    Parameters
    ----------
    *mats : arrays or tensors, shape (n_i, d)
        At least two, float32 or float64, all arrays or all tensors.

    Returns
    -------
    KhatriRaoMatrix
        Of shape (prod n_i, d).

    Raises
    ------
    ShapeError
        Fewer than two matrices, or different numbers of columns.

    Examples
    --------
    >>> import numpy as np
    >>> A = khatri_rao(np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 1], [0, 5]]))
    >>> A.to_dense().tolist()
    [[1.0, 2.0], [0.0, 10.0], [3.0, 4.0], [0.0, 20.0]]
    """
    return KhatriRaoMatrix.of(*mats)


class KhatriRaoMatrix(StructuredMatrix):
    """``A_0 (/) A_1 (/) ...``: dense factors ``0``, ``1``, ... with equally many columns, float32 or float64."""

    structure: KhatriRao

    @classmethod
    def of(cls, *mats: Array) -> KhatriRaoMatrix:
        """The Khatri-Rao product of arrays or tensors."""
        factors = [check_array(f"mats[{i}]", A, ndim=2, finite=False) for i, A in enumerate(mats)]
        if len(factors) < 2 or len({A.shape[1] for A in factors}) != 1:
            shapes = [tuple(A.shape) for A in factors]
            raise ShapeError(f"mats have shapes {shapes}: expected two or more with equally many columns")
        rows = tuple(int(A.shape[0]) for A in factors)
        shape = (math.prod(rows), int(factors[0].shape[1]))
        return cls(KhatriRao(rows), shape, {str(i): A for i, A in enumerate(factors)})

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(str(i) for i in range(len(self.structure.rows)))

    def _check(self) -> None:
        self.structure._check_rows(self.shape[0])
        for (name, factor), rows in zip(self.factors.items(), self.structure.rows, strict=True):
            if tuple(factor.shape) != (rows, self.shape[1]):
                raise FormatError(
                    f"factor {name} has shape {tuple(factor.shape)}: expected {(rows, self.shape[1])}"
                )
            if str(factor.dtype).removeprefix("torch.") not in ("float32", "float64"):
                raise FormatError(f"factor {name} is {factor.dtype}: expected float32 or float64")
            if factor.dtype != self.factors["0"].dtype:
                raise FormatError(
                    f"factor {name} is {factor.dtype}: expected {self.factors['0'].dtype}, as factor 0"
                )

    def _dense(self) -> Array:
        return _rows(list(self.factors.values()))

    def flops(self, n: int = 1) -> int:
        return self.shape[1] * n * (2 * self.shape[0] + self.shape[0] // self.structure.rows[-1])

    def plan(self, n: int = 1) -> Plan:
        reason = "rows of all factors but the last weigh x; a product with the last does the rest"
        return Plan("structured", "gemm", reason, self.flops(n), self.nbytes)

    def _halves(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        factors = [to_numpy(factor).astype(dtype, copy=False) for factor in self.factors.values()]
        return _rows(factors[:-1]), factors[-1]

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        first, last = self._halves(x.dtype)
        y = np.empty((len(first), len(last), x.shape[1]), x.dtype)
        if x.shape[1] <= len(first):
            for column in range(x.shape[1]):
                y[:, :, column] = (first * x[:, column]) @ last.T
        else:
            for i, row in enumerate(first):
                np.matmul(last * row, x, out=y[i])
        return y.reshape(self.shape[0], x.shape[1])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        first, last = self._halves(y.dtype)
        blocks = y.reshape(len(first), len(last), y.shape[1])
        x = np.zeros((self.shape[1], y.shape[1]), y.dtype)
        if y.shape[1] <= len(first):
            for column in range(y.shape[1]):
                x[:, column] = (first * (blocks[:, :, column] @ last)).sum(axis=0)
        else:
            for i, row in enumerate(first):
                x += row[:, None] * (last.T @ blocks[i])
        return x

    def _multiply_torch(self, x: Any) -> Any:
        *rest, last = (factor.to(x.dtype) for factor in self.factors.values())
        weighted = _rows(rest) * x.mT[:, None, :]
        return (weighted @ last.mT).flatten(1).mT


@dataclass(frozen=True)
class KhatriRao(Structure):
    r"""Khatri-Rao products of dense matrices with given numbers of rows; the prod(rows) rows are never formed.

    What a third-order attention has for keys: its rows are all pairs of tokens.

    Parameters
    ----------
    rows : tuple of int
        Rows of the factors, two or more; their product is the number of rows of the matrix.
    sweeps : int
        Alternating least-squares passes, for more than two factors or a full metric.

    Notes
    -----
    A column of W is a tensor that a product of vectors is to approximate. For two factors ``project`` is exactly
    nearest without a metric and in a diagonal one (a singular vector pair a column). Otherwise it starts from
    successive singular vectors and alternates the factors, each exactly nearest for the others fixed: the error never
    rises.

    References
    ----------
    Khatri and Rao, "Solutions to some functional equations", Sankhya 30, 1968. Alman and Song, "How to Capture
    Higher-order Correlations?", ICLR 2024, arXiv 2310.04064.
    """

    rows: tuple[int, ...]
    sweeps: int = 20
    kind: ClassVar[str] = "khatri-rao"
    matrix: ClassVar[type[StructuredMatrix]] = KhatriRaoMatrix

    def __post_init__(self) -> None:
        if not isinstance(self.rows, (tuple, list)) or len(self.rows) < 2:
            raise ArgumentError(f"rows={self.rows!r}: expected two or more integers")
        object.__setattr__(
            self, "rows", tuple(check_int(f"rows[{i}]", n, low=0) for i, n in enumerate(self.rows))
        )
        check_int("sweeps", self.sweeps, low=0)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"}) if len(self.rows) == 2 else frozenset()

    def _check_rows(self, rows: int) -> None:
        if rows != math.prod(self.rows):
            raise ShapeError(f"{rows} rows are not the product of {self.rows}")

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> KhatriRaoMatrix:
        self._check_rows(W.shape[0])
        wide = W.astype(np.float64)
        factors = _successive_pairs(wide, self.rows)
        full = metric is not None and metric.ndim == 2
        if len(self.rows) > 2 or full:
            H = np.eye(W.shape[1]) if metric is None else metric.astype(np.float64)
            factors = _alternate(wide, factors, H if H.ndim == 2 else np.diag(H), self.sweeps)
        factors = _equal_columns(factors)
        return KhatriRaoMatrix(self, W.shape, {str(i): A.astype(W.dtype) for i, A in enumerate(factors)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 * sum(self.rows) / max(shape[0], 1)


def _rows(factors: list[Array]) -> Array:
    """All rows of a Khatri-Rao product."""
    out = factors[0]
    for factor in factors[1:]:
        out = (out[:, None, :] * factor[None, :, :]).reshape(len(out) * len(factor), factor.shape[1])
    return out


def _successive_pairs(W: np.ndarray, rows: tuple[int, ...]) -> list[np.ndarray]:
    """Split off one factor after another by the leading singular vectors of every column."""
    factors, rest = [], W
    for n in rows[:-1]:
        tensors = rest.T.reshape(W.shape[1], n, -1)
        left, values, right = np.linalg.svd(tensors, full_matrices=False)
        factors.append(left[:, :, 0].T)
        rest = (values[:, :1] * right[:, 0]).T
    return [*factors, rest]


def _alternate(W: np.ndarray, factors: list[np.ndarray], H: np.ndarray, sweeps: int) -> list[np.ndarray]:
    """Each factor in turn solves its normal equations ``A (H o B^T B) = (unfolded W H)^T B``."""
    shape = [len(A) for A in factors]
    target = (W @ H).reshape(*shape, -1)

    def sweep(factors: list[np.ndarray]) -> list[np.ndarray]:
        trial = list(factors)
        for i in range(len(trial)):
            others = trial[:i] + trial[i + 1 :]
            design = _rows(others)
            unfolded = np.moveaxis(target, i, 0).reshape(shape[i], -1, W.shape[1])
            sums = np.einsum("ijl,jl->il", unfolded, design)
            trial[i] = sums @ np.linalg.pinv(H * (design.T @ design), hermitian=True)
        return trial

    return while_falling(sweep, factors, lambda found: weighted_error(W, _rows(found), H), sweeps)


def _equal_columns(factors: list[np.ndarray]) -> list[np.ndarray]:
    """Columns of equal norm in all factors, so that none leaves the range of its dtype."""
    norms = np.stack([np.linalg.norm(A, axis=0) for A in factors])
    mean = np.prod(norms, axis=0) ** (1 / len(factors))
    return [
        A * np.divide(mean, size, out=np.zeros_like(mean), where=size > 0)
        for A, size in zip(factors, norms, strict=True)
    ]
