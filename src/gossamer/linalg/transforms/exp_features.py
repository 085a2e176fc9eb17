"""Features whose products are, to a certified error, the exponentials of products of points."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import gammaln

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import BoundError, ShapeError
from gossamer.linalg.transforms.exp_series import BASES, ExpSeries, exp_series, smallest_exp_series
from gossamer.linalg.transforms.monomials import AnisotropicMonomials

INDEX_SETS = ("anisotropic", "simplex")


@dataclass(frozen=True)
class ExpExpansion:
    r"""``e^x`` for ``x = sum_l x_l``, ``|x_l| <= M_l``, as a weighted sum of monomials in the ``x_l``.

    Attributes
    ----------
    series : ExpSeries
        The polynomial in x.
    monomials : AnisotropicMonomials
        Which of its terms are kept.
    weights : array, shape (r,)
        Their coefficients.
    bound : float
        On the relative error, truncation and dropped terms together.
    """

    series: ExpSeries
    monomials: AnisotropicMonomials
    weights: np.ndarray
    bound: float


@dataclass(frozen=True)
class ExpFeaturesInfo:
    """What :func:`exp_features` did.

    Attributes
    ----------
    degree : int
        Of the polynomial.
    basis : {"taylor", "chebyshev"}
        Where its coefficients come from.
    index_set : {"anisotropic", "simplex"}
        Which monomials were candidates for being dropped.
    features : int
        Columns of every result.
    R : float
        No exponent is larger in magnitude.
    bound : float
        Certified relative error of every exponential, in exact arithmetic.
    d_eff : int
        Coordinates that occur.
    seconds : float
        Time taken.
    """

    degree: int
    basis: str
    index_set: str
    features: int
    R: float
    bound: float
    d_eff: int
    seconds: float


def exp_features(
    U: Array,
    V: Array,
    *more: Array,
    eps: float = 1e-3,
    degree: int | None = None,
    basis: str = "auto",
    index_set: str = "anisotropic",
    max_features: int = 20_000,
) -> tuple[Any, ...]:
    r"""Map points to features whose products are exponentials: ``(FU @ FV.T)[i, j] ~ exp(U[i] @ V[j])``.

    A polynomial :math:`\sum_t c_t x^t` takes the place of the exponential function, and
    :math:`\langle u, v \rangle^t = \sum_{|m| = t} \frac{t!}{m!} u^m v^m`. With more point sets,
    ``sum_m FU[i, m] FV[j, m] FW[k, m]`` is ``exp(sum_l U[i, l] V[j, l] W[k, l])``.

    Pays for few coordinates or small exponents: the number of features is at most C(d + g, g), and the degree g
    grows with R, the largest exponent.

    Parameters
    ----------
    U, V, *more : arrays or tensors, shape (..., n_k, d)
        Point sets, of one kind; numbers of points and leading shapes may differ.
    eps : float
        Relative error of every exponential, certified. Ignored when ``degree`` is given.
    degree : int, optional
        g; the error that it gives is in the result.
    basis : {"auto", "taylor", "chebyshev"}
        Of the polynomial; "auto" takes the one of smaller error.
    index_set : {"anisotropic", "simplex"}
        All monomials up to degree g, or without those that the sizes of the coordinates make small.
    max_features : int
        Largest number of features.

    Returns
    -------
    FU, FV, ... : arrays or tensors, shape (..., n_k, r)
        In the dtype of the points, differentiable for tensors.
    info : ExpFeaturesInfo
        Degree, number of features, R and bound.

    Raises
    ------
    ShapeError
        The points have different numbers of coordinates.
    BoundError
        ``eps`` takes more than ``max_features``; ``error.R`` and ``error.needed`` say what it takes.

    Notes
    -----
    Columns are first scaled so that every coordinate is equally large in all point sets, which changes no product.
    The bound holds in exact arithmetic; float32 adds its rounding, about ``1e-7 exp(2 R)``. O(n r) after the index
    set, which is kept for the next call.

    References
    ----------
    Alman and Song, "How to Capture Higher-order Correlations?", ICLR 2024, arXiv 2310.04064. Hu et al.,
    "Computational Limits of Low-Rank Adaptation", ICLR 2025, arXiv 2406.03136.

    Examples
    --------
    >>> import numpy as np
    >>> U, V = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 100, 5))
    >>> FU, FV, info = exp_features(U, V, eps=1e-4)
    >>> bool((abs(FU @ FV.T / np.exp(U @ V.T) - 1) <= info.bound).all()), info.bound <= 1e-4
    (True, True)
    """
    start = time.perf_counter()
    points = check_points((U, V, *more))
    scales, M, R = balance(points)
    expansion = expand_exp(
        M, R, eps=eps, degree=degree, basis=basis, index_set=index_set, max_features=max_features
    )
    monomials = expansion.monomials
    features = [monomials.features(x * _as(scale, x)) for x, scale in zip(points, scales, strict=True)]
    features[0] = features[0] * _as(expansion.weights, points[0])
    info = ExpFeaturesInfo(
        expansion.series.degree,
        expansion.series.basis,
        index_set,
        len(monomials),
        expansion.series.R,
        expansion.bound,
        int((monomials.exponents > 0).any(axis=0).sum()),
        time.perf_counter() - start,
    )
    return (*features, info)


def check_points(points: Sequence[Array]) -> list[Array]:
    """Refuse point sets that are not finite, or have different numbers of coordinates or kinds."""
    names = ["U", "V", *(f"more[{i}]" for i in range(len(points) - 2))]
    checked = []
    for name, value in zip(names, points, strict=True):
        ndim = getattr(value, "ndim", 2)
        checked.append(check_array(name, value, ndim=max(ndim, 2)))
    for name, x in zip(names, checked, strict=True):
        if x.shape[-1] != checked[0].shape[-1]:
            raise ShapeError(
                f"{name} has {x.shape[-1]} coordinates: expected {checked[0].shape[-1]}, as many as U"
            )
        if is_torch(x) != is_torch(checked[0]):
            raise ShapeError(f"{name} is a {type(x).__name__}: expected the kind of U")
    return checked


def balance(points: Sequence[Array]) -> tuple[list[np.ndarray], np.ndarray, float]:
    r"""Scales that make each coordinate equally large in all point sets and change no product; M; and R.

    :math:`M_l` is the product of the largest coordinates; R is the smaller of their sum and the product of the
    largest k-norms of k point sets (Hoelder): no sum over l of products exceeds it.
    """
    magnitudes = [_largest(x) for x in points]
    M = np.prod(magnitudes, axis=0)
    mean = M ** (1 / len(points))
    scales = [
        np.divide(mean, size, out=np.ones_like(mean), where=(M > 0) & (size > 0)) for size in magnitudes
    ]
    R = float(M.sum())
    if len(points) > 1:
        norms = [_largest_norm(x, scale, len(points)) for x, scale in zip(points, scales, strict=True)]
        R = min(R, math.prod(norms) * (1 + 1e-5 if any("32" in str(x.dtype) for x in points) else 1 + 1e-13))
    return scales, M, R


def expand_exp(
    M: np.ndarray,
    R: float | None = None,
    *,
    eps: float = 1e-3,
    degree: int | None = None,
    basis: str = "auto",
    index_set: str = "anisotropic",
    max_features: int = 20_000,
    tangent: bool = False,
) -> ExpExpansion:
    """Choose a polynomial and its monomials for ``x = sum_l x_l`` with ``|x_l| <= M_l`` and ``|x| <= R``.

    Parameters are those of :func:`exp_features` and :func:`exp_series`; M has shape (d,).
    """
    check_float("eps", eps, low=0, closed="neither")
    check_choice("basis", basis, BASES)
    check_choice("index_set", index_set, INDEX_SETS)
    check_int("max_features", max_features, low=1)
    R = float(M.sum()) if R is None else min(R, float(M.sum()))
    if index_set == "simplex":
        series = (
            smallest_exp_series(R, eps, basis, tangent)
            if degree is None
            else exp_series(R, degree, basis, tangent)
        )
        return _expansion(series, np.ones_like(M), 0.0, max_features)
    sizes = np.where(M > 0, np.exp2(np.ceil(8 * np.log2(np.where(M > 0, M, 1))) / 8), 0)
    if degree is not None:
        series = exp_series(R, degree, basis, tangent)
        return _expansion(series, sizes, series.bound, max_features)
    first = smallest_exp_series(R, eps, basis, tangent)
    found: list[ExpExpansion] = []
    refused: list[BoundError] = []
    for series in (
        first,
        exp_series(R, first.degree + 1, basis, tangent),
    ):  # a degree more may drop more terms
        try:
            found.append(_expansion(series, sizes, eps - series.bound, max_features))
        except BoundError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return min(found, key=lambda expansion: len(expansion.monomials))


def _expansion(series: ExpSeries, sizes: np.ndarray, spare: float, max_features: int) -> ExpExpansion:
    """``spare`` is the relative error that dropped terms may add."""
    with np.errstate(divide="ignore"):
        relative = np.log(np.abs(series.coefficients)) + gammaln(np.arange(series.degree + 1) + 1.0)
    cost = math.exp(float(relative.max()) + series.R)
    budget = max(spare, 0.0) / cost
    if budget > 0:
        budget = 2 ** (math.floor(4 * math.log2(budget)) / 4)  # few values, so that sets are found again
    monomials = _monomials(tuple(sizes.tolist()), series.degree, budget, max_features)
    weights = series.coefficients[monomials.degrees] * monomials.multinomials
    return ExpExpansion(series, monomials, weights, series.bound + monomials.dropped * cost)


@lru_cache(maxsize=64)
def _monomials(
    sizes: tuple[float, ...], degree: int, budget: float, max_features: int
) -> AnisotropicMonomials:
    return AnisotropicMonomials(np.array(sizes), degree, budget=budget, max_features=max_features)


def _largest(x: Array) -> np.ndarray:
    x = x.detach() if is_torch(x) else x
    flat = x.reshape(-1, x.shape[-1])
    if not len(flat):
        return np.zeros(x.shape[-1])
    largest = abs(flat).amax(0) if is_torch(x) else np.abs(flat).max(axis=0)
    return to_numpy(largest).astype(np.float64)


def _largest_norm(x: Array, scale: np.ndarray, power: int) -> float:
    x = abs(x.detach() if is_torch(x) else x) * _as(scale, x)
    if not math.prod(x.shape[:-1]):
        return 0.0
    return float((x**power).sum(-1).max()) ** (1 / power)


def _as(values: np.ndarray, reference: Array) -> Array:
    if is_torch(reference):
        import torch

        return torch.as_tensor(values, dtype=reference.dtype, device=reference.device)
    return values.astype(reference.dtype)


__all__ = ["ExpFeaturesInfo", "exp_features"]
