"""What a compression run returns, and what it tells while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from gossamer._core.results import Result


@dataclass(frozen=True)
class LayerRow:
    """What became of one linear layer."""

    module: str
    """Path of the layer, such as ``model.layers.0.mlp.up_proj``."""
    structure: str
    """The family that it was fitted to, in words."""
    kind: str
    """The family's kind, or ``"keep"``."""
    shape: tuple[int, int]
    """Rows and columns."""
    nbytes: int
    """Bytes of its factors."""
    bits_per_weight: float
    """Stored bits an entry, all overhead counted."""
    error: float
    """Relative output error ``tr(E H E^T) / tr(W H W^T)`` on the calibration text (0 is exact), as the layer was fitted
    or trained in its block: end-to-end training, which aims at the next token instead, comes later."""
    sparsity: float
    """Fraction of entries that are zero."""


@dataclass(frozen=True)
class CurvePoint:
    """One recipe on the trade-off curve."""

    name: str
    """The recipe."""
    nbytes: int
    """Bytes of the whole model: linear layers, embedding, head, norms."""
    bits_per_weight: float
    """Bits a weight of the linear layers (embedding and head not counted), all overhead included."""
    perplexity: float
    """On the windows that the result names."""
    relative: float
    """``perplexity`` divided by that of the base model on the same windows."""


@dataclass(frozen=True)
class Sample:
    """The same prompt answered by the original and by the compressed model."""

    prompt: str
    base: str
    compressed: str


@dataclass(frozen=True)
class Progress:
    """Where a long computation stands."""

    stage: str
    """What is being done: ``"statistics"``, ``"sensitivity"``, ``"allocate"``, ``"compress"`` ..."""
    done: int
    """Finished steps."""
    total: int
    """All steps of this stage."""
    seconds: float
    """Seconds since this stage began."""
    detail: str = ""
    """What the last step was about, such as a layer's path."""

    @property
    def left(self) -> float | None:
        """Estimated seconds that this stage still takes; None before the first step is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None


@dataclass(frozen=True, kw_only=True, repr=False)
class CompressResult(Result):
    """A finished compression.

    Attributes
    ----------
    path : str
        The artifact directory.
    model, recipe : str
        Names of what went in and of the recipe that was used.
    kind : {"llama", "bert", "module"}
    layers : tuple of LayerRow
        One row a linear layer, in order; the embedding or head, where compressed, comes last.
    base_perplexity, perplexity : float or None
        Before and after, on the same ``windows`` windows of ``window`` tokens of ``evaluated_on``; None where
        nothing was evaluated.
    base_nbytes : int
        Bytes of the model's parameters as float32.
    source_nbytes : int
        Bytes of the file or files that the model came from (0 where there are none).
    nbytes : int
        Bytes of the artifact's tensors.
    parameters : int
        Parameters of the model, tied ones counted once.
    bits_per_weight : float
        Stored bits a weight of the linear layers, all overhead counted (head and embedding excluded).
    seconds : float
        Wall-clock time of the run, ``stages`` its parts.
    peak_memory, base_memory : int
        Peak resident bytes of the process during the run, and resident bytes just before it.
    curve : tuple of CurvePoint
        The trade-off curve, if one was asked for.
    samples : tuple of Sample
        Prompts answered by both models, if asked for.
    allocation : dict
        For budgets: the target, the predicted and the measured loss, the evaluations on the way.
    facts : dict
        What else describes the run: hashes, calibration windows, seed, licence, machine, versions.
    """

    path: str
    model: str
    recipe: str
    kind: str = "llama"
    layers: tuple[LayerRow, ...] = ()
    base_perplexity: float | None = None
    perplexity: float | None = None
    window: int = 0
    windows: int = 0
    evaluated_on: str = ""
    base_nbytes: int = 0
    source_nbytes: int = 0
    nbytes: int = 0
    parameters: int = 0
    bits_per_weight: float = 0.0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    base_memory: int = 0
    curve: tuple[CurvePoint, ...] = ()
    samples: tuple[Sample, ...] = ()
    allocation: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def relative_perplexity(self) -> float | None:
        """``perplexity / base_perplexity``."""
        if self.perplexity is None or not self.base_perplexity:
            return None
        return self.perplexity / self.base_perplexity

    def report(self, path: str | os.PathLike[str]) -> str:
        """Write the report as one self-contained HTML file and return its path."""
        from gossamer.compress.report import write_report

        return str(write_report(self, path))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CompressResult:
        """Read back what :meth:`to_dict` gave."""
        parts = {"layers": LayerRow, "curve": CurvePoint, "samples": Sample}
        fields = dict(values)
        for name, part in parts.items():
            rows = [
                {**row, "shape": tuple(row["shape"])} if "shape" in row else row
                for row in fields.get(name, ())
            ]
            fields[name] = tuple(part(**row) for row in rows)
        return cls(**fields)
