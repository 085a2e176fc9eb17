"""Structures of atoms, and batches of them as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Structure:
    """Atoms with open boundaries, and what is known of their energy.

    Attributes
    ----------
    numbers : ndarray of int, shape (n,)
        Atomic numbers.
    positions : ndarray, shape (n, 3)
        In Å.
    energy : float
        In eV; NaN if unknown.
    forces : ndarray, shape (n, 3)
        In eV/Å; zeros if unknown.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energy: float = float("nan")
    forces: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def __post_init__(self) -> None:
        n = len(self.numbers)
        if self.positions.shape != (n, 3):
            raise ShapeError(f"positions has shape {self.positions.shape}: expected ({n}, 3)")
        if not self.forces.size:
            object.__setattr__(self, "forces", np.zeros((n, 3)))
        if self.forces.shape != (n, 3):
            raise ShapeError(f"forces has shape {self.forces.shape}: expected ({n}, 3)")


@dataclass(frozen=True)
class AtomBatch:
    """Several structures as one graph of pairs within the cutoff.

    Attributes
    ----------
    positions : tensor, shape (atoms, 3)
        All atoms.
    onehot : tensor, shape (atoms, elements)
        Their elements.
    senders, receivers : tensor of int64, shape (edges,)
        Each pair within the cutoff, in both directions.
    graph : tensor of int64, shape (atoms,)
        To which structure an atom belongs.
    sizes : tensor, shape (structures,)
        Numbers of atoms.
    energy : tensor, shape (structures,)
        Targets.
    forces : tensor, shape (atoms, 3)
        Targets.
    """

    positions: torch.Tensor
    onehot: torch.Tensor
    senders: torch.Tensor
    receivers: torch.Tensor
    graph: torch.Tensor
    sizes: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor


def neighbour_pairs(positions: np.ndarray, r_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs of atoms closer than the cutoff; two atoms at one place are an error."""
    pairs = cKDTree(positions).query_pairs(r_max, output_type="ndarray")
    gaps = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    if (gaps == 0).any():
        i, j = pairs[int(np.argmin(gaps))]
        raise ArgumentError(f"atoms {i} and {j} are at one place")
    return np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])


def batch_structures(
    structures: Sequence[Structure], elements: Sequence[int], r_max: float, dtype: Any = torch.float32
) -> AtomBatch:
    """Join structures into one graph.

    Parameters
    ----------
    structures : sequence of Structure
        At least one.
    elements : sequence of int
        Atomic numbers in the order of the columns of ``onehot``.
    r_max : float
        The cutoff in Å.
    dtype : torch.dtype
        Of positions and targets.

    Raises
    ------
    ArgumentError
        If there are no structures, an element is not among those listed, or two atoms are at one place.
    """
    check_float("r_max", r_max, low=0, closed="neither")
    if not structures:
        raise ArgumentError("structures is empty: expected at least one")
    numbers = np.concatenate([s.numbers for s in structures])
    known = np.asarray(elements)
    strange = sorted(set(numbers.tolist()) - set(known.tolist()))
    if strange:
        raise ArgumentError(f"structures hold the elements {strange}: expected some of {known.tolist()}")
    sizes = [len(s.numbers) for s in structures]
    starts = np.cumsum([0, *sizes[:-1]])
    pairs = [neighbour_pairs(s.positions, r_max) for s in structures]

    def real(array: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, np.float64)).to(dtype)

    return AtomBatch(
        positions=real(np.concatenate([s.positions for s in structures])),
        onehot=real(numbers[:, None] == known),
        senders=torch.from_numpy(
            np.concatenate([i + start for (i, _), start in zip(pairs, starts)]).astype(np.int64)
        ),
        receivers=torch.from_numpy(
            np.concatenate([j + start for (_, j), start in zip(pairs, starts)]).astype(np.int64)
        ),
        graph=torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
        sizes=real(sizes),
        energy=real([s.energy for s in structures]),
        forces=real(np.concatenate([s.forces for s in structures])),
    )
