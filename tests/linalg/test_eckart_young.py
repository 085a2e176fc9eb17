"""The Eckart-Young loss of scores by its definition, its derivatives by differences; canonical correlations."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import canonical_correlations
from gossamer.linalg.eckart_young import ey_terms


def loss(Us, Xs, ridge, shift, others=None):
    """By the block matrices of the generalised eigenproblem."""

    def blocks(Xs):
        cov = np.cov(np.hstack(Xs).T)
        A, B, start = cov.copy(), np.zeros_like(cov), 0
        for X, a in zip(Xs, ridge):
            cut = slice(start, start + X.shape[1])
            B[cut, cut] = (1 - a) * cov[cut, cut] + a * np.eye(X.shape[1])
            A[cut, cut] = B[cut, cut] if shift else 0
            start += X.shape[1]
        return A, B

    U = np.vstack(Us)
    A, B = blocks(Xs)
    B2 = B if others is None else blocks(others)[1]
    return np.trace(-2 * U.T @ A @ U + (U.T @ B @ U) @ (U.T @ B2 @ U))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    views=st.integers(2, 4),
    alpha=st.sampled_from([0.0, 0.3, 1.0]),
    shift=st.booleans(),
    paired=st.booleans(),
)
def test_loss_and_derivatives_are_those_of_the_eigenproblem(seed, views, alpha, shift, paired):
    rng = np.random.default_rng(seed)
    Xs = [rng.standard_normal((9, 4 + i)) for i in range(views)]
    others = [rng.standard_normal((7, 4 + i)) for i in range(views)] if paired else None
    Us = [rng.standard_normal((4 + i, 3)) / 2 for i in range(views)]
    ridge = [alpha] * views
    terms = ey_terms(
        [X @ U for X, U in zip(Xs, Us)],
        ridge=ridge,
        grams=[U.T @ U for U in Us],
        independent=[X @ U for X, U in zip(others, Us)] if paired else None,
        shift=shift,
    )
    assert terms.loss == pytest.approx(loss(Us, Xs, ridge, shift, others), rel=1e-10, abs=1e-10)
    for i in range(views):
        slope = Xs[i].T @ terms.scores[i] + alpha * Us[i] @ terms.weights
        if paired:
            slope = slope + others[i].T @ terms.independent[i]
        D = rng.standard_normal(Us[i].shape)
        ends = [
            loss([U + h * D if j == i else U for j, U in enumerate(Us)], Xs, ridge, shift, others)
            for h in (1e-5, -1e-5)
        ]
        assert np.sum(slope * D) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-6)


def test_two_batches_are_unbiased_and_one_is_not():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 2))
    Xs = [common @ rng.standard_normal((2, 3)) + rng.standard_normal((400, 3)) for _ in range(2)]
    Us = [rng.standard_normal((3, 2)) / 2 for _ in range(2)]
    zs = [X @ U for X, U in zip(Xs, Us)]
    ridge = [0.0, 0.0]
    exact = ey_terms(zs, ridge=ridge).loss
    single, paired = [], []
    for _ in range(20_000):
        rows, more = rng.integers(0, 400, 5), rng.integers(0, 400, 5)
        one = [z[rows] for z in zs]
        paired.append(ey_terms(one, ridge=ridge, independent=[z[more] for z in zs]).loss)
        if len(single) < 5000:
            single.append(ey_terms(one, ridge=ridge).loss)
    # rows are drawn from 400, whose covariance has n, not n - 1
    V = sum(np.cov(z.T, bias=True) for z in zs)
    cross = np.cov(zs[0].T, zs[1].T, bias=True)[:2, 2:]
    exact = -4 * np.trace(cross) + np.sum(V * V)
    assert abs(np.mean(paired) - exact) < 4 * np.std(paired) / np.sqrt(len(paired))
    assert abs(np.mean(single) - exact) > 8 * np.std(single) / np.sqrt(len(single))


def test_means_that_are_known_are_taken():
    rng = np.random.default_rng(0)
    zs = [rng.standard_normal((6, 2)) for _ in range(2)]
    inside = ey_terms(zs, ridge=[0.0, 0.0])
    outside = ey_terms([z - z.mean(0) for z in zs], ridge=[0.0, 0.0], centred=5 / 6)
    assert outside.loss == pytest.approx(inside.loss)
    np.testing.assert_allclose(outside.scores[1], inside.scores[1], atol=1e-12)


def test_tensors_give_tensors():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    zs = [rng.standard_normal((6, 2)) for _ in range(3)]
    ours = ey_terms([torch.from_numpy(z) for z in zs], ridge=[0.1] * 3, shift=True)
    wanted = ey_terms(zs, ridge=[0.1] * 3, shift=True)
    assert float(ours.loss) == pytest.approx(float(wanted.loss))
    np.testing.assert_allclose(ours.scores[2].numpy(), wanted.scores[2])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 6), q=st.integers(1, 6))
def test_canonical_correlations_are_those_of_the_covariances(seed, p, q):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((60, 2))
    X, Y = (common @ rng.standard_normal((2, w)) + rng.standard_normal((60, w)) for w in (p, q))
    cov = np.cov(np.hstack([X, Y]).T)
    roots = [np.real(scipy.linalg.inv(scipy.linalg.sqrtm(c))) for c in (cov[:p, :p], cov[p:, p:])]
    expected = np.linalg.svd(roots[0] @ cov[:p, p:] @ roots[1])[1]
    ours = canonical_correlations(X, Y)
    np.testing.assert_allclose(ours, expected, atol=1e-8)
    moved = canonical_correlations(X @ rng.standard_normal((p, p)) + 100, 1e4 * Y)
    np.testing.assert_allclose(moved, ours, atol=1e-6)


def test_dependent_and_constant_columns_add_nothing():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    wide = np.hstack([X, X @ [[1.0], [2.0]], np.full((30, 1), 1e8)])
    np.testing.assert_allclose(canonical_correlations(wide, X), [1, 1], atol=1e-12)
    np.testing.assert_allclose(canonical_correlations(wide, wide), [1, 1, 0, 0], atol=1e-12)
    assert canonical_correlations(np.ones((4, 2)), X[:4]).tolist() == [0, 0]
    with pytest.raises(ShapeError, match="rows"):
        canonical_correlations(X, X[:3])
    with pytest.raises(ArgumentError, match="NaN"):
        canonical_correlations(np.nan * X, X)
