"""Grids against the definition in python loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linalg.random_layers import round_group

from gossamer._core.errors import ArgumentError
from gossamer.linalg.nearest.quantizer import Grid, check_group, from_groups, scale_floor, to_groups

GRIDS = [
    Grid(bits, symmetric, zero)
    for bits in (2, 3, 4, 8)
    for symmetric, zero in ((True, "int"), (False, "int"), (False, "float"))
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("shift", [-2.0, 0.0, 2.0])
def test_a_group_lies_on_the_grid_of_the_definition(grid, shift):
    w = (np.random.default_rng(0).standard_normal((5, 16)) + shift).astype(np.float32)
    scale, zero = grid.fit(w)
    codes = grid.encode(w, scale, zero)
    values = grid.decode(codes, scale, zero)
    for i, row in enumerate(w.astype(np.float64)):
        s, z, q, v = round_group(row, grid.bits, grid.symmetric, grid.zero)
        assert float(scale[i]) == s
        assert zero is None or float(zero[i]) == z
        np.testing.assert_array_equal(codes[i], q)
        np.testing.assert_allclose(values[i], v, rtol=1e-6)
    assert (scale.dtype, codes.dtype, values.dtype) == (np.float16, np.uint8, np.float32)


@given(st.sampled_from(GRIDS), st.integers(0, 1000), st.floats(1e-4, 1e4), st.floats(-3, 3))
def test_no_entry_is_further_than_half_a_step_and_what_the_float16_ends_cost(grid, seed, size, shift):
    w = (size * (np.random.default_rng(seed).standard_normal((3, 8)) + shift)).astype(np.float32)
    scale, zero = grid.fit(w, scale_floor(w))
    step = scale.astype(np.float64)[:, None]
    # rounding z moves the range by half a step, float16 by 2^-11 of it
    slack = (0.5 + (0.5 if grid.zero == "int" and not grid.symmetric else 0)) * step
    slack = slack + 2.0**-10 * np.abs(w).max(axis=1, keepdims=True) * 2
    wrong = np.abs(grid.decode(grid.encode(w, scale, zero), scale, zero) - w.astype(np.float64))
    assert (wrong <= slack).all()


@pytest.mark.parametrize("grid", [g for g in GRIDS if g.zero == "int"], ids=str)
def test_zero_is_on_the_grid_and_codes_survive_their_values(grid):
    w = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    scale, zero = grid.fit(w)
    assert (grid.decode(grid.of_zero(scale, zero)[..., None], scale, zero) == 0).all()
    codes = grid.encode(w, scale, zero)
    np.testing.assert_array_equal(grid.encode(grid.decode(codes, scale, zero), scale, zero), codes)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-7, 1e-5, 1e-3])
def test_small_and_zero_weights_have_positive_scales_and_no_warning(grid, size):
    w = (size * np.random.default_rng(0).standard_normal((4, 8))).astype(np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        scale, zero = grid.fit(w, scale_floor(w))
        values = grid.decode(grid.encode(w, scale, zero), scale, zero)
    assert (scale > 0).all()
    assert np.abs(values).max() <= 2 * np.abs(w).max() + 2.0**-24 * 2**grid.bits


def test_subnormal_scales_are_rounded_up_lest_they_clip():
    w = np.array([[-7 * 3.4e-7, 7 * 3.4e-7]], np.float32)
    grid = Grid(4, symmetric=True)
    scale, _ = grid.fit(w)
    assert float(scale[0]) >= 3.4e-7


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_searched_ranges_are_never_worse_than_the_full_one(grid):
    w = np.random.default_rng(0).standard_t(3, (40, 32)).astype(np.float32)
    weight = np.random.default_rng(1).random(32).astype(np.float32)
    full, searched = (Grid(grid.bits, grid.symmetric, grid.zero, clip) for clip in ("minmax", "mse"))
    for importance in (None, weight):

        def loss(g, importance=importance):
            s, z = g.fit(w, 0, importance)
            wrong = (w - g.decode(g.encode(w, s, z), s, z)).astype(np.float64) ** 2
            return (wrong if importance is None else wrong * importance).sum(axis=1)

        assert (loss(searched) <= loss(full) * (1 + 1e-6)).all()
        if grid.bits == 2:
            assert loss(searched).sum() < 0.9 * loss(full).sum()


def test_ranges_are_searched_where_entries_differ_in_importance():
    w = np.random.default_rng(0).standard_t(3, (40, 32)).astype(np.float32)
    weight = np.random.default_rng(1).random(32).astype(np.float32)
    for importance, clip in ((None, "minmax"), (weight, "mse")):
        scale, zero = Grid(4).fit(w, 0, importance)
        expected = Grid(4, clip=clip).fit(w, 0, importance)
        np.testing.assert_array_equal(scale, expected[0])
        np.testing.assert_array_equal(zero, expected[1])


@pytest.mark.parametrize("grid", [Grid(4), Grid(4, zero="float"), Grid(4, symmetric=True)], ids=str)
def test_weights_beyond_float16_scales_are_refused(grid):
    with pytest.raises(ArgumentError, match="too large for float16"):
        grid.fit(np.array([[-3e6, 3e6]], np.float32))


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 17))
def test_groups_pad_and_unpad(rows, width, group):
    W = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    groups = to_groups(W, group)
    assert groups.shape == (rows, -(-width // group), group)
    np.testing.assert_array_equal(from_groups(groups, width), W)


def test_parameters_are_checked():
    with pytest.raises(ArgumentError, match="bits=5"):
        Grid(5)
    with pytest.raises(ArgumentError, match=r"zero='flaot'.*did you mean 'float'"):
        Grid(4, zero="flaot")
    with pytest.raises(ArgumentError, match="clip"):
        Grid(4, clip="mmse")
    with pytest.raises(ArgumentError, match="group"):
        check_group(-1, 8)
    assert check_group(0, 8) == 8
