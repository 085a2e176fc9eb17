"""One graph in every form that people hold it in is one adjacency; what is no graph is refused by name."""

import gzip

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from gossamer._core.errors import (
    ArgumentError,
    FormatError,
    MissingDependencyError,
    ShapeError,
    UnsupportedError,
)
from gossamer.graph import as_adjacency, read_graph

# a triangle with weights, a loop at 2, and node 3 alone
DENSE = np.array([[0, 2, 0.5, 0], [2, 0, 1, 0], [0.5, 1, 3, 0], [0, 0, 0, 0]])
EDGES = np.array([[0, 0, 1, 2], [1, 2, 2, 2]])
WEIGHTS = np.array([2, 0.5, 1, 3])


def same(A, dense, dtype=np.float64):
    assert isinstance(A, scipy.sparse.csr_array)
    assert A.dtype == dtype
    assert A.has_canonical_format
    assert A.data.all()
    np.testing.assert_array_equal(A.toarray(), dense)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_every_sparse_container_is_the_same_graph(form, kind):
    same(as_adjacency(kind(DENSE).asformat(form)), DENSE)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint16, np.float16, np.float64])
def test_weights_become_floating(dtype):
    same(as_adjacency((EDGES, np.ones(4, dtype)), n_nodes=4), DENSE > 0)
    if dtype != np.float16:  # SciPy has no matrices of it
        same(as_adjacency(scipy.sparse.csr_array((DENSE > 0).astype(dtype))), DENSE > 0)


def test_float32_stays_and_a_canonical_matrix_is_not_copied():
    A = scipy.sparse.csr_array(DENSE.astype(np.float32))
    B = as_adjacency(A)
    same(B, DENSE, np.float32)
    assert np.shares_memory(A.data, B.data)


