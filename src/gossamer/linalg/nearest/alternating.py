"""Fitting a sum of families: each term to what the others leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.operator import Structure, StructuredMatrix


def fit_sum(
    terms: Sequence[Structure], W: np.ndarray, metric: np.ndarray | None = None, sweeps: int = 1
) -> tuple[StructuredMatrix, ...]:
    r"""Fit ``sum_i A_i`` to ``W`` in a metric, one member a family.

    First pass: ``A_i = project_i(W - sum_{j < i} A_j)``. Every further pass refits each term to
    ``W - sum_{j != i} A_j`` and keeps the new member only if the error falls; it ends early when no term moves.

    Parameters
    ----------
    terms : sequence of Structure
        The families, the one that carries most of ``W`` first.
    W : ndarray, shape (O, K), float32 or float64
        What to fit.
    metric : None or ndarray, shape (K,) or (K, K)
        As in :meth:`Structure.project`.
    sweeps : int
        Alternating passes after the first.

    Returns
    -------
    tuple of StructuredMatrix
        The terms. The error in the metric is no larger than after the first pass.
    """
    members: list[StructuredMatrix] = []
    dense: list[np.ndarray] = []
    total = np.zeros_like(W)
    for term in terms:
        members.append(term._project(W - total, metric))
        dense.append(to_numpy(members[-1].to_dense()).astype(W.dtype, copy=False))
        total = total + dense[-1]
    error = weighted_error(W, total, metric)
    for _ in range(sweeps if len(terms) > 1 else 0):
        moved = False
        for i, term in enumerate(terms):
            others = sum((part for j, part in enumerate(dense) if j != i), np.zeros_like(W))
            member = term._project(W - others, metric)
            matrix = to_numpy(member.to_dense()).astype(W.dtype, copy=False)
            new_error = weighted_error(W, others + matrix, metric)
            if new_error < error:
                members[i], dense[i], error, moved = member, matrix, new_error, True
        if not moved:
            break
    return tuple(members)
