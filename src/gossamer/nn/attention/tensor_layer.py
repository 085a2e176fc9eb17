"""Multi-head layers of attention over tuples of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.attention.tensor_attention import MODES, VALUES, TensorAttentionInfo, tensor_attention

SCALES = ("1/d", "1/sqrt(d)", "learned")


class TensorAttention(torch.nn.Module):
    r"""Multi-head self-attention of order k: every token attends to tuples of k - 1 tokens.

    Projections make one query, k - 1 keys and k - 1 values a token and head; :func:`tensor_attention` does the rest.
    Order 3 solves in one layer what ordinary attention cannot, such as "is there a pair of tokens that sums to zero
    with me"; order 2 is ordinary attention.

    Parameters
    ----------
    embed_dim : int
        Width of inputs and outputs.
    num_heads : int
        Heads.
    head_dim : int, optional
        d; ``embed_dim // num_heads`` by default. The fast mode wants it small.
    order : int
        k, two or more.
    values : {"product", "sum"}
        How the values of a tuple are joined.
    mode : {"auto", "exact", "poly"}
        As in :func:`tensor_attention`; :meth:`explain` says what "auto" chooses for an input.
    eps : float
        Largest error of the fast mode, relative to the largest values.
    causal : bool
        Tokens attend to earlier ones and themselves only.
    bias : bool
        Whether projections have one.
    scale : {"1/d", "1/sqrt(d)", "learned"}
        Of logits. "learned" is one number a head, from 1/sqrt(d) on; with "1/d" training starts slowly.
    bound : float, optional
        Squash queries and keys by ``bound * tanh(x / bound)``, so that the fast mode stays valid during training.
    max_features : int
        Most monomials of the fast mode.

    Raises
    ------
    ArgumentError
        ``embed_dim`` is not divisible by ``num_heads`` and ``head_dim`` is not given, or an option is unknown.

    Notes
    -----
    The softmax runs over n^(k-1) tuples: to single one out, logits must grow with ``(k - 1) log n``.

    References
    ----------
    Alman and Song, "How to Capture Higher-order Correlations?", ICLR 2024, arXiv 2310.04064.

    Examples
    --------
    >>> import torch
    >>> layer = TensorAttention(32, num_heads=4, order=3)
    >>> layer(torch.zeros(2, 12, 32)).shape
    torch.Size([2, 12, 32])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int | None = None,
        order: int = 3,
        *,
        values: str = "product",
        mode: str = "auto",
        eps: float = 1e-3,
        causal: bool = False,
        bias: bool = True,
        scale: str = "1/sqrt(d)",
        bound: float | None = None,
        max_features: int = 20_000,
    ) -> None:
        super().__init__()
        self.embed_dim = check_int("embed_dim", embed_dim, low=1)
        self.num_heads = check_int("num_heads", num_heads, low=1)
        if head_dim is None and embed_dim % num_heads:
            raise ArgumentError(
                f"embed_dim={embed_dim}: expected a multiple of num_heads={num_heads}, or head_dim"
            )
        self.head_dim = check_int("head_dim", embed_dim // num_heads if head_dim is None else head_dim, low=1)
        self.order = check_int("order", order, low=2)
        self.values = check_choice("values", values, VALUES)
        self.mode = check_choice("mode", mode, MODES)
        self.eps = check_float("eps", eps, low=0, closed="neither")
        self.causal, self.scale = bool(causal), check_choice("scale", scale, SCALES)
        self.bound = None if bound is None else check_float("bound", bound, low=0, closed="neither")
        self.max_features = check_int("max_features", max_features, low=1)
        width = self.num_heads * self.head_dim
        self.q_proj = torch.nn.Linear(embed_dim, width, bias)
        self.k_projs = torch.nn.ModuleList(torch.nn.Linear(embed_dim, width, bias) for _ in range(order - 1))
        self.v_projs = torch.nn.ModuleList(torch.nn.Linear(embed_dim, width, bias) for _ in range(order - 1))
        self.out_proj = torch.nn.Linear(width, embed_dim, bias)
        self.log_scale: torch.nn.Parameter | None
        start = torch.full((self.num_heads, 1, 1), -0.5 * math.log(self.head_dim))
        self.register_parameter("log_scale", torch.nn.Parameter(start) if scale == "learned" else None)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        x : tensor, shape (batch, n, embed_dim)
            Tokens.
        mask : tensor of bool, shape (batch, n), optional
            False hides a token from the others.

        Returns
        -------
        tensor, shape (batch, n, embed_dim)
        """
        heads, _ = self._attend(x, mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def explain(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> TensorAttentionInfo:
        """Say what :meth:`forward` runs for an input, and why; takes the same arguments."""
        return self._attend(x, mask)[1]

    def _attend(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, TensorAttentionInfo]:
        if x.ndim != 3 or x.shape[-1] != self.embed_dim:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected (batch, n, {self.embed_dim})")
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(f"mask has shape {tuple(mask.shape)}: expected {tuple(x.shape[:2])}")
        query = self._squash(self._split(self.q_proj(x)))
        if self.log_scale is not None:
            query = query * self.log_scale.to(query.dtype).exp()
        sets = self.order - 1
        factor = {"1/d": 1 / self.head_dim, "1/sqrt(d)": self.head_dim**-0.5, "learned": 1.0}[self.scale]
        return tensor_attention(
            query,
            [self._squash(self._split(proj(x))) for proj in self.k_projs],
            [self._split(proj(x)) for proj in self.v_projs],
            scale=factor,
            mode=self.mode,
            eps=self.eps,
            causal=self.causal,
            masks=None if mask is None else [mask[:, None]] * sets,
            values=self.values,
            max_features=self.max_features,
            return_info=True,
        )

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _squash(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.bound is None else self.bound * torch.tanh(x / self.bound)

    def extra_repr(self) -> str:
        """What ``repr`` says besides the projections."""
        return (
            f"{self.embed_dim}, num_heads={self.num_heads}, head_dim={self.head_dim}, order={self.order}, "
            f"values={self.values!r}, mode={self.mode!r}, scale={self.scale!r}, causal={self.causal}"
        )


class HigherOrderAttention(torch.nn.Module):
    """Heads of several orders side by side: ordinary ones for pairs, a few of higher order for tuples.

    The sum of one :class:`TensorAttention` for each order.

    Parameters
    ----------
    embed_dim : int
        Width of inputs and outputs.
    heads : mapping of int to int
        Order to number of heads, for example ``{2: 6, 3: 2}``.
    head_dim : int, optional
        Of all heads; ``embed_dim`` over the number of all heads by default.
    **options
        As for :class:`TensorAttention`, for all orders.

    Raises
    ------
    ArgumentError
        ``heads`` is empty, or ``embed_dim`` is not divisible by their number and ``head_dim`` is not given.

    Examples
    --------
    >>> import torch
    >>> layer = HigherOrderAttention(32, {2: 3, 3: 1})
    >>> layer(torch.zeros(2, 12, 32)).shape
    torch.Size([2, 12, 32])
    """

    def __init__(
        self, embed_dim: int, heads: Mapping[int, int], head_dim: int | None = None, **options: Any
    ) -> None:
        super().__init__()
        if not isinstance(heads, Mapping) or not heads:
            raise ArgumentError(
                f"heads={heads!r}: expected orders with numbers of heads, such as {{2: 6, 3: 2}}"
            )
        count = sum(check_int(f"heads[{order}]", number, low=1) for order, number in heads.items())
        if head_dim is None and embed_dim % count:
            raise ArgumentError(
                f"embed_dim={embed_dim}: expected a multiple of the {count} heads, or head_dim"
            )
        width = embed_dim // count if head_dim is None else head_dim
        self.orders = torch.nn.ModuleList(
            TensorAttention(embed_dim, number, width, order, **options)
            for order, number in sorted(heads.items())
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attend; arguments and result are those of :class:`TensorAttention`."""
        return torch.stack([layer(x, mask) for layer in self.orders]).sum(0)

    def explain(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[int, TensorAttentionInfo]:
        """Say what each order runs for an input, and why."""
        layers = (layer for layer in self.orders if isinstance(layer, TensorAttention))
        return {layer.order: layer.explain(x, mask) for layer in layers}


__all__ = ["HigherOrderAttention", "TensorAttention"]
