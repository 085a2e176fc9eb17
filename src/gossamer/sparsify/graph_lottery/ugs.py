"""Unified graph sparsification: masks of edges and weights, shrunk by their magnitudes, pruned in rounds."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float
from gossamer.sparsify.graph_lottery.mask_rounds import Extra, MaskRounds, Masks
from gossamer.sparsify.graph_lottery.one_pass import ModelFn


class UGS(MaskRounds):
    r"""Prune edges and weights by masks that are trained with them, round by round.

    A round trains weights and masks, which start at 1, by :math:`\mathrm{CE} + \lambda_g |m_g|_1 +
    \lambda_w |m_w|_1`, removes 5 % of the edges and 10 % of the weights that are left, those of the lowest masks at the
    best validation epoch, and takes the weights back to where they started. The ticket is then trained with what is
    left.

    Parameters
    ----------
    model_fn, epochs, lr, weight_decay, seed
        As in :class:`TeddyTrainer`; every round is a training.
    rounds : int
        After i of them ``1 - 0.95^i`` of the edges and ``1 - 0.9^i`` of the weights are gone.
    l1_edges, l1_weights : float
        :math:`\lambda_g` and :math:`\lambda_w`, between 1e-6 and 1e-2 in the published experiments.

    Notes
    -----
    One mask an undirected edge, and one for every trainable parameter, biases too, so that sparsities mean what they
    mean for :class:`TeddyTrainer`.

    References
    ----------
    Chen, Sui, Chen, Zhang, Wang, "A unified lottery ticket hypothesis for graph neural networks", ICML 2021.

    Examples
    --------
    >>> from gossamer.nn import GCN
    >>> from gossamer.sparsify.graph_lottery import UGS
    >>> UGS(lambda: GCN(8, 16, 2), rounds=5).rounds
    5
    """

    def __init__(
        self,
        model_fn: ModelFn,
        rounds: int = 20,
        epochs: int = 200,
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        seed: int = 0,
        l1_edges: float = 1e-4,
        l1_weights: float = 1e-4,
    ) -> None:
        super().__init__(model_fn, rounds, epochs, lr, weight_decay, seed)
        self.l1_edges = check_float("l1_edges", l1_edges, low=0)
        self.l1_weights = check_float("l1_weights", l1_weights, low=0)

    def _extra(self, masks: Masks) -> Extra:
        def penalty(logits: torch.Tensor) -> torch.Tensor:
            of_weights = torch.stack([mask.abs().sum() for mask in masks.weights.values()]).sum()
            return self.l1_edges * masks.edges.abs().sum() + self.l1_weights * of_weights

        return penalty


__all__ = ["UGS"]
