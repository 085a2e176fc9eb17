"""Scores, scales and the path are what the formulas say, and graphs are those that exhaustive search finds."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import dag_metrics, simulate_linear_sem
from gossamer.solve import acyclicity, colide_ev, colide_nv, dagma, sortnregress
from gossamer.solve.causal.acyclicity import KINDS, LogDet
from gossamer.solve.causal.objective import Objective
from gossamer.solve.causal.scales import SCALES

FAST = {"warm_iter": 1000, "max_iter": 2000, "lr": 3e-3, "checkpoint": 200}


def covariance(d, seed=0, n=40):
    X = np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1)
    X -= X.mean(axis=0)
    return X.T @ X / n


def graph(d, seed=0, size=0.3):
    W = np.random.default_rng(seed).normal(size=(d, d)) * size
    np.fill_diagonal(W, 0)
    return W


def score(S, W, sigma, lam, noise):
    """By the formulas, entry by entry."""
    d = len(S)
    residual = (np.eye(d) - W).T @ S @ (np.eye(d) - W)
    l1 = lam * np.abs(W).sum()
    if noise == "unit":
        return np.trace(residual) / 2 + l1
    if noise == "ev":
        return np.trace(residual) / (2 * sigma) + d * sigma / 2 + l1
    return np.trace(np.diag(1 / sigma) @ residual) / 2 + np.sum(sigma) / 2 + l1


def at(S, W, noise, lam=0.0, kind="logdet", floor=1e-2):
    objective = Objective(S, SCALES[noise](S, floor), KINDS[kind](len(S)), lam)
    V = W - np.eye(len(S))
    objective.settle(V)
    return objective, V


@pytest.mark.parametrize("noise", ["ev", "nv", "unit"])
@pytest.mark.parametrize("kind", ["logdet", "expm", "poly"])
def test_gradients_are_central_differences(noise, kind):
    S, W, mu, s, lam = covariance(6), graph(6, 1), 0.3, 1.1, 0.07
    objective, V = at(S, W, noise, lam, kind)
    assert np.isfinite(objective.measure(V, s))
    gradient = np.empty_like(V)
    objective.half_gradient(V, mu, gradient, l1=True)
    sigma = objective.scale.sigma

    def f(W):
        return mu * score(S, W, sigma, lam, noise) + acyclicity(W, kind, s=s)[0]

    for i, j in itertools.permutations(range(6), 2):
        step = np.zeros_like(W)
        step[i, j] = 1e-5
        difference = (f(W + step) - f(W - step)) / 2e-5
        assert 2 * gradient[i, j] == pytest.approx(difference, rel=1e-6, abs=1e-8)
    assert not np.diag(gradient).any()
    assert objective.score(V) == pytest.approx(score(S, W, sigma, lam, noise), rel=1e-12)


@pytest.mark.parametrize("kind", ["logdet", "expm", "poly"])
def test_the_measure_is_zero_on_dags_and_positive_on_cycles(kind):
    order = np.random.default_rng(0).permutation(7)
    W = np.triu(graph(7, size=2), 1)[np.ix_(order, order)]
    h, gradient = acyclicity(W, kind)
    assert abs(h) < 1e-12
    np.testing.assert_array_equal(gradient[W == 0], 0)
    if kind != "poly":  # of a DAG only the identity's share of the kernel meets W
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
    a, b, s = 0.6, -0.7, 0.8
    h, gradient = acyclicity([[0, a], [b, 0]], kind, s=s)
    assert h > 0
    if kind == "logdet":
        assert h == pytest.approx(-np.log(1 - a**2 * b**2 / s**2), rel=1e-12)
    elif kind == "expm":
        assert h == pytest.approx(2 * np.cosh(abs(a * b)) - 2, rel=1e-12)
    else:
        assert h == pytest.approx(2 * (a * b / 2) ** 2, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scales_minimise_the_score(seed):
    S, W = covariance(5, seed), graph(5, seed)
    objective, _ = at(S, W, "ev")
    best = minimize_scalar(
        lambda x: score(S, W, x, 0, "ev"), bounds=(1e-3, 100), method="bounded", options={"xatol": 1e-12}
    )
    assert objective.scale.sigma == pytest.approx(best.x, abs=2e-6)
    assert score(S, W, objective.scale.sigma, 0, "ev") <= best.fun + 1e-12
    objective, _ = at(S, W, "nv")
    sigma = objective.scale.sigma
    for j in range(5):
        tried = minimize_scalar(
            lambda x, j=j: score(S, W, np.where(np.arange(5) == j, x, sigma), 0, "nv"),
            bounds=(1e-3, 100), method="bounded", options={"xatol": 1e-12},
        )  # fmt: skip
        assert score(S, W, sigma, 0, "nv") <= tried.fun + 1e-12
        assert sigma[j] == pytest.approx(tried.x, abs=2e-6)


@pytest.mark.parametrize("noise", ["ev", "nv"])
def test_scores_are_jointly_convex(noise):
    rng, S = np.random.default_rng(0), covariance(4)
    for _ in range(1000):
        A, B = rng.normal(size=(2, 4, 4))
        a, b = rng.uniform(0.05, 4, size=(2, 4)) if noise == "nv" else rng.uniform(0.05, 4, size=2)
        middle = score(S, (A + B) / 2, (a + b) / 2, 0.1, noise)
        assert middle <= (score(S, A, a, 0.1, noise) + score(S, B, b, 0.1, noise)) / 2 + 1e-10


def test_the_weight_of_the_l1_norm_scales_with_the_noise_not_with_its_square():
    S, W, c = covariance(5), graph(5), 7.0
    by_hand = score(c**2 * S, W, c * 1.3, c * 0.2, "ev")
    assert by_hand == pytest.approx(c * score(S, W, 1.3, 0.2, "ev"), rel=1e-12)
    units = np.array([1.0, 2.0, 0.5, 3.0, 10.0])
    sigma = np.linspace(1, 2, 5)
    smooth = score(np.outer(units, units) * S, W * units / units[:, None], units * sigma, 0, "nv")
    columns = np.einsum("ij,ik,kj->j", np.eye(5) - W, S, np.eye(5) - W) / sigma + sigma
    assert smooth == pytest.approx((units * columns).sum() / 2, rel=1e-12)
    small, large = (colide_ev(k**2 * S, k * 0.05, is_cov=True, **FAST) for k in (1.0, 2.0))
    # Adam's epsilon is the only thing with a unit: the path is the same at mu scaled by 1 / c
    rescaled = colide_ev(4 * S, 2 * 0.05, is_cov=True, mu=0.5, **FAST)
    np.testing.assert_allclose(rescaled.W, small.W, atol=1e-4)
    assert rescaled.sigma == pytest.approx(2 * small.sigma, rel=1e-5)
    assert large.sigma == pytest.approx(2 * small.sigma, rel=0.05)


@pytest.mark.parametrize("solver", ["adam", "fista"])
def test_two_variables_of_equal_noise_are_put_in_order(solver):
    S = np.array([[1.0, 1.5], [1.5, 1.5**2 + 1]])
    found = colide_ev(S, 0.0, is_cov=True, solver=solver, **FAST)
    G = found.to_dag()
    assert 1.45 <= G[0, 1] <= 1.55
    assert G[1, 0] == 0
    assert 0.98 <= found.sigma <= 1.02


def all_dags(d):
    pairs = list(itertools.permutations(range(d), 2))
    for present in itertools.product((False, True), repeat=len(pairs)):
        edges = np.zeros((d, d), bool)
        for (i, j), one in zip(pairs, present, strict=True):
            edges[i, j] = one
        if not (edges & edges.T).any() and np.trace(np.linalg.matrix_power(np.eye(d) + edges, d)) == d:
            yield edges


def test_exhaustive_search_over_all_graphs_of_four_variables_agrees():
    dags = list(all_dags(4))
    assert len(dags) == 543
    n, agree = 5000, 0
    for seed in range(10):
        data = simulate_linear_sem(4, n, k=1, random_state=seed)
        S = np.cov(data.X.T, bias=True)
        best = min(dags, key=lambda edges: _profile(S, edges, n))
        agree += np.array_equal(colide_ev(data.X, **FAST).to_dag() != 0, best)
    assert agree >= 9


def _profile(S, edges, n):
    """The EV score with its scale and weights minimised out, on a logarithmic scale, with BIC's price of an edge."""
    left = 0.0
    for j in range(4):
        p = np.flatnonzero(edges[:, j])
        left += S[j, j] - S[j, p] @ np.linalg.solve(S[np.ix_(p, p)], S[p, j])
    return 4 * np.log(left / 4) + edges.sum() * np.log(n) / n


