"""``gossamer cluster`` gives the nodes of a file the clusters that the estimator gives."""

import csv
import json

import networkx
import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.graph import AttributedAMGClustering, as_adjacency


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["cluster", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def files(tmp_path):
    graph = networkx.planted_partition_graph(2, 12, 0.6, 0.2, seed=0)
    colours = ["red"] * 10 + ["blue"] * 14
    (tmp_path / "graph.csv").write_text("source,target\n" + "".join(f"p{u},p{v}\n" for u, v in graph.edges))
    rows = [f"p{node},{colour},{node}\n" for node, colour in enumerate(colours)]
    (tmp_path / "table.csv").write_text("node,colour,number\n" + "".join(reversed(rows)))
    scipy.io.mmwrite(tmp_path / "graph.mtx", networkx.to_scipy_sparse_array(graph))
    (tmp_path / "rows.csv").write_text("colour\n" + "\n".join(colours) + "\n")
    return tmp_path, graph, colours


def test_names_of_nodes_meet_their_attributes(files):
    folder, graph, colours = files
    options = ("-k", 2, "--restarts", 10, "--seed", 3, "--threads", 1)
    names = [("-a", folder / "table.csv", "--drop", "number"), ("-a", folder / "rows.csv")]
    found = json.loads(invoke(folder / "graph.csv", *names[0], *options, "--json").stdout)
    order = sorted(f"p{node}" for node in graph)
    nodes = [int(name[1:]) for name in order]
    A = as_adjacency(networkx.to_scipy_sparse_array(graph, nodelist=nodes))
    model = AttributedAMGClustering(2, restarts=10, random_state=3).fit(A, [colours[node] for node in nodes])
    assert found["labels"] == dict(zip(order, model.labels_.tolist()))
    assert found["modularity"] == pytest.approx(model.modularity_)
    assert found["entropy"] == pytest.approx(model.entropy_)
    assert sum(found["sizes"]) == 24

    out = folder / "labels.csv"
    text = invoke(folder / "graph.mtx", *names[1], *options, "-o", out).stdout
    assert "24 nodes" in text
    assert "1 attributes" in text
    with open(out, newline="") as handle:
        table = list(csv.DictReader(handle))
    model = AttributedAMGClustering(2, restarts=10, random_state=3).fit(graph, colours)
    assert [int(row["cluster"]) for row in table] == model.labels_.tolist()
    assert [int(row["node"]) for row in table] == list(range(24))
    alone = json.loads(invoke(folder / "graph.mtx", *options, "--json").stdout)
    assert alone["entropy"] is None


def test_bad_input_is_one_line(files):
    folder, *_ = files
    (folder / "short.csv").write_text("colour\nred\n")
    np.savetxt(folder / "directed.csv", [[0, 1, 1], [1, 0, 2]], fmt="%d", delimiter=",")
    graph, table = folder / "graph.csv", folder / "table.csv"
    for words, said in [
        ((folder / "none.csv", "-k", 2), "no such file"),
        ((graph, "-k", 90), "n_clusters=90"),
        ((graph, "-k", 2, "-a", folder / "short.csv"), "1 rows for 24 nodes"),
        ((graph, "-k", 2, "-a", table, "--drop", "colours"), "drop='colours'"),
        ((graph, "-k", 2, "-a", table, "--attribute-weight", 0), "attribute_weight=0"),
        ((folder / "directed.csv", "-k", 2, "--weighted"), "another weight in the other direction"),
    ]:
        result = invoke(*words, code=2)
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
