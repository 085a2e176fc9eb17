"""Low rank: two thin factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_bits, to_numpy, widen
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._kernels import lowrank
from gossamer.linalg.nearest.low_rank import Moment, balance, closed_form
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

DTYPES = ("float32", "float64", "float16", "bfloat16")


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
        if self._in_rows():
            lowrank.add(y, self._native("left", x.dtype), self._native("right", x.dtype), x)
        else:
            y += self._wide("left", x.dtype) @ (self._wide("right", x.dtype) @ x)

    def _native(self, name: str, dtype: np.dtype) -> np.ndarray:
        factor = self.factors[name]
        return to_bits(factor) if self.structure.dtype == "bfloat16" else self._wide(name, dtype)

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
    (:func:`weighted_low_rank`), up to the rounding of the factors. float32 reads the singular vectors off a Gram
    matrix in float64, whose rounding is below that of ``W``; float64 takes the decomposition itself. Where a
    singular metric says nothing, the term follows ``W``. O(O K min(O, K) + K^3).

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
        solver = "exact" if W.dtype == np.float64 else "gram"
        B, A, _ = closed_form(W, Moment(metric), min(self.rank, *W.shape), solver=solver, unseen="keep")
        left, right = (self._store(factor, W.dtype) for factor in balance(B, A))
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


__all__ = ["LowRank", "LowRankMatrix"]
