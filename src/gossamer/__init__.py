"""gossamer: sparse and structured computation, and a CPU engine for compressed models."""

from gossamer._core.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["linalg", "solve", "nn", "sparsify", "compress", "engine", "datasets", "plots", "testing"],
    attributes={"_kernels.dispatch": ["show_kernels"]},
)
