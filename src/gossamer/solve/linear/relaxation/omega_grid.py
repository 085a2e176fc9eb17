"""The finite set of relaxation parameters that a learner chooses from."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError


class OmegaGrid:
    """Relaxation parameters to choose from, in ascending order.

    Parameters
    ----------
    values : array, shape (d,), optional
        Ascending, inside (0, 2); 20 equidistant ones from 1 to 1.95 by default.

    Attributes
    ----------
    values : ndarray of float64, shape (d,)

    Raises
    ------
    ArgumentError
        If the values do not ascend inside (0, 2), or there are none.

    Examples
    --------
    >>> from gossamer.solve import OmegaGrid
    >>> grid = OmegaGrid.spaced(1.0, 1.9, 10)
    >>> len(grid), grid.nearest(1.72)
    (10, 7)
    """

    def __init__(self, values: Any = None) -> None:
        if isinstance(values, OmegaGrid):
            self.values: np.ndarray = values.values
            return
        array = np.linspace(1, 1.95, 20) if values is None else check_array("grid", values, ndim=1)
        self.values = np.array(array, np.float64)
        self.values.flags.writeable = False
        inside = len(self.values) and self.values[0] > 0 and self.values[-1] < 2
        if not inside or (np.diff(self.values) <= 0).any():
            raise ArgumentError(f"grid={self.values.tolist()}: expected ascending values inside (0, 2)")

    @classmethod
    def spaced(cls, low: float, high: float, size: int) -> OmegaGrid:
        """``size`` equidistant values from ``low`` to ``high``."""
        return cls(np.linspace(low, high, check_int("size", size, low=1)))

    def nearest(self, omega: float) -> int:
        """Position of the value that is nearest to ``omega``."""
        return int(np.abs(self.values - omega).argmin())

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"OmegaGrid({len(self)} values from {self.values[0]:g} to {self.values[-1]:g})"
