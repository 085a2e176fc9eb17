"""A graph on the disk is the adjacency of its edges, and embeds like it."""

import gzip
import json

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.graph import StoredGraph, as_adjacency, fastrp_embedding, read_graph, store_graph, stored


def matrix(graph):
    rows = list(graph.blocks())
    assert [where.start for where, _ in rows] == [0, *(where.stop for where, _ in rows[:-1])]
    assert rows[-1][0].stop == graph.shape[0]
    data = np.ones(graph.n_edges) if graph.weights is None else graph.weights
    return scipy.sparse.csr_array((data, graph.indices, graph.indptr), shape=graph.shape)


@given(st.integers(0, 99), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([1, 7, 40]))
@hypothesis_settings(max_examples=40, deadline=None)
def test_it_is_the_adjacency_of_the_edges(tmp_path_factory, seed, directed, weights, weighted, block):
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, 23, (2, rng.integers(1, 90)))
    if not directed:  # one direction of each, so that repeated edges sum as they do in memory
        edges.sort(axis=0)
    values = rng.integers(0, 3, edges.shape[1]) / 2
    whole = (edges, values) if weights else edges
    cut = edges.shape[1] // 2
    parts = [(edges[:, s], values[s]) if weights else edges[:, s] for s in (slice(cut), slice(cut, None))]
    expected = as_adjacency(whole, directed=directed, weighted=weighted, n_nodes=25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_BUCKET", 8)
        patch.setattr(stored, "_BLOCK", block)
        folder = tmp_path_factory.mktemp("g")
        graph = store_graph(parts, folder, directed=directed, weighted=weighted, n_nodes=25)
        A = matrix(graph)
        A.check_format(full_check=True)
        assert A.has_canonical_format
        np.testing.assert_array_equal(A.toarray(), expected.toarray())
        for ours, theirs in zip(graph.sums(), (expected.sum(1), expected.sum(0)), strict=True):
            np.testing.assert_allclose(ours, theirs)
        if A.nnz:
            options = {"directed": directed, "random_state": 0, "n_threads": 1}
            with pytest.warns(UserWarning, match="have no edges"):
                near = fastrp_embedding(graph, 40, **options)
            with pytest.warns(UserWarning, match="have no edges"):
                np.testing.assert_allclose(near, fastrp_embedding(expected, 40, **options), atol=2e-5)


def test_files_are_read_in_pieces(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    edges = np.sort(rng.integers(0, 50, (2, 300)), axis=0)
    edges = np.unique(edges, axis=1)
    lines = ["# a list\n", *(f"{u},{v},{1 + u / 8}\n" for u, v in edges.T), "# its end\n"]
    (tmp_path / "e.csv").write_text("source,target,weight\n" + "".join(lines))
    with gzip.open(tmp_path / "e.txt.gz", "wt") as file:
        file.write("".join(f"{u} {v}\n" for u, v in edges.T))
    monkeypatch.setattr("gossamer.graph.files._CHUNK", 37)
    for name in ("e.csv", "e.txt.gz"):
        graph = store_graph(tmp_path / name, tmp_path / f"{name}-graph")
        np.testing.assert_array_equal(matrix(graph).toarray(), read_graph(tmp_path / name)[0].toarray())
        assert (graph.weights is None) == (name != "e.csv")
        assert StoredGraph(tmp_path / f"{name}-graph").n_edges == graph.n_edges
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = {"weight": edges[0] + 1.5, "source": edges[0], "target": edges[1]}
    parquet.write_table(arrow.table(table), tmp_path / "e.parquet")
    graph = store_graph(tmp_path / "e.parquet", tmp_path / "p")
    np.testing.assert_array_equal(matrix(graph).toarray(), read_graph(tmp_path / "e.parquet")[0].toarray())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="not a Parquet file"):
        store_graph(tmp_path / "bad.parquet", tmp_path / "q")


@pytest.mark.parametrize(
    ("source", "options", "error", "match"),
    [
        ([], {}, ArgumentError, "no edges"),
        ([np.zeros((3, 2), int)], {}, ShapeError, r"\(3, 2\)"),
        ([np.zeros((2, 3))], {}, ShapeError, "float64"),
        ([np.array([[0], [-1]])], {}, ArgumentError, "from -1 to 0"),
        ([np.array([[0], [1 << 31]])], {}, ArgumentError, "expected 0 to"),
        ([np.array([[0], [5]])], {"n_nodes": 5}, ArgumentError, "expected 0 to 4"),
        ([np.array([[0], [9_000_000]])], {}, ArgumentError, "only 2 have edges"),
        ([(np.array([[0], [1]]), np.array([-1.0]))], {}, ArgumentError, "negative"),
        ([(np.array([[0], [1]]), np.ones(2))], {}, ShapeError, r"\(2,\)"),
        ([np.array([[0], [1]]), (np.array([[0], [1]]), np.ones(1))], {}, ArgumentError, "all or none"),
        ([(np.array([[0, 1], [1, 0]]), np.array([1, 2.0]))], {}, ArgumentError, "other direction"),
        ("nothing.txt", {}, FormatError, "no such file"),
        ([], {"n_nodes": 0}, ArgumentError, "n_nodes=0"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, source, options, error, match):
    with pytest.raises(error, match=match):
        store_graph(source, tmp_path / "g", **options)
    assert not list(tmp_path.iterdir())


def test_damaged_folders_are_refused(tmp_path):
    edges = np.array([[0, 1], [1, 2]])
    store_graph([edges], tmp_path / "g")
    with pytest.raises(ArgumentError, match="a new or an empty one"):
        store_graph([edges], tmp_path / "g")
    with pytest.raises(ArgumentError, match="directed=True"):
        fastrp_embedding(store_graph([edges], tmp_path / "d", directed=True), 8)
    (tmp_path / "g" / "indices.bin").write_bytes(b"1234")
    with pytest.raises(FormatError, match=r"indices.bin: has 4 bytes"):
        StoredGraph(tmp_path / "g")
    (tmp_path / "g" / "graph.json").write_text(json.dumps({"nodes": 3}))
    with pytest.raises(FormatError, match="does not describe a graph"):
        StoredGraph(tmp_path / "g")
    for name in ("e.npz", "w.txt"):
        (tmp_path / name).write_text("a b\n")
        with pytest.raises(FormatError, match=r"expected Parquet|between numbers"):
            store_graph(tmp_path / name, tmp_path / "x")
