"""Attention over tuples of tokens: exact in blocks, or in near-linear time with a certified error."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gossamer._core.arrays import is_torch, to_numpy, to_torch
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, BoundError, CostError, ShapeError
from gossamer.nn.attention.exact_tuples import Visible, exact_tuples
from gossamer.nn.attention.poly_tuples import PolyPlan, poly_tuples

MODES = ("auto", "exact", "poly")
VALUES = ("product", "sum")
TUPLES = ("all", "increasing")

_MOST_TUPLES = 4096**3  # minutes of work


@dataclass(frozen=True)
class TensorAttentionInfo:
    """What :func:`tensor_attention` ran, and why.

    Attributes
    ----------
    mode : {"exact", "poly"}
        What ran.
    reason : str
        Why, in words.
    degree : int
        Of the polynomial; 0 in exact mode.
    features : int
        r, its number of monomials; 0 in exact mode.
    R : float
        No logit is larger in magnitude.
    bound : float
        Certified error of an output, relative to the largest value of a tuple; 0 in exact mode.
    flops : float
        Floating-point operations, about.
    seconds : float
        Time taken.
    """

    mode: str
    reason: str
    degree: int
    features: int
    R: float
    bound: float
    flops: float
    seconds: float


def tensor_attention(
    Q: Any,
    Ks: Sequence[Any],
    Vs: Sequence[Any],
    *,
    scale: float | None = None,
    mode: str = "auto",
    eps: float = 1e-3,
    causal: bool = False,
    masks: Sequence[Any] | None = None,
    pair_mask: Any = None,
    tuples: str = "all",
    values: str = "product",
    max_features: int = 20_000,
    force: bool = False,
    return_info: bool = False,
) -> Any:
    r"""Attention of each query over all tuples of tokens, one from each of k - 1 sets.

    .. math:: o_{il} = \sum_{j_1 j_2} P_{i j_1 j_2} V_1[j_1, l]\, V_2[j_2, l], \qquad
              P_{i j_1 j_2} \propto \exp\Bigl(\text{scale} \sum_l Q[i, l]\, K_1[j_1, l]\, K_2[j_2, l]\Bigr)

    for order k = 3, that is ``softmax(scale Q (K1 (/) K2)^T) (V1 (/) V2)`` with Khatri-Rao products; k = 2 is ordinary
    attention. "exact" takes O(n^k d) time and O(n^{k-2} d) memory. "poly" takes O(n r d): the exponential function
    becomes a polynomial with r monomials, few when logits are small. "auto" takes "poly" where its certified error is
    at most ``eps`` and it costs less.

    Parameters
    ----------
    Q : array or tensor, shape (..., m, d)
        Queries.
    Ks : sequence of k - 1 arrays or tensors, shape (..., n_s, d)
        Keys. Numbers of tokens may differ.
    Vs : sequence of k - 1 arrays or tensors, shape (..., n_s, p)
        Values.
    scale : float, optional
        1 / d by default, as in the paper; ordinary attention has ``d ** -0.5``.
    mode : {"auto", "exact", "poly"}
        How to compute it.
    eps : float
        For "poly": largest error of an output, relative to the product (or sum) of the largest values. Certified.
    causal : bool
        Query i sees tokens 0, ..., i of every set.
    masks : sequence of k - 1 (None or array of bool, shape (..., n_s)), optional
        False hides a token. Leading axes are those of Q, or 1.
    pair_mask : array of bool, shape (..., n_1, ..., n_{k-1}), optional
        False hides a tuple; for "exact".
    tuples : {"all", "increasing"}
        "increasing" sees tuples with j_1 < j_2 < ... only: every set of tokens once; for "exact".
    values : {"product", "sum"}
        How the values of a tuple are joined.
    max_features : int
        Largest r.
    force : bool
        Run "exact" even if it takes more than 4096^3 scores.
    return_info : bool
        Return ``(out, info)``.

    Returns
    -------
    out : array or tensor, shape (..., m, p)
        In the dtype of Q; half precision is computed in float32. Tensors have gradients in every mode. A query that
        sees nothing yields 0.
    info : TensorAttentionInfo
        With ``return_info``.

    Raises
    ------
    ShapeError
        Shapes do not fit, or there are not as many values as keys, at least one.
    BoundError
        Mode "poly", and ``eps`` takes more than ``max_features``: ``error.R`` and ``error.needed`` say what it takes.
    CostError
        Mode "exact" with more than 4096^3 scores and not ``force``; the message states the operations.

    Notes
    -----
    The error is certified in exact arithmetic; float32 inputs are computed in float64 where it is below 1e-4.

    References
    ----------
    Alman and Song, "How to Capture Higher-order Correlations? Generalizing Matrix Softmax Attention to Kronecker
    Computation", ICLR 2024, arXiv 2310.04064.

    Examples
    --------
    >>> import numpy as np
    >>> Q, K1, K2, V1, V2 = np.random.default_rng(0).uniform(-1, 1, (5, 300, 8))
    >>> exact = tensor_attention(Q, (K1, K2), (V1, V2), mode="exact")
    >>> fast, info = tensor_attention(Q, (K1, K2), (V1, V2), mode="poly", eps=1e-2, return_info=True)
    >>> bool(abs(fast - exact).max() <= info.bound), info.bound <= 1e-2
    (True, True)
    """
    start = time.perf_counter()
    check_choice("mode", mode, MODES)
    check_choice("tuples", tuples, TUPLES)
    check_choice("values", values, VALUES)
    check_float("eps", eps, low=0, closed="neither")
    check_int("max_features", max_features, low=1)
    q, keys, contents = _check_arrays(Q, Ks, Vs)
    scale = 1 / max(q.shape[-1], 1) if scale is None else check_float("scale", scale)
    visible = _check_masks(q, keys, causal, masks, pair_mask, tuples)
    parts = len(contents)
    if values == "sum":
        contents = _spread(contents)
    dtype = q.dtype
    work = torch.float32 if dtype.itemsize == 2 else dtype
    q, keys, contents = q.to(work) * scale, [K.to(work) for K in keys], [V.to(work) for V in contents]
    chosen, reason, plan = _choose(q, keys, contents, visible, mode, eps, max_features, force)
    if plan is None:
        out = exact_tuples(q, keys, contents, visible)
    else:
        out = poly_tuples(q, keys, contents, visible.masks, plan, causal)
    if values == "sum":
        out = torch.stack(out.tensor_split(parts, -1)).sum(0)
    result = out.to(dtype) if is_torch(Q) else to_numpy(out.to(dtype))
    if not return_info:
        return result
    flops = _exact_flops(q, keys, contents) if plan is None else _poly_flops(q, keys, contents, plan.features)
    info = TensorAttentionInfo(
        chosen,
        reason,
        plan.expansion.series.degree if plan else 0,
        plan.features if plan else 0,
        plan.R if plan else math.nan,
        plan.bound if plan else 0.0,
        flops,
        time.perf_counter() - start,
    )
    return result, info


def _choose(
    q: torch.Tensor,
    keys: list[torch.Tensor],
    values: list[torch.Tensor],
    visible: Visible,
    mode: str,
    eps: float,
    max_features: int,
    force: bool,
) -> tuple[str, str, PolyPlan | None]:
    """The mode, the reason, and the plan of the polynomial one."""
    only_exact = (
        "pair_mask" if visible.pairs is not None else "tuples='increasing'" if visible.increasing else ""
    )
    scores = _scores(q, keys)
    costly = scores > _MOST_TUPLES and not force
    exact = _exact_flops(q, keys, values)
    if mode == "poly":
        if only_exact:
            raise ArgumentError(
                f"mode='poly' with {only_exact}: expected 'exact', sums over tuples do not factor"
            )
        return "poly", "asked for", PolyPlan(q, keys, eps, max_features)
    if mode == "auto" and not only_exact:
        # features that pay: the polynomial must beat the exact sum, or be all that is affordable
        paying = max_features if costly else int(exact / _poly_flops(q, keys, values, 1))
        try:
            plan = PolyPlan(q, keys, eps, max(1, min(max_features, paying)))
        except BoundError as error:
            reason = str(error)
        else:
            return (
                "poly",
                f"{plan.features} monomials keep eps={eps:.3g} for logits up to R={plan.R:.3g}",
                plan,
            )
    else:
        reason = f"{only_exact} is given" if only_exact and mode == "auto" else "asked for"
    if costly:
        raise CostError(
            f"exact attention takes {scores:.3g} scores, {exact:.3g} floating-point operations ({reason}): "
            "expected at most 4096^3 scores, or force=True"
        )
    return "exact", reason, None


def _scores(q: torch.Tensor, keys: Sequence[torch.Tensor]) -> float:
    return float(math.prod(q.shape[:-1])) * math.prod(K.shape[-2] for K in keys)


def _exact_flops(q: torch.Tensor, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> float:
    return _scores(q, keys) * (2 * q.shape[-1] + 2 * values[0].shape[-1] + 20)


def _poly_flops(
    q: torch.Tensor, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], features: int
) -> float:
    tokens = math.prod(q.shape[:-2]) * (q.shape[-2] + sum(K.shape[-2] for K in keys))
    return max(1.0, float(tokens) * features * (2 * values[0].shape[-1] + 3))


def _spread(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Values whose product holds those of one set after the other: ones stand in for the rest."""
    return [
        torch.cat([V if s == t else torch.ones_like(V) for s in range(len(values))], -1)
        for t, V in enumerate(values)
    ]


