"""Force fields of Al-Cu-Au clusters: Gaunt against Clebsch-Gordan many-body products in one model.

Data: effective medium theory (ASE), clusters of 13 to 20 atoms, Langevin dynamics of 1 fs at 600 K, a structure every
25 steps; test structures from other trajectories at 600 K and at 900 K. Both models: 16 channels, 2 interactions,
correlation 3, the same seed, order, schedule and number of epochs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from benchmarks.gaunt_peers import CGManyBody
from benchmarks.harness import Claim

ELEMENTS, CHANNELS = (13, 29, 79), 16
PAPER = "3BPA: MACE with Gaunt many-body products matches MACE at a fraction of the time of the operation"


@lru_cache(maxsize=1)
def _data(train: int, test: int) -> tuple[list[Any], list[Any], list[Any]]:
    from gossamer.science import emt_clusters

    def draw(count: int, temperature: float, seed: int) -> list[Any]:
        return emt_clusters(count, temperature, interval=25, frames=20, random_state=seed)

    return draw(train, 600.0, 0), draw(test, 600.0, 1), draw(test, 900.0, 2)


def _model(train: list[Any], L: int, seed: int, many_body: Any = None) -> Any:
    from gossamer.science import GauntMACE, atomic_energies

    torch.manual_seed(seed)
    forces = np.concatenate([s.forces for s in train])
    return GauntMACE(
        ELEMENTS,
        CHANNELS,
        max_ell=L,
        hidden_degree=min(L, 2),
        energies=atomic_energies(train, ELEMENTS),
        scale=float(np.sqrt((forces**2).mean())),
        many_body=many_body,
    )


def _trained(L: int, epochs: int, data: Any, many_body: Any = None, seed: int = 0) -> dict[str, float]:
    from gossamer.science import force_field_errors, train_force_field

    torch.set_num_threads(2)
    train, test, hot = data
    model = _model(train, L, seed, many_body)
    start = time.perf_counter()
    result = train_force_field(model, train, test, epochs=epochs, batch_size=5, random_state=seed)
    return {
        "force": result.force_mae,
        "energy": result.energy_mae,
        "hot": force_field_errors(model, hot)["force"],
        "epoch": result.seconds_per_epoch,
        "seconds": time.perf_counter() - start,
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }


def quality_claims(full: bool) -> Iterator[Claim]:
    """Accuracy and time at equal epochs."""
    data, epochs = _data(300, 300) if full else _data(60, 60), 100 if full else 12
    gaunt, cg = _trained(2, epochs, data), _trained(2, epochs, data, CGManyBody)
    note = (
        f"{len(data[0])} training structures, {epochs} epochs, one seed; parameters {gaunt['parameters']:.0f} and "
        f"{cg['parameters']:.0f}; energy {gaunt['energy']:.1f} and {cg['energy']:.1f} meV an atom"
    )
    peer = "the same model with e3nn many-body products"
    yield Claim(
        "Force error of GauntMACE, L=2, at equal epochs",
        "<= 1.05x",
        gaunt["force"],
        "meV/Å",
        cg["force"],
        peer,
        paper=PAPER,
        note=note,
    )
    yield Claim(
        "Force error at 900 K after training at 600 K",
        "<= 1.1x",
        gaunt["hot"],
        "meV/Å",
        cg["hot"],
        peer,
        note=note,
    )
    yield Claim(
        "Epochs of GauntMACE, L=2",
        ">= 2x",
        1 / gaunt["epoch"],
        "epochs/s",
        1 / cg["epoch"],
        peer,
        note="median of the epochs; only the many-body product differs",
    )


def budget_claims(full: bool) -> Iterator[Claim]:
    """A higher degree in the same time."""
    data, epochs = _data(300, 300) if full else _data(60, 40), 60 if full else 5
    cg = _trained(2, epochs, data, CGManyBody)
    probe = _trained(3, 1, data)
    possible = max(1, int(cg["epoch"] * epochs / probe["epoch"]))
    gaunt = _trained(3, possible, data)
    yield Claim(
        "Force error of GauntMACE with L=3 in the time of Clebsch-Gordan products with L=2",
        "< 1x",
        gaunt["force"],
        "meV/Å",
        cg["force"],
        f"e3nn many-body products, L=2, {epochs} epochs",
        note=f"{possible} epochs of {gaunt['epoch']:.2f} s against {epochs} of {cg['epoch']:.2f} s; one seed",
    )
