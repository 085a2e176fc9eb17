r"""CoLiDE: a sparse directed acyclic graph of linear effects, estimated together with the scale of its noise.

The model is :math:`x = W^\top x + z`. A score that is jointly convex in the graph and the noise scale (a smoothed
concomitant lasso) is minimised along a path that ends at acyclic graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gossamer.solve.causal.path import LinearDAGResult, Schedule, follow
from gossamer.solve.iteration import Callback


def colide_ev(
    X: Any,
    lam: float = 0.05,
    *,
    T: int = 4,
    mu: float = 1.0,
    mu_factor: float = 0.1,
    s: Sequence[float] | float = (1.0, 0.9, 0.8, 0.7),
    warm_iter: int = 20_000,
    max_iter: int = 70_000,
    lr: float = 3e-4,
    tol: float = 1e-6,
    checkpoint: int = 1000,
    sigma_floor: float = 1e-2,
    w_init: Any = None,
    is_cov: bool = False,
    acyclicity: str = "logdet",
    solver: str = "adam",
    callback: Callback | None = None,
) -> LinearDAGResult:
    r"""Estimate a linear DAG whose noise has one common scale (CoLiDE-EV).

    .. math:: \min_{W, \sigma \geq \sigma_0}\ \frac{1}{2\sigma} \mathrm{Tr}[(I-W)^\top S (I-W)] + \frac{d\sigma}{2}
              + \lambda \lVert W \rVert_1 \quad \text{s.t. } W \text{ is acyclic}

    S is the covariance. Stage k of T minimises :math:`\mu_k` times the score plus a measure of cycles from where the
    last stage ended, :math:`\mu_k` falling. Since the scale is estimated, a rescaling of all data by c asks for c times
    the :math:`\lambda`, not :math:`c^2` times as in least squares. Columns are centred, never scaled: the method reads
    order from the sizes of variances, so do not standardise what has a natural scale. One iteration costs
    :math:`O(d^3)`; n enters through S alone.

    Parameters
    ----------
    X : array, shape (n, d)
        Observations in rows; or the covariance (d, d) with ``is_cov``. float32 is computed with in float64.
    lam : float
        Weight of the l1 norm.
    T : int
        Stages.
    mu, mu_factor : float
        Weight of the score in the first stage, and what it is multiplied by from one to the next.
    s : float or sequence of float
        Bounds on the spectral radius of ``W * W`` by stage, falling; the last one is repeated. "logdet" only.
    warm_iter, max_iter : int
        Most iterations of a stage before the last, and of the last.
    lr : float
        Rate of Adam, or first step length of FISTA.
    tol : float
        A stage ends when its objective changes by less than this, relatively, from one checkpoint to the next.
    checkpoint : int
        Iterations of Adam between such tests; FISTA is tested 20 times as often.
    sigma_floor : float
        Least scale, as a multiple of the root of the mean variance.
    w_init : array, shape (d, d), optional
        Graph to start from; zero by default.
    is_cov : bool
        Whether X is a covariance (over n, not n - 1), for instance of :func:`partial_cov`.
    acyclicity : {"logdet", "expm", "poly"}
        Measure of cycles, see :func:`acyclicity`.
    solver : {"adam", "fista"}
        "adam", the method as published; "fista" takes proximal steps on the score with its scale minimised out, with
        backtracking inside the domain: weights become exactly zero and the objective never rises, at two to three
        times the cost of an iteration.
    callback : callable, optional
        Called with an :class:`Iteration` at every checkpoint; ends the path by returning True.

    Returns
    -------
    LinearDAGResult
        Weights before any threshold; ``.to_dag(0.3)`` is the graph.

    Raises
    ------
    ArgumentError
        For NaN, fewer than 2 rows or columns, a constant column, a covariance that is none, a negative ``lam``, ``s``
        that does not fall, and a ``w_init`` with a diagonal or outside the domain.

    See Also
    --------
    colide_nv : One scale a variable.
    dagma : The same without scales.
    gossamer.learn.CoLiDE : The estimator.

    Notes
    -----
    The measure of cycles is defined for M-matrices only. A step that leaves them is undone and halved; in the first
    iteration of a stage, or with s up to 0.9, the stage starts again with half the rate and s larger by 0.1.

    References
    ----------
    Saboksayr, Mateos, Tepper, "CoLiDE: Concomitant Linear DAG Estimation", ICLR 2024, arXiv 2310.02895.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import colide_ev
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.normal(size=1000)
    >>> X = np.c_[cause, 1.5 * cause + rng.normal(size=1000)]
    >>> colide_ev(X, solver="fista").to_dag().round(1)
    array([[0. , 1.5],
           [0. , 0. ]])
    """
    schedule = Schedule(
        T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, acyclicity, solver, callback
    )
    return follow(X, "ev", lam, schedule, floor=sigma_floor, w_init=w_init, is_cov=is_cov)


def colide_nv(
    X: Any,
    lam: float = 0.05,
    *,
    T: int = 4,
    mu: float = 1.0,
    mu_factor: float = 0.1,
    s: Sequence[float] | float = (1.0, 0.9, 0.8, 0.7),
    warm_iter: int = 20_000,
    max_iter: int = 70_000,
    lr: float = 3e-4,
    tol: float = 1e-6,
    checkpoint: int = 1000,
    sigma_floor: float = 1e-2,
    w_init: Any = None,
    is_cov: bool = False,
    acyclicity: str = "logdet",
    solver: str = "adam",
    callback: Callback | None = None,
) -> LinearDAGResult:
    r"""Estimate a linear DAG whose noise has a scale of its own in every variable (CoLiDE-NV).

    .. math:: \min_{W, \Sigma \geq \Sigma_0}\ \tfrac12 \mathrm{Tr}[\Sigma^{-1} (I-W)^\top S (I-W)]
              + \tfrac12 \mathrm{Tr}\,\Sigma + \lambda \lVert W \rVert_1 \quad \text{s.t. } W \text{ is acyclic}

    :math:`\Sigma` is the diagonal matrix of standard deviations. With Gaussian noise of different variances a DAG is
    not identified by the data: NV fits such data better, and still can find another graph. Starting from the weights
    of :func:`colide_ev` often helps.

    Parameters
    ----------
    X, lam, T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, w_init, is_cov, acyclicity, solver, callback
        As for :func:`colide_ev`.
    sigma_floor : float
        Least scale of a variable, as a multiple of its own standard deviation.

    Returns
    -------
    LinearDAGResult
        ``sigma`` has shape (d,).

    Raises
    ------
    ArgumentError
        As for :func:`colide_ev`.

    References
    ----------
    Saboksayr, Mateos, Tepper, "CoLiDE: Concomitant Linear DAG Estimation", ICLR 2024, arXiv 2310.02895.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import colide_nv
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.normal(size=1000)
    >>> X = np.c_[cause, 1.5 * cause + 2 * rng.normal(size=1000)]
    >>> colide_nv(X, solver="fista").sigma.round(1)
    array([1., 2.])
    """
    schedule = Schedule(
        T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, acyclicity, solver, callback
    )
    return follow(X, "nv", lam, schedule, floor=sigma_floor, w_init=w_init, is_cov=is_cov)
