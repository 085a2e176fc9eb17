"""The three searches find what the full product finds, with the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.retrieve import InvertedIndex, prune_rows

METHODS = ("taat", "maxscore", "bmw")


def zipf(n, vocabulary, per_row, seed, levels=None):
    """Rows whose tokens follow a law of Zipf; few levels of weights make ties."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, vocabulary + 1)
    tokens = rng.choice(vocabulary, (n, per_row), p=share / share.sum())
    weights = (
        rng.gamma(2.0, 0.5, (n, per_row)) if levels is None else rng.integers(0, levels + 1, (n, per_row))
    )
    starts = np.arange(0, n * per_row + 1, per_row)
    rows = sparse.csr_matrix(
        (weights.ravel().astype(np.float32), tokens.ravel(), starts), shape=(n, vocabulary)
    )
    rows.sum_duplicates()
    return rows


def expected(queries, docs, k):
    """Top k of the full product, by score, of equal scores the smaller id; only scores above 0."""
    scores = np.asarray((queries @ docs.T).todense(), np.float64)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, ids, 1)
    ids[best <= 0] = -1
    best[best <= 0] = 0
    padding = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, padding, constant_values=-1), np.pad(best, padding)


@pytest.mark.parametrize("seed", range(40))
def test_all_searches_equal_the_full_product_on_integers(seed):
    # integers add without rounding, so that ids must agree as well, ties included
    rng = np.random.default_rng(seed)
    n, vocabulary = int(rng.integers(1, 6000)), int(rng.integers(1, 300))
    docs = zipf(n, vocabulary, int(rng.integers(1, 20)), seed, levels=int(rng.integers(1, 5)))
    queries = zipf(8, vocabulary, int(rng.integers(1, 12)), seed + 1, levels=3)
    index = InvertedIndex(block=int(rng.choice([1, 7, 64, 128]))).build(docs)
    for k in (1, 10, 17):
        ids, scores = expected(queries, docs, k)
        for method in METHODS:
            found = index.search(queries, k, method)
            assert np.array_equal(found[0], ids), method
            assert np.array_equal(found[1], scores), method


@pytest.mark.parametrize("bits", [32, 16, 8])
@pytest.mark.parametrize("seed", range(10))
def test_all_searches_agree_to_the_bit_and_with_the_full_product(seed, bits):
    docs, queries = zipf(3000, 500, 30, seed), zipf(12, 500, 8, seed + 99)
    index = InvertedIndex(bits).build(docs)
    found = {method: index.search(queries, 10, method, threads=2) for method in METHODS}
    for method in METHODS[1:]:
        assert np.array_equal(found[method][0], found["taat"][0])
        assert np.array_equal(found[method][1].view(np.int32), found["taat"][1].view(np.int32))
    ids, scores = expected(queries, docs, 10)
    largest = docs.max(axis=0).toarray().ravel()
    slack = {32: 1e-5, 16: 1e-3 * scores.max(), 8: 1e-5 + float((queries @ (largest / 255 / 2)).max())}[bits]
    assert np.abs(found["taat"][1] - scores).max() <= slack
    exact = np.take_along_axis(np.asarray((queries @ docs.T).todense()), found["taat"][0], 1)
    assert np.abs(exact - found["taat"][1]).max() <= slack
    if bits == 32:
        assert np.array_equal(found["taat"][0], ids)


def test_an_8_bit_score_is_off_by_half_a_step_of_each_token_at_most():
    docs, queries = zipf(400, 80, 20, 3), zipf(20, 80, 6, 4)
    index = InvertedIndex(8).build(docs)
    ids, scores = index.search(queries, 400)
    step = docs.max(axis=0).toarray().ravel() / 255
    for query, row, got in zip(queries, ids, scores):
        exact = (docs @ query.T).toarray().ravel()[row[row >= 0]]
        bound = float((query @ step)[0]) / 2
        assert np.abs(exact - got[row >= 0]).max() <= bound * 1.0001 + 1e-6


@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=6), min_size=1, max_size=30
    ),
    query=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=6),
    k=st.integers(1, 12),
)
def test_any_small_corpus_is_searched_exactly(rows, query, k):
    def matrix(lists):
        dense = np.zeros((len(lists), 7), np.float32)
        for i, row in enumerate(lists):
            for token, weight in row:
                dense[i, token] = weight
        return sparse.csr_matrix(dense)

    docs, queries = matrix(rows), matrix([query])
    ids, scores = expected(queries, docs, k)
    for block in (1, 64):
        for method in METHODS:
            found = InvertedIndex(block=block).build(docs).search(queries, k, method)
            assert found[0].tolist() == ids.tolist()
            assert found[1].tolist() == scores.tolist()


