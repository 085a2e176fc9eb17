"""The nearest orthogonal matrix and the nearest partial isometry, in closed form, and in a metric."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, is_torch, like, to_numpy
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ShapeError
from gossamer.linalg.metric import check_metric, metric_product, weighted_error

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix

SCALES = ("one", "fit")
SWEEPS = 200


class RankDeficientWarning(UserWarning):
    """The matrix has a lower rank than was asked for: the remaining directions are arbitrary orthonormal ones."""


@dataclass(frozen=True)
class NearestOrthogonal:
    r"""A multiple of a partial isometry, :math:`\alpha U V^T`, fitted to a matrix.

    Attributes
    ----------
    U : array, shape (O, r)
    V : array, shape (K, r)
        Orthonormal columns, of the kind and dtype of what was fitted.
    scale : float
        :math:`\alpha`.
    distance : float
        :math:`\|W - \alpha U V^T\|`, in the metric.
    singular_values : ndarray of float64
        Of ``W``, descending.
    """

    U: Array
    V: Array
    scale: float
    distance: float
    singular_values: np.ndarray

    @property
    def matrix(self) -> StructuredMatrix:
        """The fit as a :class:`gossamer.linalg.LowRankOrthogonal`, held by reflections."""
        from gossamer.linalg.structures.orthogonal import LowRankOrthogonal

        return LowRankOrthogonal.of(self.U, self.V, None if self.scale == 1.0 else self.scale)


def nearest_orthogonal(
    W: Any, rank: int | None = None, *, scale: str = "one", metric: Any = None
) -> NearestOrthogonal:
    r"""Fit a partial isometry of a given rank, or an orthogonal matrix, to any matrix.

    With :math:`W = \sum_i \sigma_i u_i v_i^T` the nearest partial isometry of rank r is
    :math:`\sum_{i \le r} u_i v_i^T`, at the squared distance :math:`\|W\|^2 - 2 \sum_{i \le r} \sigma_i + r`; the best
    multiple of it has :math:`\alpha = \frac1r \sum_{i \le r} \sigma_i`.

    Parameters
    ----------
    W : array or tensor, shape (O, K)
        Computed in float64.
    rank : int, optional
        From 1 to min(O, K); None is min(O, K): orthogonal if square, else orthonormal columns or rows.
    scale : {"one", "fit"}
        Whether :math:`\alpha` is one or fitted.
    metric : None or array of shape (K,) or (K, K)
        Second moment of the inputs, as in :meth:`gossamer.linalg.Structure.project`.

    Returns
    -------
    NearestOrthogonal

    Raises
    ------
    ArgumentError
        If ``rank`` is outside its range, or ``W`` holds NaN or infinity.

    Warns
    -----
    RankDeficientWarning
        If ``W`` has a lower rank.

    Notes
    -----
    Exactly nearest without a metric, and in every metric for full rank with O >= K (the polar factor of ``W H``). Else
    in a metric the two frames alternate, the right one by majorisation, from the fit without a metric: the error never
    rises. O(O K min(O, K)).

    References
    ----------
    Fan and Hoffman, "Some metric inequalities in the space of matrices", 1955. Schönemann, 1966.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import nearest_orthogonal
    >>> fit = nearest_orthogonal(np.diag([3.0, 2.0, 0.1]), rank=2, scale="fit")
    >>> fit.scale, round(fit.distance**2, 6)
    (2.5, 0.51)
    """
    checked = check_array("W", W, ndim=2)
    check_choice("scale", scale, SCALES)
    array = to_numpy(checked)
    wide = array.astype(np.float64)
    if not wide.size:
        raise ShapeError(f"W has shape {array.shape}: expected at least one row and one column")
    smaller = min(wide.shape)
    r = smaller if rank is None else check_int("rank", rank, low=1, high=smaller)
    weight = check_metric(metric, wide.shape[1], np.dtype(np.float64))
    fit = _closed_form(wide, r, scale)
    if fit.singular_values[r - 1] <= np.finfo(array.dtype).eps * max(wide.shape) * fit.singular_values[0]:
        warnings.warn(
            f"W has a rank below {r}: the remaining directions are arbitrary",
            RankDeficientWarning,
            stacklevel=2,
        )
    if weight is not None:
        fit = _in_metric(wide, fit, np.diag(weight) if weight.ndim == 1 else weight, scale)
    U, V = (like(np.ascontiguousarray(Q, array.dtype), checked) for Q in (fit.U, fit.V))
    if is_torch(checked):  # bfloat16, which NumPy lacks
        U, V = U.to(checked.dtype), V.to(checked.dtype)
    return replace(fit, U=U, V=V)


def _closed_form(W: np.ndarray, r: int, scale: str) -> NearestOrthogonal:
    U, s, Vt = scipy.linalg.svd(W, full_matrices=False, check_finite=False)
    alpha = float(s[:r].mean()) if scale == "fit" else 1.0
    U, V = U[:, :r], Vt[:r].T
    return NearestOrthogonal(U, V, alpha, weighted_error(W, alpha * U @ V.T) ** 0.5, s)


def _in_metric(W: np.ndarray, start: NearestOrthogonal, H: np.ndarray, scale: str) -> NearestOrthogonal:
    WH = metric_product(W, H)
    if start.V.shape[1] == W.shape[1]:  # V^T H V is H in another basis, whose trace does not depend on V
        U, s, Vt = scipy.linalg.svd(WH, full_matrices=False)
        trace = float(np.trace(H))
        alpha = 1.0 if scale == "one" else float(s.sum()) / trace if trace > 0 else 0.0
        V = Vt.T
    else:
        U, V, alpha = _alternate(WH, start, H, scale)
    distance = weighted_error(W, alpha * U @ V.T, H) ** 0.5
    return NearestOrthogonal(U, V, alpha, distance, start.singular_values)


def _alternate(
    WH: np.ndarray, start: NearestOrthogonal, H: np.ndarray, scale: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Each step minimises ``alpha^2 tr(V^T H V) - 2 alpha tr(U^T W H V)``, or an upper bound that touches it."""
    U, V, alpha = start.U, start.V, start.scale
    largest = float(np.linalg.eigvalsh(H)[-1])
    before = np.inf
    for _ in range(SWEEPS):
        if scale == "fit":
            energy = float(np.sum(V * (H @ V)))
            alpha = max(float(np.sum(U * (WH @ V))), 0.0) / energy if energy > 0 else 0.0
        U = _polar(WH @ V)
        V = _polar(alpha * (largest * V - H @ V) + WH.T @ U)
        value = alpha**2 * float(np.sum(V * (H @ V))) - 2 * alpha * float(np.sum(U * (WH @ V)))
        if before - value <= 1e-10 * abs(value):
            break
        before = value
    return U, V, alpha


def _polar(M: np.ndarray) -> np.ndarray:
    U, _, Vt = scipy.linalg.svd(M, full_matrices=False)
    return U @ Vt


__all__ = ["NearestOrthogonal", "RankDeficientWarning", "nearest_orthogonal"]
