"""Small pictures of one shape each, whose every property is known: data for the study of disentanglement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.random import RandomState, check_random_state

SHAPES = ("square", "disc", "triangle")
"""Values of the factor ``shape``."""

FACTORS = ("shape", "x", "y", "size", "hue", "background")
"""Columns of :attr:`FactorImages.factors`."""

RANGES = {
    "shape": (0, 2),
    "x": (6.0, 26.0),
    "y": (6.0, 26.0),
    "size": (4.0, 10.0),
    "hue": (0.0, 1.0),
    "background": (0.0, 0.5),
}
"""Where each factor lies; all are uniform and independent. Lengths are pixels, ``size`` is half a width."""


@dataclass(frozen=True)
class FactorImages:
    """Pictures with the factors that made them.

    Attributes
    ----------
    images : ndarray of float32, shape (n, 3, 32, 32)
        Red, green and blue in [-1, 1].
    factors : ndarray of float32, shape (n, 6)
        Columns in the order of :data:`FACTORS`; ``shape`` holds the index into :data:`SHAPES`.
    """

    images: np.ndarray
    factors: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def factor_images(n: int = 20_000, random_state: RandomState = 0) -> FactorImages:
    """Draw pictures of 32 x 32 pixels with one shape on a grey ground, all factors uniform and independent.

    Parameters
    ----------
    n : int
        Pictures.
    random_state : int or Generator
        Source of the factors.

    Returns
    -------
    FactorImages

    Examples
    --------
    >>> from gossamer.datasets import factor_images
    >>> factor_images(5).images.shape
    (5, 3, 32, 32)
    """
    rng = check_random_state(random_state)
    count = check_int("n", n, low=1)
    low, high = np.array(list(RANGES.values())).T
    factors = rng.uniform(low, high, (count, len(FACTORS)))
    factors[:, 0] = rng.integers(0, len(SHAPES), count)
    return FactorImages(draw(factors), factors.astype(np.float32))


def draw(factors: np.ndarray) -> np.ndarray:
    """Draw the pictures of given factors, anti-aliased: a pixel is covered by what its distance to the edge says.

    Parameters
    ----------
    factors : array, shape (n, 6)
        Columns in the order of :data:`FACTORS`.

    Returns
    -------
    ndarray of float32, shape (n, 3, 32, 32)
        In [-1, 1].

    Examples
    --------
    >>> from gossamer.datasets.shape_images import draw
    >>> image = draw([[1, 16, 16, 8, 0, 0.25]])[0]  # a red disc in the middle
    >>> image[:, 16, 16], image[:, 0, 0]
    (array([ 1., -1., -1.], dtype=float32), array([-0.5, -0.5, -0.5], dtype=float32))
    """
    values = np.asarray(factors, np.float32)
    pieces = [_draw(values[at : at + 1000]) for at in range(0, len(values), 1000)]
    return np.concatenate(pieces)


def _draw(values: np.ndarray) -> np.ndarray:
    kind, x, y, size, hue, ground = (column[:, None, None] for column in values.T)
    pixels = np.arange(32, dtype=np.float32) + 0.5
    right, down = pixels[None, None, :] - x, pixels[None, :, None] - y
    square = np.maximum(abs(right), abs(down)) - size
    disc = np.hypot(right, down) - size
    # an isosceles triangle, as wide and as high as the square; its sides fall by two for each step aside
    triangle = np.maximum((2 * abs(right) - down - size) / np.float32(np.sqrt(5)), down - size)
    distance = np.where(kind == 0, square, np.where(kind == 1, disc, triangle))
    cover = np.clip(0.5 - distance, 0, 1)[:, None]
    phase = (hue + np.array([0, 2 / 3, 1 / 3], np.float32)[:, None]) % 1
    colour = np.clip(abs(6 * phase - 3) - 1, 0, 1)  # (n, 3, 1): saturated, around the wheel
    image = cover * colour[..., None] + (1 - cover) * ground[:, None]
    return np.asarray(2 * image - 1, np.float32)
