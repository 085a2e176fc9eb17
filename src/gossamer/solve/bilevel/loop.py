"""What all block methods share: arguments, drawing, stopping, results, checkpoints."""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.bilevel.checkpoint import read_checkpoint, write_checkpoint
from gossamer.solve.bilevel.exact import objective
from gossamer.solve.bilevel.inner import Rate
from gossamer.solve.bilevel.problem import Counted, MultiBlockProblem, check_problem
from gossamer.solve.iteration import CONVERGED, MAXITER, Callback, SolverResult, Watch
from gossamer.solve.shards import Reduce

Schedule = str | Callable[[float], float] | None
LARGEST = 1e8


@dataclass(frozen=True, kw_only=True)
class BilevelResult(SolverResult):
    """What :func:`multi_block_bilevel` returns.

    ``history["gradient"]`` has the norm of the running estimate of the gradient of F after every iteration (NaN at
    the start), ``x`` is the outer iterate.

    Attributes
    ----------
    y : ndarray, shape (m, dim_y)
        Inner iterates.
    eval_iterations : list of int
        Iterations at which F was evaluated.
    fun_history : list of float
        Mean of :math:`f_i(x, y_i)` on all data at those, if the problem has ``full`` and ``value_f``.
    grad_norm_history : list of float
        Norm of the exact gradient of F at those, if the problem has ``full_hypergradient``.
    samples : int
        Samples drawn, over all blocks.
    oracle_calls : dict of str to int
        Calls of each oracle, counted in blocks.
    n_projected : int
        Estimates of Hessians that left the allowed range of eigenvalues and were projected.
    lr_lower : float or ndarray, shape (m,)
        The inner step length that was used, after its bound.
    step_seconds : float
        Time spent in iterations, without evaluations.
    """

    y: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    eval_iterations: list[int] = field(default_factory=list)
    fun_history: list[float] = field(default_factory=list)
    grad_norm_history: list[float] = field(default_factory=list)
    samples: int = 0
    oracle_calls: dict[str, int] = field(default_factory=dict)
    n_projected: int = 0
    lr_lower: Any = math.nan
    step_seconds: float = 0.0


