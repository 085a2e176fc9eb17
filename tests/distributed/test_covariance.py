"""Chunks of a Dask array give the covariance of the whole."""

import numpy as np
import pytest

from gossamer import distributed
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer.solve import colide_ev

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")


def test_the_covariance_and_the_graph_are_those_in_memory():
    X = np.random.default_rng(0).normal(size=(700, 5)) @ np.triu(np.ones((5, 5))) + 100
    S = distributed.covariance(da.from_array(X, chunks=(60, 2)))
    np.testing.assert_allclose(S, np.cov(X.T, bias=True), rtol=1e-11)
    options = {"warm_iter": 100, "max_iter": 100}
    here, there = colide_ev(X, **options), colide_ev(S, is_cov=True, **options)
    np.testing.assert_allclose(here.W, there.W, atol=1e-9)
    with pytest.raises(UnsupportedError, match="ndarray"):
        distributed.covariance(X)
    with pytest.raises(ShapeError, match="rows and columns"):
        distributed.covariance(da.from_array(X[0], chunks=2))
