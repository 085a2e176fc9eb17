"""What a pruner returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gossamer._core.results import Result


@dataclass(frozen=True, kw_only=True, repr=False)
class PruneReport(Result):
    """Masks and updated weights of a pruned network.

    Attributes
    ----------
    sparsity : float
        Share of the prunable weights that are zero now.
    masks : dict of str to bool tensor
        True entries are kept.
    weights : dict of str to tensor
        The weights after pruning, zeros exact (copies).
    layer_sparsity : dict of str to float
        By parameter.
    predicted_increase : float
        What the quadratic model expected the loss to rise by, summed over the steps.
    seconds : float
        Wall time.
    """

    sparsity: float = 0.0
    masks: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    layer_sparsity: dict[str, float] = field(default_factory=dict)
    predicted_increase: float = 0.0
    seconds: float = 0.0
