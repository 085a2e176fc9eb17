"""Low rank: two thin factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, is_torch, to_bits, to_numpy, widen
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._kernels import lowrank
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

DTYPES = ("float32", "float64", "float16", "bfloat16")


def truncated_svd(
    W: np.ndarray, rank: int, metric: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The factors ``L`` (O, r) and ``R`` (r, K) of the nearest matrix of rank ``r`` in a metric.

    With ``U`` the leading left singular vectors of ``W H^(1/2)``, ``U U^T W`` is nearest: ``L = U``, ``R = U^T W``.
    Nothing is divided by a root of ``H``, so a nearly singular ``H`` does no harm, and no entry grows.

    Parameters
    ----------
    W : ndarray, shape (O, K), float32 or float64
        The matrix. For float32 the singular vectors are read off a Gram matrix in float64, whose rounding is below
        that of ``W``; float64 takes the slower decomposition itself.
    rank : int
        Largest rank; ``r = min(rank, O, K)``.
    metric : None or ndarray, shape (K,) or (K, K)
        ``H``.

    Returns
    -------
    L : ndarray, shape (O, r), float64
    R : ndarray, shape (r, K), float64
        Rows of ``R`` and columns of ``L`` have pairwise equal norms, so that half precision holds both well.

    References
    ----------
    Eckart and Young, 1936. Liu et al., "EoRA", 2024 (the projection to the eigenspace of ``H``).
    """
    wide = W.astype(np.float64)
    size = min(rank, *W.shape)
    if W.dtype == np.float64:
        vectors = scipy.linalg.svd(_rooted(wide, metric), full_matrices=False)[0][:, :size]
    elif W.shape[0] <= W.shape[1]:
        vectors = _leading(metric_product(wide, metric) @ wide.T, size)
    else:
        rooted = _rooted(wide, metric)
        vectors = scipy.linalg.qr(rooted @ _leading(rooted.T @ rooted, size), mode="economic")[0]
    left, right = np.zeros((W.shape[0], size)), np.zeros((size, W.shape[1]))
    found = vectors.shape[1]  # fewer if H has a lower rank
    rows = vectors.T @ wide
    balance = np.sqrt(np.linalg.norm(rows, axis=1))
    left[:, :found] = vectors * balance
    right[:found] = rows * np.divide(1, balance, out=np.zeros(found), where=balance > 0)[:, None]
    return left, right


def _leading(gram: np.ndarray, count: int) -> np.ndarray:
    n = len(gram)
    if not n:
        return gram
    vectors = scipy.linalg.eigh((gram + gram.T) / 2, subset_by_index=(max(n - count, 0), n - 1))[1]
    return vectors[:, ::-1]


def _rooted(W: np.ndarray, metric: np.ndarray | None) -> np.ndarray:
    """``W S`` with ``S S^T = H``; columns of ``S`` for eigenvalues at rounding level are left out."""
    if metric is None:
        return W
    wide = metric.astype(np.float64)
    if wide.ndim == 1:
        return W * np.sqrt(wide)
    values, vectors = scipy.linalg.eigh((wide + wide.T) / 2)
    alive = values > np.finfo(metric.dtype).eps * len(values) * max(values[-1], 0)
    return W @ (vectors[:, alive] * np.sqrt(values[alive]))


