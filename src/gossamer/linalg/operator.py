"""The two nouns of the house: a :class:`Structure` is a family of matrices, a :class:`StructuredMatrix` a member.

A family is an immutable value with one verb, ``project``. A member is held by its named factors, NumPy arrays or
torch tensors, and multiplies without becoming dense.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy, to_torch
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, unknown_choice

_FAMILIES: dict[str, type[Structure]] = {}


@dataclass(frozen=True)
class Structure(ABC):
    """A family of matrices with its parameters: an immutable, hashable value.

    A family supplies ``kind`` (its name in files), ``matrix`` (the class of its members), :meth:`_project`, which
    sees checked float NumPy arrays only, and :meth:`bits_per_weight`.
    """

    kind: ClassVar[str]
    matrix: ClassVar[type[StructuredMatrix]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            _FAMILIES[cls.kind] = cls

    def project(self, W: Any, metric: Any = None) -> StructuredMatrix:
        r"""Return the member of the family that is nearest to ``W``.

        Minimises ``trace((W - W_hat) H (W - W_hat)^T)``, the mean squared error of the product with inputs whose
        second moment is ``H``.

        Parameters
        ----------
        W : array or tensor or StructuredMatrix, shape (O, K)
            What to approximate.
        metric : None or array of shape (K,) or (K, K), optional
            None is the Frobenius norm (``H = I``); a vector is a diagonal ``H`` (the setting of Wanda); a
            symmetric positive semi-definite matrix is the full second moment ``E[x x^T]`` (the setting of
            SparseGPT and GPTQ). The family's docstring says for which of them the result is exactly nearest.

        Returns
        -------
        StructuredMatrix
            With NumPy factors, or torch factors if ``W`` is a tensor; float32 stays float32.

        Raises
        ------
        ArgumentError
            If ``W`` or ``metric`` hold NaN or infinity, are complex, or do not fit each other or the family.
        """
        dense = W.to_dense() if isinstance(W, StructuredMatrix) else W
        checked = check_array("W", dense, ndim=2)
        array = to_numpy(checked)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float32)
        if not array.size:
            raise ShapeError(f"W has shape {array.shape}: expected at least one row and one column")
        member = self._project(array, check_metric(metric, array.shape[1], array.dtype))
        return member.torch() if is_torch(checked) else member

    @abstractmethod
    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> StructuredMatrix: ...

    @abstractmethod
    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        """Expected storage of a float32 (O, K) member in bits an entry, all overhead counted."""

    def __add__(self, other: Structure) -> Structure:
        """The family of sums: ``(A + B).project(W)`` fits one term to what the others leave."""
        from gossamer.linalg.arithmetic import Sum

        return Sum.of(self, other) if isinstance(other, Structure) else NotImplemented

    def __matmul__(self, other: Structure) -> Structure:
        """The family of products."""
        from gossamer.linalg.arithmetic import Product

        return Product.of(self, other) if isinstance(other, Structure) else NotImplemented

    def to_config(self) -> dict[str, Any]:
        """The family as JSON-ready values; :func:`structure_from_config` reads them back."""
        return {"kind": self.kind, **{f.name: _config_value(getattr(self, f.name)) for f in fields(self)}}


def structure_from_config(config: Mapping[str, Any]) -> Structure:
    """Build a family from ``{"kind": ..., parameter: value, ...}``, as found in recipes and artifacts.

    Raises
    ------
    ArgumentError
        For an unknown kind or parameter, naming the nearest known one.
    """
    import gossamer.linalg.structures  # noqa: F401  (registers every family)

    if not isinstance(config, Mapping) or "kind" not in config:
        raise ArgumentError(f"structure={config!r}: expected a table with the key 'kind'")
    try:
        family = _FAMILIES[config["kind"]]
    except (KeyError, TypeError):
        raise unknown_choice("kind", config["kind"], sorted(_FAMILIES)) from None
    known = {f.name: f for f in fields(family)}
    values = {}
    for key, value in config.items():
        if key == "kind":
            continue
        if key not in known:
            raise unknown_choice(f"{family.kind} parameter", key, sorted(known))
        values[key] = _from_config_value(value)
    try:
        return family(**values)
    except TypeError as error:
        raise ArgumentError(f"structure {config!r}: {error}") from None


@dataclass(frozen=True)
class Plan:
    """What ``A @ x`` will run for ``n`` columns, and why."""

    route: str
    """``"native"`` (a compiled kernel), ``"structured"`` (array operations on the factors) or ``"dense"``."""
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
    Works wherever SciPy accepts a ``LinearOperator``. A member class supplies ``factor_names``, :meth:`_check`,
    :meth:`_dense`, :meth:`flops`, and a faster :meth:`_multiply` where it has one.
    """

    factor_names: tuple[str, ...]
    """Names of the factors; a property where they depend on the structure (symmetric quantisation has no zeros)."""
    ndim = 2
    __array_ufunc__ = None  # so that numpy_array @ A comes to __rmatmul__

    def __init__(self, structure: Structure, shape: tuple[int, int], factors: Mapping[str, Array]) -> None:
        self.structure = structure
        self.shape = (int(shape[0]), int(shape[1]))
        if set(factors) != set(self.factor_names):
            raise FormatError(
                f"{type(self).__name__} has factors {sorted(factors)}: expected {sorted(self.factor_names)}"
            )
        self.factors = {name: factors[name] for name in self.factor_names}
        self._check()

    # -- what a member class supplies ---------------------------------------------------------------------------

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

    def plan(self, n: int = 1) -> Plan:
        """Say what ``A @ x`` will run for ``n`` columns."""
        return Plan("dense", "blas", "the family has no kernel of its own", self.flops(n), self.nbytes)

    # -- what every member has ----------------------------------------------------------------------------------

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
        return 8 * self.nbytes / (self.shape[0] * self.shape[1])

    @property
    def is_torch(self) -> bool:
        """Whether the factors are torch tensors."""
        return any(is_torch(factor) for factor in self.factors.values())

    @property
    def T(self) -> StructuredMatrix:
        """The transpose, sharing the factors."""
        from gossamer.linalg.arithmetic import transpose

        return transpose(self)

    def to_dense(self) -> Array:
        """The matrix as an (O, K) array or tensor of :attr:`dtype`."""
        return self._dense()

    def torch(self) -> StructuredMatrix:
        """The same matrix with torch factors (memory is shared where possible)."""
        return type(self)(self.structure, self.shape, {k: to_torch(v) for k, v in self.factors.items()})

    def numpy(self) -> StructuredMatrix:
        """The same matrix with NumPy factors (memory is shared where possible)."""
        return type(self)(self.structure, self.shape, {k: to_numpy(v) for k, v in self.factors.items()})

    def __matmul__(self, x: Any) -> Any:
        """Product with a vector (K,), a matrix (K, N), or another structured matrix."""
        if isinstance(x, StructuredMatrix):
            from gossamer.linalg.arithmetic import ProductMatrix

            return ProductMatrix.of(self, x)
        x = check_array("x", x, ndim=(1, 2), finite=False)
        if x.shape[0] != self.shape[1]:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}: expected {self.shape[1]} rows to fit A{self.shape}"
            )
        columns = x[:, None] if x.ndim == 1 else x
        y = self._product(columns)
        return y[:, 0] if x.ndim == 1 else y

    def __rmatmul__(self, x: Any) -> Any:
        return (self.T @ x.T).T

    def __add__(self, other: Any) -> StructuredMatrix:
        from gossamer.linalg.arithmetic import SumMatrix

        return SumMatrix.of(self, other) if isinstance(other, StructuredMatrix) else NotImplemented

    def _product(self, x: Array) -> Array:
        if is_torch(x):
            from gossamer.linalg.autograd import product

            return product(self, x)
        dtype = np.result_type(self.dtype, x.dtype)
        return self._multiply(x.astype(dtype, copy=False)).astype(dtype, copy=False)

    # SciPy's LinearOperator protocol
    def matvec(self, x: Array) -> Array:
        """``A @ x`` for one vector of shape (K,) or (K, 1)."""
        return self @ x

    def matmat(self, x: Array) -> Array:
        """``A @ x`` for a matrix of shape (K, N)."""
        return self @ x

    def rmatvec(self, y: Array) -> Array:
        """``A.T @ y`` for one vector of shape (O,) or (O, 1)."""
        return self.T @ y

    def rmatmat(self, y: Array) -> Array:
        """``A.T @ y`` for a matrix of shape (O, N)."""
        return self.T @ y

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"<{rows}x{columns} {self.structure} {self.dtype}, {self.bits_per_weight:.3g} bits a weight>"


