"""Kronecker products of structured matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import UnsupportedError
from gossamer.linalg.arithmetic.compound import CompoundMatrix, check_parts
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.kronecker import left_target, nearest_kronecker, right_target
from gossamer.linalg.operator import Structure, StructuredMatrix
from gossamer.linalg.structures.kronecker import (
    Kronecker,
    KroneckerMatrix,
    check_shape,
    kron_dense,
    kron_matmat,
)


def kron(A: Any, B: Any) -> StructuredMatrix:
    """The Kronecker product ``A kron B`` of two arrays, or of two structured matrices, without forming it.

    Equivalent to ``numpy.kron(A, B)`` and ``scipy.sparse.linalg.kron``; ``(A kron B) @ x`` costs products with
    ``A`` and ``B`` only.

    Parameters
    ----------
    A, B : arrays or tensors, shape (a, b) and (c, d), or StructuredMatrix
        The factors; both arrays or both structured.

    Returns
    -------
    StructuredMatrix
        Of shape (a c, b d): a :class:`KroneckerMatrix`, or a :class:`KroneckerProductMatrix` of structured ones.

    Raises
    ------
    UnsupportedError
        If one factor is structured and the other is not.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import DiagonalMatrix, kron
    >>> kron(DiagonalMatrix.of(np.array([1.0, 2])), DiagonalMatrix.of(np.array([3.0, 4]))) @ np.ones(4)
    array([3., 4., 6., 8.])
    """
    if isinstance(A, StructuredMatrix) and isinstance(B, StructuredMatrix):
        return KroneckerProductMatrix.of(A, B)
    if isinstance(A, StructuredMatrix) or isinstance(B, StructuredMatrix):
        raise UnsupportedError(
            "kron: one factor is structured and one is not; project the other, e.g. on Dense()"
        )
    return KroneckerMatrix.of(check_array("A", A, ndim=2), check_array("B", B, ndim=2))


class KroneckerProductMatrix(CompoundMatrix):
    """``A_0 kron A_1`` of structured matrices: their factors are prefixed ``0.`` and ``1.``."""

    @classmethod
    def of(cls, left: StructuredMatrix, right: StructuredMatrix) -> KroneckerProductMatrix:
        """The Kronecker product of two members."""
        structure = KroneckerProduct(left.structure, right.structure, left.shape, right.shape)
        shape = (left.shape[0] * right.shape[0], left.shape[1] * right.shape[1])
        return cls._from_parts(structure, shape, (left, right))

    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        Kronecker(structure.left_shape, structure.right_shape)._check_shape(shape)
        return [(structure.left, structure.left_shape), (structure.right, structure.right_shape)]

    @property
    def implied_tags(self) -> frozenset[str]:
        square = all(part.shape[0] == part.shape[1] for part in self.parts)
        return self.parts[0].tags & self.parts[1].tags if square else frozenset()

    def _transposed(self) -> StructuredMatrix:
        return KroneckerProductMatrix.of(self.parts[0].T, self.parts[1].T)

    def _dense(self) -> Array:
        left, right = self.parts
        return kron_dense(left._dense(), right._dense())

    def flops(self, n: int = 1) -> int:
        left, right = self.parts
        return right.flops(left.shape[1] * n) + left.flops(right.shape[0] * n)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        left, right = self.parts
        return kron_matmat(left._multiply, right._multiply, x, left.shape[1])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        left, right = self.parts
        return kron_matmat(left._multiply_transposed, right._multiply_transposed, y, left.shape[0])

    def _multiply_torch(self, x: Any) -> Any:
        from gossamer.linalg.autograd import product

        left, right = self.parts
        return kron_matmat(lambda z: product(left, z), lambda z: product(right, z), x, left.shape[1])


@dataclass(frozen=True)
class KroneckerProduct(Structure):
    r"""Kronecker products ``A kron B`` with ``A`` and ``B`` from families of their own.

    ``A`` is fitted with ``B`` fixed and the other way round; either fit is a projection of a least-squares target
    in a small metric.

    Parameters
    ----------
    left, right : Structure
        Families of ``A`` and ``B``.
    left_shape, right_shape : (int, int)
        Their shapes.
    sweeps : int
        Alternating passes.

    Notes
    -----
    In every metric the error never rises from pass to pass; the result is a local fit. For dense ``A`` and ``B`` use
    :class:`Kronecker`, which is exact without a metric.
    """

    left: Structure
    right: Structure
    left_shape: tuple[int, int]
    right_shape: tuple[int, int]
    sweeps: int = 20
    kind: ClassVar[str] = "kronecker-product"
    matrix: ClassVar[type[StructuredMatrix]] = KroneckerProductMatrix

    def __post_init__(self) -> None:
        check_parts("left, right", (self.left, self.right))
        for name in ("left_shape", "right_shape"):
            object.__setattr__(self, name, check_shape(name, getattr(self, name)))
        check_int("sweeps", self.sweeps, low=0)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> KroneckerProductMatrix:
        shapes = self.left_shape, self.right_shape
        Kronecker(*shapes)._check_shape(W.shape)
        wide = W.astype(np.float64)
        weight = None if metric is None else metric.astype(np.float64)
        starts = nearest_kronecker(W, *shapes)
        parts = [
            family._project(start.astype(W.dtype), None)
            for family, start in zip((self.left, self.right), starts, strict=True)
        ]
        dense = [to_numpy(part.to_dense()).astype(np.float64) for part in parts]
        best = weighted_error(wide, np.kron(*dense), weight)
        for _ in range(self.sweeps):
            before = best
            for i, (family, fit) in enumerate(((self.left, left_target), (self.right, right_target))):
                target, gram = fit(wide, dense[1 - i], weight, *shapes)
                part = family._project(target.astype(W.dtype), gram.astype(W.dtype))
                matrix = to_numpy(part.to_dense()).astype(np.float64)
                error = weighted_error(
                    wide, np.kron(*(matrix, dense[1]) if i == 0 else (dense[0], matrix)), weight
                )
                if error < best:
                    parts[i], dense[i], best = part, matrix, error
            if best >= before * (1 - 1e-6):
                break
        return KroneckerProductMatrix._from_parts(self, W.shape, parts)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        (a, b), (c, d) = self.left_shape, self.right_shape
        bits = self.left.bits_per_weight((a, b)) * a * b + self.right.bits_per_weight((c, d)) * c * d
        return bits / (shape[0] * shape[1])
