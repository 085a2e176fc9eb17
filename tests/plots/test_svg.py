"""SVG drawings are well-formed, escaped and to scale."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.plots import Grid, TradeoffPoint, bars_svg, grid_by_block, heatmap_svg, tradeoff_svg
from gossamer.plots.svg import nice_ticks, number

POINTS = [
    TradeoffPoint("8 bits", 118, 1.0, series="q"),
    TradeoffPoint("4 bits & more", 68, 1.05, chosen=True, series="q"),
    TradeoffPoint("<half>", 48, 3e4),
    TradeoffPoint("broken", 47, math.inf),
]


def circles(svg):
    return list(ET.fromstring(svg).iter("circle"))


def test_every_finite_point_is_a_dot_and_the_rest_is_named():
    svg = tradeoff_svg(POINTS, budget=1.1)
    assert len(circles(svg)) == 3
    assert "not finite: broken" in svg


def test_worse_is_higher_and_larger_is_further_right():
    place = {
        c.find("title").text.split(":")[0]: (float(c.get("cx")), float(c.get("cy")))
        for c in circles(tradeoff_svg(POINTS))
    }
    assert place["<half>"][0] < place["4 bits & more"][0] < place["8 bits"][0]
    assert place["<half>"][1] < place["4 bits & more"][1] < place["8 bits"][1]


@given(
    st.lists(st.tuples(st.floats(0.1, 1e5), st.floats(0.5, 1e12)), max_size=12),
    st.none() | st.floats(1.0, 10.0),
    st.sampled_from([320.0, 760.0]),
)
def test_any_points_stay_inside_the_drawing(values, budget, width):
    svg = tradeoff_svg([TradeoffPoint(f"p{i}", *v) for i, v in enumerate(values)], budget=budget, width=width)
    for circle in circles(svg):
        assert 0 <= float(circle.get("cx")) <= width
        assert 0 <= float(circle.get("cy")) <= 400


def test_grid_is_arranged_by_the_first_number_of_the_path():
    grid = grid_by_block({"m.layers.1.a.q": 2.0, "m.layers.0.a.q": 1.0, "m.layers.10.b": 3.0, "embed": 9.0})
    assert grid.blocks == ("0", "1", "10")
    assert grid.matrices == ("a.q", "b")
    np.testing.assert_array_equal(grid.values, [[1, math.nan], [2, math.nan], [math.nan, 3]])


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("log", [False, True])
def test_stronger_cells_hold_larger_values(tall, log):
    grid = Grid(("0", "1"), ("q", "k<"), np.array([[0.1, 1.0], [10.0, math.nan]]))
    root = ET.fromstring(heatmap_svg(grid, "errors & more", log=log, tall=tall))
    cells = {
        c.find("title").text: float(c.get("fill-opacity"))
        for c in root.iter("rect")
        if c.find("title") is not None
    }
    assert len(cells) == 3
    assert sorted(cells, key=cells.get) == ["block 0, q: 0.100", "block 0, k<: 1.00", "block 1, q: 10.0"]


def test_equal_values_have_one_shade():
    svg = heatmap_svg(Grid(("0",), ("a", "b"), np.ones((1, 2))), "t", "bits", log=True)
    assert "1.00 bits everywhere" in svg


def test_bars_are_proportional():
    root = ET.fromstring(bars_svg("t", [("a", 4.0, "4", False), ("b", 1.0, "1", True)], width=200.0))
    widths = [float(r.get("width")) for r in root.iter("rect") if "bar" in r.get("class")]
    assert widths == [200.0, 50.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (19.891, "19.9"),
        (0.00412, "0.00412"),
        (31250, "31\u202f250"),
        (6.02e23, "6.0 × 10²³"),
        (math.inf, "∞"),
    ],
)
def test_numbers_for_people(value, text):
    assert number(value) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_inside_and_are_few(low, span):
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * (abs(low) + span)
    assert len(ticks) <= 7
    assert all(low - slack <= t <= low + span + slack for t in ticks)
