"""Alternating minimisation on all observed entries: each half sweep a regression a column, solved just well enough."""

from __future__ import annotations

import copy
import itertools
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels import completion as kernel
from gossamer._kernels.completion import Observed
from gossamer.solve.completion.entries import Entries, check_entries, check_triples
from gossamer.solve.completion.factors import (
    CompletionResult,
    balance,
    incoherence,
    orthonormalise,
    subspace_distance,
)
from gossamer.solve.completion.regression import METHODS, RegressionInfo, regress
from gossamer.solve.iteration import CONVERGED, Callback, Watch

ADAPTIVE = 0.1  # part of its start that the gradient of each regression is brought to
PATIENCE = 3  # sweeps without a smaller held-out error


@dataclass(frozen=True)
class Inner:
    """How regressions are solved."""

    method: str
    ridge: float
    weighted: bool
    rtol: float
    reduction: float
    steps: int
    perturb: float
    rng: np.random.Generator = field(repr=False)
    threads: int | None

    def solve(
        self, lines: Observed, factor: np.ndarray, x: np.ndarray | None, loss: bool = False
    ) -> tuple[np.ndarray, RegressionInfo]:
        """One half sweep; x is the start, and is overwritten."""
        x, info = regress(
            lines, factor, x, method=self.method, ridge=self.ridge, weighted_ridge=self.weighted, rtol=self.rtol,
            reduction=self.reduction, maxiter=self.steps, seed=int(self.rng.integers(2**63)), loss=loss,
            threads=self.threads,
        )  # fmt: skip
        if self.perturb:
            noise = self.rng.standard_normal(x.shape)
            x += (self.perturb * np.linalg.norm(x) / np.linalg.norm(noise) * noise).astype(x.dtype)
        return x, info


def check_inner(
    method: str,
    ridge: float,
    weighted_ridge: bool,
    inner_rtol: float | str,
    inner_iter: int,
    perturb: float,
    rng: np.random.Generator,
    threads: int | None,
    dtype: Any,
) -> Inner:
    """The options of regressions, checked; ``"adaptive"`` is a part of each one's own start."""
    check_choice("method", method, METHODS)
    floor = 1e-12 if dtype == np.float64 else 1e-6
    if isinstance(inner_rtol, str):
        check_choice("inner_rtol", inner_rtol, ("adaptive",))
        rtol, reduction = floor, ADAPTIVE
    else:
        rtol, reduction = check_float("inner_rtol", inner_rtol, low=0), 0.0
    return Inner(
        method,
        check_float("ridge", ridge, low=0),
        bool(weighted_ridge),
        rtol,
        reduction,
        check_int("inner_iter", inner_iter, low=1),
        check_float("perturb", perturb, low=0),
        rng,
        threads,
    )


def alternating_minimization(
    M: Any,
    U: Any,
    V: Any = None,
    *,
    method: str = "auto",
    ridge: float = 0.0,
    weighted_ridge: bool = False,
    biases: bool = False,
    maxiter: int = 50,
    tol: float = 1e-8,
    inner_rtol: float | str = "adaptive",
    inner_iter: int = 20,
    perturb: float = 0.0,
    validation: tuple[Any, Any, Any] | None = None,
    random_state: RandomState = None,
    callback: Callback | None = None,
    threads: int | None = None,
) -> CompletionResult:
    """Complete a matrix from a start: regress its columns on U, then its rows on V, and again.

    :func:`matrix_completion` finds a start and calls this. Between half sweeps the factor at hand is orthonormalised
    without a change of the product, so that the regressions stay well conditioned and the other factor, carried over,
    is their warm start.

    Parameters
    ----------
    M : sparse matrix, array with NaN, or StoredEntries, shape (m, n)
        Every stored entry is an observation, zeros too.
    U : array, shape (m, k)
        Start.
    V : array, shape (n, k), optional
        Warm start of the first regression.
    method, ridge, weighted_ridge, biases, maxiter, tol, inner_rtol, inner_iter, perturb, validation
        See :func:`matrix_completion`.
    random_state : int, Generator or None
        Of sketches and perturbations.
    callback : callable, optional
        Called with an :class:`Iteration` after every sweep.
    threads : int, optional
        The result does not depend on them.

    Returns
    -------
    CompletionResult

    Raises
    ------
    ArgumentError, ShapeError
        Arguments that do not fit, are not finite, or are out of range.

    References
    ----------
    Gu, Song, Yin, Zhang, arXiv 2302.11068.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import alternating_minimization
    >>> M = np.outer(np.arange(1.0, 6), np.arange(1.0, 5))
    >>> M[np.arange(4), np.arange(4)] = np.nan
    >>> result = alternating_minimization(M, np.ones((5, 1)), tol=1e-12)
    >>> float(round(result.predict(2, 2)[0], 8))
    9.0
    """
    entries = check_entries("M", M)
    kind = entries.rows.value.dtype
    starts: list[np.ndarray | None] = []
    for name, factor, count in (("U", U, entries.shape[0]), ("V", V, entries.shape[1])):
        if factor is None and name == "V":
            starts.append(None)
            continue
        array = np.array(check_array(name, factor, ndim=2), kind, order="C")
        wanted = (count, array.shape[1] if starts == [] or starts[0] is None else starts[0].shape[1])
        if array.shape != wanted or not 1 <= wanted[1] <= min(entries.shape):
            raise ShapeError(
                f"{name} has shape {array.shape}: expected {wanted}, of rank 1..{min(entries.shape)}"
            )
        starts.append(array)
    inner = check_inner(
        method, ridge, weighted_ridge, inner_rtol, inner_iter, perturb, check_random_state(random_state), threads, kind
    )  # fmt: skip
    held = None if validation is None else check_validation(validation, entries)
    watch = Watch("criterion", tol=tol, maxiter=check_int("maxiter", maxiter, low=1), callback=callback)
    assert starts[0] is not None
    return sweep(entries, starts[0], starts[1], inner, watch, biases=biases, held=held)


