"""The Flag Aggregator: average the workers' directions after projecting them onto the subspace most of them share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.arrays import Array
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.solve.aggregation.gradients import Gradients
from gossamer.solve.aggregation.irls import Fit, Span, fit_subspace, make_loss

SCALES = ("median", "mean_raw", "reference")


@dataclass(frozen=True, kw_only=True)
class AggregationResult(Result):
    """What the flag family found out about the workers.

    Attributes
    ----------
    x : array or tensor, shape (n,) or (n, m)
        The combined gradient, or the basis of the subspace.
    coef : ndarray, shape (p,)
        ``x = sum_i coef_i g_i``; empty for a basis.
    quality : ndarray, shape (p,)
        Share of each gradient's squared norm inside the subspace; 0 for gradients that are zero or not finite.
    weights : ndarray, shape (p,)
        Final weight of each worker in the least squares, 0 as above.
    rank : int
        Dimension of the subspace: less than m where the gradients span less.
    nit : int
        Steps of the iteration.
    """

    x: Any = field(default=None, repr=False)
    coef: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    quality: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    weights: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    rank: int = 0
    nit: int = 0

    @property
    def objective(self) -> list[float]:
        """The objective at the start and after each step that was taken; never rises."""
        return self.history["objective"]


def flag_aggregate(
    G: Any,
    *,
    m: int | None = None,
    lam: float = 0.0,
    max_iter: int = 5,
    tol: float = 1e-10,
    eps: float = 1e-7,
    init: str = "svd",
    loss: str = "sqrt",
    beta_params: tuple[float, float] = (1.0, 0.5),
    scale: str = "median",
    return_info: bool = False,
    random_state: RandomState = None,
) -> Any:
    r"""Combine gradients of which some may be garbage, without being told how many.

    With unit gradients :math:`u_i` and :math:`d_{ij} = (u_i - u_j) / \|u_i - u_j\|`, find

    .. math:: \min_{Y^T Y = I_m} \sum_i \sqrt{1 - \|Y^T u_i\|^2}
              + \frac{\lambda}{p-1} \sum_{i \ne j} \sqrt{1 - \|Y^T d_{ij}\|^2}

    and return :math:`\frac{s}{p} \sum_i Y Y^T u_i`, where s is the median norm. The whole computation is one Gram
    matrix of the gradients, small problems in its coordinates, and one combination.

    Use it when the number of bad workers is not known. If it is, and they are few, Multi-Krum or the trimmed mean can
    be a little better. Workers that collude on one direction and number m or more define the subspace: no m protects
    from a majority.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients; a list may hold memory maps. float32 in, float32 out; the Gram matrix is float64.
    m : int, optional
        Dimension of the subspace, ``ceil((p + 1) / 2)`` by default.
    lam : float
        :math:`\lambda`. Positive where honest workers differ by design (augmentation, other data): it pulls the
        directions in which they differ into the subspace.
    max_iter : int
        Most steps of iteratively re-weighted least squares.
    tol : float
        A step that lowers the objective by less is the last.
    eps : float
        Added to ``1 - v`` in the weights (not in the objective), which are infinite at v = 1.
    init : {"svd", "random"}
        Start from the leading singular directions, or from a random subspace of the span.
    loss : {"sqrt", "sq", "beta"}
        Of a worker's share v: ``sqrt(1 - v)``; ``1 - v``, which is a plain truncated SVD; or minus the logarithm of
        the density of ``Beta(*beta_params)``, of whose value at (1, 1/2) the square root is an approximation.
    beta_params : (float, float)
        :math:`\alpha, \beta` for ``loss="beta"``. With :math:`\alpha > 1` the objective may not fall at every step;
        the best subspace is kept.
    scale : {"median", "mean_raw", "reference"}
        Length of the result: the median norm times the mean of projected unit gradients; the mean of projected raw
        gradients (a large norm then counts); or ``sum_i Y Y^T u_i / m``, as the authors' program does.
    return_info : bool
        Return also an :class:`AggregationResult`.
    random_state : int, Generator or None
        For ``init="random"``; the same in all processes that share the coordinates.

    Returns
    -------
    array or tensor, shape (n,)
        In kind and dtype as G; with ``return_info`` a pair.

    Raises
    ------
    ShapeError, ArgumentError
        Fewer than two workers, unequal lengths, m outside 1..p, negative ``lam``, or fewer than two finite gradients.

    Warns
    -----
    RuntimeWarning
        Gradients with NaN or infinities (or a norm whose square is not a float64) are left out.

    Notes
    -----
    ``O(p^2 n)`` for the Gram matrix, ``O(p n)`` for the result, ``O(p^3)`` a step whatever ``lam`` is. G is read twice.
    A zero gradient has no direction: it counts in p and has quality 0. Two unit gradients nearer than 1e-6 are no pair.

    References
    ----------
    Almasi, Mishra, Vamanan, Ravi. Flag Aggregator: Scalable Distributed Training under Failures and Augmented Losses
    using Convex Optimization. ICLR 2024, arXiv 2302.05865.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import flag_aggregate
    >>> rng = np.random.default_rng(0)
    >>> G = 1 + 0.1 * rng.normal(size=(9, 1000))
    >>> G[:2] = 50 * rng.normal(size=(2, 1000))
    >>> g, info = flag_aggregate(G, m=1, return_info=True)
    >>> info.quality.round(1).tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    gradients = Gradients.of(G)
    check_choice("scale", scale, SCALES)
    found = _fit(gradients, m, lam, max_iter, tol, eps, init, loss, beta_params, random_state)
    span, fit, p = found.span, found.fit, found.kept.p
    whole = span.X @ (span.norms[span.live] if scale == "mean_raw" else np.ones(span.X.shape[1]))
    unit = span.back @ (fit.Z @ (fit.Z.T @ whole))
    unit *= {"median": float(np.median(span.norms)) / p, "mean_raw": 1 / p, "reference": 1 / found.m}[scale]
    coef = np.zeros(p)
    coef[span.live] = unit / span.norms[span.live]
    x = found.kept.combine(coef)
    return (x, _result(gradients, found, x, coef)) if return_info else x


