"""Diagonal matrices, square or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.errors import FormatError
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


class DiagonalMatrix(StructuredMatrix):
    """Zero but for ``diagonal`` (min(O, K),), float32 or float64."""

    factor_names = ("diagonal",)

    @classmethod
    def of(cls, diagonal: Array) -> DiagonalMatrix:
        """The square matrix with this diagonal."""
        return cls(Diagonal(), (len(diagonal), len(diagonal)), {"diagonal": diagonal})

    def _check(self) -> None:
        diagonal = self.factors["diagonal"]
        if tuple(diagonal.shape) != (min(self.shape),):
            raise FormatError(f"diagonal has shape {tuple(diagonal.shape)}: expected ({min(self.shape)},)")
        if str(diagonal.dtype).removeprefix("torch.") not in ("float32", "float64"):
            raise FormatError(f"diagonal is {diagonal.dtype}: expected float32 or float64")

    @property
    def implied_tags(self) -> frozenset[str]:
        symmetric = {"symmetric"} if self.shape[0] == self.shape[1] else set()
        return frozenset({"lower_triangular", "upper_triangular"} | symmetric)

    def _transposed(self) -> DiagonalMatrix:
        return DiagonalMatrix(self.structure, self.shape[::-1], self.factors)

    def _dense(self) -> Array:
        diagonal = self.factors["diagonal"]
        size = len(diagonal)
        if is_torch(diagonal):
            import torch

            rows, cols = (extent - size for extent in self.shape)
            return torch.nn.functional.pad(torch.diag(diagonal), (0, cols, 0, rows))
        dense = np.zeros(self.shape, diagonal.dtype)
        dense[np.arange(size), np.arange(size)] = diagonal
        return dense

    def flops(self, n: int = 1) -> int:
        return min(self.shape) * n

    def plan(self, n: int = 1) -> Plan:
        return Plan("structured", "scale rows", "one product an entry", self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return self._scale_rows(x, self.shape[0])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._scale_rows(y, self.shape[1])

    def _scale_rows(self, x: np.ndarray, rows: int) -> np.ndarray:
        diagonal = to_numpy(self.factors["diagonal"]).astype(x.dtype, copy=False)
        y = np.zeros((rows, x.shape[1]), x.dtype)
        np.multiply(diagonal[:, None], x[: len(diagonal)], out=y[: len(diagonal)])
        return y

    def _multiply_torch(self, x: Any) -> Any:
        import torch

        diagonal = self.factors["diagonal"].to(x.dtype)
        return torch.nn.functional.pad(
            diagonal[:, None] * x[: len(diagonal)], (0, 0, 0, self.shape[0] - len(diagonal))
        )


@dataclass(frozen=True)
class Diagonal(Structure):
    r"""Matrices that are zero off the main diagonal.

    ``d_i = w_ii + sum_{j != i} w_ij h_ji / h_ii``, which without a metric or in a diagonal one is ``w_ii``.

    Notes
    -----
    ``project`` is exactly nearest in every metric: rows part, and each is one least-squares number. Where no input
    reaches coordinate ``i`` (``h_ii = 0``), ``w_ii`` is kept.
    """

    kind: ClassVar[str] = "diagonal"
    matrix: ClassVar[type[StructuredMatrix]] = DiagonalMatrix

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> DiagonalMatrix:
        diagonal = np.diagonal(W).copy()
        if metric is not None and metric.ndim == 2:
            size = len(diagonal)
            weight = np.diagonal(metric)[:size].astype(np.float64)
            moment = np.diagonal(metric_product(W, metric)) - weight * diagonal
            diagonal = diagonal + np.divide(moment, weight, out=np.zeros(size), where=weight > 0)
        return DiagonalMatrix(self, W.shape, {"diagonal": diagonal.astype(W.dtype, copy=False)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 / max(shape)
