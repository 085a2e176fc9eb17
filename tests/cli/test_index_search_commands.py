"""``gossamer index`` follows a folder of documents, and ``gossamer search`` finds what is in it."""

import json

import numpy as np
import pytest
from tests.retrieve.word_encoder import word_tokenizer
from typer.testing import CliRunner

from gossamer.cli.app import app

TEXTS = {
    "bread.txt": "Bread is baked in an oven by the baker.",
    "ships.md": "Ships sail over the sea with the wind.",
    "cats.txt": "Cats sleep on warm stones all day.",
}


def invoke(*words, code=0):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny BERT of random weights with a tokenizer of words, as transformers writes it."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("model")
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=128,
    )  # fmt: skip
    transformers.BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_is_indexed_searched_changed_and_followed(model, tmp_path):
    documents, out = tmp_path / "documents", tmp_path / "index"
    documents.mkdir()
    for name, text in TEXTS.items():
        (documents / name).write_text(text)
    first = json.loads(invoke("index", documents, "--out", out, "--model", model, "--json").stdout)
    assert first["passages"] == first["encoded"] == 3
    assert first["methods"] == ["bm25", "muvera"]
    assert set(first["bytes"]) == {"texts", "bm25", "muvera"}
    for method in ("bm25", "muvera", "fusion"):
        # the model's weights are random: only the same words at the same places are sure to be nearest
        found = json.loads(invoke("search", out, TEXTS["cats.txt"], "--method", method, "--json").stdout)
        assert found["hits"][0]["key"] == "cats.txt"
        assert found["hits"][0]["text"] == TEXTS["cats.txt"]
    assert "ships.md" in invoke("search", out, "sail the sea", "-k", 1).stdout
    (documents / "ships.md").unlink()
    (documents / "cats.txt").write_text("Cats buy fish.")
    (documents / "new.txt").write_text("Rivers flow to the sea.")
    second = json.loads(invoke("index", documents, "--out", out, "--json").stdout)
    assert (second["passages"], second["encoded"], second["removed"]) == (3, 2, 1)
    assert second["generation"] == 2
    keys = {hit["key"] for hit in json.loads(invoke("search", out, "the sea", "--json").stdout)["hits"]}
    assert keys <= {"bread.txt", "cats.txt", "new.txt"}
    assert "3, 0 new or changed, 0 removed" in invoke("index", documents, "--out", out).stdout


def test_learned_sparse_vectors_are_one_of_the_methods(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    sparse, documents = tmp_path / "sparse", tmp_path / "documents"
    documents.mkdir()
    (documents / "cats.txt").write_text(TEXTS["cats.txt"])
    tokenizer = word_tokenizer()
    transformers.BertForMaskedLM(transformers.AutoConfig.from_pretrained(model)).eval().save_pretrained(
        sparse
    )
    tokenizer.save_pretrained(sparse)
    vocabulary = tokenizer.get_vocab()
    weights = np.ones(len(vocabulary)).tolist()
    (sparse / "idf.json").write_text(json.dumps(dict(zip(vocabulary, weights, strict=True))))
    words = ("index", documents, "--out", tmp_path / "out", "--method", "sparse", "--model", model)
    assert invoke(*words, code=2).stderr.startswith("error: --sparse-model is needed")
    found = json.loads(invoke(*words, "--sparse-model", sparse, "--json").stdout)
    assert found["methods"] == ["sparse"]
    hits = json.loads(invoke("search", tmp_path / "out", "warm cats", "--json").stdout)["hits"]
    assert [hit["key"] for hit in hits] == ["cats.txt"]


def test_bad_input_is_one_line(model, tmp_path):
    documents, out = tmp_path / "documents", tmp_path / "index"
    documents.mkdir()
    for words, said in [
        (("index", documents, "--out", out, "--model", model), "no text in it"),
        (("index", tmp_path / "none", "--out", out, "--model", model), "expected a folder"),
        (("index", documents, "--out", out, "--method", "tfidf"), "--method='tfidf'"),
        (("index", documents, "--out", out, "--model", "nothing"), "none of the bundled models"),
        (("search", documents, "cats"), "manifest.json: no such file"),
    ]:
        error = invoke(*words, code=2).stderr
        assert said in error
        assert error.count("error: ") == 1
    (documents / "a.txt").write_text("Bread.")
    invoke("index", documents, "--out", out, "--model", model)
    assert "method='dense'" in invoke("search", out, "bread", "--method", "dense", code=2).stderr
    assert "expected text" in invoke("search", out, " ", code=2).stderr


def test_an_index_is_served_as_a_page(model, tmp_path, monkeypatch):
    uvicorn, client = pytest.importorskip("uvicorn"), pytest.importorskip("starlette.testclient")
    documents, out = tmp_path / "documents", tmp_path / "index"
    documents.mkdir()
    for name, text in TEXTS.items():
        (documents / name).write_text(text)
    invoke("index", documents, "--out", out, "--model", model, "--json")
    served = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.update(app=app, **options))
    invoke("serve-search", out, "--port", 0, "--title", "Three texts")
    assert (served["host"], served["port"]) == ("127.0.0.1", 0)
    browser = client.TestClient(served["app"])
    page = browser.get("/", params={"q": "warm cats"}).text
    assert "Three texts" in page
    assert page.index("cats.txt") < page.index("<b>warm</b>")
    told = browser.get("/search", params={"q": "warm cats", "method": "muvera"}).json()
    assert len(told["hits"]) == 3
    assert all([match["query"] for match in hit["matches"]] == ["warm", "cats"] for hit in told["hits"])
    (documents / "cats.txt").write_text("Cats buy fish.")
    invoke("index", documents, "--out", out, "--json")
    assert "Cats buy fish." in browser.get("/", params={"q": "cats"}).text
    invoke("serve-search", tmp_path / "nothing", code=2)
