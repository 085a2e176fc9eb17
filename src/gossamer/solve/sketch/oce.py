"""Whether a random sketch keeps one inner product: its mean, its variance and its tail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.linalg.sketches.sketch import Sketch

LEVELS = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, kw_only=True)
class OCEReport(Result):
    r"""What :func:`oce_check` measures.

    Attributes
    ----------
    exact : float
        ``g^T h``.
    mean, standard_error : float
        Mean of ``g^T S^T S h`` and its standard error; the first property says that it is ``exact``.
    variance : float
        Mean square of the deviation from ``exact``.
    alpha : float
        ``m`` times the variance over ``||g||^2 ||h||^2``: the constant of the second property.
    levels : tuple of float
        Probabilities of the quantiles.
    tail : tuple of float
        Quantiles of ``sqrt(m) |g^T S^T S h - g^T h| / (||g|| ||h||)``: beta of the third property for
        ``delta = 1 - level``. Those of a sparse sketch grow with m.
    trials : int
        Sketches drawn.
    """

    exact: float = 0.0
    mean: float = 0.0
    standard_error: float = 0.0
    variance: float = 0.0
    alpha: float = 0.0
    levels: tuple[float, ...] = LEVELS
    tail: tuple[float, ...] = ()
    trials: int = 0


def oce_check(
    sketch_factory: Callable[[np.random.Generator], Sketch],
    g: Any,
    h: Any,
    trials: int = 1000,
    *,
    random_state: RandomState = None,
) -> OCEReport:
    r"""Measure the coordinate-wise embedding property of a sketch on two fixed vectors.

    A family of sketches is an :math:`(\alpha, \beta, \delta)` embedding of coordinates if for any fixed g and h

    .. math:: E[g^T S^T S h] = g^T h, \quad
              E[(g^T S^T S h)^2] \le (g^T h)^2 + \tfrac{\alpha}{m} \|g\|^2 \|h\|^2, \quad
              P(|g^T S^T S h - g^T h| \ge \tfrac{\beta}{\sqrt m} \|g\| \|h\|) \le \delta.

    Dense sketches have a beta that does not depend on m. This is what bounds each coefficient of a sketched solution.

    Parameters
    ----------
    sketch_factory : callable
        ``sketch_factory(rng)`` returns a fresh sketch with n columns, drawn from a numpy Generator.
    g, h : array, shape (n,)
        The vectors, not zero.
    trials : int
        Sketches to draw.
    random_state : int, Generator or None
        Source of the generators.

    Returns
    -------
    OCEReport
        ``success`` if the mean is within five standard errors of the inner product.

    Raises
    ------
    ShapeError
        If g, h and the sketches do not fit together.

    References
    ----------
    Song, Ye, Yang, Zhang, arXiv 2302.00248, ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import SRHT
    >>> from gossamer.solve import oce_check
    >>> g, h = np.eye(256)[:2]
    >>> report = oce_check(lambda rng: SRHT(256, 64, seed=rng), g, h, 200, random_state=0)
    >>> report.success, report.alpha < 2
    (True, True)
    """
    g, h = (to_numpy(check_array(name, v, ndim=1)).astype(np.float64) for name, v in (("g", g), ("h", h)))
    if g.shape != h.shape or not g.any() or not h.any():
        raise ShapeError(
            f"g and h have shapes {g.shape} and {h.shape}: expected equal ones, and no zero vector"
        )
    trials = check_int("trials", trials, low=2)
    rng = check_random_state(random_state)
    pair, exact = np.stack([g, h], axis=1), float(g @ h)
    size = float(np.linalg.norm(g) * np.linalg.norm(h))
    products, m = np.empty(trials), 0
    for trial in range(trials):
        S = sketch_factory(rng)
        left, right = (S @ pair).T
        products[trial], m = left @ right, S.shape[0]
    deviation = products - exact
    mean, error = float(products.mean()), float(products.std(ddof=1) / math.sqrt(trials))
    variance = float(np.mean(deviation**2))
    tail = np.quantile(np.abs(deviation), LEVELS) * math.sqrt(m) / size
    allowed = 5 * error + 1e-12 * size
    return OCEReport(
        success=abs(mean - exact) <= allowed,
        message=f"mean {mean:.4g} of {trials} sketches, inner product {exact:.4g}",
        exact=exact,
        mean=mean,
        standard_error=error,
        variance=variance,
        alpha=m * variance / size**2,
        tail=tuple(float(q) for q in tail),
        trials=trials,
    )
