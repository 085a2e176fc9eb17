"""``Result.plot`` finds the drawer of its class."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from gossamer._core.errors import UnsupportedError
from gossamer._core.results import Result
from gossamer.plots import draw, register

pytest.importorskip("matplotlib")


@dataclass(frozen=True, kw_only=True)
class InventedResult(Result):
    value: float = 1.0


class DerivedResult(InventedResult):
    pass


def test_history_becomes_one_panel_a_series():
    result = Result(history={"error": [1.0, 0.1, 0.001], "step": [1, 2, 3], "name": ["a", "b", "c"]})
    figure = result.plot()
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["error", "step"]
    assert figure.axes[0].get_yscale() == "log", "values over a factor of 1000 are drawn on a log axis"
    assert figure.axes[1].get_yscale() == "linear"


def test_registered_drawer_serves_derived_classes_and_gets_the_options(monkeypatch):
    monkeypatch.setattr("gossamer.plots.registry._DRAWERS", {})
    register("InventedResult", lambda result, scale=1: ("drawn", result.value * scale))
    assert draw(DerivedResult(value=3.0), scale=2) == ("drawn", 6.0)


def test_a_result_without_drawer_and_history_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="InventedResult"):
        InventedResult().plot()


def test_importing_plots_does_not_import_matplotlib():
    code = (
        "import sys, gossamer.plots.tradeoff, gossamer.plots.heatmap; sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
