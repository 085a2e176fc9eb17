"""WD-GLT: masks of edges trained to keep what the classes predict far apart in Wasserstein distance."""

from __future__ import annotations

import warnings

import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_float, check_int
from gossamer.solve import PointCost, sinkhorn
from gossamer.sparsify.graph_lottery.mask_rounds import Extra, MaskRounds, Masks
from gossamer.sparsify.graph_lottery.one_pass import ModelFn


class WDGLT(MaskRounds):
    r"""Prune edges and weights by trained masks, with classes pushed apart instead of masks pulled down.

    The rounds of :class:`UGS` with the loss :math:`\mathrm{CE} - \gamma \sum_c W(\{p_v : \hat y_v = c\},
    \{p_v : \hat y_v \ne c\})`, W the entropic transport cost between predicted distributions, and edge masks held in
    [0, 1]. This is the method as the TEDDY paper compares with it; the original solves a min-max problem.

    Parameters
    ----------
    model_fn, rounds, epochs, lr, weight_decay, seed
        As in :class:`UGS`.
    gamma : float
        Weight of the distances.
    epsilon : float
        Entropic regularisation.
    iterations : int
        Of Sinkhorn's algorithm, at most.

    Notes
    -----
    Distances compare every node with every other one once a step and class: meant for graphs of a few thousand nodes.

    References
    ----------
    Hui, Yan, Ma, Ku, "Rethinking graph lottery tickets: graph sparsity matters", ICLR 2023.

    Examples
    --------
    >>> from gossamer.nn import GCN
    >>> from gossamer.sparsify.graph_lottery import WDGLT
    >>> WDGLT(lambda: GCN(8, 16, 2), rounds=5).gamma
    0.1
    """

    clamped = True

    def __init__(
        self,
        model_fn: ModelFn,
        rounds: int = 20,
        epochs: int = 200,
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        seed: int = 0,
        gamma: float = 0.1,
        epsilon: float = 1e-3,
        iterations: int = 10,
    ) -> None:
        super().__init__(model_fn, rounds, epochs, lr, weight_decay, seed)
        self.gamma = check_float("gamma", gamma, low=0)
        self.epsilon = check_float("epsilon", epsilon, low=0, closed="right")
        self.iterations = check_int("iterations", iterations, low=1)

    def _extra(self, masks: Masks) -> Extra:
        return lambda logits: -self.gamma * class_distances(logits, self.epsilon, self.iterations)


def class_distances(logits: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Sum over classes of the transport cost between predictions (n, c) of that class and of all others.

    Classes that nothing or everything is predicted to be in are left out.
    """
    shares = logits.softmax(dim=1)
    classes = logits.argmax(dim=1)
    total = shares.new_zeros(())
    for c in classes.unique():
        inside, outside = shares[classes == c], shares[classes != c]
        if len(outside):
            total = total + transport_cost(inside, outside, epsilon, iterations)
    return total


def transport_cost(x: torch.Tensor, y: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    r"""Squared-distance cost :math:`\langle P, C\rangle` of the entropic plan between points (n, d) and (m, d).

    The gradient is that with the plan held: the plan is a minimiser, which moves the regularised cost in second order.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed number of steps is the method's choice
        cost = PointCost(to_numpy(x.detach()), to_numpy(y.detach()))
        plan = torch.from_numpy(sinkhorn(cost, eta=1 / epsilon, maxiter=iterations).plan).to(x.dtype)
    rows, columns = plan.sum(dim=1), plan.sum(dim=0)
    return rows @ (x * x).sum(1) + columns @ (y * y).sum(1) - 2 * ((plan @ y) * x).sum()


__all__ = ["WDGLT", "class_distances", "transport_cost"]
