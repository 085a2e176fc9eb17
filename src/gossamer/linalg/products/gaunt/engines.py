"""Gaunt products by the engine of one's choice, or by the one that measures fastest."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError
from gossamer._kernels.gaunt import MAX_FACTORS, Operand
from gossamer.linalg.products.gaunt.dense import dense_product
from gossamer.linalg.products.gaunt.factors import Degrees, operands
from gossamer.linalg.products.gaunt.fourier import fourier_product
from gossamer.linalg.products.gaunt.grids import grid_program
from gossamer.linalg.transforms.spherical.harmonics import check_coefficients, check_degree

Engine = Callable[[list[Operand], Degrees, int, int | None], np.ndarray]

MAX_GRID_DEGREE = 3 * 64
DENSE_UP_TO = (
    6  # L1 + L2 + L3; beyond it the grid takes fewer operations than the table, and need not be timed
)
HYSTERESIS = 1.25
PROBE = 4096


def _on_grid(grid: str) -> Engine:
    def product(rows: list[Operand], degrees: Degrees, count: int, threads: int | None) -> np.ndarray:
        return grid_program(grid, degrees, rows[0].data.dtype.name).run(rows, degrees.powers, count, threads)

    return product


ENGINES: dict[str, Engine] = {
    "fourier": fourier_product,
    "torus-grid": _on_grid("torus"),
    "sphere-grid": _on_grid("sphere"),
    "dense": dense_product,
}


@dataclass(frozen=True)
class GauntPlan:
    """Which engine ``"auto"`` runs for some degrees, and what was measured.

    Attributes
    ----------
    engine : str
        The choice.
    seconds : dict of str to float
        Seconds a product of two functions on one core, of every engine.
    """

    engine: str
    seconds: dict[str, float]


def multiply(
    arrays: Sequence[np.ndarray], degrees: Degrees, engine: str = "auto", threads: int | None = None
) -> np.ndarray:
    """Coefficients of the product of powers of functions, all float32 or all float64, cut to ``degrees.out``.

    Leading axes broadcast. Nothing is checked but what the kernels check; :func:`check_product` does that.
    """
    rows, batch = operands(arrays)
    count = int(np.prod(batch))
    if engine == "auto":
        engine = plan(degrees, arrays[0].dtype.name).engine
    # beyond its degree a product is zero
    top = min(degrees.out, degrees.whole)
    out = ENGINES[engine](rows, Degrees(degrees.factors, degrees.powers, top), count, threads)
    if len(out) != count:
        out = np.broadcast_to(out, (count, out.shape[1]))
    if top < degrees.out:
        out = np.pad(out, ((0, 0), (0, (degrees.out + 1) ** 2 - out.shape[1])))
    return np.ascontiguousarray(out).reshape(*batch, (degrees.out + 1) ** 2)


def check_product(names: Sequence[str], arrays: Sequence, degrees: Degrees, engine: str) -> None:
    """Refuse what no engine can multiply, in the words of its caller; warn where the result is padded with zeros."""
    check_choice("engine", engine, ["auto", *ENGINES])
    for name, array, L, power in zip(names, arrays, degrees.factors, degrees.powers):
        check_degree(f"degree of {name}", L)
        check_coefficients(name, array, L)
        check_int(f"power of {name}", power, low=1, high=MAX_FACTORS)
    check_degree("L3", degrees.out)
    if degrees.whole > MAX_GRID_DEGREE:
        raise ArgumentError(f"the product has degree {degrees.whole}: expected at most {MAX_GRID_DEGREE}")
    if degrees.out > degrees.whole:
        warnings.warn(
            f"L3={degrees.out} is more than the degree {degrees.whole} of the product: the rest is zero",
            stacklevel=3,
        )


@lru_cache(maxsize=512)
def plan(degrees: Degrees, dtype: str, every: bool = False) -> GauntPlan:
    """Time the engines that could win, or every one, on 4096 products; the sphere grid runs if none is clearly faster.

    Without that preference two runs of a program could choose differently and round differently.
    """
    small = degrees.bilinear and degrees.whole + degrees.out <= DENSE_UP_TO
    candidates = ["sphere-grid", *(["dense"] if small else [])]
    seconds = {
        name: _measured(degrees, dtype, name) for name in (ENGINES if every else candidates if small else ())
    }
    fastest = min(candidates, key=lambda name: seconds[name]) if small else "sphere-grid"
    clearly = small and seconds[fastest] * HYSTERESIS < seconds["sphere-grid"]
    return GauntPlan(fastest if clearly else "sphere-grid", seconds)


def _measured(degrees: Degrees, dtype: str, name: str) -> float:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((PROBE, (L + 1) ** 2)).astype(dtype) for L in degrees.factors]
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        multiply(arrays, degrees, name, threads=1)
        taken.append(time.perf_counter() - start)
    return min(taken) / PROBE
