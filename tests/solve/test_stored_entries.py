"""Entries in files complete to the bit as entries in memory do, and stay in the files."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.solve import (
    StoredEntries,
    complete_matrix,
    incoherent_low_rank,
    matrix_completion,
    store_entries,
)
from gossamer.solve.completion import stored


def pieces(s, count=5, seed=0):
    order = np.random.default_rng(seed).permutation(len(s.vals))
    return [(s.rows[p], s.cols[p], s.vals[p]) for p in np.array_split(order, count)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_files_hold_both_orders(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(stored, "PIECE", 400)
    s = incoherent_low_rank(60, 40, 2, p=0.4, random_state=0)
    entries = store_entries(tmp_path, pieces(s), s.shape, dtype=dtype)
    M = sp.coo_array((s.vals.astype(dtype), (s.rows, s.cols)), shape=s.shape)
    for lines, whole in ((entries.rows, M.tocsr()), (entries.columns, M.tocsc())):
        whole.sort_indices()
        np.testing.assert_array_equal(lines.start, whole.indptr)
        np.testing.assert_array_equal(lines.index, whole.indices)
        np.testing.assert_array_equal(lines.value, whole.data)
    assert entries.count == len(s.vals)
    assert sorted(p.name for p in tmp_path.iterdir())[:2] == ["columns_index.npy", "columns_start.npy"]
    assert len(list(tmp_path.iterdir())) == 7


@pytest.mark.parametrize(
    "options",
    [
        {"method": "exact"},
        {"method": "cg", "ridge": 0.1},
        {"biases": True, "ridge": 0.01, "weighted_ridge": True},
        {"biases": True, "init": "random", "ridge": 0.01},
    ],
)
def test_the_completion_is_that_in_memory(tmp_path, options):
    s = incoherent_low_rank(90, 70, 3, p=0.5, noise=0.1, random_state=0)
    options = {"random_state": 0, "maxiter": 6, **options}
    there = complete_matrix(store_entries(tmp_path, pieces(s), s.shape), 3, **options)
    here = matrix_completion(s.rows, s.cols, s.vals, s.shape, 3, **options)
    np.testing.assert_array_equal(there.U, here.U)
    np.testing.assert_array_equal(there.V, here.V)
    assert there.rmse == here.rmse
    again = complete_matrix(StoredEntries(tmp_path), 3, **options)
    np.testing.assert_array_equal(again.U, here.U)
    assert len(list(tmp_path.iterdir())) == 7  # nothing is left behind


def test_entries_stay_in_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "PIECE", 1 << 14)
    monkeypatch.setattr("gossamer._kernels.completion.SPAN", 1 << 14)
    s = incoherent_low_rank(800, 600, 2, p=0.6, random_state=0)
    chunks = pieces(s, 20)
    size = 24 * len(s.vals)
    for biases in (False, True):
        tracemalloc.start()
        entries = store_entries(tmp_path, iter(chunks), s.shape)
        complete_matrix(entries, 2, maxiter=3, biases=biases, ridge=0.01, random_state=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size / 4


def test_bad_files_and_chunks_are_named(tmp_path):
    good = ([0, 1], [0, 1], [1.0, 2.0])
    with pytest.raises(ArgumentError, match="two entries at 1"):
        store_entries(tmp_path, [good, ([1], [1], [2.0])], (2, 2))
    with pytest.raises(FormatError, match="no such file"):
        StoredEntries(tmp_path)
    with pytest.raises(ArgumentError, match=r"rows span 0\.\.1"):
        store_entries(tmp_path, [good], (1, 2))
    with pytest.raises(ArgumentError, match="NaN"):
        store_entries(tmp_path, [([0], [0], [np.nan])], (1, 2))
    with pytest.raises(ArgumentError, match="at least one"):
        store_entries(tmp_path, [], (1, 2))
    with pytest.raises(ShapeError, match="lengths 2, 1"):
        store_entries(tmp_path, [([0, 1], [0], [1.0])], (2, 2))
    with pytest.raises(ArgumentError, match="rows, cols, vals"):
        store_entries(tmp_path, [good[:2]], (2, 2))
    entries = store_entries(tmp_path, [good], (2, 2))
    with pytest.raises(UnsupportedError, match="sample_splitting"):
        entries.part(np.ones(2, bool))
    (tmp_path / "rows_index.npy").write_bytes(b"nothing")
    with pytest.raises(FormatError):
        StoredEntries(tmp_path)
