"""Expectation truncation against sums over all states written with NumPy, and identities of the six models."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson
from sklearn.decomposition import PCA, FactorAnalysis

from gossamer.learn import (
    AnnealingSchedule,
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from gossamer.learn.coding.cut import keep_largest
from gossamer.learn.coding.e_step import EStep, em_step, evaluate
from gossamer.learn.coding.rows import LocalRows
from gossamer.learn.coding.states import at_most, count_states, list_states

H, D, N = 5, 9, 40
BINARY = (BinarySparseCoding, MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis)
ALL = (*BINARY, TernarySparseCoding, DiscreteSparseCoding, GaussianSparseCoding)
LINEAR = (BinarySparseCoding, TernarySparseCoding, DiscreteSparseCoding)


def problem(kind, seed=0, **options):
    """A model, parameters and data at which no state is negligible."""
    rng = np.random.default_rng(seed)
    model = kind(H, **options)
    params = {"W": rng.normal(size=(H, D)), "sigma": 0.9, "pi": 0.3, "offset": np.zeros(D)}
    if kind is MaximalCausesAnalysis:
        params["W"] = np.abs(params["W"]) + 0.1
    if kind is DiscreteSparseCoding:
        params["pi"] = np.array([0.6, 0.3, 0.1])
    if kind is GaussianSparseCoding:
        A, B = rng.normal(size=(H, H)), rng.normal(size=(D, D))
        psi = A @ A.T / H + np.eye(H)
        Sigma = B @ B.T / D + np.eye(D)
        params = {
            "W": params["W"],
            "pi": rng.uniform(0.2, 0.6, H),
            "mu": rng.normal(size=H),
            "psi": psi if options.get("slab_cov") == "full" else np.diagonal(psi).copy(),
            "Sigma": {"scalar": 0.8, "diagonal": np.diagonal(Sigma).copy(), "full": Sigma}[
                options.get("noise", "scalar")
            ],
        }
    Y = rng.normal(size=(N, H)) @ params["W"] / 2 + rng.normal(size=(N, D))
    return model, params, np.abs(Y) if kind is MaximalCausesAnalysis else Y


def states_of(model):
    return np.array(list(itertools.product((0.0, *model._values()), repeat=H)))


def superposed(model, S, W, T=1.0):
    """What each state makes: (states, D)."""
    if isinstance(model, LINEAR):
        return S @ W
    rho = model._rho(T)
    t = S @ (np.sign(W) * np.abs(W) ** rho)
    return np.sign(t) * np.abs(t) ** (1 / rho)


def log_prior(model, params, S):
    law = model._law(params) if isinstance(model, LINEAR) else np.array([1 - params["pi"], params["pi"]])
    values = (0.0, *model._values())
    return sum(np.log(law[k]) * (v == S).sum(axis=1) for k, v in enumerate(values))


def brute(model, params, Y, T=1.0, anneal=False):
    """Log joint of every point and state, without what is the same for all states of an annealed point."""
    S = states_of(model)
    far = ((Y[:, None] - superposed(model, S, params["W"], T)[None]) ** 2).sum(axis=2)
    beta = 1 / T
    return S, log_prior(model, params, S) * (beta if anneal else 1) - beta * far / (2 * params["sigma"] ** 2)


@pytest.mark.parametrize("kind", [k for k in ALL if k is not GaussianSparseCoding])
@pytest.mark.parametrize(("T", "anneal"), [(1.0, False), (2.5, False), (2.5, True)])
def test_an_e_step_over_all_states_is_the_sum_over_all_states(kind, T, anneal):
    model, params, Y = problem(kind)
    anneal = anneal or model._anneals_prior()
    step = EStep(H, H, T, anneal)
    S, joint = brute(model, params, Y, T, anneal)
    q = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = evaluate(Y, model, params, step, 1)
    np.testing.assert_allclose(model._codes(Y, params, found), q @ S, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        model._state_moments(found, 1)[1], np.einsum("ns,si,sj->ij", q, S, S), rtol=1e-10
    )
    if not anneal:
        constant = -0.5 * D * np.log(2 * np.pi * params["sigma"] ** 2)
        np.testing.assert_allclose(
            found.evidence + model._constant(params), logsumexp(joint, axis=1) + constant, rtol=1e-10
        )


@pytest.mark.parametrize("kind", [k for k in ALL if k is not GaussianSparseCoding])
@pytest.mark.parametrize("T", [1.0, 1.7])
def test_an_m_step_is_the_one_written_out(kind, T):
    model, params, Y = problem(kind)
    S, joint = brute(model, params, Y, T, model._anneals_prior())
    q = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    fresh, _, used = em_step(
        LocalRows(Y, 16), model, params, EStep(H, H, T, model._anneals_prior()), truncation=0.0
    )
    assert used == N
    W = params["W"]
    if isinstance(model, LINEAR):
        expected = np.linalg.solve(np.einsum("ns,si,sj->ij", q, S, S), (q @ S).T @ Y)
    else:
        rho, bar = model._rho(T), superposed(model, S, W, T)
        with np.errstate(divide="ignore"):
            ratio = np.log(np.abs(bar))[:, None] - np.log(np.abs(W))
        A = S[:, :, None] * np.exp(-(rho - 1) * np.maximum(ratio, 0))
        weight, weighted = np.einsum("ns,shd->hd", q, A), np.einsum("ns,shd,nd->hd", q, A, Y)
        expected = weighted / weight
        if kind is MaximumMagnitudeCausesAnalysis:
            share = np.maximum(1 - np.exp(-weight / 2.5), 0.2)
            expected = share * expected + (1 - share) * W
        else:
            expected = np.maximum(expected, 1e-4)
    np.testing.assert_allclose(fresh["W"], expected, rtol=1e-9)
    far = ((Y[:, None] - superposed(model, S, fresh["W"], T)[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(fresh["sigma"], np.sqrt((q * far).sum() / (N * D)), rtol=1e-10)
    if kind is DiscreteSparseCoding:
        counts = [(q @ (v == S)).sum() for v in (0, 1, 2)]
        np.testing.assert_allclose(fresh["pi"], np.array(counts) / (N * H), rtol=1e-10)
    else:
        np.testing.assert_allclose(fresh["pi"], (q @ np.abs(S)).sum() / (N * H), rtol=1e-10)


@pytest.mark.parametrize("noise", ["scalar", "diagonal", "full"])
@pytest.mark.parametrize("slab", ["diagonal", "full"])
def test_gaussian_amplitudes_are_integrated_out(noise, slab):
    model, params, Y = problem(GaussianSparseCoding, noise=noise, slab_cov=slab)
    W, mu, pi = params["W"], params["mu"], params["pi"]
    psi = params["psi"] if slab == "full" else np.diag(params["psi"])
    Sigma = params["Sigma"] if noise == "full" else np.eye(D) * params["Sigma"]
    joint, first, second = [], [], []
    for s in itertools.product((0.0, 1.0), repeat=H):
        s = np.array(s)
        B = W.T * s
        cov = B @ psi @ B.T + Sigma
        joint.append(
            np.where(s > 0, np.log(pi), np.log1p(-pi)).sum() + multivariate_normal(B @ mu, cov).logpdf(Y)
        )
        gain = psi @ B.T @ np.linalg.inv(cov)  # of the amplitudes, those off included
        kappa = s * (mu + (Y - B @ mu) @ gain.T)
        lam = np.outer(s, s) * (psi - gain @ B @ psi)
        first.append(kappa)
        second.append(lam + kappa[:, :, None] * kappa[:, None, :])
    joint = np.array(joint).T
    evidence = logsumexp(joint, axis=1)
    found = evaluate(Y, model, params, EStep(H, H), 1)
    np.testing.assert_allclose(found.evidence + model._constant(params), evidence, rtol=1e-10)
    q = np.exp(joint - evidence[:, None])
    Ez, Ezz = np.einsum("ns,snh->nh", q, first), np.einsum("ns,snij->ij", q, second)
    np.testing.assert_allclose(model._codes(Y, params, found), Ez, rtol=1e-9, atol=1e-11)
    fresh, *_ = em_step(LocalRows(Y, 11), model, params, EStep(H, H), 0.0)
    expected = np.linalg.solve(Ezz, Ez.T @ Y)
    np.testing.assert_allclose(fresh["W"], expected, rtol=1e-8)
    S = np.array(list(itertools.product((0.0, 1.0), repeat=H)))
    np.testing.assert_allclose(fresh["pi"], (q @ S).mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(fresh["mu"], Ez.sum(axis=0) / (q @ S).sum(axis=0), rtol=1e-9)
    cross = np.einsum("ns,si,snj->ij", q, S, np.array(first))
    pairs = np.einsum("ns,si,sj->ij", q, S, S)
    m = fresh["mu"]  # E of s_i s_j (z_i - m_i)(z_j - m_j)
    centred = Ezz - m[:, None] * cross - (m[:, None] * cross).T + np.outer(m, m) * pairs
    if slab == "full":
        values, vectors = np.linalg.eigh(centred / pairs)
        np.testing.assert_allclose(fresh["psi"], (vectors * np.maximum(values, 1e-5)) @ vectors.T, rtol=1e-7)
    else:
        np.testing.assert_allclose(fresh["psi"], np.diagonal(centred) / np.diagonal(pairs), rtol=1e-8)
    left = (Y.T @ Y - expected.T @ Ezz @ expected) / N
    wanted = {"scalar": np.diagonal(left).mean(), "diagonal": np.diagonal(left), "full": left}[noise]
    np.testing.assert_allclose(fresh["Sigma"], wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("values", [(1.0,), (-1.0, 1.0), (1.0, 2.0, 3.0)])
@pytest.mark.parametrize(("candidates", "active"), [(5, 5), (5, 3), (4, 2), (3, 1), (1, 1)])
def test_states_are_listed_once_each(values, candidates, active):
    listed = list_states(candidates, active, np.array(values))
    assert len(listed) + 1 + candidates * len(values) == count_states(
        candidates, candidates, active, len(values)
    )
    assert len(np.unique(listed, axis=0)) == len(listed)
    assert set((listed != 0).sum(axis=1)) <= set(range(2, active + 1))


@pytest.mark.parametrize("kind", ALL)
def test_a_truncated_posterior_is_the_full_one_restricted_to_its_states(kind):
    model, params, Y = problem(kind)
    full, cut = evaluate(Y, model, params, EStep(H, H), 1), evaluate(Y, model, params, EStep(3, 2), 1)
    value = np.array(model._values())
    V = len(value)

    def expanded(e):
        listed = list_states(e.tree.chosen.shape[1], e.step.active, value)
        first = np.vstack([np.zeros((1, H)), np.kron(np.eye(H), value[:, None])])
        for n in range(N):
            more = np.zeros((len(listed), H))
            more[:, e.tree.chosen[n]] = listed
            yield np.vstack([first, more]), e.posterior[n] * np.exp(e.evidence[n])

    assert cut.posterior.shape[1] == 1 + V * H + 3 * V * V
    for (S, p), (T, r) in zip(expanded(full), expanded(cut)):
        known = {tuple(s): x for s, x in zip(S, p)}
        assert len({tuple(t) for t in T}) == len(T)
        np.testing.assert_allclose([known[tuple(t)] for t in T], r, rtol=1e-8)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("candidates", "active"), [(H, H), (H, 3)])
def test_plain_em_never_lowers_the_bound(kind, candidates, active):
    model, params, Y = problem(kind)
    if active < H and kind in (BinarySparseCoding, TernarySparseCoding):
        model.set_params(learn=("W", "sigma"))  # pi makes a fixed-point step there
    slack = 1e-3 if kind in (MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis) else 1e-9
    step, bounds = EStep(candidates, active, 1.0, model._anneals_prior()), []
    for _ in range(50):
        within = np.log(model._within(params, active)[0])
        params, bound, _ = em_step(LocalRows(Y, 64), model, params, step, 0.0)
        bounds.append(bound + within)
    assert (np.diff(bounds) >= -slack * np.abs(bounds[1:])).all()
    assert bounds[-1] > bounds[0]


@pytest.mark.parametrize("kind", [*LINEAR, GaussianSparseCoding])
def test_parts_are_where_the_gradient_of_the_expected_likelihood_vanishes(kind):
    torch = pytest.importorskip("torch")
    model, params, Y = problem(kind)
    fresh, *_ = em_step(LocalRows(Y, 64), model, params, EStep(H, H), 0.0)
    found = evaluate(Y, model, params, EStep(H, H), 1)
    if kind is GaussianSparseCoding:
        first, _, second, *_ = model._amplitudes(Y, params, found, 1)
    else:
        first, second, _ = model._state_moments(found, 1)
    W = torch.tensor(fresh["W"], requires_grad=True)
    cross, square = torch.tensor(first.T @ Y), torch.tensor(second)
    loss = -2 * (W * cross).sum() + (W @ W.T * square).sum()
    loss.backward()
    assert W.grad.abs().max() < 1e-8 * np.abs(first.T @ Y).max()


def test_all_causes_on_with_unit_slab_are_factor_analysis():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) + 0.5 * rng.normal(size=(200, 8))
    X -= X.mean(axis=0)
    pca, factors = PCA(3).fit(X), FactorAnalysis(3, tol=1e-8, max_iter=5000).fit(X)
    W = pca.components_ * np.sqrt(pca.explained_variance_ - pca.noise_variance_)[:, None]
    for parts, Sigma, noise, score in (
        (W, pca.noise_variance_, "scalar", pca.score(X)),
        (factors.components_, factors.noise_variance_, "diagonal", factors.score(X)),
    ):
        model = GaussianSparseCoding(3, noise=noise)
        params = {
            "W": parts,
            "pi": np.full(3, 1 - 1e-12),
            "mu": np.zeros(3),
            "psi": np.ones(3),
            "Sigma": Sigma,
        }
        evidence = evaluate(X, model, params, EStep(3, 3), 1).evidence + model._constant(params)
        np.testing.assert_allclose(evidence.mean(), score, rtol=1e-8)


def test_models_with_the_same_states_agree():
    _, params, Y = problem(BinarySparseCoding)
    binary = BinarySparseCoding(H)
    discrete = DiscreteSparseCoding(H, values=(0, 1), selection=binary._scores)
    law = params | {"pi": np.array([0.7, 0.3])}
    np.testing.assert_allclose(
        evaluate(Y, discrete, law, EStep(4, 3), 1).posterior,
        evaluate(Y, binary, params, EStep(4, 3), 1).posterior,
        rtol=1e-12,
    )
    law = params | {"pi": np.array([0.7, 0.15, 0.15])}
    np.testing.assert_allclose(
        evaluate(Y, DiscreteSparseCoding(H, values=(-1, 0, 1)), law, EStep(4, 3), 1).posterior,
        evaluate(Y, TernarySparseCoding(H), params, EStep(4, 3), 1).posterior,
        rtol=1e-12,
    )
    positive = params | {"W": np.abs(params["W"])}
    one = [
        evaluate(Y, k(H), positive, EStep(H, 1), 1).posterior
        for k in (BinarySparseCoding, MaximalCausesAnalysis)
    ]
    np.testing.assert_allclose(one[0], one[1], rtol=1e-12)


def test_the_smoothed_maximum_tends_to_the_maximum():
    model, params, _ = problem(MaximalCausesAnalysis)
    W, S = params["W"], states_of(model)
    for rho in (5.0, 21.0, 100.0):
        bar = (S @ W**rho) ** (1 / rho)
        hard = (S[:, :, None] * W).max(axis=1)
        assert (bar - hard <= hard.max() * (H ** (1 / rho) - 1) + 1e-12).all()
        assert (bar >= hard - 1e-12).all()
    np.testing.assert_array_equal(model._superpose(S, params), (S[:, :, None] * W).max(axis=1))


def test_counts_of_causes_are_the_law_of_independent_draws():
    pi = np.array([0.1, 0.5, 0.8, 0.3])
    law = np.zeros(5)
    for s in itertools.product((0, 1), repeat=4):
        law[sum(s)] += np.prod(np.where(s, pi, 1 - pi))
    for active in range(1, 5):
        np.testing.assert_allclose(
            at_most(pi, active), (law[: active + 1].sum(), law[: active + 1] @ np.arange(active + 1))
        )


@pytest.mark.parametrize("draw", ["normal", "ties", "outlier", "constant"])
def test_the_largest_are_those_of_a_sort(draw):
    rng = np.random.default_rng(0)
    values = rng.normal(size=20_000)
    if draw == "ties":
        values = np.round(values, 1)
    if draw == "outlier":
        values[7] = 1e12
    if draw == "constant":
        values[:] = 3.0
    rows = LocalRows(values[:, None], 3000)
    parts = [block[:, 0] for block in rows.blocks]
    for count in (1, 2, 9_999, 19_000, 20_000):
        expected = np.zeros(20_000, bool)
        expected[np.argsort(-values, kind="stable")[:count]] = True
        np.testing.assert_array_equal(np.concatenate(keep_largest(rows, parts, count)), expected)


def test_the_points_with_least_evidence_are_left_out():
    model, params, Y = problem(BinarySparseCoding)
    step = EStep(H, 2)
    within = model._within(params, 2)[0]
    fresh, _, used = em_step(LocalRows(Y, 7), model, params, step, 0.6)
    assert used == int(np.floor(N * (1 - (1 - within) * 0.6)))
    kept = np.argsort(-evaluate(Y, model, params, step, 1).evidence)[:used]
    alone, *_ = em_step(LocalRows(Y[np.sort(kept)], 64), model, params, step, 0.0)
    for name in ("W", "sigma", "pi"):
        np.testing.assert_allclose(fresh[name], alone[name], rtol=1e-10)


@pytest.mark.parametrize("kind", LINEAR)
def test_an_offset_is_fitted_with_the_parts(kind):
    model, params, Y = problem(kind, fit_offset=True)
    params["offset"] = np.linspace(-1, 1, D)
    S, joint = brute(model, params, Y - params["offset"])
    q = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    design = np.tile(np.column_stack([S, np.ones(len(S))]), (N, 1)) * np.sqrt(q).reshape(-1, 1)
    target = np.repeat(Y, len(S), axis=0) * np.sqrt(q).reshape(-1, 1)
    solution, left, *_ = np.linalg.lstsq(design, target, rcond=None)
    fresh, *_ = em_step(LocalRows(Y, 16), model, params, EStep(H, H), 0.0)
    np.testing.assert_allclose(fresh["W"], solution[:-1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fresh["offset"], solution[-1], rtol=1e-8)
    np.testing.assert_allclose(fresh["sigma"], np.sqrt(left.sum() / (N * D)), rtol=1e-9)


def test_a_schedule_is_piecewise_linear():
    schedule = AnnealingSchedule(
        100, T=[(0, 5.0), (0.8, 1.0)], truncation=[(0.0, 0.0), (-50, 1.0)], W_noise=0.1
    )
    assert schedule.at(0).T == 5
    np.testing.assert_allclose(schedule.at(20).T, 4)
    assert schedule.at(80).T == schedule.at(500).T == 1
    assert schedule.at(25).truncation == 0.5
    assert schedule.at(3).W_noise == 0.1
    for bad in (
        {"T": 0.5},
        {"truncation": 2},
        {"partial": 0},
        {"T": "hot"},
        {"n_steps": 0},
        {"T": [(2.0, 1.0)]},
    ):
        with pytest.raises(ValueError):
            AnnealingSchedule(**bad)


def test_the_model_that_the_gallery_writes_is_exact_em():
    source = (Path(__file__).parents[2] / "docs/gallery/plot_own_sparse_coding.py").read_text(
        encoding="utf-8"
    )
    names = {}
    exec(source.split("# %%")[0], names)
    model = names["PhotonCoding"](H)
    rng = np.random.default_rng(0)
    params = {"W": rng.uniform(0, 3, (H, D)), "dark": np.full(D, 0.3), "pi": 0.3, "sigma": 1.0}
    S = np.array(list(itertools.product((0.0, 1.0), repeat=H)))
    Y = rng.poisson(model._superpose(S[rng.integers(len(S), size=N)], params)).astype(float)
    joint = poisson(model._superpose(S, params)).logpmf(Y[:, None]).sum(axis=2) + log_prior(model, params, S)
    q = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = evaluate(Y, model, params, EStep(H, H), 1)
    np.testing.assert_allclose(found.evidence + model._constant(params), logsumexp(joint, axis=1), rtol=1e-10)
    np.testing.assert_allclose(model._codes(Y, params, found), q @ S, atol=1e-10)
    bounds = []
    for _ in range(20):
        params, bound, _ = em_step(LocalRows(Y, 16), model, params, EStep(H, H), 0.0)
        bounds.append(bound)
    assert (np.diff(bounds) > 0).all()
