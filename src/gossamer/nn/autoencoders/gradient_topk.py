"""Token choice by activation and by first-order effect on the model's loss (g-SAE)."""

from __future__ import annotations

import math
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import topk
from gossamer.nn.autoencoders.allocation import Allocation
from gossamer.nn.autoencoders.codes import SparseCodes
from gossamer.nn.autoencoders.selection import check_pre, codes_of, host, top_per_token

_TOKENS = 128
_DECAY = 0.99


class GradientTopK(Allocation):
    """Every token gets the k features with the largest codes, weighted by their effect on the loss.

    The weighted code is ``z_i (1 + beta |w_i . g| / s)``.

    ``w_i . g`` is what the model's loss changes by a unit of feature i, so ``z_i |w_i . g|`` is, to first order, what
    its removal changes. The score only chooses: the code is z_i. Without gradients it is plain TopK, which is how an
    encoder that was trained with them is used where no loss is at hand.

    Parameters
    ----------
    k : int
        Active features a token.
    beta : float
        Weight of the effect; 0 is plain TopK, ``inf`` chooses by effect alone.
    select : {"product", "abs_effect"}
        The score above, or ``z_i |w_i . g|`` alone.
    grad_norm : {"token", "batch"} or None
        What s is: the mean of ``|w_i . g|`` over the features for that token, so that every token weighs gradients
        equally; a running mean over batches; or 1.
    clip_quantile : float
        With ``grad_norm="batch"``, effects count up to this quantile of theirs.
    signed : bool
        Count only features whose presence lowers the loss.

    Attributes
    ----------
    scale : Tensor
        Running mean s of ``grad_norm="batch"``; may be set.

    Raises
    ------
    ArgumentError
        For ``beta < 0``.

    References
    ----------
    Olmo et al., "Features that Make a Difference: Leveraging Gradients for Improved Dictionary Learning", Findings of
    NAACL 2025.
    """

    name = "gradient"
    batch_free = True

    def __init__(
        self,
        k: int,
        beta: float = 0.3,
        *,
        select: str = "product",
        grad_norm: str | None = "token",
        clip_quantile: float = 0.999,
        signed: bool = False,
    ) -> None:
        super().__init__(k)
        if not (isinstance(beta, (int, float)) and beta >= 0):
            raise ArgumentError(f"beta={beta!r}: expected a number >= 0, or inf")
        self.beta = float(beta)
        self.by = check_choice("select", select, ("product", "abs_effect"))
        self.grad_norm = check_choice("grad_norm", grad_norm, ("token", "batch", None))
        self.clip_quantile = check_float("clip_quantile", clip_quantile, low=0, high=1, closed="right")
        self.signed = bool(signed)
        self.register_buffer("scale", torch.zeros((), dtype=torch.float64))

    scale: torch.Tensor

    def select(
        self, z: torch.Tensor, grads: torch.Tensor | None = None, W_dec: torch.Tensor | None = None
    ) -> SparseCodes:
        """The k features of each token with the best score.

        Parameters
        ----------
        z : Tensor, shape (N, F)
            Pre-activations.
        grads : Tensor, shape (N, d), optional
            Of the loss with respect to the activations; without them the choice is by z alone.
        W_dec : Tensor, shape (F, d)
            The decoder, one row of norm 1 a feature.

        Returns
        -------
        SparseCodes
            Features with a score of 0 are never taken. Tokens whose gradient is zero are taken by z.
        """
        z = check_pre(z)
        if grads is None or (self.beta == 0 and self.by == "product"):
            return top_per_token(z, self.k)
        if W_dec is None:
            raise ArgumentError("W_dec: expected the decoder beside grads")
        self._check(z, grads, W_dec)
        with torch.no_grad():
            return codes_of(self._kept(z, grads.to(W_dec), W_dec.detach()), z)

    def _kept(self, z: torch.Tensor, grads: torch.Tensor, W_dec: torch.Tensor) -> topk.Kept:
        alone = self.by == "abs_effect" or math.isinf(self.beta)
        base, weight = (0.0, 1.0) if alone else (1.0, self.beta)
        scale, clip = 0.0, math.inf
        if self.grad_norm is None:
            scale = 1.0
        elif self.grad_norm == "batch":
            scale, clip = self._running(grads, W_dec)
        # a block of tokens at a time: neither effects nor scores of the whole batch are stored
        values, turned, parts = host(z), W_dec.T.contiguous(), []
        for first in range(0, len(values), _TOKENS):
            effects = host(grads[first : first + _TOKENS] @ turned).astype(values.dtype, copy=False)
            parts.append(
                topk.scored(
                    values[first : first + _TOKENS], effects, self.k, base=base, weight=weight, scale=scale,
                    clip=clip, against=self.signed,
                )
            )  # fmt: skip
        return _joined(parts)

    def _running(self, grads: torch.Tensor, W_dec: torch.Tensor) -> tuple[float, float]:
        """Scale and bound of the effects of a batch; a batch in training moves the scale."""
        effects = (grads @ W_dec.T).abs()
        mean = effects.mean().double().cpu()
        if self.training or not float(self.scale):
            self.scale = mean if not float(self.scale) else torch.lerp(mean, self.scale, _DECAY)
        at = max(0, math.ceil(self.clip_quantile * effects.numel()) - 1)
        clip = float(effects.flatten().kthvalue(at + 1).values)
        scale = float(self.scale)
        return (scale, clip) if scale > 0 else (-1.0, math.inf)

    def _check(self, z: torch.Tensor, grads: torch.Tensor, W_dec: torch.Tensor) -> None:
        if not grads.is_floating_point():
            raise TypeError(f"grads is {grads.dtype}: expected real numbers")
        if W_dec.ndim != 2 or len(W_dec) != z.shape[1]:
            raise ShapeError(f"W_dec has shape {tuple(W_dec.shape)}: expected ({z.shape[1]}, d)")
        if grads.shape != (z.shape[0], W_dec.shape[1]):
            raise ShapeError(f"grads has shape {tuple(grads.shape)}: expected {(z.shape[0], W_dec.shape[1])}")
        bad = ~grads.isfinite().all(dim=1)
        if bool(bad.any()):
            raise ArgumentError(f"grads has NaN or infinite entries, first in row {int(bad.nonzero()[0])}")

    def select_alone(self, z: torch.Tensor) -> SparseCodes:
        """Plain TopK."""
        return top_per_token(z, self.k)

    def settings(self) -> dict[str, Any]:
        """What builds it again."""
        return {
            **super().settings(), "beta": self.beta, "select": self.by, "grad_norm": self.grad_norm,
            "clip_quantile": self.clip_quantile, "signed": self.signed,
        }  # fmt: skip


def _joined(parts: list[topk.Kept]) -> topk.Kept:
    import numpy as np

    offsets = np.cumsum([0, *(len(part.where) for part in parts)])
    start = np.concatenate([[0], *(part.start[1:] + offset for part, offset in zip(parts, offsets))])
    return topk.Kept(
        start, np.concatenate([part.where for part in parts]), np.concatenate([part.value for part in parts])
    )
