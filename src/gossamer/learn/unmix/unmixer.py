"""What estimators that unmix pixels share: input, start, descent, and what is left of it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import check_random_state
from gossamer.learn.unmix.blocks import Blocks, Survey, surveyed
from gossamer.learn.unmix.channels import sparsity_of, trust_of
from gossamer.learn.unmix.factors import Factors, Penalty
from gossamer.learn.unmix.guidance import CHOICES, smoothed
from gossamer.learn.unmix.start import random_spectra, trusted_corners

FIRST_MAP = 20  # iterations before the guidance is first learnt: early abundances mislead it
EVIDENCE_STRENGTH = 5.0  # times what suits other measures
TRANSFORM_STEPS = 102  # of new pixels, the same for each: a pixel's shares do not depend on the others'


@dataclass(frozen=True)
class Model:
    """What an estimator minimises.

    Attributes
    ----------
    robust : bool
        Norms of channels instead of their squares.
    sparsity : str, float or ndarray
        "learned", "none", or h.
    h_max, eps, xi, delta : float
    measure : str
    smooth : bool
    map_every, map_iter : int
    """

    robust: bool
    sparsity: Any
    delta: float
    h_max: float = 0.9
    eps: float = 1e-3
    xi: float = 1e-3
    measure: str = "evidence"
    smooth: bool = False
    map_every: int = 10
    map_iter: int = 300

    def checked(self) -> Model:
        """Refuse values out of range."""
        check_float("sum_to_one", self.delta, low=0)
        check_float("h_max", self.h_max, low=0, high=1, closed="left")
        check_float("eps", self.eps, low=0, closed="neither")
        check_float("xi", self.xi, low=1e-30)
        check_choice("guidance", self.measure, CHOICES)
        check_int("map_every", self.map_every, low=1)
        check_int("map_iter", self.map_iter, low=0)
        if isinstance(self.sparsity, str):
            check_choice("sparsity", self.sparsity, ("learned", "none"))
        elif not ((np.asarray(self.sparsity) >= 0) & (np.asarray(self.sparsity) < 1)).all():
            raise bad_argument("sparsity", self.sparsity, "values in [0, 1), 'learned' or 'none'")
        return self

    @property
    def learned(self) -> bool:
        """Whether pixels learn their sparsity."""
        return isinstance(self.sparsity, str) and self.sparsity == "learned"

    def guidance(self, N: int) -> np.ndarray:
        """h to begin with: (N,)."""
        if isinstance(self.sparsity, str):
            return np.zeros(N)
        h = np.asarray(self.sparsity, np.float64)
        if h.ndim and h.shape != (N,):
            raise ShapeError(f"sparsity has shape {h.shape}: expected a number or ({N},)")
        return np.broadcast_to(h, N)

    def penalty(self, N: int, lam: float) -> Penalty:
        """Terms of the objective for N pixels."""
        return Penalty(lam, self.xi, self.delta, self.eps * np.sqrt(N) if self.robust else None)


class Unmixer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of estimators that factor pixels into endmembers and abundances."""

    _count = "n_endmembers"  # what the number of endmembers is called
    _least = 2
    lam: Any
    init: Any
    max_iter: int
    inner: int
    tol: float
    n_init: int
    clip_negative: bool
    dtype: str | None
    random_state: Any

    @abstractmethod
    def _model(self) -> Model:
        """What to minimise."""

    def fit(self, X: Any, y: Any = None, *, shape: tuple[int, int] | None = None) -> Any:
        """Learn endmembers and abundances.

        Parameters
        ----------
        X : array, shape (n_samples, n_features) or (rows, columns, n_features)
            Pixels by channels, or a cube; not negative. Memory maps are read in blocks.
        y : ignored
        shape : (int, int), optional
            Rows and columns of the image whose pixels X holds.
        """
        X, shape = self._taken(X, shape, reset=True)
        return self._fit(Blocks.of(X, self._real(X), self.clip_negative), X.shape[-1], shape)

    def _fit(self, blocks: Any, L: int, shape: tuple[int, int] | None) -> Any:
        model, N = self._model().checked(), int(blocks.ends[-1])
        K = self._checked(N, L)
        if shape is not None and shape[0] * shape[1] != N:
            raise ShapeError(f"shape={shape!r}: X has {N} pixels")
        if model.smooth and shape is None:
            raise bad_argument("smooth_map", True, "shape, or a cube, to know the neighbours of a pixel")
        survey = surveyed(blocks)
        if not survey.live:
            raise ArgumentError("X is zero everywhere: expected pixels with light")
        if survey.live < N:
            warnings.warn(f"{N - survey.live} pixels are zero and left out", UserWarning, stacklevel=3)
        trust = trust_of(survey.sums, survey.second, survey.live) if L > 1 else None
        self.trusted_ = np.ones(L, bool) if trust is None or trust.trusted.sum() < K else trust.trusted
        # a degraded channel must not set the scale of the others
        self._scale = float(survey.peaks[self.trusted_].max()) or float(survey.peaks.max())
        blocks.call("prepare", self._scale)
        noise = 0.0 if trust is None else float(np.median(trust.noise[self.trusted_])) / self._scale
        self.lam_ = self._strength(survey, noise, model)
        rng, penalty = check_random_state(self.random_state), model.penalty(survey.live, self.lam_)
        best: Factors | None = None
        for _ in range(check_int("n_init", self.n_init, low=1)):
            M = self._start(blocks, survey, model, rng)
            blocks.scatter("set_map", model.guidance(N))
            factors = Factors(blocks, M, survey.sums > 0, penalty, survey.live)
            history, done = self._descend(factors, model, shape)
            # c differs between starts: they are compared with that of the first
            c = factors.c if best is None else best.c
            if best is None or factors.objective(c) < best.objective(c):
                best, self.history_, converged = factors, history, done
                if self.n_init > 1:
                    blocks.call("keep")
        assert best is not None
        blocks.call("recall")
        self._keep(best, model)
        if not converged:
            warnings.warn(
                f"objective still fell by more than tol={self.tol} in the last {model.map_every} of "
                f"{self.max_iter} iterations",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _keep(self, factors: Factors, model: Model) -> None:
        blocks = factors.blocks
        self.abundances_ = np.concatenate(blocks.call("shares"))
        self.guidance_ = np.concatenate(blocks.call("map"))
        self.endmembers_ = (factors.M * self._scale).astype(self.abundances_.dtype)
        self.channel_weights_ = factors.weights()
        self._precision = factors.precision(model.eps)
        self.objective_ = factors.objective()
        self.n_iter_ = len(self.history_["objective"])
        self._n_features_out = len(factors.M)
        unused = np.flatnonzero(np.max(blocks.call("largest"), axis=0) < 1e-3)
        if len(unused):
            warnings.warn(
                f"endmembers {unused.tolist()} are in no pixel: K is too large", UserWarning, stacklevel=4
            )

    def transform(self, X: Any) -> np.ndarray:
        """Abundances of pixels with the endmembers and channel weights learnt, and guidance of their own.

        Parameters
        ----------
        X : array, shape (n_samples, n_features) or (rows, columns, n_features)
            Pixels; without regard to where they lie.

        Returns
        -------
        ndarray, shape (n_samples, K)
        """
        check_is_fitted(self, "endmembers_")
        X, _ = self._taken(X, None, reset=False)
        model, inner = self._model(), self.inner
        blocks = Blocks.of(X, self.endmembers_.dtype, self.clip_negative)
        surveyed(blocks)
        blocks.call("prepare", self._scale)
        M, u = self.endmembers_.astype(np.float64) / self._scale, self.channel_weights_
        blocks.call("start", M, u, model.delta)
        blocks.call("raise_to_floor")
        h = 0.0 if isinstance(model.sparsity, str) or np.ndim(model.sparsity) else float(model.sparsity)
        blocks.call("set_map", h)
        left = TRANSFORM_STEPS
        while left > 0:
            steps = min(left, inner * model.map_every)
            if model.learned:
                blocks.call("learn_map", model.measure, model.h_max, M, self._precision)
            blocks.call("improve", M, u, steps, self.lam_, model.xi, model.delta)
            left -= steps
        return np.concatenate(blocks.call("shares"))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Spectra of pixels with given abundances.

        Parameters
        ----------
        X : array, shape (n_samples, K)

        Returns
        -------
        ndarray, shape (n_samples, n_features)
        """
        check_is_fitted(self, "endmembers_")
        X = check_array("X", X, ndim=2)
        if X.shape[1] != len(self.endmembers_):
            raise ShapeError(f"X has shape {X.shape}: expected (n_samples, {len(self.endmembers_)})")
        return X @ self.endmembers_

    def _descend(
        self, factors: Factors, model: Model, shape: tuple[int, int] | None
    ) -> tuple[dict[str, list[Any]], bool]:
        history: dict[str, list[Any]] = {"objective": [], "changed": []}
        last = factors.objective()
        for t in range(self.max_iter):
            changed = False
            if t and t % model.map_every == 0:
                now = factors.objective()
                if abs(last - now) < self.tol * abs(last) and (not model.learned or t > FIRST_MAP):
                    return history, True
                if FIRST_MAP <= t <= model.map_iter:
                    changed = model.robust or model.learned
                    if model.learned:
                        precision = factors.precision(model.eps)
                        factors.blocks.call("learn_map", model.measure, model.h_max, factors.M, precision)
                        if model.smooth:
                            assert shape is not None
                            h = np.concatenate(factors.blocks.call("map"))
                            factors.blocks.scatter("set_map", smoothed(h, shape))
                        factors.look()
                    factors.rescale()
                    now = factors.objective()
                last = now
            factors.step(self.inner)
            history["objective"].append(factors.objective())
            history["changed"].append(changed)
        return history, False

    def _checked(self, N: int, L: int) -> int:
        K = check_int(self._count, getattr(self, self._count), low=self._least)
        if min(N, L) < K:
            raise bad_argument(
                self._count,
                K,
                f"at most min(n_samples, n_features), X has {N} sample(s) and {L} feature(s)",
            )
        check_float("tol", self.tol, low=0)
        check_int("max_iter", self.max_iter, low=1)
        check_int("inner", self.inner, low=1)
        check_choice("dtype", self.dtype, (None, "float32", "float64"))
        return K

    def _strength(self, survey: Survey, noise: float, model: Model) -> float:
        if isinstance(model.sparsity, str) and model.sparsity == "none":
            return 0.0
        if self.lam != "auto":
            return check_float("lam", self.lam, low=0)
        squares = np.diag(survey.second)
        level = float(np.sqrt(squares[self.trusted_].mean() / survey.live)) / self._scale
        # evidence leaves mixed pixels alone, so that pure ones can be pushed harder
        share = EVIDENCE_STRENGTH if model.learned and model.measure == "evidence" else 1.0
        return share * sparsity_of(survey.sums, squares, survey.live) * noise / level

    def _start(self, blocks: Any, survey: Survey, model: Model, rng: np.random.Generator) -> np.ndarray:
        K, L, N = getattr(self, self._count), len(survey.sums), int(blocks.ends[-1])
        if not isinstance(self.init, str):
            M, A = (np.asarray(part, np.float64) for part in self.init)
            if M.shape != (K, L) or A.shape != (N, K):
                raise ShapeError(
                    f"init has shapes {M.shape} and {A.shape}: expected ({K}, {L}) and ({N}, {K})"
                )
            blocks.scatter("set_shares", A)
            return M / self._scale
        check_choice("init", self.init, ("vca", "random"))
        find = trusted_corners if self.init == "vca" else random_spectra
        M = np.maximum(find(blocks, survey, self.trusted_, K, rng) / self._scale, 1e-6)
        sums = blocks.call("start", np.where(self.trusted_, M, 0), self.trusted_.astype(float), model.delta)
        gram, back = (sum(parts) for parts in zip(*sums, strict=True))
        other = ~self.trusted_
        if other.any():
            found = np.linalg.lstsq(gram, back[:, other], rcond=None)[0]
            M[:, other] = np.maximum(found, np.where(survey.sums[other] > 0, 1e-6, 0))
        return M

    def _real(self, X: Any) -> np.dtype:
        return np.dtype(self.dtype or (np.float32 if X.dtype.newbyteorder("=") == np.float32 else np.float64))

    def _taken(self, X: Any, shape: Any, reset: bool) -> tuple[Any, tuple[int, int] | None]:
        """Pixels (N, L) or a cube, of a type that blocks can read, and the shape of the image."""
        check_choice("dtype", self.dtype, (None, "float32", "float64"))
        mapped = isinstance(X, np.memmap)
        if getattr(X, "ndim", 0) == 3:
            X = np.asarray(X)
            if X.dtype.kind not in "fiu":
                raise ArgumentError(f"X is {X.dtype}: expected real numbers")
            if 0 in X.shape:
                raise ShapeError(f"X has shape {X.shape}: expected pixels and channels")
            if reset:
                self.n_features_in_ = X.shape[2]
            elif X.shape[2] != self.n_features_in_:
                raise ShapeError(f"X has {X.shape[2]} channels: expected {self.n_features_in_}")
            shape = (X.shape[0], X.shape[1])
        else:
            X = validate_data(self, X, dtype="numeric", ensure_all_finite=False, reset=reset)
        # in memory types are changed once, on disk whenever a block is read
        return X if mapped else X.astype(self._real(X), copy=False), shape

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
