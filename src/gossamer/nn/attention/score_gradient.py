"""The gradient of attention in its logits, as an operator of low-rank factors."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.linalg.structures.chained_low_rank import ChainedLowRankMatrix
from gossamer.nn.attention.chained_low_rank import SoftmaxPlan


def attention_score_gradient(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    upstream: torch.Tensor,
    *,
    scale: float | None = None,
    eps: float = 1e-3,
    softmax1: bool = False,
    max_features: int = 20_000,
) -> ChainedLowRankMatrix:
    r"""``p = dLoss/dZ`` for the logits ``Z = scale q k^T`` of one head, an operator that forms no L x L' matrix.

    With :math:`f \approx U V^T` the softmax matrix by polynomial features, c the slope of the loss in the outputs and
    :math:`s_i = \langle o_i, c_i \rangle`,

    .. math:: p = f \circ (c v^T) - \mathrm{diag}(s) f \approx (U V^T) \circ ([c, -s] [v, 1]^T).

    ``scale * (p @ k)`` is the gradient in the queries, ``scale * (p.T @ q)`` that in the keys. For looking at p, and as
    the paper writes it; :class:`PolynomialAttention` streams the same sums without storing the features.

    Parameters
    ----------
    q, k, v : tensors, shape (L, d), (L', d) and (L', w)
        One head.
    upstream : tensor, shape (L, w)
        c.
    scale : float, optional
        ``d ** -0.5`` by default.
    eps : float
        Relative error of every exponential; at most 1/3.
    softmax1 : bool
        Add 1 to every denominator.
    max_features : int
        Largest k1.

    Returns
    -------
    ChainedLowRankMatrix, shape (L, L')
        Of inner rank k1 and outer rank w + 1, in the dtype of q.

    Raises
    ------
    ShapeError
        Shapes do not fit.
    BoundError
        ``eps`` takes more than ``max_features``.

    Notes
    -----
    O((L + L') k1) memory; a product with d columns takes O((L + L') k1 w d) time.

    References
    ----------
    Hu, Su, Kuo, Song, Liu, "Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models",
    ICLR 2025, arXiv 2406.03136.

    Examples
    --------
    >>> import torch
    >>> q, k, v, c = 0.3 * torch.randn(4, 1000, 8)
    >>> p = attention_score_gradient(q, k, v, c)
    >>> (p @ k).shape, float((p @ torch.ones(1000, 1)).abs().max()) < 1e-4  # rows sum to zero
    (torch.Size([1000, 8]), True)
    """
    check_float("eps", eps, low=0, high=1 / 3, closed="right")
    check_int("max_features", max_features, low=1)
    shapes = [tuple(x.shape) for x in (q, k, v, upstream)]
    if any(len(shape) != 2 for shape in shapes):
        raise ShapeError(
            f"q, k, v and upstream have shapes {shapes}: expected (L, d), (L', d), (L', w), (L, w)"
        )
    (L, d), (M, d2), (M2, w), out = shapes
    if d != d2 or M != M2 or out != (L, w):
        raise ShapeError(
            f"q, k, v and upstream have shapes {shapes}: expected (L, d), (L', d), (L', w), (L, w)"
        )
    q = q * (max(d, 1) ** -0.5 if scale is None else check_float("scale", scale))
    plan = SoftmaxPlan.of(q, k, eps, max_features)
    monomials = plan.expansion.monomials
    wide = torch.float64 if plan.bound < 1e-4 else torch.promote_types(q.dtype, torch.float32)
    q, k, v, c = (x.to(wide) for x in (q, k, v, upstream))
    centre = plan.centre.to(wide)
    left = monomials.features(q @ plan.query_map.to(wide)) * torch.as_tensor(
        plan.expansion.weights, dtype=wide
    )
    right = monomials.features((k - centre) @ plan.key_map.to(wide)).T
    total = left @ right.sum(1, keepdim=True)
    if softmax1:
        total = total + (-(q @ centre.mT)).exp()  # the 1, seen from centred logits
    left = left / total
    s = ((left @ (right @ v)) * c).sum(1, keepdim=True)
    ones = torch.ones_like(v[:, :1])
    factors = (left, right, torch.cat([c, -s], 1), torch.cat([v, ones], 1).T)
    return ChainedLowRankMatrix.of(*(factor.to(upstream.dtype) for factor in factors))


__all__ = ["attention_score_gradient"]
