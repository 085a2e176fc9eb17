"""Low-rank terms of sums in the form that kernels fuse into the product of another term."""

from __future__ import annotations

import numpy as np

from gossamer._core.arrays import is_torch, to_bits, to_numpy
from gossamer._kernels.lowrank import Codes, Factor
from gossamer.linalg.operator import StructuredMatrix


def low_rank_factors(A: StructuredMatrix, n: int) -> tuple[Factor, Factor] | None:
    """``left`` (O, r) and ``right`` (r, K) of a low-rank matrix, or of a product of two quantised ones.

    Parameters
    ----------
    A : StructuredMatrix
    n : int
        Columns of the right-hand side.

    Returns
    -------
    tuple of two factors, or None
        None for other matrices, for factors that do not lie in rows, and for ranks too high to pay.
    """
    from gossamer.linalg.arithmetic.products import ProductMatrix
    from gossamer.linalg.structures.group_quant import GroupQuantMatrix
    from gossamer.linalg.structures.low_rank import LowRankMatrix

    if isinstance(A, LowRankMatrix):
        if A.plan(n).route != "native":
            return None
        left, right = (array(A.factors[name]) for name in ("left", "right"))
        return left, right
    if isinstance(A, ProductMatrix) and len(A.parts) == 2:
        left_part, right_part = A.parts
        if isinstance(left_part, GroupQuantMatrix) and isinstance(right_part, GroupQuantMatrix):
            return _codes(left_part), _codes(right_part)
    return None


def array(factor: object) -> np.ndarray:
    """A factor in a type that kernels read: bfloat16 as raw bits, float16 widened."""
    if is_torch(factor) and str(getattr(factor, "dtype", "")) == "torch.bfloat16":
        return to_bits(factor)
    values = to_numpy(factor)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _codes(A: StructuredMatrix) -> Codes:
    f = {name: to_numpy(factor) for name, factor in A.factors.items()}
    bits, group = A.structure.bits, A.structure.group  # type: ignore[attr-defined]
    return Codes(f["qweight"], f["scale"], f.get("zero"), bits, group, A.shape[1])
