"""The first noun: a :class:`Structure` is a family of matrices, an immutable value with one verb."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError, unknown_choice
from gossamer.linalg.metric import check_metric

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix

_FAMILIES: dict[str, type[Structure]] = {}


@dataclass(frozen=True)
class Structure(ABC):
    """A family of matrices with its parameters: an immutable, hashable value.

    A family supplies ``kind`` (its name in files), ``matrix`` (the class of its members), :meth:`_project`,
    which sees checked float NumPy arrays only, and :meth:`bits_per_weight`.
    """

    kind: ClassVar[str]
    matrix: ClassVar[type[StructuredMatrix]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            known = _FAMILIES.setdefault(cls.kind, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ArgumentError(f"kind={cls.kind!r} is taken by {known.__module__}.{known.__qualname__}")
            _FAMILIES[cls.kind] = cls

    def project(self, W: Any, metric: Any = None) -> StructuredMatrix:
        r"""Return the member of the family that is nearest to ``W``.

        Minimises ``trace((W - W_hat) H (W - W_hat)^T)``, the mean squared error of the product with inputs
        whose second moment is ``H``.

        Parameters
        ----------
        W : array or tensor or sparse matrix or StructuredMatrix, shape (O, K)
            What to approximate.
        metric : None or array of shape (K,) or (K, K), optional
            None is the Frobenius norm (``H = I``); a vector is a diagonal ``H`` (the setting of Wanda); a
            symmetric positive semi-definite matrix is the full second moment ``E[x x^T]`` (the setting of
            SparseGPT and GPTQ). :attr:`nearest_in` and the family's docstring say for which of them the
            result is exactly nearest.

        Returns
        -------
        StructuredMatrix
            With NumPy factors, or torch factors if ``W`` is a tensor; float32 stays float32.

        Raises
        ------
        ArgumentError
            If ``W`` or ``metric`` hold NaN or infinity, are complex, or do not fit each other or the family.
        """
        from gossamer.linalg.operator import StructuredMatrix

        if isinstance(W, StructuredMatrix):
            W = W.to_dense()
        elif scipy.sparse.issparse(W):
            W = W.toarray()
        checked = check_array("W", W, ndim=2, real=not self.is_complex)
        array = to_numpy(checked)
        if array.dtype.name not in ("float32", "float64", "complex64", "complex128"):
            array = array.astype(np.float32)
        if not array.size:
            raise ShapeError(f"W has shape {array.shape}: expected at least one row and one column")
        member = self._project(array, check_metric(metric, array.shape[1], array.real.dtype))
        return member.torch() if is_torch(checked) else member

    @abstractmethod
    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> StructuredMatrix: ...

    @abstractmethod
    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        """Expected storage of a float32 (O, K) member in bits an entry, all overhead counted."""

    @property
    def nearest_in(self) -> frozenset[str]:
        """Metrics in which :meth:`project` is exactly nearest, up to rounding: of "none", "diagonal", "full".

        The contracts in :mod:`gossamer.testing` hold a family to what it declares here.
        """
        return frozenset()

    @property
    def is_complex(self) -> bool:
        """Whether members are complex; only such a family takes complex matrices."""
        return False

    @property
    def T(self) -> Structure:
        """The family of transposes."""
        from gossamer.linalg.arithmetic import Transpose

        return Transpose.of(self)

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
    _register_all()

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


def _register_all() -> None:
    import gossamer.linalg.arithmetic.kronecker_products
    import gossamer.linalg.arithmetic.products
    import gossamer.linalg.arithmetic.scaling
    import gossamer.linalg.arithmetic.sums
    import gossamer.linalg.arithmetic.transposes
    import gossamer.linalg.structures  # noqa: F401


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