def test_the_input_is_left_as_it_was():
    A = scipy.sparse.csr_matrix((np.array([1.0, 1, 2, 0, 2]), np.array([1, 1, 0, 1, 0]), np.array([0, 3, 5])))
    before = A.data.copy(), A.indices.copy(), A.indptr.copy()
    same(as_adjacency(A), [[2, 2], [2, 0]])
    same(as_adjacency(A, self_loops=False), [[0, 2], [2, 0]])
    for now, then in zip((A.data, A.indices, A.indptr), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_edges_in_one_direction_or_both_are_one_undirected_graph():
    both = np.concatenate([EDGES, EDGES[::-1, :3]], 1)
    same(as_adjacency((EDGES, WEIGHTS), n_nodes=4), DENSE)
    same(as_adjacency((both, np.concatenate([WEIGHTS, WEIGHTS[:3]])), n_nodes=4), DENSE)
    same(as_adjacency(both.tolist(), n_nodes=4), DENSE > 0)


def test_directed_edges_stay_directed_and_repeated_weights_add_up():
    edges = np.array([[0, 0, 1], [1, 1, 0]])
    same(as_adjacency((edges, np.ones(3)), directed=True), [[0, 2], [1, 0]])
    same(as_adjacency((edges, np.ones(3)), directed=True, weighted=False), [[0, 1], [1, 0]])
    same(as_adjacency(edges, directed=True), [[0, 1], [1, 0]])
    same(as_adjacency(edges, weighted=False), [[0, 1], [1, 0]])


def test_loops_can_be_left_out():
    same(as_adjacency(scipy.sparse.csr_array(DENSE), self_loops=False), DENSE - np.diag([0, 0, 3, 0]))


def test_tensors_and_objects_of_torch():
    torch = pytest.importorskip("torch")
    edges = torch.from_numpy(EDGES)
    same(as_adjacency((edges, torch.from_numpy(WEIGHTS)), n_nodes=4), DENSE)
    dense = torch.from_numpy(DENSE).float()
    for tensor in (dense.to_sparse(), dense.to_sparse_csr()):
        same(as_adjacency(tensor), DENSE, np.float32)

    class Data:
        edge_index, edge_weight, num_nodes = edges, torch.from_numpy(WEIGHTS), 4

    same(as_adjacency(Data()), DENSE)


def test_networkx_graphs():
    nx = pytest.importorskip("networkx")
    graph = nx.Graph()
    graph.add_nodes_from("abcd")
    graph.add_weighted_edges_from(("abcd"[i], "abcd"[j], w) for i, j, w in zip(*EDGES, WEIGHTS))
    same(as_adjacency(graph), DENSE)
    same(as_adjacency(graph, weighted=False), DENSE > 0)
    same(as_adjacency(graph.to_directed(), directed=True), DENSE)
    same(as_adjacency(nx.MultiGraph([(0, 1), (0, 1)])), [[0, 2], [2, 0]])
    with pytest.raises(ArgumentError, match=r"graph is a DiGraph.*directed=True"):
        as_adjacency(nx.DiGraph([(0, 1)]))
    with pytest.raises(ArgumentError, match="no nodes"):
        as_adjacency(nx.Graph())


@pytest.mark.parametrize(
    ("graph", "error", "match"),
    [
        (scipy.sparse.csr_array(np.ones((2, 3))), ShapeError, r"shape \(2, 3\).*square"),
        (scipy.sparse.csr_array([[0, 1.0], [0, 0]]), ArgumentError, "not symmetric.*directed=True"),
        (scipy.sparse.csr_array([[0, 1.0], [2, 0]]), ArgumentError, "not symmetric"),
        (scipy.sparse.csr_array([[0, -1.0], [-1, 0]]), ArgumentError, "2 weights that are negative.*-1.0"),
        (scipy.sparse.csr_array([[np.nan]]), ArgumentError, "1 weights .*NaN"),
        (scipy.sparse.csr_array([[1j]]), UnsupportedError, "complex128"),
        (scipy.sparse.csr_array((0, 0)), ArgumentError, "no nodes"),
        (np.array([[0, 1], [1, 2], [2, 3]]), ShapeError, r"\(3, 2\).*transpose"),
        (np.ones((3, 3)), ShapeError, "dense adjacency"),
        (np.array([[0.0], [1.0]]), UnsupportedError, "float64"),
        (np.array([[0], [-1]]), ArgumentError, "outside.*first is -1"),
        (np.zeros((2, 0), int), ArgumentError, "no edges"),
        ((np.array([[0], [1]]), np.ones(2)), ShapeError, "1 edges and weights of shape"),
        ((np.array([[0, 1], [1, 0]]), np.array([1.0, 2])), ArgumentError, "1 of them.*between 0 and 1"),
        ([[0, 1], [1]], ShapeError, "ragged"),
        ({"a": 1}, UnsupportedError, "graph is a dict"),
        (None, UnsupportedError, "NoneType"),
    ],
)
def test_what_is_no_graph_is_refused(graph, error, match):
    with pytest.raises(error, match=match):
        as_adjacency(graph)


def test_the_number_of_nodes_must_fit():
    with pytest.raises(ArgumentError, match="outside its nodes 0 to 1"):
        as_adjacency(EDGES, n_nodes=2)
    with pytest.raises(ArgumentError, match="n_nodes=5"):
        as_adjacency(scipy.sparse.csr_array(DENSE), n_nodes=5)
    same(as_adjacency(np.zeros((2, 0), int), n_nodes=2), np.zeros((2, 2)))


# files


@pytest.mark.parametrize(
    "text",
    ["0 1 2\n0 2 .5\n1 2 1\n2 2 3\n", "# a graph\n% of four edges\n0\t1\t2\n0\t2\t0.5\n1\t2\t1\n\n2\t2\t3",
     "source,target,weight\n0,1,2\n0,2,.5\n1,2,1\n2,2,3\n"],
    ids=["blanks", "tabs", "commas"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_lists_of_edges(tmp_path, text, packed):
    path = tmp_path / ("edges.txt.gz" if packed else "edges.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    A, names = read_graph(path)
    same(A, DENSE[:3, :3])
    np.testing.assert_array_equal(names, [0, 1, 2])
    same(as_adjacency(path, weighted=False, n_nodes=None), DENSE[:3, :3] > 0)


def test_words_become_rows_in_order(tmp_path):
    path = tmp_path / "people.tsv"
    path.write_text("Mr X\tAnn Lee\nAnn Lee\tBo\n")
    A, names = read_graph(path)
    assert names.tolist() == ["Ann Lee", "Bo", "Mr X"]
    same(A, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])


def test_numbers_with_gaps_are_isolated_nodes_or_left_out_on_demand(tmp_path):
    path = tmp_path / "gaps.txt"
    path.write_text("0 3\n")
    assert as_adjacency(path).shape == (4, 4)
    A, names = read_graph(path, relabel=True)
    same(A, [[0, 1], [1, 0]])
    assert names.tolist() == [0, 3]
    path.write_text("5 1000000000\n")
    with pytest.raises(ArgumentError, match=r"only 2 have edges.*relabel=True"):
        as_adjacency(path)
    assert read_graph(path, relabel=True)[1].tolist() == [5, 1000000000]


def test_matrix_market_and_archives(tmp_path):
    matrix = scipy.sparse.coo_array(DENSE)
    scipy.io.mmwrite(tmp_path / "symmetric.mtx", matrix, symmetry="symmetric")
    scipy.io.mmwrite(tmp_path / "general.mtx", matrix, symmetry="general")
    scipy.sparse.save_npz(tmp_path / "scipy.npz", matrix)
    rows = matrix.tocsr()
    np.savez(tmp_path / "rows.npz", a_indptr=rows.indptr, a_indices=rows.indices, a_data=rows.data)
    np.savez(tmp_path / "edges.npz", edge_index=EDGES, edge_weight=WEIGHTS, num_nodes=4)
    for file in ("symmetric.mtx", "general.mtx", "scipy.npz", "rows.npz", "edges.npz"):
        A, names = read_graph(tmp_path / file)
        same(A, DENSE)
        np.testing.assert_array_equal(names, range(4))


def test_parquet(tmp_path):
    path = tmp_path / "edges.parquet"
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(MissingDependencyError, match="pyarrow"):
            read_graph(path)
        return
    table = {"id": [7, 7, 7, 7], "source": list("aabc"), "target": list("bccc"), "weight": WEIGHTS}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    A, names = read_graph(path)
    same(A, DENSE[:3, :3])
    assert names.tolist() == ["a", "b", "c"]
    path.write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="not a Parquet file"):
        read_graph(path)


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("none.txt", None, "no such file"),
        ("empty.txt", b"# nothing\n", "has no edges"),
        ("wide.txt", b"1 2 3 4\n", "two columns"),
        ("ragged.txt", b"1 2\n3\n", "not a list of edges|columns"),
        ("weight.txt", b"1 2 x\n", "could not convert|float"),
        ("binary.txt", b"\xff\xfe\x00", "not a list of edges"),
        ("torn.txt.gz", gzip.compress(b"1 2\n" * 99, mtime=0)[:-12], "not a list of edges"),
        ("bad.mtx", b"%%MatrixMarket matrix coordinate real general\n3 3", "Matrix Market"),
        ("bad.npz", b"PK\x03\x04 not a zip", "NumPy archive"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, file, content, match):
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=f"(?s){file}.*({match})"):
        read_graph(path)


def test_archives_of_something_else_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    with pytest.raises(FormatError, match="holds x: expected indptr"):
        read_graph(tmp_path / "other.npz")
    np.savez(tmp_path / "wild.npz", indptr=np.array([0, 1]), indices=np.array([7]))
    with pytest.raises(FormatError, match="not a NumPy archive of a graph"):
        read_graph(tmp_path / "wild.npz")


@pytest.mark.parametrize("as_file", [False, True])
def test_edges_without_weights_that_stand_several_times_are_one(as_file, tmp_path):
    edges = np.array([[0, 0, 1, 1], [1, 1, 0, 2]])
    graph = edges
    if as_file:
        graph = tmp_path / "graph.npz"
        np.savez(graph, edge_index=edges)
    expected = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert as_adjacency(graph).toarray().tolist() == expected
    with pytest.raises(ArgumentError, match="another weight in the other direction"):
        as_adjacency((edges, np.ones(4)))
