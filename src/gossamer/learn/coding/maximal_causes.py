"""Parts that hide one another: where several are, the brightest shows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gossamer._core.checks import check_array
from gossamer._core.errors import ArgumentError
from gossamer._kernels.coding import excess
from gossamer.learn.coding.e_step import Params
from gossamer.learn.coding.maximum import LEAST_W, MaximumCoding
from gossamer.learn.coding.rows import Columns, Rows


class MaximalCausesAnalysis(MaximumCoding):
    r"""Binary causes of which the largest shows: ``y_d = max_h s_h W_hd + noise``, ``W >= 0``.

    For data in which parts occlude or mask one another: bright objects in images, the louder of several sounds in a log
    spectrogram. Where parts are dim and signed take :class:`MaximumMagnitudeCausesAnalysis`. While annealing, the
    maximum is the norm ``(sum W^rho)^(1/rho)``, ``rho = 1 / (1 - 1/max(T, 1.05))``, 21 in the end. Candidates are the
    causes that exceed the sample least, ``sum_d max(W_hd - y_d, 0)``.

    One fit in five may end with a part twice or a part lost, and then shows it by too much noise: fit from a few values
    of ``random_state`` and keep the best ``score``.

    Parameters
    ----------
    n_components, n_candidates, max_active, schedule, learn, selection, W_init, pi_init, sigma_init
        As for :class:`BinarySparseCoding`; ``W_init`` must not be negative.
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

    Warns
    -----
    UserWarning
        For negative data, which no set of causes makes.

    Notes
    -----
    The noise is measured at the new parts, which takes a second pass over the posteriors; a step of the ratio update of
    W is not guaranteed to raise the bound.

    References
    ----------
    Luecke, Sahani, "Maximal causes for non-linear component extraction", JMLR 2008; Puertas, Bornschein, Luecke, "The
    maximal causes of natural scenes are edge filters", NeurIPS 2010; "ProSper", arXiv 1908.06843, 2019.

    Examples
    --------
    >>> from gossamer.learn import AnnealingSchedule, MaximalCausesAnalysis, bars
    >>> W = bars.bars_dictionary(8) * 10
    >>> X, S = bars.bars_data(W, 500, prob=0.25, noise=1.0, combine="max", random_state=0)
    >>> schedule = AnnealingSchedule(100, T=[(0, 4.0), (0.8, 1.0)])
    >>> model = MaximalCausesAnalysis(8, schedule=schedule, random_state=0).fit(X)
    >>> model.components_.shape
    (8, 16)
    """

    def _rho(self, T: float) -> float:
        return 1 / (1 - 1 / max(T, 1.05))

    def _check(self, rows: Rows) -> Any:
        given = self.W_init
        if given is not None and (check_array("W_init", given, ndim=2) < 0).any():
            raise ArgumentError("W_init has negative entries: expected none under a maximum")
        return super()._check(rows)

    def _start(self, columns: Columns, rng: np.random.Generator) -> Params:
        if (columns.least < 0).any():
            warnings.warn(
                "X has negative entries, which no set of causes makes: take MaximumMagnitudeCausesAnalysis, or shift X",
                UserWarning,
                stacklevel=3,
            )
        params = super()._start(columns, rng)
        return params | {"W": np.maximum(np.abs(params["W"]), LEAST_W)}

    def _perturb(self, params: Params, knobs: Any, rng: np.random.Generator) -> Params:
        params = super()._perturb(params, knobs, rng)
        return params | {"W": np.maximum(params["W"], LEAST_W)}

    def _scores(self, Y: np.ndarray, params: Params) -> np.ndarray:
        return excess(Y, params["W"])

    def _fresh_W(self, W: np.ndarray, weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
        known = weight > np.finfo(float).tiny
        return np.maximum(np.where(known, weighted / np.where(known, weight, 1.0), W), LEAST_W)
