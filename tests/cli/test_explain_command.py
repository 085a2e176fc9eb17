"""``gossamer explain`` reads every kind of matrix file and names what is in it."""

import json

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from safetensors.numpy import save_file
from typer.testing import CliRunner

from gossamer.cli.app import app

RANK_TWO = np.random.default_rng(0).standard_normal((24, 2)) @ np.random.default_rng(1).standard_normal(
    (2, 32)
)


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["explain", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "W.npy", RANK_TWO)
    sparse = sp.random_array((24, 24), density=0.04, rng=np.random.default_rng(0), format="csr")
    sp.save_npz(tmp_path / "S.npz", sparse)
    scipy.io.mmwrite(tmp_path / "S.mtx", sparse)
    save_file({"a.weight": RANK_TWO, "b.weight": np.eye(8), "a.bias": np.ones(3)}, tmp_path / "M.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "family"),
    [
        (["W.npy"], "low rank"),
        (["S.npz"], "unstructured"),
        (["S.mtx"], "unstructured"),
        (["M.safetensors", "-n", "a.weight"], "low rank"),
    ],
)
def test_every_kind_of_file(folder, words, family):
    found = json.loads(invoke(folder / words[0], *words[1:], "--json").stdout)
    exact = [fit for fit in found["fits"] if fit["exact"]]
    assert family in {fit["family"] for fit in exact}
    assert found["message"].startswith("exactly ")


def test_table_metric_and_picture(folder):
    np.save(folder / "H.npy", np.ones(32))
    result = invoke(
        folder / "W.npy", "--metric", folder / "H.npy", "--picture", folder / "p.svg", "--bits", "16,8"
    )
    assert "low rank" in result.stdout
    assert "exactly LowRank(rank=2)" in " ".join(result.stdout.split())
    assert (folder / "p.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["M.safetensors"], "choose one with --name"),
        (["M.safetensors", "-n", "a.wieght"], "a.weight"),
        (["W.npy", "-n", "x"], "holds one matrix"),
        (["W.npy", "--bits", "many"], "expected numbers"),
        (["missing.npy"], "missing.npy"),
        (["text.npy"], "not an array"),
        (["text.npz"], "not a sparse matrix"),
        (["text.mtx"], "Matrix Market"),
        (["text.safetensors"], "safetensors"),
    ],
)
def test_bad_input_is_one_line(folder, words, said):
    if words[0].startswith("text"):
        (folder / words[0]).write_text("not a matrix\n")
    result = invoke(folder / words[0], *words[1:], code=2)
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
