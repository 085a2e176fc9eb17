"""The loop of all evidence maximisers: prune, posterior, noise, variances, until they settle."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.solve.bayes.modes import outer
from gossamer.solve.bayes.posterior import Model
from gossamer.solve.bayes.variances import Update, normalise
from gossamer.solve.iteration import CONVERGED, Callback, Watch

LEAST_NOISE = 1e-14
"""Of the mean square of y: a learnt noise variance does not fall below this."""


@dataclass(frozen=True, kw_only=True)
class SparseBayesResult(Result):
    """The posterior of a sparse vector.

    Attributes
    ----------
    x : ndarray, shape (N,) or (N, P)
        Posterior mean, zero where atoms were pruned.
    var : ndarray, shape (N,)
        Posterior variance of every entry (of all snapshots alike).
    gamma : list of ndarray, shapes (N_i,)
        Prior variances by mode, zero where pruned; their Kronecker product is the prior of x.
    noise_var : float
        Variance of the noise, given or learnt.
    support : list of ndarray
        Indices that are left in each mode.
    nit : int
        Iterations.
    cost : list of float
        ``log det Sigma_y + y^H Sigma_y^-1 y`` before every update, and at the end.
    _model, _y
        What :meth:`sample` needs.
    """

    x: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    var: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    gamma: list[np.ndarray] = field(default_factory=list, repr=False)
    noise_var: float = math.nan
    support: list[np.ndarray] = field(default_factory=list, repr=False)
    nit: int = 0
    cost: list[float] = field(default_factory=list, repr=False)
    _model: Model | None = field(default=None, repr=False)
    _y: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    @property
    def converged(self) -> bool:
        """Whether the variances settled within the tolerance."""
        return self.success

    def sample(self, n: int, random_state: RandomState = None) -> np.ndarray:
        """Draw from the posterior without its covariance: (n, N), or (n, N, P).

        A draw of prior and noise is corrected by the posterior mean of what it would have measured differently.
        """
        n, rng = check_int("n", n, low=1), check_random_state(random_state)
        out = np.zeros((n, *self.x.shape), self.x.dtype)
        if self._model is None:
            return out
        inside = _grid(self.support, [len(g) for g in self.gamma])
        deviation = np.sqrt(outer([g[k] for g, k in zip(self.gamma, self.support, strict=True)]))[:, None]
        for draw in out:
            prior = deviation * _normal(rng, (len(inside), self._y.shape[1]), self._y.dtype)
            noise = math.sqrt(self.noise_var) * _normal(rng, self._y.shape, self._y.dtype)
            gap = self._y - self._model.forward(prior) - noise
            value = prior + self._model.mean(gap, self.noise_var).T
            draw[inside] = value if draw.ndim == 2 else value[:, 0]
        return out

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values; the factors, which sampling needs, are left out."""
        return {
            name: value
            for name, value in Result.to_dict(_without_model(self)).items()
            if not name.startswith("_")
        }


@dataclass(frozen=True)
class Plan:
    """What the loop is told; see :func:`gossamer.solve.kro_sbl`."""

    noise_var: float | None
    noiseless: bool
    max_iter: int
    tol: float
    prune_rel: Sequence[float]
    prune_abs: float
    gamma_init: Any
    callback: Callback | None


def maximise_evidence(
    factors: list[np.ndarray],
    y: Any,
    model: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Model],
    update: Update,
    plan: Plan,
) -> SparseBayesResult:
    """Run the loop and return the posterior."""
    Y, flat, dtype = check_measurements(factors, y)
    noise, learn = _first_noise(plan, Y)
    least = LEAST_NOISE * float(np.square(np.abs(Y)).mean())
    sizes = [A.shape[1] for A in factors]
    gammas = _first_gammas(plan.gamma_init, sizes)
    kept = [np.arange(n) for n in sizes]
    if not Y.any():
        warnings.warn("y is zero: so is x", RuntimeWarning, stacklevel=4)
        zeros = [np.zeros(n) for n in sizes]
        shape = (int(np.prod(sizes)),) if flat else (int(np.prod(sizes)), Y.shape[1])
        none = [np.empty(0, np.int64) for _ in sizes]
        return SparseBayesResult(x=np.zeros(shape, dtype), var=np.zeros(shape[0]), gamma=zeros, noise_var=0.0,
                                 support=none, message="y is zero")  # fmt: skip
    watch = Watch("change", tol=check_float("tol", plan.tol, low=0),
                  maxiter=check_int("max_iter", plan.max_iter, low=1), callback=plan.callback)  # fmt: skip
    costs: list[float] = []

    def full(values: np.ndarray) -> np.ndarray:
        out = np.zeros((int(np.prod(sizes)), len(values)), values.dtype)
        out[_grid(kept, sizes)] = values.T
        return out[:, 0] if flat else out

    over = False
    while not over:
        whole = np.linalg.norm(outer(gammas))
        gammas, kept = _prune(gammas, kept, plan.prune_rel, plan.prune_abs)
        columns = [A[:, k] for A, k in zip(factors, kept, strict=True)]
        now = model(columns, gammas).posterior(Y, noise)
        costs.append(now.cost)
        moments = now.var + np.square(np.abs(now.mean)).mean(axis=0)
        before, used = outer(gammas), noise
        if learn:
            noise = max((now.misfit + noise * now.spent) / len(Y), least)
        gammas = update(moments, gammas, kept)
        dropped = max(whole**2 - np.vdot(before, before), 0.0)
        change = float(math.hypot(np.linalg.norm(outer(gammas) - before), math.sqrt(dropped)) / whole)
        x = full(now.mean) if plan.callback is not None else now.mean
        more: dict[str, Any] = {"cost": now.cost, "noise_var": used, "active": len(before)}
        if watch.nit == 0 and not watch.history["change"]:
            watch(x, math.inf, settled=False, **more)
        over = watch(x, change, **more)

    gammas, kept = _prune(gammas, kept, plan.prune_rel, plan.prune_abs)
    columns = [A[:, k] for A, k in zip(factors, kept, strict=True)]
    last_model = model(columns, gammas)
    last = last_model.posterior(Y, noise)
    variances = np.zeros(int(np.prod(sizes)))
    variances[_grid(kept, sizes)] = last.var
    spread = [np.zeros(n) for n in sizes]
    for g, values, k in zip(spread, gammas, kept, strict=True):
        g[k] = values
    return SparseBayesResult(
        x=full(last.mean).astype(dtype, copy=False),
        var=variances,
        gamma=spread,
        noise_var=noise,
        support=kept,
        nit=watch.nit,
        cost=[*costs, last.cost],
        success=watch.status == CONVERGED,
        message=watch.message,
        history=watch.history,
        _model=last_model,
        _y=Y,
    )


