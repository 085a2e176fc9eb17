"""Diagonal plus low rank: resolvents and inverses are those of the dense matrix, real and complex."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg import DPLR, Diagonal, DPLRMatrix, LowRank, hippo, hippo_normal, weighted_error


def member(n, r, dtype=np.complex128, seed=0):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape) for shape in ((n,), (n, r), (r, n))]
    if np.dtype(dtype).kind == "c":
        parts = [part + 1j * rng.standard_normal(part.shape) for part in parts]
    return DPLRMatrix.of(*(part.astype(dtype) for part in parts))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("n", "r"), [(1, 1), (6, 1), (9, 3)])
def test_products_resolvents_and_inverses_equal_dense_ones(n, r, dtype):
    A = member(n, r, dtype)
    dense, x = np.asarray(A.to_dense()), np.arange(1.0, n + 1).astype(dtype)
    d, U, V = A.parts()
    np.testing.assert_allclose(dense, np.diag(d) + U @ V, atol=1e-13)
    for B, same in ((A, dense), (A.T, dense.T), (A.H, dense.conj().T), (A.conj(), dense.conj())):
        np.testing.assert_allclose(B @ x, same @ x, atol=1e-12)
    np.testing.assert_allclose(A.solve(x), np.linalg.solve(dense, x), rtol=1e-9)
    np.testing.assert_allclose(A.inverse().to_dense(), np.linalg.inv(dense), rtol=1e-8, atol=1e-10)
    points = np.array([0.3 + 2j, -1j, 4.0])
    expected = [np.linalg.solve(s * np.eye(n) - dense, x.astype(complex)) for s in points]
    np.testing.assert_allclose(A.resolvent(points, x), expected, rtol=1e-9)
    np.testing.assert_allclose(A.resolvent(2.5, x), np.linalg.solve(2.5 * np.eye(n) - dense, x), rtol=1e-9)


def test_hippo_is_a_member_in_its_own_basis():
    n = 32
    A, B = hippo(n)
    h = hippo_normal(n)
    S4 = DPLRMatrix.of(h.Lambda, -h.p[:, None], h.p.conj()[None])
    points = 1j * np.array([0.0, 1.0, n**2 / np.pi])
    states = S4.resolvent(points, h.B)
    expected = [np.linalg.solve(s * np.eye(n) - A, B.astype(complex)) for s in points]
    np.testing.assert_allclose(states @ h.V.T, expected, atol=1e-10)
    np.testing.assert_allclose(states, h.states(points.imag), atol=1e-12)


def test_tensors_carry_gradients_through_the_resolvent():
    parts = [
        torch.randn(shape, dtype=torch.complex128, requires_grad=True) for shape in ((5,), (5, 2), (2, 5))
    ]
    x, s = torch.randn(5, dtype=torch.complex128), torch.tensor([0.5j, 2.0 + 1j])
    assert torch.autograd.gradcheck(lambda *p: DPLRMatrix.of(*p).resolvent(s, x), parts)
    assert torch.autograd.gradcheck(lambda *p: DPLRMatrix.of(*p).inverse().to_dense(), parts)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_members_survive_files_and_projection(tmp_path, dtype):
    A = member(8, 2, np.dtype(dtype))
    A.save(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(DPLRMatrix.load(tmp_path / "a.safetensors").to_dense(), A.to_dense())
    assert A.dtype == np.dtype(dtype)
    dense = np.asarray(A.to_dense())
    again = DPLR(2, dtype).project(dense)
    assert weighted_error(dense, np.asarray(again.to_dense())) < 0.02 * weighted_error(dense, 0 * dense)


def test_projection_is_no_worse_than_low_rank_and_finds_dominant_parts():
    rng = np.random.default_rng(1)
    W = rng.standard_normal((12, 12))
    fit = DPLR(2).project(W)
    assert weighted_error(W, fit.to_dense()) < weighted_error(W, LowRank(2).project(W).to_dense())
    assert weighted_error(W, fit.to_dense()) < weighted_error(W, Diagonal().project(W).to_dense())
    exact = DPLRMatrix.of(*(rng.standard_normal(s) for s in ((12,), (12, 1), (1, 12)))).to_dense()
    found = DPLR(1, sweeps=500).project(exact)
    assert weighted_error(exact, found.to_dense()) < 1e-6 * weighted_error(exact, 0 * exact)


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="rank=0"):
        DPLR(0)
    with pytest.raises(ArgumentError, match="dtype='int8'"):
        DPLR(1, "int8")
    with pytest.raises(ShapeError, match="expected a square"):
        DPLR(1).project(np.ones((2, 3)))
    with pytest.raises(FormatError, match="left has shape"):
        DPLRMatrix.of(np.ones(3), np.ones((4, 1)), np.ones((1, 3)))
    with pytest.raises(FormatError, match="expected one dtype"):
        DPLRMatrix.of(np.ones(3), np.ones((3, 1), np.float32), np.ones((1, 3)))
    with pytest.raises(ShapeError, match=r"x has shape \(2,\)"):
        member(3, 1).resolvent(1.0, np.ones(2))