def check_metric(metric: Any, width: int, dtype: np.dtype) -> np.ndarray | None:
    """Return a metric as None, a non-negative vector (K,) or a symmetric matrix (K, K), in ``dtype``."""
    if metric is None:
        return None
    array = to_numpy(check_array("metric", metric, ndim=(1, 2))).astype(dtype, copy=False)
    if array.shape not in ((width,), (width, width)):
        raise ShapeError(f"metric has shape {array.shape}: expected ({width},) or ({width}, {width})")
    diagonal = array if array.ndim == 1 else np.diagonal(array)
    if (diagonal < 0).any():
        raise ArgumentError(f"metric has a negative diagonal entry {diagonal.min():.3g}: expected E[x x^T]")
    if array.ndim == 2 and np.abs(array - array.T).max() > 1e-3 * max(np.abs(array).max(), 1e-30):
        raise ArgumentError("metric is not symmetric: expected E[x x^T]")
    return array


def weighted_error(W: Array, W_hat: Array, metric: np.ndarray | None = None) -> float:
    """``trace((W - W_hat) H (W - W_hat)^T)`` in float64."""
    error = to_numpy(W).astype(np.float64) - to_numpy(W_hat)
    if metric is None:
        return float((error**2).sum())
    weight = metric.astype(np.float64)
    return float((error**2 @ weight).sum() if weight.ndim == 1 else ((error @ weight) * error).sum())


def _config_value(value: Any) -> Any:
    if isinstance(value, Structure):
        return value.to_config()
    if isinstance(value, tuple):
        return [_config_value(item) for item in value]
    return value


def _from_config_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return structure_from_config(value)
    if isinstance(value, (list, tuple)):
        return tuple(_from_config_value(item) for item in value)
    return value


__all__ = ["Plan", "Structure", "StructuredMatrix", "check_metric", "structure_from_config", "weighted_error"]
