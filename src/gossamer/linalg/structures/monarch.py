"""Monarch: two block-diagonal factors with a fixed permutation between them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_bits, to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer._kernels import monarch
from gossamer.linalg.complex_factors import ComplexFactors, ComplexFactorsMatrix
from gossamer.linalg.nearest.monarch import MonarchSizes, nearest_monarch
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan

DTYPES = ("float32", "float64", "bfloat16", "complex64", "complex128")


class MonarchMixingWarning(UserWarning):
    """Fewer channels leave a block than there are blocks to reach: some inputs never meet some outputs."""


class MonarchMatrix(ComplexFactorsMatrix):
    r"""``y = P w2 P w1 x``: factors ``w1`` (k, q, p) and ``w2`` (l, s, r), with ``l r = k q``.

    Input ``kappa p + pi``, channel ``t = kappa q + iota = rho l + lam``, output ``sigma l + lam``:
    ``h[kappa, iota] = sum_pi w1[kappa, iota, pi] x[kappa, pi]`` and
    ``y[sigma, lam] = sum_rho w2[lam, sigma, rho] h[rho, lam]``. Inputs short of k p count as zeros, outputs beyond the
    shape are cut. Factors are float32, float64 or bfloat16 (uint16 in NumPy); a complex member adds the imaginary
    parts ``w1_imag`` and ``w2_imag``, so that files and optimisers meet real numbers only.
    """

    structure: Monarch
    parts = ("w1", "w2")

    @classmethod
    def of(cls, w1: Array, w2: Array, shape: tuple[int, int] | None = None) -> MonarchMatrix:
        """The matrix with these factors.

        Parameters
        ----------
        w1, w2 : arrays or tensors, shape (k, q, p) and (l, s, r)
            Of one dtype: float32, float64, or complex.
        shape : (int, int), optional
            ``(l s, k p)`` by default; smaller where the last rows or columns are padding.
        """
        if w1.ndim != 3 or w2.ndim != 3:
            raise ShapeError(
                f"w1 has shape {tuple(w1.shape)}, w2 {tuple(w2.shape)}: expected (k, q, p) and (l, s, r)"
            )
        (k, q, p), (l, s, r) = w1.shape, w2.shape
        if l * r != k * q:
            raise ShapeError(f"w2 takes l r = {l} * {r} channels: expected k q = {k} * {q} to fit w1")
        name = str(w1.dtype).removeprefix("torch.")
        structure = Monarch(k if k == l else (k, l), width=q, dtype=name if "complex" in name else None)
        factors = {"w1": w1, "w2": w2}
        if structure.is_complex:
            factors = {"w1": w1.real, "w2": w2.real, "w1_imag": w1.imag, "w2_imag": w2.imag}
            if not is_torch(w1):
                factors = {key: np.ascontiguousarray(factor) for key, factor in factors.items()}
        return cls(structure, shape or (l * s, k * p), factors)

    @property
    def sizes(self) -> MonarchSizes:
        """Sizes k, q, p, l, s, r of the factors."""
        return self.structure.sizes(self.shape)

    def _check(self) -> None:
        sizes = self.structure.sizes(self.shape)
        expected = {"w1": (sizes.k, sizes.q, sizes.p), "w2": (sizes.l, sizes.s, sizes.r)}
        self._check_kinds()
        for name, factor in self.factors.items():
            wanted = expected[name.removesuffix("_imag")]
            if tuple(factor.shape) != wanted:
                raise FormatError(f"{name} has shape {tuple(factor.shape)}: expected {wanted}")

    def _dense(self) -> Array:
        w1, w2 = self.joined()
        k, q, p, *_ = self.sizes
        spread = _zeros(w1, (k, q, k, p))
        for kappa in range(k):
            spread[kappa, :, kappa] = w1[kappa]
        return _second(w2, spread.reshape(k * q, k * p)[:, : self.shape[1]])[: self.shape[0]]

    def flops(self, n: int = 1) -> int:
        k, q, p, l, s, r = self.sizes
        return (8 if self.is_complex else 2) * (k * q * p + l * s * r) * n

    def plan(self, n: int = 1) -> Plan:
        if self.is_complex:
            return Plan("structured", "two batched gemms", "the kernel is real", self.flops(n), self.nbytes)
        pays = self.flops() <= 1.7 * self.shape[0] * self.shape[1]
        return native_plan(
            self, "monarch.multiply", "both factors once, and keeps what lies between", n, pays=pays
        )

    def _numbers(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        w1, w2 = self.joined()
        return to_numpy(w1).astype(dtype, copy=False), to_numpy(w2).astype(dtype, copy=False)

    def _native(self, dtype: np.dtype) -> tuple[np.ndarray, ...]:
        if self.structure.dtype == "bfloat16":
            return to_bits(self.factors["w1"]), to_bits(self.factors["w2"])
        return self._numbers(dtype)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        if not self.is_complex:
            return monarch.multiply(monarch.monarch(tuple(self.sizes), self.shape), self._native(x.dtype), x)
        w1, w2 = self._numbers(x.dtype)
        return _second(w2, _first(w1, _padded(x, len(w1) * w1.shape[2])))[: self.shape[0]]

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        if not self.is_complex:
            chain = monarch.monarch_transposed(tuple(self.sizes), self.shape)
            return monarch.multiply(chain, self._native(y.dtype)[::-1], y)
        return _transposed(*self._numbers(y.dtype), y)[: self.shape[1]]

    def _multiply_torch(self, x: Any) -> Any:
        from gossamer.linalg.monarch_autograd import monarch_product

        w1, w2 = (w.to(x.dtype) for w in self.joined())
        return monarch_product(w1, w2, x, self.sizes, self.shape)


def _first(w1: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Channels (k q, N) of inputs (k p, N)."""
    k, q, p = w1.shape
    return (w1 @ x.reshape(k, p, x.shape[1])).reshape(k * q, x.shape[1])