class BlockMethod(ABC):
    """Base of the block methods: ``step()`` does one iteration, ``run()`` many, ``save`` and ``load`` interrupt them.

    Parameters
    ----------
    problem : MultiBlockProblem
        Every oracle is asked once and its shapes are checked.
    x0 : array, shape (dim_x,)
        Start.
    y0 : array, shape (m, dim_y), optional
        Zeros by default.
    blocks_per_step : int, optional
        I; ``max(1, m // 10)`` by default.
    batch_size : int
        B, samples a block.
    lr : float
        Outer step length.
    lr_lower : float or array, shape (m,)
        Inner step length, of each block.
    random_state : int or Generator
        Source of blocks and samples.
    reduce : callable, optional
        Sums an array over processes that own the other blocks (:func:`all_reduce_sum`).
    """

    name: str = ""
    n_projected = 0

    inner: Any
    outer: Any

    def __init__(
        self,
        problem: MultiBlockProblem,
        x0: Any,
        y0: Any = None,
        *,
        blocks_per_step: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-2,
        lr_lower: Any = 0.5,
        random_state: RandomState = None,
        reduce: Reduce | None = None,
    ) -> None:
        m, d = problem.m, problem.dim_y
        default = max(1, m // 10)
        self.blocks_per_step = (
            default
            if blocks_per_step is None
            else check_int("blocks_per_step", blocks_per_step, low=1, high=m)
        )
        self.batch_size = check_int("batch_size", batch_size, low=1)
        self.lr = check_float("lr", lr, low=0)
        self.lr_lower = check_rate("lr_lower", lr_lower, m)
        self._x0 = np.array(check_array("x0", x0, ndim=1), np.float64)
        if self._x0.shape != (problem.dim_x,):
            raise ShapeError(
                f"x0 has shape {self._x0.shape}: expected ({problem.dim_x},), the problem's dim_x"
            )
        self._y0 = np.zeros((m, d)) if y0 is None else np.array(check_array("y0", y0, ndim=2), np.float64)
        if self._y0.shape != (m, d):
            raise ShapeError(f"y0 has shape {self._y0.shape}: expected {(m, d)}, a row a block")
        check_problem(problem, self._x0, self._y0)
        self.problem: Any = Counted(problem)
        self.rng = check_random_state(random_state)
        self.reduce = reduce
        self.blocks_in_all = m if reduce is None else round(float(reduce(np.array([float(m)]))[0]))
        self.t, self.factor, self.largest = 0, 1.0, 0.0
        self._options: dict[str, Any] = {
            "blocks_per_step": self.blocks_per_step,
            "batch_size": self.batch_size,
            "lr": self.lr,
        }

    @abstractmethod
    def step(self) -> None:
        """Do one iteration."""

    @property
    def x(self) -> np.ndarray:
        """The outer iterate; a view where the descent is dense."""
        return self.outer.x

    @property
    def y(self) -> np.ndarray:
        """All inner iterates: each as of its block's last turn."""
        return self.inner.copy()

    @property
    def gradient_norm(self) -> float:
        """Norm of the estimate of the gradient of F."""
        return self.outer.norm

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint holds."""

    @abstractmethod
    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""

    def set_factor(self, factor: float) -> None:
        """Scale all step lengths by ``factor`` from the next iteration on."""
        self.factor = check_float("factor", factor, low=0)

    def draw(self) -> np.ndarray:
        """Numbers of the blocks of an iteration, without replacement."""
        return self.rng.choice(self.problem.m, self.blocks_per_step, replace=False, shuffle=False)

    def run(
        self,
        maxiter: int,
        *,
        tol: float | None = None,
        schedule: Schedule = None,
        eval_every: int = 100,
        callback: Callback | None = None,
    ) -> BilevelResult:
        """Do ``maxiter`` iterations, or fewer if ``tol`` or the callback ends them. See :func:`multi_block_bilevel`.

        Parameters
        ----------
        maxiter : int
            Most iterations of this call.
        tol : float, optional
            End when the norm of the estimated gradient is at most this. None: all iterations were asked for.
        schedule : None, "stage" or callable
            Factor of all step lengths.
        eval_every : int
            Iterations between evaluations of F; 0 for none.
        callback : callable, optional
            Called with an :class:`Iteration`.
        """
        watch = Watch("gradient", tol=0.0 if tol is None else tol, maxiter=maxiter, callback=callback)
        every = check_int("eval_every", eval_every, low=0)
        rate = _rate(schedule)
        records: dict[str, Any] = {"eval_iterations": [], "fun_history": [], "grad_norm_history": []}
        seconds = 0.0
        # before most blocks were seen the estimate says little: it may even be zero
        visits = 2 * math.ceil(self.problem.m / self.blocks_per_step)
        if every:
            self._evaluate(records)
        over = watch(self.x if callback else self._x0, math.nan, settled=False)
        while not over:
            began = time.perf_counter()
            factor = rate(watch.nit / watch.maxiter)
            if factor != self.factor:
                self.set_factor(factor)
            self.step()
            seconds += time.perf_counter() - began
            norm = self.gradient_norm
            if not (norm <= LARGEST and self.largest <= LARGEST):
                watch.history["gradient"].append(norm)
                watch.history["seconds"].append(watch.history["seconds"][-1])
                watch.give_up("diverged (reduce lr_lower, lr or gamma)")
                break
            settled = tol is not None and self.t >= visits
            over = watch(self.x if callback else self._x0, norm, settled=settled)
            if every and (over or watch.nit % every == 0):
                self._evaluate(records)
        result = watch.result(
            self.x.copy(),
            kind=BilevelResult,
            y=self.y,
            method=self.name,
            samples=self.problem.calls.samples,
            oracle_calls=self.problem.calls.to_dict(),
            n_projected=self.n_projected,
            lr_lower=self.lr_lower,
            step_seconds=seconds,
            **records,
        )
        if tol is None and result.status == MAXITER:
            done = f"{result.nit} iterations, as asked for"
            return replace(result, status=CONVERGED, success=True, message=done)
        return result

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, ``.npz`` or ``.safetensors``, from which a run goes on bit by bit.

        Parameters
        ----------
        path : path
            Written whole or not at all.
        """
        header = {
            "method": self.name,
            "options": self._options,
            "iteration": self.t,
            "factor": self.factor,
            "n_projected": self.n_projected,
            "rng": self.rng.bit_generator.state,
            "calls": self.problem.calls.to_dict(),
        }
        write_checkpoint(path, header, self.state())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], problem: MultiBlockProblem, *, reduce: Reduce | None = None
    ) -> Self:
        """Go on from a checkpoint of this method.

        Parameters
        ----------
        path : path
            Of the checkpoint.
        problem : MultiBlockProblem
            The same problem; sizes are checked.
        reduce : callable, optional
            As for the constructor.

        Raises
        ------
        FormatError
            If the file is damaged, or was written by another method or for another size of problem.
        """
        header, arrays = read_checkpoint(path)
        try:
            method, options = str(header["method"]), dict(header["options"])
            if method.split("-")[0] != cls.name.split("-")[0]:
                raise FormatError(f"{os.fspath(path)}: a checkpoint of {method!r}, expected {cls.name!r}")
            if reduce is not None:
                options["reduce"] = reduce
            self = cls(problem, np.zeros(problem.dim_x), **options)
            self.set_state(arrays)
            self.t, self.n_projected = int(header["iteration"]), int(header["n_projected"])
            self.factor = float(header["factor"])
            bits = getattr(np.random, check_choice("rng", header["rng"]["bit_generator"], _GENERATORS))()
            bits.state = header["rng"]
            self.rng = np.random.Generator(bits)
            for name, count in header["calls"].items():
                setattr(self.problem.calls, name, int(count))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{os.fspath(path)}: does not fit this problem ({error})") from None
        return self

    def _evaluate(self, records: dict[str, list[Any]]) -> None:
        inner = self.problem.problem
        x, y = self.x, None
        records["eval_iterations"].append(self.t)
        if inner.full is not None and inner.value_f is not None:
            y = self.y
            total = np.array([objective(inner, x, y)])
            total = total if self.reduce is None else self.reduce(total)
            records["fun_history"].append(float(total[0]) / self.blocks_in_all)
        if inner.full_hypergradient is not None:
            gradient = inner.full_hypergradient(x) * (inner.m / self.blocks_in_all)
            gradient = gradient if self.reduce is None else self.reduce(gradient)
            records["grad_norm_history"].append(float(np.linalg.norm(gradient)))


