"""The largest logit of every vocabulary entry over the tokens of a text, without the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_BLOCK = 1024


class TokenMaximum(torch.autograd.Function):
    """``out[i, j] = max over tokens t of text i of (hidden_t . weight_j + bias_j)``.

    Rows of the head are taken in blocks, so that (tokens, 1024) logits exist at once, of one text. The gradient flows
    through the first token that has the maximum; it is found again, for the entries whose gradient is not 0, which are
    few behind a relu.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, lengths: Sequence[int], weight: Any, bias: Any) -> Any:
        """Take the maximum over runs of ``lengths`` rows of ``hidden`` (sum of lengths, h)."""
        out = hidden.new_empty(len(lengths), weight.shape[0])
        for row, part in zip(out, hidden.split(lengths)):
            for low in range(0, weight.shape[0], _BLOCK):
                torch.amax(part @ weight[low : low + _BLOCK].T, 0, out=row[low : low + _BLOCK])
        if bias is not None:
            out += bias
        ctx.save_for_backward(hidden, weight)
        ctx.lengths = lengths
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Scatter the gradient to the tokens that had the maximum."""
        hidden, weight = ctx.saved_tensors
        to_hidden, to_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        for part, target, row in zip(hidden.split(ctx.lengths), to_hidden.split(ctx.lengths), grad):
            entry = row.nonzero()[:, 0]
            chosen, value = weight[entry], row[entry][:, None]
            token = (part @ chosen.T).argmax(0)
            target.index_add_(0, token, value * chosen)
            to_weight.index_add_(0, entry, value * part[token])
        return to_hidden, None, to_weight, grad.sum(0) if ctx.needs_input_grad[3] else None


def token_maximum(hidden: Any, lengths: Sequence[int], weight: Any, bias: Any = None) -> Any:
    """Apply :class:`TokenMaximum` to runs of ``lengths`` rows of ``hidden``; (texts, V)."""
    return TokenMaximum.apply(hidden, list(lengths), weight, bias)
