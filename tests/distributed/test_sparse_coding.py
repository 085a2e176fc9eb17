"""Sparse coding of a Dask array is the one in memory."""

import numpy as np
import pytest

from gossamer._core.errors import ShapeError
from gossamer.learn import (
    AnnealingSchedule,
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
    bars,
)

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")

ALL = (
    BinarySparseCoding,
    TernarySparseCoding,
    DiscreteSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    GaussianSparseCoding,
)
SCHEDULE = AnnealingSchedule(
    4, T=[(0, 2.0), (2, 1.0)], truncation=1.0, W_noise=0.01, partial=[(0, 0.8), (2, 1.0)]
)


def data():
    W = bars.bars_dictionary(6) * 10
    return bars.bars_data(W, 330, prob=0.4, noise=1.0, combine="max", random_state=0)[0]


def same(there, here):
    np.testing.assert_allclose(there.components_, here.components_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(there.prior_, here.prior_, rtol=1e-8)
    np.testing.assert_allclose(there.noise_, here.noise_, rtol=1e-8)
    np.testing.assert_allclose(there.bound_, here.bound_, rtol=1e-10)
    assert there.n_used_ == here.n_used_ < 330


@pytest.mark.filterwarnings("ignore:X has negative", "ignore:components")
@pytest.mark.parametrize("kind", ALL)
def test_a_cluster_of_two_processes_finds_the_same(client, kind):
    X = data()
    model = kind(6, n_candidates=5, max_active=2, schedule=SCHEDULE, chunk_size=100, random_state=0)
    here = model.fit(X)
    there = kind(**model.get_params()).fit(da.from_array(X, chunks=(100, 4)))
    same(there, here)


def test_without_a_cluster_threads_do_it():
    X = data()
    model = BinarySparseCoding(
        6, n_candidates=5, max_active=2, schedule=SCHEDULE, chunk_size=100, random_state=0
    )
    lazy = da.from_array(X, chunks=(100, 9)).astype(np.float32)
    there = BinarySparseCoding(**model.get_params()).fit(lazy)
    assert there.components_.dtype == np.float32
    same(there, model.fit(X.astype(np.float32)))
    assert there.transform(X.astype(np.float32)).shape == (330, 6)


def test_bad_input_is_named():
    X = data()
    for bad in (np.nan, np.inf):
        Y = X.copy()
        Y[120, 3] = bad
        with pytest.raises(ValueError, match="rows 100 to 199"):
            BinarySparseCoding(3, schedule=SCHEDULE).fit(da.from_array(Y, chunks=(100, 9)))
    with pytest.raises(ShapeError, match="matrix"):
        BinarySparseCoding(3).fit(da.from_array(X[:, 0], chunks=100))
    with pytest.raises(ShapeError, match="2 samples"):
        BinarySparseCoding(3).fit(da.from_array(X[:1], chunks=(1, 9)))
