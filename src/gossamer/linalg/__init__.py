"""Structured matrices: families (structures), their members, projections onto them, and products."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "arithmetic.kronecker_products": ["KroneckerProduct", "KroneckerProductMatrix", "kron"],
        "arithmetic.products": ["Product", "ProductMatrix"],
        "arithmetic.scaling": ["Scaled", "ScaledMatrix"],
        "arithmetic.sums": ["Sum", "SumMatrix"],
        "arithmetic.transposes": ["Transpose", "TransposedMatrix"],
        "formats.matrices": ["load_matrices", "save_matrices"],
        "grammar": ["parse_structure"],
        "metric": ["weighted_error"],
        "nearest.low_rank": ["Moment", "WeightedLowRank", "weighted_low_rank"],
        "operator": ["Plan", "StructuredMatrix"],
        "sparse_product.calibrate": ["spgemm_calibrate"],
        "sparse_product.plan": ["SpGEMMPlan", "spgemm_symbolic"],
        "sparse_product.product": ["SpGEMMStats", "spgemm"],
        "structure": ["Structure", "structure_from_config"],
        "structures.block": ["Block", "BlockMatrix"],
        "structures.block_diagonal": ["BlockDiagonal", "BlockDiagonalMatrix"],
        "structures.dense": ["Dense", "DenseMatrix"],
        "structures.diagonal": ["Diagonal", "DiagonalMatrix"],
        "structures.group_quant": ["GroupQuant", "GroupQuantMatrix"],
        "structures.group_sparse_quant": ["GroupSparseQuant", "GroupSparseQuantMatrix"],
        "structures.kronecker": ["Kronecker", "KroneckerMatrix"],
        "structures.low_rank": ["LowRank", "LowRankMatrix"],
        "structures.nm": ["NM", "NMMatrix"],
        "structures.nm_quant": ["NMQuant", "NMQuantMatrix"],
        "structures.permutation": ["Permutation", "PermutationMatrix"],
        "structures.unstructured": ["CSRMatrix", "Unstructured"],
        "structures.unstructured_quant": ["UnstructuredQuant", "UnstructuredQuantMatrix"],
        "tags": ["check_tags"],
    },
)
