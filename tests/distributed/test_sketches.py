"""Chunks of rows give what the whole matrix gives."""

import numpy as np
import pytest

from gossamer import distributed
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer.linalg import OSNAP, SRHT, GaussianSketch
from gossamer.solve import sketched_lstsq

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")


@pytest.mark.parametrize("draw", [SRHT, OSNAP, GaussianSketch])
def test_products_are_those_in_memory(draw):
    A = np.random.default_rng(0).normal(size=(2000, 6))
    S = draw(2000, 100, seed=0)
    lazy = distributed.sketch_rows(S, da.from_array(A, chunks=(300, 4)))
    assert lazy.shape == (100, 6)
    np.testing.assert_allclose(lazy.compute(), S @ A, atol=1e-11)
    vector = distributed.sketch_rows(S, da.from_array(A[:, 0], chunks=512))
    np.testing.assert_allclose(vector.compute(), S @ A[:, 0], atol=1e-11)


@pytest.mark.parametrize("mode", ["sketch", "refine", "iterative"])
def test_solutions_are_those_in_memory(mode):
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(2000, 6)), rng.normal(size=2000)
    here = sketched_lstsq(A, b, mode=mode, random_state=3)
    there = distributed.sketched_lstsq(
        da.from_array(A, chunks=(700, 6)), da.from_array(b, chunks=600), mode=mode, random_state=3
    )
    np.testing.assert_allclose(there.x, here.x, atol=1e-11)
    assert there.method == here.method
    np.testing.assert_allclose(there.residual_norm, here.residual_norm)
    # a refined solution is right to rounding, so its estimate is of rounding: only its size is the same
    np.testing.assert_allclose(there.linf_error_estimate, here.linf_error_estimate, rtol=1e-5, atol=1e-15)


def test_a_cluster_sketches_its_own_chunks(client):
    A = np.random.default_rng(0).normal(size=(1000, 3))
    S = SRHT(1000, 64, seed=1)
    np.testing.assert_allclose(
        distributed.sketch_rows(S, da.from_array(A, chunks=(250, 3))).compute(), S @ A, atol=1e-12
    )


def test_bad_input_is_named():
    A = da.ones((100, 3), chunks=(50, 3))
    with pytest.raises(UnsupportedError, match="expected a Dask array"):
        distributed.sketch_rows(SRHT(100, 10), np.ones((100, 3)))
    with pytest.raises(ShapeError, match="100 rows"):
        distributed.sketch_rows(SRHT(100, 10), A[:90])
    with pytest.raises(ShapeError, match="as many as A has"):
        distributed.sketched_lstsq(A, np.ones(99))
    with pytest.raises(UnsupportedError, match="leverage"):
        distributed.sketched_lstsq(A, np.ones(100), sketch="leverage")
    with pytest.raises(ValueError, match="NaN"):
        distributed.sketched_lstsq(A, np.full(100, np.nan))
