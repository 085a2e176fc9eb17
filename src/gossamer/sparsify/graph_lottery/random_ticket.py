"""The baseline of any ticket: random edges, and the same projection of weights."""

from __future__ import annotations

from gossamer.sparsify.graph_lottery.one_pass import ModelFn, OnePassTrainer


class RandomTicket(OnePassTrainer):
    """Remove random edges, and keep weights few by projection in one training.

    Parameters
    ----------
    model_fn, edge_sparsity, weight_sparsity, epochs, lr, weight_decay, seed
        As in :class:`TeddyTrainer`.
    lambda_dt : float
        Weight of a distillation from the dense model; none by default.

    Examples
    --------
    >>> from gossamer.nn import GCN
    >>> from gossamer.sparsify.graph_lottery import RandomTicket
    >>> RandomTicket(lambda: GCN(8, 16, 2), edge_sparsity=0.4, weight_sparsity=0.5).edge_score
    'random'
    """

    def __init__(
        self,
        model_fn: ModelFn,
        edge_sparsity: float,
        weight_sparsity: float,
        lambda_dt: float = 0.0,
        epochs: int = 200,
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model_fn,
            edge_sparsity,
            weight_sparsity,
            lambda_dt,
            epochs,
            lr,
            weight_decay,
            seed,
            "random",
            False,
        )


__all__ = ["RandomTicket"]