def test_with_the_scale_frozen_it_is_the_dagma_package():
    package = pytest.importorskip("dagma.linear")
    data = simulate_linear_sem(10, 500, k=2, random_state=0)
    theirs = package.DagmaLinear("l2").fit(
        data.X.copy(), lambda1=0.05, w_threshold=0, T=4, s=[1.0, 0.9, 0.8, 0.7], warm_iter=2000, max_iter=4000,
        lr=1e-3, exclude_edges=tuple((i, i) for i in range(10)),
    )  # fmt: skip
    ours = dagma(data.X, warm_iter=2000, max_iter=4000, lr=1e-3)
    np.testing.assert_allclose(ours.W, theirs, atol=1e-3)


def test_proximal_steps_find_graphs_as_good_and_exact_zeros():
    data = simulate_linear_sem(10, 1000, k=1, random_state=1)
    for solve in (colide_ev, colide_nv):
        adam, fista = (solve(data.X, solver=solver, **FAST) for solver in ("adam", "fista"))
        assert fista.score == pytest.approx(adam.score, rel=0.01)
        assert dag_metrics(adam.to_dag() != 0, fista.to_dag())["shd"] <= 1
        assert (fista.W == 0).mean() > 0.3
        values = np.array(fista.history["objective"])
        stages = np.array(fista.history["stage"])
        for number in range(4):
            assert (np.diff(values[stages == number]) <= 1e-12).all()


