"""Metal clusters from molecular dynamics with the effective medium theory of ASE: real forces, made in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require
from gossamer._core.random import RandomState, check_random_state
from gossamer.science.forcefield.structures import Structure

NUMBERS = {
    "Al": 13,
    "Ni": 28,
    "Cu": 29,
    "Pd": 46,
    "Ag": 47,
    "Pt": 78,
    "Au": 79,
}  # what the theory has parameters for


def emt_clusters(
    count: int,
    temperature: float = 600.0,
    elements: Sequence[str] = ("Al", "Cu", "Au"),
    atoms: tuple[int, int] = (13, 20),
    interval: int = 50,
    frames: int = 20,
    random_state: RandomState = None,
) -> list[Structure]:
    """Draw structures from Langevin trajectories of clusters of random composition.

    A trajectory begins with the atoms of an fcc lattice that are nearest to a random point, heats up for
    ``4 * interval`` steps of 1 fs, and gives a structure every ``interval`` steps. Needs ASE.

    Parameters
    ----------
    count : int
        Structures.
    temperature : float
        In K.
    elements : sequence of str
        Some of Al, Ni, Cu, Pd, Ag, Pt, Au.
    atoms : (int, int)
        Smallest and largest cluster.
    interval, frames : int
        Steps between structures, and structures of one trajectory.
    random_state : int or Generator
        Source of compositions, centres and noise.

    Returns
    -------
    list of Structure

    Raises
    ------
    MissingDependencyError
        Without ASE.
    """
    rng = check_random_state(random_state)
    check_int("count", count, low=0)
    check_float("temperature", temperature, low=0)
    strange = [name for name in elements if name not in NUMBERS]
    if strange or not len(elements):
        raise ArgumentError(f"elements={list(elements)}: expected some of {', '.join(NUMBERS)}")
    langevin, units = require("ase.md.langevin", "bench"), require("ase.units", "bench")
    fs, calculator = units.fs, require("ase.calculators.emt", "bench").EMT
    found: list[Structure] = []
    while len(found) < count:
        cluster = _cluster(rng, elements, int(rng.integers(atoms[0], atoms[1] + 1)))
        cluster.calc = calculator()
        spread = np.sqrt(cluster.get_masses() * units.kB * temperature)
        cluster.set_momenta(spread[:, None] * rng.standard_normal((len(cluster), 3)))
        dynamics = langevin.Langevin(
            cluster, fs, temperature_K=temperature, friction=0.02 / fs, fixcm=False, rng=_Legacy(rng)
        )
        dynamics.run(4 * interval)
        for _ in range(min(frames, count - len(found))):
            dynamics.run(interval)
            found.append(
                Structure(
                    np.array(cluster.numbers),
                    cluster.positions.copy(),
                    float(cluster.get_potential_energy()),
                    cluster.get_forces().copy(),
                )
            )
    return found


def _cluster(rng: np.random.Generator, elements: Sequence[str], size: int) -> Any:
    Atoms = require("ase", "bench").Atoms
    corners = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sites = np.concatenate(
        [corners + shift for shift in ([0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0])]
    )
    nearest = np.argsort(np.linalg.norm(sites - rng.random(3), axis=1))[:size]
    return Atoms(
        [elements[i] for i in rng.integers(len(elements), size=size)], positions=4.0 * sites[nearest]
    )


class _Legacy:
    """The two methods that ASE calls of NumPy's older generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def standard_normal(self, size: Any) -> np.ndarray:
        return self._rng.standard_normal(size)

    def normal(self, *args: Any, **options: Any) -> Any:
        return self._rng.normal(*args, **options)
