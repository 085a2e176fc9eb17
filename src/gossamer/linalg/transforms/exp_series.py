"""Polynomials in place of the exponential function on an interval, with a bound on their relative error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, hyp1f1, ive

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, BoundError

BASES = ("auto", "taylor", "chebyshev")
CHEBYSHEV_RADIUS = 5.0
"""Beyond this the powers of a Chebyshev sum cancel too far for float64."""

_MOST_DEGREES = 200


@dataclass(frozen=True)
class ExpSeries:
    r"""``p(x) = sum_t coefficients[t] x^t`` with ``|p(x) - e^x| <= bound e^x`` for ``|x| <= R``.

    Attributes
    ----------
    basis : {"taylor", "chebyshev"}
        Where the coefficients come from.
    degree : int
        g.
    R : float
        Half-width of the interval.
    coefficients : array, shape (g + 1,)
        Of the powers of x.
    bound : float
        On the relative error.
    """

    basis: str
    degree: int
    R: float
    coefficients: np.ndarray
    bound: float

    @property
    def slope_error(self) -> float:
        """``|p'(0) / p(0) - 1|``: what a function of the quotients of small exponentials is off by, to first order."""
        slope = self.coefficients[1] / self.coefficients[0] if self.degree else 0.0
        return abs(float(slope) - 1) if self.R else 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """``p(x)``."""
        return np.polynomial.polynomial.polyval(x, self.coefficients)


def exp_series(R: float, degree: int, basis: str = "auto", tangent: bool = False) -> ExpSeries:
    r"""The Taylor or the Chebyshev polynomial of the exponential function on ``[-R, R]``.

    Taylor: the relative error is largest at ``-R``, where it is :math:`\int_0^R u^g e^u du / g!`. Chebyshev:
    :math:`I_0(R) + 2 \sum_{t=1}^g I_t(R) T_t(x/R)` is off by at most :math:`2 \sum_{t>g} I_t(R)`, which is
    :math:`e^R` times as much relative to ``e^x``.

    Parameters
    ----------
    R : float
        Half-width of the interval, not negative.
    degree : int
        g.
    basis : {"auto", "taylor", "chebyshev"}
        "auto" takes the smaller bound.
    tangent : bool
        Let "auto" compare the larger of bound and slope error. A Chebyshev polynomial of even degree spends its error
        on the slope at 0, where most arguments lie.

    Raises
    ------
    ArgumentError
        For ``basis="chebyshev"`` and R > 5, where its powers cancel too far for float64.
    """
    check_float("R", R, low=0)
    check_int("degree", degree, low=0)
    check_choice("basis", basis, BASES)
    if basis == "chebyshev" and R > CHEBYSHEV_RADIUS:
        raise ArgumentError(f"basis='chebyshev' with R={R:.4g}: expected R <= {CHEBYSHEV_RADIUS} or 'taylor'")
    found = [make(R, degree) for name, make in _MAKERS.items() if basis in (name, "auto")]
    return min(found, key=lambda series: _error(series, tangent))


def smallest_exp_series(R: float, eps: float, basis: str = "auto", tangent: bool = False) -> ExpSeries:
    """The polynomial of least degree whose relative error on ``[-R, R]`` is at most ``eps``.

    Parameters
    ----------
    R : float
        Half-width of the interval, not negative.
    eps : float
        Relative error, positive.
    basis : {"auto", "taylor", "chebyshev"}
        As in :func:`exp_series`.
    tangent : bool
        Keep the slope error within ``eps`` as well.

    Raises
    ------
    BoundError
        If 200 degrees are not enough.
    """
    check_float("R", R, low=0)
    check_float("eps", eps, low=0, closed="neither")
    check_choice("basis", basis, BASES)
    for degree in range(_MOST_DEGREES + 1):
        series = exp_series(R, degree, basis, tangent)
        if _error(series, tangent) <= eps:
            return series
    raise BoundError(f"eps={eps!r}: no polynomial of degree <= {_MOST_DEGREES} for |x| <= R = {R:.4g}", R)


def _error(series: ExpSeries, tangent: bool) -> float:
    return max(series.bound, series.slope_error) if tangent else series.bound


def _taylor(R: float, degree: int) -> ExpSeries:
    powers = np.exp(-gammaln(np.arange(degree + 1) + 1.0))
    return ExpSeries("taylor", degree, R, powers, _taylor_bound(R, degree))


def _chebyshev(R: float, degree: int) -> ExpSeries:
    bound = _chebyshev_bound(R, degree)
    if math.isinf(bound):
        return ExpSeries("chebyshev", degree, R, np.full(degree + 1, np.nan), bound)
    sums = 2 * math.exp(R) * ive(np.arange(degree + 1), R)
    sums[0] /= 2
    powers = np.polynomial.chebyshev.cheb2poly(sums) / R ** np.arange(degree + 1)
    return ExpSeries("chebyshev", degree, R, powers, bound)


_MAKERS = {"taylor": _taylor, "chebyshev": _chebyshev}


def _taylor_bound(R: float, degree: int) -> float:
    if R == 0:
        return 0.0
    leading = (degree + 1) * math.log(R) - gammaln(degree + 2.0)
    return math.exp(leading) * float(hyp1f1(degree + 1, degree + 2, R)) if leading < 700 else math.inf


def _chebyshev_bound(R: float, degree: int) -> float:
    if not 1e-6 < R <= CHEBYSHEV_RADIUS:  # below, the division by powers of R loses what it gains
        return math.inf
    tail = ive(np.arange(degree + 1, degree + 61), R)
    return 2 * math.exp(2 * R) * (float(tail.sum()) + float(tail[-1])) + 4e-16 * math.exp(2 * R)
