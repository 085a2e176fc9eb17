"""Oracles against finite differences, closed forms and torch; the exact gradient against differences of F."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.solve import (
    BlockShard,
    HyperWeighting,
    QuadraticBilevel,
    SparseVector,
    TaskRidge,
    TopKNDCG,
    bilevel_from_torch,
    hypergradient,
)
from gossamer.solve.bilevel.exact import objective


def weighting(kind=np.asarray, n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + 20, 4)) * (rng.random((n + 20, 4)) < 0.6)
    y = np.where(X[:, 0] + 0.5 * rng.normal(size=n + 20) > 0, 1.0, -1.0)
    return HyperWeighting(kind(X[:n]), y[:n], kind(X[n:]), y[n:], [1.0, 2.5, 4.0], lam=1e-2)


def ridge(loss="squared", kind=np.asarray):
    rng = np.random.default_rng(1)
    sizes = (12, 9, 15)
    X = [kind(rng.normal(size=(n, 3))) for n in sizes]
    y = [np.where(np.asarray(x @ np.ones(3)) + rng.normal(size=x.shape[0]) > 0, 1.0, -1.0) for x in X]
    return TaskRidge(X, y, [x[:8] for x in X], [np.r_[1.0, -1.0, t[2:8]] for t in y], loss=loss)


def ranking(kind=np.asarray):
    rng = np.random.default_rng(2)
    groups = np.array([12, 8, 10])
    relevance = rng.integers(0, 3, 30) * (rng.random(30) < 0.6)
    relevance[[0, 13, 21]] = 2
    return TopKNDCG(kind(rng.normal(size=(30, 4))), relevance, groups, k=4, tau1=0.3, tau2=0.05)


def torch_weighting():
    torch = pytest.importorskip("torch")
    P, soft = weighting(), torch.nn.functional.softplus
    wide = {
        "row": torch.arange(50).expand(3, 50),
        "X": torch.tensor(P.train.X).expand(3, 50, 5),
        "y": torch.tensor(P.y_tr).expand(3, 50),
    }
    other = {"X": torch.tensor(P.validation.X).expand(3, 20, 5), "y": torch.tensor(P.y_val).expand(3, 20)}
    sigma = torch.tensor(P.sigmas)

    def g(x, w, i, batch):
        losses = soft(-batch["y"] * (batch["X"] @ w) / sigma[i])
        return (torch.sigmoid(x[batch["row"]]) * losses).mean() + P.lam / 2 * (w * w).sum()

    def f(x, w, i, batch):
        return soft(-batch["y"] * (batch["X"] @ w) / sigma[i]).mean()

    return bilevel_from_torch(f, g, wide, 3, 50, 5, data_f=other, mu=P.lam)


MARKET = {
    "quadratic": lambda: QuadraticBilevel(3, 4, 3, noise=0.5),
    "weighting": weighting,
    "weighting CSR": lambda: weighting(sp.csr_array),
    "ridge": ridge,
    "ridge CSR, AUC": lambda: ridge("auc", sp.csr_array),
    "ranking": ranking,
    "ranking CSR": lambda: ranking(sp.csr_array),
    "torch": torch_weighting,
    "shard": lambda: BlockShard(weighting(), slice(1, 3)),
}


@pytest.fixture(params=MARKET, scope="module")
def problem(request):
    return MARKET[request.param]()


def in_full(direction, size):
    if direction is None:
        return np.zeros(size)
    return direction.to_dense(size) if isinstance(direction, SparseVector) else direction


def difference(function, z, direction, h=1e-5):
    return (function(z + h * direction) - function(z - h * direction)) / (2 * h)


@pytest.mark.parametrize("drawn", ["a draw", "all data"])
def test_oracles_are_derivatives_of_each_other(problem, drawn):
    rng = np.random.default_rng(3)
    blocks = np.array([1, 0])
    batch = problem.sample(blocks, 6, rng) if drawn == "a draw" else problem.full(blocks)
    x = 0.5 * rng.normal(size=problem.dim_x)
    Y, V = rng.uniform(0.3, 0.9, (2, 2, problem.dim_y))
    hvp = problem.hvp_yy_g(x, Y, V, blocks, batch)
    np.testing.assert_allclose(
        hvp, difference(lambda Z: problem.grad_y_g(x, Z, blocks, batch), Y, V), atol=2e-6
    )
    H = problem.hess_yy_g(x, Y, blocks, batch)
    np.testing.assert_allclose(np.einsum("ide,ie->id", H, V), hvp, atol=1e-10)
    np.testing.assert_allclose(H, H.swapaxes(1, 2), atol=1e-12)
    u = rng.normal(size=problem.dim_x)
    cross = in_full(problem.jtvp_xy_g(x, Y, V, blocks, batch), problem.dim_x)
    slope = difference(lambda z: np.sum(problem.grad_y_g(z, Y, blocks, batch) * V), x, u)
    assert cross @ u == pytest.approx(slope, abs=2e-5)
    if problem.jac_xy_g is not None:
        J = problem.jac_xy_g(x, Y, blocks, batch)
        np.testing.assert_allclose(np.einsum("ixd,id->x", J, V), cross, atol=1e-12)
    if drawn == "all data":
        value = lambda z, Z: problem.value_f(z, Z, blocks, batch)  # noqa: E731
        slopes = difference(lambda Z: value(x, Z), Y, V)
        np.testing.assert_allclose(
            np.sum(problem.grad_y_f(x, Y, blocks, batch) * V, axis=1), slopes, atol=2e-6
        )
        direct = in_full(problem.grad_x_f(x, Y, blocks, batch), problem.dim_x)
        assert direct @ u == pytest.approx(difference(lambda z: value(z, Y).sum(), x, u), abs=2e-5)


def test_the_gradient_of_f_is_that_of_the_exactly_solved_problems(problem):
    rng = np.random.default_rng(4)
    x = 0.3 * rng.normal(size=problem.dim_x)
    gradient, Y = hypergradient(problem, x, tol=1e-11)
    everyone = np.arange(problem.m)
    assert np.abs(problem.grad_y_g(x, Y, everyone, problem.full(everyone))).max() < 1e-8
    for u in rng.normal(size=(3, problem.dim_x)):

        def value(z, Y=Y):
            return objective(problem, z, hypergradient(problem, z, Y, tol=1e-11)[1]) / problem.m

        assert gradient @ u == pytest.approx(difference(value, x, u, 1e-4), abs=1e-5)


@pytest.mark.parametrize("name", ["weighting", "ridge", "ridge CSR, AUC", "ranking", "quadratic"])
def test_samples_are_unbiased(name):
    problem, rng, blocks = MARKET[name](), np.random.default_rng(5), np.array([2, 0])
    x, (Y, V) = 0.3 * rng.normal(size=problem.dim_x), rng.uniform(0.3, 0.9, (2, 2, problem.dim_y))
    draw, full = problem.sample(blocks, 60_000, rng), problem.full(blocks)
    for oracle in (problem.grad_y_g, problem.grad_y_f):
        np.testing.assert_allclose(oracle(x, Y, blocks, draw), oracle(x, Y, blocks, full), atol=0.05)
    cross = [in_full(problem.jtvp_xy_g(x, Y, V, blocks, batch), problem.dim_x) for batch in (draw, full)]
    np.testing.assert_allclose(*cross, atol=0.05)


def test_torch_oracles_equal_the_hand_written_ones():
    ours, theirs = weighting(), torch_weighting()
    rng, blocks = np.random.default_rng(6), np.array([2, 0])
    x, (Y, V) = rng.normal(size=50), rng.normal(size=(2, 2, 5))
    a, b = ours.full(blocks), theirs.full(blocks)
    for oracle, more in (
        ("grad_y_g", ()),
        ("grad_y_f", ()),
        ("hvp_yy_g", (V,)),
        ("hess_yy_g", ()),
        ("value_f", ()),
    ):
        left = getattr(ours, oracle)(x, Y, *more, blocks, a)
        np.testing.assert_allclose(left, getattr(theirs, oracle)(x, Y, *more, blocks, b), atol=1e-10)
    cross = ours.jtvp_xy_g(x, Y, V, blocks, a).to_dense(50)
    np.testing.assert_allclose(cross, theirs.jtvp_xy_g(x, Y, V, blocks, b), atol=1e-10)


def test_quadratics_are_solved_in_closed_form():
    P = QuadraticBilevel(5, 4, 3, seed=1)
    x = np.arange(4.0)
    gradient, Y = hypergradient(P, x)
    np.testing.assert_allclose(Y, P.solution(x), atol=1e-9)
    np.testing.assert_allclose(gradient, P.full_hypergradient(x), atol=1e-9)
    np.testing.assert_allclose(P.full_hypergradient(P.minimiser()), 0, atol=1e-12)
    assert np.linalg.eigvalsh(P.H).min() >= 1
    assert np.linalg.eigvalsh(P.H).max() <= 4


def test_thresholds_are_about_the_kth_score_and_ranks_count_what_is_above():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(40, 1)) * 5
    relevance = np.zeros(40)
    relevance[3] = 1
    P = TopKNDCG(features, relevance, [40], k=10, tau1=0.01, tau2=1e-4)
    _, Y = hypergradient(P, np.ones(1), np.array([[np.sort(features.ravel())[-10], 0.0]]), tol=1e-9)
    ordered = np.sort(features.ravel())[::-1]
    assert ordered[10] - 0.1 < Y[0, 0] < ordered[9] + 0.1
    wanted = np.mean(np.maximum(features - features[3] + 1, 0) ** 2)
    assert Y[0, 1] == pytest.approx(wanted, rel=1e-6)
    assert 40 * wanted >= np.sum(features >= features[3])
    assert TopKNDCG(features, (features - features.min()).ravel(), [40], k=10).ndcg(
        np.ones(1)
    ) == pytest.approx(1)


def test_the_ndcg_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    P, x = ranking(), np.array([1.0, -0.5, 0.2, 0.7])
    scores, starts = P.rows.X @ x, np.cumsum([0, 12, 8, 10])
    gains = np.exp2(P.relevance) - 1
    each = [metrics.ndcg_score([gains[a:b]], [scores[a:b]], k=4) for a, b in itertools.pairwise(starts)]
    assert P.ndcg(x) == pytest.approx(np.mean(each))


def test_the_auc_surrogate_is_the_mean_over_pairs():
    P, w = ridge("auc"), np.random.default_rng(8).normal(size=(3, 3))
    value = P.value_f(np.zeros(3), w, np.arange(3), P.full(np.arange(3)))
    for i in range(3):
        scores = [t.rows.X[t.rows.starts[i] :][: t.rows.sizes[i]] @ w[i] for t in P.validation]
        pairs = 0.5 * (1 - (scores[0][:, None] - scores[1][None])) ** 2
        assert value[i] == pytest.approx(pairs.mean())


def test_more_samples_than_data_and_a_million_weights():
    P = weighting()
    assert P.sample(np.array([0]), 500, np.random.default_rng(0)).index.shape == (1, 500)
    X = sp.csr_array((np.ones(10**6), (np.arange(10**6), np.arange(10**6) % 3)), shape=(10**6, 3))
    y = np.where(np.arange(10**6) % 3 == 0, 1.0, -1.0)
    large = HyperWeighting(X, y, X[:30], y[:30], [1.0, 2.0])
    batch = large.sample(np.array([1]), 4, np.random.default_rng(0))
    G = large.jtvp_xy_g(np.zeros(10**6), np.ones((1, 4)), np.ones((1, 4)), np.array([1]), batch)
    assert len(G.index) <= 4
    assert np.array_equal(G.index, large.support(batch))


def test_bad_data_is_named():
    X, y = np.ones((4, 2)), np.array([1.0, -1, 1, -1])
    with pytest.raises(ArgumentError, match="y_tr holds 2"):
        HyperWeighting(X, np.array([1.0, 2, 1, 1]), X, y, [1.0])
    with pytest.raises(ShapeError, match="y_val has shape"):
        HyperWeighting(X, y, X, y[:3], [1.0])
    with pytest.raises(ShapeError, match="X_val has 3 columns"):
        HyperWeighting(X, y, np.ones((4, 3)), y, [1.0])
    with pytest.raises(ArgumentError, match="sigmas"):
        HyperWeighting(X, y, X, y, [1.0, 0.0])
    with pytest.raises(ArgumentError, match=r"X_val\[0\] has no samples of label -1"):
        TaskRidge([X], [y], [X], [np.ones(4)], loss="auc")
    with pytest.raises(ShapeError, match="tasks"):
        TaskRidge([X, X], [y], [X], [y])
    with pytest.raises(ArgumentError, match="query 1 has no relevant"):
        TopKNDCG(X, [1, 0, 0, 0], [2, 2])
    with pytest.raises(ArgumentError, match="features has 4 rows"):
        TopKNDCG(X, [1, 0, 0, 1], [2, 3])
    with pytest.raises(ArgumentError, match="contiguous range"):
        BlockShard(weighting(), slice(3, 3))


def test_exact_methods_say_what_they_miss():
    P = QuadraticBilevel(2, 2, 2)
    with pytest.raises(ShapeError, match="x has shape"):
        hypergradient(P, np.ones(3))
    P.H[1] = -np.eye(2)
    with pytest.raises(ArgumentError, match="row 1 is not positive definite"):
        hypergradient(P, np.ones(2))
    P.full = None
    with pytest.raises(UnsupportedError, match="full"):
        hypergradient(P, np.ones(2))


def test_torch_data_are_checked():
    torch = pytest.importorskip("torch")

    def value(x, y, i, batch):
        return (y * y).sum()

    with pytest.raises(ShapeError, match="expected \\(2, n"):
        bilevel_from_torch(value, value, {"a": torch.ones(3, 4)}, 2, 1, 1)
    with pytest.raises(ShapeError, match="samples a block"):
        bilevel_from_torch(value, value, {"a": torch.ones(2, 4), "b": torch.ones(2, 5)}, 2, 1, 1)
    with pytest.raises(ArgumentError, match="mapping"):
        bilevel_from_torch(value, value, 3, 2, 1, 1)
