"""Softmax attention in time linear in the number of tokens, forward and backward, where logits are small."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import BoundError, ShapeError
from gossamer.nn.attention.chained_low_rank import CHUNK, SoftmaxPlan, exact_attention, polynomial_attention

MODES = ("auto", "poly", "exact-forward", "exact")


@dataclass(frozen=True)
class PolynomialAttentionInfo:
    """What :class:`PolynomialAttention` runs, and why.

    Attributes
    ----------
    mode : {"poly", "exact-forward", "exact"}
        What ran.
    reason : str
        Why, in words.
    degree : int
        Of the polynomial; 0 in exact mode.
    k1 : int
        Features, the rank of the approximate softmax; 0 in exact mode.
    R : float
        No centred logit is larger in magnitude.
    bound : float
        Certified relative error of every exponential; 0 in exact mode.
    d_eff : int
        Coordinates that occur.
    """

    mode: str
    reason: str
    degree: int
    k1: int
    R: float
    bound: float
    d_eff: int


class PolynomialAttention(torch.nn.Module):
    r"""Softmax attention whose forward and backward pass take time linear in the number of tokens.

    ``exp(q k^T)`` becomes a product of k1 polynomial features with a certified error, and the gradient the chain of
    low-rank products of the paper: no L x L matrix exists in either pass. For small heads or small logits;
    :meth:`explain` says when they are not.

    Parameters
    ----------
    mode : {"auto", "poly", "exact-forward", "exact"}
        "exact-forward" approximates the gradient alone; "auto" takes "poly" where it costs less than the exact sum.
    eps : float
        Relative error of every exponential; at most 1/3.
    causal : bool
        Token i sees tokens 0, ..., i.
    softmax1 : bool
        Add 1 to every denominator (outlier-free attention).
    max_features : int
        Largest k1.
    chunk : int
        Tokens of a causal chunk, within which exponentials are exact.

    Notes
    -----
    O(L k1 d p) time and O(k1 d p) memory besides the tokens. The gradient is that of exact attention with the softmax
    matrix replaced by the approximate one, whose rows sum to 1 exactly.

    References
    ----------
    Hu, Su, Kuo, Song, Liu, "Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models",
    ICLR 2025, arXiv 2406.03136.

    Examples
    --------
    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 2, 500, 8) * 0.3
    >>> exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    >>> bool((PolynomialAttention("poly", eps=1e-3)(q, k, v) - exact).abs().max() < 2e-3 * v.abs().max())
    True
    """

    def __init__(
        self,
        mode: str = "auto",
        *,
        eps: float = 1e-2,
        causal: bool = False,
        softmax1: bool = False,
        max_features: int = 20_000,
        chunk: int = CHUNK,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, MODES)
        self.eps = check_float("eps", eps, low=0, high=1 / 3, closed="right")
        self.causal, self.softmax1 = bool(causal), bool(softmax1)
        self.max_features = check_int("max_features", max_features, low=1)
        self.chunk = check_int("chunk", chunk, low=1)

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None = None
    ) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        q, k, v : tensors, shape (..., L, d), (..., L', d) and (..., L', p)
            Queries, keys and values with equal leading axes.
        scale : float, optional
            Of logits; ``d ** -0.5`` by default.

        Returns
        -------
        tensor, shape (..., L, p)
        """
        q = self._scaled(q, k, v, scale)
        plan, info = self._plan(q, k, v)
        if plan is None:
            return exact_attention(q, k, v, self.causal, self.softmax1)
        exact = info.mode == "exact-forward"
        return polynomial_attention(q, k, v, plan, self.causal, self.softmax1, exact, self.chunk)

    @torch.no_grad()
    def explain(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None = None
    ) -> PolynomialAttentionInfo:
        """Say what :meth:`forward` runs for an input, and why; takes the same arguments."""
        return self._plan(self._scaled(q, k, v, scale), k, v)[1]

    def _scaled(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None) -> torch.Tensor:
        if min(q.ndim, k.ndim, v.ndim) < 2 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
            shapes = [tuple(x.shape) for x in (q, k, v)]
            raise ShapeError(
                f"q, k and v have shapes {shapes}: expected (..., L, width) with equal leading axes"
            )
        if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
            shapes = [tuple(x.shape) for x in (q, k, v)]
            raise ShapeError(
                f"q, k and v have shapes {shapes}: expected (..., L, d), (..., L', d) and (..., L', p)"
            )
        return q * (max(q.shape[-1], 1) ** -0.5 if scale is None else check_float("scale", scale))

    def _plan(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[SoftmaxPlan | None, PolynomialAttentionInfo]:
        if self.mode == "exact":
            return None, PolynomialAttentionInfo("exact", "asked for", 0, 0, float("nan"), 0.0, q.shape[-1])
        limit = self.max_features
        if self.mode == "auto":  # features that pay: the tables of the gradient are (d + 1) p wide
            limit = max(1, min(limit, 2 * k.shape[-2] // max(1, 2 + v.shape[-1])))
        try:
            plan = SoftmaxPlan.of(q, k, self.eps, limit)
        except BoundError as error:
            if self.mode != "auto":
                raise
            return None, PolynomialAttentionInfo("exact", str(error), 0, 0, error.R, 0.0, q.shape[-1])
        mode = "exact-forward" if self.mode == "exact-forward" else "poly"
        reason = (
            "asked for"
            if self.mode != "auto"
            else f"{plan.features} features cost less than {k.shape[-2]} keys"
        )
        degree = plan.expansion.series.degree
        return plan, PolynomialAttentionInfo(
            mode, reason, degree, plan.features, plan.R, plan.bound, plan.d_eff
        )


__all__ = ["PolynomialAttention", "PolynomialAttentionInfo"]