def _second(w2: Array, h: Array) -> Array:
    """Outputs (l s, N) of channels (l r, N)."""
    l, s, r = w2.shape
    y = w2 @ h.reshape(r, l, h.shape[1]).swapaxes(0, 1)
    return y.swapaxes(0, 1).reshape(s * l, h.shape[1])


def _transposed(w1: np.ndarray, w2: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inputs (k p, N) of the transposed product, from outputs (O, N)."""
    (k, q, p), (l, s, _) = w1.shape, w2.shape
    n = y.shape[1]
    h = w2.swapaxes(1, 2) @ _padded(y, l * s).reshape(s, l, n).swapaxes(0, 1)
    return (w1.swapaxes(1, 2) @ h.swapaxes(0, 1).reshape(k, q, n)).reshape(k * p, n)


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    missing = rows - x.shape[0]
    return np.pad(x, ((0, missing), (0, 0))) if missing else x


def _zeros(like: Array, shape: tuple[int, ...]) -> Array:
    return like.new_zeros(shape) if is_torch(like) else np.zeros(shape, like.dtype)


@dataclass(frozen=True)
class Monarch(ComplexFactors):
    r"""Products ``P L P R`` of two block-diagonal matrices and the permutation that deals channels to blocks.

    With k blocks of ``w1`` on the input side and l blocks of ``w2`` on the output side, for square factors

    .. math:: M_{(\sigma, \lambda), (\kappa, \pi)} = w_2[\lambda, \sigma, \kappa]\, w_1[\kappa, \lambda, \pi]:

    every slice with fixed :math:`\kappa, \lambda` has rank one, which characterises the class. It holds the discrete
    Fourier transform (after a permutation) and the Hadamard transform exactly, and runs as two batches of dense
    products. More channels give slices of higher rank, up to the dense matrix. Four blocks suit layers of networks;
    more save more operations per entry and reach a smaller fraction of the processor's peak.

    Parameters
    ----------
    nblocks : int or (int, int)
        Blocks of both factors, or ``(k, l)``. Sides that they do not divide are padded with zeros.
    rank : int, optional
        Rank of every slice: ``q = l rank``. A slice that is smaller holds less.
    width : int, optional
        Channels q that leave an input block, in place of ``rank``. By default as many as the smaller side of the
        blocks, which for ``k = l = sqrt(n)`` is rank one, and for few blocks q / l.
    dtype : None or {"float32", "float64", "bfloat16", "complex64", "complex128"}
        Storage of the factors. None keeps that of a real ``W``; complex matrices need a complex one.
    sweeps : int
        Passes over the blocks of columns in a full metric.

    Notes
    -----
    ``project`` is exactly nearest without a metric, in a diagonal one, and in a full one that couples no two input
    blocks, for all sizes; O(O K min(O/l, K/k)). In other metrics every block of columns in turn is made nearest with
    the others fixed; the error never rises, and is no larger than that of the Frobenius fit. Bfloat16 storage rounds
    the nearest member. Fewer channels than output blocks (q < l) leave some inputs without a path to some outputs:
    :class:`MonarchMixingWarning`.

    Weight decay acts on the factors, not on their product: use half of that of the dense layer, or none.

    References
    ----------
    Dao et al., "Monarch: Expressive structured matrices for efficient and accurate training", ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.linalg
    >>> from gossamer.linalg import Monarch
    >>> H = scipy.linalg.hadamard(64).astype(float)
    >>> A = Monarch(8).project(H)
    >>> bool(np.allclose(A.to_dense(), H)), A.flops() / (2 * H.size)
    (True, 0.25)
    """

    nblocks: int | tuple[int, int] = 4
    rank: int | None = None
    width: int | None = None
    dtype: str | None = None
    sweeps: int = 10
    kind: ClassVar[str] = "monarch"
    matrix: ClassVar[type[StructuredMatrix]] = MonarchMatrix

    def __post_init__(self) -> None:
        if isinstance(self.nblocks, (list, tuple)):
            if len(self.nblocks) != 2:
                raise ArgumentError(f"nblocks={self.nblocks!r}: expected an integer or a pair (k, l)")
            object.__setattr__(self, "nblocks", tuple(check_int("nblocks", b, low=1) for b in self.nblocks))
        else:
            object.__setattr__(self, "nblocks", check_int("nblocks", self.nblocks, low=1))
        if self.rank is not None and self.width is not None:
            raise ArgumentError(f"rank={self.rank} and width={self.width}: expected one of them at most")
        for name in ("rank", "width"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), low=1)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        check_int("sweeps", self.sweeps, low=0)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset() if self.dtype == "bfloat16" else frozenset({"none", "diagonal"})

    def sizes(self, shape: tuple[int, int]) -> MonarchSizes:
        """Sizes k, q, p, l, s, r of the factors of an (O, K) member.

        Raises
        ------
        ShapeError
            If a side has fewer entries than blocks, or ``k width`` is not a multiple of l.
        """
        k, l = self.nblocks if isinstance(self.nblocks, tuple) else (self.nblocks, self.nblocks)
        for side, size, blocks in (("rows", shape[0], l), ("columns", shape[1], k)):
            if size < blocks:
                raise ShapeError(f"nblocks={self.nblocks}: {size} {side} do not fill {blocks} blocks; "
                                 f"expected at most {size}")  # fmt: skip
        p, s = -(-shape[1] // k), -(-shape[0] // l)
        unit = l // math.gcd(k, l)
        if self.rank is not None:
            q = l * min(self.rank, s, p)
        else:
            q = self.width or max(min(p, s * l // k) // unit, 1) * unit
        if k * q % l:
            raise ShapeError(f"width={q}: expected a multiple of {unit}, so that {l} blocks share {k} * {q} channels;"
                             f" nearest valid: {max(round(q / unit), 1) * unit}")  # fmt: skip
        return MonarchSizes(k, q, p, l, s, k * q // l)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> MonarchMatrix:
        sizes = self.sizes(W.shape)
        if sizes.q < sizes.l:
            warnings.warn(
                f"{sizes.q} channels leave a block and there are {sizes.l} to reach: fewer blocks would mix all",
                MonarchMixingWarning,
                stacklevel=4,
            )
        w1, w2 = nearest_monarch(W, sizes, metric, self.sweeps)
        factors = self._stored({"w1": w1, "w2": w2}, W.dtype)
        return MonarchMatrix(self, W.shape, factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        k, q, p, l, s, r = self.sizes(shape)
        return self.bits_per_number * (k * q * p + l * s * r) / (shape[0] * shape[1])


__all__ = ["Monarch", "MonarchMatrix", "MonarchMixingWarning"]
