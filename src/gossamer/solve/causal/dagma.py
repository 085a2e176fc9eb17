"""DAGMA: the same path with least squares for a score, which is CoLiDE with its scale frozen at one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gossamer.solve.causal.path import LinearDAGResult, Schedule, follow
from gossamer.solve.iteration import Callback


def dagma(
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
    w_init: Any = None,
    is_cov: bool = False,
    acyclicity: str = "logdet",
    solver: str = "adam",
    callback: Callback | None = None,
) -> LinearDAGResult:
    r"""Estimate a linear DAG by least squares with an l1 norm (DAGMA).

    .. math:: \min_W\ \tfrac12 \mathrm{Tr}[(I-W)^\top S (I-W)] + \lambda \lVert W \rVert_1
              \quad \text{s.t. } W \text{ is acyclic}

    What :math:`\lambda` should be grows with the square of the noise. With ``acyclicity="expm"`` it is the problem of
    NOTEARS, solved along the path instead of by an augmented Lagrangian. The diagonal is held at zero.

    Parameters
    ----------
    X, lam, T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, w_init, is_cov, acyclicity, solver, callback
        As for :func:`colide_ev`.

    Returns
    -------
    LinearDAGResult
        ``sigma`` is 1.

    Raises
    ------
    ArgumentError
        As for :func:`colide_ev`.

    References
    ----------
    Bello, Aragam, Ravikumar, "DAGMA: Learning DAGs via M-matrices and a log-determinant acyclicity characterization",
    NeurIPS 2022, arXiv 2209.08037.
    """
    schedule = Schedule(
        T, mu, mu_factor, s, warm_iter, max_iter, lr, tol, checkpoint, acyclicity, solver, callback
    )
    return follow(X, "unit", lam, schedule, floor=1.0, w_init=w_init, is_cov=is_cov)
