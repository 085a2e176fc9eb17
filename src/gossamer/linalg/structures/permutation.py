"""Permutations: the cheapest orthogonal matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.optimize

from gossamer._core.arrays import Array, is_torch, like, to_numpy
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


class PermutationMatrix(StructuredMatrix):
    """``(P x)[i] = x[order[i]]``: the one factor ``order`` is int64 (n,)."""

    factor_names = ("order",)

    @classmethod
    def of(cls, order: Array) -> PermutationMatrix:
        """The matrix that takes ``x`` to ``x[order]``."""
        return cls(Permutation(), (len(order), len(order)), {"order": order})

    def _check(self) -> None:
        order = to_numpy(self.factors["order"])
        rows, cols = self.shape
        if rows != cols:
            raise ShapeError(f"a permutation is square: got shape {self.shape}")
        if order.dtype != np.int64 or order.shape != (rows,):
            raise FormatError(f"order is {order.dtype} {order.shape}: expected int64 ({rows},)")
        if not np.array_equal(np.sort(order), np.arange(rows)):
            raise FormatError(f"order must hold each of 0..{rows - 1} once")

    @property
    def implied_tags(self) -> frozenset[str]:
        return frozenset({"orthogonal"})

    def _inverse(self) -> np.ndarray:
        return np.argsort(to_numpy(self.factors["order"]), kind="stable")

    def _transposed(self) -> PermutationMatrix:
        order = like(self._inverse(), self.factors["order"])
        return PermutationMatrix(self.structure, self.shape, {"order": order})

    def _dense(self) -> Array:
        order = self.factors["order"]
        if is_torch(order):
            import torch

            return torch.eye(len(order), device=order.device)[order]
        return np.eye(len(order), dtype=np.float32)[order]

    def flops(self, n: int = 1) -> int:
        return 0

    def plan(self, n: int = 1) -> Plan:
        return Plan("structured", "gather rows", "rows are moved, nothing is computed", 0, self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return x[to_numpy(self.factors["order"])]

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return y[self._inverse()]

    def _multiply_torch(self, x: Any) -> Any:
        return x[self.factors["order"].to(x.device)]


@dataclass(frozen=True)
class Permutation(Structure):
    r"""Permutation matrices.

    Maximises ``sum_i (W H)_{i, order[i]}``, a linear assignment, since ``trace(P H P^T)`` is the same for all ``P``.

    Notes
    -----
    ``project`` is exactly nearest in every metric. O(n^3) by ``scipy.optimize.linear_sum_assignment``. Where the
    scale of ``W`` is free, use ``Scaled(Permutation())``.
    """

    kind: ClassVar[str] = "permutation"
    matrix: ClassVar[type[StructuredMatrix]] = PermutationMatrix

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> PermutationMatrix:
        if W.shape[0] != W.shape[1]:
            raise ShapeError(f"W has shape {W.shape}: expected a square matrix for a permutation")
        _, order = scipy.optimize.linear_sum_assignment(metric_product(W, metric), maximize=True)
        return PermutationMatrix(self, W.shape, {"order": order.astype(np.int64)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 64 / shape[1]
