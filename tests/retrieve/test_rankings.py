"""Measures of rankings, fusion of rankings and the search in two phases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.retrieve import (
    InvertedIndex,
    average_flops,
    latency_percentiles,
    mrr,
    ndcg,
    recall,
    reciprocal_rank_fusion,
    score_fusion,
    two_phase_search,
)

IDS = [[3, 1, 2, -1], [7, 8, 9, 4], [-1, -1, -1, -1]]


def test_measures_by_hand():
    relevant = [1, {7, 4, 5}, [6]]
    assert mrr(IDS, relevant) == (1 / 2 + 1 + 0) / 3
    assert recall(IDS, relevant) == (1 + 2 / 3 + 0) / 3
    assert recall(IDS, relevant, k=1) == (0 + 1 / 3) / 3
    gain = (1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / 2)
    assert np.isclose(ndcg(IDS, relevant), (1 / np.log2(3) + gain) / 3)
    assert ndcg([[5]], [[]]) == 0
    assert ndcg([[2, 1]], [{2: 0, 1: 1}]) == 1 / np.log2(3)


def test_ndcg_of_grades_agrees_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (20, 30)), rng.random((20, 30))
    ids = np.argsort(-scores, 1)
    ours = ndcg(ids, [dict(enumerate(row.tolist())) for row in grades], k=7)
    assert np.isclose(ours, sklearn.ndcg_score(2.0**grades - 1, scores, k=7))


def test_average_flops_is_the_mean_number_of_products():
    rng = np.random.default_rng(0)
    q, d = rng.random((7, 30)) < 0.2, rng.random((50, 30)) < 0.3
    exact = np.mean([[(a & b).sum() for b in d] for a in q])
    assert np.isclose(average_flops(sparse.csr_matrix(q), sparse.csr_matrix(d)), exact)


def test_percentiles_of_latency():
    found = latency_percentiles(np.arange(101) / 100)
    assert found == pytest.approx({"mean": 0.5, "p50": 0.5, "p95": 0.95, "p99": 0.99})


def test_reciprocal_ranks_by_hand():
    ids, scores = reciprocal_rank_fusion([[[4, 2, -1]], [[2, 9, 4]]], k=4, weights=[1, 2])
    assert ids.tolist() == [[2, 4, 9, -1]]
    np.testing.assert_allclose(scores, [[1 / 62 + 2 / 61, 1 / 61 + 2 / 63, 2 / 62, 0]], rtol=1e-6)
    assert reciprocal_rank_fusion([[[5, 3]], [[3, 5]]], k=2)[0].tolist() == [[3, 5]]  # a tie: the smaller id
    assert reciprocal_rank_fusion([[[5, 5, 1]]], k=3)[0].tolist() == [[5, 1, -1]]


@given(
    ranking=st.lists(st.permutations(range(8)), min_size=1, max_size=4),
    k=st.integers(1, 8),
    shift=st.floats(-50, 50),
)
def test_fusing_a_ranking_with_itself_changes_nothing(ranking, k, shift):
    ids = np.array(ranking)
    scores = np.sort(np.random.default_rng(0).random(ids.shape), 1)[:, ::-1] * 3 + shift
    for fused in (
        reciprocal_rank_fusion([ids, ids], k),
        score_fusion([(ids, scores), (ids, scores)], k),
        score_fusion([(ids, scores), (ids, scores * 7 + 2)], k, normalize="zscore"),
    ):
        assert np.array_equal(fused[0], ids[:, :k])


def test_scores_are_brought_to_one_scale():
    one, two = ([[1, 2, 3]], [[30.0, 20.0, 10.0]]), ([[3, 1, -1]], [[0.9, 0.7, 0.0]])
    ids, scores = score_fusion([one, two], k=4)
    assert ids.tolist() == [[1, 3, 2, -1]]
    np.testing.assert_allclose(scores, [[1.0, 1.0, 0.5, 0.0]])
    assert score_fusion([one, two], k=2, normalize="none")[1].tolist() == [[pytest.approx(30.7), 20.0]]
    deviation = np.std([30, 20, 10])
    zscore = score_fusion([one], k=3, normalize="zscore")[1]
    np.testing.assert_allclose(zscore, [[20 / deviation, 10 / deviation, 0]], rtol=1e-6)
    same = score_fusion([([[4, 2]], [[0.5, 0.5]]), ([[-1, -1]], [[0.0, 0.0]])], k=2)
    assert same[0].tolist() == [[2, 4]]  # all equal: found, so above 0
    assert same[1].tolist() == [[1.0, 1.0]]


def random_rows(n, width, density, seed):
    return sparse.random(n, width, density, "csr", np.float32, random_state=seed)


def test_two_phases_with_all_tokens_are_the_exact_search():
    docs, queries = random_rows(400, 60, 0.2, 0), random_rows(8, 60, 0.1, 1)
    index = InvertedIndex().build(docs)
    exact = index.search(queries, 7)
    found = two_phase_search(index, docs, queries, 7, ratio=0.0, expansion=1.0)
    assert np.array_equal(found[0], exact[0])
    np.testing.assert_allclose(found[1], exact[1], rtol=1e-5)


def test_two_phases_score_what_the_heavy_tokens_found_by_all_tokens():
    docs, queries = random_rows(400, 60, 0.2, 0), random_rows(8, 60, 0.2, 1)
    ids, scores = two_phase_search(InvertedIndex().build(docs), docs, queries, 5, ratio=0.7, expansion=80)
    full = (queries @ docs.T).toarray()
    for q, row in enumerate(queries.toarray()):
        heavy = docs[:, row >= 0.7 * row.max()].getnnz(1) > 0
        expected = np.argsort(-np.where(heavy, full[q], -1), kind="stable")[:5]
        assert ids[q].tolist() == expected.tolist()
        np.testing.assert_allclose(scores[q], full[q][expected], rtol=1e-5)


def test_two_phases_of_a_query_without_tokens():
    docs = random_rows(5, 4, 0.5, 0)
    ids, scores = two_phase_search(InvertedIndex().build(docs), docs, sparse.csr_matrix((1, 4)), 2)
    assert ids.tolist() == [[-1, -1]]
    assert scores.tolist() == [[0, 0]]


def test_bad_input_is_named():
    docs = random_rows(5, 4, 0.5, 0)
    index = InvertedIndex().build(docs)
    for wrong, error, said in [
        (lambda: ndcg([1, 2], [1]), ShapeError, "one row a query"),
        (lambda: ndcg([[1]], [1, 2]), ShapeError, "2 queries"),
        (lambda: mrr([[1]], [1], k=0), ArgumentError, "k=0"),
        (lambda: average_flops(docs, docs[:, :2]), ShapeError, "one vocabulary"),
        (lambda: latency_percentiles([]), ArgumentError, "empty"),
        (lambda: reciprocal_rank_fusion([]), ArgumentError, "at least one search"),
        (lambda: reciprocal_rank_fusion([[[1.5]]]), ShapeError, "rankings[0] is float64"),
        (lambda: reciprocal_rank_fusion([[[1]], [[1], [2]]]), ShapeError, "[1, 2] queries"),
        (lambda: reciprocal_rank_fusion([[[1]]], constant=-1), ArgumentError, "constant=-1"),
        (lambda: reciprocal_rank_fusion([[[1]]], weights=[1, 2]), ShapeError, "weights"),
        (lambda: reciprocal_rank_fusion([[[1]]], weights=[-1]), ArgumentError, "weights=[-1.0]"),
        (lambda: reciprocal_rank_fusion([[[1]]], k=0), ArgumentError, "k=0"),
        (lambda: score_fusion([([[1]], [[1.0, 2.0]])]), ShapeError, "one shape"),
        (lambda: score_fusion([([[1]], [[np.nan]])]), ArgumentError, "results[0]"),
        (lambda: score_fusion([([[1]], [[1.0]])], normalize="max"), ArgumentError, "normalize='max'"),
        (lambda: two_phase_search(index, docs[:3], docs), ShapeError, "expected 5"),
        (lambda: two_phase_search(index, docs, docs[:, :3]), ShapeError, "queries"),
        (lambda: two_phase_search(index, docs, docs, ratio=2), ArgumentError, "ratio=2"),
        (lambda: two_phase_search(index, docs, docs, expansion=0.5), ArgumentError, "expansion=0.5"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
