"""gossamer: sparse and structured computation, and a CPU engine for compressed models."""

from gossamer._core.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=[
        "linalg",
        "solve",
        "nn",
        "learn",
        "retrieve",
        "sparsify",
        "compress",
        "engine",
        "science",
        "distributed",
        "datasets",
        "plots",
        "testing",
    ],
    attributes={"_core.threads": ["get_threads", "set_threads"], "_kernels.dispatch": ["show_kernels"]},
)
