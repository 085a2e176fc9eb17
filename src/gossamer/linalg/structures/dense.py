"""The dense family: every entry stored, in one of four floating-point types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_bits, to_numpy, widen
from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.structure import Structure, structure_from_config

_STORED = {
    "float32": (np.float32, 32),
    "float16": (np.float16, 16),
    "bfloat16": (np.uint16, 16),  # NumPy has no bfloat16: its bits
    "float64": (np.float64, 64),
}


class DenseMatrix(StructuredMatrix):
    """A dense matrix: factor ``weight`` (O, K) of the dtype of its family; half types multiply as float32."""

    structure: Dense
    factor_names = ("weight",)

    def _check(self) -> None:
        weight, dtype = self.factors["weight"], self.structure.dtype
        stored = f"torch.{dtype}" if is_torch(weight) else np.dtype(_STORED[dtype][0]).name
        if str(weight.dtype) != stored or tuple(weight.shape) != self.shape:
            raise FormatError(
                f"weight is {weight.dtype} of shape {tuple(weight.shape)}: "
                f"expected {stored} of shape {self.shape}"
            )

    def _dense(self) -> Array:
        return widen(self.factors["weight"])

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return to_numpy(self._dense()).astype(x.dtype, copy=False) @ x

    def flops(self, n: int = 1) -> int:
        return 2 * self.shape[0] * self.shape[1] * n

    def plan(self, n: int = 1) -> Plan:
        return Plan("dense", "blas", "every entry is stored", self.flops(n), self.nbytes)

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        return ("weight",) if self.structure.dtype == "bfloat16" else ()


@dataclass(frozen=True)
class Dense(Structure):
    r"""All matrices, with entries of one floating-point type.

    Parameters
    ----------
    dtype : {"float32", "float16", "bfloat16", "float64"}
        Type of the stored entries. bfloat16 is held as its bits in uint16 by NumPy, as bfloat16 by torch.

    Notes
    -----
    ``project`` rounds every entry to the nearest representable one (ties to even): exactly nearest in the
    Frobenius norm and in a diagonal metric. With a full metric it rounds as well; at these precisions there
    is nothing worth compensating.

    Raises
    ------
    ArgumentError
        From ``project``, if an entry exceeds the range of the type.
    """

    dtype: str = "float32"
    kind: ClassVar[str] = "dense"
    matrix: ClassVar[type[StructuredMatrix]] = DenseMatrix

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, _STORED)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> DenseMatrix:
        with np.errstate(over="ignore"):
            weight = to_bits(W) if self.dtype == "bfloat16" else W.astype(_STORED[self.dtype][0])
        if not np.isfinite(widen(weight)).all():
            raise ArgumentError(f"W has entries up to {np.abs(W).max():.3g}: too large for {self.dtype}")
        return DenseMatrix(self, W.shape, {"weight": np.ascontiguousarray(weight)})

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return float(_STORED[self.dtype][1])

    def quantized(self, bits: int = 4, group: int = 32, **options: Any) -> Structure:
        """The family of dense matrices on grids of ``bits`` bits: :class:`GroupQuant`."""
        return structure_from_config({"kind": "group-quant", "bits": bits, "group": group} | options)
