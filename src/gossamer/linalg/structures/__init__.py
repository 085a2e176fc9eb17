"""The families of matrices, one file each. Importing this package registers all for files and recipes."""

from gossamer.linalg.structures import (
    block,
    block_diagonal,
    dense,
    diagonal,
    group_quant,
    group_sparse_quant,
    kronecker,
    low_rank,
    nm,
    nm_quant,
    permutation,
    tiled_bitmap,
    tiled_csl,
    unstructured,
    unstructured_quant,
)

__all__ = [
    "block",
    "block_diagonal",
    "dense",
    "diagonal",
    "group_quant",
    "group_sparse_quant",
    "kronecker",
    "low_rank",
    "nm",
    "nm_quant",
    "permutation",
    "tiled_bitmap",
    "tiled_csl",
    "unstructured",
    "unstructured_quant",
]
