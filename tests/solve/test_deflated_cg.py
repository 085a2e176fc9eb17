"""Deflation and the Lanczos process under it."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import GridStencil, cg, deflated_cg, lanczos, ritz_rhs_dataset


def test_lanczos_of_full_length_finds_all_eigenvalues():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((40, 40))
    A = root + root.T
    basis = lanczos(A, rng.standard_normal(40), 40)
    V, T = basis.vectors, np.diag(basis.alpha) + np.diag(basis.beta, 1) + np.diag(basis.beta, -1)
    assert np.abs(V @ V.T - np.eye(40)).max() < 1e-10
    assert np.abs(V @ A @ V.T - T).max() < 1e-10
    assert np.abs(basis.ritz()[0] - np.linalg.eigvalsh(A)).max() < 1e-10


def test_lanczos_stays_orthogonal_and_inside_the_spectrum():
    A = GridStencil((30, 29), scale=(1.0, 1.37))  # no eigenvalue twice
    basis = lanczos(A, np.random.default_rng(1).standard_normal(870), 300)
    assert np.abs(basis.vectors @ basis.vectors.T - np.eye(300)).max() < 1e-10
    values, vectors = basis.ritz()
    one, other = (2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) for n in (30, 29))
    exact = np.sort(np.add.outer(one, 1.37 * other).ravel())
    assert values.min() >= exact[0] - 1e-12
    assert values.max() <= exact[-1] + 1e-12
    assert np.abs(values[:3] - exact[:3]).max() < 1e-8  # converged, and not there a second time
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-10


def test_lanczos_ends_where_the_space_is_invariant():
    start = np.zeros(6)
    start[[1, 3]] = 1
    basis = lanczos(np.diag([1.0, 2, 3, 4, 5, 6]), start, 6)
    assert len(basis.alpha) == 2
    assert np.allclose(basis.ritz()[0], [2, 4])
    assert basis.ritz(low=3)[0].shape == (1,)
    with pytest.raises(ArgumentError, match="start is zero"):
        lanczos(np.eye(3), np.zeros(3), 2)
    with pytest.raises(ShapeError, match="start has shape"):
        lanczos(np.eye(3), np.ones(2), 2)


def test_deflating_eigenvectors_is_cg_on_the_rest_of_the_spectrum():
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(rng.standard_normal((80, 80)))[0]
    values = np.r_[1e-4, 3e-4, 1e-3, np.linspace(1, 3, 77)]
    A, b = Q * values @ Q.T, rng.standard_normal(80)
    result = deflated_cg(A, b, vectors=Q[:, :3], rtol=1e-8)
    assert result.success
    assert np.linalg.norm(b - A @ result.x) <= 2e-8 * np.linalg.norm(b)
    rest = Q[:, 3:] * values[3:] @ Q[:, 3:].T
    reference = cg(rest, b - Q[:, :3] @ (Q[:, :3].T @ b), rtol=0, atol=1e-8 * np.linalg.norm(b))
    assert abs(result.nit - reference.nit) <= 1
    assert result.nit < cg(A, b, rtol=1e-8).nit / 2


def test_residuals_stay_orthogonal_to_the_vectors():
    A, b = GridStencil((20, 20)).to_scipy(), np.random.default_rng(3).standard_normal(400)
    Z = np.kron(np.eye(4), np.ones((100, 1)))
    seen = []
    deflated_cg(
        A, b, vectors=Z, M="jacobi", callback=lambda s: seen.append(np.abs(Z.T @ (b - A @ s.x)).max())
    )
    assert max(seen) < 1e-10


def test_the_published_choice_converges():
    A, b = GridStencil((24, 24)).to_scipy(), np.random.default_rng(4).standard_normal(576)
    result = deflated_cg(A, b, M="jacobi", rtol=1e-8)
    assert result.success
    assert result.method == "deflated-cg"
    assert np.linalg.norm(b - A @ result.x) <= 2e-8 * np.linalg.norm(b)
    assert deflated_cg(A, b * 0).nit == 0
    x0 = np.random.default_rng(5).standard_normal(576)
    assert deflated_cg(A, b, x0=x0, rtol=1e-8).success


def test_bad_vectors_are_refused():
    with pytest.raises(ShapeError, match="vectors have shape"):
        deflated_cg(np.eye(4), np.ones(4), vectors=np.ones((3, 1)))
    with pytest.raises(ArgumentError, match="not positive definite on their span"):
        deflated_cg(np.eye(4), np.ones(4), vectors=np.ones((4, 2)))
    with pytest.raises(ArgumentError, match="n_vectors=0"):
        deflated_cg(np.eye(4), np.ones(4), n_vectors=0)


def test_right_sides_to_learn_from_are_mixtures_of_ritz_vectors():
    A = GridStencil((12, 12))
    sides = ritz_rhs_dataset(A, n_ritz=60, random_state=0)
    batch = sides.draw(2000, 1)
    assert batch.shape == (2000, 144)
    assert batch.dtype == np.float32
    assert np.abs(np.linalg.norm(batch, axis=1) - 1).max() < 1e-5
    power = ((batch @ sides.vectors.T) ** 2).mean(axis=0)
    smooth = sides.deviations > 1
    assert smooth.sum() == 33
    assert (np.diff(sides.values) > 0).all()
    assert power[smooth].mean() / power[~smooth].mean() == pytest.approx(81, rel=0.1)
    assert (sides.draw(3, 7) == sides.draw(3, 7)).all()
    assert [b.shape for b in sides.batches(2, 5, 0)] == [(5, 144)] * 2
    assert len(ritz_rhs_dataset(A, n_ritz=60, max_memory=16 * 144 * 10, random_state=0).values) == 10
    with pytest.raises(ArgumentError, match="max_memory"):
        ritz_rhs_dataset(A, max_memory=5)


def test_a_null_space_is_left_out_of_the_mixtures():
    path = np.diag([1.0] + [2.0] * 8 + [1.0]) - np.eye(10, k=1) - np.eye(10, k=-1)
    sides = ritz_rhs_dataset(path, n_ritz=10, random_state=0)
    assert len(sides.values) == 9
    assert np.abs(sides.vectors.sum(axis=1)).max() < 1e-5
