"""The index finds what exact search finds among its candidates, through every library, and comes back from files."""

import itertools

import numpy as np
import pytest
from tests.retrieve import fde_by_definition as definition

from gossamer._core.errors import (
    ArgumentError,
    ConflictError,
    FormatError,
    MissingDependencyError,
    ShapeError,
)
from gossamer.retrieve import FDEConfig, FDEncoder, MuveraIndex, TokenVectors, ball_carve, chamfer

LIBRARIES = {"exact": "numpy", "faiss-hnsw": "faiss", "faiss-pq": "faiss", "hnswlib": "hnswlib"}
LIBRARIES |= {"usearch": "usearch.index", "scann": "scann"}
CONFIG = FDEConfig(dim=24, reps=10, k_sim=4, d_proj=8)


def corpus(n=400, seed=0):
    """Documents around 40 topics, and queries of three noisy vectors of a document."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((40, 24))
    documents = []
    for i in range(n):
        x = topics[i % 40] + rng.standard_normal((rng.integers(2, 12), 24))
        documents.append((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    queries = [
        d[rng.integers(0, len(d), 3)] + 0.1 * rng.standard_normal((3, 24), np.float32)
        for d in documents[::10]
    ]
    return documents, queries


DOCUMENTS, QUERIES = corpus()
EXACT = np.stack([chamfer(q, DOCUMENTS) for q in QUERIES])


@pytest.fixture(params=LIBRARIES)
def backend(request):
    pytest.importorskip(LIBRARIES[request.param])
    return request.param


def test_exact_search_is_brute_force():
    index = MuveraIndex(CONFIG).add(DOCUMENTS)
    found = index.search(QUERIES[:5], k=400, n_candidates=None)
    for i, q in enumerate(QUERIES[:5]):
        brute = np.array([definition.chamfer(q, d) for d in DOCUMENTS])
        np.testing.assert_allclose(found.scores[i], np.sort(brute)[::-1], atol=1e-4)
        np.testing.assert_allclose(brute[found.ids[i]], found.scores[i], atol=1e-4)


def test_candidates_are_those_with_the_largest_estimates_and_scores_are_exact():
    index = MuveraIndex(CONFIG).add(DOCUMENTS[:150]).add(DOCUMENTS[150:])
    encoder = FDEncoder(CONFIG)
    estimates = encoder.encode_query(QUERIES) @ encoder.encode_document(DOCUMENTS).T / CONFIG.reps
    ids, scores = index.candidates(QUERIES, 20)
    np.testing.assert_allclose(scores, -np.sort(-estimates, axis=1)[:, :20], atol=1e-4)
    found = index.search(QUERIES, k=5, n_candidates=20)
    for i in range(len(QUERIES)):
        order = sorted(ids[i], key=lambda d: -EXACT[i, d])[:5]
        np.testing.assert_allclose(found.scores[i], EXACT[i, order], atol=1e-4)
    assert set(found.timings) == {"encode", "candidates", "rerank"}
    plain = MuveraIndex(CONFIG, rerank=False).add(DOCUMENTS).search(QUERIES, k=20)
    np.testing.assert_allclose(plain.scores, scores, atol=1e-4)


def test_every_library_finds_the_nearest_documents(backend, tmp_path):
    index = (
        MuveraIndex(CONFIG, backend, threads=1)
        .add(DOCUMENTS[:300])
        .add(DOCUMENTS[300:], ids=range(1000, 1100))
    )
    names = np.r_[:300, 1000:1100]
    nearest = names[EXACT.argmax(1)]
    found = index.search(QUERIES, k=3, n_candidates=60)
    assert (found.ids[:, 0] == nearest).mean() >= 0.95
    np.testing.assert_allclose(found.scores[:, 0][found.ids[:, 0] == nearest],
                               EXACT.max(1)[found.ids[:, 0] == nearest], atol=1e-4)  # fmt: skip
    index.save(tmp_path / "index")
    again = MuveraIndex.load(tmp_path / "index", threads=1)
    for one, other in zip(found, again.search(QUERIES, k=3, n_candidates=60), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(again) == 400
    assert again.nbytes == sum(again.memory.values()) == index.nbytes
    gone = np.unique(nearest)
    again.delete(gone)
    later = again.search(QUERIES, k=3, n_candidates=60)
    assert not np.isin(later.ids, gone).any()
    assert len(again) == 400 - len(gone)
    smaller = again.compact()
    ids = smaller.search(QUERIES, k=3, n_candidates=60).ids
    assert not np.isin(ids, gone).any()
    living = names[np.where(np.isin(names, gone), -np.inf, EXACT).argmax(1)]
    for found in (later.ids, ids):
        assert (found[:, 0] == living).mean() >= 0.85


def test_codes_make_encodings_32_times_smaller():
    pytest.importorskip("faiss")
    codes = MuveraIndex(CONFIG, "faiss-pq", threads=1).add(DOCUMENTS)
    shared = 4 * 256 * CONFIG.fde_dim  # centroids
    assert codes.memory["encodings"] - shared < 1.05 * 400 * CONFIG.fde_dim / 8
    with pytest.raises(ArgumentError, match="20 documents in the first call of add: expected at least 256"):
        MuveraIndex(CONFIG, "faiss-pq").add(DOCUMENTS[:20])
    with pytest.raises(ArgumentError, match="pq=7"):
        MuveraIndex(CONFIG, "faiss-pq", pq=7)


def test_half_precision_tokens_take_half_the_memory():
    full, half = (MuveraIndex(CONFIG, token_dtype=t).add(DOCUMENTS) for t in ("float32", "float16"))
    assert half.memory["tokens"] < 0.6 * full.memory["tokens"]
    a, b = full.search(QUERIES), half.search(QUERIES)
    np.testing.assert_allclose(a.scores, b.scores, atol=5e-3)
    assert (a.ids == b.ids).mean() > 0.98


def test_carved_queries_score_as_ball_carving_says():
    Q = [np.vstack([q, q + 0.01]) for q in QUERIES[:4]]
    found = MuveraIndex(CONFIG, ball_tau=0.9).add(DOCUMENTS).search(Q, k=1, n_candidates=None)
    for i, q in enumerate(Q):
        carved = ball_carve(q, 0.9)
        assert len(carved) < len(q)
        np.testing.assert_allclose(found.scores[i, 0], chamfer(carved, DOCUMENTS).max(), rtol=1e-5)


def test_a_center_counts_and_is_kept(tmp_path):
    shifted = [d + 1 for d in DOCUMENTS]
    center = np.concatenate(shifted).mean(0)
    index = MuveraIndex(CONFIG, center=center).add(shifted)
    index.save(tmp_path)
    queries = [q + 1 for q in QUERIES]
    expected = index.search(queries, n_candidates=10)
    np.testing.assert_array_equal(
        MuveraIndex.load(tmp_path).search(queries, n_candidates=10).ids, expected.ids
    )
    plain = MuveraIndex(CONFIG).add(shifted).candidates(queries, 10)
    assert not np.array_equal(plain.ids, index.candidates(queries, 10).ids)


def test_forms_of_input_agree_and_fewer_documents_than_k_leave_holes():
    flat = np.concatenate(DOCUMENTS[:6])
    offsets = np.cumsum([0] + [len(d) for d in DOCUMENTS[:6]])
    expected = MuveraIndex(CONFIG).add(DOCUMENTS[:6]).search(QUERIES[:3], k=8)
    assert expected.ids.shape == (3, 8)
    assert (expected.ids[:, 6:] == -1).all()
    assert np.isneginf(expected.scores[:, 6:]).all()
    for args in ((flat, offsets), (TokenVectors(flat, offsets),)):
        np.testing.assert_array_equal(
            MuveraIndex(CONFIG).add(*args).search(QUERIES[:3], k=8).ids, expected.ids
        )
    joined = np.concatenate(QUERIES[:3]), np.arange(0, 10, 3)
    found = MuveraIndex(CONFIG).add(DOCUMENTS[:6]).search(joined[0], k=8, offsets=joined[1])
    np.testing.assert_array_equal(found.ids, expected.ids)


def test_saving_again_writes_only_what_is_new(tmp_path):
    index = MuveraIndex(CONFIG).add(DOCUMENTS[:200])
    index.save(tmp_path)
    before = {path.name for path in tmp_path.glob("tokens.*")} | {
        p.name for p in tmp_path.glob("encodings.*")
    }
    reader = MuveraIndex.load(tmp_path)
    index.add(DOCUMENTS[200:]).delete([3])
    index.save(tmp_path)
    assert before < {path.name for path in tmp_path.iterdir()}
    assert len(reader) == 200  # what was opened stays what it was
    reader.search(QUERIES[:2])
    again = MuveraIndex.load(tmp_path)
    np.testing.assert_array_equal(again.search(QUERIES).ids, index.search(QUERIES).ids)
    with pytest.raises(ConflictError, match="generation"):
        reader.save(tmp_path)
    again.compact().save(tmp_path)
    assert len(MuveraIndex.load(tmp_path)) == 399
    with pytest.raises(ConflictError, match="generation"):
        index.compact().save(tmp_path)


def test_what_the_caller_does_to_his_arrays_later_changes_nothing():
    flat, offsets = np.concatenate(DOCUMENTS[:6]), np.cumsum([0] + [len(d) for d in DOCUMENTS[:6]])
    index = MuveraIndex(CONFIG).add(flat, offsets)
    before = index.search(QUERIES[:2], k=3)
    flat[:] = 0
    np.testing.assert_array_equal(index.search(QUERIES[:2], k=3).scores, before.scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add(np.ones((2, 5))), "5 dimensions: expected 24"),
        (lambda i: i.add(DOCUMENTS[:2], ids=[1, 1]), "1 is negative, twice there, or in the index"),
        (lambda i: i.add(DOCUMENTS[:2], ids=[90, 3]), "3 is negative, twice there, or in the index"),
        (lambda i: i.add(DOCUMENTS[:2], ids=[-5, 90]), "-5 is negative"),
        (lambda i: i.add(DOCUMENTS[:2], ids=[90]), "expected \\(2,\\), one a document"),
        (lambda i: i.add(DOCUMENTS[:2], ids=[0.5, 90]), "ids are float64"),
        (lambda i: i.delete([2, 77]), "77 is not in the index"),
        (lambda i: i.search(np.ones((2, 5))), "5 dimensions: expected 24"),
        (lambda i: i.search(np.full((2, 24), np.nan)), "queries has NaN"),
        (lambda i: i.search(QUERIES, k=0), "k=0"),
        (lambda i: i.search(QUERIES, n_candidates=0), "n_candidates=0"),
        (lambda i: i.candidates(QUERIES, 0), "n=0"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(call, message):
    index = MuveraIndex(CONFIG).add(DOCUMENTS[:9])
    before = index.search(QUERIES[:3]).scores
    with pytest.raises(ArgumentError, match=message):
        call(index)
    assert len(index) == 9
    np.testing.assert_array_equal(index.search(QUERIES[:3]).scores, before)


def test_settings_that_are_not_offered_are_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="did you mean 'hnswlib'"):
        MuveraIndex(CONFIG, "hnsw-lib")
    with pytest.raises(ArgumentError, match="only faiss-pq has codes"):
        MuveraIndex(CONFIG, pq=8)
    with pytest.raises(ArgumentError, match="token_dtype='int8'"):
        MuveraIndex(CONFIG, token_dtype="int8")
    with pytest.raises(ArgumentError, match="those of exact"):
        MuveraIndex(CONFIG, options={"ef": 3})
    with pytest.raises(ArgumentError, match="the index is empty"):
        MuveraIndex(CONFIG).search(QUERIES)
    bare = MuveraIndex(CONFIG, rerank=False).add(DOCUMENTS[:3])
    with pytest.raises(ArgumentError, match="n_candidates=None"):
        bare.search(QUERIES, n_candidates=None)
    with pytest.raises(ArgumentError, match="keeps no token vectors"):
        bare.compact()
    monkeypatch.setitem(__import__("sys").modules, "hnswlib", None)
    with pytest.raises(MissingDependencyError, match=r"'hnswlib'.*gossamer\[retrieve\]"):
        MuveraIndex(CONFIG, "hnswlib")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, a: m.pop("config"), "config"),
        (lambda m, a: m["config"].update(k_sim=40), "k_sim=40"),
        (lambda m, a: m.update(backend="none"), "backend='none'"),
        (lambda m, a: m.update(more=1), "more"),
        (lambda m, a: a.update(ids=np.zeros(9, np.int64)), "no id twice"),
        (lambda m, a: a.update(alive=np.ones(8, bool)), "9 positions"),
        (lambda m, a: a.pop("encodings.vectors.0"), "0 positions"),
        (lambda m, a: a.update({"encodings.vectors.0": np.ones((9, 3), np.float32)}), "expected float32"),
        (lambda m, a: a.pop("tokens.offsets.0"), "9 encodings and 0 documents"),
        (lambda m, a: a.update({"tokens.offsets.0": np.arange(10)}), "expected to rise from 0"),
        (lambda m, a: a.update({"tokens.vectors.0": np.ones((60, 24))}), "expected float32"),
    ],
)
def test_a_state_that_is_none_is_refused(change, message):
    meta, arrays = MuveraIndex(CONFIG).add(DOCUMENTS[:9]).state()
    change(meta, arrays)
    with pytest.raises(FormatError, match=message):
        MuveraIndex.from_state(meta, arrays)


@pytest.mark.parametrize("name", ["faiss-hnsw", "hnswlib", "usearch", "scann"])
def test_damaged_bytes_of_a_library_are_refused(name):
    pytest.importorskip(LIBRARIES[name])
    meta, arrays = MuveraIndex(CONFIG, name, threads=1).add(DOCUMENTS[:30]).state()
    other = next(key for key in arrays if key.startswith("encodings."))
    arrays[other] = np.zeros(64, np.uint8)
    with pytest.raises(FormatError):
        MuveraIndex.from_state(meta, arrays)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    from gossamer.retrieve.storage import save_index

    save_index(tmp_path, "other", {}, {})
    with pytest.raises(FormatError, match="kind 'other'"):
        MuveraIndex.load(tmp_path)
    with pytest.raises(ShapeError):
        MuveraIndex(CONFIG, center=np.ones(3))


def test_the_order_of_equal_scores_is_that_of_documents():
    copies = list(itertools.repeat(DOCUMENTS[0], 7))
    ids = MuveraIndex(CONFIG).add(copies).search(DOCUMENTS[0], k=7, n_candidates=None).ids
    np.testing.assert_array_equal(ids, [range(7)])
