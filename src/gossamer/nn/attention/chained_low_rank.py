"""Softmax attention and its gradient through chained low-rank factors, without a matrix of L x L."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._core.checks import check_int
from gossamer._core.errors import BoundError, ShapeError
from gossamer.linalg.transforms.exp_features import ExpExpansion, balance, expand_exp
from gossamer.linalg.transforms.joint_rotation import joint_rotation

CHUNK = 64
_ROWS = 4096  # of the tables of products of coordinates, and of the chunks that run as one batch


@dataclass(frozen=True)
class SoftmaxPlan:
    """Coordinates and monomials with which ``exp(q k^T)`` has a certified relative error, for logits at hand.

    Attributes
    ----------
    expansion : ExpExpansion
        Polynomial and monomials.
    centre : tensor, shape (..., 1, d)
        Mean of the keys; subtracting it changes no softmax.
    query_map, key_map : tensors, shape (..., d, d)
        From queries and centred keys to coordinates in which as few as possible matter.
    R : float
        No centred logit is larger in magnitude.
    d_eff : int
        Coordinates that occur.
    """

    expansion: ExpExpansion
    centre: torch.Tensor
    query_map: torch.Tensor
    key_map: torch.Tensor
    R: float
    d_eff: int

    @property
    def features(self) -> int:
        """k1, the rank of the approximate softmax matrix."""
        return len(self.expansion.monomials)

    @property
    def bound(self) -> float:
        """Certified relative error of every exponential."""
        return self.expansion.bound

    @classmethod
    def of(cls, q: torch.Tensor, k: torch.Tensor, eps: float, max_features: int) -> SoftmaxPlan:
        """Choose for queries (..., L, d), scaled already, and keys (..., L', d)."""
        with torch.no_grad():
            q, k = q.double(), k.double()
            centre = k.mean(-2, keepdim=True) if k.shape[-2] else k.new_zeros(*k.shape[:-2], 1, k.shape[-1])
            maps = [torch.from_numpy(T) for T in joint_rotation(q, k - centre)]
            scales, M, R = balance([q @ maps[0], (k - centre) @ maps[1]])
            try:
                expansion = expand_exp(M, R, eps=eps, max_features=max_features, tangent=True)
            except BoundError as error:
                raise BoundError(
                    f"eps={eps!r} for centred logits up to R={R:.4g} takes more than max_features={max_features} "
                    f"features (at most {error.needed}): smaller norms, a larger eps or exact attention would do",
                    R,
                    error.needed,
                ) from None
            maps = [T * torch.from_numpy(scale) for T, scale in zip(maps, scales, strict=True)]
        used = int((expansion.monomials.exponents > 0).any(axis=0).sum())
        return cls(expansion, centre, maps[0], maps[1], R, used)


def polynomial_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    plan: SoftmaxPlan,
    causal: bool = False,
    softmax1: bool = False,
    exact_forward: bool = False,
    chunk: int = CHUNK,
) -> torch.Tensor:
    """``softmax(q k^T) v`` and its gradient by the plan's factors; see ``PolynomialAttention``.

    q (..., L, d), k (..., L', d), v (..., L', p); q is scaled already.
    """
    if causal and q.shape[-2] != k.shape[-2]:
        raise ShapeError(f"{q.shape[-2]} queries and {k.shape[-2]} keys: expected equally many when causal")
    return _Chained.apply(q, k, v, plan, causal, softmax1, exact_forward, check_int("chunk", chunk, low=1))


