"""The error-compensating sweep against explicit least squares, column by column."""

import numpy as np
import pytest
from tests.linalg.random_layers import damped, error, layer

from gossamer._core.errors import ArgumentError
from gossamer.linalg.nearest import inverse
from gossamer.linalg.nearest.inverse import inverse_diagonal, inverse_factor
from gossamer.linalg.nearest.obs import sweep
from gossamer.linalg.nearest.selection import keep_nm, rationed


def explicit_sweep(W, H, change):
    """The definition: after column j has become ``change(j, w_j)``, open columns reply by least squares."""
    W, H = W.astype(np.float64).copy(), damped(H)
    W[:, np.diag(H) == 0] = 0
    for j in range(W.shape[1]):
        new = change(j, W[:, j].copy())
        wrong = W[:, j] - new
        W[:, j] = new
        if j + 1 < W.shape[1]:
            W[:, j + 1 :] += np.outer(wrong, np.linalg.solve(H[j + 1 :, j + 1 :], H[j + 1 :, j]))
    return W


class Rounding:
    """A quantiser of whole numbers times a step per span, fitted when the span is reached."""

    def __init__(self, span):
        self.span = span

    def begin(self, start, weights, keep):
        self.step = np.abs(weights if keep is None else np.where(keep, weights, 0)).max(axis=1) / 3 + 1e-12

    def round(self, column, weights):
        return np.rint(weights / self.step) * self.step


