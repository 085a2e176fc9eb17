"""Multiples: a member times a number, which may be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy, widen
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg.arithmetic.compound import CompoundMatrix, check_parts
from gossamer.linalg.metric import metric_product, weighted_error
from gossamer.linalg.operator import Structure, StructuredMatrix


class ScaledMatrix(CompoundMatrix):
    """``scale * A_0``: the factors of ``A_0``, prefixed ``0.``, and ``scale`` (1,)."""

    own_factors = ("scale",)

    @classmethod
    def of(cls, A: StructuredMatrix, scalar: Any) -> ScaledMatrix:
        """Multiply a member by a number; multiples among multiples are merged."""
        value = check_array("scalar", scalar, ndim=(0, 1), finite=False)
        if tuple(value.shape) not in ((), (1,)):
            raise ShapeError(f"scalar has shape {tuple(value.shape)}: expected one number")
        if is_torch(value) or A.is_torch:
            A = A.torch()
            import torch

            dtype = torch.float64 if A.dtype in (np.float64, np.complex128) else torch.float32
            scale = (value if is_torch(value) else torch.as_tensor(value)).to(dtype).reshape(1)
        else:
            scale = value.astype(np.empty(0, A.dtype).real.dtype).reshape(1)
        if isinstance(A, ScaledMatrix):
            scale, A = A.factors["scale"] * scale, A.parts[0]
        return cls._from_parts(Scaled(A.structure), A.shape, (A,), {"scale": scale})

    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        return [(structure.base, shape)]

    def _check(self) -> None:
        scale = self.factors["scale"]
        if tuple(scale.shape) != (1,) or not str(scale.dtype).removeprefix("torch.").startswith("float"):
            raise FormatError(
                f"scale has shape {tuple(scale.shape)} and dtype {scale.dtype}: expected one float"
            )

    @property
    def implied_tags(self) -> frozenset[str]:
        unsigned = {"psd"} if float(to_numpy(self.factors["scale"])[0]) < 0 else set()
        return self.parts[0].tags - {"orthogonal"} - unsigned

    def _transposed(self) -> StructuredMatrix:
        return ScaledMatrix.of(self.parts[0].T, self.factors["scale"])

    def _scale(self, y: Array) -> Array:
        if is_torch(y):
            return y * self.factors["scale"].to(y.dtype)
        return y * widen(to_numpy(self.factors["scale"])).astype(y.dtype)

    def _dense(self) -> Array:
        return self._scale(self.parts[0]._dense())

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return self._scale(self.parts[0]._multiply(x))

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._scale(self.parts[0]._multiply_transposed(y))

    def _multiply_torch(self, x: Any) -> Any:
        from gossamer.linalg.autograd import product

        return self._scale(product(self.parts[0], x))

    def flops(self, n: int = 1) -> int:
        return self.parts[0].flops(n) + self.shape[0] * n


@dataclass(frozen=True)
class Scaled(Structure):
    r"""Multiples of the members of a family: for families that are not closed under scaling, as permutations.

    ``base`` is fitted to ``W`` and to ``-W``; each fit gets its best multiple
    ``<W, A>_H / <A, A>_H``, and the better one is kept.

    Parameters
    ----------
    base : Structure
        The family.

    Notes
    -----
    Exactly nearest when all members of ``base`` have the same norm in the metric and ``base`` projects exactly, as
    permutations do; never worse than ``base`` itself otherwise.
    """

    base: Structure
    kind: ClassVar[str] = "scaled"
    matrix: ClassVar[type[StructuredMatrix]] = ScaledMatrix

    def __post_init__(self) -> None:
        check_parts("base", (self.base,))

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> ScaledMatrix:
        weighted = metric_product(W, metric)
        best: ScaledMatrix | None = None
        least = np.inf
        for sign in (1, -1):
            part = self.base._project(sign * W, metric)
            dense = to_numpy(part.to_dense()).astype(np.float64)
            size = float((metric_product(dense, metric) * dense).sum())
            multiple = float((weighted * dense).sum()) / size if size > 0 else 0.0
            scale = np.array([multiple], dtype=part.dtype)
            error = weighted_error(W, scale[0] * dense, metric)
            if error < least:
                least, best = error, ScaledMatrix._from_parts(self, W.shape, (part,), {"scale": scale})
        if best is None:
            raise ArgumentError("W is too large: its squared error overflows float64")
        return best

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return self.base.bits_per_weight(shape) + 32 / (shape[0] * shape[1])
