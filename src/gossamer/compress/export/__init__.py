"""Artifacts written for other programs to read."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["compressed_tensors", "directory", "peft", "transformers"],
    attributes={
        "compressed_tensors": ["export_compressed_tensors"],
        "peft": ["load_peft", "save_peft"],
        "transformers": ["export_transformers"],
    },
)
