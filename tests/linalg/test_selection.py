"""Saliency and masks: against sorted lists and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.linalg.random_layers import damped, layer

from gossamer._core.errors import ArgumentError
from gossamer.linalg.nearest.selection import (
    block_means,
    block_sums,
    count_kept,
    expand_blocks,
    group_losses,
    keep_largest,
    keep_nm,
    rationed,
    saliency,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
# few distinct values, so that ties are the rule
SCORES = SHAPES.flatmap(lambda s: hnp.arrays(np.float64, s, elements=st.integers(0, 3).map(float)))


def by_sorting(scores, k):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    mask = np.zeros(len(scores), bool)
    mask[order[:k]] = True
    return mask


@given(SCORES, st.floats(0.01, 1))
def test_the_largest_scores_stay_and_ties_keep_the_lower_index(scores, density):
    flat = by_sorting(scores.ravel(), count_kept(density, scores.size)).reshape(scores.shape)
    np.testing.assert_array_equal(keep_largest(scores, density), flat)
    rows = [by_sorting(row, count_kept(density, scores.shape[1])) for row in scores]
    np.testing.assert_array_equal(keep_largest(scores, density, "row"), rows)


@given(SCORES, st.integers(1, 5), st.integers(1, 5))
def test_n_of_m_keeps_the_largest_of_every_group(scores, a, b):
    n, m = min(a, b), max(a, b)
    mask = keep_nm(scores, n, m)
    for row, kept in zip(scores, mask):
        for start in range(0, len(row), m):
            group = row[start : start + m]
            np.testing.assert_array_equal(kept[start : start + m], by_sorting(group, n))


@given(SCORES, st.integers(1, 4), st.integers(1, 4))
def test_block_means_average_what_lies_inside_the_matrix(scores, r, c):
    means = block_means(scores, (r, c))
    for i, j in np.ndindex(means.shape):
        assert means[i, j] == pytest.approx(scores[i * r : (i + 1) * r, j * c : (j + 1) * c].mean())
        total = scores[i * r : (i + 1) * r, j * c : (j + 1) * c].sum()
        assert block_sums(scores, (r, c))[i, j] == pytest.approx(total)
    assert expand_blocks(means, (r, c), scores.shape).shape == scores.shape


def test_groups_are_ranked_by_their_mean_so_that_a_short_one_is_not_at_a_loss():
    scores = np.array([[1.0, 1, 1, 1, 2]])
    np.testing.assert_array_equal(keep_largest(block_means(scores, (1, 4)), 0.5), [[False, True]])


@pytest.mark.parametrize("width", [1, 3, 4])
def test_a_group_loss_is_the_error_after_the_columns_to_the_right_have_replied(width):
    W, H = layer(3, 10)
    D, losses = damped(H), group_losses(W, H, width)
    for g, i in np.ndindex(losses.shape[1], 3):
        lost, free = slice(g * width, (g + 1) * width), slice((g + 1) * width, None)
        change = np.zeros(10)
        change[lost] = W[i, lost]
        change[free] = -np.linalg.solve(D[free, free], D[free, lost] @ W[i, lost])
        assert losses[i, g] == pytest.approx(change @ D @ change)


@pytest.mark.parametrize(("density", "n", "kept"), [(0.07, 100, 7), (0.5, 3, 2), (1.0, 5, 5), (1e-6, 10, 1)])
def test_counts_are_rounded_up_and_immune_to_binary_fractions(density, n, kept):
    assert count_kept(density, n) == kept


@given(st.floats(0.05, 1), st.integers(1, 6), st.integers(1, 40), st.integers(1, 9))
def test_a_rationed_selection_ends_with_the_exact_count(density, rows, width, window):
    scores = np.random.default_rng(0).random((rows, width))
    for scope in ("matrix", "row"):
        select = rationed(density, scope)
        mask = np.hstack([select(scores[:, j : j + window], j) for j in range(0, width, window)])
        if scope == "matrix":
            assert mask.sum() == count_kept(density, rows * width)
        else:
            assert (mask.sum(axis=1) == count_kept(density, width)).all()


def test_saliencies_are_the_formulas_of_their_table():
    W, H = layer(3, 6)
    inverse = np.diag(np.linalg.inv(damped(H)))
    np.testing.assert_allclose(saliency(W, H, "magnitude"), W**2)
    np.testing.assert_allclose(saliency(W, H, "wanda"), W**2 * np.diag(H))
    np.testing.assert_allclose(saliency(W, H, "obs"), W**2 / inverse)
    np.testing.assert_allclose(saliency(W, H, "hessian"), W**2 / inverse**2)
    np.testing.assert_allclose(saliency(W, H), W**2 / inverse)
    np.testing.assert_allclose(saliency(W, np.diag(H)), W**2 * np.diag(H))
    np.testing.assert_allclose(saliency(W), W**2)


def test_with_a_diagonal_metric_obs_is_wanda_and_hessian_its_power_law():
    W, H = layer(3, 6)
    h = np.diag(H).copy()
    np.testing.assert_allclose(saliency(W, h, "obs"), saliency(W, h, "wanda"))
    np.testing.assert_allclose(saliency(W, h, "hessian"), W**2 * h**2)


@pytest.mark.parametrize("K", [5, 12])
def test_the_obs_score_is_the_loss_of_one_weight_with_the_best_reply_of_the_others(K):
    W, H = layer(1, K)
    D, scores, losses = damped(H), saliency(W, H, "obs")[0], []
    for j in range(K):
        rest = np.arange(K) != j
        reply = W[0].copy()
        reply[j] = 0
        reply[rest] += np.linalg.solve(D[np.ix_(rest, rest)], D[rest, j] * W[0, j])
        losses.append((W[0] - reply) @ D @ (W[0] - reply))
    np.testing.assert_allclose(scores, losses)
    assert np.argmin(scores) == np.argmin(losses)


def test_inputs_that_are_always_zero_have_no_saliency():
    W, H = layer(2, 5)
    H[2] = H[:, 2] = 0
    for kind in ("wanda", "obs", "hessian"):
        assert (saliency(W, H, kind)[:, 2] == 0).all()
        assert (saliency(W, np.diag(H), kind)[:, 2] == 0).all()


def test_unknown_kinds_and_scopes_name_the_nearest():
    W, H = layer(2, 5)
    with pytest.raises(ArgumentError, match="did you mean 'hessian'"):
        saliency(W, H, "hesian")
    with pytest.raises(ArgumentError, match="did you mean 'matrix'"):
        keep_largest(W, 0.5, "matrx")
