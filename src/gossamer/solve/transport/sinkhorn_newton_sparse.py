"""Entropic optimal transport to machine accuracy: Sinkhorn steps, then Newton steps with a sparse Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import bad_argument
from gossamer.linalg.transport.newton import Stages
from gossamer.linalg.transport.problem import Problem
from gossamer.solve.iteration import Callback
from gossamer.solve.transport.entropic import run_stages, solve_entropic, solve_many
from gossamer.solve.transport.result import EntropicOTResult


def sinkhorn_newton_sparse(
    C: Any,
    r: Any = None,
    c: Any = None,
    *,
    eta: float,
    n_sinkhorn: int | str = 20,
    max_newton: int = 100,
    tol: float = 1e-12,
    sparsity: str = "adaptive",
    density: float | None = None,
    linsolve: str = "cg",
    x0: Any = None,
    y0: Any = None,
    annealing: bool = False,
    round: bool = False,
    allow_inf: bool = False,
    n_jobs: int | None = None,
    callback: Callback | None = None,
) -> Any:
    r"""Solve entropic optimal transport to machine accuracy, also where the regularisation is small.

    :math:`\min_P \langle C, P\rangle + \frac1\eta \sum_{ij} p_{ij} \log p_{ij}` with :math:`P1 = r`,
    :math:`P^T 1 = c`. The dual :math:`f(x, y) = -\frac1\eta \sum_{ij} P_{ij} + \langle r, x\rangle + \langle c,
    y\rangle`, :math:`P_{ij} = \exp(\eta(x_i + y_j - c_{ij}) - 1)`, is maximised: some Sinkhorn steps bring the plan
    close to its sparse limit, then Newton steps follow whose Hessian keeps only the largest entries of P, at O(nm)
    each. The smaller the regularisation, the sparser the plan.

    Parameters
    ----------
    C : array, shape (n, m) or (B, n, m), or PointCost
        Costs; computed in double precision. Of a stack each problem is solved by itself. With :class:`PointCost`
        neither costs nor plan are stored.
    r, c : array, shapes (n,) and (m,), or one for each problem
        Marginals: at least 0, of the same sum; uniform of sum 1 by default. Where they are 0 so is the plan.
    eta : float
        Inverse of the regularisation (``1 / reg`` of other libraries).
    n_sinkhorn : int or "auto"
        Sinkhorn steps of the first stage. 20 serve costs whose optimal plan is unique; others, such as L1 distances
        on a grid, want hundreds. ``"auto"`` goes on until 90 % of the mass lies in as many entries as a Newton step
        may keep.
    max_newton : int
        Most Newton steps.
    tol : float
        Converged when the sum of absolute errors of both marginals is at most this share of the mass.
    sparsity : {"adaptive", "fixed"}
        Keep what is needed for the mass left out to be a tenth of the error, which makes the steps converge
        superlinearly; or a fixed share of the entries, as in the paper.
    density : float, optional
        That share; ``5 / min(n, m)`` by default.
    linsolve : {"cg", "direct"}
        Conjugate gradients on the Schur complement, or a sparse factorisation, for few entries a row.
    x0, y0 : array, shapes (n,) and (m,), optional
        Potentials to start from, of a similar problem.
    annealing : bool
        First solve roughly for ``eta / 64``, ``eta / 32`` and so on. Those steps count in ``nit_sinkhorn`` and
        ``nit_newton``; the history is that of ``eta``.
    round : bool
        Make the plan exactly feasible at the end.
    allow_inf : bool
        Take infinite costs for pairs between which nothing may go.
    n_jobs : int, optional
        Threads of one problem, or problems of a stack at a time; all cores by default.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every step.

    Returns
    -------
    EntropicOTResult
        Or a list of them for a stack. ``history`` has for every step its ``stage``, the error, the length of the
        step, the entries ``kept`` and the iterations of the linear solver. Without convergence ``success`` is
        False, and a warning is given.

    Raises
    ------
    ShapeError, ArgumentError
        If shapes do not fit, masses are negative or differ, costs are not finite, or an option is out of range.

    Notes
    -----
    Where a Newton step hardly gets on, 10 (then 20, 40, ... 640) more Sinkhorn steps are taken. Memory: costs and plan,
    16 n m bytes, and O(n + m) kept entries. The rounding of ``eta * C`` limits how right marginals can become: for
    exponents near 1e6 that is about 1e-10.

    References
    ----------
    Tang, Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao, Ying, "Accelerating Sinkhorn algorithm with sparse
    Newton iterations", ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import sinkhorn_newton_sparse
    >>> result = sinkhorn_newton_sparse(np.random.default_rng(0).random((50, 50)), eta=300.0)
    >>> result.success, result.marginal_error < 1e-12
    (True, True)
    """
    options: dict[str, Any] = {
        "eta": eta, "n_sinkhorn": n_sinkhorn, "max_newton": max_newton, "tol": tol, "sparsity": sparsity,
        "density": density, "linsolve": linsolve, "x0": x0, "y0": y0, "annealing": annealing, "round": round,
        "allow_inf": allow_inf, "callback": callback,
    }  # fmt: skip
    if np.ndim(C) == 3:
        return solve_many(sinkhorn_newton_sparse, C, r, c, n_jobs, **options)
    if isinstance(n_sinkhorn, str) and n_sinkhorn != "auto":
        raise bad_argument("n_sinkhorn", n_sinkhorn, 'an integer >= 1 or "auto"')
    stages = Stages(
        n_sinkhorn=None if isinstance(n_sinkhorn, str) else n_sinkhorn,
        max_newton=max_newton,
        sparsity=sparsity,
        density=density,
        linsolve=linsolve,
    )

    return solve_entropic(
        Problem(C, r, c, eta=eta, allow_inf=allow_inf, threads=n_jobs),
        run_stages(stages),
        kind=EntropicOTResult,
        method="sinkhorn_newton_sparse",
        tol=tol,
        limit=f"max_newton={stages.max_newton}",
        x0=x0,
        y0=y0,
        annealing=annealing,
        rounding=round,
        callback=callback,
    )


sns = sinkhorn_newton_sparse