def check_factors(factors: Any) -> list[np.ndarray]:
    """Matrices as float64 or complex128 arrays."""
    checked = []
    for i, A in enumerate(factors):
        A = to_numpy(check_array(f"factors[{i}]", A, ndim=2, real=False))
        if 0 in A.shape:
            raise ShapeError(f"factors[{i}] has shape {A.shape}: expected rows and columns")
        checked.append(A)
    if not checked:
        raise ArgumentError("factors is empty: expected at least one matrix")
    return checked


def check_measurements(factors: list[np.ndarray], y: Any) -> tuple[np.ndarray, bool, np.dtype]:
    """Y as (M, P) in double precision, whether it came as a vector, and the dtype of what is returned."""
    Y = to_numpy(check_array("y", y, ndim=(1, 2), real=False))
    rows = int(np.prod([A.shape[0] for A in factors]))
    if len(Y) != rows or Y.size == 0:
        shapes = " x ".join(str(A.shape[0]) for A in factors)
        raise ShapeError(f"y has shape {Y.shape}: expected {shapes} = {rows} rows")
    dtype = np.result_type(Y, *factors)
    wide = np.result_type(dtype, np.float64)
    factors[:] = [A.astype(wide, copy=False) for A in factors]
    return Y.reshape(rows, -1).astype(wide, copy=False), Y.ndim == 1, dtype


def _first_noise(plan: Plan, Y: np.ndarray) -> tuple[float, bool]:
    if plan.noiseless:
        if plan.noise_var is not None:
            raise bad_argument("noise_var", plan.noise_var, "None with noiseless=True")
        return 0.0, False
    if plan.noise_var is None:
        return 0.1 * float(np.square(np.abs(Y - Y.mean())).mean()) or 1.0, True
    if plan.noise_var == 0:
        raise bad_argument("noise_var", plan.noise_var, "a positive number", "noiseless=True takes the limit")
    return check_float("noise_var", plan.noise_var, low=0, closed="neither"), False


def _first_gammas(given: Any, sizes: list[int]) -> list[np.ndarray]:
    if given is None:
        gammas = [np.ones(n) for n in sizes]
    else:
        gammas = [
            to_numpy(check_array(f"gamma_init[{i}]", g, ndim=1)).astype(float) for i, g in enumerate(given)
        ]
        if [len(g) for g in gammas] != sizes or not all((g > 0).all() for g in gammas):
            raise ArgumentError(f"gamma_init: expected positive vectors of lengths {sizes}")
    normalise(gammas)
    return gammas


def _prune(
    gammas: list[np.ndarray], kept: list[np.ndarray], relative: Sequence[float], absolute: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Drop what is small in its own mode, never all of it."""
    small, left = [], []
    for g, k, share in zip(gammas, kept, relative, strict=True):
        stays = (g >= share * g.max()) & (g >= absolute)
        stays[np.argmax(g)] = True
        small.append(g[stays])
        left.append(k[stays])
    return small, left


def _grid(kept: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Flat indices of the product of index lists, the last one fastest."""
    return np.ravel_multi_index(np.ix_(*kept), tuple(sizes)).reshape(-1)


def _normal(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Standard normal, circular if complex."""
    if np.issubdtype(dtype, np.complexfloating):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)
    return rng.standard_normal(shape)


def _without_model(result: SparseBayesResult) -> SparseBayesResult:
    return replace(result, _model=None, _y=np.empty((0, 0)))