def test_documents_beyond_a_segment_are_found():
    docs = zipf(140_000, 50, 2, 0, levels=4)
    queries = zipf(5, 50, 3, 1, levels=3)
    index = InvertedIndex().build(docs)
    assert [segment.documents for segment in index._segments] == [65_536, 65_536, 8928]
    ids, scores = expected(queries, docs, 10)
    for method in METHODS:
        found = index.search(queries, 10, method)
        assert np.array_equal(found[0], ids)
        assert np.array_equal(found[1], scores)


def test_added_documents_follow_those_that_are_there():
    docs = zipf(900, 60, 8, 0, levels=3)
    queries = zipf(6, 60, 4, 1, levels=3)
    whole = InvertedIndex().build(docs)
    parts = InvertedIndex().add(docs[:400]).add(docs[400:401]).add(docs[401:])
    assert parts.n_documents == 900
    assert parts.n_postings == whole.n_postings
    for method in METHODS:
        for ours, theirs in zip(parts.search(queries, 10, method), whole.search(queries, 10, method)):
            assert np.array_equal(ours, theirs)


def test_threads_do_not_change_a_bit():
    docs, queries = zipf(20_000, 300, 40, 0), zipf(64, 300, 10, 1)
    index = InvertedIndex().build(docs)
    for method in METHODS:
        one = index.search(queries, 10, method, threads=1)
        for threads in (2, 7):
            other = index.search(queries, 10, method, threads=threads)
            assert np.array_equal(one[0], other[0])
            assert np.array_equal(one[1], other[1])


def test_a_query_of_512_tokens_and_one_of_none():
    docs = zipf(5000, 2000, 60, 0)
    queries = sparse.vstack([zipf(1, 2000, 3000, 1), sparse.csr_matrix((1, 2000))]).tocsr().astype(np.float32)
    assert queries[0].nnz > 512
    index = InvertedIndex().build(docs)
    for method in METHODS:
        ids, scores = index.search(queries, 5, method)
        np.testing.assert_allclose(scores[0], expected(queries, docs, 5)[1][0], rtol=1e-5)
        assert ids[1].tolist() == [-1] * 5
        assert scores[1].tolist() == [0] * 5


def test_empty_documents_are_kept_and_never_found():
    docs = sparse.csr_matrix(np.array([[0, 0], [1, 0], [0, 0]], np.float32))
    index = InvertedIndex().build(docs)
    assert index.n_documents == 3
    assert index.search(sparse.csr_matrix([[1.0, 1.0]]), 3)[0].tolist() == [[1, -1, -1]]
    assert InvertedIndex().build(sparse.csr_matrix((4, 2))).search([[1.0, 1.0]], 1)[0].tolist() == [[-1]]


@pytest.mark.parametrize("bits", [32, 8])
def test_contributions_of_tokens_sum_to_the_score(bits):
    docs, queries = zipf(700, 60, 8, 0), zipf(1, 60, 6, 1)
    index = InvertedIndex(bits).build(docs[:400]).add(docs[400:])
    (ids,), (scores,) = index.search(queries, 20)
    for i, score in zip(ids, scores):
        tokens, parts = index.explain(queries, i)
        np.testing.assert_allclose(parts.sum(), score, rtol=1e-5)
        assert (np.diff(parts) <= 0).all()
        shared = np.intersect1d(queries.indices[queries.data > 0], docs[i].indices[docs[i].data > 0])
        assert sorted(tokens) == shared.tolist()
        if bits == 32:
            exact = queries.toarray()[0, tokens] * docs[i].toarray()[0, tokens]
            np.testing.assert_allclose(parts, exact, rtol=1e-6)
    assert [len(a) for a in index.explain(sparse.csr_matrix((1, 60)), 3)] == [0, 0]


def test_inputs_are_not_changed_and_other_forms_are_taken():
    dense = np.array([[0, 2, 1], [1, 0, 0.5]], np.float64)
    messy = sparse.coo_matrix(([1.0, 1.0, 1.0, 0.0], ([0, 0, 1, 1], [1, 1, 0, 2])), shape=(2, 3))
    for dtype in (np.float32, np.float64):
        csr = sparse.csr_matrix(messy, dtype=dtype)
        csr.data[0] = 0.0
        before = csr.copy()
        InvertedIndex().build(csr)
        for name in ("data", "indices", "indptr"):
            assert np.array_equal(getattr(csr, name), getattr(before, name))
    for docs in (dense, dense.tolist(), sparse.csc_matrix(dense), sparse.csr_array(dense)):
        assert InvertedIndex().build(docs).search([[1, 0, 1]], 2)[1].tolist() == [[1.5, 1.0]]


