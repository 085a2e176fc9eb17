"""What sums, products, transposes and multiples share: a member whose factors are those of its parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from gossamer._core.arrays import Array
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix


class CompoundMatrix(StructuredMatrix):
    """A matrix made of ``parts``; factor ``left`` of part 1 is called ``1.left``.

    A kind supplies :meth:`_layout`, the families and shapes of its parts, and may have ``own_factors``.
    """

    own_factors: ClassVar[tuple[str, ...]] = ()
    parts: tuple[StructuredMatrix, ...]

    def __init__(self, structure: Structure, shape: tuple[int, int], factors: Mapping[str, Array]) -> None:
        layout = self._layout(structure, (int(shape[0]), int(shape[1])))
        groups: list[dict[str, Array]] = [{} for _ in layout]
        for name, factor in factors.items():
            number, dot, rest = name.partition(".")
            if dot and number.isdecimal() and str(int(number)) == number and int(number) < len(groups):
                groups[int(number)][rest] = factor
            elif name not in self.own_factors:
                raise FormatError(f"{type(self).__name__} of {len(layout)} parts has no factor {name!r}")
        self.parts = tuple(
            family.matrix(family, size, group) for (family, size), group in zip(layout, groups, strict=True)
        )
        super().__init__(structure, shape, factors)

    @classmethod
    def _from_parts(
        cls,
        structure: Structure,
        shape: tuple[int, int],
        parts: Sequence[StructuredMatrix],
        own: Mapping[str, Array] | None = None,
    ) -> Self:
        """Assemble parts that are members already, so that their factors are not checked again."""
        parts = tuple(parts)
        if len({part.is_torch for part in parts}) > 1:
            parts = tuple(part.torch() for part in parts)
        self = cls.__new__(cls)
        self.structure, self.shape, self.parts, self._declared = structure, shape, parts, frozenset()
        self.factors = {f"{i}.{name}": f for i, part in enumerate(parts) for name, f in part.factors.items()}
        self.factors.update(own or {})
        self._check()
        return self

    @abstractmethod
    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        """Family and shape of each part."""

    @property
    def factor_names(self) -> tuple[str, ...]:
        names = [f"{i}.{name}" for i, part in enumerate(self.parts) for name in part.factor_names]
        return (*names, *self.own_factors)

    @property
    def is_complex(self) -> bool:
        return any(part.is_complex for part in self.parts)

    def conj(self) -> StructuredMatrix:
        if not self.is_complex:
            return self
        parts = [part.conj() for part in self.parts]
        own = {name: self.factors[name] for name in self.own_factors}
        return self._from_parts(self.structure, self.shape, parts, own)

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(*(part.dtype for part in self.parts))

    def _check(self) -> None:
        """The parts have checked themselves."""

    def _with(self, factors: Mapping[str, Array]) -> Self:
        groups: list[dict[str, Array]] = [{} for _ in self.parts]
        for name in factors:
            if name not in self.own_factors:
                number, _, rest = name.partition(".")
                groups[int(number)][rest] = factors[name]
        parts = [part._with(group) for part, group in zip(self.parts, groups, strict=True)]
        own = {name: factors[name] for name in self.own_factors}
        twin = self._from_parts(self.structure, self.shape, parts, own)
        twin._declared = self._declared
        return twin

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        return tuple(f"{i}.{name}" for i, part in enumerate(self.parts) for name in part.raw_bfloat16)

    def flops(self, n: int = 1) -> int:
        return sum(part.flops(n) for part in self.parts)

    def plan(self, n: int = 1) -> Plan:
        plans = [part.plan(n) for part in self.parts]
        routes = {plan.route for plan in plans}
        kernels = ", ".join(plan.kernel for plan in plans)
        reason = f"{type(self).__name__} runs its parts: " + "; ".join(plan.reason for plan in plans)
        return Plan(
            routes.pop() if len(routes) == 1 else "structured", kernels, reason, self.flops(n), self.nbytes
        )


def check_parts(name: str, parts: Any, least: int = 1) -> tuple[Structure, ...]:
    """Return a sequence of families as a tuple."""
    families = tuple(parts) if isinstance(parts, (list, tuple)) else ()
    if len(families) < least or not all(isinstance(part, Structure) for part in families):
        raise ArgumentError(f"{name}={parts!r}: expected a tuple of at least {least} Structure objects")
    return families
