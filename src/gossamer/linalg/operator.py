"""The second noun: a :class:`StructuredMatrix` is a member of a family, held by its named factors.

Factors are NumPy arrays or torch tensors. A member multiplies without becoming dense, and works wherever
SciPy accepts a ``LinearOperator``.
"""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import Array, bits_to_bfloat16, is_torch, to_bits, to_numpy, to_torch
from gossamer._core.checks import check_array
from gossamer._core.errors import FormatError, ShapeError
from gossamer.linalg.metric import check_metric, weighted_error
from gossamer.linalg.structure import Structure, structure_from_config
from gossamer.linalg.tags import close_tags


@dataclass(frozen=True)
class Plan:
    """What ``A @ x`` will run for ``n`` columns, and why.

    Attributes
    ----------
    route : {"native", "structured", "dense"}
        A compiled kernel, array operations on the factors, or a dense product.
    kernel : str
        Name of what runs.
    reason : str
        Why, in words.
    flops : int
        Floating-point operations.
    nbytes : int
        Bytes of the factors that are read.
    """

    route: str
    kernel: str
    reason: str
    flops: int
    nbytes: int


class StructuredMatrix(ABC):
    """A member of a family, held by its factors.

    Parameters
    ----------
    structure : Structure
        The family.
    shape : (int, int)
        Rows O and columns K.
    factors : mapping of str to array
        The family's named factors, all NumPy arrays or all torch tensors. They are checked, not copied.

    Notes
    -----
    Works wherever SciPy accepts a ``LinearOperator``. A member class supplies ``factor_names``,
    :meth:`_check`, :meth:`_dense`, :meth:`flops`, and a faster :meth:`_multiply` where it has one.
    """

    ndim = 2
    fuses_low_rank = False  # whether _multiply takes low_rank=, factors of a term that it adds row by row
    __array_ufunc__ = None  # so that numpy_array @ A comes to __rmatmul__

    def __init__(self, structure: Structure, shape: tuple[int, int], factors: Mapping[str, Array]) -> None:
        self.structure = structure
        self.shape = (int(shape[0]), int(shape[1]))
        self._declared: frozenset[str] = frozenset()
        if set(factors) != set(self.factor_names):
            raise FormatError(
                f"{type(self).__name__} has factors {sorted(factors)}: expected {sorted(self.factor_names)}"
            )
        self.factors = {name: factors[name] for name in self.factor_names}
        self._check()

    # What a member class supplies.

    @property
    @abstractmethod
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors: a class attribute, or a property where they depend on the structure."""

    @abstractmethod
    def _check(self) -> None:
        """Refuse factors with wrong dtypes, shapes or indices; kernels trust what passes."""

    @abstractmethod
    def _dense(self) -> Array:
        """The (O, K) array or tensor, by operations through which autograd flows."""

    @abstractmethod
    def flops(self, n: int = 1) -> int:
        """Floating-point operations of ``A @ x`` with ``n`` columns (a multiply-add counts two)."""

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        """``A @ x`` for a NumPy ``x`` of shape (K, N); factors may be tensors and are viewed as NumPy."""
        return to_numpy(self._dense()) @ x

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        """``A.T @ y`` for a NumPy ``y`` of shape (O, N)."""
        return to_numpy(self._dense()).T @ y

    def _multiply_torch(self, x: Any) -> Any:
        """``A @ x`` by torch operations, differentiable in factors and ``x``."""
        return self._dense().to(x.dtype) @ x

    def _add_product(self, y: np.ndarray, x: np.ndarray) -> None:
        """``y += A @ x`` in place: what a sum calls for all its terms but the first."""
        y += self._multiply(x)

    def _multiply_by_parts(self, x: np.ndarray, transposed: bool = False) -> np.ndarray:
        """``A @ x`` or ``A.T @ x`` where ``x`` may be complex though A is real: then one product for each part."""
        multiply = self._multiply_transposed if transposed else self._multiply
        if self.is_complex or not np.iscomplexobj(x):
            return multiply(x)
        return multiply(np.ascontiguousarray(x.real)) + 1j * multiply(np.ascontiguousarray(x.imag))

    def _transposed(self) -> StructuredMatrix:
        """The transpose; a family that is closed under transposition returns a member of its own."""
        from gossamer.linalg.arithmetic import TransposedMatrix

        return TransposedMatrix.of(self)

    def plan(self, n: int = 1) -> Plan:
        """Say what ``A @ x`` will run for ``n`` columns."""
        return Plan("dense", "blas", "the family has no kernel of its own", self.flops(n), self.nbytes)

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        """Factors that hold bfloat16: raw uint16 in NumPy (it lacks the type), ``torch.bfloat16`` in torch."""
        return ()

    @property
    def implied_tags(self) -> frozenset[str]:
        """Tags that every member with these parameters has."""
        return frozenset()

    # What every member has.

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the entries that the factors represent."""
        for factor in self.factors.values():
            name = str(factor.dtype).removeprefix("torch.")
            if name in ("float32", "float64"):
                return np.dtype(name)
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of all factors: what a file of this matrix holds besides its header."""
        return sum(int(factor.nbytes) for factor in self.factors.values())

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for each of the O x K entries."""
        return 8 * self.nbytes / max(self.shape[0] * self.shape[1], 1)

    @property
    def is_complex(self) -> bool:
        """Whether entries are complex; only such a matrix takes complex inputs."""
        return False

    @property
    def is_torch(self) -> bool:
        """Whether the factors are torch tensors."""
        return any(is_torch(factor) for factor in self.factors.values())

    @property
    def T(self) -> StructuredMatrix:
        """The transpose, sharing the factors."""
        return self if "symmetric" in self.tags else self._transposed()

    @property
    def H(self) -> StructuredMatrix:
        """The conjugate transpose, sharing the factors; the transpose of a real matrix."""
        return self.conj().T

    def conj(self) -> StructuredMatrix:
        """The complex conjugate; a real matrix is its own."""
        return self

    @property
    def tags(self) -> frozenset[str]:
        """Declared and implied properties, of :data:`gossamer.linalg.tags.TAGS`; solvers rely on them."""
        return self._declared | self.implied_tags

    def tagged(self, *tags: str) -> StructuredMatrix:
        """The same matrix with more tags, sharing factors; :func:`gossamer.linalg.check_tags` tests them."""
        twin = copy.copy(self)
        twin._declared = self._declared | close_tags(tags, self.shape)
        return twin

    def to_dense(self) -> Array:
        """The matrix as an (O, K) array or tensor of :attr:`dtype`."""
        return self._dense()

    def torch(self) -> StructuredMatrix:
        """The same matrix with torch factors (memory is shared where possible)."""
        raw = self.raw_bfloat16
        return self._with(
            {k: bits_to_bfloat16(v) if k in raw else to_torch(v) for k, v in self.factors.items()}
        )

    def numpy(self) -> StructuredMatrix:
        """The same matrix with NumPy factors (memory is shared where possible)."""
        raw = self.raw_bfloat16
        return self._with({k: to_bits(v) if k in raw else to_numpy(v) for k, v in self.factors.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the matrix to one safetensors file, atomically; see :mod:`gossamer.linalg.formats`."""
        from gossamer.linalg.formats import save_matrices

        save_matrices(path, {"matrix": self})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> StructuredMatrix:
        """Read what :meth:`save` wrote; a damaged or foreign file is a :class:`FormatError`."""
        from gossamer.linalg.formats import load_matrices

        matrices = load_matrices(path)
        if set(matrices) != {"matrix"}:
            raise FormatError(f"{path}: holds matrices {sorted(matrices)}: read it with load_matrices")
        return matrices["matrix"]

    def _with(self, factors: Mapping[str, Array]) -> StructuredMatrix:
        twin = type(self)(self.structure, self.shape, factors)
        twin._declared = self._declared
        return twin

    # Arithmetic.

    def __matmul__(self, x: Any) -> Any:
        """Product with a vector (K,), a matrix (K, N), or another structured matrix."""
        if isinstance(x, StructuredMatrix):
            from gossamer.linalg.arithmetic import ProductMatrix

            return ProductMatrix.of(self, x)
        x = self._operand(x)
        if x.shape[0] != self.shape[1]:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}: expected {self.shape[1]} rows to fit A{self.shape}"
            )
        columns = x[:, None] if x.ndim == 1 else x
        y = self._product(columns)
        return y[:, 0] if x.ndim == 1 else y

    def __rmatmul__(self, x: Any) -> Any:
        x = self._operand(x)
        return self.T @ x if x.ndim == 1 else (self.T @ x.T).T

    def __add__(self, other: Any) -> StructuredMatrix:
        from gossamer.linalg.arithmetic import SumMatrix

        return SumMatrix.of(self, other) if isinstance(other, StructuredMatrix) else NotImplemented

    def __sub__(self, other: Any) -> StructuredMatrix:
        return self + (-other) if isinstance(other, StructuredMatrix) else NotImplemented

    def __mul__(self, scalar: Any) -> StructuredMatrix:
        from gossamer.linalg.arithmetic import ScaledMatrix

        return NotImplemented if isinstance(scalar, StructuredMatrix) else ScaledMatrix.of(self, scalar)

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> StructuredMatrix:
        return self * (1 / scalar)

    def __neg__(self) -> StructuredMatrix:
        return self * -1.0

    def _operand(self, x: Any) -> Array:
        dense = x.toarray() if scipy.sparse.issparse(x) else x
        return check_array("x", dense, ndim=(1, 2), finite=False, real=not self.is_complex)

    def _product(self, x: Array) -> Array:
        if is_torch(x):
            from gossamer.linalg.autograd import product

            return product(self, x)
        dtype = np.result_type(self.dtype, x.dtype)
        return self._multiply(x.astype(dtype, copy=False)).astype(dtype, copy=False)

    # NumPy's and SciPy's protocols.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a structured matrix becomes an array only by a copy")
        dense = to_numpy(self.to_dense())
        return dense.astype(dtype or dense.dtype, copy=True)

    def matvec(self, x: Array) -> Array:
        """``A @ x`` for one vector of shape (K,) or (K, 1)."""
        return self @ x

    def matmat(self, x: Array) -> Array:
        """``A @ x`` for a matrix of shape (K, N)."""
        return self @ x

    def rmatvec(self, y: Array) -> Array:
        """``A.H @ y`` for one vector of shape (O,) or (O, 1)."""
        return self.H @ y

    def rmatmat(self, y: Array) -> Array:
        """``A.H @ y`` for a matrix of shape (O, N)."""
        return self.H @ y

    def __repr__(self) -> str:
        size = f"{self.dtype}, {self.bits_per_weight:.3g} bits a weight"
        return f"<{self.shape[0]}x{self.shape[1]} {self.structure} {size}>"


__all__ = ["Plan", "Structure", "StructuredMatrix", "check_metric", "structure_from_config", "weighted_error"]
