"""Products: a chain of cheap matrices in place of one large one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.arithmetic.compound import CompoundMatrix, check_parts
from gossamer.linalg.nearest.products import fit_product
from gossamer.linalg.operator import Structure, StructuredMatrix


class ProductMatrix(CompoundMatrix):
    """``A_0 A_1 ...``, applied from the right: factors of part ``i`` are prefixed ``i.``."""

    @classmethod
    def of(cls, *factors: StructuredMatrix) -> ProductMatrix:
        """Multiply members whose shapes chain; products among them are opened."""
        flat = [part for f in factors for part in (f.parts if isinstance(f, ProductMatrix) else (f,))]
        for left, right in pairwise(flat):
            if left.shape[1] != right.shape[0]:
                raise ShapeError(
                    f"factors have shapes {left.shape} and {right.shape}: expected them to chain"
                )
        inner = tuple(part.shape[0] for part in flat[1:])
        structure = Product(tuple(part.structure for part in flat), inner)
        return cls._from_parts(structure, (flat[0].shape[0], flat[-1].shape[1]), flat)

    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        return list(zip(structure.factors, structure.shapes(shape), strict=True))

    @property
    def implied_tags(self) -> frozenset[str]:
        return frozenset.intersection(*(part.tags for part in self.parts)) - {"symmetric", "psd"}

    def _transposed(self) -> StructuredMatrix:
        return ProductMatrix.of(*(part.T for part in reversed(self.parts)))

    def _dense(self) -> Array:
        result = self.parts[-1]._dense()
        for part in reversed(self.parts[:-1]):
            if is_torch(result):
                from gossamer.linalg.autograd import product

                result = product(part, result)
            else:
                result = part._multiply_by_parts(result.astype(self.dtype, copy=False))
        return result if is_torch(result) else result.astype(self.dtype, copy=False)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        for part in reversed(self.parts):
            x = part._multiply_by_parts(x)
        return x

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        for part in self.parts:
            y = part._multiply_by_parts(y, transposed=True)
        return y

    def _multiply_torch(self, x: Any) -> Any:
        from gossamer.linalg.autograd import product

        for part in reversed(self.parts):
            x = product(part, x)
        return x


@dataclass(frozen=True)
class Product(Structure):
    r"""Products ``A_0 A_1 ...`` of members of several families; written ``BlockDiagonal(4) @ Permutation()``.

    Each factor in turn is fitted with the others fixed: its least-squares target, or a step that is certain not to
    raise the error, is projected onto its family.

    Parameters
    ----------
    factors : tuple of Structure
        The families, the leftmost first.
    inner : tuple of int, optional
        The dimensions between the factors; by default all ``min(O, K)``.
    sweeps : int
        Passes over the factors.

    Notes
    -----
    The error in the metric never rises from pass to pass, and never exceeds that of the best start; the result is a
    local fit, since the nearest product is in general NP-hard to find. Starts tried: one factor near ``W`` and the
    others near the identity, and for two factors the halves of the singular value decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import Diagonal, Permutation
    >>> A = (Diagonal() @ Permutation()).project([[0, 2.0], [3, 0]])
    >>> A.parts[0].factors["diagonal"]
    array([2., 3.])
    """

    factors: tuple[Structure, ...]
    inner: tuple[int, ...] = ()
    sweeps: int = 20
    kind: ClassVar[str] = "product"
    matrix: ClassVar[type[StructuredMatrix]] = ProductMatrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", check_parts("factors", self.factors))
        inner = tuple(self.inner) if isinstance(self.inner, (list, tuple)) else (self.inner,)
        object.__setattr__(self, "inner", tuple(check_int("inner", size, low=1) for size in inner))
        if self.inner and len(self.inner) != len(self.factors) - 1:
            raise ArgumentError(
                f"inner={self.inner}: expected {len(self.factors) - 1} sizes between the factors"
            )
        check_int("sweeps", self.sweeps, low=0)

    @classmethod
    def of(cls, *factors: Structure) -> Product:
        """Multiply families; products of unstated inner sizes are opened."""
        flat = [
            part for f in factors for part in (f.factors if isinstance(f, Product) and not f.inner else (f,))
        ]
        return cls(tuple(flat), sweeps=max([f.sweeps for f in factors if isinstance(f, Product)], default=20))

    def shapes(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Shapes of the factors of an (O, K) product."""
        inner = self.inner or (min(shape),) * (len(self.factors) - 1)
        return list(pairwise((shape[0], *inner, shape[1])))

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> ProductMatrix:
        parts = fit_product(self.factors, self.shapes(W.shape), W, metric, self.sweeps)
        return ProductMatrix._from_parts(self, W.shape, parts)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        sizes = self.shapes(shape)
        bits = sum(
            f.bits_per_weight(size) * size[0] * size[1] for f, size in zip(self.factors, sizes, strict=True)
        )
        return bits / (shape[0] * shape[1])
