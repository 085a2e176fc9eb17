"""Scenes: which cells of a grid are solid, fluid and air."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.science.fluids.poisson import AIR, SOLID, open_box

SCENES = ("plume", "ball", "blob", "moving", "water")


def fluid_scene(
    name: str, grid: Sequence[int], *, time: float = 0.0, random_state: RandomState = 0
) -> np.ndarray:
    """Return the mask of a test scene.

    Parameters
    ----------
    name : str
        ``"plume"``: an empty box with an open top. ``"ball"``: with a ball in the middle. ``"blob"``: with a random
        union of balls. ``"moving"``: with a ball that swings from side to side. ``"water"``: a waving surface half
        way up, air above it, and a ball under it.
    grid : tuple of int
        Cells along each of two or three axes; the first one points upwards.
    time : float
        For ``"moving"`` and ``"water"``: a period is 1.
    random_state : int or Generator
        Of ``"blob"``.

    Returns
    -------
    ndarray of int8, shape grid
        0 solid, 1 fluid, 2 air.

    Raises
    ------
    ArgumentError, ShapeError
        If there is no such scene, or the grid is not one.

    Examples
    --------
    >>> from gossamer.science import fluid_scene
    >>> (fluid_scene("ball", (32, 32)) == 0).sum()
    np.int64(80)
    """
    check_choice("name", name, SCENES)
    shape = tuple(check_int("grid", points, low=2) for points in grid)
    if len(shape) not in (2, 3):
        raise ShapeError(f"grid={grid!r}: expected two or three axes")
    phase = 2 * np.pi * check_float("time", time)
    mask, size = open_box(shape), float(min(shape))
    middle = (np.array(shape) - 1) / 2
    if name == "ball":
        mask[_ball(shape, middle, 0.16 * size)] = SOLID
    elif name == "moving":
        middle[1] += 0.25 * size * np.sin(phase)
        mask[_ball(shape, middle, 0.12 * size)] = SOLID
    elif name == "blob":
        rng = check_random_state(random_state)
        for _ in range(6):
            centre = middle + rng.uniform(-0.16, 0.16, len(shape)) * size
            mask[_ball(shape, centre, rng.uniform(0.05, 0.13) * size)] = SOLID
        mask[-1] = AIR
    elif name == "water":
        height, along = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
        surface = 0.55 * shape[0] * (1 + 0.15 * np.cos(2 * np.pi * along / shape[1] + phase))
        above = height > surface
        mask[above if len(shape) == 2 else np.broadcast_to(above[..., None], shape)] = AIR
        middle[0] *= 0.5
        mask[_ball(shape, middle, 0.12 * size)] = SOLID
    return mask


def _ball(grid: tuple[int, ...], centre: np.ndarray, radius: float) -> np.ndarray:
    places = np.meshgrid(*(np.arange(points) for points in grid), indexing="ij", sparse=True)
    squares = [(place - c) ** 2 for place, c in zip(places, centre)]
    return sum(squares[1:], squares[0]) <= radius**2
