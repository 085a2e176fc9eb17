"""Parts that are absent, added or subtracted."""

from __future__ import annotations

import numpy as np

from gossamer.learn.coding.annealing import AnnealingSchedule
from gossamer.learn.coding.e_step import EStep, Params
from gossamer.learn.coding.linear import LinearCoding
from gossamer.learn.coding.rows import Sums


class TernarySparseCoding(LinearCoding):
    r"""Ternary causes that add up: ``y = W^T s + noise``, ``p(s_h = 1) = p(s_h = -1) = pi / 2``.

    Candidates are the causes whose best single state, with either sign, is the most probable. A part and its negative
    are the same model: compare dictionaries up to signs. Noise on W that fades (``W_noise`` of a fifth of the parts'
    size in the schedule) keeps fits from merging parts.

    Parameters
    ----------
    n_components, n_candidates, max_active, schedule, learn, fit_offset, selection, W_init, pi_init, sigma_init
        As for :class:`BinarySparseCoding`.
    max_extra_iter, tol, n_jobs, chunk_size, random_state, verbose
        As for :class:`BinarySparseCoding`. States are ``2^g`` as many for g causes.

    Attributes
    ----------
    components_, noise_, offset_, bound_, n_iter_, n_used_, n_states_
        As of :class:`BinarySparseCoding`.
    prior_ : float
        Probability that a cause is not zero.

    Raises
    ------
    ArgumentError
        Parameters out of range; more than two million states a sample.

    References
    ----------
    Exarchakis et al., "Ternary sparse coding", LVA/ICA 2012; "ProSper", arXiv 1908.06843, 2019.

    Examples
    --------
    >>> from gossamer.learn import TernarySparseCoding, bars
    >>> W = bars.bars_dictionary(6) * 10
    >>> X, S = bars.bars_data(W, 400, prob=0.3, noise=1.0, values=(-1, 1), random_state=0)
    >>> model = TernarySparseCoding(6, random_state=1).fit(X)
    >>> model.posterior(X[:1], top_k=1).states.shape
    (1, 1, 6)
    """

    def _values(self) -> tuple[float, ...]:
        return (-1.0, 1.0)

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule(300, T=((0, 2.0), (0.7, 1.0)))

    def _law(self, params: Params) -> np.ndarray:
        return np.array([1 - params["pi"], params["pi"] / 2, params["pi"] / 2])

    def _fresh_prior(self, params: Params, sums: Sums, step: EStep) -> float:
        return self._corrected(params, sums, step)
