"""What a report shows, as plain values: every number stands beside the way it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gossamer.plots.tradeoff import TradeoffPoint


@dataclass(frozen=True)
class Bar:
    """One measured value and what it was measured on, such as ``Bar("base model, float32", 31.2)``."""

    label: str
    value: float


@dataclass(frozen=True)
class Figure:
    """A quantity before and after.

    Attributes
    ----------
    name, unit : str
        ``"decode"``, ``"tokens/s"``.
    better : {"less", "more"}
        Which direction is an improvement.
    before : tuple of Bar
        References; the first is the one that ratios are taken against. May be empty.
    after : Bar
        The compressed model.
    how : str
        How it was measured, in a sentence or two.
    """

    name: str
    unit: str
    better: Literal["less", "more"]
    before: tuple[Bar, ...]
    after: Bar
    how: str

    @property
    def ratio(self) -> float | None:
        """``after / first before``, or None without a usable reference."""
        return self.after.value / self.before[0].value if self.before and self.before[0].value else None


@dataclass(frozen=True)
class Layer:
    """One matrix of the compressed model.

    Attributes
    ----------
    module : str
        Its path.
    structure : str
        Its family, as text.
    shape : tuple of int
    bits : float
        Stored bits a weight, all overhead counted.
    sparsity : float
        Share of entries that are exactly zero.
    error : float
        Relative error of its output on calibration inputs; NaN if not measured.
    """

    module: str
    structure: str
    shape: tuple[int, int]
    bits: float
    sparsity: float
    error: float


@dataclass(frozen=True)
class Answer:
    """The same prompt continued by both models."""

    prompt: str
    original: str
    compressed: str


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that the page shows; an empty part is left out of the page.

    Attributes
    ----------
    model, headline : str
        The name of the model and one sentence that sums the report up.
    figures : tuple of Figure
        Shown as cards, in this order.
    curve : tuple of TradeoffPoint
        The trade-off curve; ``budget`` is the allowed relative perplexity, ``curve_how`` how it was measured.
    layers : tuple of Layer
        In the order of the model; ``layers_how`` says what their figures mean.
    answers : tuple of Answer
        ``answers_how`` says by which engine and with which settings.
    machine : mapping of str to str
        What ran where: processor, instruction set, threads, versions, date.
    recipe, command : str
        The recipe's TOML and the command that repeats the whole.
    notes : tuple of str
        What a reader must know in order not to be misled.
    """

    model: str
    headline: str
    figures: tuple[Figure, ...] = ()
    curve: tuple[TradeoffPoint, ...] = ()
    budget: float | None = None
    curve_how: str = ""
    layers: tuple[Layer, ...] = ()
    layers_how: str = ""
    answers: tuple[Answer, ...] = ()
    answers_how: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
