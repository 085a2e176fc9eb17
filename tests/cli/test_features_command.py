"""``gossamer features`` learns from a model on disk and writes a page; what is wrong is said in one line."""

import json

import pytest
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.nn import ActivationCache, SparseAutoencoder

pytest.importorskip("transformers")


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["features", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.mark.parametrize("choice", ["feature", "gradient"])
def test_a_page_an_autoencoder_and_a_cache_are_written(tiny_llama, tiny_texts, tmp_path, choice):
    options = [
        "--text",
        tiny_texts[0],
        "--tokens",
        1024,
        "--window",
        32,
        "-k",
        4,
        "--steps",
        12,
        "--choice",
        choice,
    ]
    result = invoke(tiny_llama, "-l", 1, "-o", tmp_path, *options, "--features", 96, "--threads", 1, "--json")
    found = json.loads(result.stdout)
    assert found["features"] == 96
    assert 0 < found["l0"] <= 8
    page = (tmp_path / "features.html").read_text(encoding="utf-8")
    assert "block 1" in page
    assert page.count("<article") > 4
    assert "raises" in page
    sae = SparseAutoencoder.load(tmp_path / "autoencoder.safetensors")
    assert sae.n_features == 96
    (folder,) = tmp_path.glob("*-1")
    assert ActivationCache(folder).complete
    assert len(ActivationCache(folder)) == found["tokens"]


def test_bad_input_is_one_line(tiny_llama, tiny_texts, tmp_path):
    text = ["--text", tiny_texts[0], "--tokens", 1024, "--window", 32, "--steps", 2]
    assert "has 2 blocks" in invoke(tiny_llama, "-l", 3, "-o", tmp_path, *text, code=2).stderr
    assert "--choice" in invoke(tiny_llama, "-l", 1, "-o", tmp_path, *text, "--choice", "best", code=2).stderr
