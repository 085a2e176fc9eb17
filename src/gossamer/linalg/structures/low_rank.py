"""Low rank: two thin factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, to_bits, to_numpy, widen
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

DTYPES = ("float32", "float64", "float16", "bfloat16")


def truncated_svd(
    W: np.ndarray, rank: int, metric: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The factors ``L`` (O, r) and ``R`` (r, K) of the nearest matrix of rank ``r`` in a metric.

    With ``H = Q diag(e) Q^T`` and ``S = Q diag(sqrt(e))``, the error of ``L R`` is ``||W S - L R S||_F``: the
    truncated singular value decomposition ``U_r s_r V_r^T`` of ``W S`` gives ``L R = U_r s_r V_r^T S^+``. Directions
    that no input has (``e`` at rounding level) cost nothing and get zero.

    Parameters
    ----------
    W : ndarray, shape (O, K)
        The matrix.
    rank : int
        Largest rank; at most ``min(O, K)`` is returned.
    metric : None or ndarray, shape (K,) or (K, K)
        ``H``.

    Returns
    -------
    L : ndarray, shape (O, r)
    R : ndarray, shape (r, K)
        Rows of ``R`` and columns of ``L`` have pairwise equal norms, so that half precision holds both well.

    References
    ----------
    Eckart and Young, 1936. Liu et al., "EoRA", 2024 (the projection to the eigenspace of ``H``).
    """
    root, inverse = _square_root(metric)
    weighted = W.astype(np.float64) if root is None else (W * root if root.ndim == 1 else W @ root)
    U, s, Vt = scipy.linalg.svd(weighted, full_matrices=False)
    r = min(rank, len(s))
    left, right = U[:, :r] * s[:r], Vt[:r]
    if inverse is not None:
        right = right * inverse if inverse.ndim == 1 else right @ inverse
    norms = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
    alive = (norms[0] > 0) & (norms[1] > 0)
    balance = np.sqrt(np.divide(norms[1], norms[0], out=np.zeros(r), where=alive))
    return left * balance, right * np.divide(1, balance, out=np.zeros(r), where=balance > 0)[:, None]


def _square_root(metric: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    if metric is None:
        return None, None
    wide = metric.astype(np.float64)
    if wide.ndim == 1:
        root = np.sqrt(wide)
        return root, np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    values, vectors = scipy.linalg.eigh((wide + wide.T) / 2)
    noise = np.finfo(metric.dtype).eps * len(values) * max(values[-1], 0)
    alive = values > noise
    root = vectors[:, alive] * np.sqrt(values[alive])
    return root, (vectors[:, alive] / np.sqrt(values[alive])).T


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
        return Plan("structured", "two gemms", "the inner size is the rank", self.flops(n), self.nbytes)

    def _wide(self, name: str, dtype: np.dtype) -> np.ndarray:
        factor = self.factors[name]
        return widen(to_numpy(factor)).astype(dtype, copy=False)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return self._wide("left", x.dtype) @ (self._wide("right", x.dtype) @ x)

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