class _Chained(torch.autograd.Function):
    r"""f ~ U1 V1^T by features; p = f o (c v^T) - diag(s) f, s_i = <o_i, c_i>, is never formed.

    dq_i = sum_a c_ia U1_i (V1^T diag(v_a) k) - s_i U1_i (V1^T k), and dk, dv by exchanging roles. Causal: what lies in
    the same chunk exactly, what came before by sums up to the chunk; a run of chunks is one batch.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Any, k: Any, v: Any, plan: Any, causal: Any, softmax1: Any, exact: Any, chunk: Any
    ) -> Any:
        sides = _Sides(q, k, v, plan, causal, softmax1, chunk)
        out, total = sides.forward()
        ctx.settings = plan, causal, softmax1, chunk
        if exact:
            out = exact_attention(q, k, v, causal, softmax1).to(out.dtype)
        ctx.save_for_backward(q, k, v, out, total)
        return out.to(v.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> Any:
        q, k, v, out, total = ctx.saved_tensors
        slopes = _Sides(q, k, v, *ctx.settings).backward(out, total, grad)
        return *(s.to(x.dtype) for s, x in zip(slopes, (q, k, v), strict=True)), None, None, None, None, None


class _Sides:
    """Queries and keys as coordinates of the plan, and the sums of both passes."""

    def __init__(
        self, q: Any, k: Any, v: Any, plan: SoftmaxPlan, causal: bool, softmax1: bool, chunk: int
    ) -> None:
        self.wide = torch.float64 if plan.bound < 1e-4 else torch.promote_types(q.dtype, torch.float32)
        self.q, self.k, self.v = (x.to(self.wide) for x in (q, k, v))
        centre = plan.centre.to(self.wide)
        self.x, self.y = self.q @ plan.query_map.to(self.wide), (self.k - centre) @ plan.key_map.to(self.wide)
        self.monomials, self.causal = plan.expansion.monomials, causal
        self.weights = torch.as_tensor(plan.expansion.weights, dtype=self.wide)[:, None]
        # the 1 of softmax1, seen from centred logits
        self.extra = (-(self.q @ centre.mT)).exp() if softmax1 else 0.0
        self.chunk = max(min(chunk, q.shape[-2]), 1)
        step = max(_ROWS // self.chunk, 1) * self.chunk if causal else _ROWS
        self.parts = [slice(i, i + step) for i in range(0, q.shape[-2], step)]
        self.key_parts = [slice(i, i + step) for i in range(0, k.shape[-2], step)]

    def _collect(self, points: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return self.monomials.accumulate(points, table)

    def _spread(self, points: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        return self.monomials.apply(points, self.weights * sums)

    def _empty(self, width: int) -> torch.Tensor:
        return self.x.new_zeros(*self.x.shape[:-2], len(self.monomials), width)

    def _cut(self, part: slice, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """A run of rows; (..., chunks, chunk, width), padded with zeros, when causal."""
        rows = [x[..., part, :] for x in tensors]
        if not self.causal:
            return rows
        missing = -rows[0].shape[-2] % self.chunk
        return [torch.nn.functional.pad(x, (0, 0, 0, missing)).unflatten(-2, (-1, self.chunk)) for x in rows]

    def _joined(self, x: torch.Tensor, rows: int) -> torch.Tensor:
        return x.flatten(-3, -2)[..., :rows, :] if self.causal else x

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs, and denominators (..., L, 1)."""
        values = torch.cat([self.v, torch.ones_like(self.v[..., :1])], -1)
        both = values.new_empty(*self.x.shape[:-1], values.shape[-1])
        sums = self._empty(values.shape[-1])
        if not self.causal:
            for part in self.key_parts:
                sums = sums + self._collect(*self._cut(part, self.y, values))
        for part in self.parts:
            if self.causal:
                x, y, w = self._cut(part, self.x, self.y, values)
                before, sums = _prefix(self._collect(y, w), sums)
                row = self._spread(x, before) + _near(x, y) @ w
            else:
                row = self._spread(self._cut(part, self.x)[0], sums)
            rows = both[..., part, :]
            rows.copy_(self._joined(row, rows.shape[-2]))
        total = both[..., -1:] + self.extra
        if bool((total <= 0).any()):
            raise FloatingPointError(
                "a denominator is not positive: impossible while the certified error is below 1/2"
            )
        return both[..., :-1] / total, total

    def backward(
        self, out: torch.Tensor, total: torch.Tensor, grad: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Gradients in q, k and v."""
        c = grad.to(self.wide)
        s = (out.to(self.wide) * c).sum(-1, keepdim=True)
        return (self._causal if self.causal else self._full)(c / total, s / total)

    def _full(self, c: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, ...]:
        dq, dk, dv = (torch.empty_like(x) for x in (self.q, self.k, self.v))
        d, p = self.q.shape[-1], self.v.shape[-1]
        keys, queries = self._empty(d * (p + 1)), self._empty(d * (p + 1) + p)
        for part in self.key_parts:
            y, k, v = self._cut(part, self.y, self.k, self.v)
            keys = keys + self._collect(y, _key_table(k, v))
        for part in self.parts:
            x, q, c_, s_ = self._cut(part, self.x, self.q, c, s)
            dq[..., part, :] = _contract(self._spread(x, keys), c_, s_)
            queries = queries + self._collect(x, _query_table(q, c_, s_))
        for part in self.key_parts:
            y, v = self._cut(part, self.y, self.v)
            table = self._spread(y, queries)
            dv[..., part, :] = table[..., -p:]
            dk[..., part, :] = _contract(table[..., :-p], v)
        return dq, dk, dv

    def _causal(self, c: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Runs in reverse order: queries meet the sums of keys before, keys those of queries behind."""
        dq, dk, dv = (torch.empty_like(x) for x in (self.q, self.k, self.v))
        d, p = self.q.shape[-1], self.v.shape[-1]
        starts, behind = [self._empty(d * (p + 1))], self._empty(d * (p + 1) + p)
        for part in self.parts[:-1]:
            y, k, v = (x[..., part, :] for x in (self.y, self.k, self.v))
            starts.append(starts[-1] + self._collect(y, _key_table(k, v)))
        for part, start in zip(reversed(self.parts), reversed(starts), strict=True):
            x, y, q, k, v, c_, s_ = self._cut(part, self.x, self.y, self.q, self.k, self.v, c, s)
            near = _near(x, y)
            slopes = near * torch.sub(c_ @ v.mT, s_)
            before, _ = _prefix(self._collect(y, _key_table(k, v)), start)
            after, behind = _prefix(self._collect(x, _query_table(q, c_, s_)).flip(-3), behind)
            table = self._spread(y, after.flip(-3))
            found = (
                _contract(self._spread(x, before), c_, s_) + slopes @ k,
                _contract(table[..., :-p], v) + slopes.mT @ q,
                table[..., -p:] + near.mT @ c_,
            )
            for whole, rows in zip((dq, dk, dv), found, strict=True):
                target = whole[..., part, :]
                target.copy_(self._joined(rows, target.shape[-2]))
        return dq, dk, dv


def _near(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Exponentials within chunks, exactly; the key is not later than the query."""
    return (x @ y.mT).exp_().tril_()


def _prefix(tables: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of tables (..., chunks, r, w): what lies before each, from ``start`` (..., r, w) on; and everything."""
    sums = torch.cat([start[..., None, :, :], tables], -3).cumsum(-3)
    return sums[..., :-1, :, :], sums[..., -1, :, :]


def _key_table(k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Rows ``[k, v_1 k, v_2 k, ...]``: what V1^T k and V1^T diag(v_a) k sum up."""
    return torch.cat([k, (v[..., :, None] * k[..., None, :]).flatten(-2)], -1)


def _query_table(q: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Rows ``[s q, c_1 q, c_2 q, ..., c]``."""
    return torch.cat([s * q, (c[..., :, None] * q[..., None, :]).flatten(-2), c], -1)


def _contract(table: torch.Tensor, c: torch.Tensor, s: torch.Tensor | float = 1.0) -> torch.Tensor:
    """``sum_a c_a table_a - s table_0`` for tables of p + 1 rows."""
    rows = table.unflatten(-1, (c.shape[-1] + 1, -1))
    return (c[..., None, :] @ rows[..., 1:, :]).squeeze(-2) - s * rows[..., 0, :]


def exact_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False, softmax1: bool = False
) -> torch.Tensor:
    """``softmax(q k^T) v`` by definition, or with 1 added to every denominator; q is scaled already."""
    lead = q.shape[:-2]
    if len(lead) != 2:  # torch's fast kernels want four axes
        q, k, v = (x.reshape(1, math.prod(lead), *x.shape[-2:]) for x in (q, k, v))
    return _exact(q, k, v, causal, softmax1).reshape(*lead, q.shape[-2], v.shape[-1])


def _exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, softmax1: bool) -> torch.Tensor:
    if not softmax1:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=1.0)
    zero = torch.zeros_like(k[..., :1, :])  # a key with logit 0 and value 0 adds the 1
    seen = None
    if causal:
        L = q.shape[-2]
        seen = torch.ones(L, L, dtype=torch.bool, device=q.device).tril()
        seen = torch.cat([torch.ones(L, 1, dtype=torch.bool, device=q.device), seen], -1)
    keys, values = torch.cat([zero, k], -2), torch.cat([torch.zeros_like(v[..., :1, :]), v], -2)
    return torch.nn.functional.scaled_dot_product_attention(q, keys, values, attn_mask=seen, scale=1.0)
