"""The families of matrices, one file each. Importing this package registers them all for files and recipes."""

from gossamer.linalg.structures import (
    block_diagonal,
    diagonal,
    kronecker,
    low_rank,
    permutation,
    unstructured,
)

__all__ = ["block_diagonal", "diagonal", "kronecker", "low_rank", "permutation", "unstructured"]
