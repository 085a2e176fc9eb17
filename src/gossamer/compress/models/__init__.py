"""Where models come from: bundled packages, Hugging Face directories, GGUF files, live torch modules."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["bundled", "gguf_file", "huggingface", "module"],
    attributes={
        "bundled": ["BUNDLED"],
        "load": ["load_model"],
        "source": ["SourceModel"],
    },
)
