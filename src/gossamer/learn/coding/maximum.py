"""Causes of which, in every feature, the largest one shows: what two models share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from gossamer._kernels.coding import Maximum, Tree
from gossamer.learn.coding.annealing import AnnealingSchedule
from gossamer.learn.coding.e_step import EStep, Evaluation, Params
from gossamer.learn.coding.rows import Columns, Sums
from gossamer.learn.coding.truncated import LEAST_NOISE, TruncatedCoding, clip_probability

LEAST_W = 1e-4


class MaximumCoding(TruncatedCoding):
    r"""Binary causes under a (signed) maximum, smoothed: ``t_d = sum_h s_h sign(W_hd) |W_hd|^rho``,
    ``bar_d = sign(t_d) |t_d|^(1/rho)``; ``rho`` grows as the temperature falls.

    A cause is responsible for a feature by ``A_hd(s) = s_h min(1, |W_hd / bar_d|^(rho - 1))``.
    """

    @abstractmethod
    def _rho(self, T: float) -> float:
        """Exponent at a temperature."""

    @abstractmethod
    def _fresh_W(self, W: np.ndarray, weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Parts from ``sum <A> y`` and ``sum <A>``."""

    def _anneals_prior(self) -> bool:
        return True

    def _refines(self) -> bool:
        return "sigma" in self.learn

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule(300, T=((0, 4.0), (0.8, 1.0)))

    def _start(self, columns: Columns, rng: np.random.Generator) -> Params:
        return self._binary_start(columns, rng)

    def _joint(
        self, Y: np.ndarray, params: Params, tree: Tree, step: EStep, threads: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        precision = 0.5 / (step.T * params["sigma"] ** 2)
        prior = np.log(params["pi"] / (1 - params["pi"])) / step.T
        W, joint = params["W"], np.empty((len(Y), tree.columns))
        joint[:, 0] = 0
        joint[:, 1 : 1 + len(W)] = prior + precision * (2 * Y @ W.T - np.einsum("hd,hd->h", W, W))
        Maximum(W, self._rho(step.T)).joint(tree, joint, Y, prior, precision, threads)
        return joint, -precision * np.einsum("nd,nd->n", Y, Y)

    def _moments(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> Sums:
        tree, q, W = evaluation.tree, evaluation.posterior, params["W"]
        single = q[:, 1 : 1 + len(W)]  # alone, a cause is all of what shows
        A, Ay = Maximum(W, self._rho(evaluation.step.T)).moments(tree, q, Y, threads)
        _, _, count = self._state_moments(evaluation, threads)
        return {"A": A + single.sum(axis=0)[:, None], "Ay": Ay + single.T @ Y, "count": count}

    def _maximise(self, params: Params, sums: Sums, step: EStep) -> Params:
        fresh = dict(params)
        if "W" in self.learn:
            fresh["W"] = self._fresh_W(params["W"], sums["Ay"], sums["A"])
        if "pi" in self.learn:
            within, causes = self._within(params, step.active)
            pi = params["pi"] * within / causes * float(sums["count"][0]) / sums["points"]
            fresh["pi"] = float(clip_probability(pi))
        return fresh

    def _residual(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation, weight: np.ndarray, threads: int | None
    ) -> float:
        tree, q, W = evaluation.tree, evaluation.posterior, params["W"]
        far = Maximum(W, self._rho(evaluation.step.T)).residual(tree, q, Y, threads)
        alone = q[:, 1 : 1 + len(W)] * (np.einsum("hd,hd->h", W, W) - 2 * Y @ W.T)
        return float(far.sum() + alone.sum() + weight @ np.einsum("nd,nd->n", Y, Y))

    def _refine(self, params: Params, sums: Sums, points: int) -> Params:
        square = sums["residual"] / (points * params["W"].shape[1])
        return params | {"sigma": max(float(np.sqrt(max(square, 0.0))), LEAST_NOISE)}

    def _expected(
        self, Y: np.ndarray, params: Params, evaluation: Evaluation
    ) -> tuple[np.ndarray, np.ndarray]:
        tree, q, W = evaluation.tree, evaluation.posterior, params["W"]
        shown = q[:, 1 : 1 + len(W)] @ W + Maximum(W, self._rho(1.0)).mean(tree, q)
        return self._codes(Y, params, evaluation), shown

    def _superpose(self, S: np.ndarray, params: Params) -> np.ndarray:
        W = params["W"]
        out = np.zeros((len(S), W.shape[1]))
        for s, part in zip(S.T, W, strict=True):
            here = s[:, None] * part
            out = np.where(np.abs(here) > np.abs(out), here, out)
        return out
