"""Kronecker products of two dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.kronecker import left_target, nearest_kronecker, right_target
from gossamer.linalg.nearest.sweeps import while_falling
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


def kron_matmat(
    left: Callable[[Array], Array], right: Callable[[Array], Array], x: Array, split: int
) -> Array:
    """``(A kron B) x`` from the products ``left`` with ``A`` and ``right`` with ``B``; A has ``split`` columns.

    O(n) products with the small matrices in place of one with the large one: ``vec(B X A^T)``.
    """
    inner, n = x.shape[0] // split, x.shape[1]
    swap = (1, 0, 2)
    wide = _transpose(x.reshape(split, inner, n), swap).reshape(inner, split * n)
    half = right(wide)
    rows = half.shape[0]
    tall = _transpose(half.reshape(rows, split, n), swap).reshape(split, rows * n)
    whole = left(tall)
    return whole.reshape(whole.shape[0] * rows, n)


def kron_dense(left: Array, right: Array) -> Array:
    """``A kron B`` as one array or tensor; ``torch.kron`` refuses some transposed views."""
    blocks = left[:, None, :, None] * right[None, :, None, :]
    return blocks.reshape(left.shape[0] * right.shape[0], left.shape[1] * right.shape[1])


def _transpose(x: Array, axes: tuple[int, ...]) -> Array:
    return x.permute(axes) if is_torch(x) else x.transpose(axes)


class KroneckerMatrix(StructuredMatrix):
    """``left kron right``: two dense factors, float32 or float64."""

    structure: Kronecker
    factor_names = ("left", "right")

    @classmethod
    def of(cls, left: Array, right: Array) -> KroneckerMatrix:
        """The Kronecker product of two arrays or tensors."""
        shapes = tuple(left.shape), tuple(right.shape)
        if len(shapes[0]) != 2 or len(shapes[1]) != 2:
            raise ShapeError(f"factors have shapes {shapes[0]} and {shapes[1]}: expected matrices")
        shape = (shapes[0][0] * shapes[1][0], shapes[0][1] * shapes[1][1])
        return cls(Kronecker(*shapes), shape, {"left": left, "right": right})

    def _check(self) -> None:
        self.structure._check_shape(self.shape)
        for name, expected in (("left", self.structure.left_shape), ("right", self.structure.right_shape)):
            factor = self.factors[name]
            if tuple(factor.shape) != expected:
                raise FormatError(f"{name} has shape {tuple(factor.shape)}: expected {expected}")
            if str(factor.dtype).removeprefix("torch.") not in ("float32", "float64"):
                raise FormatError(f"{name} is {factor.dtype}: expected float32 or float64")

    def _transposed(self) -> KroneckerMatrix:
        structure = Kronecker(self.structure.left_shape[::-1], self.structure.right_shape[::-1])
        return KroneckerMatrix(structure, self.shape[::-1], {name: f.T for name, f in self.factors.items()})

    def _dense(self) -> Array:
        return kron_dense(self.factors["left"], self.factors["right"])

    def flops(self, n: int = 1) -> int:
        (a, b), (c, d) = self.structure.left_shape, self.structure.right_shape
        return 2 * n * (c * d * b + a * b * c)

    def plan(self, n: int = 1) -> Plan:
        return Plan("structured", "two gemms", "vec(B X A^T)", self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        left, right = (to_numpy(f).astype(x.dtype, copy=False) for f in self.factors.values())
        return kron_matmat(left.__matmul__, right.__matmul__, x, left.shape[1])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        left, right = (to_numpy(f).astype(y.dtype, copy=False).T for f in self.factors.values())
        return kron_matmat(left.__matmul__, right.__matmul__, y, left.shape[1])

    def _multiply_torch(self, x: Any) -> Any:
        left, right = (f.to(x.dtype) for f in self.factors.values())
        return kron_matmat(left.__matmul__, right.__matmul__, x, left.shape[1])


@dataclass(frozen=True)
class Kronecker(Structure):
    r"""Kronecker products ``A kron B`` of dense matrices of given shapes.

    Parameters
    ----------
    left_shape, right_shape : (int, int)
        Shapes of ``A`` and ``B``; their products are the shape of the matrix.
    sweeps : int
        Alternating least-squares passes when there is a metric.

    Notes
    -----
    Without a metric ``project`` is exactly nearest (Van Loan and Pitsianis). In a metric it starts there and
    alternates ``A`` and ``B``, each exactly nearest for the other one fixed: the error never rises, and ends at a
    point that neither factor alone improves; it is no worse than the Frobenius fit.

    References
    ----------
    Van Loan and Pitsianis, "Approximation with Kronecker products", 1993.
    """

    left_shape: tuple[int, int]
    right_shape: tuple[int, int]
    sweeps: int = 20
    kind: ClassVar[str] = "kronecker"
    matrix: ClassVar[type[StructuredMatrix]] = KroneckerMatrix

    def __post_init__(self) -> None:
        for name in ("left_shape", "right_shape"):
            object.__setattr__(self, name, check_shape(name, getattr(self, name)))
        check_int("sweeps", self.sweeps, low=0)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none"})

    def _check_shape(self, shape: tuple[int, int]) -> None:
        expected = tuple(a * b for a, b in zip(self.left_shape, self.right_shape, strict=True))
        if tuple(shape) != expected:
            raise ShapeError(
                f"shape {tuple(shape)} is not {self.left_shape} times {self.right_shape} = {expected}"
            )

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> KroneckerMatrix:
        self._check_shape(W.shape)
        shapes = self.left_shape, self.right_shape
        A, B = nearest_kronecker(W, *shapes)
        if metric is not None:
            wide, weight = W.astype(np.float64), metric.astype(np.float64)

            def sweep(factors: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
                left, _ = left_target(wide, factors[1], weight, *shapes)
                return left, right_target(wide, left, weight, *shapes)[0]

            A, B = while_falling(
                sweep, (A, B), lambda pair: weighted_error(wide, np.kron(*pair), weight), self.sweeps
            )
        return KroneckerMatrix(self, W.shape, {"left": A.astype(W.dtype), "right": B.astype(W.dtype)})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        (a, b), (c, d) = self.left_shape, self.right_shape
        return 32 * (a * b + c * d) / (shape[0] * shape[1])


def check_shape(name: str, value: Any) -> tuple[int, int]:
    """Return ``value`` as a pair of positive integers."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(f"{name}={value!r}: expected a pair of integers")
    return check_int(name, value[0], low=1), check_int(name, value[1], low=1)
