"""What all models of sparse coding by expectation truncation share: one trainer, inference, scikit-learn's contract."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels.coding import Tree, linear_moments
from gossamer.learn.coding.annealing import AnnealingSchedule, Knobs
from gossamer.learn.coding.e_step import EStep, Evaluation, Params, em_step
from gossamer.learn.coding.inference import Inference
from gossamer.learn.coding.rows import Columns, DaskRows, LocalRows, Rows, Sums, describe_columns, split
from gossamer.learn.coding.states import at_most, check_states

MOST_ALIKE = 0.95  # cosine of two components from which on they are one
LEAST_NOISE = 1e-6
LEAST_PI = 1e-5


def clip_probability(p: Any, least: float = LEAST_PI) -> Any:
    """Keep a probability off 0 and 1, whose logarithms would decide everything."""
    return np.clip(p, least, 1 - least)


class TruncatedCoding(Inference, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A generative model with discrete causes, trained by EM over the states that matter for each point.

    The base class of the six models. A further one says, on float64 arrays Y (n, d) and a dictionary ``params`` with at
    least ``W`` (H, d):

    - ``_start(columns, rng)``: the first parameters, from the moments of the columns;
    - ``_scores(Y, params)``: which causes may be in each point, (n, H), larger is likelier;
    - ``_joint(Y, params, tree, step, threads)``: log joints (n, columns) of the states against that of no cause, and
      the latter, (n,); :func:`~gossamer.learn.coding.states.list_states` lists the tree;
    - ``_moments(Y, params, evaluation, weight, threads)``: a dictionary of sums over points, posteriors already
      weighted;
    - ``_maximise(params, sums, step)``: new parameters from them;
    - ``_superpose(S, params)``: what causes S (n, H) make without noise, ``_draw`` and ``_emit`` for sampling;
    - ``_constant(params)``: what a point's log-likelihood has beyond the log joints, and ``_publish`` for attributes.

    Parameters and attributes are those of :class:`gossamer.learn.BinarySparseCoding`.
    """

    _learnable: ClassVar[tuple[str, ...]] = ("W", "pi", "sigma")

    def __init__(
        self,
        n_components: int = 10,
        *,
        n_candidates: int | None = None,
        max_active: int | None = None,
        schedule: AnnealingSchedule | None = None,
        learn: tuple[str, ...] = ("W", "pi", "sigma"),
        selection: Any = "auto",
        W_init: Any = None,
        pi_init: Any = None,
        sigma_init: Any = None,
        max_extra_iter: int = 0,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        chunk_size: int = 2048,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_candidates = n_candidates
        self.max_active = max_active
        self.schedule = schedule
        self.learn = learn
        self.selection = selection
        self.W_init = W_init
        self.pi_init = pi_init
        self.sigma_init = sigma_init
        self.max_extra_iter = max_extra_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.chunk_size = chunk_size
        self.random_state = random_state
        self.verbose = verbose

    # ---- training

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn the parts, how often each occurs, and the noise.

        Parameters
        ----------
        X : array of shape (n_samples, n_features), or dask.array.Array chunked by rows
            float32 or float64. A Dask array is worked on where its chunks are, one or two passes a step.
        y : None
            Ignored.
        """
        rows = self._rows(X)
        schedule, size = self._check(rows)
        rng = check_random_state(self.random_state)
        columns = describe_columns(rows)
        params = self._given(self._start(columns, rng))
        bounds: list[float] = []
        for number in range(schedule.n_steps + check_int("max_extra_iter", self.max_extra_iter, low=0)):
            extra = number - schedule.n_steps
            knobs = schedule.at(min(number, schedule.n_steps - 1)) if extra < 0 else self._plain(schedule)
            params = self._perturb(params, knobs, rng)
            part = rows if knobs.partial >= 1 else self._subset(rows, knobs.partial, rng)
            step = EStep(*size, knobs.T, knobs.anneal_prior or self._anneals_prior())
            params, bound, n_used = em_step(part, self, params, step, knobs.truncation)
            bounds.append(bound)
            if self.verbose and (number % max(schedule.n_steps // 10, 1) == 0 or extra >= 0):
                print(
                    f"{type(self).__name__} step {number}: T {knobs.T:.2f}, bound {bound:.6g}, {n_used} points"
                )
            if extra > 0 and abs(bound - bounds[-2]) <= self.tol * abs(bounds[-2]):
                break
        self._size, self.n_used_, self.bound_, self.n_iter_ = size, n_used, bounds, len(bounds)
        self._params, self._dtype = params, rows.dtype if rows.dtype == np.float32 else np.dtype(np.float64)
        self._publish(params)
        self._warn(params)
        return self

    def _rows(self, X: Any) -> Rows:
        if hasattr(X, "dask"):
            rows: Rows = DaskRows(X)
            if min(rows.shape) < 1 or rows.shape[0] < 2:
                raise ShapeError(f"X has shape {rows.shape}: expected at least 2 samples and a feature")
            self.n_features_in_ = rows.shape[1]
            return rows
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        return LocalRows(X, check_int("chunk_size", self.chunk_size, low=1), self.n_jobs)

    def _check(self, rows: Rows) -> tuple[AnnealingSchedule, tuple[int, int]]:
        H = check_int("n_components", self.n_components, low=1)
        candidates = (
            min(H, 8) if self.n_candidates is None else check_int("n_candidates", self.n_candidates, low=1)
        )
        if candidates > H:
            raise bad_argument("n_candidates", candidates, f"at most n_components, {H}")
        active = (
            min(candidates, 4) if self.max_active is None else check_int("max_active", self.max_active, low=1)
        )
        if active > candidates:
            raise bad_argument("max_active", active, f"at most n_candidates, {candidates}")
        self.n_states_ = check_states(H, candidates, active, len(self._values()))
        schedule = self._default_schedule() if self.schedule is None else self.schedule
        if not isinstance(schedule, AnnealingSchedule):
            raise bad_argument("schedule", schedule, "an AnnealingSchedule or None")
        unknown = set(self.learn) - set(self._learnable)
        if unknown:
            raise bad_argument("learn", self.learn, f"names among {self._learnable}")
        if not (callable(self.selection) or self.selection == "auto"):
            raise bad_argument("selection", self.selection, "'auto' or a callable")
        check_float("tol", self.tol, low=0)
        return schedule, (candidates, active)

    def _given(self, params: Params) -> Params:
        """The first parameters, with what the user gave in place of what was drawn."""
        if self.sigma_init is not None:
            params["sigma"] = check_float("sigma_init", self.sigma_init, low=LEAST_NOISE)
        if self.pi_init is not None and np.ndim(params["pi"]) == 0:
            params["pi"] = clip_probability(check_float("pi_init", self.pi_init, low=0, high=1))
        return self._given_parts(params)

    def _given_parts(self, params: Params) -> Params:
        if self.W_init is not None:
            W = check_array("W_init", self.W_init, ndim=2).astype(np.float64)
            if W.shape != params["W"].shape:
                raise ShapeError(f"W_init has shape {W.shape}: expected {params['W'].shape}")
            params["W"] = W
        return params

    @staticmethod
    def _plain(schedule: AnnealingSchedule) -> Knobs:
        return Knobs(truncation=schedule.at(schedule.n_steps).truncation)

    @staticmethod
    def _subset(rows: Rows, share: float, rng: np.random.Generator) -> Rows:
        mask = np.zeros(rows.shape[0], bool)
        mask[rng.choice(len(mask), max(int(share * len(mask)), 1), replace=False)] = True
        return rows.take(split(mask, rows.lengths))

    def _warn(self, params: Params) -> None:
        W = params["W"]
        unit = W / np.maximum(np.linalg.norm(W, axis=1, keepdims=True), np.finfo(float).tiny)
        alike = np.argwhere(np.triu(unit @ unit.T > MOST_ALIKE, 1))
        if len(alike):
            pairs = ", ".join(f"{i} and {j}" for i, j in alike[:3])
            warnings.warn(
                f"components {pairs} are alike (cosine above {MOST_ALIKE}): start hotter, or with fewer",
                UserWarning,
                stacklevel=3,
            )
        if self._noise_is_gone(params):
            warnings.warn(
                "the noise fell to its floor: X is constant, or has fewer dimensions than components",
                ConvergenceWarning,
                stacklevel=3,
            )

    # ---- what a model says

    @abstractmethod
    def _start(self, columns: Columns, rng: np.random.Generator) -> Params: ...

    @abstractmethod
    def _scores(self, Y: np.ndarray, params: Params) -> np.ndarray: ...

    @abstractmethod
    def _joint(
        self, Y: np.ndarray, params: Params, tree: Tree, step: EStep, threads: int | None
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def _moments(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> Sums: ...

    @abstractmethod
    def _maximise(self, params: Params, sums: Sums, step: EStep) -> Params: ...

    @abstractmethod
    def _superpose(self, S: np.ndarray, params: Params) -> np.ndarray: ...

    # ---- what it may leave as it is

    def _values(self) -> tuple[float, ...]:
        """Values of a cause besides 0."""
        return (1.0,)

    def _anneals_prior(self) -> bool:
        return False

    def _look(self, Y: np.ndarray, params: Params) -> tuple[Any, ...]:
        """Scores, and what else came of them that ``_joint`` takes as further arguments."""
        return (self._scores(Y, params),)

    def _refines(self) -> bool:
        """Whether the noise wants a pass over the data of its own, at the new W: ``_residual`` and ``_refine``."""
        return False

    def _residual(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> float:
        return 0.0

    def _refine(self, params: Params, sums: Sums, points: int) -> Params:
        return params

    def _constant(self, params: Params) -> float:
        """What a point's log-likelihood has beyond ``_joint``: of the binary prior and of the noise."""
        none, d = np.log1p(-self._odds(params)).sum(), params["W"].shape[1]
        return float(none - 0.5 * d * np.log(2 * np.pi * params["sigma"] ** 2))

    def _publish(self, params: Params) -> None:
        self.components_ = params["W"].astype(self._dtype)
        self.prior_: Any = float(params["pi"])
        self.noise_: Any = float(params["sigma"])

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule()

    def _odds(self, params: Params) -> np.ndarray:
        """Probability of each cause, (H,)."""
        return np.full(self.n_components, params["pi"])

    def _within(self, params: Params, active: int) -> tuple[float, float]:
        return at_most(self._odds(params), active)

    def _draw(self, n: int, params: Params, rng: np.random.Generator) -> np.ndarray:
        """Causes of n points, (n, H)."""
        return (rng.random((n, self.n_components)) < self._odds(params)).astype(float)

    def _emit(self, mean: np.ndarray, params: Params, rng: np.random.Generator) -> np.ndarray:
        return mean + params["sigma"] * rng.standard_normal(mean.shape)

    def _perturb(self, params: Params, knobs: Knobs, rng: np.random.Generator) -> Params:
        if knobs.W_noise:
            params = params | {"W": params["W"] + knobs.W_noise * rng.standard_normal(params["W"].shape)}
        if knobs.pi_noise and np.ndim(params["pi"]) == 0:
            params = params | {"pi": clip_probability(params["pi"] + knobs.pi_noise * rng.standard_normal())}
        if knobs.sigma_noise:
            moved = params["sigma"] + knobs.sigma_noise * rng.standard_normal()
            params = params | {"sigma": max(float(moved), LEAST_NOISE)}
        return params

    def _noise_is_gone(self, params: Params) -> bool:
        return bool(np.min(params["sigma"]) <= LEAST_NOISE)

    def _binary_start(self, columns: Columns, rng: np.random.Generator) -> Params:
        """Parts near the mean, as much noise as the data vary, one cause a point."""
        spread = max(float(np.sqrt(columns.variance).mean()), LEAST_NOISE)
        W = columns.mean + 0.25 * spread * rng.standard_normal((self.n_components, len(columns.mean)))
        return {"W": W, "sigma": spread, "pi": 1.0 / max(self.n_components, 2)}

    def _state_moments(
        self, evaluation: Evaluation, threads: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[s] of each point, (n, H), and sums over points of s s^T and of causes with each value."""
        tree, q, value = evaluation.tree, evaluation.posterior, np.array(self._values())
        single = q[:, 1 : 1 + tree.latents * tree.values].reshape(len(q), tree.latents, tree.values)
        mean = single[:, :, 0] * value[0] if len(value) == 1 else np.ascontiguousarray(single @ value)
        second, count = linear_moments(tree, q, value, mean, threads)
        alone = single.sum(axis=0)
        second[np.diag_indices_from(second)] += alone @ value**2
        return mean, second, count + alone.sum(axis=0)

    def _codes(self, Y: np.ndarray, params: Params, evaluation: Evaluation) -> np.ndarray:
        """Posterior means of the causes, (n, H)."""
        return self._state_moments(evaluation, None)[0]

    def _expected(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means of the causes and of what they superpose to, (n, H) and (n, d)."""
        mean = self._codes(Y, params, evaluation)
        return mean, self._superpose(mean, params)
