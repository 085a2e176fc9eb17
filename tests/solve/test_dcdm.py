"""Conjugate directions from any proposal, against textbook CG, exact solves and the energy."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import GridStencil, IncompleteCholesky, cg, dcdm, solve


def grid(side, dim=2):
    return GridStencil((side,) * dim).to_scipy()


def iterates(method, **options):
    found = []
    method(callback=lambda step: found.append(step.x.copy()), **options)
    return np.array(found)


def test_the_residual_as_direction_gives_conjugate_gradients():
    A, b = grid(32), np.random.default_rng(0).standard_normal(1024)
    ours = iterates(lambda **o: dcdm(A, b, M=lambda r: r, rtol=0, maxiter=30, **o))
    scipys = [np.zeros(1024)]
    scipy.sparse.linalg.cg(A, b, rtol=0, maxiter=30, callback=lambda x: scipys.append(x.copy()))
    assert np.abs(ours - scipys).max() < 1e-8


@pytest.mark.parametrize("n_orth", [2, 4, None])
def test_a_symmetric_preconditioner_gives_preconditioned_conjugate_gradients(n_orth):
    A, b = grid(24), np.random.default_rng(1).standard_normal(576)
    M = IncompleteCholesky(A)
    ours = iterates(lambda **o: dcdm(A, b, M=M, rtol=0, maxiter=20, n_orth=n_orth, **o))
    theirs = iterates(lambda **o: cg(A, b, M=M, rtol=0, maxiter=20, **o))
    assert np.abs(ours - theirs).max() < 1e-8


def test_an_exact_direction_takes_one_iteration():
    A, b = grid(16), np.random.default_rng(2).standard_normal(256)
    result = dcdm(A, b, M=scipy.sparse.linalg.factorized(sp.csc_matrix(A)), rtol=1e-12)
    assert result.nit == 1
    assert result.success
    assert result.n_safeguard == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_orth=st.sampled_from([0, 1, 2, None]), kind=st.sampled_from("rwzs"))
def test_the_energy_never_rises(seed, n_orth, kind):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((30, 30))
    A, b = root @ root.T + 1e-3 * np.eye(30), rng.standard_normal(30)
    propose = {
        "r": lambda r: rng.standard_normal(30),
        "w": lambda r: -np.sign(r),
        "z": lambda r: np.zeros(30),
        "s": lambda r: r * (rng.random(30) < 0.1),
    }[kind]
    result = dcdm(A, b, M=propose, rtol=1e-10, maxiter=40, n_orth=n_orth)
    energy = np.array(result.history["energy"])
    assert (np.diff(energy) <= 1e-12 * abs(energy).max()).all()
    x = result.x
    assert energy[-1] == pytest.approx(x @ A @ x / 2 - b @ x, rel=1e-8, abs=1e-12)
    assert result.residual == pytest.approx(np.linalg.norm(b - A @ x), rel=1e-9, abs=1e-13)


def test_the_safeguard_turns_a_useless_proposal_into_steepest_descent():
    A, b = grid(12), np.random.default_rng(3).standard_normal(144)
    result = dcdm(A, b, M=np.zeros_like, rtol=1e-6, maxiter=500)
    assert result.success
    assert result.n_safeguard == result.nit
    reference = cg(A, b, rtol=1e-6)  # conjugate to the last two, steepest descent is CG
    assert result.nit == reference.nit
    stuck = dcdm(A, b, M=np.zeros_like, rtol=1e-6, maxiter=5, safeguard=False)
    assert not stuck.success
    assert not stuck.x.any()
    assert "maxiter=5" in stuck.message


def test_single_precision_proposals_reach_ten_digits():
    A, b = grid(24), np.random.default_rng(4).standard_normal(576)
    M = IncompleteCholesky(A)
    result = dcdm(
        A, b, M=lambda r: M.matvec(np.float32(r / np.linalg.norm(r))).astype(np.float32), rtol=1e-10
    )
    assert result.success
    assert np.linalg.norm(b - A @ result.x) <= 1e-10 * np.linalg.norm(b)


def test_several_right_sides_are_solved_as_each_alone():
    A, B = grid(16), np.random.default_rng(5).standard_normal((256, 3))
    B[:, 1] = grid(16) @ np.ones(256)
    M = IncompleteCholesky(A)
    shapes = []

    def propose(R):
        shapes.append(R.shape)
        return M.matmat(R) if R.ndim == 2 else M.matvec(R)

    together = dcdm(A, B, M=propose, rtol=1e-6)
    alone = [dcdm(A, b, M=propose, rtol=1e-6) for b in B.T]
    assert together.nits.tolist() == [one.nit for one in alone]
    assert np.abs(together.x - np.stack([one.x for one in alone], axis=1)).max() < 1e-10
    assert together.nit == max(together.nits)
    assert {shape[1] for shape in shapes if len(shape) == 2} <= {1, 2, 3}
    by_operator = dcdm(A, B, M=M, rtol=1e-6)
    assert np.abs(by_operator.x - together.x).max() < 1e-10
    assert dcdm(A, B, M="jacobi", rtol=1e-6, maxiter=300).success


def test_a_null_space_is_kept_out():
    ring = sp.diags_array([-np.ones(29), 2 * np.ones(30), -np.ones(29)], offsets=[-1, 0, 1]).tolil()
    ring[0, 29] = ring[29, 0] = -1
    b = np.random.default_rng(6).standard_normal(30)
    b -= b.mean()
    for nullspace in (np.ones(30), np.full((30, 1), -7.0), sp.csc_array(np.ones((30, 1)))):
        result = dcdm(ring.tocsr(), b, M=lambda r: r + 5, rtol=1e-10, nullspace=nullspace)
        assert result.success
        assert abs(result.x.mean()) < 1e-10
    with pytest.raises(ArgumentError, match=r"b is not in the range of A.*column 0"):
        dcdm(ring.tocsr(), b + 1, M=lambda r: r, nullspace=np.ones(30))


def test_a_start_and_a_callback_are_heeded():
    A, b = grid(10), np.random.default_rng(7).standard_normal(100)
    exact = scipy.sparse.linalg.spsolve(sp.csc_matrix(A), b)
    assert dcdm(A, b, M=lambda r: r, x0=exact, rtol=1e-8).nit == 0
    assert dcdm(A, b, M=lambda r: r, callback=lambda step: step.nit == 3).nit == 3
    zero = dcdm(A, np.zeros(100), M=lambda r: r)
    assert zero.success
    assert zero.nit == 0
    assert not zero.x.any()


def test_the_front_knows_the_methods():
    A, b = grid(12), np.ones(144)
    for method, options in (("dcdm", {"M": lambda r: r}), ("deflated-cg", {}), ("icpcg", {"modified": 0.9})):
        result = solve(A, b, method=method, rtol=1e-6, **options)
        assert result.success
        assert result.method == method
        assert np.linalg.norm(b - A @ result.x) < 1.1e-6 * np.linalg.norm(b)


def test_what_does_not_fit_is_refused():
    A, b = grid(4), np.ones(16)
    with pytest.raises(ArgumentError, match="M=None"):
        dcdm(A, b, M=None)
    with pytest.raises(ArgumentError, match="NaN or infinite entries at iteration 1"):
        dcdm(A, b, M=lambda r: r * np.nan)
    with pytest.raises(ShapeError, match=r"M returned shape \(15, 1\)"):
        dcdm(A, b, M=lambda r: r[1:])
    with pytest.raises(ShapeError, match="b has shape"):
        dcdm(A, b[1:], M=lambda r: r)
    with pytest.raises(ShapeError, match="x0 has shape"):
        dcdm(A, b, x0=b[1:], M=lambda r: r)
    with pytest.raises(ArgumentError, match="row 3, outside the mask"):
        dcdm(A, b, M=lambda r: r, mask=np.arange(16) < 3)
    with pytest.raises(ShapeError, match="square"):
        dcdm(A[:3], b, M=lambda r: r)
    bad = dcdm(-A, b, M=lambda r: r)
    assert not bad.success
    assert "not positive definite" in bad.message
