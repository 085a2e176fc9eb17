"""What the training stages may be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, unknown_choice

STAGES = ("bqpo", "e2e-oqp")
INITS = ("auto", "mask", "obs")
AIMS = ("text", "model")


@dataclass(frozen=True)
class Training:
    """Settings of the two training stages; a recipe's ``[training]`` table.

    Parameters
    ----------
    init : {"auto", "mask", "obs"}
        Where block training begins: masked and rounded weights, weights that have replied to what was lost, or
        for each matrix whichever has the lower output error on windows that were not used for the second moments.
    epochs : int
        Passes of block training over the calibration windows.
    batch : int
        Windows a step.
    weight_rates : tuple of float
        Learning rates of the weights. With several, the first block is trained with each; the one of the lowest
        validation loss serves all blocks.
    scale_rate, zero_rate : float
        Learning rates of scales, and of zeros, which count in codes: a code is about a scale's size, hence the
        larger figure.
    loss : {"mse", "relative"}
        Squared error of a block's output, or the same divided by the mean square of the token's target, so that
        tokens with huge activations do not drown the others.
    clip : float
        Largest norm of the gradient; it is scaled down to it.
    tune_steps, tune_batch, tune_windows : int
        Steps of the end-to-end stage, windows a step, and windows of the calibration text that it draws from.
    tune_scale_rate, tune_zero_rate : float
        Its learning rates.
    aim : {"text", "model"}
        What the end-to-end stage of a decoder learns: the next token of the text, or what the original model
        predicts there. The first wins more on text of the kind that it is trained on, and loses more elsewhere.
    train_zero : bool
        Whether it trains zeros at all.
    export_zero : {"keep", "int", "float"}
        How asymmetric grids store zeros afterwards: as the family says, rounded to codes, or as ``s z`` in
        float16. Where they are rounded, the last fifth of the steps trains scales only.
    distil : float
        With ``aim="text"``, weight of the Kullback-Leibler divergence from the original model's predictions, which
        is added to the loss.
    save_every : int
        Steps between checkpoints of the end-to-end stage.
    precision : {"auto", "float32", "bfloat16"}
        Of the products in training; ``"auto"`` is bfloat16 where the processor multiplies it natively. Weights,
        scales, sums and every judgement stay float32.
    max_cache_bytes : int
        Above it the inputs and targets of a block are memory-mapped files instead of arrays.
    """

    init: str = "auto"
    epochs: int = 2
    batch: int = 4
    weight_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    scale_rate: float = 1e-3
    zero_rate: float = 1e-2
    loss: str = "mse"
    clip: float = 0.3
    tune_steps: int = 32
    tune_batch: int = 8
    tune_windows: int = 256
    tune_scale_rate: float = 3e-4
    tune_zero_rate: float = 1e-2
    aim: str = "text"
    train_zero: bool = True
    export_zero: str = "keep"
    distil: float = 0.0
    save_every: int = 8
    precision: str = "auto"
    max_cache_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        check_choice("init", self.init, INITS)
        check_choice("loss", self.loss, ("mse", "relative"))
        check_choice("aim", self.aim, AIMS)
        check_choice("export_zero", self.export_zero, ("keep", "int", "float"))
        check_choice("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_choice("train_zero", self.train_zero, (True, False))
        for name in ("epochs", "tune_steps", "max_cache_bytes"):
            check_int(name, getattr(self, name), low=0)
        for name in ("batch", "tune_batch", "tune_windows", "save_every"):
            check_int(name, getattr(self, name), low=1)
        for name in ("scale_rate", "zero_rate", "tune_scale_rate", "tune_zero_rate", "distil"):
            check_float(name, getattr(self, name), low=0)
        check_float("clip", self.clip, low=0, closed="neither")
        if isinstance(self.weight_rates, (int, float)) or not self.weight_rates:
            raise ArgumentError(
                f"weight_rates={self.weight_rates!r}: expected one learning rate or more, in a list"
            )
        rates = tuple(check_float("weight_rates", rate, low=0) for rate in self.weight_rates)
        object.__setattr__(self, "weight_rates", rates)

    @property
    def low_precision(self) -> bool:
        """Whether products in training are bfloat16 on this machine."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        import torch

        return bool(torch.cpu._is_avx512_bf16_supported())


def check_stages(stages: Any) -> tuple[str, ...]:
    """The stages as a tuple in the order in which they run."""
    if isinstance(stages, str) or not isinstance(stages, Sequence):
        raise ArgumentError(f'stages={stages!r}: expected a list such as ["bqpo", "e2e-oqp"]')
    for stage in stages:
        if stage not in STAGES:
            raise unknown_choice("stage", stage, STAGES)
    if list(stages) != [stage for stage in STAGES if stage in stages]:
        raise ArgumentError(
            f"stages={list(stages)!r}: expected each at most once, in the order {list(STAGES)}"
        )
    return tuple(stages)
