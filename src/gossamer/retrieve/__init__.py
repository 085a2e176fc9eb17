"""Retrieval: documents and queries as vectors, and indexes that find the best documents for a query."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "multivector.chamfer": ["ball_carve", "chamfer"],
        "multivector.fde": ["FDEConfig", "FDEncoder"],
        "multivector.ragged": ["TokenVectors"],
        "multivector.token_encoder": ["TokenEncoder"],
        "sparse.inverted_index": ["InvertedIndex"],
        "sparse.rows": ["prune_rows"],
    },
)