@pytest.mark.parametrize("kind", ["expm", "poly"])
def test_other_measures_of_cycles_lead_to_the_same_graph(kind):
    data = simulate_linear_sem(8, 1000, k=1, random_state=2)
    found = colide_ev(data.X, acyclicity=kind, T=6, **FAST).to_dag()
    assert dag_metrics(data.W, found)["shd"] <= 1


def test_leaving_the_domain_halves_the_rate_and_widens_it():
    data = simulate_linear_sem(6, 300, k=1, random_state=0)
    W = np.abs(graph(6, 3))
    W *= (0.95 / np.abs(np.linalg.eigvals(W * W)).max()) ** 0.5
    steps = {"warm_iter": 1, "max_iter": 1000}
    restarted = colide_ev(data.X, w_init=W, s=(1.0, 0.9), T=2, lr=1e-5, **steps)
    assert restarted.restarts == 1
    assert restarted.history["s"][-1] == pytest.approx(1.0)
    assert restarted.history["lr"][-1] == 0.5e-5
    halved = colide_ev(data.X, w_init=W, s=1.0, T=1, lr=0.3, **steps)
    assert halved.restarts == 0
    for found in (restarted, halved):
        assert np.isfinite(found.W).all()
        assert np.abs(np.linalg.eigvals(found.W**2)).max() < 1
    assert np.isfinite(halved.h)
    with pytest.raises(ArgumentError, match="w_init lies outside"):
        colide_ev(data.X, w_init=1.1 * W)
    inside = LogDet(6)
    V = W - np.eye(6)
    assert inside.enter(V, 1.0)
    assert not inside.enter(1.1 * V, 1.0)


@pytest.mark.parametrize("solve", [colide_ev, colide_nv, dagma])
@pytest.mark.parametrize("solver", ["adam", "fista"])
def test_degenerate_tables_give_finite_graphs(solve, solver):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(5, 9))
    twice = rng.normal(size=(50, 4))
    twice[:, 3] = twice[:, 2]
    pair = rng.normal(size=(30, 2))
    for X in (wide, twice, pair, 1e-3 * pair, 1e3 * pair):
        found = solve(X, solver=solver, warm_iter=400, max_iter=800, lr=1e-3)
        assert np.isfinite(found.W).all()
        assert np.isfinite(found.score)
        assert np.all(np.asarray(found.sigma) > 0)
        assert not np.diag(found.W).any()


