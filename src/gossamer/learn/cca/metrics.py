"""How much of the correlation, or covariance, that is there a fit has found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import canonical_correlations


def tcc(Zs: Sequence[Any]) -> float:
    """Total canonical correlation of representations, the mean over pairs of views; use held-out rows.

    Parameters
    ----------
    Zs : sequence of array, shape (N, K)
        Scores of two views or more.

    Returns
    -------
    float
        In [0, K].
    """
    if len(Zs) < 2:
        raise ShapeError(f"Zs has {len(Zs)} views: expected two or more")
    return float(np.mean([canonical_correlations(a, b).sum() for a, b in itertools.combinations(Zs, 2)]))


def pcc(Zs: Sequence[Any], correlations: Any) -> float:
    """Proportion of the correlation captured: that of the scores over the largest there is.

    Parameters
    ----------
    Zs : sequence of array, shape (N, K)
        Scores of two views on the training rows.
    correlations : array, shape (at least K,)
        Canonical correlations of the views themselves, descending, as :func:`gossamer.linalg.canonical_correlations`
        gives them.

    Returns
    -------
    float
        1 for an exact solution.

    Raises
    ------
    ArgumentError, ShapeError
        Fewer correlations than components, or none above zero.
    """
    exact = _top("correlations", correlations, np.shape(Zs[0])[1])
    return tcc(Zs) / exact


def pvc(x_weights: Any, y_weights: Any, X: Any, Y: Any, singular_values: Any = None) -> float:
    r"""Proportion of the covariance captured: :math:`\sum \sigma_k(Q_x^T S_{xy} Q_y)` over the largest there is.

    Parameters
    ----------
    x_weights : array, shape (p, K)
    y_weights : array, shape (q, K)
        Only their spans matter.
    X : array, shape (N, p)
    Y : array, shape (N, q)
        The training rows.
    singular_values : array, shape (at least K,), optional
        Of the cross-covariance (with N - 1), descending; computed, by an SVD of p x q numbers, if left out.

    Returns
    -------
    float
        1 for an exact solution.

    Raises
    ------
    ArgumentError, ShapeError
        Different numbers of rows or features, or views without covariance.
    """
    u, w, x, y = (
        np.asarray(check_array(name, value, ndim=2), np.float64)
        for name, value in (("x_weights", x_weights), ("y_weights", y_weights), ("X", X), ("Y", Y))
    )
    if len(x) != len(y) or len(u) != x.shape[1] or len(w) != y.shape[1]:
        raise ShapeError(
            f"X {x.shape}, Y {y.shape}, x_weights {u.shape} and y_weights {w.shape} do not fit together"
        )
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    if singular_values is None:
        singular_values = np.linalg.svd(x.T @ y / (len(x) - 1), compute_uv=False)
    found = (x @ np.linalg.qr(u)[0]).T @ (y @ np.linalg.qr(w)[0]) / (len(x) - 1)
    return float(np.linalg.svd(found, compute_uv=False).sum()) / _top(
        "singular_values", singular_values, u.shape[1]
    )


def _top(name: str, values: Any, K: int) -> float:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < K:
        raise ShapeError(f"{name} has shape {values.shape}: expected at least {K} numbers")
    total = float(np.sort(values)[::-1][:K].sum())
    if not total > 0:
        raise ArgumentError(f"{name} sum to {total}: there is nothing to capture")
    return total
