"""Residual blocks around a state-space layer, and a classifier of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ShapeError, unknown_choice
from gossamer.nn.ssm.diagonal import S4D, S4PTD
from gossamer.nn.ssm.dplr import S4
from gossamer.nn.ssm.layer import SSMLayer
from gossamer.nn.ssm.multi_input import S5, S5PTD

LAYERS: dict[str, type[Any]] = {"s4": S4, "s4d": S4D, "s4-ptd": S4PTD, "s5": S5, "s5-ptd": S5PTD}
GATES = ("half_glu", "glu", "none")


class SSMBlock(torch.nn.Module):
    r"""A state-space layer with a norm, GELU, a gate, dropout and a residual connection.

    With ``h = gelu(layer(norm(u)))``: "half_glu" is :math:`u + h \odot \sigma(W h)`, "glu" :math:`u + W_1 h \odot
    \sigma(W_2 h)`, "none" :math:`u + h`.

    Parameters
    ----------
    layer : SSMLayer
        The layer.
    gate : {"half_glu", "glu", "none"}
        What follows it.
    dropout : float
        Rate of both dropouts.
    prenorm : bool
        Norm before the layer, or after the sum.
    """

    def __init__(
        self, layer: SSMLayer, gate: str = "half_glu", dropout: float = 0.0, prenorm: bool = True
    ) -> None:
        super().__init__()
        self.layer, self.prenorm = layer, bool(prenorm)
        self.gate = check_choice("gate", gate, GATES)
        self.norm = torch.nn.LayerNorm(layer.d_model)
        self.drop = torch.nn.Dropout(check_float("dropout", dropout, low=0, high=1, closed="left"))
        width = {"half_glu": 1, "glu": 2, "none": 0}[gate] * layer.d_model
        self.mix = torch.nn.Linear(layer.d_model, width) if width else None

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Sequences (B, L, d_model) in and out."""
        return self._around(u, self.layer(self.norm(u) if self.prenorm else u))

    def step(self, u: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """One step (B, d_model) of a sequence, and the state behind it."""
        y, state = self.layer.step(self.norm(u) if self.prenorm else u, state)
        return self._around(u, y), state

    def _around(self, u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.drop(torch.nn.functional.gelu(y))
        if self.gate == "half_glu" and self.mix is not None:
            h = h * torch.sigmoid(self.mix(h))
        elif self.mix is not None:
            h = torch.nn.functional.glu(self.mix(h), dim=-1)
        out = u + self.drop(h)
        return out if self.prenorm else self.norm(out)


class SequenceClassifier(torch.nn.Module):
    """A linear encoder, blocks of state-space layers, the mean over time, a linear decoder.

    Parameters
    ----------
    d_input : int
        Features of a step.
    classes : int
        Outputs.
    d_model : int
        Channels.
    n_layers : int
        Blocks.
    layer : {"s4", "s4d", "s4-ptd", "s5", "s5-ptd"}
        Which layer.
    gate, dropout, prenorm
        As for :class:`SSMBlock`.
    **options
        Of the layer, as ``d_state``, ``init``, ``rel``.

    Raises
    ------
    ArgumentError
        The layer is not known.

    Examples
    --------
    >>> import torch
    >>> net = SequenceClassifier(1, 10, d_model=16, layer="s4-ptd", d_state=16)
    >>> net(torch.zeros(3, 64, 1)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        d_input: int,
        classes: int,
        d_model: int = 32,
        n_layers: int = 2,
        layer: str = "s4-ptd",
        *,
        gate: str = "half_glu",
        dropout: float = 0.0,
        prenorm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        if layer not in LAYERS:
            raise unknown_choice("layer", layer, LAYERS)
        self.encoder = torch.nn.Linear(check_int("d_input", d_input, low=1), d_model)
        self.blocks = torch.nn.ModuleList(
            SSMBlock(LAYERS[layer](d_model, **options), gate, dropout, prenorm)
            for _ in range(check_int("n_layers", n_layers, low=1))
        )
        self.norm = torch.nn.LayerNorm(d_model) if prenorm else torch.nn.Identity()
        self.decoder = torch.nn.Linear(d_model, check_int("classes", classes, low=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sequences (B, L, d_input) to scores (B, classes)."""
        if x.ndim != 3 or x.shape[-1] != self.encoder.in_features:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected (B, L, {self.encoder.in_features})")
        h = self.encoder(x)
        for block in self.blocks:
            h = block(h)
        return self.decoder(self.norm(h).mean(dim=1))

    def stream(self, steps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The same scores from steps (B, d_input) that come one by one, with a state of fixed size."""
        states: list[Any] = [None] * len(self.blocks)
        total: Any = 0.0
        for x in steps:
            h = self.encoder(x)
            for i, block in enumerate(self.blocks):
                h, states[i] = block.step(h, states[i])  # type: ignore[operator]
            total = total + self.norm(h)
        return self.decoder(total / len(steps))


__all__ = ["SSMBlock", "SequenceClassifier"]
