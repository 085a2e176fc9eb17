"""Multiples of the Walsh-Hadamard matrix: a dense orthogonal mix for N log2 N additions and one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice
from gossamer._core.errors import FormatError, ShapeError, bad_argument
from gossamer.linalg.metric import metric_product
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix
from gossamer.linalg.transforms.walsh_hadamard import NORMS, ORDERS, array_fwht, factor, fwht, signs


class HadamardMatrix(StructuredMatrix):
    """``scale[0] H_N``: the one factor ``scale`` is float32 or float64 (1,)."""

    structure: Hadamard
    factor_names = ("scale",)

    @classmethod
    def of(
        cls, n: int, norm: str = "ortho", order: str = "natural", dtype: Any = np.float64
    ) -> HadamardMatrix:
        """The matrix of :func:`gossamer.linalg.fwht` on a length of ``2**n``."""
        if not isinstance(n, (int, np.integer)) or not 0 <= n <= 62:
            raise bad_argument("n", n, "an integer from 0 to 62: the matrix has 2**n rows")
        scale = np.array([factor(check_choice("norm", norm, NORMS), 1 << int(n))], dtype)
        return cls(Hadamard(order), (1 << int(n), 1 << int(n)), {"scale": scale})

    def _check(self) -> None:
        rows, cols = self.shape
        if rows != cols or rows & (rows - 1):
            raise ShapeError(f"shape {self.shape}: expected a square of side a power of two")
        scale = self.factors["scale"]
        if tuple(scale.shape) != (1,) or str(scale.dtype).removeprefix("torch.") not in (
            "float32",
            "float64",
        ):
            raise FormatError(
                f"scale is {scale.dtype} {tuple(scale.shape)}: expected float32 or float64 (1,)"
            )

    @property
    def implied_tags(self) -> frozenset[str]:
        return frozenset({"symmetric"})

    def _transposed(self) -> HadamardMatrix:
        return self

    def _dense(self) -> Array:
        scale = self.factors["scale"]
        matrix = signs(self.shape[0], self.structure.order, to_numpy(scale).dtype)
        if is_torch(scale):
            import torch

            return scale * torch.from_numpy(matrix).to(scale.device)
        return scale * matrix

    def flops(self, n: int = 1) -> int:
        side = self.shape[0]
        return side * n * side.bit_length()  # log2(side) butterflies and the scale

    def plan(self, n: int = 1) -> Plan:
        reason = "log2(N) passes of additions; no matrix is read"
        return Plan("native", "fast Walsh-Hadamard transform", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        y = array_fwht(x, 0, "none", self.structure.order, False, None)
        y *= to_numpy(self.factors["scale"]).astype(y.dtype)
        return y

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        return self.factors["scale"].to(x.dtype) * fwht(x, axis=0, order=self.structure.order)


@dataclass(frozen=True)
class Hadamard(Structure):
    r"""Multiples ``c H`` of the Walsh-Hadamard matrix ``H[k, m] = (-1)^<m, k>``, rows in one of three orders.

    ``c = tr(W M H^T) / tr(H M H^T)`` in the metric ``M``; without one, the mean of ``W[k, m] H[k, m]``.

    Parameters
    ----------
    order : {"natural", "dyadic", "sequency"}
        Order of the rows, as in :func:`gossamer.linalg.fwht`.

    Notes
    -----
    ``project`` is exactly nearest in every metric; it takes squares of side a power of two. O(N^2), a product
    O(N log N) a column. ``Hadamard() @ Diagonal()`` is the family of randomised Hadamard transforms.
    """

    order: str = "natural"
    kind: ClassVar[str] = "hadamard"
    matrix: ClassVar[type[StructuredMatrix]] = HadamardMatrix

    def __post_init__(self) -> None:
        check_choice("order", self.order, ORDERS)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> HadamardMatrix:
        if W.shape[0] != W.shape[1] or W.shape[0] & (W.shape[0] - 1):
            raise ShapeError(f"W has shape {W.shape}: expected a square of side a power of two")
        H = signs(W.shape[0], self.order)
        size = float((metric_product(H, metric) * H).sum(dtype=np.float64))
        scale = float((metric_product(W, metric) * H).sum(dtype=np.float64)) / size if size > 0 else 0.0
        return HadamardMatrix(self, W.shape, {"scale": np.array([scale], W.dtype)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 / (shape[0] * shape[1])
