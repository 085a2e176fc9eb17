"""Parts that are there or not, with a Gaussian amplitude where they are."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState
from gossamer._kernels.coding import Gaussian, Tree
from gossamer.learn.coding.annealing import AnnealingSchedule, Knobs
from gossamer.learn.coding.e_step import EStep, Evaluation, Params
from gossamer.learn.coding.rows import Columns, Rows, Sums
from gossamer.learn.coding.truncated import TruncatedCoding, clip_probability

LEAST_VARIANCE = 1e-5
LEAST_PI = 5e-5


class GaussianSparseCoding(TruncatedCoding):
    r"""Spike and slab: ``y = W^T (s z) + noise``, ``s_h ~ Bernoulli(pi_h)``, ``z ~ N(mu, Psi)``.

    Codes are zero or Gaussian, and the posterior says which, with amplitudes integrated out exactly. A state with
    active set S is weighed by ``N(y; W_S mu_S, W_S Psi_SS W_S^T + Sigma)``, by systems of size ``|S|``. With every
    cause active, ``mu = 0`` and ``Psi = I`` it is factor analysis.

    Parameters
    ----------
    n_components : int
        Causes, H.
    noise : {"scalar", "diagonal", "full"}
        Sigma: one variance, one a feature, or a covariance.
    slab_cov : {"diagonal", "full"}
        Psi. A full one is estimated entry by entry and projected to the positive definite matrices: its step is not
        guaranteed to raise the bound.
    learn : tuple of str
        Which of "W", "pi", "mu", "psi" and "sigma" to learn.
    pi_init : float or array of shape (H,), optional
        Probabilities to start from.
    sigma_init : float or array, optional
        As ``noise_``.
    n_candidates, max_active, schedule, selection, W_init
        As for :class:`BinarySparseCoding`; samples are not left out unless the schedule says so.
    max_extra_iter, tol, n_jobs, chunk_size, random_state, verbose
        As for :class:`BinarySparseCoding`.

    Attributes
    ----------
    components_, bound_, n_iter_, n_used_, n_states_
        As of :class:`BinarySparseCoding`.
    prior_ : ndarray, shape (H,)
        Probability of each cause.
    slab_mean_ : ndarray, shape (H,)
        ``mu``.
    slab_cov_ : ndarray, shape (H,) or (H, H)
        ``Psi``: variances, or the matrix.
    noise_ : float, ndarray of shape (d,) or of shape (d, d)
        Standard deviation; one a feature; the covariance.

    Raises
    ------
    ArgumentError
        Parameters out of range; more than two million states a sample.

    Notes
    -----
    The scale of a part and of its amplitude are not determined apart: compare parts after scaling. Variances stay above
    1e-5, so bring data to a sensible scale.

    References
    ----------
    Sheikh, Shelton, Luecke, "A truncated EM approach for spike-and-slab sparse coding", JMLR 2014; "ProSper", arXiv
    1908.06843, 2019.

    Examples
    --------
    >>> from gossamer.learn import AnnealingSchedule, GaussianSparseCoding, bars
    >>> W = bars.bars_dictionary(6) * 10
    >>> X, Z = bars.bars_data(W, 600, prob=0.3, noise=1.0, amplitude=(1.0, 0.5), random_state=0)
    >>> schedule = AnnealingSchedule(60, T=[(0, 4.0), (0.8, 1.0)], truncation=0)
    >>> model = GaussianSparseCoding(6, schedule=schedule, random_state=0).fit(X)
    >>> model.transform(X).shape, model.slab_cov_.shape
    ((600, 6), (6,))
    """

    _learnable: ClassVar[tuple[str, ...]] = ("W", "pi", "mu", "psi", "sigma")

    def __init__(
        self,
        n_components: int = 10,
        *,
        noise: str = "scalar",
        slab_cov: str = "diagonal",
        n_candidates: int | None = None,
        max_active: int | None = None,
        schedule: AnnealingSchedule | None = None,
        learn: tuple[str, ...] = ("W", "pi", "mu", "psi", "sigma"),
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
        super().__init__(
            n_components, n_candidates=n_candidates, max_active=max_active, schedule=schedule, learn=learn,
            selection=selection, W_init=W_init, pi_init=pi_init, sigma_init=sigma_init,
            max_extra_iter=max_extra_iter, tol=tol, n_jobs=n_jobs, chunk_size=chunk_size, random_state=random_state,
            verbose=verbose,
        )  # fmt: skip
        self.noise = noise
        self.slab_cov = slab_cov

    def _check(self, rows: Rows) -> Any:
        check_choice("noise", self.noise, ("scalar", "diagonal", "full"))
        check_choice("slab_cov", self.slab_cov, ("diagonal", "full"))
        return super()._check(rows)

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule(150, T=((0, 4.0), (0.8, 1.0)), truncation=0.0)

    def _odds(self, params: Params) -> np.ndarray:
        return params["pi"]

    def _start(self, columns: Columns, rng: np.random.Generator) -> Params:
        H, d = self.n_components, len(columns.mean)
        spread = np.sqrt(columns.variance).mean()
        variance = columns.variance + 1e-3
        psi = np.maximum(2 * rng.random(H), 0.05)
        return {
            "W": columns.mean + 0.25 * spread * rng.standard_normal((H, d)),
            "pi": np.maximum(0.95 * rng.random(H), 0.05),
            "mu": rng.standard_normal(H),
            "psi": psi if self.slab_cov == "diagonal" else np.diag(psi),
            "Sigma": {"scalar": variance.mean(), "diagonal": variance, "full": np.diag(variance)}[self.noise],
        }

    def _given(self, params: Params) -> Params:
        if self.pi_init is not None:
            pi = np.broadcast_to(check_array("pi_init", self.pi_init, ndim=(0, 1)), params["pi"].shape)
            params["pi"] = clip_probability(pi.astype(float), LEAST_PI)
        if self.sigma_init is not None:
            given = check_array("sigma_init", self.sigma_init, ndim=(0, 1, 2)).astype(float)
            if given.shape != np.shape(params["Sigma"]):
                raise ShapeError(f"sigma_init has shape {given.shape}: expected {np.shape(params['Sigma'])}")
            params["Sigma"] = given if self.noise == "full" else np.maximum(given**2, LEAST_VARIANCE)
        return self._given_parts(params)

    def _perturb(self, params: Params, knobs: Knobs, rng: np.random.Generator) -> Params:
        moved = dict(params)
        if knobs.W_noise:
            moved["W"] = params["W"] + knobs.W_noise * rng.standard_normal(params["W"].shape)
        if knobs.pi_noise:
            pi = params["pi"] + knobs.pi_noise * rng.standard_normal(len(params["pi"]))
            moved["pi"] = clip_probability(pi, LEAST_PI)
        if knobs.sigma_noise and self.noise != "full":
            sigma = np.sqrt(params["Sigma"]) + knobs.sigma_noise * rng.standard_normal(
                np.shape(params["Sigma"])
            )
            moved["Sigma"] = np.maximum(sigma, LEAST_VARIANCE**0.5) ** 2
        return moved

    def _slab(self, params: Params) -> np.ndarray:
        """Variances of the amplitudes."""
        return params["psi"] if params["psi"].ndim == 1 else np.diagonal(params["psi"])

    def _whitened(self, params: Params) -> np.ndarray:
        """``Sigma^-1`` times the parts, (H, d)."""
        W, Sigma = params["W"], params["Sigma"]
        return np.linalg.solve(Sigma, W.T).T if np.ndim(Sigma) == 2 else W / Sigma

    def _fields(self, Y: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
        V = self._whitened(params)
        gram = V @ params["W"].T
        return Y @ V.T, 0.5 * (gram + gram.T)

    def _alone(self, field: np.ndarray, gram: np.ndarray, params: Params) -> tuple[np.ndarray, ...]:
        """Each cause alone: variance and mean of its amplitude, log-likelihood against no cause."""
        mu, psi = params["mu"], self._slab(params)
        precision = np.diagonal(gram) + 1 / psi
        mean = (field + mu / psi) / precision
        return 1 / precision, mean, 0.5 * (mean**2 * precision - mu**2 / psi - np.log(precision * psi))

    def _scores(self, Y: np.ndarray, params: Params) -> np.ndarray:
        return self._alone(*self._fields(Y, params), params)[2]

    def _joint(
        self, Y: np.ndarray, params: Params, tree: Tree, step: EStep, threads: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        beta, Sigma = 1 / step.T, params["Sigma"]
        field, gram = self._fields(Y, params)
        odds = np.log(params["pi"] / (1 - params["pi"])) * (beta if step.anneal_prior else 1.0)
        joint = np.empty((len(Y), tree.columns))
        joint[:, 0] = 0
        joint[:, 1 : 1 + tree.latents] = odds + beta * self._alone(field, gram, params)[2]
        Gaussian(odds, params["mu"], params["psi"], gram).joint(tree, joint, field, beta, threads)
        Z = np.linalg.solve(Sigma, Y.T).T if np.ndim(Sigma) == 2 else Y / Sigma
        return joint, -0.5 * beta * np.einsum("nd,nd->n", Y, Z)

    def _amplitudes(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, threads: int | None
    ) -> tuple[Any, ...]:
        """E[s z] and E[s] of each point, and sums over points of s z (s z)^T, s (s z)^T, s s^T."""
        tree, q = evaluation.tree, evaluation.posterior
        field, gram = self._fields(Y, params)
        variance, mean, _ = self._alone(field, gram, params)
        single = np.ascontiguousarray(q[:, 1 : 1 + tree.latents])
        first, present = single * mean, single.copy()
        model = Gaussian(np.zeros(tree.latents), params["mu"], params["psi"], gram)
        second, cross, pairs = model.moments(tree, q, field, first, present, threads)
        diagonal = np.diag_indices(tree.latents)
        second[diagonal] += (single * (variance + mean**2)).sum(axis=0)
        cross[diagonal] += (single * mean).sum(axis=0)
        pairs[diagonal] += single.sum(axis=0)
        return first, present, second, cross, pairs

    def _moments(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> Sums:
        first, present, second, cross, pairs = self._amplitudes(Y, params, evaluation, threads)
        Z = Y * weight[:, None]
        return {
            "s": present.sum(axis=0),
            "sz": first.sum(axis=0),
            "second": second,
            "cross": cross,
            "pairs": pairs,
            "szy": first.T @ Y,
            "yy": Z.T @ Y if self.noise == "full" else np.einsum("nd,nd->d", Z, Y),
        }

    def _maximise(self, params: Params, sums: Sums, step: EStep) -> Params:
        fresh, n = dict(params), sums["points"]
        s, second, szy = np.maximum(sums["s"], np.finfo(float).tiny), sums["second"], sums["szy"]
        W = params["W"]
        if "W" in self.learn:
            W = fresh["W"] = np.linalg.lstsq(second, szy, rcond=None)[0]
        if "pi" in self.learn:
            fresh["pi"] = clip_probability(s / n, LEAST_PI)
        if "mu" in self.learn:
            fresh["mu"] = sums["sz"] / s
        if "psi" in self.learn:
            fresh["psi"] = self._fresh_slab(fresh["mu"], sums, s)
        if "sigma" in self.learn:
            fresh["Sigma"] = self._fresh_noise(W, sums, n)
        return fresh

    def _fresh_slab(self, mu: np.ndarray, sums: Sums, s: np.ndarray) -> np.ndarray:
        if self.slab_cov == "diagonal":
            square = np.diagonal(sums["second"]) - 2 * mu * sums["sz"] + mu**2 * s
            return np.maximum(square / s, LEAST_VARIANCE)
        cross, pairs = mu[:, None] * sums["cross"], sums["pairs"]
        square = sums["second"] - cross - cross.T + np.outer(mu, mu) * pairs
        values, vectors = np.linalg.eigh(square / np.maximum(pairs, np.finfo(float).tiny))
        return (vectors * np.maximum(values, LEAST_VARIANCE)) @ vectors.T

    def _fresh_noise(self, W: np.ndarray, sums: Sums, n: float) -> Any:
        szy, second = sums["szy"], sums["second"]
        if self.noise == "full":
            side = W.T @ szy
            values, vectors = np.linalg.eigh((sums["yy"] - side - side.T + W.T @ second @ W) / n)
            return (vectors * np.maximum(values, LEAST_VARIANCE)) @ vectors.T
        left = sums["yy"] + np.einsum("hd,hd->d", W, second @ W - 2 * szy)
        variance = left / n if self.noise == "diagonal" else left.mean() / n
        return np.maximum(variance, LEAST_VARIANCE)

    def _constant(self, params: Params) -> float:
        Sigma, d = params["Sigma"], params["W"].shape[1]
        if np.ndim(Sigma) == 2:
            log_det = np.linalg.slogdet(Sigma)[1]
        else:
            log_det = np.log(np.broadcast_to(Sigma, (d,))).sum()
        return float(np.log1p(-params["pi"]).sum() - 0.5 * (d * np.log(2 * np.pi) + log_det))

    def _codes(self, Y: np.ndarray, params: Params, evaluation: Evaluation) -> np.ndarray:
        return self._amplitudes(Y, params, evaluation, None)[0]

    def _superpose(self, S: np.ndarray, params: Params) -> np.ndarray:
        return S @ params["W"]

    def _draw(self, n: int, params: Params, rng: np.random.Generator) -> np.ndarray:
        mu, psi = params["mu"], params["psi"]
        root = np.linalg.cholesky(psi if psi.ndim == 2 else np.diag(psi))
        return super()._draw(n, params, rng) * (mu + rng.standard_normal((n, len(mu))) @ root.T)

    def _emit(self, mean: np.ndarray, params: Params, rng: np.random.Generator) -> np.ndarray:
        Sigma, white = params["Sigma"], rng.standard_normal(mean.shape)
        return mean + (white @ np.linalg.cholesky(Sigma).T if np.ndim(Sigma) == 2 else white * np.sqrt(Sigma))

    def _noise_is_gone(self, params: Params) -> bool:
        Sigma = params["Sigma"]
        least = np.linalg.eigvalsh(Sigma)[0] if np.ndim(Sigma) == 2 else np.min(Sigma)
        return bool(least <= LEAST_VARIANCE * (1 + 1e-9))

    def _publish(self, params: Params) -> None:
        self.components_ = params["W"].astype(self._dtype)
        self.prior_ = params["pi"]
        self.slab_mean_, self.slab_cov_ = params["mu"], params["psi"]
        Sigma = params["Sigma"]
        self.noise_ = Sigma if np.ndim(Sigma) == 2 else np.sqrt(Sigma)
        if self.noise == "scalar":
            self.noise_ = float(self.noise_)
