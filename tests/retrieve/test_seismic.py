"""Approximate search by Seismic against the exact one."""

import numpy as np
import pytest
from scipy import sparse

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.retrieve import InvertedIndex, SeismicIndex

pytest.importorskip("seismic")


def rows(n, seed, width=80, density=0.15):
    return sparse.random(n, width, density, "csr", np.float32, random_state=seed)


DOCS, QUERIES = rows(600, 0), rows(12, 1, density=0.06)


def test_most_of_the_best_are_found_with_their_scores():
    index = SeismicIndex(query_cut=20, heap_factor=1.0, summary_energy=1.0).build(DOCS)
    ids, scores = index.search(QUERIES, 10)
    exact, _ = InvertedIndex().build(DOCS).search(QUERIES, 10)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact)])
    assert shared >= 0.9
    there = ids >= 0
    full = np.take_along_axis((QUERIES @ DOCS.T).toarray(), np.maximum(ids, 0), 1)
    np.testing.assert_allclose(scores[there], full[there], rtol=5e-3)  # weights are kept in 16 bits
    assert (np.diff(scores, axis=1) <= 0).all()


def test_an_index_is_saved_and_loaded(tmp_path):
    index = SeismicIndex(query_cut=7).build(DOCS)
    index.save(tmp_path / "index")
    again = SeismicIndex.load(tmp_path / "index")
    assert (again.n_documents, again.vocabulary, again.query_cut) == (600, 80, 7)
    assert again.nbytes == index.nbytes > 0
    for ours, theirs in zip(again.search(QUERIES, 5), index.search(QUERIES, 5)):
        assert np.array_equal(ours, theirs)
    InvertedIndex().build(DOCS).save(tmp_path / "other")
    with pytest.raises(FormatError):
        SeismicIndex.load(tmp_path / "other")


def test_empty_queries_and_fewer_hits_are_padded():
    index = SeismicIndex().build(sparse.csr_matrix(np.eye(3, dtype=np.float32)))
    ids, scores = index.search(sparse.csr_matrix([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), 2)
    assert ids.tolist() == [[1, -1], [-1, -1]]
    assert scores.tolist() == [[2, 0], [0, 0]]


def test_bad_input_is_named():
    index = SeismicIndex().build(DOCS)
    for wrong, error, said in [
        (lambda: SeismicIndex(n_postings=0), ArgumentError, "n_postings=0"),
        (lambda: SeismicIndex(heap_factor=0), ArgumentError, "heap_factor=0"),
        (lambda: SeismicIndex().search(QUERIES), ArgumentError, "empty"),
        (lambda: SeismicIndex().save("nowhere"), ArgumentError, "empty"),
        (lambda: SeismicIndex().build(sparse.csr_matrix((3, 4))), ArgumentError, "no weight"),
        (lambda: SeismicIndex().build([[-1.0]]), ArgumentError, "negative"),
        (lambda: index.search(QUERIES, 0), ArgumentError, "k=0"),
        (lambda: index.search(QUERIES[:, :3]), ShapeError, "(n, 80)"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
