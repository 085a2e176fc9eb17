"""Sparse times sparse: products over semirings, with masks, plans and blocks."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "calibrate": ["spgemm_calibrate"],
        "plan": ["SpGEMMPlan", "spgemm_symbolic"],
        "product": ["SpGEMMStats", "spgemm"],
    },
)
