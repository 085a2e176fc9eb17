"""Fit a force field to energies and forces."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.science.forcefield.structures import AtomBatch, Structure, batch_structures


@dataclass(frozen=True, kw_only=True)
class ForceFieldResult(Result):
    """What :func:`train_force_field` returns; the model itself holds the averaged weights.

    Attributes
    ----------
    energy_mae : float
        Mean absolute error of the energy an atom, in meV, on the validation structures (training ones without them).
    force_mae : float
        Mean absolute error of a component of the forces, in meV/Å, on the same.
    seconds_per_epoch : float
        Median.
    """

    energy_mae: float = float("nan")
    force_mae: float = float("nan")
    seconds_per_epoch: float = float("nan")
    errors: dict[str, float] = field(default_factory=dict, repr=False)
    """The same errors by name."""


def atomic_energies(structures: Sequence[Structure], elements: Sequence[int]) -> list[float]:
    """Energies of the elements that explain the energies of the structures best, in least squares.

    Parameters
    ----------
    structures : sequence of Structure
        With energies.
    elements : sequence of int
        Atomic numbers.
    """
    counts = np.array([[np.sum(s.numbers == z) for z in elements] for s in structures], float)
    return np.linalg.lstsq(counts, np.array([s.energy for s in structures]), rcond=None)[0].tolist()


def force_field_errors(model: Any, structures: Sequence[Structure], batch_size: int = 32) -> dict[str, float]:
    """Mean absolute errors ``energy`` (meV an atom) and ``force`` (meV/Å a component) of a model.

    Parameters
    ----------
    model : GauntMACE
        The force field.
    structures : sequence of Structure
        With energies and forces.
    batch_size : int
        Structures at a time.
    """
    energy, force = [], []
    for batch in _batches(model, structures, batch_size):
        e, f = model.energy_and_forces(batch)
        energy.append((e - batch.energy).abs() / batch.sizes)
        force.append((f - batch.forces).abs().reshape(-1))
    return {"energy": 1e3 * float(torch.cat(energy).mean()), "force": 1e3 * float(torch.cat(force).mean())}


def train_force_field(
    model: Any,
    train: Sequence[Structure],
    validation: Sequence[Structure] = (),
    *,
    epochs: int = 100,
    batch_size: int = 5,
    learning_rate: float = 0.01,
    energy_weight: float = 1.0,
    force_weight: float = 1000.0,
    weight_decay: float = 5e-7,
    ema: float = 0.99,
    random_state: RandomState = 0,
) -> ForceFieldResult:
    r"""Fit a model to energies and forces by Adam (amsgrad) with a cosine schedule and averaged weights.

    .. math:: w_E \, \mathrm{mean} \left( \frac{\Delta E}{n} \right)^2 + w_F \, \mathrm{mean} \, (\Delta F)^2

    Parameters
    ----------
    model : GauntMACE
        Trained in place; it ends with the exponential average of its weights.
    train, validation : sequence of Structure
        With energies in eV and forces in eV/Å. Errors are reported on ``validation``, if there are any.
    epochs, batch_size : int
        Passes, and structures in a step.
    learning_rate : float
        At the start; it falls to zero.
    energy_weight, force_weight : float
        Of the loss.
    weight_decay : float
        Of Adam.
    ema : float
        Decay of the average over steps.
    random_state : int or Generator
        Order of the structures.

    Returns
    -------
    ForceFieldResult
        Errors, time an epoch, and the loss by epoch in ``history``.
    """
    check_int("epochs", epochs, low=1)
    check_float("ema", ema, low=0, high=1, closed="left")
    rng = check_random_state(random_state)
    parts = [batch_structures([s], model.elements, model.r_max, _dtype(model)) for s in train]
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, weight_decay=weight_decay, amsgrad=True)
    steps = -(-len(parts) // check_int("batch_size", batch_size, low=1)) * epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average, weights = copy.deepcopy(model), list(model.parameters())
    losses, seconds, taken = [], [], 0
    for _ in range(epochs):
        start, total = time.perf_counter(), 0.0
        order = rng.permutation(len(parts))
        for first in range(0, len(order), batch_size):
            batch = join_batches([parts[i] for i in order[first : first + batch_size]])
            optimizer.zero_grad(set_to_none=True)
            energy, forces = model.energy_and_forces(batch, train=True)
            loss = energy_weight * ((energy - batch.energy) / batch.sizes).square().mean()
            loss = loss + force_weight * (forces - batch.forces).square().mean()
            loss.backward(inputs=weights)  # the positions need no second derivative
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10 * force_weight**0.5)
            optimizer.step()
            schedule.step()
            taken += 1
            _blend(average, model, min(ema, taken / (taken + 10)))  # short memory at first
            total += float(loss.detach()) * len(batch.sizes)
        losses.append(total / len(parts))
        seconds.append(time.perf_counter() - start)
    model.load_state_dict(average.state_dict())
    errors = force_field_errors(model, validation or train)
    finite = bool(np.isfinite(losses[-1]))
    return ForceFieldResult(
        success=finite,
        message="all epochs done" if finite else "the loss is not finite",
        history={"loss": losses, "seconds": seconds},
        energy_mae=errors["energy"],
        force_mae=errors["force"],
        seconds_per_epoch=float(np.median(seconds)),
        errors=errors,
    )


def join_batches(parts: Sequence[AtomBatch]) -> AtomBatch:
    """Several batches as one."""
    atoms = np.cumsum([0, *(len(part.graph) for part in parts)]).tolist()
    graphs = np.cumsum([0, *(len(part.sizes) for part in parts)]).tolist()
    return AtomBatch(
        positions=torch.cat([part.positions for part in parts]),
        onehot=torch.cat([part.onehot for part in parts]),
        senders=torch.cat([part.senders + start for part, start in zip(parts, atoms)]),
        receivers=torch.cat([part.receivers + start for part, start in zip(parts, atoms)]),
        graph=torch.cat([part.graph + start for part, start in zip(parts, graphs)]),
        sizes=torch.cat([part.sizes for part in parts]),
        energy=torch.cat([part.energy for part in parts]),
        forces=torch.cat([part.forces for part in parts]),
    )


def _batches(model: Any, structures: Sequence[Structure], size: int) -> list[AtomBatch]:
    dtype = _dtype(model)
    return [
        batch_structures(structures[i : i + size], model.elements, model.r_max, dtype)
        for i in range(0, len(structures), size)
    ]


def _dtype(model: Any) -> torch.dtype:
    return next(model.parameters()).dtype


@torch.no_grad()
def _blend(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    for mean, new in zip(average.parameters(), model.parameters()):
        mean.lerp_(new, 1 - decay)
