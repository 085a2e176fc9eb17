"""Parts that are there or not, and add up."""

from __future__ import annotations

import numpy as np

from gossamer.learn.coding.annealing import AnnealingSchedule
from gossamer.learn.coding.e_step import EStep, Params
from gossamer.learn.coding.linear import LinearCoding
from gossamer.learn.coding.rows import Sums


class BinarySparseCoding(LinearCoding):
    r"""Binary causes that add up: ``y = W^T s + noise``, ``p(s_h = 1) = pi``, noise ``N(0, sigma^2 I)``.

    Trained by truncated EM: for each sample the posterior is a sum over no cause, each single one, and up to
    ``max_active`` of the ``n_candidates`` that fit it best, ``W_h . y / |W_h|``. Samples with more causes than that are
    left out towards the end of the schedule, as many as the prior expects. A further model is
    a subclass like this one; see :class:`~gossamer.learn.coding.truncated.TruncatedCoding`.

    The cost grows as ``C(n_candidates, max_active)``; an E-step takes ``O(N (H d + states))``. Run it from a few values
    of ``random_state`` and keep the best ``score``: a fit can end with one part twice, which it warns of.

    Parameters
    ----------
    n_components : int
        Causes, H.
    n_candidates : int, optional
        Causes among which states of two and more choose; 8 or H if None.
    max_active : int, optional
        Most causes of a state; 4 or ``n_candidates`` if None.
    schedule : AnnealingSchedule, optional
        Steps, temperature, truncation; that of the bars test if None.
    learn : tuple of str
        Which of "W", "pi" and "sigma" to learn.
    fit_offset : bool
        Learn a constant that is added to every sample.
    selection : "auto" or callable
        ``selection(Y, params)`` returns scores (n, H) of the candidates, larger is likelier; it is
        called from several threads, a chunk of rows each.
    W_init, pi_init, sigma_init : array of shape (H, d), float, float, optional
        Where to start.
    max_extra_iter : int
        Most steps after the schedule, until the bound changes by less than ``tol``.
    tol : float
        Relative.
    n_jobs : int, optional
        Processes (joblib); None: this one, with gossamer's threads.
    chunk_size : int
        Samples a task. The result depends on it by rounding only, on ``n_jobs`` not at all.
    random_state : int, Generator or None
        Of the start, of noise on parameters and of subsets.
    verbose : int
        Print the bound about ten times.

    Attributes
    ----------
    components_ : ndarray, shape (H, d)
        Parts.
    prior_ : float
        Probability of a cause.
    noise_ : float
        Standard deviation of the noise.
    offset_ : ndarray, shape (d,)
        Zeros without ``fit_offset``.
    bound_ : list of float
        Of every step: bound on the log-likelihood a sample, of the samples used, at that step's temperature.
    n_iter_, n_used_, n_states_ : int
        Steps; samples that the last one used; states a sample.

    Raises
    ------
    ArgumentError
        Parameters out of range; more than two million states a sample.

    Notes
    -----
    Sums are made in float64 whatever X is; attributes and outputs have its dtype.

    References
    ----------
    Exarchakis, Bornschein, Sheikh, Dai, Henniges, Drefs, Luecke, "ProSper", arXiv 1908.06843, 2019; Luecke, Eggert,
    "Expectation truncation and the benefits of preselection in training generative models", JMLR 2010; Henniges et
    al., "Binary sparse coding", LVA/ICA 2010.

    Examples
    --------
    >>> from gossamer.learn import BinarySparseCoding, bars
    >>> W = bars.bars_dictionary(8) * 10
    >>> X, S = bars.bars_data(W, 500, prob=0.25, noise=1.0, combine="sum", random_state=0)
    >>> model = BinarySparseCoding(8, random_state=0).fit(X)
    >>> bool(bars.match_dictionaries(model.components_, W).mae < 0.3), round(model.noise_, 1)
    (True, 1.0)
    """

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule(150, T=((0, 5.0), (0.8, 1.0)), truncation=((0.6, 0.0), (0.9, 1.0)))

    def _law(self, params: Params) -> np.ndarray:
        return np.array([1 - params["pi"], params["pi"]])

    def _scores_of(self, match: np.ndarray, params: Params) -> np.ndarray:
        length = np.linalg.norm(params["W"], axis=1)
        return match / np.where(length > 0, length, 1.0)

    def _fresh_prior(self, params: Params, sums: Sums, step: EStep) -> float:
        return self._corrected(params, sums, step)
