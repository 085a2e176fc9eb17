"""How one layer, and the embedding, become structured matrices."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["embedding", "layer"],
    attributes={
        "embedding": ["fit_embedding", "fit_embeddings", "head_structure"],
        "layer": ["Fitted", "fit_layer", "relative_error"],
    },
)