def test_an_8_bit_index_is_smaller():
    docs = zipf(20_000, 300, 60, 0)
    sizes = [InvertedIndex(bits).build(docs).nbytes for bits in (32, 16, 8)]
    assert sizes[0] > 1.3 * sizes[1] > 1.5 * sizes[2]


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_a_saved_index_is_mapped_back_and_finds_the_same(tmp_path, bits):
    docs, queries = zipf(2000, 200, 10, 0), zipf(5, 200, 4, 1)
    index = InvertedIndex(bits).build(docs[:1500]).add(docs[1500:])
    index.save(tmp_path / "index")
    again = InvertedIndex.load(tmp_path / "index")
    assert (again.bits, again.block, again.vocabulary) == (bits, 64, 200)
    assert repr(again) == repr(index)
    for method in METHODS:
        for ours, theirs in zip(again.search(queries, 7, method), index.search(queries, 7, method)):
            assert np.array_equal(ours, theirs)
    again.add(docs[:3])
    assert again.n_documents == 2003


def test_a_damaged_state_is_refused():
    meta, arrays = InvertedIndex().build(zipf(500, 40, 8, 0)).state()
    InvertedIndex.from_state(meta, arrays)
    for name, change in [
        ("document", lambda a: a[::-1].copy()),
        ("document", lambda a: a + np.uint16(600)),
        ("start", lambda a: a + 1),
        ("block_last", lambda a: a + np.uint16(1)),
        ("block_start", lambda a: a[::-1].copy()),
        ("weight", lambda a: a[:-1]),
        ("seed", lambda a: -a - 1),
        ("scale", lambda a: a * np.nan),
        ("block_most", lambda a: a.astype(np.float64)),
    ]:
        with pytest.raises(FormatError):
            InvertedIndex.from_state(meta, arrays | {f"segment0.{name}": change(arrays[f"segment0.{name}"])})
    for key, value in [
        ("documents", [70_000]),
        ("bits", 7),
        ("vocabulary", 41),
        ("block", 0),
        ("documents", None),
    ]:
        with pytest.raises(FormatError):
            InvertedIndex.from_state(meta | {key: value}, arrays)
    with pytest.raises(FormatError):
        InvertedIndex.from_state(meta, {})


def test_bad_input_is_named():
    index = InvertedIndex().build([[1.0, 2.0]])
    for wrong, error, said in [
        (lambda: InvertedIndex(bits=4), ArgumentError, "bits=4"),
        (lambda: InvertedIndex(block=0), ArgumentError, "block=0"),
        (lambda: InvertedIndex().search([[1.0]]), ArgumentError, "empty"),
        (lambda: InvertedIndex().build(np.zeros((0, 3))), ArgumentError, "at least one document"),
        (lambda: index.build([[-1.0, 1.0]]), ArgumentError, "negative"),
        (lambda: index.build([[np.nan, 1.0]]), ArgumentError, "NaN"),
        (lambda: index.build([[np.inf, 1.0]]), ArgumentError, "infinite"),
        (lambda: index.build(["text"]), UnsupportedError, "sparse matrix"),
        (lambda: index.build(sparse.csr_matrix([[1j, 0]])), UnsupportedError, "complex"),
        (lambda: index.add([[1.0, 2.0, 3.0]]), ShapeError, "(n, 2)"),
        (lambda: index.search([[1.0, 2.0, 3.0]]), ShapeError, "(n, 2)"),
        (lambda: index.search([[1.0, -2.0]]), ArgumentError, "negative"),
        (lambda: index.search([[1.0, 2.0]], k=0), ArgumentError, "k=0"),
        (lambda: index.search([[1.0, 2.0]], method="wand"), ArgumentError, "method='wand'"),
        (lambda: index.explain([[1.0, 2.0]], 1), ArgumentError, "document=1"),
        (lambda: index.explain(np.ones((2, 2)), 0), ShapeError, "expected (1, 2)"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
    assert index.search([[1.0, 2.0]], 1)[1].tolist() == [[5.0]]  # what failed changed nothing


def test_pruning_keeps_the_largest_weights():
    rows = sparse.csr_matrix(np.array([[1, 4, 2, 2, 0], [0, 0, 0, 0, 3], [0, 0, 0, 0, 0]], np.float32))
    assert prune_rows(rows, top_n=2).toarray().tolist() == [[0, 4, 2, 0, 0], [0, 0, 0, 0, 3], [0] * 5]
    assert prune_rows(rows, ratio=0.5).toarray().tolist() == [[0, 4, 2, 2, 0], [0, 0, 0, 0, 3], [0] * 5]
    assert prune_rows(rows).nnz == rows.nnz
    for wrong in ({"top_n": 0}, {"ratio": 1.5}):
        with pytest.raises(ArgumentError):
            prune_rows(rows, **wrong)
