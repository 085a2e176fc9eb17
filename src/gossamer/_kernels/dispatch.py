"""Which kernels run on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from gossamer._core.checks import check_choice
from gossamer._kernels import _native

LADDERS = (("portable", "avx2", "avx512"), ("portable", "neon", "neon-dot"))  # of x86-64 and of aarch64
BYTE_FAMILIES = (
    "gqs",
    "linear",
    "quant",
)  # multiply bytes: neon-dot is the path of their own, neon that of the rest


def active_isa() -> str:
    """Name of the instruction set that kernels use now."""
    return _native.active_isa()


def available_isas() -> tuple[str, ...]:
    """Instruction sets that this machine runs, portable first."""
    best = _native.detected_isa()
    ladder = next(isas for isas in LADDERS if best in isas)
    return ladder[: ladder.index(best) + 1]


def variants() -> tuple[str, ...]:
    """All that :func:`force_isa` takes here: the instruction sets, and AVX-512 without its later extensions."""
    base = ("avx512-base",) if "avx512" in available_isas() else ()
    return (*available_isas(), *base)


def force_isa(name: str = "auto") -> None:
    """Use one instruction set from now on, as the environment variable ``GOSSAMER_ISA`` does at start.

    "avx512-base" is AVX-512 without the later extensions (VBMI2, BF16) that some kernels use where a CPU has them;
    "neon-dot" is NEON with the integer dot product of ARMv8.2.
    """
    _native.force_isa(check_choice("isa", name, ("auto", *variants())))


def show_kernels() -> dict[str, str]:
    """Map each kernel family to the instruction set that it runs with."""
    active = active_isa()
    rest = active.removesuffix("-dot")
    return {family: active if family in BYTE_FAMILIES else rest for family in _native.families()}


@dataclass(frozen=True)
class Kernel:
    """One row of the table of kernels: a function of a family, and the ISAs that run here."""

    family: str
    entry: str
    isas: tuple[str, ...]


def table() -> tuple[Kernel, ...]:
    """Every kernel that the compiled module exports; tests and micro-benchmarks are driven by it."""
    return tuple(
        Kernel(family, entry, available_isas())
        for family in _native.families()
        for entry in getattr(getattr(_native, family), "entries", ())
    )
