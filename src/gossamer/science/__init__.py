"""Scientific computing with structure: data and solvers for partial differential equations."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={"pde.burgers": ["burgers", "burgers_fields"]},
)
