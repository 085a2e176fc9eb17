"""The Eckart-Young loss of two or more views, and its derivatives, from their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossamer._core.arrays import Array, namespace


@dataclass(frozen=True)
class EYTerms:
    """The loss and what it takes to differentiate it.

    Attributes
    ----------
    loss : array, shape ()
    scores : list of array, shape (m, K)
        ``dL / dZ_i``.
    independent : list of array, shape (m', K), or None
        ``dL / dZ'_i``.
    weights : array, shape (K, K)
        ``S`` with ``dL / dU_i = alpha_i U_i S`` through the ridge.
    """

    loss: Array
    scores: list[Array]
    independent: list[Array] | None
    weights: Array


def ey_terms(
    zs: Sequence[Array],
    *,
    ridge: Sequence[float],
    grams: Sequence[Array] | None = None,
    independent: Sequence[Array] | None = None,
    shift: bool = False,
    centred: float | None = None,
    reduce: Callable[[Array], Array] | None = None,
) -> EYTerms:
    r"""Eckart-Young loss ``tr(-2 C + V V')`` of scores, with its analytic derivatives.

    :math:`C = \sum_{i \ne j} \mathrm{Cov}(Z_i, Z_j)` and
    :math:`V = \sum_i (1 - \alpha_i) \mathrm{Cov}(Z_i) + \alpha_i G_i`. V' is that of an independent batch, with which
    the loss is unbiased; without one it is V. ``shift`` adds the pairs i = j, in the metric of V, to C.

    Parameters
    ----------
    zs : sequence of array, shape (m, K)
        NumPy arrays or torch tensors, one a view, centred here unless ``centred`` says otherwise.
    ridge : sequence of float
        One a view.
    grams : sequence of array, shape (K, K), optional
        ``G_i = U_i^T U_i``; the identity by default.
    independent : sequence of array, shape (m', K), optional
        Scores of the independent batch.
    shift : bool
        As above.
    centred : float, optional
        The scores are centred already; covariances divide by ``m * centred``. That is (n + 1) / n for means of n
        other rows, and (n - 1) / n for means of n rows that include these. Without ``reduce`` only.
    reduce : callable, optional
        Sums an array over processes, each of which has rows of the batch.
    """
    xp = namespace(*zs)
    K = zs[0].shape[1]
    eye = xp.eye(K, dtype=zs[0].dtype)
    grams = [eye] * len(zs) if grams is None else grams
    fixed = sum(a * gram for a, gram in zip(ridge, grams, strict=True))
    one = _Moments(zs, ridge, fixed, centred, reduce)
    two = one if independent is None else _Moments(independent, ridge, fixed, centred, reduce)
    s = 1.0 if shift else 0.0
    C = one.cross + s * one.V
    loss = -2 * xp.linalg.trace(C) + xp.sum(one.V * two.V)
    if independent is None:
        inner, weights, other = 4 * (one.V - s * eye), 4 * (one.V - s * eye), None
    else:
        inner, weights = 2 * two.V - 4 * s * eye, 2 * (one.V + two.V) - 4 * s * eye
        other = [((1 - a) / two.dof) * (z @ (2 * one.V)) for a, z in zip(ridge, two.centred, strict=True)]
    scores = [
        (-4 * (one.total - z) + (1 - a) * (z @ inner)) / one.dof
        for a, z in zip(ridge, one.centred, strict=True)
    ]
    return EYTerms(loss, scores, other, weights)


class _Moments:
    """Centred scores of one batch and the covariances that the loss is made of."""

    def __init__(
        self,
        zs: Sequence[Array],
        ridge: Sequence[float],
        fixed: Array,
        centred: float | None,
        reduce: Callable[[Array], Array] | None,
    ) -> None:
        xp = namespace(*zs)
        if centred is None:
            count = len(zs[0])
            sums = [xp.sum(z, axis=0) for z in zs]
            if reduce is not None:
                packed = reduce(xp.stack([*sums, xp.full_like(sums[0], count)]))
                sums, count = [packed[i] for i in range(len(zs))], int(packed[-1][0])
            self.dof: float = count - 1
            self.centred = [z - total / count for z, total in zip(zs, sums, strict=True)]
        else:
            self.dof, self.centred = len(zs[0]) * centred, list(zs)
        self.total = sum(self.centred[1:], self.centred[0])
        own = [z.T @ z for z in self.centred]
        cross = self.total.T @ self.total - sum(own[1:], own[0])
        within = sum((1 - a) * square for a, square in zip(ridge, own, strict=True))
        if reduce is not None:
            both = reduce(xp.stack([cross, within]))
            cross, within = both[0], both[1]
        self.cross, self.V = cross / self.dof, within / self.dof + fixed


__all__ = ["EYTerms", "ey_terms"]
