"""Sums, products, transposes, multiples and Kronecker products of families and of their members."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "kronecker_products": ["KroneckerProduct", "KroneckerProductMatrix", "kron"],
        "products": ["Product", "ProductMatrix"],
        "scaling": ["Scaled", "ScaledMatrix"],
        "sums": ["Sum", "SumMatrix"],
        "transposes": ["Transpose", "TransposedMatrix"],
    },
)
