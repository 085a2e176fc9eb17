"""Attention over tuples of tokens in near-linear time: a polynomial takes the place of the exponential function."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.utils.checkpoint import checkpoint

from gossamer._core.errors import BoundError
from gossamer.linalg.transforms.exp_features import ExpExpansion, balance, expand_exp


class PolyPlan:
    """A polynomial that is certified for queries (..., m, d) and keys (..., n_k, d), chosen from their sizes.

    ``eps`` bounds the error of an output, relative to the product of the largest values: weights whose relative error
    is at most eta give outputs within ``2 eta / (1 - eta)``.
    """

    def __init__(self, Q: torch.Tensor, Ks: Sequence[torch.Tensor], eps: float, max_features: int) -> None:
        self.scales, M, self.R = balance([Q, *Ks])
        try:
            self.expansion: ExpExpansion = expand_exp(
                M, self.R, eps=eps / (2 + eps), max_features=max_features
            )
        except BoundError as error:
            text = f"eps={eps!r} for logits up to R={self.R:.4g} takes more than max_features={max_features}"
            most = f" (at most {error.needed})" if error.needed else ""
            raise BoundError(
                f"{text} monomials{most}: smaller entries, a larger eps or mode='exact' would do",
                self.R,
                error.needed,
            ) from None

    @property
    def features(self) -> int:
        """r."""
        return len(self.expansion.monomials)

    @property
    def bound(self) -> float:
        """Certified error of an output, relative to the product of the largest values."""
        eta = self.expansion.bound
        return 2 * eta / (1 - eta)


def poly_tuples(
    Q: torch.Tensor,
    Ks: Sequence[torch.Tensor],
    Vs: Sequence[torch.Tensor],
    masks: Sequence[torch.Tensor | None],
    plan: PolyPlan,
    causal: bool = False,
    step: int | None = None,
) -> torch.Tensor:
    r"""``N / D`` with ``N = U ((F_1^T V_1) o ... o (F_s^T V_s))`` and the same with ones for values in D.

    F_k has the monomials of the k-th keys, U those of the queries with their coefficients. No matrix of features is
    stored. O(n r p) time, O(r p) memory besides the points; causal: O(n r p) time by prefix sums, ``step`` places at a
    time.
    """
    wide = torch.float64 if plan.bound < 1e-4 else Q.dtype
    Q, *keys = (
        x.to(wide) * torch.as_tensor(scale, dtype=wide, device=x.device)
        for x, scale in zip((Q, *Ks), plan.scales, strict=True)
    )
    values = [_with_ones(V.to(wide), mask) for V, mask in zip(Vs, masks, strict=True)]
    monomials = plan.expansion.monomials
    weights = torch.as_tensor(plan.expansion.weights, dtype=wide, device=Q.device)
    if causal:
        sums = _prefix_products(Q, keys, values, plan, weights, step)
    else:
        states = weights[:, None]
        for K, V in zip(keys, values, strict=True):
            states = states * monomials.accumulate(K, V)
        sums = monomials.apply(Q, states)
    total = sums[..., -1:]
    seen = total > 0
    return torch.where(seen, sums[..., :-1] / torch.where(seen, total, 1), 0).to(Vs[0].dtype)


def _with_ones(V: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A column of ones for the denominator; hidden tokens count nothing in either."""
    V = torch.cat([V, torch.ones_like(V[..., :1])], -1)
    return V if mask is None else V * mask[..., None]


def _first(x: torch.Tensor, m: int) -> torch.Tensor:
    """The first m tokens; places without a token add nothing, and no query sees those after."""
    return torch.nn.functional.pad(x, (0, 0, 0, max(0, m - x.shape[-2])))[..., :m, :]


def _prefix_products(
    Q: torch.Tensor,
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    plan: PolyPlan,
    weights: torch.Tensor,
    step: int | None,
) -> torch.Tensor:
    """Query i meets the sums over tokens up to i: running states (r, p + 1) a set, a chunk of places at a time."""
    monomials = plan.expansion.monomials
    m, p = Q.shape[-2], values[0].shape[-1]
    keys, values = ([_first(x, m) for x in group] for group in (keys, values))
    lead = Q.shape[:-2]
    if step is None:
        step = max(1, min(64, (1 << 22) // max(1, math.prod(lead) * plan.features * p)))

    def chunk(
        q: torch.Tensor, states: torch.Tensor, *tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        half = len(tokens) // 2
        running = []
        for state, K, V in zip(states, tokens[:half], tokens[half:], strict=True):
            terms = monomials.features(K)[..., :, :, None] * V[..., :, None, :]
            running.append(state[..., None, :, :] + terms.cumsum(-3))
        product = weights[:, None]
        for sums in running:
            product = product * sums
        out = (monomials.features(q)[..., None, :] @ product).squeeze(-2)
        return out, torch.stack([sums[..., -1, :, :] for sums in running])

    states = Q.new_zeros(len(keys), *lead, plan.features, p)
    outputs = []
    for start in range(0, m, step):
        part = slice(start, min(start + step, m))
        tokens = [x[..., part, :] for x in (*keys, *values)]
        out, states = checkpoint(chunk, Q[..., part, :], states, *tokens, use_reentrant=False)
        outputs.append(out)
    return torch.cat(outputs, -2) if outputs else Q.new_zeros(*lead, 0, p)
