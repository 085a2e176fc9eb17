"""Modules for torch whose weights are structured matrices."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "linear.densify": ["densify"],
        "linear.monarch": ["MonarchLayer", "MonarchLinear", "MonarchReport", "monarchize"],
        "linear.structured": ["StructuredLinear", "replace_linears"],
        "operators.monarch_fft": ["MonarchFFT", "MonarchFFT2"],
    },
)
