"""Posteriors are those of dense algebra, updates minimise what they say, and sparse vectors come back."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import orthogonal_mp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import KroneckerMatrix
from gossamer.science import channel_nmse, simulate_channel
from gossamer.solve import kro_omp, kro_sbl, kron_support_rate, omp, oracle_ls, pc_sbl, sbl
from gossamer.solve.bayes.modes import contract, mode_products, outer
from gossamer.solve.bayes.posterior import KroneckerModel, PlainModel
from gossamer.solve.bayes.variances import alternating, coupled, neighbours, rank_one


def draw(rng, shape, is_complex=False):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0)


def dense(factors):
    H = np.eye(1)
    for A in factors:
        H = np.kron(H, A)
    return H


def problem(seed, sizes=(10, 8, 9), rows=(6, 6, 7), k=2, noise=1e-2, is_complex=False):
    rng = np.random.default_rng(seed)
    factors = [draw(rng, (m, n), is_complex) for m, n in zip(rows, sizes, strict=True)]
    parts, support = [], []
    for n in sizes:
        part = np.zeros(n, complex if is_complex else float)
        support.append(np.sort(rng.choice(n, k, replace=False)))
        part[support[-1]] = draw(rng, k, is_complex) + 1
        parts.append(part)
    x = outer(parts)
    y = dense(factors) @ x
    scale = 1 / np.sqrt(2) if is_complex else 1
    return factors, x, y + noise * scale * draw(rng, len(y), is_complex), support


def error(x, truth):
    return float(np.square(np.abs(x - truth)).sum() / np.square(np.abs(truth)).sum())


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("model", [KroneckerModel, PlainModel])
def test_moments_are_those_of_dense_algebra(is_complex, columns, model):
    rng = np.random.default_rng(0)
    sizes, rows = ((4, 3, 5), (3, 4, 2)) if model is KroneckerModel else ((20,), (7,))
    factors = [draw(rng, (m, n), is_complex) for m, n in zip(rows, sizes, strict=True)]
    gammas = [rng.uniform(0.1, 2, n) for n in sizes]
    Y, noise = draw(rng, (int(np.prod(rows)), columns), is_complex), 0.3
    H, gamma = dense(factors), outer(gammas)
    Sigma_y = noise * np.eye(len(Y)) + (H * gamma) @ H.conj().T
    solved = np.linalg.solve(Sigma_y, Y)
    mean = gamma[:, None] * (H.conj().T @ solved)
    var = gamma - gamma**2 * np.einsum("mn,mn->n", H.conj(), np.linalg.solve(Sigma_y, H)).real
    found = model(factors, gammas).posterior(Y, noise)
    np.testing.assert_allclose(found.mean.T, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.var, var, rtol=1e-9, atol=1e-12)
    cost = np.linalg.slogdet(Sigma_y)[1] + np.einsum("mp,mp->", Y.conj(), solved).real / columns
    assert found.cost == pytest.approx(cost, rel=1e-10)
    misfit = np.square(np.abs(Y - H @ mean)).sum() / columns
    assert found.misfit == pytest.approx(misfit, rel=1e-10)
    assert found.spent == pytest.approx((1 - var / gamma).sum(), rel=1e-10)
    np.testing.assert_allclose(model(factors, gammas).forward(mean), H @ mean, rtol=1e-12, atol=1e-12)


def test_mode_products_and_contractions_are_einsums():
    rng = np.random.default_rng(0)
    T, factors = rng.normal(size=(3, 4, 5, 2)), [rng.normal(size=(m, n)) for m, n in ((2, 3), (6, 4), (3, 5))]
    expected = np.einsum("abcp,ia,jb,kc->pijk", T, *factors)
    np.testing.assert_allclose(mode_products(T, factors), expected.reshape(2, -1))
    weights = [rng.normal(size=n) for n in (3, 4, 5)]
    np.testing.assert_allclose(
        contract(T[..., 0].ravel(), weights, 1), np.einsum("abc,a,c->b", T[..., 0], weights[0], weights[2])
    )


def test_alternating_updates_never_raise_what_they_minimise_and_meet_the_rank_one_fit():
    rng = np.random.default_rng(0)
    moments, gammas = rng.uniform(0.1, 3, 60), [np.ones(n) for n in (3, 4, 5)]

    def objective(g):
        return float((np.log(outer(g)) + moments / outer(g)).sum())

    values = [objective(alternating(0.0, sweeps)(moments, gammas, [])) for sweeps in range(1, 12)]
    assert (np.diff([objective(gammas), *values]) <= 1e-10).all()
    best = alternating(0.0, 200)(moments, gammas, [])

    def moved(factor, i, j):
        g = [b.copy() for b in best]
        g[i][j] *= factor
        return objective(g)

    for place in ((0, 1), (1, 2), (2, 0)):  # each entry is at its own minimum
        found = minimize_scalar(moved, args=place, bounds=(0.5, 2), method="bounded")
        assert found.x == pytest.approx(1, abs=1e-4)
    exact = [rng.uniform(0.1, 3, n) for n in (3, 4, 5)]
    for update in (alternating(1e-13, 1000), rank_one):
        np.testing.assert_allclose(outer(update(outer(exact), gammas, [])), outer(exact), rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_cost_never_rises_in_alternating_minimisation(seed):
    factors, _, y, _ = problem(seed, sizes=(6, 5, 7), rows=(4, 3, 4))
    found = kro_sbl(factors, y, method="am", noise_var=1e-2, prune_rel=0, tol=0, max_iter=300)
    cost = np.array(found.cost)
    assert len(cost) == 301
    assert (np.diff(cost) <= 1e-10 * np.abs(cost[1:])).all()


def test_it_ends_at_a_stationary_point_of_the_cost():
    factors, _, y, _ = problem(0, sizes=(4, 3), rows=(3, 3), k=1, noise=0.3)
    found = kro_sbl(
        factors,
        y,
        method="am",
        noise_var=0.1,
        prune_rel=1e-2,
        tol=1e-11,
        inner_tol=1e-12,
        max_iter=4000,
        max_inner=50,
    )
    assert found.converged
    gammas = [g[k] for g, k in zip(found.gamma, found.support, strict=True)]
    columns = [A[:, k] for A, k in zip(factors, found.support, strict=True)]

    def cost(logs):
        return KroneckerModel(columns, [np.exp(v) for v in logs]).posterior(y[:, None], 0.1).cost

    logs = [np.log(g) for g in gammas]
    for i, j in ((mode, atom) for mode in range(2) for atom in range(len(gammas[mode]))):
        up, down = ([v.copy() for v in logs] for _ in range(2))
        up[i][j] += 1e-4
        down[i][j] -= 1e-4
        assert abs(cost(up) - cost(down)) / 2e-4 < 1e-6 * abs(cost(logs))


@pytest.mark.parametrize("is_complex", [False, True])
def test_with_one_factor_all_methods_are_plain_sbl(is_complex):
    rng = np.random.default_rng(1)
    A, x = draw(rng, (12, 20), is_complex), np.zeros(20)
    x[[3, 11]] = 1, -2
    y = A @ x + 0.05 * draw(rng, 12, is_complex)
    plain = sbl(A, y, noise_var=0.01, max_iter=30, tol=0)
    for method in ("am", "svd", "ksbl"):
        found = kro_sbl([A], y, method=method, noise_var=0.01, max_iter=30, tol=0, prune_rel=1e-3)
        np.testing.assert_allclose(found.gamma[0], plain.gamma[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.x, plain.x, atol=1e-10)


@pytest.mark.parametrize("method", ["svd", "am", "ksbl"])
def test_permuted_atoms_other_units_and_swapped_modes_change_nothing_else(method):
    factors, _, y, _ = problem(2, sizes=(6, 5, 4), rows=(5, 4, 4))
    options = {"method": method, "noise_var": 1e-4, "max_iter": 20, "tol": 0.0, "inner_tol": 1e-9}
    base = kro_sbl(factors, y, **options)
    order = np.random.default_rng(0).permutation(6)
    permuted = kro_sbl([factors[0][:, order], *factors[1:]], y, **options)
    np.testing.assert_allclose(permuted.gamma[0], base.gamma[0][order], rtol=1e-6, atol=1e-9)
    c = 3.0
    start = [np.ones(6), np.ones(5), c**2 * np.ones(4)]
    scaled = kro_sbl(factors, c * y, gamma_init=start, **{**options, "noise_var": c**2 * 1e-4})
    np.testing.assert_allclose(scaled.x, c * base.x, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(outer(scaled.gamma), c**2 * outer(base.gamma), rtol=1e-7, atol=1e-8)
    if method == "am":
        swapped = kro_sbl(factors[::-1], y.reshape(5, 4, 4).T.reshape(-1), **options)
        np.testing.assert_allclose(swapped.x, base.x.reshape(6, 5, 4).T.reshape(-1), atol=1e-5)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("method", ["svd", "am", "ksbl"])
def test_it_recovers_support_values_and_noise(method, is_complex):
    noise = 0.1
    factors, x, y, support = problem(3, noise=noise, is_complex=is_complex)
    found = kro_sbl(factors, y, method=method, max_iter=250)
    assert kron_support_rate(x, found.x, relative=0.01) == 1
    assert error(found.x, x) <= 2 * error(oracle_ls(factors, y, support), x)
    assert found.noise_var == pytest.approx(noise**2, rel=0.2)
    assert found.x.dtype == (complex if is_complex else float)
    assert found.converged
    assert len(found.cost) == found.nit + 1


def test_noise_is_learnt_within_fifteen_percent_at_several_levels():
    for seed, noise in ((0, 0.3), (1, 0.1), (2, 0.05)):
        factors, _, y, _ = problem(seed, rows=(8, 7, 8), noise=noise)
        assert kro_sbl(factors, y).noise_var == pytest.approx(noise**2, rel=0.15)


def test_snapshots_share_variances_and_factors_may_be_a_kronecker_matrix():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(5, 9)), rng.normal(size=(6, 8))
    x = np.zeros((9, 8, 4))
    x[np.ix_([1, 6], [0, 5])] = rng.normal(size=(2, 2, 4))
    x = x.reshape(72, 4)
    Y = np.kron(A, B) @ x + 0.01 * rng.normal(size=(30, 4))
    found = kro_sbl([A, B], Y)
    assert found.x.shape == (72, 4)
    assert error(found.x, x) < 1e-3
    assert [s.tolist() for s in found.support] == [[1, 6], [0, 5]]
    same = kro_sbl(KroneckerMatrix.of(A, B), Y)
    np.testing.assert_array_equal(same.x, found.x)
    single = kro_sbl([A.astype(np.float32), B.astype(np.float32)], Y.astype(np.float32))
    assert single.x.dtype == np.float32
    np.testing.assert_allclose(single.x, found.x, atol=1e-4)


def test_draws_have_the_moments_of_the_posterior():
    factors, _, y, _ = problem(4, sizes=(4, 3), rows=(2, 2), k=2, noise=0.5, is_complex=True)
    found = kro_sbl(factors, y, noise_var=0.25, max_iter=3, prune_rel=0)
    draws = found.sample(6000, random_state=0)
    assert draws.shape == (6000, 12)
    scale = np.sqrt(found.var.max())
    np.testing.assert_allclose(draws.mean(axis=0), found.x, atol=0.06 * scale)
    np.testing.assert_allclose(draws.var(axis=0), found.var, rtol=0.1, atol=1e-3 * scale)
    np.testing.assert_array_equal(draws[:5], found.sample(5, random_state=0))
    assert "_model" not in found.to_dict()


def test_coupling_shares_variance_between_neighbours():
    C = neighbours(np.array([0, 1, 2, 4]), 0.5)
    np.testing.assert_array_equal(C, [[1, 0.5, 0, 0], [0.5, 1, 0.5, 0], [0, 0.5, 1, 0], [0, 0, 0, 1]])
    rng = np.random.default_rng(0)
    moments, gammas = rng.uniform(0.1, 1, 20), [np.ones(4), np.ones(5)]
    kept = [np.arange(4), np.arange(5)]
    uncoupled = coupled([0.0, 0.0])(moments, gammas, kept)
    np.testing.assert_allclose(outer(uncoupled), outer(alternating(1e-4, 9)(moments, gammas, kept)))
    lone = np.full((4, 5), 1e-6)
    lone[:, 2] = 1.0
    shared = coupled([0.0, 0.5])(lone.reshape(-1), gammas, kept)[1]
    assert shared[1] > 1e-3 * shared[2]
    assert shared[3] > 1e-3 * shared[2]


def test_coupling_helps_where_nonzeros_come_in_runs():
    errors = {None: [], (0.8, None, 0.8): []}
    for seed in range(6):
        p = simulate_channel(12, random_state=seed)
        for coupling, listed in errors.items():
            found = kro_sbl(
                p.factors,
                p.y,
                method="am",
                noise_var=p.noise_var,
                coupling=coupling,
                prune_rel=(1e-2, 1e-1, 1e-2),
            )
            listed.append(channel_nmse(p, found.x))
    alone, together = (np.median(listed) for listed in errors.values())
    assert together < alone


def test_plain_coupling_finds_a_run():
    rng = np.random.default_rng(0)
    A, x = rng.normal(size=(25, 60)), np.zeros(60)
    x[20:28] = 1 + rng.normal(size=8)
    found = pc_sbl(A, A @ x + 0.01 * rng.normal(size=25), noise_var=1e-4)
    assert error(found.x, x) < 1e-2


def test_without_noise_limits_are_sparse_and_no_more_with_the_constraint_than_without():
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(2, 3)) for _ in range(2)]
    x = np.kron([1.0, 0, 0], [0, 1.0, 0])
    y, H = dense(factors) @ x, dense(factors)
    limits = {"free": set(), "kron": set()}
    for seed in range(15):
        draws = np.random.default_rng(seed)
        starts = [draws.uniform(0.1, 1, 3) for _ in range(2)]
        options = {"noiseless": True, "max_iter": 300, "tol": 1e-8, "prune_rel": 1e-6}
        kron = kro_sbl(factors, y, method="am", gamma_init=starts, **options)
        free = kro_sbl([H], y, method="am", gamma_init=[draws.uniform(0.1, 1, 9)], **options)
        for name, found in (("kron", kron), ("free", free)):
            assert np.linalg.norm(H @ found.x - y) < 1e-5 * np.linalg.norm(y)
            large = np.abs(found.x) > 1e-2 * np.abs(found.x).max()
            assert large.sum() <= 4
            limits[name].add(tuple(np.flatnonzero(large)))
    assert len(limits["kron"]) <= len(limits["free"])


def test_greedy_searches_find_what_exhaustive_ones_do():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(15, 30))
    A /= np.linalg.norm(A, axis=0)
    y = rng.normal(size=15)
    np.testing.assert_allclose(omp(A, y, n_nonzero=5), orthogonal_mp(A, y, n_nonzero_coefs=5), atol=1e-8)
    short = omp(A, y, tol=0.5 * np.linalg.norm(y))
    assert np.linalg.norm(y - A @ short) <= 0.5 * np.linalg.norm(y)
    for is_complex in (False, True):
        factors = [draw(rng, (3, 5), is_complex), draw(rng, (4, 6), is_complex)]
        factors = [B / np.linalg.norm(B, axis=0) for B in factors]
        y = 2 * np.kron(factors[0][:, 3], factors[1][:, 1])
        best = min(
            itertools.product(range(5), range(6)),
            key=lambda pair: np.linalg.norm(
                y - (atom := np.kron(factors[0][:, pair[0]], factors[1][:, pair[1]])) * np.vdot(atom, y)
            ),
        )
        found = kro_omp(factors, y, (1, 1))
        assert np.flatnonzero(found).tolist() == [best[0] * 6 + best[1]] == [19]
        assert found[19] == pytest.approx(2)
    factors, x, y, support = problem(0, noise=0)
    np.testing.assert_allclose(oracle_ls(factors, y, support), x, atol=1e-10)


def test_odd_input_stays_finite():
    rng = np.random.default_rng(0)
    twin, hollow = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    twin[:, 1] = twin[:, 0]
    hollow[:, 2] = 0
    y = rng.normal(size=12)
    spike = y.copy()
    spike[0] = 1e12
    for A, B, values in (
        (twin, rng.normal(size=(3, 5)), y),
        (hollow, rng.normal(size=(3, 5)), y),
        (rng.normal(size=(12, 6)), np.ones((1, 1)), y),
        (rng.normal(size=(1, 4)), rng.normal(size=(12, 3)), y),
        (hollow, rng.normal(size=(3, 5)), spike),
    ):
        for method in ("svd", "am", "ksbl"):
            for options in ({}, {"noise_var": 0.1}, {"noiseless": True}, {"coupling": (0.5, 0)}):
                found = kro_sbl([A, B], values, method=method, max_iter=30, **options)
                assert np.isfinite(found.x).all()
                assert np.isfinite(found.var).all()
                assert all(np.isfinite(g).all() for g in found.gamma)
    with pytest.warns(RuntimeWarning, match="y is zero"):
        nothing = kro_sbl([twin, hollow], np.zeros(16))
    assert not nothing.x.any()
    assert not nothing.sample(2).any()


def test_bad_input_is_named():
    factors, _, y, _ = problem(0, sizes=(4, 3, 3), rows=(3, 2, 2), k=1)
    hole = y.copy()
    hole[4] = np.nan
    for options, message in (
        ({"y": y[:-1]}, "expected 3 x 2 x 2 = 12 rows"),
        ({"y": hole}, r"NaN or infinite entries, the first at \(4,\)"),
        ({"noise_var": -1}, "noise_var=-1"),
        ({"noise_var": 0}, "noiseless=True takes the limit"),
        ({"noise_var": 1, "noiseless": True}, "expected None with noiseless"),
        ({"method": "em"}, "method='em'"),
        ({"coupling": (0.5,)}, "coupling has 1 entries: expected 3"),
        ({"coupling": (0.5, 0, 1.5)}, r"coupling\[2\]=1.5"),
        ({"prune_rel": (0.1, 0.1)}, "prune_rel has 2 entries"),
        ({"prune_rel": 1.0}, r"prune_rel\[0\]=1"),
        ({"prune_rel": "some"}, "prune_rel='some'"),
        ({"gamma_init": [np.ones(4), np.ones(3), np.zeros(3)]}, "gamma_init: expected positive"),
        ({"factors": []}, "factors is empty"),
        ({"factors": [np.ones(3)]}, r"factors\[0\] has shape \(3,\)"),
    ):
        arguments = {"factors": factors, "y": y, **options}
        with pytest.raises(ArgumentError, match=message):
            kro_sbl(arguments.pop("factors"), arguments.pop("y"), **arguments)
    with pytest.raises(ShapeError, match="n_nonzero has 2 entries"):
        kro_omp(factors, y, (1, 1))
    with pytest.raises(ArgumentError, match="a limit on the residual"):
        omp(dense(factors), y)
    with pytest.raises(ArgumentError, match=r"support\[1\]=\[\]"):
        oracle_ls(factors, y, [[0], [], [1]])
    with pytest.raises(ShapeError, match="x_est"):
        kron_support_rate(np.ones(3), np.ones(4))
