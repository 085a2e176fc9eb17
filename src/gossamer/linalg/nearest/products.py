"""Fitting a product of families: each factor with the others fixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import scipy.linalg

from gossamer._core.arrays import to_numpy
from gossamer.linalg.metric import metric_product, weighted_error
from gossamer.linalg.operator import Structure, StructuredMatrix


def fit_product(
    families: Sequence[Structure],
    shapes: Sequence[tuple[int, int]],
    W: np.ndarray,
    metric: np.ndarray | None = None,
    sweeps: int = 20,
) -> tuple[StructuredMatrix, ...]:
    r"""Fit ``A_0 A_1 ...`` to ``W`` in a metric, one member a family.

    With ``L`` and ``R`` the products to the left and right of ``A_i``, the error in ``A_i`` is, up to a constant,
    ``||L A_i - Y||`` in the metric ``G = R H R^T``, where ``Y = W H R^T G^+``. Two targets are projected in the
    metric ``G``: ``A_i + L^T (Y - L A_i) / ||L^T L||`` (a step that cannot raise the error if the projection is
    exact) and the least-squares solution ``L^+ Y``. The better is kept, if better than before. For the leftmost
    factor both are ``Y`` and the step is exact.

    Parameters
    ----------
    families : sequence of Structure
        The families, the leftmost first.
    shapes : sequence of (int, int)
        Shapes of the factors; they chain.
    W : ndarray, shape (O, K), float32 or float64
        What to fit.
    metric : None or ndarray, shape (K,) or (K, K)
        As in :meth:`Structure.project`.
    sweeps : int
        Passes over the factors; ends early when a pass lowers the error by less than one part in a million.

    Returns
    -------
    tuple of StructuredMatrix
        The factors. The error in the metric is no larger than that of the best start.
    """
    error = np.inf
    members: list[StructuredMatrix] = []
    for start in _starts(families, shapes, W, metric):
        start_error = weighted_error(W, _chain([_dense(m) for m in start]), metric)
        if not members or start_error < error:
            members, error = start, start_error
    for _ in range(sweeps if len(families) > 1 else 0):
        before = error
        for i, family in enumerate(families):
            dense = [_dense(member) for member in members]
            for target, gram in _targets(dense, i, W, metric):
                member = family._project(
                    target.astype(W.dtype), None if gram is None else gram.astype(W.dtype)
                )
                new_error = weighted_error(W, _chain([*dense[:i], _dense(member), *dense[i + 1 :]]), metric)
                if new_error < error:
                    members[i], error = member, new_error
        if error >= before * (1 - 1e-6):
            break
    return tuple(members)


def _targets(
    dense: list[np.ndarray], i: int, W: np.ndarray, metric: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    target, gram = W.astype(np.float64), metric
    if i + 1 < len(dense):
        right = _chain(dense[i + 1 :])
        weighted = metric_product(right, metric)
        gram = weighted @ right.T
        gram = (gram + gram.T) / 2
        target = target @ weighted.T @ scipy.linalg.pinvh(gram)
    if i == 0:
        yield target, gram
        return
    left = _chain(dense[:i])
    size = np.linalg.norm(left, 2) ** 2
    if size > 0:
        yield dense[i] + left.T @ (target - left @ dense[i]) / size, gram
        yield np.linalg.pinv(left) @ target, gram


def _starts(
    families: Sequence[Structure], shapes: Sequence[tuple[int, int]], W: np.ndarray, metric: np.ndarray | None
) -> Iterator[list[StructuredMatrix]]:
    if len(families) == 1:
        yield [families[0]._project(W, metric)]
        return
    near_identity = [
        family._project(np.eye(*shape, dtype=W.dtype), None)
        for family, shape in zip(families, shapes, strict=True)
    ]
    for i, family in enumerate(families):
        members = list(near_identity)
        target = W.astype(np.float64)
        if i:
            target = np.linalg.pinv(_chain([_dense(member) for member in members[:i]])) @ target
        if i + 1 < len(members):
            target = target @ np.linalg.pinv(_chain([_dense(member) for member in members[i + 1 :]]))
        members[i] = family._project(target.astype(W.dtype), metric if i + 1 == len(members) else None)
        yield members
    if len(families) == 2:
        U, s, Vt = np.linalg.svd(W.astype(np.float64), full_matrices=False)
        width = shapes[0][1]
        halves = np.zeros(shapes[0]), np.zeros(shapes[1])
        used = min(width, len(s))
        halves[0][:, :used] = U[:, :used] * np.sqrt(s[:used])
        halves[1][:used] = np.sqrt(s[:used])[:, None] * Vt[:used]
        yield [
            families[0]._project(halves[0].astype(W.dtype), None),
            families[1]._project(halves[1].astype(W.dtype), metric),
        ]


def _dense(member: StructuredMatrix) -> np.ndarray:
    return to_numpy(member.to_dense()).astype(np.float64)


def _chain(matrices: Sequence[np.ndarray]) -> np.ndarray:
    return reduce(np.matmul, matrices)
