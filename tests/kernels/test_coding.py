"""E-steps of sparse coding, state by state in NumPy: on every instruction set, with any threads."""

import numpy as np
import pytest
from scipy.special import logsumexp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.coding import (
    Gaussian,
    Maximum,
    Tree,
    excess,
    largest,
    linear_joint,
    linear_moments,
    normalise,
    tree_size,
)
from gossamer.learn.coding.states import list_states

SIZES = [(9, 5, 4), (7, 7, 7), (6, 3, 2), (4, 4, 1), (1, 1, 1)]


def tree_of(n, H, candidates, active, values=1, seed=0):
    rng = np.random.default_rng(seed)
    chosen = np.sort(np.array([rng.choice(H, candidates, replace=False) for _ in range(n)]), axis=1)
    return Tree(chosen.astype(np.int32), active, values, H)


def dense(tree, value):
    """All states of the tree: (n, states, H)."""
    listed = list_states(tree.chosen.shape[1], tree.active, np.array(value))
    out = np.zeros((len(tree.chosen), len(listed), tree.latents))
    for n, ids in enumerate(tree.chosen):
        out[n][:, ids] = listed
    return out


def rows_of(tree, singles):
    joint = np.full((len(tree.chosen), tree.columns), np.nan)
    joint[:, 0] = 0
    joint[:, 1 : 1 + singles.shape[1]] = singles
    return joint


