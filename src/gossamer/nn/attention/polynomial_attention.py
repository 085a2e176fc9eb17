"""Softmax attention in time linear in the number of tokens, forward and backward, where logits are small."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import BoundError, ShapeError
from gossamer.nn.attention.chained_low_rank import CHUNK, SoftmaxPlan, exact_attention, polynomial_attention

MODES = ("auto", "poly", "exact-forward", "exact")
FALLBACKS = ("raise", "exact")
Pieces = list[tuple[slice, SoftmaxPlan | None]]


class ExactFallbackWarning(UserWarning):
    """The features asked for are too many: the exact attention ran in their place."""


@dataclass(frozen=True)
class PolynomialAttentionInfo:
    """What :class:`PolynomialAttention` runs, and why.

    Attributes
    ----------
    mode : {"poly", "exact-forward", "exact", "mixed"}
        What ran; "mixed" is "poly" in some heads and "exact" in others.
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
    fast_heads : tuple of int, optional
        Heads that run "poly", where not all do. Numbers above are then the largest among them.
    """

    mode: str
    reason: str
    degree: int
    k1: int
    R: float
    bound: float
    d_eff: int
    fast_heads: tuple[int, ...] | None = None


class PolynomialAttention(torch.nn.Module):
    r"""Softmax attention whose forward and backward pass take time linear in the number of tokens.

    ``exp(q k^T)`` becomes a product of k1 polynomial features with a certified error, and the gradient the chain of
    low-rank products of the paper: no L x L matrix exists in either pass. For small heads or small logits;
    :meth:`explain` says when they are not.

    Parameters
    ----------
    mode : {"auto", "poly", "exact-forward", "exact"}
        "exact-forward" approximates the gradient alone; "auto" takes "poly" for the heads (the third axis
        from the end) where it costs less than the exact sum.
    eps : float
        Relative error of every exponential; at most 1/3.
    causal : bool
        Token i sees tokens 0, ..., i.
    softmax1 : bool
        Add 1 to every denominator (outlier-free attention).
    max_features : int
        Largest k1.
    fallback : {"raise", "exact"}
        Where "poly" or "exact-forward" take more: a :class:`BoundError`, or exact attention with an
        :class:`ExactFallbackWarning`.
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
        fallback: str = "raise",
        chunk: int = CHUNK,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, MODES)
        self.eps = check_float("eps", eps, low=0, high=1 / 3, closed="right")
        self.causal, self.softmax1 = bool(causal), bool(softmax1)
        self.max_features = check_int("max_features", max_features, low=1)
        self.fallback = check_choice("fallback", fallback, FALLBACKS)
        self.chunk = check_int("chunk", chunk, low=1)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float | None = None,
        *,
        twins: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        q, k, v : tensors, shape (..., L, d), (..., L', d) and (..., L', p)
            Queries, keys and values with equal leading axes.
        scale : float, optional
            Of logits; ``d ** -0.5`` by default.
        twins : tuple of tensors, optional
            The same queries, keys and values under a graph of their own: what they came from gets the exact gradient,
            what q, k and v came from the fast one.

        Returns
        -------
        tensor, shape (..., L, p)
        """
        q = self._scaled(q, k, v, scale)
        pieces, info = self._plan(q, k, v)
        if info.mode == "exact" and self.mode not in ("exact", "auto"):
            warnings.warn(info.reason, ExactFallbackWarning, stacklevel=2)
        exact = info.mode == "exact-forward"
        outs = []
        for heads, plan in pieces:
            a, b, c = (_heads(x, heads) for x in (q, k, v))
            if plan is None:
                outs.append(exact_attention(a, b, c, self.causal, self.softmax1))
            else:
                outs.append(
                    polynomial_attention(a, b, c, plan, self.causal, self.softmax1, exact, self.chunk)
                )
        out = outs[0] if len(outs) == 1 else torch.cat(outs, -3)
        if twins is None:
            return out
        true = exact_attention(self._scaled(*twins, scale), *twins[1:], self.causal, self.softmax1)
        return out + (true - true.detach())  # no value, only its gradient

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
    ) -> tuple[Pieces, PolynomialAttentionInfo]:
        """Which heads run by which plan (None: exactly)."""
        width, everything = q.shape[-1], slice(None)
        if self.mode == "exact":
            info = PolynomialAttentionInfo("exact", "asked for", 0, 0, float("nan"), 0.0, width)
            return [(everything, None)], info
        limit = self.max_features
        if self.mode == "auto":  # features that pay: the tables of the gradient are (d + 1) p wide
            limit = max(1, min(limit, 2 * k.shape[-2] // max(1, 2 + v.shape[-1])))
        try:
            plan = SoftmaxPlan.of(q, k, self.eps, limit)
        except BoundError as error:
            if self.mode == "auto" and q.ndim > 2 and q.shape[-3] > 1:
                return self._by_head(q, k, limit, error)
            if self.mode != "auto" and self.fallback == "raise":
                raise
            return [(everything, None)], _exact_info(error, width)
        reason = (
            "asked for"
            if self.mode != "auto"
            else f"{plan.features} features cost less than {k.shape[-2]} keys"
        )
        mode = "poly" if self.mode == "auto" else self.mode
        return [(everything, plan)], _info(mode, reason, [plan])

    def _by_head(
        self, q: torch.Tensor, k: torch.Tensor, limit: int, error: BoundError
    ) -> tuple[Pieces, PolynomialAttentionInfo]:
        pieces: Pieces = []
        for head in range(q.shape[-3]):
            one = slice(head, head + 1)
            try:
                pieces.append((one, SoftmaxPlan.of(_heads(q, one), _heads(k, one), self.eps, limit)))
            except BoundError:
                exact = pieces and pieces[-1][1] is None
                start = pieces.pop()[0].start if exact else head
                pieces.append((slice(start, head + 1), None))
        plans = {piece.start: plan for piece, plan in pieces if plan is not None}
        if not plans:
            return [(slice(None), None)], _exact_info(error, q.shape[-1])
        reason = f"{len(plans)} of {q.shape[-3]} heads have features that cost less than {k.shape[-2]} keys"
        return pieces, _info("mixed", reason, list(plans.values()), tuple(plans))


def _heads(x: torch.Tensor, heads: slice) -> torch.Tensor:
    return x if heads == slice(None) else x[..., heads, :, :]


def _exact_info(error: BoundError, width: int) -> PolynomialAttentionInfo:
    return PolynomialAttentionInfo("exact", str(error), 0, 0, error.R, 0.0, width)


def _info(
    mode: str, reason: str, plans: list[SoftmaxPlan], heads: tuple[int, ...] | None = None
) -> PolynomialAttentionInfo:
    degree = max(plan.expansion.series.degree for plan in plans)
    k1, d_eff = max(plan.features for plan in plans), max(plan.d_eff for plan in plans)
    R, bound = max(plan.R for plan in plans), max(plan.bound for plan in plans)
    return PolynomialAttentionInfo(mode, reason, degree, k1, R, bound, d_eff, heads)


__all__ = ["ExactFallbackWarning", "PolynomialAttention", "PolynomialAttentionInfo"]
