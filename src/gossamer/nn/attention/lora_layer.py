"""An attention layer with LoRA adapters whose forward and backward pass can be linear in the number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.attention.polynomial_attention import PolynomialAttention, PolynomialAttentionInfo

PROJECTIONS = ("q", "k", "v", "o")


class LoRALinear(torch.nn.Module):
    """A frozen linear layer and a trained product of rank r, under the names that PEFT gives them.

    ``y = base_layer(x) + alpha / r * lora_B(lora_A(x))``.

    Parameters
    ----------
    base : torch.nn.Linear
        The layer; its parameters are frozen.
    r : int
        Rank.
    alpha : float
        Scale of the product, times r.
    """

    def __init__(self, base: torch.nn.Linear, r: int, alpha: float) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.scaling = alpha / r
        down = torch.nn.Linear(base.in_features, r, bias=False)
        up = torch.nn.Linear(r, base.out_features, bias=False)
        torch.nn.init.zeros_(up.weight)
        self.lora_A = torch.nn.ModuleDict({"default": down})
        self.lora_B = torch.nn.ModuleDict({"default": up})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both."""
        return self.base_layer(x) + self.scaling * self.lora_B["default"](self.lora_A["default"](x))

    def frozen(self, x: torch.Tensor) -> torch.Tensor:
        """The same, with no gradient but that of ``x``."""
        linear = torch.nn.functional.linear
        down, up = (next(one["default"].parameters()).detach() for one in (self.lora_A, self.lora_B))
        y = linear(x, self.base_layer.weight.detach(), _detached(self.base_layer.bias))
        return y + self.scaling * linear(linear(x, down), up)


def _detached(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.detach()


class FastLoRAAttention(torch.nn.Module):
    r"""Multi-head attention with LoRA adapters, by :class:`PolynomialAttention`.

    A drop-in layer for fine-tuning with long contexts and small heads: frozen projections, adapters of rank r on some
    of them, and gradients for adapters and inputs without an L x L matrix where logits are small.

    Parameters
    ----------
    embed_dim : int
        Width of inputs and outputs.
    num_heads : int
        Heads of queries.
    r : int
        Rank of the adapters.
    alpha : float
        Adapters are scaled by alpha / r.
    adapt : sequence of {"q", "k", "v", "o"}
        Projections that have adapters; the rest is frozen.
    mode, eps, causal, softmax1, max_features, fallback
        As in :class:`PolynomialAttention`.
    grad_x : {"fast", "exact"}
        "exact" keeps the approximation out of the gradient of the inputs, and thus out of earlier layers: quadratic
        time in the backward pass, fast gradients for the adapters of this layer only.
    kv_heads : int, optional
        Heads of keys and values, which queries share; ``num_heads`` by default.
    bias : bool
        Whether projections have one.

    Raises
    ------
    ArgumentError
        ``embed_dim`` is no multiple of ``num_heads``, or that none of ``kv_heads``, or ``adapt`` names something else.

    Notes
    -----
    Parameters are called as PEFT calls those of a model with ``q_proj``, ``k_proj``, ``v_proj`` and ``o_proj``:
    ``q_proj.base_layer.weight``, ``q_proj.lora_A.default.weight``, ``q_proj.lora_B.default.weight``.

    References
    ----------
    Hu et al., "Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models", ICLR 2025, arXiv
    2406.03136.

    Examples
    --------
    >>> import torch
    >>> layer = FastLoRAAttention(32, num_heads=4, r=2)
    >>> layer(torch.zeros(1, 100, 32)).shape
    torch.Size([1, 100, 32])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        r: int = 8,
        alpha: float = 16,
        adapt: Sequence[str] = ("q", "v"),
        mode: str = "auto",
        eps: float = 1e-2,
        causal: bool = True,
        kv_heads: int | None = None,
        softmax1: bool = False,
        bias: bool = False,
        max_features: int = 20_000,
        fallback: str = "raise",
        grad_x: str = "fast",
    ) -> None:
        super().__init__()
        self.embed_dim = check_int("embed_dim", embed_dim, low=1)
        self.num_heads = check_int("num_heads", num_heads, low=1)
        self.kv_heads = num_heads if kv_heads is None else check_int("kv_heads", kv_heads, low=1)
        if embed_dim % num_heads or num_heads % self.kv_heads:
            raise ArgumentError(
                f"embed_dim={embed_dim}, num_heads={num_heads}, kv_heads={self.kv_heads}: expected each to divide the "
                "one before"
            )
        if not set(adapt) <= set(PROJECTIONS):
            raise ArgumentError(f"adapt={tuple(adapt)!r}: expected some of {', '.join(PROJECTIONS)}")
        check_int("r", r, low=1)
        self.grad_x = check_choice("grad_x", grad_x, ("fast", "exact"))
        check_float("alpha", alpha)
        narrow = embed_dim // num_heads * self.kv_heads
        for name, out in (("q", embed_dim), ("k", narrow), ("v", narrow), ("o", embed_dim)):
            linear = torch.nn.Linear(embed_dim, out, bias)
            module = LoRALinear(linear, r, alpha) if name in adapt else linear.requires_grad_(False)
            self.add_module(f"{name}_proj", module)
        self.attention = PolynomialAttention(
            mode, eps=eps, causal=causal, softmax1=softmax1, max_features=max_features, fallback=fallback
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend: (batch, L, embed_dim) to the same shape."""
        if self.grad_x == "exact" and x.requires_grad:
            heads = self.attention(*self._heads(x.detach()), twins=self._heads(x, frozen=True))
        else:
            heads = self.attention(*self._heads(x))
        out: torch.Tensor = self.get_submodule("o_proj")(heads.transpose(1, 2).flatten(2))
        return out

    @torch.no_grad()
    def explain(self, x: torch.Tensor) -> PolynomialAttentionInfo:
        """Say what :meth:`forward` runs for an input, and why."""
        return self.attention.explain(*self._heads(x))

    def _heads(
        self, x: torch.Tensor, frozen: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if x.ndim != 3 or x.shape[-1] != self.embed_dim:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected (batch, L, {self.embed_dim})")
        width, share = self.embed_dim // self.num_heads, self.num_heads // self.kv_heads
        q, k, v = (
            _apply(self.get_submodule(f"{name}_proj"), x, frozen).unflatten(-1, (-1, width)).transpose(1, 2)
            for name in ("q", "k", "v")
        )
        return q, k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)


def _apply(module: torch.nn.Module, x: torch.Tensor, frozen: bool) -> torch.Tensor:
    out: torch.Tensor = module.frozen(x) if frozen and isinstance(module, LoRALinear) else module(x)
    return out


__all__ = ["FastLoRAAttention", "LoRALinear"]
