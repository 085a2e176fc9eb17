"""Signed parts that hide one another: where several are, the one of largest magnitude shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.learn.coding.e_step import Params
from gossamer.learn.coding.maximum import LEAST_W, MaximumCoding

GRIP = 2.5  # responsibility after which a part follows its data by two thirds


class MaximumMagnitudeCausesAnalysis(MaximumCoding):
    r"""Binary causes of which the largest in magnitude shows: ``y_d = W_{h*d} + noise``, ``h* = argmax s_h |W_hd|``.

    :class:`MaximalCausesAnalysis` for signed parts, for example whitened image patches. The exponent stays at 6 and
    below (``rho = 1 / (1 - 1/max(T, 1.2))``); candidates are the parts nearest to the sample; a part with little
    responsibility keeps most of what it was.

    Parameters
    ----------
    n_components, n_candidates, max_active, schedule, learn, selection, W_init, pi_init, sigma_init
        As for :class:`BinarySparseCoding`.
    max_extra_iter, tol, n_jobs, chunk_size, random_state, verbose
        As for :class:`BinarySparseCoding`.

    Attributes
    ----------
    components_, prior_, noise_, bound_, n_iter_, n_used_, n_states_
        As of :class:`BinarySparseCoding`.

    Raises
    ------
    ArgumentError
        Parameters out of range; more than two million states a sample.

    References
    ----------
    Bornschein, Henniges, Luecke, "Are V1 simple cells optimized for visual occlusions?", PLoS Computational Biology
    2013; "ProSper", arXiv 1908.06843, 2019.

    Examples
    --------
    >>> from gossamer.learn import AnnealingSchedule, MaximumMagnitudeCausesAnalysis, bars
    >>> W = bars.bars_dictionary(8, negative=True) * 10
    >>> X, S = bars.bars_data(W, 500, prob=0.25, noise=1.0, combine="magnitude", random_state=0)
    >>> schedule = AnnealingSchedule(100, T=[(0, 4.0), (0.8, 1.0)])
    >>> model = MaximumMagnitudeCausesAnalysis(8, schedule=schedule, random_state=0).fit(X)
    >>> model.components_.shape
    (8, 16)
    """

    def _rho(self, T: float) -> float:
        return min(max(1 / (1 - 1 / max(T, 1.2)), 1.0), 35.0)

    def _perturb(self, params: Params, knobs: Any, rng: np.random.Generator) -> Params:
        params = super()._perturb(params, knobs, rng)
        return params | {"W": _off_zero(params["W"])}

    def _scores(self, Y: np.ndarray, params: Params) -> np.ndarray:
        W = params["W"]
        return 2 * Y @ W.T - np.einsum("hd,hd->h", W, W)

    def _fresh_W(self, W: np.ndarray, weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
        weight = np.maximum(weight, 1e-4)
        share = np.maximum(1 - np.exp(-weight / GRIP), 0.2)
        return _off_zero(share * weighted / weight + (1 - share) * W)


def _off_zero(W: np.ndarray) -> np.ndarray:
    return np.where(np.abs(W) < LEAST_W, np.where(W < 0, -LEAST_W, LEAST_W), W)
