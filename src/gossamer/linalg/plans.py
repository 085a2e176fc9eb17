"""Plans of families with a native kernel: what runs, and whether a dense copy would have been faster."""

from __future__ import annotations

from gossamer.linalg.operator import Plan, StructuredMatrix


def native_plan(A: StructuredMatrix, kernel: str, reads: str, n: int, *, pays: bool) -> Plan:
    """The plan of a product by a compiled kernel.

    Parameters
    ----------
    A : StructuredMatrix
    kernel : str
        Name of the kernel.
    reads : str
        What it reads, for the reason.
    n : int
        Columns of the right-hand side.
    pays : bool
        Whether the kernel is faster than a dense product whose matrix is at hand. Where it is not, it still runs,
        since building the dense matrix takes longer than the product; who multiplies often should keep it dense.
    """
    reason = f"the kernel reads {reads}"
    if not pays:
        reason += (
            "; a dense matrix multiplies faster at this size, but building it takes longer than this product: "
            "keep A.to_dense() for many products"
        )
    return Plan("native", kernel, reason, A.flops(n), A.nbytes)


def sparse_pays(density: float, n: int, overhead: float) -> bool:
    """Whether reading a fraction of the entries beats a dense product of n columns.

    Measured against OpenBLAS in float32 with one AVX-512 thread on matrices of 1536x576 and 2048x2048: an entry costs
    ``1 + overhead / n`` times what it costs in a dense product, with an overhead of 8 for CSR and 4 for blocks.
    """
    return density * (1 + overhead / max(n, 1)) <= 1


def unpacking_pays(n: int) -> bool:
    """Whether unpacking codes or positions to floating point beats a dense product of n columns: from 64 on."""
    return n >= 64
