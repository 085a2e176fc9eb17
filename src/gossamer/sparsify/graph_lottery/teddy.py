"""TEDDY: edges pruned once by degrees, weights by projection in one training, taught by the dense model."""

from __future__ import annotations

from typing import Any

from gossamer.sparsify.graph_lottery.one_pass import ModelFn, OnePassTrainer


class TeddyTrainer(OnePassTrainer):
    r"""Find a network with few weights on a graph with few edges in one training.

    The dense model is trained on the whole graph, for its logits :math:`Z_{full}` at the best validation epoch. Then
    edges are pruned once, the model starts again from the same weights and minimises

    .. math:: \mathrm{CE}(\mathrm{train}) + \lambda\, \frac1n \sum_v
        \mathrm{KL}(\mathrm{softmax}(Z_{full})_v \,\|\, \mathrm{softmax}(Z)_v),

    while every step ends with the smallest weights set to zero (:class:`L0Projection`). The second term sees the
    features of all nodes, and no label outside ``train_idx``.

    Parameters
    ----------
    model_fn : callable
        Returns a new torch module that is called as ``model(x, adj)`` with a :class:`gossamer.nn.SparseTensor` and
        gives logits (n, c), such as ``lambda: GCN(1433, 64, 7)``. Drawn under the seed each time.
    edge_sparsity : float
        Share of undirected edges to remove, in [0, 1).
    weight_sparsity : float
        Share of all trainable parameters that are zero, in [0, 1).
    lambda_dt : float
        Weight of the distillation; 0 leaves it, and the dense training, out. The paper tunes it between 0.1 and 200.
    epochs, lr, weight_decay
        Of Adam, over the whole graph a step.
    seed : int
        Of weights, dropout and random scores.
    edge_score : {"teddy", "degree", "random", "inverse"} or array
        As ``score`` of :func:`gossamer.graph.sparsify_edges`.
    add_self_loops : bool
        Score edges as attention networks see them, every node a neighbour of itself.

    Raises
    ------
    ArgumentError
        If a share is outside [0, 1) or another number out of range.

    Notes
    -----
    Two trainings with the distillation, one without. Scores O(E), projection O(weights) a step.

    References
    ----------
    Seo, Yun, Yang, "TEDDY: Trimming edges with degree-based discrimination strategy", ICLR 2024, arXiv 2402.01261.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse
    >>> from gossamer.nn import GCN
    >>> from gossamer.sparsify import TeddyTrainer
    >>> A = scipy.sparse.block_diag([np.ones((6, 6)) - np.eye(6)] * 2, format="csr")
    >>> y = np.repeat([0, 1], 6)
    >>> X = np.random.default_rng(0).normal(size=(12, 8)) + y[:, None]
    >>> trainer = TeddyTrainer(lambda: GCN(8, 16, 2), edge_sparsity=0.4, weight_sparsity=0.5, epochs=40)
    >>> ticket = trainer.fit(X, A, y, train_idx=[0, 1, 6, 7], val_idx=[2, 3, 8, 9])
    >>> ticket.A_pruned.nnz, A.nnz, ticket.accuracy(y, [4, 5, 10, 11])
    (36, 60, 1.0)
    """

    def __init__(
        self,
        model_fn: ModelFn,
        edge_sparsity: float,
        weight_sparsity: float,
        lambda_dt: float = 1.0,
        epochs: int = 200,
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        seed: int = 0,
        edge_score: Any = "teddy",
        add_self_loops: bool = False,
    ) -> None:
        super().__init__(
            model_fn, edge_sparsity, weight_sparsity, lambda_dt, epochs, lr, weight_decay, seed, edge_score,
            add_self_loops,
        )  # fmt: skip


__all__ = ["TeddyTrainer"]
