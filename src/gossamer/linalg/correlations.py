"""Canonical correlations of two tables with the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array
from gossamer._core.errors import ShapeError


def canonical_correlations(X: Any, Y: Any) -> np.ndarray:
    r"""Correlations of the most correlated linear combinations of two tables.

    The singular values of :math:`Q_X^T Q_Y`, for orthonormal bases of the column spaces of the centred tables.

    Parameters
    ----------
    X : array or tensor, shape (N, p)
    Y : array or tensor, shape (N, q)
        Computed in float64. Constant and dependent columns are allowed; they add nothing.

    Returns
    -------
    ndarray of float64, shape (min(p, q),)
        In [0, 1], descending; zeros where a table has a lower rank.

    Raises
    ------
    ShapeError, ArgumentError
        Different numbers of rows, not two-dimensional, NaN or infinite entries.

    Notes
    -----
    O(N (p^2 + q^2)). By QR with pivots: squares of the data, whose condition is squared too, are never formed.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import canonical_correlations
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> canonical_correlations(X, X @ np.ones((3, 2))).round(6).tolist()
    [1.0, 0.0]
    """
    x, y = (np.asarray(to_numpy(check_array(n, v, ndim=2)), np.float64) for n, v in (("X", X), ("Y", Y)))
    if len(x) != len(y):
        raise ShapeError(f"X and Y have {len(x)} and {len(y)} rows: expected the same number")
    out = np.zeros(min(x.shape[1], y.shape[1]))
    bases = [_basis(v) for v in (x, y)]
    if all(basis.shape[1] for basis in bases):
        values = scipy.linalg.svdvals(bases[0].T @ bases[1])
        out[: len(values)] = np.clip(values, 0, 1)
    return out


def _basis(x: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the centred columns."""
    if not len(x):
        return x[:, :0]
    size = np.abs(x).max(initial=0.0)
    x = x - x.mean(axis=0)
    q, r, _ = scipy.linalg.qr(x, mode="economic", pivoting=True)
    diagonal = np.abs(np.diagonal(r))
    # what is left of a constant column after centring is rounding of its size
    floor = max(x.shape) * np.finfo(np.float64).eps * max(diagonal.max(initial=0.0), size)
    return q[:, : int((diagonal > floor).sum())]
