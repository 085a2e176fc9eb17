"""Maps of unmixing show every share, and refuse what does not fit."""

import numpy as np
import pytest

from gossamer._core.errors import ShapeError
from gossamer.plots import draw_unmixing

pytest.importorskip("matplotlib")


def test_maps_are_drawn_and_must_fit():
    A, M = np.full((5, 6, 3), 1 / 3), np.ones((3, 7))
    figure = draw_unmixing(A, M, guidance=A[:, :, 0], wavelengths=np.arange(7) / 10, weights=np.ones(7))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["share 1", "share 2", "share 3", "guidance"]
    for arguments, options in (
        ((A, M[:2]), {}),
        ((A[0], M), {}),
        ((A, M), {"guidance": A}),
        ((A, M), {"weights": [1]}),
    ):
        with pytest.raises(ShapeError):
            draw_unmixing(*arguments, **options)
