"""What a compensation is: low-rank adapters by layer, and how much each repairs."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer._core.errors import UnsupportedError
from gossamer._core.results import Result
from gossamer.compress.compensate.pair import Pair
from gossamer.engine.artifact import Artifact
from gossamer.linalg import LowRank, LowRankMatrix, StructuredMatrix, WeightedLowRank

if TYPE_CHECKING:
    from gossamer.compress.compensate.eora import EoRAConfig


@dataclass(frozen=True)
class CompensationRow:
    r"""One layer of a report.

    Attributes
    ----------
    module : str
    shape : (int, int)
    rank : int
    total, residual : float
        :math:`\|\Delta W C^{1/2}\|_F` before and after, on the calibration tokens.
    held_out_total, held_out_residual : float or None
        The same on windows that were set aside.
    nbytes : int
        Of the adapter.
    tokens : int
        Over which the second moment is a mean.
    seconds : float
        For the fit of the layer, statistics left out.
    """

    module: str
    shape: tuple[int, int]
    rank: int
    total: float
    residual: float
    held_out_total: float | None
    held_out_residual: float | None
    nbytes: int
    tokens: int
    seconds: float

    @property
    def recovered(self) -> float:
        """Fraction of the squared output error that the adapter takes away."""
        return 1 - (self.residual / self.total) ** 2 if self.total > 0 else 0.0


@dataclass(frozen=True, kw_only=True, repr=False)
class CompensationResult(Result):
    """Adapters for a compressed model.

    Attributes
    ----------
    adapters : dict of str to WeightedLowRank
        By layer; layers of rank 0 are absent.
    report : tuple of CompensationRow
    config : EoRAConfig
    pair : Pair
        The base model and the compressed one.
    ids, mask : ndarray
        The calibration tokens, which :func:`quantize_compensation` walks once more.
    """

    adapters: dict[str, WeightedLowRank]
    report: tuple[CompensationRow, ...]
    config: EoRAConfig
    pair: Pair = field(repr=False)
    ids: np.ndarray = field(repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of all adapters."""
        return sum(row.nbytes for row in self.report)

    @property
    def overhead_bits(self) -> float:
        """Bits that the adapters add to each weight of the linear layers."""
        weights = sum(int(np.prod(self.pair.source.weight(path).shape)) for path in self.pair.paths)
        return 8 * self.nbytes / weights

    def matrices(self) -> dict[str, StructuredMatrix]:
        """Every linear layer as compressed matrix plus adapter, in formats that the engine runs."""
        found = {}
        for path in self.pair.paths:
            matrix = self.pair.matrix(path)
            adapter = self.adapters.get(path)
            found[path] = matrix if adapter is None else matrix + stored(adapter, self.config.dtype)
        return found

    @property
    def model(self) -> Any:
        """A copy of the base module whose linear layers are :class:`LowRankCompensation` (frozen weights shared)."""
        return build_model(self.pair, self.adapters)

    def to_artifact(self) -> Artifact:
        """The compressed artifact with the adapters in it.

        Raises
        ------
        UnsupportedError
            If the compressed model was not an artifact.
        """
        if self.pair.artifact is None:
            raise UnsupportedError("to_artifact: expected a compressed model that was given as an artifact")
        matrices = {**self.pair.artifact.matrices, **self.matrices()}
        metadata = {**self.pair.artifact.metadata, "compensation": asdict(self.config)}
        return replace(self.pair.artifact, matrices=matrices, metadata=metadata)

    def save_peft(self, path: str | os.PathLike[str]) -> None:
        """Write the adapters as a LoRA directory that ``peft`` loads; see :func:`gossamer.compress.save_peft`."""
        from gossamer.compress.export.peft import save_peft

        save_peft(path, self.adapters, kind=self.pair.source.kind, base=self.pair.source.name)

    def to_dict(self) -> dict[str, Any]:
        """Settings, report and history as plain values; not the adapters."""
        return {
            "success": self.success,
            "message": self.message,
            "history": {key: list(values) for key, values in self.history.items()},
            "config": asdict(self.config),
            "report": [{**asdict(row), "shape": list(row.shape)} for row in self.report],
        }

    def __repr__(self) -> str:
        return (
            f"CompensationResult({len(self.adapters)} adapters, method={self.config.method!r}, "
            f"{self.overhead_bits:.3g} bits a weight)"
        )


def stored(adapter: WeightedLowRank, dtype: str) -> StructuredMatrix:
    """An adapter as a structured matrix whose floats are of ``dtype``."""
    if adapter.stored is not None:
        return adapter.stored
    family = LowRank(max(adapter.rank, 1), None if dtype == "float32" else dtype)
    factors = {"left": family._store(adapter.B, np.dtype(np.float32))}
    factors["right"] = family._store(adapter.A, np.dtype(np.float32))
    return LowRankMatrix(family, (adapter.B.shape[0], adapter.A.shape[1]), factors)


def build_model(pair: Pair, adapters: dict[str, WeightedLowRank]) -> Any:
    """A module whose linear layers are ``W_c + B A``; everything else is shared with the base."""
    import torch

    from gossamer.compress.compensate.layer import LowRankCompensation

    source = pair.source
    shared: dict[int, Any] = {id(p): p for p in source.module.parameters()}
    shared |= {id(b): b for b in source.module.buffers()}
    module = copy.deepcopy(source.module, shared)
    for path in pair.paths:
        parent, _, name = path.rpartition(".")
        holder = module.get_submodule(parent) if parent else module
        linear = getattr(holder, name)
        adapter = adapters.get(path)
        shape = tuple(linear.weight.shape)
        B = adapter.B if adapter is not None else np.zeros((shape[0], 0), np.float32)
        A = adapter.A if adapter is not None else np.zeros((0, shape[1]), np.float32)
        setattr(holder, name, LowRankCompensation(pair.matrix(path), B, A, linear.bias))
    for path, dense in pair.embeddings().items():
        layer = module.get_submodule(path)
        weight = torch.nn.Parameter(torch.from_numpy(dense.copy()), requires_grad=False)
        tied = [m for m in module.modules() if getattr(m, "weight", None) is layer.weight]
        for part in tied:
            part.weight = weight
    return module
