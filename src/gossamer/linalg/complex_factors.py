"""Members with complex entries, held as real and imaginary factors: files and optimisers meet real numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_bits, widen
from gossamer._core.errors import FormatError
from gossamer.linalg.operator import Structure, StructuredMatrix

_PARTS = {"complex64": "float32", "complex128": "float64"}
_BITS = {"float64": 64, "bfloat16": 16, "complex64": 64, "complex128": 128}


class ComplexFactorsMatrix(StructuredMatrix):
    """A member whose structure has a ``dtype``: complex ones add a factor ``name_imag`` for each of ``parts``."""

    structure: ComplexFactors
    parts: ClassVar[tuple[str, ...]]

    @property
    def factor_names(self) -> tuple[str, ...]:
        return (*self.parts, *(f"{name}_imag" for name in self.parts)) if self.is_complex else self.parts

    def _check_kinds(self) -> None:
        allowed = {None: ("float32", "float64"), "bfloat16": ("bfloat16", "uint16")}.get(
            self.structure.dtype, (_PARTS.get(self.structure.dtype or "", self.structure.dtype),)
        )
        kinds = {str(factor.dtype).removeprefix("torch.") for factor in self.factors.values()}
        if len(kinds) > 1 or not kinds <= set(allowed):
            raise FormatError(
                f"factors of {self.structure.kind} are {sorted(kinds)}: expected one of {allowed}"
            )

    @property
    def raw_bfloat16(self) -> tuple[str, ...]:
        return self.factor_names if self.structure.dtype == "bfloat16" else ()

    @property
    def is_complex(self) -> bool:
        return self.structure.is_complex

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(super().dtype, np.complex64) if self.is_complex else super().dtype

    def joined(self) -> tuple[Array, ...]:
        """The parts as numbers of the matrix's own dtype: complex ones joined, bfloat16 widened."""
        real = [self.factors[name] for name in self.parts]
        if not self.is_complex:
            return tuple(widen(part) for part in real)
        imag = [self.factors[f"{name}_imag"] for name in self.parts]
        if is_torch(real[0]):
            import torch

            return tuple(torch.complex(a, b) for a, b in zip(real, imag, strict=True))
        return tuple(a + 1j * b for a, b in zip(real, imag, strict=True))

    def conj(self) -> StructuredMatrix:
        if not self.is_complex:
            return self
        return self._with({k: -f if k.endswith("_imag") else f for k, f in self.factors.items()})


class ComplexFactors(Structure):
    """A family whose members may be complex."""

    dtype: str | None

    @property
    def is_complex(self) -> bool:
        """Whether members are complex."""
        return self.dtype in _PARTS

    @property
    def bits_per_number(self) -> int:
        """Of one entry of a factor of a float32 member, imaginary part included."""
        return _BITS.get(self.dtype or "float32", 32)

    def _stored(self, parts: Mapping[str, np.ndarray], kind: np.dtype) -> dict[str, np.ndarray]:
        """Factors as they are stored, for a matrix of dtype ``kind``."""
        if self.dtype == "bfloat16":
            return {name: to_bits(part) for name, part in parts.items()}
        wanted = _PARTS.get(self.dtype or "", self.dtype or kind)
        factors = {name: np.ascontiguousarray(part.real, wanted) for name, part in parts.items()}
        if self.is_complex:
            factors |= {
                f"{name}_imag": np.ascontiguousarray(part.imag, wanted) for name, part in parts.items()
            }
        return factors
