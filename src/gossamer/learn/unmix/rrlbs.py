"""Unmix spectra with robust channels and a sparsity that each pixel learns (RRLbS)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_choice, check_finite, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.unmix.channels import sparsity_estimate, trusted_channels
from gossamer.learn.unmix.constrained import fcls, nonnegative_least_squares
from gossamer.learn.unmix.factors import Factors, Penalty, Pixels
from gossamer.learn.unmix.guidance import MEASURES, guidance_map
from gossamer.learn.unmix.vertex import vca

FIRST_MAP = 20  # iterations before the guidance is first learnt: early abundances mislead it
TRANSFORM_STEPS = 100  # of new pixels, the same for each: a pixel's shares do not depend on the others'


class RRLbS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Spectral unmixing by robust representation and learning-based sparsity.

    Minimises, over endmembers M >= 0 and abundances A >= 0,

    ``c sum_l sqrt(|x_l - A m_l|^2 + eps^2) + lam sum_nk (a_nk + xi)^(1 - h_n) + delta^2/2 sum_n (1 - sum_k a_nk)^2``.

    The first term counts a degraded channel l linearly, not squared. The second is an l_p norm with ``p = 1 - h_n`` of
    each pixel's own, and the guidance map h is learnt: near 0 in mixed pixels, near 1 in pure ones. The third asks
    shares to sum to one. All steps are multiplicative and never raise the objective.

    Parameters
    ----------
    n_endmembers : int
        K, at least 2.
    lam : float or "auto"
        Strength of the sparsity, for X scaled to a largest value of 1 on trusted channels; "auto" follows from the
        noise of the channels.
    robust : bool
        False squares the residuals.
    sparsity : "learned", "none", float or array of shape (n_samples,)
        Where h comes from: learnt; no sparsity term; one fixed h in [0, 1) for all pixels (0.5 is l1/2-NMF); given.
    h_max : float
        Largest h that is learnt.
    sum_to_one : float
        delta.
    init : "vca", "random" or (M, A)
        Start: corners of the trusted channels, random pixels, or given arrays (K, L) and (n_samples, K).
    max_iter : int
        Most iterations.
    inner : int
        Repeats of each multiplicative step in an iteration.
    map_every, map_iter : int
        The guidance is learnt every ``map_every`` iterations until iteration ``map_iter``; what follows is a descent.
    eps, xi : float
        As above; eps is times the root of the number of pixels.
    tol : float
        Relative change of the objective over ``map_every`` iterations at which they end.
    guidance : {"hoyer", "gini", "max"}
        Measure of sparseness.
    smooth_map : bool
        Take the 3 x 3 median of the guidance map; needs ``shape`` or a cube.
    n_init : int
        Starts, of which the one with the least objective is kept.
    clip_negative : bool
        Set negative values of X to zero instead of refusing them.
    dtype : {"float32", "float64"}, optional
        Of the pixels' part of the computation; that of X by default.
    random_state : int, Generator or None
        Source of the starts.

    Attributes
    ----------
    endmembers_, abundances_ : ndarray
        M, of shape (K, n_features), and A, of shape (n_samples, K).
    guidance_ : ndarray, shape (n_samples,)
        h.
    channel_weights_ : ndarray, shape (n_features,)
        u: small where channels are degraded, 0 for channels of zeros.
    trusted_ : ndarray of bool, shape (n_features,)
        Channels that the start used.
    lam_ : float
        As used.
    objective_ : float
        At the end.
    history_ : dict of list
        "objective" of each iteration, and "changed": whether its definition changed there (h or c were renewed).
    n_iter_, n_features_in_ : int

    Raises
    ------
    ArgumentError, ShapeError, ValueError
        For negative, NaN or infinite X (with the first place), K out of range, arrays that do not fit.

    Notes
    -----
    An iteration costs ``O(N L K + (N + L) K^2)``; besides X nothing of its size is kept, and X may be a memory map.
    With the sum-to-one term an l1 norm is constant: ``sparsity=0.0`` is hardly different from ``"none"``.

    References
    ----------
    Zhu, Wang, Fan, Meng, Pan, "Effective spectral unmixing via robust representation and learning-based sparsity",
    arXiv 1409.0685, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import RRLbS, sad, simulate_scene
    >>> waves = np.linspace(0, 3, 60)
    >>> spectra = np.stack([1 + np.sin(waves * k + k) for k in (1, 2, 3)])
    >>> scene = simulate_scene(spectra, (24, 24), kind="half_pure", random_state=0)
    >>> model = RRLbS(3, max_iter=300, random_state=0).fit(scene.X)
    >>> bool(sad(scene.M, model.endmembers_).max() < 0.02)
    True
    """

    def __init__(
        self,
        n_endmembers: int = 2,
        *,
        lam: float | str = "auto",
        robust: bool = True,
        sparsity: Any = "learned",
        h_max: float = 0.9,
        sum_to_one: float = 15.0,
        init: Any = "vca",
        max_iter: int = 1000,
        inner: int = 3,
        map_every: int = 10,
        map_iter: int = 300,
        eps: float = 1e-3,
        xi: float = 1e-3,
        tol: float = 1e-5,
        guidance: str = "hoyer",
        smooth_map: bool = False,
        n_init: int = 1,
        clip_negative: bool = False,
        dtype: str | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_endmembers = n_endmembers
        self.lam = lam
        self.robust = robust
        self.sparsity = sparsity
        self.h_max = h_max
        self.sum_to_one = sum_to_one
        self.init = init
        self.max_iter = max_iter
        self.inner = inner
        self.map_every = map_every
        self.map_iter = map_iter
        self.eps = eps
        self.xi = xi
        self.tol = tol
        self.guidance = guidance
        self.smooth_map = smooth_map
        self.n_init = n_init
        self.clip_negative = clip_negative
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, shape: tuple[int, int] | None = None) -> RRLbS:
        """Learn endmembers and abundances.

        Parameters
        ----------
        X : array, shape (n_samples, n_features) or (rows, columns, n_features)
            Pixels by channels, or a cube; not negative.
        y : ignored
        shape : (int, int), optional
            Rows and columns of the image whose pixels X holds.
        """
        X, shape = self._flat(X, shape)
        X = self._valid(X, reset=True)
        N, L = X.shape
        K = self._checked(N, L)
        if shape is not None and shape[0] * shape[1] != N:
            raise ShapeError(f"shape={shape!r}: X has {N} pixels")
        if self.smooth_map and shape is None:
            raise bad_argument("smooth_map", True, "shape, or a cube, to know the neighbours of a pixel")
        self._image = shape if self.smooth_map else None
        live = X.any(axis=1)
        if not live.any():
            raise ArgumentError("X is zero everywhere: expected pixels with light")
        if not live.all():
            warnings.warn(f"{N - int(live.sum())} pixels are zero and left out", UserWarning, stacklevel=2)
        used = X if live.all() else X[live]
        trust = trusted_channels(used) if L > 1 else None
        self.trusted_ = np.ones(L, bool) if trust is None or trust.trusted.sum() < K else trust.trusted
        # a degraded channel must not set the scale of the others
        scale = float(used[:, self.trusted_].max()) or float(used.max())
        pixels = Pixels(used, scale, self.dtype or used.dtype)
        noise = 0.0 if trust is None else float(np.median(trust.noise[self.trusted_])) / scale
        self.lam_ = self._strength(used, scale, noise)
        h, rng = self._guidance_start(live), check_random_state(self.random_state)
        best: Factors | None = None
        for _ in range(check_int("n_init", self.n_init, low=1)):
            M, A = self._start(used, scale, live, rng)
            factors = Factors(pixels, M, A, h.copy(), self._penalty(len(used), self.lam_))
            history, done = self._descend(factors, live)
            # c differs between starts: they are compared with that of the first
            c = factors.c if best is None else best.c
            if best is None or factors.objective(c) < best.objective(c):
                best, self.history_, converged = factors, history, done
        assert best is not None
        self._keep(best, scale, live)
        if not converged:
            warnings.warn(
                f"objective still fell by more than tol={self.tol} in the last {self.map_every} of "
                f"{self.max_iter} iterations",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _keep(self, factors: Factors, scale: float, live: np.ndarray) -> None:
        N, K = len(live), len(factors.M)
        self.endmembers_ = (factors.M * scale).astype(factors.A.dtype)
        self.abundances_ = np.full((N, K), 1 / K, factors.A.dtype)
        self.abundances_[live] = factors.A
        self.guidance_ = np.zeros(N, factors.A.dtype)
        self.guidance_[live] = factors.h
        self.channel_weights_ = factors.weights()
        self.objective_ = factors.objective()
        self.n_iter_ = len(self.history_["objective"])
        self._scale, self._n_features_out = scale, K
        unused = np.flatnonzero(factors.A.max(axis=0) < 1e-3)
        if len(unused):
            warnings.warn(
                f"endmembers {unused.tolist()} are in no pixel: K is too large", UserWarning, stacklevel=3
            )

    def transform(self, X: Any) -> np.ndarray:
        """Abundances of pixels with the endmembers and channel weights learnt, and guidance of their own.

        Parameters
        ----------
        X : array, shape (n_samples, n_features) or (rows, columns, n_features)
            Pixels; without regard to where they lie, ``smooth_map`` is not applied.

        Returns
        -------
        ndarray, shape (n_samples, K)
        """
        check_is_fitted(self, "endmembers_")
        X = self._valid(self._flat(X, None)[0], reset=False)
        live = X.any(axis=1)
        out = np.full((len(X), len(self.endmembers_)), 1 / len(self.endmembers_), self.endmembers_.dtype)
        if not live.any():
            return out
        used = X[live]
        pixels = Pixels(used, self._scale, self.endmembers_.dtype)
        M, weights = self.endmembers_.astype(np.float64) / self._scale, self.channel_weights_
        square = self.sum_to_one**2
        sides = (used / self._scale) @ (M * weights).T + square
        A = nonnegative_least_squares((M * weights) @ M.T + square, sides)
        h = 0.0 if isinstance(self.sparsity, str) or np.ndim(self.sparsity) else float(self.sparsity)
        factors = Factors(pixels, M, A, np.full(len(used), h), self._penalty(len(used), self.lam_))
        learned = isinstance(self.sparsity, str) and self.sparsity == "learned"
        for t in range(-(-TRANSFORM_STEPS // self.inner)):
            if learned and t % self.map_every == 0:
                factors.h = guidance_map(factors.A, self.guidance, self.h_max).astype(factors.A.dtype)
            factors.improve_abundances(weights, self.inner)
        out[live] = factors.A
        return out

    def _descend(self, factors: Factors, live: np.ndarray) -> tuple[dict[str, list[Any]], bool]:
        history: dict[str, list[Any]] = {"objective": [], "changed": []}
        learned = isinstance(self.sparsity, str) and self.sparsity == "learned"
        last = factors.objective()
        for t in range(self.max_iter):
            changed = False
            if t and t % self.map_every == 0:
                now = factors.objective()
                if abs(last - now) < self.tol * abs(last) and (not learned or t > FIRST_MAP):
                    return history, True
                if FIRST_MAP <= t <= self.map_iter:
                    changed = self.robust or learned
                    if learned:
                        factors.h = self._map(factors.A, live).astype(factors.A.dtype)
                    factors.rescale()
                    now = factors.objective()
                last = now
            factors.step(self.inner)
            history["objective"].append(factors.objective())
            history["changed"].append(changed)
        return history, False

    def _map(self, A: np.ndarray, live: np.ndarray) -> np.ndarray:
        if self._image is None or live.all():
            return guidance_map(A, self.guidance, self.h_max, self._image)
        whole = np.zeros((len(live), A.shape[1]), A.dtype)
        whole[live] = A
        return guidance_map(whole, self.guidance, self.h_max, self._image)[live]

    def _checked(self, N: int, L: int) -> int:
        K = check_int("n_endmembers", self.n_endmembers, low=2)
        if min(N, L) < K:
            raise bad_argument(
                "n_endmembers",
                K,
                f"at most min(n_samples, n_features), X has {N} sample(s) and {L} feature(s)",
            )
        check_float("sum_to_one", self.sum_to_one, low=0)
        check_float("h_max", self.h_max, low=0, high=1, closed="left")
        check_float("eps", self.eps, low=0, closed="neither")
        check_float("xi", self.xi, low=0, closed="neither")
        check_float("tol", self.tol, low=0)
        check_choice("guidance", self.guidance, MEASURES)
        for name, low in (("max_iter", 1), ("inner", 1), ("map_every", 1), ("map_iter", 0)):
            check_int(name, getattr(self, name), low=low)
        check_choice("dtype", self.dtype, (None, "float32", "float64"))
        if isinstance(self.sparsity, str):
            check_choice("sparsity", self.sparsity, ("learned", "none"))
        return K

    def _guidance_start(self, live: np.ndarray) -> np.ndarray:
        if isinstance(self.sparsity, str):
            return np.zeros(int(live.sum()))
        h = np.asarray(self.sparsity, np.float64)
        if h.ndim and h.shape != live.shape:
            raise ShapeError(f"sparsity has shape {h.shape}: expected a number or ({len(live)},)")
        if not ((h >= 0) & (h < 1)).all():
            raise bad_argument("sparsity", self.sparsity, "values in [0, 1), 'learned' or 'none'")
        return np.broadcast_to(h, live.shape)[live].copy()

    def _penalty(self, N: int, lam: float) -> Penalty:
        return Penalty(lam, self.xi, self.sum_to_one, self.eps * np.sqrt(N) if self.robust else None)

    def _strength(self, X: np.ndarray, scale: float, noise: float) -> float:
        if isinstance(self.sparsity, str) and self.sparsity == "none":
            return 0.0
        if self.lam != "auto":
            return check_float("lam", self.lam, low=0)
        good = X[:, self.trusted_]
        level = float(np.sqrt(np.einsum("nl,nl->", good, good, dtype=np.float64) / good.size)) / scale
        return sparsity_estimate(X) * noise / level

    def _start(
        self, X: np.ndarray, scale: float, live: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        K, good = self.n_endmembers, self.trusted_
        if not isinstance(self.init, str):
            M, A = (np.asarray(part, np.float64) for part in self.init)
            if M.shape != (K, X.shape[1]) or A.shape != (len(live), K):
                raise ShapeError(
                    f"init has shapes {M.shape} and {A.shape}: expected ({K}, {X.shape[1]}) and ({len(live)}, {K})"
                )
            return M / scale, A[live]
        check_choice("init", self.init, ("vca", "random"))
        scaled = X[:, good] / X.dtype.type(scale)
        if self.init == "vca":
            corners = np.maximum(vca(scaled, K, random_state=rng)[1], 1e-6)
        else:
            corners = np.maximum(scaled[rng.choice(len(X), K, replace=False)], 1e-6)
        A = fcls(scaled, corners, sum_to_one=self.sum_to_one)
        M = np.empty((K, X.shape[1]))
        M[:, good] = corners
        if not good.all():
            M[:, ~good] = np.linalg.lstsq(A, X[:, ~good] / scale, rcond=None)[0]
        M[:, ~good] = np.maximum(M[:, ~good], np.where(X[:, ~good].any(axis=0), 1e-6, 0))
        return M, A

    def _flat(self, X: Any, shape: tuple[int, int] | None) -> tuple[Any, tuple[int, int] | None]:
        cube = np.asarray(X)
        if cube.ndim == 3:
            return cube.reshape(-1, cube.shape[2]), (cube.shape[0], cube.shape[1])
        return X, shape

    def _valid(self, X: Any, reset: bool) -> np.ndarray:
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_min_samples=1,
            reset=reset,
        )
        check_finite("X", X)
        if X.min(initial=0.0) < 0:
            if not self.clip_negative:
                place = tuple(int(i) for i in np.argwhere(X < 0)[0])
                raise ArgumentError(
                    f"Negative values in data: X is {X[place]:.4g} at {place}; expected none, or clip_negative=True"
                )
            X = np.maximum(X, 0)
        return X

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