def check_validation(validation: Any, entries: Entries) -> Entries:
    """Held-out entries of the same shape."""
    try:
        i, j, v = validation
    except (TypeError, ValueError):
        raise bad_argument("validation", type(validation).__name__, "(rows, cols, vals)") from None
    held = check_triples(i, j, v, entries.shape, dtype=entries.rows.value.dtype)
    if not held.count:
        raise bad_argument("validation", "no entries", "at least one")
    return held


@dataclass
class Model:
    """The iterate: factors, and biases where they are fitted."""

    U: np.ndarray
    V: np.ndarray | None
    mean: float = 0.0
    row_bias: np.ndarray | None = None
    column_bias: np.ndarray | None = None

    def copy(self) -> Model:
        """That later sweeps do not touch."""
        return copy.deepcopy(self)

    def residual(self, at: Entries) -> float:
        """Root mean square error at entries."""
        assert self.V is not None
        U, V = self.U, self.V

        def squares(i: np.ndarray, j: np.ndarray, v: np.ndarray) -> float:
            value = kernel.dots(U, V, i, j)
            if self.row_bias is not None and self.column_bias is not None:
                value += self.mean + self.row_bias[i] + self.column_bias[j]
            return float(np.sum((v - value).astype(np.float64) ** 2))

        return math.sqrt(at.total(squares) / at.count)


def sweep(
    entries: Entries,
    U: np.ndarray,
    V: np.ndarray | None,
    inner: Inner,
    watch: Watch,
    *,
    biases: bool = False,
    held: Entries | None = None,
    clipped: int = 0,
    ridges: tuple[float, ...] = (),
) -> CompletionResult:
    """Sweeps from a start until the watch ends them, the first ones with ridges; U and V may be overwritten."""
    own, sweeps = inner, itertools.count()
    model = Model(U, V)
    if biases:
        model.mean = entries.mean
        model.row_bias = np.zeros(entries.shape[0], U.dtype)
        model.column_bias = np.zeros(entries.shape[1], U.dtype)
    scale = max(_spread(entries, model.mean), np.finfo(np.float64).tiny)
    bases: list[np.ndarray] = []
    last, best, waited, lowest = scale, model, 0, np.inf
    over, deficient = entries.count == 0, 0
    if over:
        model.U, model.V = np.zeros_like(U), np.zeros((entries.shape[1], U.shape[1]), U.dtype)
        watch.status, watch.message = CONVERGED, "there are no entries: the completion is zero"
    while not over:
        warm = (t := next(sweeps)) < len(ridges)
        inner = replace(own, ridge=ridges[t], weighted=False) if warm else own
        began = time.perf_counter()
        _prepare(model, inner)
        solving = time.perf_counter()
        column_info = _half(model, entries, inner, by_columns=True)
        column_seconds = time.perf_counter() - solving
        new_bases = [_basis(model.U)]
        _prepare(model, inner, columns=True)
        solving = time.perf_counter()
        row_info = _half(model, entries, inner, by_columns=False)
        row_seconds = time.perf_counter() - solving
        assert model.V is not None
        new_bases.append(_basis(model.V))
        loss = row_info.loss
        if inner.perturb or loss is None:
            rmse = model.residual(entries)
        else:
            rmse = float(np.sqrt(loss.sum() / entries.count))
        distances = [subspace_distance(a, b) for a, b in zip(bases, new_bases)] if bases else [1.0, 1.0]
        bases = new_bases
        deficient = column_info.n_deficient + row_info.n_deficient
        change = abs(last - rmse) / last if last else 0.0
        more: dict[str, Any] = {
            "rmse": rmse,
            "change": change,
            "row_distance": distances[0],
            "column_distance": distances[1],
            "row_mu": incoherence(bases[0]),
            "column_mu": incoherence(bases[1]),
            "inner_steps": float(np.mean(np.concatenate([column_info.steps, row_info.steps]))),
            "column_seconds": column_seconds,
            "row_seconds": row_seconds,
            "sweep_seconds": time.perf_counter() - began,
        }
        if held is not None:
            more["validation_rmse"] = model.residual(held)
        last = rmse
        if not watch.history["criterion"]:
            watch.history["criterion"].append(1.0)  # the start, so that nit counts sweeps
            watch.history["seconds"].append(0.0)
            for name in more:
                watch.history[name] = [float("nan")]
            watch.history["rmse"] = [scale]
        over = watch(model.U, 1.0 if warm else min(rmse / scale, change), **more)
        if held is not None and not over:
            if more["validation_rmse"] < lowest:
                lowest, waited, best = more["validation_rmse"], 0, model.copy()
            else:
                waited += 1
            if waited >= PATIENCE:
                watch.status, over = CONVERGED, True
                watch.message = f"held-out error has not fallen for {PATIENCE} sweeps, best {lowest:.6g}"
    if held is not None and lowest < np.inf and model.residual(held) > lowest:
        model = best
    return finish(entries, model, watch, inner.method, deficient, clipped)


