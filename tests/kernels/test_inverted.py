"""Searches of postings against the full product, on every instruction set."""

import numpy as np
import pytest
from scipy import sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import inverted


def rows(n, width, density, seed):
    made = sparse.random(n, width, density, "csr", np.float32, random_state=seed)
    made.data = np.ceil(made.data * 7)  # integers add without rounding
    made.sort_indices()
    return made


def found(postings, queries, k, method, threads=1, first=0):
    best = inverted.empty(queries.shape[0], k)
    inverted.search(postings, queries.indptr, queries.indices, queries.data, best, first, method, threads)
    return inverted.finish(best)


@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize("method", inverted.METHODS)
@pytest.mark.parametrize("n", [1, 5, 130, 4096, 9001])
def test_the_k_best_are_those_of_the_full_product(n, method, bits):
    docs, queries = rows(n, 60, 0.2, n), rows(9, 60, 0.1, n + 1)
    scores = (queries @ docs.T).toarray()
    for k, block in ((1, 1), (min(n, 11), 64), (n, 100)):
        postings = inverted.invert(docs.indptr, docs.indices, docs.data, 60, bits, block)
        inverted.check(postings)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, 1)
        ids, values = found(postings, queries, k, method)
        assert np.array_equal(ids, np.where(best > 0, order + 0, -1))
        assert np.array_equal(values, best)
        for threads in (2, 7):
            again = found(postings, queries, k, method, threads)
            assert np.array_equal(again[0], ids)
            assert np.array_equal(again[1], values)


def test_the_searches_give_the_same_bits_with_8_bits():
    docs, queries = rows(5000, 90, 0.2, 0), rows(9, 90, 0.1, 1)
    docs.data *= np.random.default_rng(0).random(docs.nnz, np.float32) + 0.1
    postings = inverted.invert(docs.indptr, docs.indices, docs.data, 90, 8, 64)
    one = found(postings, queries, 10, "taat")
    for method in inverted.METHODS[1:]:
        other = found(postings, queries, 10, method)
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1].view(np.int32), other[1].view(np.int32))


def test_postings_are_the_transpose():
    docs = rows(500, 40, 0.1, 3)
    postings = inverted.invert(docs.indptr, docs.indices, docs.data, 40, 32, 8)
    by_token = docs.tocsc()
    by_token.sort_indices()
    assert np.array_equal(postings.start, by_token.indptr)
    assert np.array_equal(postings.document, by_token.indices)
    assert np.array_equal(postings.weight, by_token.data)
    largest = docs.max(axis=0).toarray().ravel()
    assert np.array_equal(postings.seed[:, 0], largest)
    tenth = [np.sort(by_token[:, [t]].data)[::-1][9:10].sum() for t in range(40)]  # 0 where there are fewer
    assert (postings.seed[:, 1] <= tenth).all()


def test_native_code_never_sees_what_does_not_fit():
    row, token, weight = np.array([0, 1]), np.array([1], np.int32), np.ones(1, np.float32)
    postings = inverted.invert(row, token, weight, 2, 32, 64)
    good = {
        "row": row,
        "token": token,
        "weight": weight,
        "best": inverted.empty(1, 1),
        "first": 0,
        "method": "bmw",
    }
    for change, error, said in [
        ({"token": token + 1}, ArgumentError, "tokens span 2..2"),
        ({"token": token - 2}, ArgumentError, "tokens span -1..-1"),
        ({"row": np.array([0, 2])}, ArgumentError, "indptr"),
        ({"best": inverted.empty(2, 1)}, ShapeError, "1 queries for 2 heaps"),
        ({"weight": np.ones(2, np.float32)}, ShapeError, "heaps"),
        ({"method": "wand"}, ArgumentError, "method='wand'"),
    ]:
        with pytest.raises(error, match=said.replace(".", r"\.")):
            inverted.search(postings, **{**good, **change})
    with pytest.raises(ArgumentError, match="tokens span"):
        inverted.invert(row, token, weight, 1, 32, 64)
    with pytest.raises(ShapeError, match="at most 65536"):
        inverted.invert(np.zeros(65_538, np.int64), token[:0], weight[:0], 1, 32, 64)