@pytest.mark.parametrize(("n", "H", "count"), [(1, 1, 1), (70, 9, 4), (33, 40, 40), (5, 300, 8)])
def test_the_largest_come_in_order_and_the_first_of_equal_ones(n, H, count, isa):
    scores = np.round(np.random.default_rng(0).normal(size=(n, H)), 1)
    expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :count], axis=1)
    np.testing.assert_array_equal(largest(scores, count), expected)


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 255])
def test_posteriors_are_normalised(columns, isa):
    joint = np.random.default_rng(0).normal(size=(70, columns)) * 200
    expected = logsumexp(joint, axis=1)
    posterior = joint.copy()
    np.testing.assert_allclose(normalise(posterior), expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(posterior, np.exp(joint - expected[:, None]), rtol=1e-11, atol=1e-300)


def test_excess_counts_what_a_cause_has_too_much_of(isa):
    rng = np.random.default_rng(0)
    Y, W = rng.normal(size=(21, 13)), rng.normal(size=(6, 13))
    np.testing.assert_allclose(excess(Y, W), -np.maximum(W - Y[:, None], 0).sum(axis=2), rtol=1e-13)


@pytest.mark.parametrize(("H", "candidates", "active"), SIZES)
@pytest.mark.parametrize("value", [(1.0,), (-1.0, 1.0), (0.5, 1.0, 3.0)])
def test_causes_that_add_up(H, candidates, active, value, isa):
    if tree_size(candidates, active, len(value)) > 5000:
        active = 4
    rng = np.random.default_rng(1)
    tree = tree_of(20, H, candidates, active, len(value))
    W, Y, value = rng.normal(size=(H, 6)), rng.normal(size=(20, 6)), np.array(value)
    prior, field, gram = rng.normal(size=len(value)), Y @ W.T, W @ W.T
    singles = field[:, :, None] * value - 0.5 * np.outer(np.diag(gram), value**2) + prior
    joint = rows_of(tree, singles.reshape(20, -1))
    linear_joint(tree, joint, value, prior, field, gram)
    S = dense(tree, value)
    expected = np.einsum("nsh,nh->ns", S, field) - 0.5 * np.einsum("nsi,ij,nsj->ns", S, gram, S)
    expected += sum(p * (v == S).sum(axis=2) for p, v in zip(prior, value))
    first = 1 + H * len(value)
    np.testing.assert_allclose(joint[:, first:], expected, rtol=1e-11, atol=1e-11)

    q = rng.random(joint.shape)
    mean = np.ones((20, H))
    second, count = linear_moments(tree, q, value, mean)
    np.testing.assert_allclose(mean - 1, np.einsum("ns,nsh->nh", q[:, first:], S), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(
        second, np.einsum("ns,nsi,nsj->ij", q[:, first:], S, S), rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(
        count, [np.einsum("ns,nsh->", q[:, first:], v == S) for v in value], rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize(("H", "candidates", "active"), SIZES)
@pytest.mark.parametrize("rho", [1.3, 6.0, 21.0])
@pytest.mark.parametrize("D", [5, 8, 19])
def test_causes_of_which_the_largest_shows(H, candidates, active, rho, D, isa):
    rng = np.random.default_rng(1)
    tree = tree_of(12, H, candidates, active)
    W, Y = rng.normal(size=(H, D)) * 30, rng.normal(size=(12, D)) * 30
    model, S, first = Maximum(W, rho), dense(tree, (1.0,)), 1 + H
    scale = np.abs(W).max(axis=0)
    t = S @ (np.sign(W) * np.abs(W / scale) ** rho)
    bar = scale * np.sign(t) * np.abs(t) ** (1 / rho)
    far = ((Y[:, None] - bar) ** 2).sum(axis=2) - (Y**2).sum(axis=1)[:, None]
    joint = rows_of(tree, np.zeros((12, H)))
    model.joint(tree, joint, Y, -0.7, 0.02)
    np.testing.assert_allclose(joint[:, first:], -0.7 * S.sum(axis=2) - 0.02 * far, rtol=1e-9, atol=1e-7)

    q = rng.random(joint.shape) ** 3
    np.testing.assert_allclose(
        model.mean(tree, q), np.einsum("ns,nsd->nd", q[:, first:], bar), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        model.residual(tree, q, Y), (q[:, first:] * far).sum(axis=1), rtol=1e-9, atol=1e-7
    )
    with np.errstate(divide="ignore"):
        A = np.minimum(1, (np.abs(W) / np.abs(bar)[:, :, None]) ** (rho - 1)) * S[..., None]
    weight, weighted = model.moments(tree, q, Y)
    np.testing.assert_allclose(weight, np.einsum("ns,nshd->hd", q[:, first:], A), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        weighted, np.einsum("ns,nshd,nd->hd", q[:, first:], A, Y), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize(("H", "candidates", "active"), SIZES)
@pytest.mark.parametrize("full", [False, True])
def test_causes_with_gaussian_amplitudes(H, candidates, active, full, isa):
    rng = np.random.default_rng(1)
    n, beta = 21, 0.6
    tree = tree_of(n, H, candidates, active)
    W, Y, A = rng.normal(size=(H, 6)), rng.normal(size=(n, 6)), rng.normal(size=(H, H))
    psi, mu, odds = A @ A.T + 0.3 * np.eye(H), rng.normal(size=H), rng.normal(size=H)
    if not full:
        psi = np.diag(np.diag(psi))
    field, gram = Y @ W.T, W @ W.T
    model, S, first = (
        Gaussian(odds, mu, psi if full else np.diag(psi).copy(), gram),
        dense(tree, (1.0,)),
        1 + H,
    )
    joint = rows_of(tree, np.zeros((n, H)))
    model.joint(tree, joint, field, beta)
    q = rng.random(joint.shape)
    value = np.empty(S.shape[:2])
    moments = [np.zeros((n, H)), np.zeros((n, H)), *np.zeros((3, H, H))]
    for i in range(n):
        for k, s in enumerate(S[i]):
            on = np.flatnonzero(s)
            P = np.linalg.inv(psi[np.ix_(on, on)])
            lam, rhs = gram[np.ix_(on, on)] + P, field[i, on] + P @ mu[on]
            cov, kappa = np.linalg.inv(lam), np.linalg.solve(lam, rhs)
            log_det = np.linalg.slogdet(lam)[1] - np.linalg.slogdet(P)[1]
            value[i, k] = odds[on].sum() + 0.5 * beta * (rhs @ kappa - mu[on] @ P @ mu[on] - log_det)
            w, grid = q[i, first + k], np.ix_(on, on)
            moments[0][i, on] += w * kappa
            moments[1][i, on] += w
            moments[2][grid] += w * (cov + np.outer(kappa, kappa))
            moments[3][grid] += w * kappa
            moments[4][grid] += w
    np.testing.assert_allclose(joint[:, first:], value, rtol=1e-8, atol=1e-8)
    found = [np.zeros((n, H)), np.zeros((n, H))]
    found += model.moments(tree, q, field, *found)
    for a, b in zip(found if full else found[:3], moments):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


def test_any_number_of_threads_gives_the_same_bits(isa):
    rng = np.random.default_rng(0)
    n, H, D = 1500, 12, 10
    tree = tree_of(n, H, 7, 4)
    W, Y = rng.normal(size=(H, D)), rng.normal(size=(n, D))
    gram, field = W @ W.T, Y @ W.T
    gaussian, maximum = Gaussian(np.zeros(H), np.ones(H), np.ones(H), gram), Maximum(W, 6.0)
    q = rng.random((n, tree.columns))
    runs = []
    for threads in (1, 2, 7):
        joints = [rows_of(tree, np.zeros((n, H))) for _ in range(3)]
        linear_joint(tree, joints[0], np.ones(1), np.zeros(1), field, gram, threads)
        maximum.joint(tree, joints[1], Y, 0.0, 1.0, threads)
        gaussian.joint(tree, joints[2], field, 1.0, threads)
        mean, first, present = np.zeros((3, n, H))
        runs.append([
            *joints, mean, first, present, *linear_moments(tree, q, np.ones(1), mean, threads),
            *maximum.moments(tree, q, Y, threads), *gaussian.moments(tree, q, field, first, present, threads),
            maximum.residual(tree, q, Y, threads), normalise(joints[0].copy(), threads),
        ])  # fmt: skip
    for run in runs[1:]:
        assert all((a == b).all() for a, b in zip(run, runs[0]))


def test_no_points_are_no_work(isa):
    tree = Tree(np.empty((0, 3), np.int32), 2, 1, 5)
    joint = np.empty((0, tree.columns))
    linear_joint(tree, joint, np.ones(1), np.zeros(1), np.empty((0, 5)), np.eye(5))
    assert normalise(joint).shape == (0,)
    second, count = linear_moments(tree, joint, np.ones(1), np.empty((0, 5)))
    assert not second.any()
    assert not count.any()


def test_what_native_code_could_not_walk_is_refused(isa):
    tree = tree_of(4, 6, 3, 2)
    joint = np.zeros((4, tree.columns))
    field, gram = np.zeros((4, 6)), np.eye(6)
    one, none = np.ones(1), np.zeros(1)
    for bad in (
        tree._replace(active=4),
        tree._replace(active=0),
        tree._replace(latents=2),
        tree._replace(chosen=tree.chosen[:, ::-1].copy()),
        tree._replace(chosen=tree.chosen + 4),
        tree._replace(chosen=tree.chosen.astype(np.int64)),
        tree._replace(chosen=tree.chosen[:3]),
        tree._replace(values=2),
    ):
        with pytest.raises((ShapeError, ArgumentError)):
            linear_joint(bad, joint, one, none, field, gram)
    for arguments in (
        (joint[:, :-1], one, none, field, gram),
        (joint.astype(np.float32), one, none, field, gram),
        (joint, np.ones(2), none, field, gram),
        (joint, one, none, field[:, :5], gram),
        (joint, one, none, field, np.eye(5)),
    ):
        with pytest.raises(ShapeError):
            linear_joint(tree, *arguments)
    with pytest.raises(ArgumentError, match="NaN"):
        largest(np.full((2, 3), np.nan), 1)
    with pytest.raises(ArgumentError, match="count"):
        largest(np.zeros((2, 3)), 4)
    with pytest.raises(ShapeError, match="data"):
        Maximum(np.ones((6, 4)), 3.0).joint(tree, joint, np.zeros((4, 5)), 0.0, 1.0)
    with pytest.raises(ShapeError, match="tree"):
        Maximum(np.ones((5, 4)), 3.0).joint(tree, joint, np.zeros((4, 4)), 0.0, 1.0)
    with pytest.raises(ShapeError, match="slab"):
        Gaussian(np.zeros(6), np.zeros(6), np.zeros(6), gram).joint(tree, joint, field)
    with pytest.raises(ShapeError, match="mean"):
        linear_moments(tree, joint, one, np.zeros((4, 5)))
