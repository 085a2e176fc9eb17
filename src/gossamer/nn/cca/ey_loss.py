"""The Eckart-Young loss on representations, with an analytic gradient, also of a batch spread over processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gossamer._core.checks import check_float
from gossamer._core.errors import ShapeError
from gossamer.linalg.eckart_young import ey_terms
from gossamer.nn.cca.checks import check_representations


def ey_loss(
    zs: Sequence[torch.Tensor],
    *,
    zs_independent: Sequence[torch.Tensor] | None = None,
    ridge: float | Sequence[float] = 0.0,
    weights: Sequence[torch.Tensor] | None = None,
    shift: bool = False,
    group: Any = None,
) -> torch.Tensor:
    r"""Loss whose minimum is minus the sum of squared (multiview) canonical correlations.

    .. math:: L = \mathrm{tr}(-2 C + V V'), \quad C = \sum_{i \ne j} \mathrm{Cov}(Z_i, Z_j), \quad
              V = \sum_i (1 - \alpha_i) \mathrm{Cov}(Z_i) + \alpha_i G_i.

    Batches may be as small as the representation is wide, or smaller: nothing is inverted.

    Parameters
    ----------
    zs : sequence of tensor, shape (m, K)
        Representations of the same m samples, one a view; float32 or float64.
    zs_independent : sequence of tensor, shape (m', K), optional
        Those of other samples: V' is theirs, and the loss of the two batches is unbiased. V' = V without.
    ridge : float or sequence of float
        :math:`\alpha` in [0, 1], one or one a view.
    weights : sequence of tensor, shape (p_i, K), optional
        Of linear encoders: :math:`G_i = U_i^T U_i`, the ridge of :class:`gossamer.learn.StochasticCCA`. Without them
        :math:`G_i = I`, a small constant that keeps deep representations from growing.
    shift : bool
        Add the pairs i = j to C, in the metric of V: eigenvalues larger by one, the same minimisers.
    group : torch.distributed process group or True, optional
        Take the samples of all processes as one batch (True: the default group). Means and two K x K sums travel.

    Returns
    -------
    tensor, shape ()

    Raises
    ------
    ShapeError, ArgumentError, UnsupportedError
        Views that differ in shape, fewer than two samples, a ridge outside [0, 1], complex or integer tensors.

    Notes
    -----
    O(m K^2) for a view. With ``group`` each process's gradient is multiplied by the number of processes, so that the
    mean over processes, which DistributedDataParallel takes, is the gradient of the whole batch. Differentiable once.

    References
    ----------
    Chapman, Wells, Lawry Aguila, "Unconstrained stochastic CCA: unifying multiview and self-supervised learning",
    ICLR 2024, arXiv 2310.01012.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import ey_loss
    >>> z = torch.randn(64, 4, requires_grad=True)
    >>> ey_loss([z, z.detach().flip(1)]).backward()
    >>> z.grad.shape
    torch.Size([64, 4])
    """
    check_representations("zs", zs)
    views = len(zs)
    if zs_independent is not None:
        check_representations("zs_independent", zs_independent)
        if len(zs_independent) != views or zs_independent[0].shape[1] != zs[0].shape[1]:
            raise ShapeError("zs_independent differs from zs in views or width: expected the same")
    alphas = [ridge] * views if isinstance(ridge, (int, float)) else list(ridge)
    if len(alphas) != views:
        raise ShapeError(f"ridge has {len(alphas)} values: expected one, or one for each of {views} views")
    alphas = [check_float("ridge", a, low=0, high=1) for a in alphas]
    if weights is not None and (
        len(weights) != views or any(w.ndim != 2 or w.shape[1] != zs[0].shape[1] for w in weights)
    ):
        raise ShapeError(f"weights do not fit: expected {views} tensors (p_i, {zs[0].shape[1]})")
    counts = views, 0 if zs_independent is None else views, 0 if weights is None else views
    return _EckartYoung.apply(
        tuple(alphas), bool(shift), group, counts, *zs, *(zs_independent or ()), *(weights or ())
    )


class EYLoss(torch.nn.Module):
    """:func:`ey_loss` as a module, for :class:`DeepCCA` and loops of one's own.

    Parameters
    ----------
    ridge : float
        In [0, 1]; the identity takes the place of the weights.
    shift : bool
        As of :func:`ey_loss`.
    paired : bool
        Take the two factors of V^2 from the two halves of each batch: unbiased, with half the rows for each.
    group : torch.distributed process group or True, optional
        As of :func:`ey_loss`.
    """

    def __init__(
        self, ridge: float = 0.0, shift: bool = False, paired: bool = False, group: Any = None
    ) -> None:
        super().__init__()
        self.ridge = check_float("ridge", ridge, low=0, high=1)
        self.shift, self.paired, self.group = shift, paired, group

    def forward(self, *zs: torch.Tensor) -> torch.Tensor:
        """Loss of representations (m, K), one a view."""
        options: dict[str, Any] = {"ridge": self.ridge, "shift": self.shift, "group": self.group}
        if not self.paired:
            return ey_loss(zs, **options)
        half = len(zs[0]) // 2
        return ey_loss([z[:half] for z in zs], zs_independent=[z[half : 2 * half] for z in zs], **options)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"ridge={self.ridge}, shift={self.shift}, paired={self.paired}"


class _EckartYoung(torch.autograd.Function):
    """The loss, and the gradient that one forward pass gives for free."""

    @staticmethod
    def forward(ctx: Any, alphas: Any, shift: Any, group: Any, counts: Any, *tensors: torch.Tensor) -> Any:
        views, others, weighted = counts
        zs, zs2, us = tensors[:views], tensors[views : views + others], tensors[views + others :]
        size, reduce = _processes(group)
        terms = ey_terms(
            zs,
            ridge=alphas,
            grams=[u.T @ u for u in us] if weighted else None,
            independent=zs2 if others else None,
            shift=shift,
            reduce=reduce,
        )
        gradients = [size * g for g in (*terms.scores, *(terms.independent or ()))]
        gradients += [a * (u @ terms.weights) for a, u in zip(alphas, us)]  # every process has all of it
        ctx.save_for_backward(*gradients)
        return terms.loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        return (None, None, None, None, *(slope * gradient for gradient in ctx.saved_tensors))


def _processes(group: Any) -> tuple[int, Any]:
    """Number of processes and a sum over them."""
    if group is None:
        return 1, None
    import torch.distributed as dist

    group = None if group is True else group

    def reduce(tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total, group=group)
        return total

    return dist.get_world_size(group), reduce


__all__ = ["EYLoss", "ey_loss"]