def finish(
    entries: Entries, model: Model, watch: Watch, method: str, deficient: int, clipped: int
) -> CompletionResult:
    """The result object, factors balanced."""
    assert model.V is not None
    U, V, S = balance(model.U, model.V)
    biases: dict[str, Any] = {
        "mean": model.mean,
        "row_bias": model.row_bias,
        "column_bias": model.column_bias,
    }
    if method == "auto":
        method = "exact" if U.shape[1] + (model.row_bias is not None) < 32 else "cg"
    return watch.result(
        U, kind=CompletionResult, method=method, U=U, V=V, S=S, **biases,
        rmse=Model(U, V, **biases).residual(entries) if entries.count else float("nan"),
        mu=(incoherence(_basis(U)), incoherence(_basis(V))), clipped=clipped, n_deficient=deficient,
        n_empty=(int((entries.rows.degrees == 0).sum()), int((entries.columns.degrees == 0).sum())),
    )  # fmt: skip


def _spread(entries: Entries, mean: float) -> float:
    if not entries.count:
        return 0.0
    squares = entries.total(lambda i, j, v: float(np.sum((v.astype(np.float64) - mean) ** 2)))
    return math.sqrt(squares / entries.count)


def _basis(factor: np.ndarray) -> np.ndarray:
    return np.linalg.qr(factor)[0]


def _prepare(model: Model, inner: Inner, columns: bool = False) -> None:
    """Condition the factor that comes next, keeping the product; with weights a balance could raise the penalty."""
    if inner.ridge and inner.weighted:
        return
    if model.V is None:
        if not inner.ridge:
            model.U = np.ascontiguousarray(_basis(model.U))
    elif inner.ridge:
        model.U, model.V = balance(model.U, model.V)[:2]
    elif columns:
        model.V, model.U = orthonormalise(model.V, model.U)
    else:
        model.U, model.V = orthonormalise(model.U, model.V)


def _half(model: Model, entries: Entries, inner: Inner, *, by_columns: bool) -> RegressionInfo:
    """Regress columns on U or rows on V; with biases a column of ones joins the factor."""
    lines = entries.columns if by_columns else entries.rows
    factor, x = (model.U, model.V) if by_columns else (model.V, model.U)
    assert factor is not None
    own, other = (model.column_bias, model.row_bias) if by_columns else (model.row_bias, model.column_bias)
    if own is None or other is None:
        x, info = inner.solve(lines, factor, x, loss=not by_columns)
    else:
        shifted = lines.shifted(model.mean, other)
        design = np.column_stack([factor, np.ones(len(factor), factor.dtype)])
        start = np.column_stack(
            [np.zeros((lines.count, factor.shape[1]), own.dtype) if x is None else x, own]
        )
        both, info = inner.solve(shifted, design, start, loss=not by_columns)
        x = np.ascontiguousarray(both[:, :-1])
        if by_columns:
            model.column_bias = both[:, -1].copy()
        else:
            model.row_bias = both[:, -1].copy()
    if by_columns:
        model.V = x
    else:
        model.U = x
    return info
