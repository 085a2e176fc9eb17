"""Saliencies and masks of groups: against brute force, formulas and sorted lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linalg.random_layers import damped, layer

from gossamer._core.errors import ArgumentError
from gossamer.compress import group_mask, group_saliency
from gossamer.linalg import GroupSparseQuant


def inputs(width, seed=0, tokens=300):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, width)) @ rng.normal(size=(width, width))
    return x, x.T @ x / tokens


@pytest.mark.parametrize("width", [3, 8, 12])
def test_obs_picks_first_the_weight_whose_removal_costs_least_after_the_best_reply(width):
    _x, H = inputs(width, width)
    H = H + 0.01 * np.diag(H).mean() * np.eye(width)  # the damping, so that both minimise the same thing
    undamped = H - 0.01 / 1.01 * np.diag(H).mean() * np.eye(width)
    W = np.random.default_rng(1).normal(size=(4, width))
    for row in W:
        costs = []
        for j in range(width):
            others = np.delete(np.arange(width), j)
            # minimise (w' - w) H (w' - w)^T over w' with w'_j = 0
            reply = np.linalg.solve(H[np.ix_(others, others)], H[others, j] * row[j])
            d = np.zeros(width)
            d[j], d[others] = -row[j], reply
            costs.append(d @ H @ d)
        scores = group_saliency(row[None], undamped, group_size=1, metric="obs")[0]
        np.testing.assert_allclose(scores, costs, rtol=1e-6)
        mask = group_mask(scores[None], 1 / width)
        assert np.flatnonzero(~mask[0]).tolist() == [int(np.argmin(costs))]


def test_with_independent_inputs_hessian_wanda_and_obs_are_powers_of_the_same():
    h = np.random.default_rng(0).gamma(1.0, size=32)
    W = np.random.default_rng(1).normal(size=(6, 32))
    d = 0.01 * h.mean()
    for metric, weight in (("hessian", (h + d) ** 2), ("obs", h + d), ("wanda", h), ("magnitude", 1 + 0 * h)):
        expected = (W**2 * weight).reshape(6, 4, 8).mean(axis=2)
        np.testing.assert_allclose(group_saliency(W, np.diag(h), group_size=8, metric=metric), expected)


def test_a_sweep_score_is_the_loss_of_the_whole_group_when_all_later_columns_reply():
    W, H = layer(3, 12, seed=4)
    scores = group_saliency(W, H, group_size=4, metric="sweep")
    D = damped(H)
    for i in range(3):
        lost, others = np.arange(4), np.arange(4, 12)
        reply = np.linalg.solve(D[np.ix_(others, others)], D[np.ix_(others, lost)] @ W[i, :4])
        d = np.concatenate([-W[i, :4], reply])
        np.testing.assert_allclose(scores[i, 0], d @ D @ d / 4, rtol=1e-4)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=3),
    st.floats(0, 0.95),
    st.integers(0, 99),
)
def test_the_block_scope_keeps_the_best_groups_of_all_matrices_together(shapes, sparsity, seed):
    rng = np.random.default_rng(seed)
    scores = [rng.integers(1, 5, shape).astype(float) for shape in shapes]
    masks = group_mask(scores, sparsity, scope="block")
    flat = np.concatenate([(s / s.mean()).ravel() for s in scores])
    kept = max(1, int(np.ceil((1 - sparsity) * flat.size - 1e-9 * flat.size)))
    best = sorted(range(flat.size), key=lambda i: (-flat[i], i))[:kept]
    expected = np.isin(np.arange(flat.size), best)
    np.testing.assert_array_equal(np.concatenate([m.ravel() for m in masks]), expected)
    assert [m.shape for m in masks] == [tuple(s) for s in shapes]


def test_the_projection_keeps_exactly_the_groups_of_the_mask():
    W, H = layer(10, 48, seed=2)
    for metric in ("hessian", "obs", "wanda", "magnitude", "sweep"):
        for scope in ("matrix", "row"):
            A = GroupSparseQuant.from_dense(
                W, group_size=8, sparsity=0.4, hessian=H, metric=metric, scope=scope, start="mask"
            )
            mask = group_mask(group_saliency(W, H, group_size=8, metric=metric), 0.4, scope=scope)
            stored = np.zeros(mask.shape, bool)
            stored[np.repeat(np.arange(10), np.diff(A.factors["row_ptr"])), A.factors["col"]] = True
            np.testing.assert_array_equal(stored, mask)


def test_inputs_that_are_always_zero_count_nothing_and_divide_nothing():
    W = np.ones((2, 8))
    H = np.diag([1.0, 1, 1, 1, 0, 0, 0, 0])
    for metric in ("hessian", "obs", "wanda"):
        scores = group_saliency(W, H, group_size=4, metric=metric)
        assert np.isfinite(scores).all()
        assert (scores[:, 1] == 0).all()
        assert (scores[:, 0] > 0).all()
        assert (group_saliency(W, 0 * H, group_size=4, metric=metric) == 0).all()


def test_bad_arguments_are_named():
    W = np.ones((2, 8))
    with pytest.raises(ArgumentError, match="sparsity"):
        group_mask(W, 1.0)
    with pytest.raises(ArgumentError, match="scope"):
        group_mask(W, 0.5, scope="model")
    with pytest.raises(ArgumentError, match="share scope='block'"):
        group_mask([W, W], 0.5)
    with pytest.raises(ArgumentError, match="metric"):
        group_saliency(W, metric="hesian")
    with pytest.raises(ArgumentError, match="NaN"):
        group_saliency(np.full((2, 8), np.nan))
    with pytest.raises(ArgumentError, match="negative"):
        group_saliency(W, -np.eye(8))