def _check_arrays(
    Q: Any, Ks: Sequence[Any], Vs: Sequence[Any]
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    if not 1 <= len(Ks) == len(Vs):
        raise ShapeError(
            f"{len(Ks)} Ks and {len(Vs)} Vs: expected equally many, one or more (order 2 or more)"
        )
    names = ["Q", *(f"Ks[{i}]" for i in range(len(Ks))), *(f"Vs[{i}]" for i in range(len(Vs)))]
    arrays = [
        to_torch(check_array(name, x, ndim=max(2, getattr(x, "ndim", 2))))
        for name, x in zip(names, (Q, *Ks, *Vs), strict=True)
    ]
    q, keys, values = arrays[0], arrays[1 : len(Ks) + 1], arrays[len(Ks) + 1 :]
    for name, x in zip(names, arrays, strict=True):
        if x.dtype != q.dtype or x.device != q.device:
            raise ArgumentError(f"{name} is {x.dtype} on {x.device}: expected {q.dtype} on {q.device}, as Q")
        if x.shape[:-2] != q.shape[:-2]:
            raise ShapeError(
                f"{name} has shape {tuple(x.shape)}: expected leading {tuple(q.shape[:-2])}, as Q"
            )
    for i, (K, V) in enumerate(zip(keys, values, strict=True)):
        if K.shape[-1] != q.shape[-1]:
            raise ShapeError(f"Ks[{i}] has {K.shape[-1]} columns: expected {q.shape[-1]}, as Q")
        if V.shape[-1] != values[0].shape[-1] or V.shape[-2] != K.shape[-2]:
            expected = (K.shape[-2], values[0].shape[-1])
            raise ShapeError(
                f"Vs[{i}] has shape {tuple(V.shape)}: expected (..., {expected[0]}, {expected[1]})"
            )
    return q, keys, values


def _check_masks(
    q: torch.Tensor,
    keys: Sequence[torch.Tensor],
    causal: bool,
    masks: Sequence[Any] | None,
    pair_mask: Any,
    tuples: str,
) -> Visible:
    sizes = [K.shape[-2] for K in keys]
    if masks is not None and len(masks) != len(keys):
        raise ShapeError(f"{len(masks)} masks: expected {len(keys)}, one (or None) for each of Ks")
    checked = [
        None if mask is None else _check_mask(f"masks[{i}]", mask, q, sizes[i : i + 1])
        for i, mask in enumerate(masks or [None] * len(keys))
    ]
    pairs = None if pair_mask is None else _check_mask("pair_mask", pair_mask, q, sizes)
    return Visible(causal, tuples == "increasing", checked, pairs)


def _check_mask(name: str, mask: Any, q: torch.Tensor, tail: Sequence[int]) -> torch.Tensor:
    mask = to_torch(mask)
    if mask.dtype != torch.bool:
        raise ArgumentError(f"{name} is {mask.dtype}: expected bool, True where a token is seen")
    lead = q.shape[:-2]
    try:
        fits = torch.broadcast_shapes(mask.shape, (*lead, *tail)) == (*lead, *tail)
    except RuntimeError:
        fits = False
    if not fits or tuple(mask.shape[mask.ndim - len(tail) :]) != tuple(tail):
        raise ShapeError(f"{name} has shape {tuple(mask.shape)}: expected (..., {', '.join(map(str, tail))})")
    return mask.to(q.device)


__all__ = ["TensorAttentionInfo", "tensor_attention"]
