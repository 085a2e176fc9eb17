"""The front door of multi-block bilevel optimisation."""

from __future__ import annotations

from typing import Any

from gossamer._core.checks import check_choice
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState
from gossamer.solve.bilevel.aid import ExactAID
from gossamer.solve.bilevel.bsvrb import BSVRB
from gossamer.solve.bilevel.loop import BilevelResult, BlockMethod, Schedule
from gossamer.solve.bilevel.problem import MultiBlockProblem
from gossamer.solve.bilevel.rsvrb import RSVRB
from gossamer.solve.bilevel.stocbio import StocBiO
from gossamer.solve.iteration import Callback
from gossamer.solve.shards import Reduce

METHODS = ("v2", "v1", "rsvrb", "stocbio", "soba", "aid")


def multi_block_bilevel(
    problem: MultiBlockProblem,
    x0: Any,
    y0: Any = None,
    *,
    method: str = "v2",
    maxiter: int = 1000,
    blocks_per_step: int | None = None,
    batch_size: int = 32,
    lr: float = 1e-2,
    lr_lower: Any = 0.5,
    lr_v: Any = None,
    alpha: float = 0.1,
    beta: float = 0.1,
    gamma: Any = "theory",
    mu: float | None = None,
    smooth: float | None = None,
    v_radius: float | None = None,
    lazy: bool = True,
    scaling: str | None = None,
    schedule: Schedule = None,
    tol: float | None = None,
    eval_every: int = 100,
    callback: Callback | None = None,
    random_state: RandomState = None,
    reduce: Reduce | None = None,
) -> BilevelResult:
    r"""Minimise a mean over many inner problems, from samples of a few of them a step.

    :math:`\min_x \frac1m \sum_i f_i(x, y_i(x))` with :math:`y_i(x) = \arg\min_y g_i(x, y)`.

    A step touches I of the m inner problems and B samples of each, keeps variance-reduced estimates of all, and inverts
    no sampled Hessian. More blocks and larger batches need fewer steps, about in proportion.
    Start with the defaults; halve ``lr_lower`` if it diverges; with few blocks a step (I << m) keep ``gamma`` as it is
    and give ``smooth``, which bounds the step. ``alpha`` and ``beta`` up to 0.9 suit little noise.

    Parameters
    ----------
    problem : MultiBlockProblem
        Oracles; a ready one (:class:`HyperWeighting`, :class:`TopKNDCG`, :class:`TaskRidge`,
        :class:`QuadraticBilevel`), one of :func:`bilevel_from_torch`, or an own subclass.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    method : {"v2", "v1", "rsvrb", "stocbio", "soba", "aid"}
        BSVRB with tracked Hessian-vector solutions (v2) or Hessians (v1, dim_y up to about a hundred); baselines:
        :class:`RSVRB`, :class:`StocBiO`, SOBA's plain simultaneous SGD of x, y and v (v2 with alpha = beta = 1, gamma
        = 0), and :class:`ExactAID`.
    maxiter : int
        Iterations.
    blocks_per_step : int, optional
        I; ``max(1, m // 10)`` by default.
    batch_size : int
        B.
    lr : float
        Step length of x.
    lr_lower, lr_v : float or array, shape (m,)
        Step lengths of y and of v (as y by default); one a block where their curvatures differ.
    alpha, beta : float
        Weights of the newest sample in MSVR and STORM.
    gamma : "theory" or float
        Weight of MSVR's correction.
    mu, smooth : float, optional
        Bounds of the eigenvalues of inner Hessians; the problem's own by default. v1 and rsvrb need ``mu``.
    v_radius : float, optional
        Largest norm of v (v2).
    lazy : bool
        Move blocks when they are sampled; the iterates are the same.
    scaling : None or "adam"
        Scale the outer direction by its running root mean square (v1, v2).
    schedule : None, "stage" or callable
        Factor of all step lengths: one, a tenth from half the iterations on, or a function of the progress in [0, 1).
    tol : float, optional
        End when the norm of the estimate of the gradient of F is at most this, after two rounds of visits on average.
    eval_every : int
        Iterations between evaluations of F and its gradient on all data; 0 for none.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.
    random_state : int or Generator
        Source of blocks and samples.
    reduce : callable, optional
        Sums over processes that own the other blocks (v1, v2; :func:`all_reduce_sum`).

    Returns
    -------
    BilevelResult
        ``x``, ``y``, histories, oracle calls. ``success`` is False if it diverged or ``tol`` was not reached.

    Raises
    ------
    ArgumentError, ShapeError
        An argument is out of range, an oracle is missing, or it returns another shape than it should.
    CostError
        v1 with dim_y above 2000.

    References
    ----------
    Hu, Qiu, Guo, Zhang, Yang. Blockwise stochastic variance-reduced methods with parallel speedup for multi-block
    bilevel optimization. ICML 2023, arXiv 2305.18730.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import QuadraticBilevel, multi_block_bilevel
    >>> problem = QuadraticBilevel(64, 10, 5, seed=0, noise=1.0)
    >>> result = multi_block_bilevel(problem, np.full(10, 2.0), method="v1", maxiter=1000, blocks_per_step=16,
    ...                              batch_size=4, lr=0.03, lr_lower=0.05, random_state=0)
    >>> bool(result.grad_norm_history[-1] < 0.1 * result.grad_norm_history[0])
    True
    """
    check_choice("method", method, METHODS)
    for name, value in (("scaling", scaling), ("reduce", reduce)):
        if value is not None and method in ("rsvrb", "stocbio", "aid"):
            raise bad_argument(name, value, f"None with method={method!r}")
    drawn: dict[str, Any] = {"blocks_per_step": blocks_per_step, "lr": lr, "random_state": random_state}
    if method != "aid":
        drawn |= {"batch_size": batch_size, "lr_lower": lr_lower}
    run: BlockMethod
    if method == "aid":
        run = ExactAID(problem, x0, y0, **drawn)
    elif method == "stocbio":
        run = StocBiO(problem, x0, y0, lr_v=lr_v, **drawn)
    elif method == "rsvrb":
        run = RSVRB(problem, x0, y0, beta=beta, mu=mu, smooth=smooth, **drawn)
    else:
        as_soba = method == "soba"
        run = BSVRB(
            problem, x0, y0, variant="v2" if as_soba else method, lr_v=lr_v, alpha=1.0 if as_soba else alpha,
            beta=1.0 if as_soba else beta, gamma=0.0 if as_soba else gamma, mu=mu, smooth=smooth, v_radius=v_radius,
            lazy=lazy, scaling=scaling, reduce=reduce, **drawn,
        )  # fmt: skip
        run.name = "soba" if as_soba else run.name
    return run.run(maxiter, tol=tol, schedule=schedule, eval_every=eval_every, callback=callback)
