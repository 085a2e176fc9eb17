"""Pictures whose factors are known: what is drawn is what the factors say."""

import colorsys

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.datasets import factor_images
from gossamer.datasets.shape_images import FACTORS, RANGES, draw


def coverage(factors):
    """The share of each pixel that the shape covers: red on black."""
    return (draw(factors)[:, 0] + 1) / 2


def test_factors_are_uniform_and_independent():
    data = factor_images(20_000, 0)
    assert data.images.dtype == data.factors.dtype == np.float32
    assert abs(data.images).max() <= 1
    low, high = np.array([RANGES[name] for name in FACTORS]).T
    assert (data.factors >= low).all()
    assert (data.factors <= high).all()
    correlation = np.corrcoef(data.factors.T)
    assert abs(correlation - np.eye(6)).max() < 0.03
    np.testing.assert_allclose(np.bincount(data.factors[:, 0].astype(int)) / 20_000, 1 / 3, atol=0.02)


@pytest.mark.parametrize(("shape", "area"), [(0, 4.0), (1, np.pi), (2, 2.0)])
def test_a_shape_has_the_area_and_the_place_that_the_factors_say(shape, area):
    for size in (4.0, 6.5, 9.0):
        cover = coverage([[shape, 15.3, 16.8, size, 0.0, 0.0]])[0]
        assert cover.sum() == pytest.approx(area * size**2, rel=0.05)
        middle = (cover.sum(axis=0) @ (np.arange(32) + 0.5)) / cover.sum()
        assert middle == pytest.approx(15.3, abs=0.05)
        if shape < 2:
            assert (cover.sum(axis=1) @ (np.arange(32) + 0.5)) / cover.sum() == pytest.approx(16.8, abs=0.05)


@pytest.mark.parametrize("hue", [0.0, 0.1, 0.4, 0.55, 0.83])
def test_colour_and_ground_are_right(hue):
    image = (draw([[1, 16, 16, 8, hue, 0.3]])[0] + 1) / 2
    np.testing.assert_allclose(image[:, 16, 16], colorsys.hsv_to_rgb(hue, 1, 1), atol=1e-6)
    np.testing.assert_allclose(image[:, 0, 0], 0.3, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_bad_counts_are_refused():
    first, second = factor_images(50, 3), factor_images(50, 3)
    assert (first.images == second.images).all()
    assert len(first) == 50
    with pytest.raises(ArgumentError, match="n=0"):
        factor_images(0)
