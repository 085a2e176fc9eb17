"""Structured matrices: families (structures), their members, projections onto them, and products."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "operator": ["Plan", "Structure", "StructuredMatrix", "structure_from_config"],
        "structures.unstructured": ["CSRMatrix", "Unstructured"],
    },
)
