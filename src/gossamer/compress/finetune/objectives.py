"""What the end-to-end stage minimises: surprise at the next token, or distance from the original's embeddings."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from gossamer._core.errors import UnsupportedError
from gossamer.compress.finetune.settings import Training
from gossamer.compress.models.source import SourceModel

_LOGITS = 1 << 25
"""Logits that are held at a time, and as many gradients."""


class Objective(Protocol):
    """A loss of windows of tokens under whatever weights the model has at the moment."""

    label: str
    needs_teacher: bool
    """Whether :meth:`loss` wants what the original model gives for the same windows."""

    def few(self, length: int) -> int:
        """Windows of ``length`` tokens that a pass may hold."""

    def outputs(self, ids: np.ndarray) -> torch.Tensor:
        """What the model gives for windows (count, length)."""

    def loss(self, outputs: torch.Tensor, ids: np.ndarray, teacher: torch.Tensor | None) -> torch.Tensor:
        """The mean loss, a scalar."""


class NextToken:
    """``text`` times the mean cross-entropy of the next token, plus ``distil`` times the divergence of predictions.

    The divergence is that of Kullback and Leibler from the original model's predictions, in nats a token.
    """

    def __init__(self, source: SourceModel, text: float = 1.0, distil: float = 0.0) -> None:
        self._source, self._text, self._distil = source, text, distil
        self._vocabulary = int(source.config["vocab_size"])
        self.needs_teacher = distil > 0
        self.label = "cross-entropy" if text else "divergence"

    def few(self, length: int) -> int:
        return max(1, _LOGITS // (length * self._vocabulary))

    def outputs(self, ids: np.ndarray) -> torch.Tensor:
        logits: torch.Tensor = self._source.module(input_ids=_tokens(ids), use_cache=False).logits
        return logits[:, :-1]

    def loss(self, outputs: torch.Tensor, ids: np.ndarray, teacher: torch.Tensor | None) -> torch.Tensor:
        logits = outputs.float().flatten(0, 1)
        value = logits.new_zeros(())
        if self._text:
            value = self._text * torch.nn.functional.cross_entropy(logits, _tokens(ids)[:, 1:].flatten())
        if teacher is not None:
            aim = teacher.float().flatten(0, 1).log_softmax(-1)
            ours = logits.log_softmax(-1)
            divergence = torch.nn.functional.kl_div(ours, aim, log_target=True, reduction="batchmean")
            value = value + self._distil * divergence
        return value


class SameEmbeddings:
    r"""Squared distance from the original encoder's hidden states, relative to their size, and of its embeddings.

    With hidden states ``h`` of a window and their mean over tokens, scaled to unit length, :math:`e`:
    :math:`\|h - h_0\|^2 / \|h_0\|^2 + \|e - e_0\|^2`.
    """

    label = "distance"
    needs_teacher = True

    def __init__(self, source: SourceModel) -> None:
        self._source = source

    def few(self, length: int) -> int:
        return max(1, (1 << 13) // length)

    def outputs(self, ids: np.ndarray) -> torch.Tensor:
        states: torch.Tensor = self._source.module(input_ids=_tokens(ids)).last_hidden_state
        return states

    def loss(self, outputs: torch.Tensor, ids: np.ndarray, teacher: torch.Tensor | None) -> torch.Tensor:
        assert teacher is not None
        ours, aim = outputs.float(), teacher.float()
        near = (ours - aim).square().sum((1, 2)) / aim.square().sum((1, 2))
        return (near + (_embedding(ours) - _embedding(aim)).square().sum(1)).mean()


def objective(source: SourceModel, settings: Training) -> NextToken | SameEmbeddings:
    """The objective of a model's kind."""
    if source.kind == "llama":
        return (
            NextToken(source, 0.0, 1.0)
            if settings.aim == "model"
            else NextToken(source, 1.0, settings.distil)
        )
    if source.kind == "bert":
        return SameEmbeddings(source)
    raise UnsupportedError(
        f"{source.name}: stage 'e2e-oqp' needs a decoder or an encoder, whose aim is known"
    )


def _tokens(ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(ids))


def _embedding(states: torch.Tensor) -> Any:
    return torch.nn.functional.normalize(states.mean(1), dim=-1)
