"""Losses that train sparse document encoders: ranking, and sparsity that knows how rare a token is."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError


def flops_loss(w: Any, *, slots: int = 1, threshold: int | None = None) -> Any:
    """``sum_j (mean_i |w_ij|)^2``: the expected products of a query and a document, were both like the batch.

    Parameters
    ----------
    w : Tensor of shape (B, V)
        Weights of a batch of documents.
    slots : int
        Documents a query, which lie side by side (q1 d1, q1 d2, ..., q2 d1, ...): the mean is of each slot, and slots
        are summed, so that positives and negatives are punished apart.
    threshold : int, optional
        Documents with fewer entries above 0 do not count.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    ShapeError
        If B is no multiple of ``slots``.

    References
    ----------
    Paria et al., *Minimizing FLOPs to learn efficient sparse representations*, ICLR 2020.

    Examples
    --------
    >>> import torch
    >>> flops_loss(torch.tensor([[2.0, 0.0], [0.0, 2.0]])), flops_loss(torch.tensor([[2.0, 0.0], [2.0, 0.0]]))
    (tensor(2.), tensor(4.))
    """
    slots = check_int("slots", slots, low=1)
    if w.ndim != 2 or not len(w) or len(w) % slots:
        raise ShapeError(f"w has shape {tuple(w.shape)}: expected (a multiple of {slots}, V)")
    size = w.abs().reshape(-1, slots, w.shape[1])
    if threshold is None:
        return size.mean(0).square().sum()
    counted = ((size > 0).sum(-1, keepdim=True) >= check_int("threshold", threshold, low=0)).to(w.dtype)
    return ((size * counted).sum(0) / counted.sum(0).clamp(min=1)).square().sum()


def idf_flops_loss(u: Any, idf: Any, *, slots: int = 1, threshold: int | None = None) -> Any:
    """``sum_j (mean_i |u_ij| / IDF_j)^2``: common tokens are punished, rare ones may weigh much.

    ``u_ij = IDF_j w_ij`` is what token j adds to a score. It equals ``flops_loss(w)``: with IDF in the matching
    function the gradient of the ranking loss on w is multiplied by IDF, while the penalty on w is not.

    Parameters
    ----------
    u : Tensor of shape (B, V)
        Contributions to scores.
    idf : Tensor of shape (V,)
        Above 0 wherever ``u`` is not 0; entries of 0 (special tokens) do not count.
    slots, threshold : int
        As for :func:`flops_loss`.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    ShapeError
        If the table does not have one entry a token.

    References
    ----------
    Geng, Ru, Yang, *Towards competitive search relevance for inference-free learned sparse retrievers*,
    arXiv 2411.04403, 2024.

    Examples
    --------
    >>> import torch
    >>> idf, w = torch.tensor([0.1, 8.0]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    >>> round(idf_flops_loss(idf * w, idf).item(), 6), flops_loss(w).item()
    (1.25, 1.25)
    """
    if idf.shape != u.shape[-1:]:
        raise ShapeError(f"idf has shape {tuple(idf.shape)}: expected ({u.shape[-1]},)")
    return flops_loss(torch.where(idf > 0, u / idf.clamp(min=1e-30), u * 0), slots=slots, threshold=threshold)


def kl_loss(scores: Any, teacher: Any, temperature: float = 1.0) -> Any:
    """``KL(softmax(teacher / T) || softmax(scores / T))``, the mean over queries.

    Parameters
    ----------
    scores, teacher : Tensor of shape (queries, documents)
        Of the same candidates.
    temperature : float
        T.

    Returns
    -------
    Tensor
        A number >= 0.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    _same(scores, teacher)
    t = check_float("temperature", temperature, low=0, closed="neither")
    return F.kl_div(
        F.log_softmax(scores / t, -1), F.log_softmax(teacher / t, -1), reduction="batchmean", log_target=True
    )


def info_nce_loss(scores: Any, positive: Any = None, temperature: float = 1.0) -> Any:
    """``-log softmax(scores / T)`` at the positive document, the mean over queries.

    Parameters
    ----------
    scores : Tensor of shape (queries, documents)
        All documents of the batch are candidates.
    positive : Tensor of shape (queries,), optional
        Which document is meant; query i means document i by default.
    temperature : float
        T.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    ShapeError
        If there are fewer documents than queries and ``positive`` is not given.
    """
    t = check_float("temperature", temperature, low=0, closed="neither")
    if positive is None:
        if scores.ndim != 2 or scores.shape[1] < scores.shape[0]:
            raise ShapeError(f"scores have shape {tuple(scores.shape)}: expected a document a query at least")
        positive = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores / t, positive)


def margin_mse_loss(scores: Any, teacher: Any) -> Any:
    """Mean squared error of the margins between the first document and each other one.

    Parameters
    ----------
    scores, teacher : Tensor of shape (queries, documents)
        The positive document comes first.

    Returns
    -------
    Tensor
        A number >= 0.

    Raises
    ------
    ShapeError
        If the shapes differ, or there is one document only.
    """
    _same(scores, teacher)
    if scores.shape[1] < 2:
        raise ShapeError("scores of one document have no margin: expected two documents or more")
    return F.mse_loss(scores[:, :1] - scores[:, 1:], teacher[:, :1] - teacher[:, 1:])


def quadratic_ramp(step: int, length: int) -> float:
    """``min(1, (step + 1) / length)^2``: a penalty that comes in slowly; ``length=0`` is 1 at once.

    Parameters
    ----------
    step : int
        From 0.
    length : int
        Steps until it is whole.
    """
    if check_int("step", step, low=0) + 1 >= check_int("length", length, low=0):
        return 1.0
    return ((step + 1) / length) ** 2


def _same(scores: Any, teacher: Any) -> None:
    if scores.ndim != 2 or scores.shape != teacher.shape:
        raise ShapeError(
            f"scores have shape {tuple(scores.shape)}, the teacher's {tuple(teacher.shape)}: expected the same, 2-D"
        )
    if not bool(torch.isfinite(teacher).all()):
        raise ArgumentError("the teacher's scores have NaN or infinite entries")
