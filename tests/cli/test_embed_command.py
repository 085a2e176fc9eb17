"""``gossamer embed`` writes what fastrp_embedding gives; what is wrong is said in one line."""

import json

import networkx as nx
import numpy as np
import pytest
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.graph import fastrp_embedding


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["embed", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def karate(tmp_path):
    graph = nx.karate_club_graph()
    path = tmp_path / "karate.txt"
    path.write_text("".join(f"{u} {v} {w['weight']}\n" for u, v, w in graph.edges(data=True)))
    return path, graph


def test_an_array_holds_the_vectors_wherever_the_graph_lies(karate, tmp_path):
    path, graph = karate
    expected = fastrp_embedding(graph, 70, beta=-0.3, weights=(0, 1, 2), standardize=True, random_state=5)
    options = ["-d", 70, "--beta", -0.3, "--weights", "0,1,2", "--standardize", "--seed", 5, "--threads", 1]
    for more in ((), ("--panel", 32), ("--on-disk",)):
        out = tmp_path / "new" / "vectors.npy"
        result = invoke(path, "-o", out, *options, *more, "--json")
        found = json.loads(result.stdout)
        assert (found["nodes"], found["entries"], found["dimensions"]) == (34, 156, 70)
        assert "multiply" in result.stderr
        np.testing.assert_allclose(np.load(out, mmap_mode="r"), expected, atol=1e-4)
        assert [f.name for f in out.parent.iterdir()] == ["vectors.npy"]
        out.unlink()


def test_nodes_that_are_words_keep_their_names(tmp_path):
    path, out = tmp_path / "words.csv", tmp_path / "v.npy"
    path.write_text("source,target\nspider,web\nweb,wind\n")
    invoke(path, "-o", out, "-d", 4)
    assert (tmp_path / "v.npy.names.txt").read_text() == "spider\nweb\nwind\n"
    assert np.load(out).shape == (3, 4)
    assert "between numbers" in invoke(path, "-o", out, "--on-disk", code=2).stderr


def test_parquet_has_a_row_a_node(karate, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path, graph = karate
    invoke(path, "-o", tmp_path / "v.parquet", "-d", 8)
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["node", "vector"]
    assert table["node"].to_pylist() == list(range(34))
    expected = fastrp_embedding(graph, 8, random_state=0)
    np.testing.assert_allclose(np.stack(table["vector"].to_numpy()), expected, atol=1e-5)
    words = tmp_path / "words.csv"
    words.write_text("spider,web\nweb,wind\n")
    invoke(words, "-o", tmp_path / "w.parquet", "-d", 8)
    assert parquet.read_table(tmp_path / "w.parquet")["node"].to_pylist() == ["spider", "web", "wind"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["karate.txt", "v.parquet", "w.parquet", "words.csv"]


def test_bad_input_is_one_line_and_leaves_no_file(karate, tmp_path, monkeypatch):
    path, _ = karate
    out = tmp_path / "out" / "v.npy"
    assert "ends in .npy or .parquet" in invoke(path, "-o", tmp_path / "v.txt", code=2).stderr
    assert "--weights='1,x'" in invoke(path, "-o", out, "--weights", "1,x", code=2).stderr
    assert "not zero" in invoke(path, "-o", out, "--weights", "0,0", code=2).stderr
    assert "no such file" in invoke(tmp_path / "none.txt", "-o", out, code=2).stderr
    assert "panel=40" in invoke(path, "-o", out, "--panel", 40, code=2).stderr
    assert "in memory" in invoke(path, "-o", out, "--relabel", "--on-disk", code=2).stderr
    assert not list(out.parent.iterdir())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "gossamer[graph]" in invoke(path, "-o", out.with_suffix(".parquet"), code=2).stderr
