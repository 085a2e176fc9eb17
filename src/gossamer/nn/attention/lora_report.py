"""Whether the heads of a model admit a fast attention gradient: the norm condition, measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError, BoundError
from gossamer.nn.attention.chained_low_rank import SoftmaxPlan

_RANK_TOKENS = 2048  # the exact softmax matrix is formed up to here


@dataclass(frozen=True)
class HeadNorms:
    """One head of one layer, at one tolerance.

    Attributes
    ----------
    layer, head : int
        Which.
    eps : float
        Relative error asked for.
    query, key : float
        Largest entries of its queries and keys, before the scale of logits.
    adapter : float
        Largest entry of what adapters add to its queries, keys and values: ``(alpha / r) X B A``; 0 without any.
    gamma : float
        Largest entry of its queries, keys and values without adapters, and of what adapters add: what the theorem
        bounds.
    gamma_ratio : float
        ``gamma / sqrt(log L)``; the theorem's threshold is that this goes to zero.
    logit : float
        Largest magnitude of a logit.
    centred_logit : float
        The same after the mean key is subtracted, which no softmax notices.
    R : float
        Certified bound on centred logits, from norms.
    d_eff : int
        Coordinates that matter.
    degree, k1 : int
        Of the polynomial and number of its features; 0 if more than the limit.
    rank : int
        Singular values of the exact softmax matrix above ``eps`` times the largest; 0 beyond 2,048 tokens.
    cost_ratio : float
        ``L k1 d^2`` over ``4 L^2 d``: below 1 the fast gradient does less.
    verdict : {"fast", "exact"}
        What pays.
    """

    layer: int
    head: int
    eps: float
    query: float
    key: float
    adapter: float
    gamma: float
    gamma_ratio: float
    logit: float
    centred_logit: float
    R: float
    d_eff: int
    degree: int
    k1: int
    rank: int
    cost_ratio: float
    verdict: str


@dataclass(frozen=True)
class LoRANormReport:
    """A row for every head and tolerance.

    Attributes
    ----------
    rows : tuple of HeadNorms
        By layer, head and tolerance.
    tokens : int
        L.
    """

    rows: tuple[HeadNorms, ...]
    tokens: int

    def qualifying(self, eps: float) -> int:
        """How many heads a fast gradient pays for."""
        return sum(row.verdict == "fast" and row.eps == eps for row in self.rows)

    def to_markdown(self) -> str:
        """The table."""
        names = [field.name for field in fields(HeadNorms)]
        lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        for row in self.rows:
            cells = (getattr(row, name) for name in names)
            lines.append(
                "| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells) + " |"
            )
        return "\n".join(lines)


def lora_norm_report(
    model: torch.nn.Module,
    input_ids: Any,
    *,
    eps: Sequence[float] = (0.1, 0.01, 0.001),
    max_features: int = 20_000,
    rank: bool = False,
) -> LoRANormReport:
    """Measure the norm condition of the fast LoRA gradient in every attention head of a model.

    Queries, keys and values are those that the model hands to ``torch.nn.functional.scaled_dot_product_attention``,
    after rotation by position and with adapters. Adapters are found as PEFT and :class:`LoRALinear` hold them: modules
    with ``base_layer``, ``lora_A`` and ``lora_B`` whose name says that they project queries, keys or values
    (``q_proj``, ``query``, ``k_proj``, ...).

    Parameters
    ----------
    model : torch.nn.Module
        A model whose attention runs through that function.
    input_ids : tensor
        What the model is called with.
    eps : sequence of float
        Relative errors.
    max_features : int
        Features beyond which a head counts as exact.
    rank : bool
        Compute the numerical rank of the exact softmax matrix as well: O(L^3) a head.

    Returns
    -------
    LoRANormReport
        With ``to_markdown()``.

    Raises
    ------
    ArgumentError
        The model does not call that function.

    References
    ----------
    Hu et al., "Computational Limits of Low-Rank Adaptation", ICLR 2025, arXiv 2406.03136.
    """
    tolerances = [check_float(f"eps[{i}]", e, low=0, high=1 / 3, closed="right") for i, e in enumerate(eps)]
    rows: list[HeadNorms] = []
    length = 0
    with torch.no_grad(), _recorded(model) as calls:
        model(input_ids)
    if not calls:
        raise ArgumentError(
            f"{type(model).__name__} does not call scaled_dot_product_attention: load it with that implementation"
        )
    for layer, call in enumerate(calls):
        length = call.q.shape[-2]
        for head in range(call.q.shape[1]):
            rows += _head(layer, head, call, tolerances, max_features, rank)
    return LoRANormReport(tuple(rows), length)


@dataclass(frozen=True)
class _Call:
    """Queries, keys and values (batch, heads, L, width) of a layer, and the terms of its adapted projections."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    scale: float
    terms: dict[tuple[str, str], torch.Tensor]

    def largest(self, role: str, term: str, head: int) -> float:
        """Of ``X W`` ("base") or of what adapters add ("adapter"), in the queries, keys or values of a head."""
        rows = self.terms.get((role, term))
        if rows is not None:
            heads = rows.reshape(*rows.shape[:-1], -1, self.q.shape[-1])
            return float(heads[..., head // (self.q.shape[1] // heads.shape[-2]), :].abs().max())
        return float(getattr(self, role)[:, head].abs().max()) if term == "base" else 0.0


def _head(
    layer: int, head: int, call: _Call, tolerances: list[float], max_features: int, rank: bool
) -> Iterator[HeadNorms]:
    parts = [x[:, head].double() for x in (call.q, call.k, call.v)]
    adapter = max(call.largest(role, "adapter", head) for role in "qkv")
    gamma = max(adapter, *(call.largest(role, "base", head) for role in "qkv"))
    q, k = parts[0] * call.scale, parts[1]
    L, d = q.shape[-2:]
    logits = q @ k.mT
    centred = float((q @ (k - k.mean(-2, keepdim=True)).mT).abs().max())
    values = (
        np.linalg.svd(logits[0].softmax(-1).numpy(), compute_uv=False) if rank and L <= _RANK_TOKENS else None
    )
    for eps in tolerances:
        try:
            plan = SoftmaxPlan.of(q, k, eps, max_features)
            k1, degree, R, d_eff = plan.features, plan.expansion.series.degree, plan.R, plan.d_eff
        except BoundError as error:
            k1, degree, R, d_eff = 0, 0, error.R, d
        cost = L * k1 * d**2 / (4 * L**2 * d) if k1 else math.inf
        found = 0 if values is None else int((values > eps * values[0]).sum())
        yield HeadNorms(
            layer, head, eps, float(parts[0].abs().max()), float(parts[1].abs().max()), adapter, gamma,
            gamma / math.sqrt(math.log(max(L, 2))), float(logits.abs().max()), centred, R,
            d_eff, degree, k1, found, cost, "fast" if cost < 1 else "exact",
        )  # fmt: skip


_ROLES = (
    ("q", "q_proj query q_lin to_q wq q"),
    ("k", "k_proj key k_lin to_k wk k"),
    ("v", "v_proj value v_lin to_v wv v"),
)


def _role(name: str) -> str:
    last = name.rpartition(".")[2]
    return next((role for role, names in _ROLES if last in names.split()), "")


@contextmanager
def _recorded(model: torch.nn.Module) -> Iterator[list[_Call]]:
    """Collect every attention call, and the terms of adapted projections since the call before."""
    calls: list[_Call] = []
    terms: dict[tuple[str, str], torch.Tensor] = {}
    original = torch.nn.functional.scaled_dot_product_attention

    def recording(query: Any, key: Any, value: Any, *arguments: Any, **options: Any) -> Any:
        scale = options.get("scale")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        share = query.shape[1] // key.shape[1]
        k, v = (x.repeat_interleave(share, 1) for x in (key, value))
        calls.append(_Call(query, k, v, scale, dict(terms)))
        terms.clear()
        return original(query, key, value, *arguments, **options)

    def note(key: tuple[str, str], scaling: float, module: Any, inputs: Any, output: torch.Tensor) -> None:
        terms[key] = terms.get(key, 0) + scaling * output.detach().double()

    hooks = []
    for name, module in model.named_modules():
        ups, role = getattr(module, "lora_B", None), _role(name)
        if not isinstance(ups, torch.nn.ModuleDict) or not role:
            continue
        hooks.append(module.base_layer.register_forward_hook(partial(note, (role, "base"), 1.0)))
        for adapter, up in ups.items():  # PEFT keeps one scale an adapter
            scaling: Any = module.scaling
            scaling = scaling[adapter] if isinstance(scaling, dict) else scaling
            hooks.append(up.register_forward_hook(partial(note, (role, "adapter"), scaling)))
    torch.nn.functional.scaled_dot_product_attention = recording
    try:
        yield calls
    finally:
        torch.nn.functional.scaled_dot_product_attention = original
        for hook in hooks:
            hook.remove()


__all__ = ["HeadNorms", "LoRANormReport", "lora_norm_report"]
