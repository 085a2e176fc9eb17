"""One linear layer: its projection by a rule, the low-rank term that makes up for it, and its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer.compress.calibrate.statistics import Statistics
from gossamer.compress.result import LayerRow
from gossamer.compress.rule import Rule
from gossamer.linalg import Dense, LowRank, StructuredMatrix


@dataclass(frozen=True)
class Fitted:
    """A layer's structured matrix and what to report of it."""

    matrix: StructuredMatrix
    row: LayerRow


def fit_layer(path: str, W: np.ndarray, rule: Rule, statistics: Statistics | None) -> Fitted:
    r"""Project a layer's weight onto the rule's family, weighed by the rule's metric.

    With ``compensate`` the low-rank matrix nearest to ``W - W_hat`` in the metric of the outputs is added (EoRA; or a
    baseline), in bfloat16.

    Parameters
    ----------
    path : str
        The layer's path, for messages.
    W : ndarray of float32, shape (O, K)
        Its weight; not modified.
    rule : Rule
        What it becomes.
    statistics : Statistics or None
        Second moments of its inputs; None only with rules whose metric is ``"none"``.
    """
    rule.check_fit(path, W.shape)
    if rule.structure is None:
        matrix: StructuredMatrix = Dense().project(W)
    else:
        metric = statistics.metric(path, rule.metric) if statistics is not None else None
        matrix = rule.structure.project(W, metric=metric)
        if rule.compensate:
            matrix = matrix + compensation(path, W - matrix.to_dense(), rule, statistics)
    return measured(path, W, rule, matrix, statistics)


def compensation(path: str, error: np.ndarray, rule: Rule, statistics: Statistics | None) -> StructuredMatrix:
    """The low-rank term nearest to ``error`` (O, K) in the metric of the rule's method."""
    kind = {"eora": "hessian", "act": "diagonal", "svd": "none"}[rule.method]
    metric = statistics.metric(path, kind) if statistics is not None else None
    return LowRank(rule.compensate, "bfloat16").project(error, metric=metric)


def measured(
    path: str, W: np.ndarray, rule: Rule, matrix: StructuredMatrix, statistics: Statistics | None
) -> Fitted:
    """``matrix``, which stands for the weight ``W`` of the layer at ``path``, with what to report of it."""
    dense = matrix.to_dense()
    row = LayerRow(
        module=path,
        structure="kept" if rule.keep else (rule.name or str(rule.structure)),
        kind="keep" if rule.structure is None else rule.structure.kind,
        shape=(int(W.shape[0]), int(W.shape[1])),
        nbytes=matrix.nbytes,
        bits_per_weight=matrix.bits_per_weight,
        error=relative_error(W, dense, statistics.of(path) if statistics is not None else None),
        sparsity=float(1 - np.count_nonzero(dense) / dense.size),
    )
    return Fitted(matrix, row)


def relative_error(W: np.ndarray, dense: np.ndarray, second: np.ndarray | None) -> float:
    r"""``tr(E H E^T) / tr(W H W^T)`` with ``E = W - dense``.

    Parameters
    ----------
    W, dense : ndarray, shape (O, K)
        The weight and what stands for it.
    second : ndarray, shape (K, K), or None
        ``H``; the identity if None.
    """
    error = W - dense
    total, lost = (float(row_errors(M, second).sum()) for M in (W, error))
    return lost / total if total > 0 else 0.0


def row_errors(E: np.ndarray, second: np.ndarray | None) -> np.ndarray:
    """``diag(E H E^T)`` in float64, shape (O,): the mean squared error of every output."""
    product: Any = E if second is None else E @ second
    return np.maximum(np.einsum("ij,ij->i", product, E, dtype=np.float64), 0)
