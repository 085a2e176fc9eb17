"""Diagonal plus low rank: matrices whose resolvent costs no more than a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, is_torch, namespace, to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.gradient import descend
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

PARTS = ("diagonal", "left", "right")
DTYPES = ("float32", "float64", "complex64", "complex128")


class DPLRMatrix(StructuredMatrix):
    """``diag(diagonal) + left @ right``: factors (n,), (n, r) and (r, n) of one dtype.

    A complex member adds the imaginary parts ``diagonal_imag`` and so on.
    """

    structure: DPLR

    @classmethod
    def of(cls, diagonal: Array, left: Array, right: Array) -> DPLRMatrix:
        """The matrix with these factors, real or complex, of one kind and dtype.

        The state matrix of S4, ``diag(Lambda) - p p^H``, is ``of(Lambda, -p[:, None], p.conj()[None])``.
        """
        n, parts = len(diagonal), dict(zip(PARTS, (diagonal, left, right), strict=True))
        dtype = str(diagonal.dtype).removeprefix("torch.")
        if dtype.startswith("complex"):
            parts = {k: f.real for k, f in parts.items()} | {f"{k}_imag": f.imag for k, f in parts.items()}
            return cls(DPLR(left.shape[1], dtype), (n, n), parts)
        return cls(DPLR(left.shape[1]), (n, n), parts)

    @property
    def factor_names(self) -> tuple[str, ...]:
        return (*PARTS, *(f"{name}_imag" for name in PARTS)) if self.structure.is_complex else PARTS

    def _check(self) -> None:
        n, columns = self.shape
        if n != columns:
            raise ShapeError(f"a diagonal plus low-rank matrix is square: got shape {self.shape}")
        kinds = {str(factor.dtype).removeprefix("torch.") for factor in self.factors.values()}
        wanted = self.structure.dtype or "float32 or float64"
        allowed = {"complex64": ("float32",), "complex128": ("float64",), "float32 or float64": DTYPES[:2]}
        if len(kinds) > 1 or not kinds <= set(allowed.get(wanted, (wanted,))):
            raise FormatError(f"factors are {', '.join(sorted(kinds))}: expected one dtype, {wanted}")
        rank = self.factors["left"].shape[-1]
        shapes = {"diagonal": (n,), "left": (n, rank), "right": (rank, n)}
        for name, factor in self.factors.items():
            if tuple(factor.shape) != shapes[name.removesuffix("_imag")] or rank > self.structure.rank:
                raise FormatError(
                    f"{name} has shape {tuple(factor.shape)}: expected {shapes[name.removesuffix('_imag')]}, "
                    f"the rank at most {self.structure.rank}"
                )

    @property
    def is_complex(self) -> bool:
        return self.structure.is_complex

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(super().dtype, np.complex64) if self.is_complex else super().dtype

    def parts(self) -> list[Array]:
        """The three factors, complex ones joined, in the order diagonal, left, right."""
        f = self.factors
        if not self.is_complex:
            return [f[name] for name in PARTS]
        if is_torch(f["left"]):
            import torch

            return [torch.complex(f[name], f[f"{name}_imag"]) for name in PARTS]
        return [f[name] + 1j * f[f"{name}_imag"] for name in PARTS]

    def conj(self) -> StructuredMatrix:
        if not self.is_complex:
            return self
        return self._with({k: -f if k.endswith("_imag") else f for k, f in self.factors.items()})

    def _transposed(self) -> DPLRMatrix:
        swapped = {"left": "right", "right": "left"}
        factors = {}
        for name in self.factors:
            part, _, tail = name.partition("_")
            factor = self.factors[f"{swapped.get(part, part)}{_}{tail}"]
            factors[name] = factor if part == "diagonal" else factor.T
        return DPLRMatrix(self.structure, self.shape, factors)

    def resolvent(self, s: Any, x: Array) -> Array:
        r"""``(s I - A)^{-1} x`` for one or many s, by Woodbury's identity with :math:`R = (s I - D)^{-1}`:

        :math:`(s I - A)^{-1} x = R x + R U (I - V R U)^{-1} V R x`. O(n r^2 + r^3) for each s.

        Parameters
        ----------
        s : number, or array of shape (m,)
            Not an eigenvalue of A, nor an entry of its diagonal.
        x : array, shape (n,)
            Of the kind of the factors.

        Returns
        -------
        array, shape (n,) or (m, n)
        """
        d, U, V = self.parts()
        if tuple(x.shape) != (len(d),):
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected ({len(d)},)")
        xp = namespace(d)
        points = xp.asarray(s)
        kind = xp.result_type(d, x, points) if points.ndim else (d[:1] * x[:1] * s).dtype
        d, U, V, x = (xp.astype(part, kind, copy=False) for part in (d, U, V, x))
        R = 1 / (xp.astype(points.reshape(-1, 1), kind) - d)
        Rx, RU = R * x, R[:, :, None] * U
        small = xp.eye(U.shape[1], dtype=kind) - V @ RU
        y = Rx + (RU @ xp.linalg.solve(small, (Rx @ V.T)[:, :, None]))[:, :, 0]
        return y if points.ndim else y[0]

    def solve(self, b: Array) -> Array:
        """``A^{-1} b`` for b of shape (n,): the resolvent at 0. The diagonal may not hold zeros."""
        return -self.resolvent(0.0, b)

    def inverse(self) -> DPLRMatrix:
        """The inverse, which is of the family too: O(n r^2). The diagonal may not hold zeros."""
        d, U, V = self.parts()
        xp = namespace(d)
        DU, VD = U / d[:, None], V / d
        small = xp.eye(U.shape[1], dtype=d.dtype) + V @ DU
        return DPLRMatrix.of(1 / d, -DU @ xp.linalg.inv(small), VD)

    def _dense(self) -> Array:
        d, U, V = self.parts()
        xp = namespace(d)
        return xp.eye(len(d), dtype=d.dtype) * d + U @ V

    def flops(self, n: int = 1) -> int:
        side, rank = self.shape[0], self.factors["left"].shape[1]
        return (4 if self.is_complex else 1) * (2 * side + 4 * side * rank) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "rows scaled, and two thin products"
        return Plan("structured", "scale rows, two gemms", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        d, U, V = (to_numpy(part).astype(x.dtype, copy=False) for part in self.parts())
        return d[:, None] * x + U @ (V @ x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._transposed()._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        d, U, V = (part.to(x.dtype) for part in self.parts())
        return d[:, None] * x + U @ (V @ x)


@dataclass(frozen=True)
class DPLR(Structure):
    r"""Square matrices :math:`\mathrm{diag}(d) + U V` with thin U and V: the state matrices of S4.

    Products, solutions and the resolvent take O(n r); inverses and transposes are of the family. HiPPO matrices are
    unitarily equivalent to members with complex factors (:func:`hippo_normal`). For products alone,
    ``Diagonal() + LowRank(r)`` is the same family as a sum.

    Parameters
    ----------
    rank : int
        Inner size of the factors; no more than n is stored.
    dtype : None or {"float32", "float64", "complex64", "complex128"}
        Storage of the factors. None keeps that of a real ``W``; complex matrices need a complex one.
    sweeps : int
        Most rounds of the alternation, and steps of descent in a metric.

    Notes
    -----
    ``project`` alternates between the best low-rank term and the best diagonal, each of which is exact, so that the
    error never rises; it is a local fit, as no closed form is known. Without a metric it is never worse than the
    nearest matrix of rank ``rank``. In a metric it is never worse than the Frobenius fit.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import DPLR, DPLRMatrix
    >>> A = DPLRMatrix.of(np.array([1.0, 2.0, 3.0]), np.ones((3, 1)), np.ones((1, 3)))
    >>> bool(np.allclose(A @ A.solve(np.arange(3.0)), np.arange(3.0)))
    True
    """

    rank: int
    dtype: str | None = None
    sweeps: int = 50
    kind: ClassVar[str] = "dplr"
    matrix: ClassVar[type[StructuredMatrix]] = DPLRMatrix

    def __post_init__(self) -> None:
        check_int("rank", self.rank, low=1)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        check_int("sweeps", self.sweeps, low=0)

    @property
    def is_complex(self) -> bool:
        """Whether members are complex."""
        return self.dtype in ("complex64", "complex128")

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> DPLRMatrix:
        if W.shape[0] != W.shape[1]:
            raise ShapeError(
                f"W has shape {W.shape}: expected a square matrix for a diagonal plus low-rank one"
            )
        return descend(lambda target: self._frobenius(target, W.dtype), W, metric, self.sweeps)

    def _frobenius(self, W: np.ndarray, stored: np.dtype) -> DPLRMatrix:
        wide = W.astype(np.complex128 if self.is_complex else np.float64)
        diagonal, error = np.zeros(len(wide), wide.dtype), np.inf
        for _ in range(self.sweeps + 1):
            U, s, V = scipy.linalg.svd(wide - np.diag(diagonal), full_matrices=False)
            root = np.sqrt(s[: self.rank])
            left, right = U[:, : self.rank] * root, root[:, None] * V[: self.rank]
            rest = wide - left @ right
            diagonal = np.diagonal(rest).copy()
            new_error = weighted_error(rest, np.diag(diagonal))
            if not new_error < error * (1 - 1e-12):
                break
            error = new_error
        return self._member((diagonal, left, right), W.shape, stored)

    def _member(self, parts: tuple[np.ndarray, ...], shape: tuple[int, ...], stored: np.dtype) -> DPLRMatrix:
        kind = {"complex64": "float32", "complex128": "float64"}.get(self.dtype or "", self.dtype or stored)
        factors = {k: np.ascontiguousarray(f.real, kind) for k, f in zip(PARTS, parts, strict=True)}
        if self.is_complex:
            named = zip(PARTS, parts, strict=True)
            factors |= {f"{k}_imag": np.ascontiguousarray(f.imag, kind) for k, f in named}
        return DPLRMatrix(self, (shape[0], shape[1]), factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        bits = {"float64": 64, "complex64": 64, "complex128": 128}.get(self.dtype or "float32", 32)
        return bits * (1 + 2 * min(self.rank, shape[0])) / shape[0]


__all__ = ["DPLR", "DPLRMatrix"]
