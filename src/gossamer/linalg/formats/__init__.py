"""Files of structured matrices: one safetensors file, a JSON header with a format version inside."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__, attributes={"matrices": ["FORMAT_VERSION", "load_matrices", "save_matrices"]}
)