class LowRankMatrix(StructuredMatrix):
    """``left @ right``: factors ``left`` (O, r) and ``right`` (r, K) of one dtype.

    float32, float64, float16, or bfloat16 (uint16 in NumPy).
    """

    structure: LowRank
    factor_names = ("left", "right")

    def _check(self) -> None:
        left, right = self.factors["left"], self.factors["right"]
        stored = tuple(str(f.dtype).removeprefix("torch.") for f in (left, right))
        wanted = self.structure.dtype or "float32 or float64"
        allowed = {"bfloat16": ("bfloat16", "uint16"), "float32 or float64": ("float32", "float64")}
        if stored[0] != stored[1] or stored[0] not in allowed.get(wanted, (wanted,)):
            raise FormatError(f"low-rank factors are {stored[0]} and {stored[1]}: expected {wanted}")
        inner = tuple(left.shape)[1:] + tuple(right.shape)[:1]
        if (left.ndim, right.ndim) != (2, 2) or (left.shape[0], right.shape[1]) != self.shape:
            raise FormatError(
                f"left {tuple(left.shape)} and right {tuple(right.shape)} do not give {self.shape}"
            )
        if inner[0] != inner[1] or inner[0] > self.structure.rank:
            raise FormatError(
                f"inner sizes are {inner}: expected equal ones, at most the rank {self.structure.rank}"
            )

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        return self.factor_names if self.structure.dtype == "bfloat16" else ()

    @property
    def rank(self) -> int:
        """Columns of ``left``."""
        return int(self.factors["left"].shape[1])

    def _transposed(self) -> LowRankMatrix:
        f = self.factors
        return LowRankMatrix(self.structure, self.shape[::-1], {"left": f["right"].T, "right": f["left"].T})

    def _dense(self) -> Array:
        return widen(self.factors["left"]) @ widen(self.factors["right"])

    def flops(self, n: int = 1) -> int:
        return 2 * self.rank * (self.shape[0] + self.shape[1]) * n

    def plan(self, n: int = 1) -> Plan:
        if self._dense_pays(n):
            flops = 2 * self.shape[0] * self.shape[1] * (self.rank + n)
            return Plan("dense", "blas", "the rank is too high for the factors to pay", flops, self.nbytes)
        if self._in_rows():
            return Plan("native", "lowrank.add", "both factors lie in rows", self.flops(n), self.nbytes)
        return Plan("structured", "two gemms", "a factor is a transposed view", self.flops(n), self.nbytes)

    def _dense_pays(self, n: int) -> bool:
        whole = self.shape[0] * self.shape[1]
        return n * (self.rank * sum(self.shape) - whole) > whole * self.rank

    def _in_rows(self) -> bool:
        return all(f.is_contiguous() if is_torch(f) else f.flags.c_contiguous for f in self.factors.values())

    def _wide(self, name: str, dtype: np.dtype) -> np.ndarray:
        return widen(to_numpy(self.factors[name])).astype(dtype, copy=False)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if self._dense_pays(x.shape[1]):
            return to_numpy(self._dense()).astype(x.dtype, copy=False) @ x
        y = np.zeros((self.shape[0], x.shape[1]), x.dtype)
        self._add_product(y, x)
        return y

    def _add_product(self, y: np.ndarray, x: np.ndarray) -> None:
        left, right = self._wide("left", x.dtype), self._wide("right", x.dtype)
        if self._in_rows():
            lowrank.add(y, left, right, x)
        else:
            y += left @ (right @ x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._wide("right", y.dtype).T @ (self._wide("left", y.dtype).T @ y)

    def _multiply_torch(self, x: Any) -> Any:
        return self.factors["left"].to(x.dtype) @ (self.factors["right"].to(x.dtype) @ x)


@dataclass(frozen=True)
class LowRank(Structure):
    r"""Matrices of rank at most ``rank``, held as ``left @ right``.

    The singular values of ``W``, seen through the metric, say what a rank costs: the squared error is the sum of
    the squares of those left out. Pays when ``rank < O K / (O + K)``.

    Parameters
    ----------
    rank : int
        Inner size of the factors; no more than ``min(O, K)`` is stored.
    dtype : None or {"float32", "float64", "float16", "bfloat16"}
        Storage of the factors. None keeps that of ``W``.

    Notes
    -----
    ``project`` is exactly nearest without a metric, in a diagonal and in a full one, rank-deficient ones included
    (:func:`truncated_svd`), up to the rounding of the factors. O(O K min(O, K) + K^3).

    References
    ----------
    Eckart and Young, 1936. Liu et al., "EoRA", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import LowRank
    >>> W = np.outer([1, 2, 3], [1, 1, 0, 2])
    >>> A = LowRank(1).project(W)
    >>> A.factors["left"].shape, bool(np.allclose(A @ np.ones(4), W @ np.ones(4)))
    ((3, 1), True)
    """

    rank: int
    dtype: str | None = None
    kind: ClassVar[str] = "low-rank"
    matrix: ClassVar[type[StructuredMatrix]] = LowRankMatrix

    def __post_init__(self) -> None:
        check_int("rank", self.rank, low=1)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)

    @property
    def nearest_in(self) -> frozenset[str]:
        return (
            frozenset() if self.dtype in ("float16", "bfloat16") else frozenset({"none", "diagonal", "full"})
        )

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> LowRankMatrix:
        left, right = (self._store(factor, W.dtype) for factor in truncated_svd(W, self.rank, metric))
        return LowRankMatrix(self, W.shape, {"left": left, "right": right})

    def _store(self, factor: np.ndarray, dtype: np.dtype) -> np.ndarray:
        if self.dtype == "bfloat16":
            return to_bits(factor)
        with np.errstate(over="ignore"):
            stored = factor.astype(self.dtype or dtype)
        if not np.isfinite(stored).all():
            raise ArgumentError(
                f"low-rank factors reach {np.abs(factor).max():.3g}: too large for {stored.dtype}"
            )
        return stored

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        bits = {"float64": 64, "float16": 16, "bfloat16": 16}.get(self.dtype or "float32", 32)
        return bits * min(self.rank, *shape) * (shape[0] + shape[1]) / (shape[0] * shape[1])


__all__ = ["LowRank", "LowRankMatrix", "truncated_svd"]
