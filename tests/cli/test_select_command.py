"""``gossamer select`` keeps the columns that the estimator keeps."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.learn import QuickSelection


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["select", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 8)).astype(np.float32)
    X[:, 3] = X[:, 5] + 0.1 * X[:, 3]
    path = tmp_path / "data.csv"
    np.savetxt(
        path,
        np.c_[X, np.arange(120) % 2],
        fmt="%.9g",
        delimiter=",",
        header="a,b,c,d,e,f,g,h,class",
        comments="",
    )
    return path, X


def test_columns_are_named_and_written(table, tmp_path):
    path, X = table
    words = ("-k", 3, "--hidden", 20, "--epochs", 5, "--drop", "class")
    found = json.loads(invoke(path, *words, "-o", tmp_path / "out.csv", "--json").stdout)
    expected = QuickSelection(3, n_hidden=20, epochs=5, random_state=0).fit(X)
    assert [c["index"] for c in found["columns"]] == np.argsort(expected.ranking_)[:3].tolist()
    assert [c["name"] for c in found["columns"]] == ["abcdefgh"[c["index"]] for c in found["columns"]]
    assert found["model_bytes"] == expected.autoencoder_.nbytes
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == ",".join("abcdefgh"[i] for i in np.flatnonzero(expected.support_))
    np.testing.assert_allclose(np.loadtxt(lines[1:], delimiter=","), expected.transform(X), rtol=1e-6)
    assert "3 of 8 columns" in invoke(path, *words).stdout
    np.save(tmp_path / "data.npy", X)
    other = json.loads(invoke(tmp_path / "data.npy", *words[:6], "--json").stdout)
    assert [c["index"] for c in other["columns"]] == [c["index"] for c in found["columns"]]


def test_bad_input_is_one_line(table, tmp_path):
    path, _ = table
    (tmp_path / "text.csv").write_text("a,b\n1,x\n")
    for words, said in [
        ((tmp_path / "none.csv",), "no such file"),
        ((tmp_path / "text.csv",), "not a table of numbers"),
        ((path, "-k", 50), "n_features_to_select=50"),
        ((path, "--drop", "label"), "--drop='label'"),
        ((path, "--epochs", "many"), "--epochs='many'"),
    ]:
        result = invoke(*words, code=2)
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
