"""The error-compensating sweep of Optimal Brain Surgeon, in the column order of SparseGPT and GPTQ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer.linalg.nearest.inverse import DAMPING, inverse_factor

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix

Member = TypeVar("Member", bound="StructuredMatrix")

COLUMNS = 128
"""Columns that are swept before their error reaches the rest of the matrix in one product."""


class ColumnQuantizer(Protocol):
    """What the sweep asks of a quantiser."""

    span: int
    """Columns that share parameters, which are fitted when the first of them is reached."""

    def begin(self, start: int, weights: np.ndarray, keep: np.ndarray | None) -> None:
        """Fit the parameters of the columns from ``start`` on to their present ``weights`` (O, <= span)."""

    def round(self, column: int, weights: np.ndarray) -> np.ndarray:
        """Return the representable values nearest to one column (O,)."""


@dataclass(frozen=True)
class Swept:
    """What a sweep leaves: ``weights`` (O, K) and, if it pruned, ``mask`` (O, K) of the entries that stay."""

    weights: np.ndarray
    mask: np.ndarray | None


def sweep(
    W: np.ndarray,
    metric: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    select: Callable[[np.ndarray, int], np.ndarray] | None = None,
    width: int = COLUMNS,
    quantizer: ColumnQuantizer | None = None,
    damping: float = DAMPING,
) -> Swept:
    r"""Prune and quantise column by column, moving each column's error to the columns that are still open.

    With :math:`U^T U = (H + \lambda I)^{-1}`, ``U`` upper triangular, column j is replaced by
    :math:`\hat w_j` (zero where pruned, rounded where kept) and every later column k becomes
    :math:`w_k - (w_j - \hat w_j)\, U_{jk} / U_{jj}`, the least-squares optimal reply of the open columns.
    Pruning alone is SparseGPT, rounding alone GPTQ, both together SparseGPT's joint mode.

    Parameters
    ----------
    W : ndarray of float32 or float64, shape (O, K)
        Weights; not modified.
    metric : ndarray, shape (K, K)
        Second moment ``H = E[x x^T]``. It is damped here; columns with a zero diagonal get zero weights.
    mask : ndarray of bool, shape (O, K), optional
        Entries that stay, fixed in advance.
    select : callable, optional
        ``select(scores, start)`` returns the mask of a window of ``width`` columns when the sweep reaches it.
        ``scores`` (O, <= width) are the OBS losses :math:`w_j^2 / U_{jj}^2` of the weights as they are then.
    width : int
        Columns of a window of ``select``.
    quantizer : ColumnQuantizer, optional
        Rounds the kept entries; its ``span`` must equal ``width`` where ``select`` is given as well.
    damping : float
        Fraction of the mean diagonal that is added to the diagonal of ``H``.

    Returns
    -------
    Swept

    Notes
    -----
    ``O(K^3 + O K^2)`` operations; the factorisation runs in float64, the sweep in the dtype of ``W``. The
    order of the columns is fixed, so that the result is a good member of the family, not the nearest one.

    References
    ----------
    Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992.
    Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ", ICLR 2023. Frantar and Alistarh, "SparseGPT", ICML 2023.
    """
    upper, dead = inverse_factor(metric, damping)
    diagonal = np.diagonal(upper).copy()
    # row j holds what column j's error does to the others; columns of W are contiguous rows of T
    rows = (upper / diagonal[:, None]).astype(W.dtype)
    T = np.array(W.T, order="C")
    T[dead] = 0
    keep = np.ones(T.shape, dtype=bool) if select or mask is not None else None
    if keep is not None and mask is not None:
        keep[:] = mask.T
    unit = quantizer.span if quantizer else width
    for start, stop in _windows(T.shape[0], unit):
        block = T[start:stop]
        errors = np.empty_like(block)
        for i, j in enumerate(range(start, stop)):
            if j % unit == 0:
                ahead = T[j : j + unit]
                if select and keep is not None:
                    losses = np.square(ahead / diagonal[j : j + unit, None])
                    keep[j : j + unit] = select(losses.T, j).T
                if quantizer:
                    quantizer.begin(j, ahead.T, None if keep is None else keep[j : j + unit].T)
            new = quantizer.round(j, block[i]) if quantizer else block[i]
            if keep is not None:
                new = np.where(keep[j], new, 0)
            np.subtract(block[i], new, out=errors[i])
            block[i] = new
            if i + 1 < len(block):
                block[i + 1 :] -= rows[j, j + 1 : stop, None] * errors[i]
        if stop < len(T):
            T[stop:] -= rows[start:stop, stop:].T @ errors
    return Swept(np.ascontiguousarray(T.T), None if keep is None else np.ascontiguousarray(keep.T))


def nearer(W: np.ndarray, metric: np.ndarray, first: Member, second: Member) -> Member:
    """Of two members of a family the one with the lower error in a full metric, so that a sweep never hurts.

    ``4 O K^2`` operations, in the dtype of ``W``.
    """
    errors = []
    for member in (first, second):
        wrong = W - to_numpy(member.to_dense()).astype(W.dtype, copy=False)
        errors.append(np.vdot(wrong @ metric, wrong))
    return first if errors[0] <= errors[1] else second


def _windows(width: int, unit: int) -> list[tuple[int, int]]:
    """Cut columns into windows of about COLUMNS that start wherever a unit starts, or lie inside one unit."""
    if unit <= COLUMNS:
        starts = list(range(0, width, unit * (COLUMNS // unit)))
    else:
        starts = [s for u in range(0, width, unit) for s in range(u, min(u + unit, width), COLUMNS)]
    return list(zip(starts, [*starts[1:], width]))
