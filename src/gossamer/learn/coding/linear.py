"""Causes that add up, with values from a finite set: what three models share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from gossamer._core.random import RandomState
from gossamer._kernels.coding import Tree, linear_joint
from gossamer.learn.coding.annealing import AnnealingSchedule
from gossamer.learn.coding.e_step import EStep, Evaluation, Params
from gossamer.learn.coding.rows import Columns, Sums
from gossamer.learn.coding.truncated import LEAST_NOISE, TruncatedCoding, clip_probability


class LinearCoding(TruncatedCoding):
    r"""``y = W s + m + noise``, each ``s_h`` 0 or one of a few values, noise ``N(0, sigma^2 I)``.

    With ``b = W y`` and ``G = W W^T``, ``|y - W^T s|^2 = |y|^2 - 2 s.b + s.G s``: no state touches the data.
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        n_candidates: int | None = None,
        max_active: int | None = None,
        schedule: AnnealingSchedule | None = None,
        learn: tuple[str, ...] = ("W", "pi", "sigma"),
        fit_offset: bool = False,
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
        self.fit_offset = fit_offset

    @abstractmethod
    def _law(self, params: Params) -> np.ndarray:
        """Probability of 0, then of each value."""

    @abstractmethod
    def _fresh_prior(self, params: Params, sums: Sums, step: EStep) -> Any:
        """``pi`` from the counts of values."""

    def _odds(self, params: Params) -> np.ndarray:
        return np.full(self.n_components, 1 - self._law(params)[0])

    def _start(self, columns: Columns, rng: np.random.Generator) -> Params:
        params, mean = self._binary_start(columns, rng), columns.mean
        if self.fit_offset:
            return params | {"W": params["W"] - mean, "offset": mean}
        return params | {"offset": np.zeros_like(mean)}

    def _centred(self, Y: np.ndarray, params: Params) -> np.ndarray:
        return Y - params["offset"] if self.fit_offset else Y

    def _match(self, Y: np.ndarray, params: Params) -> np.ndarray:
        """``W y`` of every point: what scores and joints are made of, (n, H)."""
        return self._centred(Y, params) @ params["W"].T

    def _scores_of(self, match: np.ndarray, params: Params) -> np.ndarray:
        """The best log joint of each cause alone."""
        scale = params["sigma"] ** -2
        W = params["W"]
        return self._single(scale * match, scale * (W @ W.T), self._prior(params)).max(axis=2)

    def _scores(self, Y: np.ndarray, params: Params) -> np.ndarray:
        return self._scores_of(self._match(Y, params), params)

    def _look(self, Y: np.ndarray, params: Params) -> tuple[Any, ...]:
        match = self._match(Y, params)
        return self._scores_of(match, params), match

    def _single(self, field: np.ndarray, gram: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Log joints of one cause against none: (n, H, values)."""
        value = np.array(self._values())
        constant = prior - 0.5 * np.outer(np.diagonal(gram), value**2)
        return value * field[:, :, None] + constant

    def _prior(self, params: Params) -> np.ndarray:
        law = self._law(params)
        return np.log(law[1:] / law[0])

    def _joint(
        self,
        Y: np.ndarray,
        params: Params,
        tree: Tree,
        step: EStep,
        threads: int | None,
        match: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        beta, W, Z = 1 / step.T, params["W"], self._centred(Y, params)
        scale = beta / params["sigma"] ** 2
        field, gram = scale * (Z @ W.T if match is None else match), scale * (W @ W.T)
        prior = self._prior(params) * (beta if step.anneal_prior else 1.0)
        joint = np.empty((len(Y), tree.columns))
        joint[:, 0] = 0
        joint[:, 1 : 1 + tree.latents * tree.values] = self._single(field, gram, prior).reshape(len(Y), -1)
        linear_joint(tree, joint, np.array(self._values()), prior, field, gram, threads)
        return joint, -0.5 * scale * np.einsum("nd,nd->n", Z, Z)

    def _moments(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> Sums:
        Z = self._centred(Y, params)
        mean, second, count = self._state_moments(evaluation, threads)
        return {
            "s": mean.sum(axis=0),
            "ss": second,
            "count": count,
            "sy": mean.T @ Z,
            "y": weight @ Z,
            "yy": weight @ np.einsum("nd,nd->n", Z, Z),
        }

    def _maximise(self, params: Params, sums: Sums, step: EStep) -> Params:
        fresh, n = dict(params), sums["points"]
        s, ss, sy, y = sums["s"], sums["ss"], sums["sy"], sums["y"]
        W = params["W"]
        if "W" in self.learn:  # with an offset, the exact joint maximiser: regression of what is centred
            centre = np.outer(s, s) / n if self.fit_offset else 0.0
            side = np.outer(s, y) / n if self.fit_offset else 0.0
            W = fresh["W"] = np.linalg.lstsq(ss - centre, sy - side, rcond=None)[0]
        shift = (y - s @ W) / n if self.fit_offset else np.zeros_like(y)
        fresh["offset"] = params["offset"] + shift
        if "sigma" in self.learn:
            left = sums["yy"] - 2 * np.vdot(W, sy) + np.vdot(W @ W.T, ss)
            left += n * (shift @ shift) - 2 * shift @ (y - s @ W)
            fresh["sigma"] = max(float(np.sqrt(max(left, 0.0) / (n * len(y)))), LEAST_NOISE)
        if "pi" in self.learn:
            fresh["pi"] = self._fresh_prior(params, sums, step)
        return fresh

    def _corrected(self, params: Params, sums: Sums, step: EStep) -> float:
        """``pi A / B`` times the mean number of causes: at the fixed point truncation does not bias it."""
        within, causes = self._within(params, step.active)
        pi = params["pi"] * within / causes * float(sums["count"].sum()) / sums["points"]
        return float(clip_probability(pi))

    def _superpose(self, S: np.ndarray, params: Params) -> np.ndarray:
        return S @ params["W"] + params["offset"]

    def _draw(self, n: int, params: Params, rng: np.random.Generator) -> np.ndarray:
        law = self._law(params)
        value = np.array((0.0, *self._values()))
        return value[rng.choice(len(law), (n, self.n_components), p=law / law.sum())]

    def _publish(self, params: Params) -> None:
        super()._publish(params)
        self.offset_ = params["offset"].astype(self._dtype)
