"""Block coordinate descent: any partition, any rule, any update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, unknown_choice
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.descent.blocks import Block, FixedBlocks
from gossamer.solve.descent.partitions import BY_GRAPH, BY_SIZE, explicit_blocks, partition_blocks
from gossamer.solve.descent.problems.problem import BCDProblem, State
from gossamer.solve.descent.scores import optimality
from gossamer.solve.descent.selection import FORESTS, Selection, make_selection
from gossamer.solve.descent.updates.gradient import (
    diagonal_step,
    exact_step,
    gradient_step,
    matrix_step,
    searching_step,
)
from gossamer.solve.descent.updates.messages import message_passing_step
from gossamer.solve.descent.updates.newton import newton_step
from gossamer.solve.descent.updates.prox_newton import prox_gradient_step, prox_newton_step
from gossamer.solve.descent.updates.two_metric import two_metric_step
from gossamer.solve.iteration import Callback, SolverResult, Watch

Update = Callable[[State, Block], None]

REFRESH = 1000
"""Iterations after which maintained quantities are computed anew."""
DEFAULT_UPDATE = {"none": "matrix", "l1": "prox-newton", "bounds": "tmp"}
SMOOTH: dict[str, Callable[[BCDProblem, np.ndarray], Update]] = {
    "gradient": lambda problem, D: gradient_step,
    "la": lambda problem, D: searching_step(problem),
    "diagonal": lambda problem, D: diagonal_step(D),
    "matrix": lambda problem, D: matrix_step,
    "newton": lambda problem, D: newton_step,
    "exact": lambda problem, D: exact_step,
    "message-passing": lambda problem, D: message_passing_step,
}
PROXIMAL: dict[str, Update] = {
    "prox-gradient": prox_gradient_step,
    "prox-newton": prox_newton_step,
    "tmp": two_metric_step,
}
ON_FORESTS = ("message-passing", "diagonal", "gradient", "la")


@dataclass(frozen=True, kw_only=True)
class BCDResult(SolverResult):
    """What block coordinate descent returns.

    Attributes
    ----------
    fun : float
        The objective at ``x``.
    grad_norm : float
        Norm of the subgradient of least norm at ``x``.
    identified_at : int or None
        Iteration since which no coordinate became zero or ceased to be, nor reached or left a bound; None without a
        penalty, or before convergence.
    blocks : list of ndarray
        The blocks in their order, if ``record``.
    nfev : int
        Evaluations of the objective, those of line searches included.
    flops : float
        Operations on the data, counted.
    """

    fun: float = np.nan
    grad_norm: float = np.nan
    identified_at: int | None = None
    blocks: list[np.ndarray] = field(default_factory=list, repr=False)
    nfev: int = 0
    flops: float = 0.0

    @property
    def fun_history(self) -> list[float]:
        """The objective at the start and after each iteration."""
        return self.history["fun"]

    @property
    def active_set_history(self) -> list[int]:
        """Coordinates at zero or at a bound, at the start and after each iteration; empty without a penalty."""
        return self.history.get("active", [])


def block_coordinate_descent(
    problem: BCDProblem,
    x0: Any = None,
    *,
    partition: str | Sequence[Any] = "variable",
    select: str = "gsd",
    update: str = "auto",
    block_size: int | None = None,
    maxiter: int = 1000,
    tol: float = 1e-8,
    diag: str = "auto",
    norm: int = 2,
    random_state: RandomState = None,
    callback: Callback | None = None,
    record: bool = False,
    graph: Any = None,
) -> BCDResult:
    r"""Minimise ``f(x) + sum_i h_i(x_i)`` a block of coordinates at a time.

    :math:`x_b \leftarrow x_b - H_b^{-1} \nabla_b f(x)`, or a scaled, proximal or projected form of it, on the block b
    that a rule picks. Greedy rules on variable blocks with matrix updates gain most from an iteration; cyclic or random
    rules cost less where the gradient of all coordinates is dear. On a sparse graph, take forests and message passing.

    Parameters
    ----------
    problem : BCDProblem
        :class:`LeastSquares`, :class:`Logistic`, :class:`MultinomialLogistic`, :class:`Quadratic`,
        :class:`LabelPropagation`, :class:`Lasso` or :class:`NonnegativeLS`.
    x0 : array, shape (n,), optional
        Start; zeros by default.
    partition : str or list of arrays
        ``"variable"``: any ``block_size`` coordinates at any iteration. Else fixed blocks: a rule of
        :func:`partition_blocks`, or the blocks themselves.
    select : str
        Any blocks: ``"random"``, ``"lipschitz"`` (by chance, weighted with L), ``"gs"`` (largest gradient), ``"gsl"``
        (divided by L_b), ``"gsd"`` (by the diagonal D). Fixed: ``"cyclic"``, ``"perm"``, ``"gsq"`` (by H_b),
        ``"cubic"``, ``"mi"`` (largest improvement; both look at all blocks). Variable: ``"gsq-iht"``, ``"gsq-omp"``
        (approximately by H), ``"general"`` (the best n^(1/3)), ``"forest-gs"``, ``"forest-gsd"``, ``"forest-random"``
        (maximal forests of the problem's graph). With a penalty: ``"gss"`` (subgradient, as ``"gs"``), ``"gsr"``
        (proximal step), ``"gsq"`` (decrease of a proximal step; ``"gsd"`` is the same with D).
    update : str
        ``"gradient"``, ``"la"`` (its L is searched for), ``"diagonal"``, ``"matrix"``, ``"newton"`` (with a line
        search), ``"exact"`` (quadratics), ``"message-passing"`` (forests); with a penalty ``"prox-gradient"``,
        ``"prox-newton"``, ``"tmp"`` (two-metric projection). ``"auto"``: matrix, message-passing for forests,
        prox-newton for absolute values, tmp for bounds.
    block_size : int, optional
        Coordinates in a block, at most 5 by default; forests, colours and ``"general"`` set their own.
    maxiter : int
        Most block iterations.
    tol : float
        Converged when ``max_i L_i |d_i|`` over proximal steps d is ``tol`` of what it was at ``x0``. Greedy rules look
        at every iteration, others once an epoch.
    diag : {"auto", "lipschitz", "rowsum"}
        Diagonal bound D: ``|b| L_i``, row sums of ``|H|``, or the smaller one.
    norm : {2, 1}
        Norm of a fixed block's gradient in ``"gs"`` and ``"gsl"``.
    random_state : int, Generator or None
        Source of random choices.
    callback : callable, optional
        Called with an :class:`Iteration` at the start and after every iteration.
    record : bool
        Keep the blocks.
    graph : array or sparse matrix, optional
        Neighbours, for the partitions ``"colour"`` and ``"forest"``; the problem's own by default.

    Returns
    -------
    BCDResult
        ``history`` has ``optimality``, ``fun``, ``seconds``, and ``active`` with a penalty.

    Raises
    ------
    ArgumentError
        If a rule, partition and update do not go together, a partition is none, or a size is out of range.
    UnsupportedError
        If the problem has no graph where one is needed.
    CostError
        If a dense block would not fit into memory.

    Notes
    -----
    A greedy iteration costs the rows that the block touches (sparse data), or a pass over the data (dense); a blind
    one the block's columns; ``|b|^3`` for matrices, ``|b|`` for forests. Memory: data by columns, by rows too for
    greedy rules on sparse data.

    References
    ----------
    Nutini, Laradji, Schmidt, "Let's Make Block Coordinate Descent Converge Faster", arXiv 1712.08859, JMLR 2022.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from gossamer.solve import LeastSquares, block_coordinate_descent
    >>> A = sp.random_array((200, 50), density=0.1, rng=0, format="csc")
    >>> result = block_coordinate_descent(LeastSquares(A, A @ np.ones(50)), block_size=10)
    >>> result.success, bool(np.allclose(result.x, 1, atol=1e-5))
    (True, True)
    """
    if not isinstance(problem, BCDProblem):
        raise UnsupportedError(f"problem is a {type(problem).__name__}: expected a BCDProblem")
    n, rng = problem.n, check_random_state(random_state)
    check_choice("diag", diag, ("auto", "lipschitz", "rowsum"))
    check_choice("norm", norm, (1, 2))
    tol = check_float("tol", tol, low=0)
    size = min(5, n) if block_size is None else check_int("block_size", block_size, low=1, high=max(n, 1))
    blocks = _blocks(problem, partition, size, graph)
    update, method = _update_name(problem, select, update, partition, blocks)
    selection = make_selection(
        problem, select, blocks, size, diag=diag, norm=norm, rng=rng, diagonal=update == "diagonal"
    )
    step = SMOOTH[update](problem, selection.D) if update in SMOOTH else PROXIMAL[update]
    state = problem.state(_start(problem, x0), selection.greedy)
    taken: list[np.ndarray] = []
    watch, changed = _descend(
        state, selection, step, maxiter=maxiter, tol=tol, callback=callback, taken=taken if record else None
    )
    penalised = problem.penalty.kind != "none"
    subgradient = problem.penalty.subgradient(state.x, state.gradient())
    return watch.result(
        state.x.astype(problem.dtype), kind=BCDResult, method=method, fun=watch.history["fun"][-1],
        grad_norm=float(np.linalg.norm(np.where(problem.frozen, 0.0, subgradient))),
        identified_at=changed if penalised and watch.status == 0 else None, blocks=taken, nfev=state.nfev,
        flops=state.flops,
    )  # fmt: skip


def _descend(
    state: State,
    selection: Selection,
    step: Update,
    *,
    maxiter: int,
    tol: float,
    callback: Callback | None,
    taken: list[np.ndarray] | None,
) -> tuple[Watch, int]:
    """The loop; also the last iteration at which the active set changed."""
    problem = state.problem
    penalty = problem.penalty
    penalised = penalty.kind != "none"
    safe = np.where(problem.frozen, 1.0, problem.lipschitz)
    g = state.gradient()
    value = optimality(state, g, safe)
    # a proximal step of rounding size is none: lam = max |A^T y| leaves x at zero
    rounding = 8 * np.finfo(np.float64).eps * float(np.abs(g).max(initial=0.0)) if penalised else 0.0
    watch = Watch("optimality", tol=max(tol * value, rounding), maxiter=maxiter, callback=callback)
    active = problem.n - int(penalty.free(state.x).sum()) if penalised else 0
    more: dict[str, Any] = {"active": active} if penalised else {}
    over = watch(state.x, value, fun=state.value(), **more)
    changed = 0
    while not over:
        block = selection.choose(state)
        before = penalty.free(state.x[block.ids], block.ids) if penalised else None
        step(state, block)
        if taken is not None:
            taken.append(block.ids.copy())
        if before is not None:
            after = penalty.free(state.x[block.ids], block.ids)
            active += int(before.sum()) - int(after.sum())
            changed = watch.nit + 1 if (after != before).any() else changed
            more = {"active": active}
        if (watch.nit + 1) % REFRESH == 0:
            state.refresh()
        if selection.greedy or (watch.nit + 1) % selection.epoch == 0:
            value = optimality(state, state.gradient(), safe)
        over = watch(state.x, value, fun=state.value(), **more)
    return watch, changed


def _start(problem: BCDProblem, x0: Any) -> np.ndarray:
    if x0 is None:
        x = np.zeros(problem.n)
    else:
        x = np.array(check_array("x0", x0, ndim=1), np.float64)
        if x.shape != (problem.n,):
            raise ShapeError(f"x0 has shape {x.shape}: expected ({problem.n},)")
        x[problem.frozen] = 0.0
    return np.clip(x, problem.penalty.low, problem.penalty.high)


def _blocks(problem: BCDProblem, partition: Any, size: int, graph: Any) -> FixedBlocks | None:
    if isinstance(partition, str):
        if partition == "variable":
            return None
        if partition not in (*BY_SIZE, *BY_GRAPH):
            raise unknown_choice("partition", partition, ("variable", *BY_SIZE, *BY_GRAPH))
        return FixedBlocks(problem, partition_blocks(problem, partition, size, graph))
    return FixedBlocks(problem, explicit_blocks(partition, problem.n))


def _update_name(
    problem: BCDProblem, select: str, update: str, partition: Any, blocks: FixedBlocks | None
) -> tuple[str, str]:
    """The update that runs, and a name for the whole; refuses what makes no sense."""
    kind = problem.penalty.kind
    forests = select in FORESTS
    if update == "auto":
        update = "message-passing" if forests else DEFAULT_UPDATE[kind]
    if kind != "none":
        allowed: tuple[str, ...] = tuple(PROXIMAL)
    elif forests:
        allowed = ON_FORESTS
    else:
        allowed = tuple(
            name
            for name in SMOOTH
            if (name != "exact" or problem.quadratic) and (name != "message-passing" or blocks is not None)
        )
    if update not in allowed:
        if update not in (*SMOOTH, *PROXIMAL):
            raise unknown_choice("update", update, ("auto", *allowed))
        raise ArgumentError(
            f"update={update!r} does not go with select={select!r}, "
            f"{'fixed' if blocks is not None else 'variable'} blocks and {type(problem).__name__}: "
            f"expected one of {', '.join(allowed)}"
        )
    name = partition if isinstance(partition, str) else "explicit"
    return update, f"{name}, {select}, {update}"