def test_the_noise_has_a_floor():
    x = np.random.default_rng(0).normal(size=(100, 1))
    X = np.hstack([x, 2 * x])
    common = colide_ev(X, 0.0, lr=1e-2, warm_iter=500, max_iter=500, sigma_floor=0.1)
    assert common.sigma >= 0.1 * np.sqrt(X.var(axis=0).mean())
    own = colide_nv(X, 0.0, lr=1e-2, warm_iter=500, max_iter=500, sigma_floor=0.1)
    assert own.sigma.min() == pytest.approx(0.1 * X.std(axis=0)[np.argmin(own.sigma)], rel=1e-12)


def test_a_fit_leaves_its_arguments_alone_and_repeats_to_the_bit():
    data = simulate_linear_sem(6, 200, k=1, var="nv", random_state=0)
    X, s = data.X + 5, [1.0, 0.9]
    before, W = X.copy(), np.zeros((6, 6))
    first = colide_nv(X, s=s, w_init=W, warm_iter=200, max_iter=300)
    second = colide_nv(X, s=s, w_init=W, warm_iter=200, max_iter=300)
    np.testing.assert_array_equal(X, before)
    assert s == [1.0, 0.9]
    assert not W.any()
    np.testing.assert_array_equal(first.W, second.W)
    rotated = colide_nv(np.cov(X.T, bias=True), s=s, is_cov=True, warm_iter=200, max_iter=300)
    np.testing.assert_allclose(rotated.W, colide_nv(X, s=s, warm_iter=200, max_iter=300).W, atol=1e-9)
    assert len({len(entries) for entries in first.history.values()}) == 1
    assert colide_nv(X.astype(np.float32), warm_iter=50, max_iter=50).W.dtype == np.float64
    first.to_dict()


def test_a_callback_watches_and_stops():
    data = simulate_linear_sem(5, 200, k=1, random_state=0)
    seen = []
    found = colide_ev(data.X, checkpoint=100, callback=lambda state: seen.append(state.nit) or len(seen) == 3)
    assert seen == [100, 200, 300]
    assert not found.success
    assert "callback" in found.message


def test_the_order_of_variances_finds_raw_graphs_but_not_standardised_ones():
    wrong = {}
    for standardize in (False, True):
        data = simulate_linear_sem(10, 2000, k=2, standardize=standardize, random_state=4)
        wrong[standardize] = dag_metrics(data.W, sortnregress(data.X))["shd"]
        assert data.varsortability == (0.5 if standardize else 1.0)
    assert wrong[False] <= 1
    assert wrong[True] >= 10


@pytest.mark.parametrize("solve", [colide_ev, colide_nv, dagma])
def test_bad_input_is_named(solve):
    X = np.random.default_rng(0).normal(size=(20, 3))
    flat, hole = X.copy(), X.copy()
    flat[:, 1] = 1e6 + 1e-12
    hole[3, 2] = np.nan
    loop = np.zeros((3, 3))
    loop[1, 1] = 1
    for table, options, message in (
        (X[:1], {}, "at least 2 rows"),
        (X[:, :1], {}, "at least 2 columns"),
        (hole, {}, r"NaN or infinite entries, the first at \(3, 2\)"),
        (flat, {}, "column 1 of X is constant"),
        (X, {"lam": -1}, "lam=-1"),
        (X, {"s": (0.9, 1.0)}, "s=.*each smaller"),
        (X, {"s": (1.0, 0.0)}, "s=.*positive"),
        (X, {"T": 0}, "T=0"),
        (X, {"lr": 0}, "lr=0"),
        (X, {"w_init": loop}, r"w_init\[1, 1\]=1"),
        (X, {"w_init": np.zeros((2, 2))}, r"expected \(3, 3\)"),
        (X, {"solver": "admm"}, "solver='admm'.*adam"),
        (X, {"acyclicity": "expn"}, "did you mean 'expm'"),
        (X, {"is_cov": True}, "square covariance"),
        (X[:3], {"is_cov": True}, "transpose"),
        (np.diag([1.0, -1.0, 1.0]), {"is_cov": True}, "semidefinite"),
        (np.diag([1.0, 0.0, 1.0]), {"is_cov": True}, "column 1 of X is constant"),
    ):
        with pytest.raises(ArgumentError, match=message):
            solve(table, **options)
    with pytest.raises(ShapeError, match="2-D"):
        solve(X[0])
