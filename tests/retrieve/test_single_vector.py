"""The heuristic takes documents in the order in which neighbours of the query's vectors are seen."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.retrieve import SingleVectorHeuristic, candidate_recall, candidates_needed, chamfer


def in_order(query, documents, n, deduplicate):
    """By definition: rank all tokens for every term, and walk rank by rank."""
    tokens = np.concatenate(documents)
    owner = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
    order = np.argsort(-(query @ tokens.T), axis=1, kind="stable")
    seen = []
    for rank in range(len(tokens)):
        for term in range(len(query)):
            document = owner[order[term, rank]]
            if not deduplicate or document not in seen:
                seen.append(document)
    return (seen + [-1] * n)[:n]


@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("n", [1, 5, 30, 60])
def test_candidates_come_rank_by_rank(deduplicate, n):
    rng = np.random.default_rng(0)
    documents = [rng.standard_normal((rng.integers(1, 6), 8)) for _ in range(30)]
    queries = [rng.standard_normal((m, 8)) for m in (1, 3, 7)]
    index = SingleVectorHeuristic(8).add(documents[:10]).add(documents[10:])
    found = index.candidates(queries, n, deduplicate=deduplicate)
    np.testing.assert_array_equal(found, [in_order(q, documents, n, deduplicate) for q in queries])


@pytest.mark.parametrize("backend", ["exact", "faiss-hnsw"])
def test_search_scores_candidates_exactly(backend):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    documents = [rng.standard_normal((rng.integers(1, 6), 8)) for _ in range(50)]
    queries = [rng.standard_normal((3, 8)) for _ in range(4)]
    index = SingleVectorHeuristic(8, backend, threads=1).add(documents)
    found = index.search(queries, k=5, n_candidates=50)
    for i, q in enumerate(queries):
        np.testing.assert_allclose(found.scores[i], np.sort(chamfer(q, documents))[::-1][:5], rtol=1e-5)
    assert index.nbytes > sum(d.size for d in documents) * 4


def test_recall_and_candidates_needed_by_hand():
    candidates = [[3, 1, 2, -1], [0, 4, 4, 1], [7, 8, 9, 5]]
    np.testing.assert_allclose(
        candidate_recall(candidates, [[1, 2], [0, 9], [5, 7]], [1, 2, 4]), [2 / 6, 3 / 6, 5 / 6]
    )
    assert candidates_needed(candidates, [2, 0, 5], 1 / 3) == 1
    assert candidates_needed(candidates, [2, 0, 5], 2 / 3) == 3
    assert candidates_needed(candidates, [2, 0, 5], 1.0) == 4
    assert candidates_needed(candidates, [2, 6, 5], 0.9) is None


def test_what_does_not_fit_is_refused():
    index = SingleVectorHeuristic(4)
    with pytest.raises(ArgumentError, match="the index is empty"):
        index.candidates(np.ones((1, 4)))
    with pytest.raises(ArgumentError, match="3 dimensions: expected 4"):
        index.add(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="n=0"):
        index.add(np.ones((2, 4))).candidates(np.ones((1, 4)), 0)
    with pytest.raises(ArgumentError, match="backend='none'"):
        SingleVectorHeuristic(4, "none")
    with pytest.raises(ArgumentError, match="one row a query"):
        candidate_recall([[1]], [[1], [2]], [1])
    with pytest.raises(ArgumentError, match="share=0"):
        candidates_needed([[1]], [1], 0)