def flag_mean(G: Any, *, m: int | None = None, return_info: bool = False) -> Any:
    r"""Return the flag mean of directions: the m-dimensional subspace nearest to them in the mean of squares.

    .. math:: \min_{Y^T Y = I_m} \sum_i 1 - \|Y^T u_i\|^2, \qquad u_i = g_i / \|g_i\|

    Equivalent to ``numpy.linalg.svd`` of the unit gradients as columns, m leading left singular vectors.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients or other vectors, as for :func:`flag_aggregate`.
    m : int, optional
        Dimension, ``ceil((p + 1) / 2)`` by default.
    return_info : bool
        Return also an :class:`AggregationResult`.

    Returns
    -------
    array or tensor, shape (n, m)
        Orthonormal columns, in kind and dtype as G; fewer where the vectors span less.

    Raises
    ------
    ShapeError, ArgumentError
        As :func:`flag_aggregate`.

    References
    ----------
    Draper, Kirby, Marks, Marrinan, Peterson. A flag representation for finite collections of subspaces of mixed
    dimensions. Linear Algebra and its Applications, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import flag_mean
    >>> Y = flag_mean([np.array([1.0, 0, 0]), np.array([2.0, 0, 0])], m=1)
    >>> np.abs(Y[:, 0]).tolist()
    [1.0, 0.0, 0.0]
    """
    return _basis(G, return_info, m, 0.0, 1, 0.0, 1e-7, "svd", "sq", (1.0, 0.5), None)


