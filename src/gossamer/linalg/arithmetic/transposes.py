"""Transposes of families that are not closed under transposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array
from gossamer.linalg.arithmetic.compound import CompoundMatrix, check_parts
from gossamer.linalg.nearest.gradient import descend
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix
from gossamer.linalg.tags import TRANSPOSED


class TransposedMatrix(CompoundMatrix):
    """``A_0^T``; the factors are those of ``A_0``, prefixed ``0.``, and nothing is copied."""

    @classmethod
    def of(cls, A: StructuredMatrix) -> StructuredMatrix:
        """Transpose a member; a transpose is opened."""
        if isinstance(A, TransposedMatrix):
            return A.parts[0]
        return cls._from_parts(Transpose.of(A.structure), (A.shape[1], A.shape[0]), (A,))

    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        return [(structure.base, (shape[1], shape[0]))]

    @property
    def implied_tags(self) -> frozenset[str]:
        return frozenset(TRANSPOSED.get(tag, tag) for tag in self.parts[0].tags)

    def _transposed(self) -> StructuredMatrix:
        return self.parts[0]

    def _dense(self) -> Array:
        return self.parts[0]._dense().T

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return self.parts[0]._multiply_transposed(x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self.parts[0]._multiply(y)

    def plan(self, n: int = 1) -> Plan:
        reason = f"{type(self.parts[0]).__name__} multiplies transposed in Python"
        return Plan("structured", "transposed", reason, self.flops(n), self.nbytes)


@dataclass(frozen=True)
class Transpose(Structure):
    r"""Transposes of the members of a family; written ``NM(2, 4).T``: the structure runs along columns.

    Parameters
    ----------
    base : Structure
        The family.
    sweeps : int
        Steps of projected gradient descent when there is a metric.

    Notes
    -----
    Without a metric ``project`` is exactly nearest where ``base`` is. A metric weighs what are rows for ``base``,
    and no closed form is known: from the Frobenius fit, ``W_hat <- project(W_hat + (W - W_hat) H / ||H||)`` goes on
    while the error in the metric falls. Never worse than the Frobenius fit.
    """

    base: Structure
    sweeps: int = 20
    kind: ClassVar[str] = "transpose"
    matrix: ClassVar[type[StructuredMatrix]] = TransposedMatrix

    def __post_init__(self) -> None:
        check_parts("base", (self.base,))

    @classmethod
    def of(cls, base: Structure) -> Structure:
        """Transpose a family; a transpose is opened."""
        return base.base if isinstance(base, Transpose) else cls(base)

    @property
    def nearest_in(self) -> frozenset[str]:
        return self.base.nearest_in & {"none"}

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> TransposedMatrix:
        def frobenius(target: np.ndarray) -> TransposedMatrix:
            part = self.base._project(np.ascontiguousarray(target.T), None)
            return TransposedMatrix._from_parts(self, W.shape, (part,))

        return descend(frobenius, W, metric, self.sweeps)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return self.base.bits_per_weight((shape[1], shape[0]))
