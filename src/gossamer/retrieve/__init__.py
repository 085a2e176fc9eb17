"""Retrieval: documents and queries as vectors, and indexes that find the best documents for a query."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "multivector.ragged": ["TokenVectors"],
        "multivector.token_encoder": ["TokenEncoder"],
    },
)
