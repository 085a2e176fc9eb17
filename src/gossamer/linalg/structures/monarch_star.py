"""MM*: products ``M_1 M_2^H`` of two Monarch matrices, which hold convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import FormatError
from gossamer._kernels import monarch
from gossamer.linalg.complex_factors import ComplexFactors, ComplexFactorsMatrix
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.gradient import descend
from gossamer.linalg.nearest.monarch_star import refine, root, starts, to_tiles
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan

PARTS = ("left", "middle", "right")
DTYPES = ("float32", "float64", "complex64", "complex128")


class MonarchStarMatrix(ComplexFactorsMatrix):
    """``P L_1 P R P L_2 P`` with ``n = m^2``: the blocks ``left``, ``middle``, ``right`` are (m, m, m).

    ``P`` transposes an (m, m) array. A complex member adds the imaginary parts ``left_imag`` and so on.
    """

    structure: MonarchStar

    parts = PARTS

    def _check(self) -> None:
        m = root(self.shape)
        self._check_kinds()
        for name, factor in self.factors.items():
            if tuple(factor.shape) != (m, m, m):
                raise FormatError(f"{name} has shape {tuple(factor.shape)}: expected {(m, m, m)}")

    def _transposed(self) -> MonarchStarMatrix:
        swapped = {"left": "right", "right": "left", "middle": "middle"}
        factors = {}
        for name in self.factors:
            part, _, tail = name.partition("_")
            factors[name] = self.factors[f"{swapped[part]}{_}{tail}"].swapaxes(1, 2)
        return MonarchStarMatrix(self.structure, self.shape, factors)

    def _dense(self) -> Array:
        left, middle, right = self.joined()
        m = len(left)
        # entry ((a, i), (c, j)) is sum_b left[i, a, b] middle[b, i, j] right[j, b, c]
        joined = left[:, None] * _axes(middle, (1, 2, 0))[:, :, None]  # (i, j, a, b)
        return _axes(joined @ right, (2, 0, 3, 1)).reshape(m * m, m * m)

    def flops(self, n: int = 1) -> int:
        return (8 if self.is_complex else 2) * 3 * len(self.factors["left"]) ** 3 * n

    def plan(self, n: int = 1) -> Plan:
        if self.is_complex:
            return Plan("structured", "three batched gemms", "the kernel is real", self.flops(n), self.nbytes)
        pays = self.flops() <= 1.7 * self.shape[0] * self.shape[1]
        return native_plan(self, "monarch.multiply", "the three factors once", n, pays=pays)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if not self.is_complex:
            right_first = [to_numpy(part).astype(x.dtype, copy=False) for part in reversed(self.joined())]
            return monarch.multiply(monarch.monarch_star(len(right_first[0])), right_first, x)
        return _applied([to_numpy(part).astype(x.dtype, copy=False) for part in self.joined()], x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._transposed()._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        return _applied([part.to(x.dtype) for part in self.joined()], x)


def _applied(blocks: Sequence[Array], x: Array) -> Array:
    left, middle, right = blocks
    m, n = len(left), x.shape[1]
    h = right @ x.reshape(m, m, n).swapaxes(0, 1)
    h = middle @ h.swapaxes(0, 1)
    return (left @ h.swapaxes(0, 1)).swapaxes(0, 1).reshape(m * m, n)


def _axes(x: Array, order: tuple[int, ...]) -> Array:
    return x.permute(order) if is_torch(x) else x.transpose(order)


@dataclass(frozen=True)
class MonarchStar(ComplexFactors):
    r"""Products ``M_1 M_2^H`` of two square Monarch matrices, held as ``P L_1 P R P L_2 P``; the side is ``m^2``.

    The class holds every Monarch matrix, its transpose, and every circulant matrix (with complex factors); products of
    two members hold the discrete Fourier, cosine and sine transforms.

    Parameters
    ----------
    dtype : None or {"float32", "float64", "complex64", "complex128"}
        Storage of the factors. None keeps that of a real ``W``; complex matrices need a complex one.
    sweeps : int
        Passes of alternating least squares, and steps of descent in a metric.
    seed : int
        Of the random combination in the recovery.

    Notes
    -----
    ``project`` recovers members whose blocks are invertible (:func:`recover_mmstar`) up to rounding. Any other matrix
    is a local fit, never worse than the nearest Monarch matrix or the nearest transpose of one; no closed form is
    known. In a metric it is never worse than the Frobenius fit.

    References
    ----------
    Dao et al., "Monarch: Expressive structured matrices for efficient and accurate training", ICML 2022.
    """

    dtype: str | None = None
    sweeps: int = 50
    seed: int = 0
    kind: ClassVar[str] = "monarch-star"
    matrix: ClassVar[type[StructuredMatrix]] = MonarchStarMatrix

    def __post_init__(self) -> None:
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        check_int("sweeps", self.sweeps, low=0)
        check_int("seed", self.seed, low=0)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> MonarchStarMatrix:
        root(W.shape)
        return descend(lambda target: self._frobenius(target, W.dtype), W, metric, self.sweeps)

    def _frobenius(self, W: np.ndarray, stored: np.dtype) -> MonarchStarMatrix:
        wide = W.astype(np.complex128 if self.is_complex else np.float64)
        tiles = to_tiles(wide, root(W.shape))
        fits = [refine(tiles, *start, self.sweeps) for start in starts(wide, self.seed)]
        return min(
            (self._member(fit, W, stored) for fit in fits), key=lambda A: weighted_error(W, A.to_dense())
        )

    def _member(self, fit: tuple[np.ndarray, ...], W: np.ndarray, stored: np.dtype) -> MonarchStarMatrix:
        factors = self._stored(dict(zip(PARTS, fit, strict=True)), stored)
        return MonarchStarMatrix(self, W.shape, factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return self.bits_per_number * 3 / root(shape)


__all__ = ["MonarchStar", "MonarchStarMatrix"]
