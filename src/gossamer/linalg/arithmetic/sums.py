"""Sums: what one family cannot hold, the next one puts back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array
from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer.linalg.arithmetic.compound import CompoundMatrix, check_parts
from gossamer.linalg.nearest.alternating import fit_sum
from gossamer.linalg.operator import Structure, StructuredMatrix
from gossamer.linalg.terms import low_rank_factors


class SumMatrix(CompoundMatrix):
    """``A_0 + A_1 + ...``: factors of term ``i`` are prefixed ``i.``; the product accumulates in one result."""

    @classmethod
    def of(cls, *terms: StructuredMatrix) -> SumMatrix:
        """Add members of equal shape; sums among them are opened."""
        flat = [part for term in terms for part in (term.parts if isinstance(term, SumMatrix) else (term,))]
        shape = flat[0].shape
        for term in flat:
            if term.shape != shape:
                raise ShapeError(f"terms have shapes {shape} and {term.shape}: expected equal shapes")
        sweeps = [term.structure.sweeps for term in terms if isinstance(term.structure, Sum)]
        structure = Sum(tuple(term.structure for term in flat), max(sweeps, default=1))
        return cls._from_parts(structure, shape, flat)

    def _layout(self, structure: Any, shape: tuple[int, int]) -> list[tuple[Structure, tuple[int, int]]]:
        return [(term, shape) for term in structure.terms]

    @property
    def implied_tags(self) -> frozenset[str]:
        shared = frozenset.intersection(*(part.tags for part in self.parts))
        return shared - {"orthogonal"}

    def _transposed(self) -> StructuredMatrix:
        return SumMatrix.of(*(part.T for part in self.parts))

    def _dense(self) -> Array:
        total = self.parts[0]._dense()
        for part in self.parts[1:]:
            total = total + part._dense()
        return total

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        first, *rest = self.parts
        if self.is_complex:
            return sum((part._multiply_by_parts(x) for part in rest), first._multiply_by_parts(x))
        if first.fuses_low_rank:
            for i, part in enumerate(rest):
                factors = low_rank_factors(part, x.shape[1])
                if factors is not None:
                    y = first._multiply(x, low_rank=factors)  # type: ignore[call-arg]
                    return self._add_others(y, x, rest[:i] + rest[i + 1 :])
        return self._add_others(np.array(first._multiply(x), dtype=x.dtype, order="C"), x, rest)

    def _add_others(self, y: np.ndarray, x: np.ndarray, others: list[StructuredMatrix]) -> np.ndarray:
        for part in others:
            part._add_product(y, x)
        return y

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        first, *rest = (part._multiply_by_parts(y, transposed=True) for part in self.parts)
        return sum(rest, first)

    def _multiply_torch(self, x: Any) -> Any:
        from gossamer.linalg.autograd import product

        return sum((product(part, x) for part in self.parts[1:]), product(self.parts[0], x))


@dataclass(frozen=True)
class Sum(Structure):
    r"""Sums ``A_0 + A_1 + ...`` of members of several families; written ``Block(...) + LowRank(32)``.

    ``A_i <- project_i(W - sum_{j != i} A_j)``, one pass over the terms and then ``sweeps`` more. Put the term
    that carries most of ``W`` first, the one that repairs it last.

    Parameters
    ----------
    terms : tuple of Structure
        The families.
    sweeps : int
        Alternating passes after the first one.

    Notes
    -----
    In every metric, each step is kept only if the error does not grow: the error never exceeds that of the first
    pass, and falls with ``sweeps``. The result is a partial minimum, not the nearest sum, which is NP-hard to find
    already for sparse plus low-rank matrices. A sparse or quantised term followed by ``LowRank`` is the setting of
    LQER, EoRA and GQSA's compensation.

    References
    ----------
    Candes et al., "Robust principal component analysis?", JACM 2011. Liu et al., "EoRA: training-free
    compensation for compressed LLMs with eigenspace low-rank approximation", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import LowRank, Sum, Unstructured
    >>> W = np.ones((6, 8)) + 5 * np.eye(6, 8)
    >>> A = Sum((Unstructured(density=0.125), LowRank(1)), sweeps=200).project(W)
    >>> bool(np.allclose(A.to_dense(), W))
    True
    """

    terms: tuple[Structure, ...]
    sweeps: int = 1
    kind: ClassVar[str] = "sum"
    matrix: ClassVar[type[StructuredMatrix]] = SumMatrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", check_parts("terms", self.terms))
        check_int("sweeps", self.sweeps, low=0)

    @classmethod
    def of(cls, *terms: Structure) -> Sum:
        """Add families; sums among them are opened."""
        sweeps = [term.sweeps for term in terms if isinstance(term, Sum)]
        flat = [part for term in terms for part in (term.terms if isinstance(term, Sum) else (term,))]
        return cls(tuple(flat), max(sweeps, default=1))

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> SumMatrix:
        return SumMatrix._from_parts(self, W.shape, fit_sum(self.terms, W, metric, self.sweeps))

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return sum(term.bits_per_weight(shape) for term in self.terms)