_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def _rate(schedule: Schedule) -> Callable[[float], float]:
    if schedule is None:
        return lambda progress: 1.0
    if schedule == "stage":
        return lambda progress: 1.0 if progress < 0.5 else 0.1
    if not callable(schedule):
        raise bad_argument("schedule", schedule, "None, 'stage' or a function of the progress in [0, 1)")
    return schedule


def check_rate(name: str, rate: Any, m: int) -> Rate:
    """A positive step length, or one a block."""
    if np.ndim(rate) == 0:
        return check_float(name, rate, low=0, closed="neither")
    rates = np.array(check_array(name, rate, ndim=1), np.float64)
    if rates.shape != (m,):
        raise ShapeError(f"{name} has shape {rates.shape}: expected a number or ({m},), one a block")
    if np.any(rates <= 0):
        raise bad_argument(name, float(rates.min()), "positive step lengths")
    return rates


def plain(rate: Any) -> Any:
    """A step length, or one a block, fit for JSON."""
    return rate if np.ndim(rate) == 0 else np.asarray(rate, np.float64).tolist()


def need(problem: Any, oracle: str, method: str) -> None:
    """Refuse a problem without an oracle that a method cannot do without."""
    if getattr(problem, oracle) is None:
        raise ArgumentError(f"problem has no oracle {oracle}: expected one for method {method}")
