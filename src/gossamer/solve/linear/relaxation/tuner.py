"""Solving a sequence of systems while learning which relaxation parameter solves them fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._core.random import RandomState
from gossamer.solve.iteration import MAXITER as LIMIT
from gossamer.solve.iteration import STOPPED
from gossamer.solve.linear.relaxation.chebcb import ChebCB
from gossamer.solve.linear.relaxation.learner import Guarded, Learner
from gossamer.solve.linear.relaxation.sor import sor
from gossamer.solve.linear.relaxation.ssor_pcg import ssor_pcg
from gossamer.solve.linear.relaxation.system import RelaxationResult
from gossamer.solve.linear.relaxation.tsallis_inf import TsallisINF, TsallisINFContextual

MAXITER = 10_000
SOLVERS: dict[str, Callable[..., RelaxationResult]] = {"sor": sor, "ssor_pcg": ssor_pcg}
LEARNERS = ("chebcb", "tsallis", "tsallis-cb")


class RelaxationTuner(Guarded):
    """Solve one system after another, and learn from the counts which relaxation parameter to take.

    Every solve is one question to a learner, one run of the solver, and one answer: the number of iterations. Nothing
    else is looked at; there is no estimate of eigenvalues and no work on matrices besides the solves.

    Several threads may solve with one tuner: answers are taken in as they come. A tuner can be pickled.

    Parameters
    ----------
    method : str
        ``"ssor_pcg"`` or ``"sor"``.
    learner : str or Learner
        ``"chebcb"`` (:class:`ChebCB`) and ``"tsallis-cb"`` (:class:`TsallisINFContextual`) choose by a context;
        ``"tsallis"`` (:class:`TsallisINF`) learns one parameter for all. Or anything with their ``ask``, ``tell``,
        ``withdraw`` and ``best``.
    grid : array or OmegaGrid, optional
        Parameters to choose from, where ``learner`` is a name.
    bounds : tuple of two floats, optional
        Interval of the contexts, where the learner takes them.
    clip : bool
        Take contexts outside for the nearest bound, instead of refusing them.
    max_cost : int, optional
        Stop a solve after so many iterations and finish it with the parameter that the learner holds best. What the
        stopped part took is part of its cost. Off by default: it changes what is learned.
    random_state : int or Generator, optional
        Of the learner, where it is made here.
    **options
        Passed to every solve: ``rtol``, ``maxiter``, ``ordering`` and so on.

    Attributes
    ----------
    learner : Learner
        What chooses.
    n_solves, n_iterations : int
        So far.

    Raises
    ------
    ArgumentError
        If a name is unknown, or a learner by context lacks ``bounds``.

    References
    ----------
    Khodak, Chow, Balcan and Talwalkar, "Learning to relax: setting solver parameters across a sequence of linear
    system instances", ICLR 2024, arXiv 2310.02246.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import GridStencil, RelaxationTuner
    >>> tuner = RelaxationTuner("ssor_pcg", "chebcb", bounds=(0.0, 1.0), random_state=0)
    >>> for t in range(20):
    ...     shift = (t * 0.618) % 1
    ...     result = tuner.solve(GridStencil((20, 20), shift=shift), np.ones(400), context=shift)
    >>> result.success, tuner.n_solves
    (True, 20)
    """

    def __init__(
        self,
        method: str = "ssor_pcg",
        learner: str | Learner = "chebcb",
        grid: Any = None,
        bounds: tuple[float, float] | None = None,
        *,
        clip: bool = False,
        max_cost: int | None = None,
        random_state: RandomState = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.method = check_choice("method", method, SOLVERS)
        self.learner = _learner(learner, grid, bounds, clip, random_state)
        self.max_cost = None if max_cost is None else check_int("max_cost", max_cost, low=1)
        self.options = options
        if "omega" in options:
            raise ArgumentError("omega is what the tuner chooses: expected options of the solver besides it")
        self.n_solves = self.n_iterations = 0

    def solve(
        self, A: Any, b: Any, x0: Any = None, context: float | None = None, **options: Any
    ) -> RelaxationResult:
        """Solve ``A x = b`` with a parameter that the learner chooses, and tell it what that took.

        Parameters
        ----------
        A, b, x0 : matrix, array, array
            As :func:`sor` and :func:`ssor_pcg` take them.
        context : float, optional
            A number that tells systems apart, for learners that take one.
        **options
            For this solve, over those of the tuner.

        Returns
        -------
        RelaxationResult
            ``omega`` is the parameter that was chosen. A solve that fails costs ``maxiter``; of one that a callback
            stopped the learner hears nothing.

        Raises
        ------
        ArgumentError, ShapeError, UnsupportedError
            As the solver; the learner then learns nothing.
        """
        options = {**self.options, **options}
        index, omega = self.learner.ask(context)
        try:
            result = self._run(A, b, x0, omega, context, options)
        except BaseException:
            self.learner.withdraw(index, context)
            raise
        if result.status == STOPPED:
            self.learner.withdraw(index, context)
        else:
            cost = result.nit if result.success else options.get("maxiter", MAXITER)
            self.learner.tell(index, max(cost, 1), context)
        with self._lock:
            self.n_solves += 1
            self.n_iterations += result.nit
        return result

    def _run(
        self, A: Any, b: Any, x0: Any, omega: float, context: float | None, options: dict[str, Any]
    ) -> RelaxationResult:
        solver = SOLVERS[self.method]
        limit = options.get("maxiter", MAXITER)
        if self.max_cost is None or self.max_cost >= limit:
            return solver(A, b, omega=omega, x0=x0, **options)
        first = solver(A, b, omega=omega, x0=x0, **{**options, "maxiter": self.max_cost})
        if first.status != LIMIT:
            return first
        rest = {**options, "maxiter": limit - first.nit, "rtol": 0.0, "atol": first.goal}
        second = solver(A, b, omega=self.learner.best(context)[1], x0=first.x, **rest)
        history = {name: values + second.history[name][1:] for name, values in first.history.items()}
        return RelaxationResult(
            x=second.x,
            nit=first.nit + second.nit,
            status=second.status,
            success=second.success,
            message=f"after {first.nit} iterations with omega={omega:g}: {second.message}",
            value=second.value,
            method=second.method,
            history=history,
            omega=omega,
            ordering=second.ordering,
            goal=first.goal,
        )


def _learner(
    learner: str | Learner,
    grid: Any,
    bounds: tuple[float, float] | None,
    clip: bool,
    random_state: RandomState,
) -> Learner:
    if not isinstance(learner, str):
        missing = [name for name in ("ask", "tell", "withdraw", "best") if not hasattr(learner, name)]
        if missing:
            raise UnsupportedError(
                f"learner is a {type(learner).__name__} without {', '.join(missing)}: "
                f"expected a learner, or one of {', '.join(LEARNERS)}"
            )
        return learner
    if check_choice("learner", learner, LEARNERS) == "tsallis":
        return TsallisINF(grid, random_state=random_state)
    if bounds is None:
        raise ArgumentError(f"bounds=None: learner={learner!r} needs the interval of the contexts")
    if learner == "chebcb":
        return ChebCB(grid, bounds=bounds, clip=clip, random_state=random_state)
    return TsallisINFContextual(grid, bounds=bounds, clip=clip, random_state=random_state)
