"""Gradual pruning: prune, train, prune further, train."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.sparsify.masks import hold_masks
from gossamer.sparsify.report import PruneReport


@dataclass(frozen=True)
class GradualRecipe:
    """Rising sparsities with training between them, masks held after every optimiser step.

    Attributes
    ----------
    sparsities : tuple of float
        Rising targets, each met by one call of the pruner.
    epochs : int
        Training epochs after each.
    lr_drop : float
        Factor on the learning rate in the last epoch before the next prune; it is put back afterwards.
    """

    sparsities: tuple[float, ...] = (0.5, 0.75, 0.875)
    epochs: int = 10
    lr_drop: float = 0.1

    def __post_init__(self) -> None:
        steps = [check_float("sparsities", s, low=0, high=1, closed="left") for s in self.sparsities]
        if not steps or steps != sorted(steps):
            raise ArgumentError(f"sparsities={self.sparsities!r}: expected at least one, rising")
        object.__setattr__(self, "sparsities", tuple(steps))
        check_int("epochs", self.epochs, low=0)
        check_float("lr_drop", self.lr_drop, low=0)

    @classmethod
    def load(cls, path: str | Path) -> GradualRecipe:
        """Read a TOML file with the attributes as keys."""
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise FormatError(f"{path}: unknown keys {sorted(unknown)}")
        return cls(**data)

    def run(self, pruner: Any, optimizer: Any, train_epoch: Callable[[], Any]) -> list[PruneReport]:
        """Carry it out on ``pruner`` (an object with ``params`` and ``prune(sparsity)``).

        ``train_epoch()`` trains the pruner's model for one epoch with ``optimizer``, whose steps never wake a
        pruned weight. Returns a report for each sparsity.
        """
        reports = []
        for sparsity in self.sparsities:
            report = pruner.prune(sparsity)
            reports.append(report)
            handle = hold_masks(optimizer, pruner.params, report.masks)
            rates = [group["lr"] for group in optimizer.param_groups]
            for epoch in range(self.epochs):
                if epoch == self.epochs - 1:
                    for group in optimizer.param_groups:
                        group["lr"] *= self.lr_drop
                train_epoch()
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate
            handle.remove()
        return reports
