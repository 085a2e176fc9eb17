"""Recommend by matrix factorisation, with a budget of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.random import RandomState
from gossamer.learn.recommend.bayesian_ranking import TABLE, PairRecommender


class MFRecommender(PairRecommender):
    r"""Matrix factorisation that learns to rank (BPR), dense or with a fixed number of live weights.

    The score of item i for user u is :math:`u_u \cdot v_i`; the loss :math:`\log(1 + e^{s_- - s_+})` asks an item
    that was chosen to rank above a random one that was not. With a ``density`` the tables are sparse from the first
    step and their live weights move to the users and items that need them (:class:`gossamer.sparsify.DSLMasker`).

    Parameters
    ----------
    dim : int
        Length of the vectors.
    density : float, optional
        Share of the weights that is live, in (0, 1]; None trains densely.
    epochs : int
        Passes over the interactions.
    lr, lr_final : float
        Adam's rate at the start and, after a cosine, at the end.
    batch_size : int
        Pairs of a step.
    reg : float
        Weight of the squared vectors.
    masker_options : dict, optional
        More settings of :class:`gossamer.sparsify.DSLMasker`, such as ``delta_t`` (by default a fortieth of the
        training) or ``stop_fraction`` (0.8); ``{"stop_fraction": 0}`` is a fixed mask.
    verbose : int
        Print a line an epoch.
    random_state : int, Generator or None
        Source of all draws.

    Attributes
    ----------
    sparse_table_ : DynamicSparseTable, shape (n_users + n_items, dim)
        Users above items, as they are scored with.
    n_live_ : int
        Stored weights.
    explorations_ : list of Exploration
        Moves of the live weights.
    explored_fraction_ : float
        Share of the weights that were live at least once.
    history_ : dict of str to list
        ``loss`` and ``seconds`` of each epoch.
    seen_ : csr_array, shape (n_users, n_items)
        The interactions.
    n_users_, n_items_, n_iter_ : int
        Sizes and epochs.

    Notes
    -----
    The input is a matrix of interactions, not of samples and features, and users are named by its rows: of
    scikit-learn's checks those of construction, cloning and parameters apply, not those that draw dense samples.
    The same seed gives the same model for one number of torch's threads.

    References
    ----------
    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009. Wang et al., "Dynamic sparse
    learning: a novel paradigm for efficient recommendation", WSDM 2024, arXiv 2402.02855.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import MFRecommender
    >>> R = np.kron(np.eye(2), np.ones((20, 12)))  # two groups with tastes of their own
    >>> R[0, 3] = R[25, 20] = 0
    >>> rec = MFRecommender(dim=8, density=0.5, epochs=60, random_state=0).fit(R)
    >>> items, scores = rec.recommend([0, 25], k=1)
    >>> items.tolist()
    [[3], [20]]
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        density: float | None = None,
        epochs: int = 100,
        lr: float = 1e-2,
        lr_final: float = 1e-4,
        batch_size: int = 1024,
        reg: float = 1e-3,
        masker_options: dict[str, Any] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.dim = dim
        self.density = density
        self.epochs = epochs
        self.lr = lr
        self.lr_final = lr_final
        self.batch_size = batch_size
        self.reg = reg
        self.masker_options = masker_options
        self.verbose = verbose
        self.random_state = random_state

    def _scores(self, users: np.ndarray, ready: Any) -> np.ndarray:
        u = self._stored.rows(TABLE, users)
        return self._stored.products(TABLE, u, self.n_users_, self.n_users_ + self.n_items_)

    def _scoring_flops(self, users: int) -> float:
        items = np.arange(self.n_users_, self.n_users_ + self.n_items_)
        return 2.0 * users * self._stored.live_in_rows(TABLE)[items].sum()
