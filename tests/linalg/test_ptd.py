"""Perturb, then diagonalise: exact for a near matrix, well conditioned, stable, and smooth in its slopes."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import hippo, hippo_normal, hippo_ptd, ptd
from gossamer.linalg.dynamics import ptd as ptd_module
from gossamer.linalg.dynamics.conditioning import eigen, log_kappa_slope, spectral_norm
from gossamer.linalg.dynamics.ptd import HIPPO_MARGIN, TABLE_RELS, TABLE_SIZES


def check(result, A, rel=None):
    size, n = np.linalg.norm(A, 2), len(A)
    assert result.E.dtype == np.float64
    assert np.linalg.norm(result.matrix() - (A + result.E), 2) <= 1e-12 * size
    np.testing.assert_allclose(result.V @ result.Vinv, np.eye(n), atol=1e-11)
    np.testing.assert_allclose(np.linalg.norm(result.V, axis=0), 1, atol=1e-13)
    k = result.pairs
    np.testing.assert_array_equal(result.Lambda[:k], result.Lambda[n - k :].conj())
    np.testing.assert_array_equal(result.V[:, :k], result.V[:, n - k :].conj())
    np.testing.assert_array_equal(result.Vinv[:k], result.Vinv[n - k :].conj())
    assert (result.Lambda[k : n - k].imag == 0).all()
    assert result.weights.sum() == n
    assert result.kappa == pytest.approx(np.linalg.cond(result.V), rel=1e-6)
    assert result.max_real == result.Lambda.real.max()
    assert result.rel == pytest.approx(np.linalg.norm(result.E, 2) / size)
    if rel is not None:
        assert 0.8 <= result.rel / rel <= 1.25


def test_the_slope_of_the_condition_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    M, weights = rng.standard_normal((7, 7)), rng.standard_normal(7)

    def value(M):
        w, V = np.linalg.eig(M)
        return np.log(np.linalg.cond(V)) + np.sort(w.real) @ np.sort(weights[: len(w)])

    e = eigen(M)
    on_diagonal = np.empty(7)
    on_diagonal[np.argsort(e.w.real)] = np.sort(weights)
    slope = log_kappa_slope(e, np.linalg.norm(M, 2), on_diagonal)
    for _ in range(5):
        D = rng.standard_normal(M.shape)
        step = 1e-6
        expected = (value(M + step * D) - value(M - step * D)) / (2 * step)
        # a pair shares one real part: sorting gives its two weights in either order, and their sum counts
        assert (slope * D).sum() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    norm, direction = spectral_norm(M)
    assert norm == pytest.approx(np.linalg.norm(M, 2))
    np.testing.assert_allclose((direction * M).sum(), norm)


@pytest.mark.parametrize(("n", "rel"), [(16, 0.01), (24, 0.05), (9, 0.1)])
def test_hippo_is_diagonalised_stably(n, rel):
    A, _ = hippo(n)
    result = ptd(A, rel, stable=True)
    check(result, A, rel)
    assert result.success
    assert result.max_real <= -0.25
    assert result.kappa < 40
    assert result.history["kappa"][0] > 2 * result.kappa


def test_stability_holds_even_without_a_single_step():
    A, _ = hippo(24)
    assert ptd(A, 0.1, steps=0).max_real > 1  # a random perturbation alone is unstable
    result = ptd(A, 0.1, steps=0, stable=True)
    assert result.max_real <= -0.25
    check(result, A)


def test_a_margin_of_ones_own_is_kept():
    assert ptd(hippo(8)[0], 0.05, steps=50, stable=0.75).max_real <= -0.75


@pytest.mark.parametrize("n", TABLE_SIZES[:4])
@pytest.mark.parametrize("rel", TABLE_RELS)
def test_tables_are_what_they_say(n, rel):
    A, B = hippo(n)
    result = hippo_ptd(n, rel)
    assert result.message.startswith("table")
    check(result, A, rel)
    assert result.max_real <= -HIPPO_MARGIN
    assert result.kappa <= 70
    h = hippo_normal(n)
    omegas = np.concatenate([np.linspace(0, 0.4 * n**2, 400), np.abs(h.Lambda.imag), [n**2 / np.pi]])
    exact = h.states(omegas) @ h.V.T
    gap = np.linalg.norm(exact - result.states(B, omegas), axis=1).max()
    dropped = np.linalg.norm(h.states(omegas) - h.diagonal_states(omegas), axis=1).max()
    assert dropped == pytest.approx(2 * n / np.pi, rel=0.03)
    assert gap < dropped / 4


@pytest.mark.parametrize("rel", TABLE_RELS)
def test_the_largest_table_is_stable_and_well_conditioned(rel):
    A, _ = hippo(256)
    result = hippo_ptd(256, rel)
    check(result, A, rel)
    assert result.max_real <= -0.25
    assert result.kappa <= 60


def test_a_jordan_block_gets_better_eigenvectors_with_a_larger_perturbation():
    J = np.eye(20, k=1)
    kappas = [ptd(J, rel, steps=150).kappa for rel in (0.001, 0.01, 0.1)]
    assert np.isfinite(kappas).all()
    assert kappas[0] > kappas[1] > kappas[2]


@pytest.mark.parametrize("kind", ["grcar", "toeplitz"])
def test_other_matrices_with_hopeless_eigenvectors(kind):
    n = 30
    A = np.triu(np.tril(np.ones((n, n)), 3)) - np.eye(n, k=-1)
    if kind == "toeplitz":
        A = np.eye(n, k=1) + 0.25 * np.eye(n, k=-1)
    before = np.linalg.cond(np.linalg.eig(A)[1])
    result = ptd(A, 0.02, steps=200)
    check(result, A, 0.02)
    assert result.kappa < before / 10


def test_a_normal_matrix_needs_no_perturbation():
    rng = np.random.default_rng(0)
    Q = scipy.linalg.qr(rng.standard_normal((7, 7)))[0]
    skew = rng.standard_normal((7, 7))
    matrices = [
        np.eye(4),
        Q @ np.diag(rng.standard_normal(7)) @ Q.T,
        skew - skew.T,
        scipy.linalg.circulant(rng.standard_normal(6)),
        np.zeros((3, 3)),
    ]
    for A in matrices:
        result = ptd(A)
        assert not result.E.any()
        assert result.kappa == 1
        np.testing.assert_allclose(result.matrix(), A, atol=1e-13 * max(np.linalg.norm(A), 1))
    moved = ptd(skew - skew.T, stable=True)
    assert moved.max_real <= -0.25
    np.testing.assert_allclose(moved.matrix(), skew - skew.T + moved.E, atol=1e-12)


def test_a_fixed_weight_trades_the_condition_for_the_norm():
    A, _ = hippo(12)
    loose, tight = (ptd(A, 0.02, gamma=gamma, steps=200) for gamma in (0.1, 50.0))
    assert loose.gamma == 0.1
    assert tight.rel < loose.rel
    assert tight.kappa > loose.kappa


def test_the_same_seed_gives_the_same_bits():
    A, _ = hippo(10)
    first, second, other = (ptd(A, steps=30, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.E, second.E)
    assert not np.array_equal(first.E, other.E)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 10), st.floats(0.003, 0.3), st.integers(0, 1000))
def test_any_matrix_is_reproduced_with_its_perturbation(n, rel, seed):
    A = np.triu(np.random.default_rng(seed).standard_normal((n, n)))
    check(ptd(A, rel, steps=40, seed=seed), A)


def test_hopeless_eigenvectors_are_reported():
    with pytest.warns(UserWarning, match="eigenvectors have condition"):
        ptd(np.eye(12, k=1) + 1e-9 * np.eye(12), 1e-12, steps=0)


def test_colliding_eigenvalues_get_another_start_and_then_an_error(monkeypatch):
    A, calls = hippo(6)[0], []

    def collide(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise np.linalg.LinAlgError("eigenvalues collide")
        return descend(*arguments)

    descend = ptd_module._descend
    monkeypatch.setattr(ptd_module, "_descend", collide)
    assert ptd(A, steps=5).kappa > 1
    assert len(calls) == 3

    def always(*_):
        raise np.linalg.LinAlgError("eigenvalues collide")

    monkeypatch.setattr(ptd_module, "_descend", always)
    with pytest.raises(np.linalg.LinAlgError, match=r"4 random starts: give a larger rel than 0\.01"):
        ptd(A)


def test_large_matrices_are_announced(monkeypatch):
    monkeypatch.setattr("gossamer.linalg.dynamics.ptd._descend", lambda *_: None)
    with pytest.warns(UserWarning, match="1025 rows"):
        ptd(np.eye(1025, k=1))


@pytest.mark.parametrize(
    ("A", "options", "error", "message"),
    [
        (np.ones((2, 3)), {}, ShapeError, r"A has shape \(2, 3\)"),
        (np.ones(3), {}, ShapeError, "2-D"),
        (np.full((2, 2), np.nan), {}, ArgumentError, "A has 4 NaN"),
        (1j * np.eye(2), {}, ArgumentError, "A is complex"),
        (np.eye(3), {"rel": 0}, ArgumentError, "rel=0"),
        (np.eye(3), {"rel": -0.1}, ArgumentError, "rel=-0.1"),
        (np.eye(3), {"steps": -1}, ArgumentError, "steps=-1"),
        (np.eye(3), {"gamma": -1}, ArgumentError, "gamma=-1"),
        (np.eye(3), {"rate": 0}, ArgumentError, "rate=0"),
        (np.eye(3), {"stable": -1}, ArgumentError, "stable=-1"),
    ],
)
def test_bad_arguments_are_named(A, options, error, message):
    with pytest.raises(error, match=message):
        ptd(A, **options)
