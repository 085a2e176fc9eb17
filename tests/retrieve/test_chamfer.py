"""Chamfer similarity is the sum of best inner products; ball carving keeps it where groups agree."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieve import fde_by_definition as definition

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.retrieve import TokenVectors, ball_carve, chamfer


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 40),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)  # fmt: skip
def test_it_is_the_sum_of_best_inner_products(seed, m, dim, lengths):
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((m, dim))
    documents = [rng.standard_normal((n, dim)) for n in lengths]
    exact = [definition.chamfer(Q, p) for p in documents]
    found = chamfer(Q, documents)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        chamfer(Q, documents, normalize=True), np.array(exact) / m, rtol=1e-5, atol=1e-4
    )


def test_all_forms_of_documents_agree_and_threads_change_nothing():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    Q, flat = (
        rng.standard_normal((9, 48)).astype(np.float32),
        rng.standard_normal((400, 48)).astype(np.float32),
    )
    offsets = np.unique(np.r_[0, rng.integers(1, 400, 60), 400])
    parts = [flat[a:b] for a, b in pairwise(offsets)]
    expected = chamfer(Q, flat, offsets, threads=1)
    for threads in (2, 7):
        np.testing.assert_array_equal(chamfer(Q, parts, threads=threads), expected)
    np.testing.assert_array_equal(chamfer(torch.tensor(Q), TokenVectors(flat, offsets)), expected)
    half, bfloat = flat.astype(np.float16), torch.tensor(flat).bfloat16()
    np.testing.assert_allclose(
        chamfer(Q, half, offsets), chamfer(Q, half.astype(np.float32), offsets), rtol=1e-6
    )
    np.testing.assert_allclose(chamfer(Q, bfloat, offsets), chamfer(Q, bfloat.float(), offsets), rtol=1e-6)
    assert chamfer(Q, flat).shape == (1,)


def test_it_is_not_symmetric():
    a, b = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert chamfer(a, b)[0] == 1 == chamfer(b, a)[0]
    assert chamfer(np.vstack([a, a]), b)[0] == 2 != chamfer(b, np.vstack([a, a]))[0]


def test_ball_carving_changes_nothing_where_there_is_nothing_to_group():
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0][:5]
    np.testing.assert_array_equal(ball_carve(Q, 0.7), Q.astype(np.float32))
    again = np.vstack([Q, Q])
    np.testing.assert_array_equal(ball_carve(again, 1 + 1e-5), again.astype(np.float32))


def test_duplicates_collapse_and_keep_the_similarity():
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0][:4]
    documents = [rng.standard_normal((n, 20)) for n in (3, 8)]
    grouped = ball_carve(np.repeat(Q, 3, axis=0), 0.99)
    assert grouped.shape == (4, 20)
    np.testing.assert_allclose(chamfer(grouped, documents), 3 * chamfer(Q, documents), rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(-1, 1))
def test_carved_queries_have_the_same_sum_and_no_more_similarity(seed, tau):
    rng = np.random.default_rng(seed)
    Q, P = rng.standard_normal((15, 6)) + 1, rng.standard_normal((20, 6))
    Q /= np.linalg.norm(Q, axis=1, keepdims=True)
    groups = ball_carve(Q, tau)
    np.testing.assert_allclose(groups.sum(0), Q.sum(0), atol=1e-5)
    assert chamfer(groups, P)[0] <= chamfer(Q, P)[0] + 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 4))), "4 dimensions: expected 3"),
        ((np.ones((2, 3)), np.ones((2, 3)), [0, 1, 1, 2]), "set 1 is empty"),
        ((np.ones((0, 3)), np.ones((2, 3))), "set 0 is empty"),
        ((np.full((2, 3), np.inf), np.ones((2, 3))), "Q has NaN or infinite"),
        ((np.ones((2, 3)), np.full((2, 3), np.nan)), "D has NaN or infinite"),
        ((np.ones(3), np.ones((2, 3))), "Q has shape"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        chamfer(*arguments)


def test_several_queries_at_once_are_refused():
    sets = TokenVectors(np.ones((4, 3), np.float32), np.array([0, 2, 4]))
    with pytest.raises(ShapeError, match="Q holds 2 sets"):
        chamfer(sets, np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="tau"):
        ball_carve(np.ones((2, 3)), np.nan)
