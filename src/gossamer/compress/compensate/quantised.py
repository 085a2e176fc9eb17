"""Low-rank factors in 2 to 8 bits, the second refitted to what rounding the first one left."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice
from gossamer.compress.compensate.eora import row_of
from gossamer.compress.compensate.result import CompensationResult, CompensationRow
from gossamer.compress.compensate.walk import Layer, walk
from gossamer.linalg import GroupQuant, ProductMatrix, WeightedLowRank
from gossamer.linalg.metric import metric_product, weighted_error


def quantize_factors(
    dW: np.ndarray,
    fitted: WeightedLowRank,
    C: np.ndarray | None,
    *,
    bits: int = 4,
    group: int = 64,
    refit: bool = True,
    method: str = "gptq",
) -> WeightedLowRank:
    r"""Round the factors of a low-rank term to group codes.

    ``A`` is rounded first, weighed by its input (``C``); then, with ``refit``, ``B`` becomes the least-squares answer
    to what ``A`` now is, :math:`B = \Delta W C A_q^T (A_q C A_q^T)^+`; then ``B`` is rounded, weighed by its input
    :math:`A_q x`.

    Parameters
    ----------
    dW : ndarray, shape (O, K)
        What is compensated.
    fitted : WeightedLowRank
        The term.
    C : None or ndarray, shape (K,) or (K, K)
        Second moment of the inputs.
    bits : {2, 3, 4, 8}
    group : int
        Entries that share a scale: along K for ``A``, along r for ``B`` (a whole row where r is smaller); 0 is the
        whole row.
    refit : bool
    method : {"gptq", "rtn"}
        Error-compensating rounding, or to nearest.

    Returns
    -------
    WeightedLowRank
        Its ``stored`` is a product of two group-quantised matrices; ``B`` and ``A`` are their values.
    """
    check_choice("method", method, ("gptq", "rtn"))
    B, A = to_numpy(fitted.B).astype(np.float32), to_numpy(fitted.A).astype(np.float32)
    narrow = None if method == "rtn" or C is None else C.astype(np.float32)
    right = GroupQuant(bits, group if 0 < group <= A.shape[1] else 0).project(A, metric=narrow)
    A_q = right.to_dense().astype(np.float64)
    inner = metric_product(A_q, C) @ A_q.T
    inner = (inner + inner.T) / 2
    if refit:
        B = (metric_product(dW, C) @ A_q.T @ np.linalg.pinv(inner, rcond=1e-10, hermitian=True)).astype(
            np.float32
        )
    left = GroupQuant(bits, group if 0 < group <= B.shape[1] else 0).project(
        B, metric=None if method == "rtn" else inner.astype(np.float32)
    )
    B_q = left.to_dense()
    residual = weighted_error(dW, B_q @ right.to_dense(), C)
    return replace(
        fitted,
        B=B_q,
        A=right.to_dense(),
        residual=float(np.sqrt(max(residual, 0))),
        stored=ProductMatrix.of(left, right),
    )


def quantize_compensation(
    result: CompensationResult, bits: int = 4, group: int = 64, refit: bool = True, *, method: str = "gptq"
) -> CompensationResult:
    """Round all adapters of a compensation to group codes, walking its calibration tokens once more.

    Advice: 4 bits are nearly free, 3 bits lose a little.

    Parameters
    ----------
    result : CompensationResult
        With float factors.
    bits, group, refit, method
        See :func:`quantize_factors`.

    Returns
    -------
    CompensationResult
        Later blocks see the rounded adapters of those before them, as with ``result.config.inputs``.
    """
    adapters: dict[str, WeightedLowRank] = {}
    rows: list[CompensationRow] = []

    def fit(layer: Layer) -> WeightedLowRank | None:
        if layer.path not in result.adapters:
            return None
        started = time.perf_counter()
        adapter = quantize_factors(
            layer.error,
            result.adapters[layer.path],
            layer.moment.C,
            bits=bits,
            group=group,
            refit=refit,
            method=method,
        )
        adapters[layer.path] = adapter
        rows.append(row_of(layer, adapter, result.config.dtype, time.perf_counter() - started))
        return adapter

    walk(
        result.pair,
        result.ids,
        result.mask,
        fit,
        inputs=result.config.inputs,
        legacy=result.config.legacy_weighting,
    )
    return replace(
        result, adapters=adapters, report=tuple(rows), message=f"{result.message}, factors in {bits} bits"
    )