def flag_median(
    G: Any,
    *,
    m: int | None = None,
    max_iter: int = 100,
    tol: float = 1e-10,
    eps: float = 1e-7,
    init: str = "svd",
    return_info: bool = False,
    random_state: RandomState = None,
) -> Any:
    r"""Return the flag median of directions: the m-dimensional subspace nearest to them in the mean of distances.

    .. math:: \min_{Y^T Y = I_m} \sum_i \sqrt{1 - \|Y^T u_i\|^2}, \qquad u_i = g_i / \|g_i\|

    Directions far from the others hardly turn it, unlike :func:`flag_mean`.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients or other vectors, as for :func:`flag_aggregate`.
    m : int, optional
        Dimension, ``ceil((p + 1) / 2)`` by default.
    max_iter, tol, eps, init, random_state
        Of the iteration, see :func:`flag_aggregate`. The minimum found is a local one.
    return_info : bool
        Return also an :class:`AggregationResult`.

    Returns
    -------
    array or tensor, shape (n, m)
        Orthonormal columns, in kind and dtype as G; fewer where the vectors span less.

    Raises
    ------
    ShapeError, ArgumentError
        As :func:`flag_aggregate`.

    References
    ----------
    Mankovich, King, Peterson, Kirby. The flag median and FlagIRLS. CVPR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import flag_median
    >>> Y = flag_median(np.array([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]), m=1)
    >>> np.abs(Y[:, 0]).round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    return _basis(G, return_info, m, 0.0, max_iter, tol, eps, init, "sqrt", (1.0, 0.5), random_state)


class _Found(NamedTuple):
    kept: Gradients
    span: Span
    fit: Fit
    m: int


def _fit(
    gradients: Gradients,
    m: int | None,
    lam: float,
    max_iter: int,
    tol: float,
    eps: float,
    init: str,
    loss: str,
    beta_params: tuple[float, float],
    random_state: RandomState,
) -> _Found:
    lam = check_float("lam", lam, low=0)
    tol = check_float("tol", tol, low=0)
    max_iter = check_int("max_iter", max_iter, low=1)
    check_choice("init", init, ("svd", "random"))
    terms = make_loss(loss, beta_params, eps)
    rng = check_random_state(random_state)
    if m is not None:
        m = check_int("m", m, low=1, high=gradients.p)
    kept, K = gradients.finite_gram()
    m = math.ceil((kept.p + 1) / 2) if m is None else min(m, kept.p)
    span = Span.of_gram(K)
    start = None
    if init == "random" and m < span.rank:
        start = np.linalg.qr(rng.standard_normal((span.rank, m)))[0]
    fit = fit_subspace(span.X, m, kept.p, terms, lam=lam, max_iter=max_iter, tol=tol, start=start)
    return _Found(kept, span, fit, m)


def _basis(G: Any, return_info: bool, *options: Any) -> Any:
    gradients = Gradients.of(G)
    found = _fit(gradients, *options)
    span, kept = found.span, found.kept
    per_gradient = np.zeros((kept.p, found.fit.Z.shape[1]))
    per_gradient[span.live] = (span.back @ found.fit.Z) / span.norms[span.live, None]
    Y = kept.combine_columns(per_gradient)
    return (Y, _result(gradients, found, Y, None)) if return_info else Y


def _result(gradients: Gradients, found: _Found, x: Array, coef: np.ndarray | None) -> AggregationResult:
    span, fit, kept = found.span, found.fit, found.kept

    def at_workers(values: np.ndarray) -> np.ndarray:
        full = np.zeros(kept.p)
        full[span.live] = values
        return kept.spread(full, gradients.p)

    return AggregationResult(
        x=x,
        coef=np.empty(0) if coef is None else kept.spread(coef, gradients.p),
        quality=at_workers(fit.quality),
        weights=at_workers(fit.weights),
        rank=fit.Z.shape[1],
        nit=fit.nit,
        success=fit.converged,
        message=fit.message,
        history={"objective": fit.objective},
    )
