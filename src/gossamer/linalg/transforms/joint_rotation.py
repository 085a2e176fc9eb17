"""Coordinates in which two point sets have equal, diagonal second moments, and the same products."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.errors import ShapeError

_RIDGE = 1e-8  # of the mean second moment: every map stays well-conditioned, and products need no more


def joint_rotation(U: Array, V: Array) -> tuple[np.ndarray, np.ndarray]:
    r"""Maps T and T' with ``(U T) (V T')^T = U V^T`` that make both second moments equal and diagonal.

    :math:`T' = T^{-T}`. The coordinates of ``U T`` and ``V T'`` fall in size as fast as the singular values of
    ``U V^T`` do, so that few of them matter where that matrix has low rank.

    Parameters
    ----------
    U, V : arrays or tensors, shape (..., n, d) and (..., m, d)
        Point sets with equal leading axes.

    Returns
    -------
    T, T_inverse : arrays of float64, shape (..., d, d)
        The maps.

    Raises
    ------
    ShapeError
        Leading axes or d differ.
    """
    if U.shape[:-2] != V.shape[:-2] or U.shape[-1] != V.shape[-1]:
        raise ShapeError(
            f"U and V have shapes {tuple(U.shape)} and {tuple(V.shape)}: expected (..., n, d), (..., m, d)"
        )
    A, B = _moment(U), _moment(V)
    values, vectors = np.linalg.eigh(A)
    root = np.sqrt(values)[..., None, :]
    half, inverse = (vectors * root) @ vectors.swapaxes(-1, -2), (vectors / root) @ vectors.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(half @ B @ half)
    quarter = np.maximum(values, np.finfo(np.float64).tiny)[..., None, :] ** 0.25
    return inverse @ (vectors * quarter), half @ (vectors / quarter)


def _moment(X: Any) -> np.ndarray:
    wide = X.detach().double() if is_torch(X) else X.astype(np.float64)
    M = to_numpy(wide.mT @ wide if is_torch(X) else wide.swapaxes(-1, -2) @ wide)
    d = M.shape[-1]
    size = np.trace(M, axis1=-2, axis2=-1) / max(d, 1)
    return M + np.where(size > 0, _RIDGE * size, 1.0)[..., None, None] * np.eye(d)