@pytest.mark.parametrize("K", [1, 2, 7, 40])
def test_the_factor_is_the_upper_cholesky_factor_of_the_damped_inverse(K):
    _, H = layer(1, K)
    U, dead = inverse_factor(H)
    np.testing.assert_allclose(U.T @ U, np.linalg.inv(damped(H)), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(U, np.triu(U))
    np.testing.assert_allclose(inverse_diagonal(H), np.diag(np.linalg.inv(damped(H))))
    assert not dead.any()


def test_a_factor_is_remembered_by_content_and_cannot_be_changed():
    X = np.random.default_rng(5).standard_normal((50, 12))
    H = X.T @ X / 50
    first = inverse_factor(H)
    assert inverse_factor(H.copy())[0] is first[0]
    H[0, 0] *= 2
    assert inverse_factor(H)[0] is not first[0]
    assert inverse_factor(H.astype(np.float32))[0] is not inverse_factor(H)[0]
    assert inverse_factor(H, 0.1)[0] is not inverse_factor(H)[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0, 0] = 0


def test_only_64_mebibytes_of_factors_are_remembered(monkeypatch):
    monkeypatch.setattr(inverse, "_REMEMBERED", 3 * 8 * 12 * 12)
    metrics = [np.diag(np.arange(1.0, 13) + i) for i in range(4)]
    found = [inverse_factor(H)[0] for H in metrics]
    assert inverse_factor(metrics[0])[0] is not found[0]
    assert inverse_factor(metrics[3])[0] is found[3]


@pytest.mark.parametrize("pruned", [1, 3, 5])
def test_losing_leading_columns_leaves_the_exact_least_squares_solution(pruned):
    W, H = layer(4, 9)
    mask = np.ones(W.shape, bool)
    mask[:, :pruned] = False
    D, kept = damped(H), slice(pruned, None)
    exact = np.zeros_like(W)
    exact[:, kept] = W @ D[:, kept] @ np.linalg.inv(D[kept, kept])
    np.testing.assert_allclose(sweep(W, H, mask=mask).weights, exact, atol=1e-10)


@pytest.mark.parametrize("K", [12, 128, 300])
def test_pruning_by_a_mask_is_the_explicit_sweep(K):
    W, H = layer(5, K)
    mask = np.random.default_rng(1).random(W.shape) < 0.6
    expected = explicit_sweep(W, H, lambda j, w: np.where(mask[:, j], w, 0))
    swept = sweep(W, H, mask=mask)
    np.testing.assert_allclose(swept.weights, expected, atol=1e-7)
    np.testing.assert_array_equal(swept.mask, mask)


@pytest.mark.parametrize("span", [1, 7, 32, 100, 150, 300])
@pytest.mark.parametrize("masked", [False, True])
def test_rounding_fits_each_span_to_the_weights_that_it_meets(span, masked):
    W, H = layer(5, 300)
    mask = np.random.default_rng(1).random(W.shape) < 0.6 if masked else None
    oracle = Rounding(span)
    W_then = W.copy()  # what the explicit sweep sees when a span begins

    def change(j, w):
        if j % span == 0:
            keep = None if mask is None else mask[:, j : j + span]
            oracle.begin(j, explicit_prefix(W, H, changes, j)[:, j : j + span], keep)
        new = oracle.round(j, w)
        if mask is not None:
            new = np.where(mask[:, j], new, 0)
        changes.append(new)
        return new

    changes: list[np.ndarray] = []
    expected = explicit_sweep(W, H, change)
    np.testing.assert_allclose(sweep(W, H, mask=mask, quantizer=Rounding(span)).weights, expected, atol=1e-6)
    np.testing.assert_array_equal(W, W_then)


def explicit_prefix(W, H, changes, stop):
    """The weights after the first ``stop`` columns have been changed: one least-squares problem."""
    D, out = damped(H), W.copy()
    if stop:
        out[:, :stop] = np.transpose(changes[:stop])
        wrong = W[:, :stop] - out[:, :stop]
        out[:, stop:] += wrong @ np.linalg.solve(D[stop:, stop:], D[stop:, :stop]).T
    return out


def test_selection_sees_the_losses_of_the_weights_as_they_are_then():
    W, H = layer(6, 24)
    D, seen = damped(H), []

    def select(scores, start):
        seen.append((start, scores.copy()))
        return keep_nm(scores, 2, 4)

    swept = sweep(W, H, select=select, width=4)
    assert [start for start, _ in seen] == list(range(0, 24, 4))
    changes = list(swept.weights.T)
    for start, scores in seen:
        now = explicit_prefix(W, H, changes, start)[:, start : start + 4]
        # the loss of column j with the columns from j on open
        open_ = [np.linalg.inv(D[j:, j:])[0, 0] for j in range(start, start + 4)]
        np.testing.assert_allclose(scores, now**2 / open_, rtol=1e-6)
    assert (swept.mask.reshape(6, 6, 4).sum(axis=2) == 2).all()


@pytest.mark.parametrize("seed", range(5))
def test_compensation_beats_the_same_mask_without_it_in_the_damped_metric(seed):
    W, H = layer(8, 40, seed)
    swept = sweep(W, H, select=rationed(0.5))
    assert error(W, swept.weights, damped(H)) <= error(W, np.where(swept.mask, W, 0), damped(H))


def test_dead_inputs_get_zero_weights_and_no_division_by_zero():
    W, H = layer(3, 6)
    H[2] = H[:, 2] = 0
    with np.errstate(all="raise"):
        weights = sweep(W, H, select=rationed(0.5)).weights
        everything = sweep(W, np.zeros((6, 6)), select=rationed(0.5)).weights
    assert np.isfinite(weights).all()
    assert (weights[:, 2] == 0).all()
    assert (everything == 0).all()


def test_a_moment_of_fewer_tokens_than_inputs_is_damped_until_it_factors():
    W, H = layer(3, 30, tokens=4)
    H[0, 0] -= 1e-4 * H.trace()  # as float32 accumulation may leave it: slightly indefinite
    assert np.isfinite(sweep(W, H, select=rationed(0.5)).weights).all()


def test_a_hopelessly_indefinite_metric_is_refused():
    H = np.array([[1.0, 1e4], [1e4, 1.0]])
    with pytest.raises(ArgumentError, match="positive semi-definite"):
        inverse_factor(H)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype):
    W, H = layer(3, 10, dtype=dtype)
    assert sweep(W, H, select=rationed(0.5)).weights.dtype == dtype
