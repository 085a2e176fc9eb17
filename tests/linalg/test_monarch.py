"""Monarch matrices against their formula entry by entry, and their projection against what Eckart and Young promise."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg import (
    LowRank,
    Monarch,
    MonarchMatrix,
    MonarchMixingWarning,
    StructuredMatrix,
    weighted_error,
)

SIZES = [(4, 4, 4, 4, 4, 4), (3, 4, 5, 2, 7, 6), (4, 8, 6, 4, 5, 8), (2, 5, 3, 5, 2, 2)]


def factors(sizes, rng, complex_=False):
    k, q, p, l, s, r = sizes
    w1, w2 = rng.standard_normal((k, q, p)), rng.standard_normal((l, s, r))
    if complex_:
        return w1 + 1j * rng.standard_normal(w1.shape), w2 + 1j * rng.standard_normal(w2.shape)
    return w1, w2


def by_formula(w1, w2):
    (k, q, p), (l, s, _) = w1.shape, w2.shape
    dense = np.zeros((l * s, k * p), w1.dtype)
    for kappa, iota, pi, sigma in itertools.product(range(k), range(q), range(p), range(s)):
        rho, lam = divmod(kappa * q + iota, l)
        dense[sigma * l + lam, kappa * p + pi] += w2[lam, sigma, rho] * w1[kappa, iota, pi]
    return dense


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_products_are_those_of_the_formula(sizes, complex_):
    rng = np.random.default_rng(0)
    w1, w2 = factors(sizes, rng, complex_)
    A, dense = MonarchMatrix.of(w1, w2), by_formula(w1, w2)
    np.testing.assert_allclose(A.to_dense(), dense, atol=1e-13)
    x, y = rng.standard_normal((A.shape[1], 3)), rng.standard_normal((A.shape[0], 2))
    np.testing.assert_allclose(A @ x, dense @ x, atol=1e-12)
    np.testing.assert_allclose(A.H @ y, dense.conj().T @ y, atol=1e-12)
    np.testing.assert_allclose((A.H @ A).to_dense(), dense.conj().T @ dense, atol=1e-11)
    np.testing.assert_allclose((2 * A + A) @ x, 3 * dense @ x, atol=1e-12)
    assert A.dtype == dense.dtype
    assert A.flops() == (8 if complex_ else 2) * (w1.size + w2.size)
    assert A.nbytes == w1.nbytes + w2.nbytes


def test_a_square_matrix_with_root_n_blocks_is_the_formula_of_the_paper():
    rng = np.random.default_rng(1)
    R, L = rng.standard_normal((2, 5, 5, 5))
    P = np.eye(25)[np.arange(25).reshape(5, 5).T.ravel()]
    expected = P @ scipy.linalg.block_diag(*L) @ P @ scipy.linalg.block_diag(*R)
    np.testing.assert_allclose(MonarchMatrix.of(R, L).to_dense(), expected, atol=1e-14)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2, 2, 2), (3, 2, 2, 2, 3, 3)])
def test_gradients_of_factors_and_input(sizes, complex_):
    rng = np.random.default_rng(2)
    w1, w2 = (torch.from_numpy(w).requires_grad_() for w in factors(sizes, rng, complex_))
    x = torch.from_numpy(rng.standard_normal((sizes[0] * sizes[2], 2))).requires_grad_()
    if complex_:
        x = x.detach().to(torch.complex128).requires_grad_()
    run = lambda w1, w2, x: MonarchMatrix.of(w1, w2) @ x  # noqa: E731
    assert torch.autograd.gradcheck(run, (w1, w2, x))
    assert torch.autograd.gradgradcheck(run, (w1, w2, x))


@given(st.data())
def test_the_error_is_what_the_slices_lose(data):
    """Every slice keeps its leading singular values, whatever the sizes: unequal ranks and padding included."""
    shape = data.draw(st.tuples(st.integers(6, 30), st.integers(6, 30)))
    k, l = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    rank = data.draw(st.sampled_from([None, 1, 2]))
    structure = Monarch((k, l), rank=rank)
    W = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(shape)
    sizes = structure.sizes(shape)
    if sizes.q < l:
        return
    A = structure.project(W)
    padded = np.zeros((sizes.l * sizes.s, sizes.k * sizes.p))
    padded[: shape[0], : shape[1]] = W
    lost = 0.0
    for kappa, lam in itertools.product(range(sizes.k), range(sizes.l)):
        channels = sum((kappa * sizes.q + iota) % sizes.l == lam for iota in range(sizes.q))
        values = np.linalg.svd(
            padded[lam :: sizes.l, kappa * sizes.p : (kappa + 1) * sizes.p], compute_uv=False
        )
        lost += (values[channels:] ** 2).sum()
    error = weighted_error(W, A.to_dense())
    assert abs(error - lost) <= 1e-12 * (W**2).sum()
    again = structure.project(A)
    assert weighted_error(A.to_dense(), again.to_dense()) <= 1e-24 * (W**2).sum()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("complex_", [False, True])
def test_a_member_is_its_own_projection(sizes, complex_):
    A = MonarchMatrix.of(*factors(sizes, np.random.default_rng(3), complex_))
    dense = A.to_dense()
    if sizes[1] < sizes[3]:
        with pytest.warns(MonarchMixingWarning):
            again = A.structure.project(dense)
    else:
        again = A.structure.project(dense)
    assert np.sqrt(weighted_error(dense, again.to_dense())) <= 1e-12 * np.linalg.norm(dense)


def test_neither_random_members_nor_descent_come_nearer():
    rng = np.random.default_rng(4)
    W = rng.standard_normal((24, 30))
    A = Monarch(3, rank=2).project(W)
    best = weighted_error(W, A.to_dense())
    k, q, p, l, s, r = A.sizes
    for _ in range(50):
        rival = MonarchMatrix.of(rng.standard_normal((k, q, p)), rng.standard_normal((l, s, r)))
        assert weighted_error(W, rival.to_dense()) > best
    leaves = {name: f.clone().requires_grad_() for name, f in A.torch().factors.items()}
    optimizer = torch.optim.Adam(leaves.values(), 1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((A.torch()._with(leaves).to_dense() - torch.from_numpy(W)) ** 2).sum()
        loss.backward()
        optimizer.step()
        assert float(loss.detach()) >= best * (1 - 1e-12)


@pytest.mark.parametrize(("n", "paper"), [(64, 0.618), (256, 0.785), (1024, 0.886)])
def test_noise_is_not_approximated(n, paper):
    W = np.random.default_rng(5).standard_normal((n, n)).astype(np.float32)
    A = Monarch(int(n**0.5)).project(W)
    assert abs(weighted_error(W, A.to_dense()) / (W.astype(float) ** 2).sum() - paper) < 0.01


@pytest.mark.parametrize("n", [16, 36, 64, 196])
def test_the_fourier_transform_is_a_member(n):
    m = int(n**0.5)
    F = np.fft.fft(np.eye(n))[:, np.arange(n).reshape(m, m).T.ravel()]
    A = Monarch(m, dtype="complex128").project(F)
    assert np.linalg.norm(A.to_dense() - F) <= 1e-12 * np.linalg.norm(F)


def test_the_hadamard_transform_is_a_member():
    H = scipy.linalg.hadamard(64).astype(float)
    assert weighted_error(H, Monarch(8).project(H).to_dense()) <= 1e-24


def test_a_metric_within_the_blocks_is_met_exactly():
    """With H_kk = P P^T the nearest member is the truncated decomposition of T P, brought back."""
    rng = np.random.default_rng(6)
    W, roots = rng.standard_normal((10, 12)), rng.standard_normal((3, 4, 4)) + 2 * np.eye(4)
    H = scipy.linalg.block_diag(*(root @ root.T for root in roots))
    A = Monarch((3, 2), rank=1, sweeps=0).project(W, H)
    for kappa, lam in itertools.product(range(3), range(2)):
        T = W[lam::2, 4 * kappa : 4 * kappa + 4]
        U, S, Vh = np.linalg.svd(T @ roots[kappa])
        expected = S[0] * np.outer(U[:, 0], Vh[0]) @ np.linalg.inv(roots[kappa])
        np.testing.assert_allclose(A.to_dense()[lam::2, 4 * kappa : 4 * kappa + 4], expected, atol=1e-12)


def test_a_metric_that_couples_blocks_is_descended_in():
    rng = np.random.default_rng(7)
    W, X = rng.standard_normal((24, 24)), rng.standard_normal((100, 24)) @ rng.standard_normal((24, 24))
    H = X.T @ X / 100
    errors = [weighted_error(W, Monarch(3, sweeps=n).project(W, H).to_dense(), H) for n in (0, 1, 5, 40)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * weighted_error(W, Monarch(3).project(W).to_dense(), H)


def test_factors_are_balanced_and_their_signs_are_fixed():
    W = np.random.default_rng(8).standard_normal((16, 16))
    A, B = Monarch(4).project(W), Monarch(4).project(W.copy())
    w1, w2 = A.factors.values()
    np.testing.assert_allclose(np.linalg.norm(w1, axis=2).ravel(), np.linalg.norm(w2, axis=1).T.ravel())
    peaks = np.take_along_axis(w1, np.abs(w1).argmax(axis=2)[..., None], axis=2)
    assert (peaks > 0).all()
    assert w1.tobytes() == B.factors["w1"].tobytes()


def test_zero_blocks_give_zero_factors():
    W = np.random.default_rng(9).standard_normal((8, 8)).astype(np.float32)
    W[:, :4] = 0
    A = Monarch(2).project(W)
    assert (A.factors["w1"][0] == 0).all()
    assert (A.to_dense()[:, :4] == 0).all()
    alone = Monarch((1, 2), width=A.sizes.q).project(W[:, 4:])
    np.testing.assert_allclose(A.to_dense()[:, 4:], alone.to_dense(), atol=1e-6)
    assert (Monarch(2).project(np.zeros((8, 8))).to_dense() == 0).all()


def test_more_channels_come_nearer_until_nothing_is_lost():
    W = np.random.default_rng(10).standard_normal((24, 36)).astype(np.float32)
    errors = [weighted_error(W, Monarch(4, rank=r).project(W).to_dense()) for r in (1, 2, 4, 6, 50)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8
    assert Monarch(4, rank=50).sizes(W.shape).q == 4 * 6


def test_the_layer_of_four_blocks_has_the_sizes_of_the_reference():
    assert Monarch(4).sizes((1024, 256)) == (4, 64, 64, 4, 256, 64)
    assert Monarch(4).sizes((256, 1024)) == (4, 64, 256, 4, 64, 64)
    assert Monarch(4).sizes((10, 7)) == (4, 2, 2, 4, 3, 2)


def test_large_float32_slices_are_cut_as_well_as_by_the_decomposition():
    W = np.random.default_rng(11).standard_normal((300, 260)).astype(np.float32)
    coarse, exact = (weighted_error(V, Monarch(4).project(V).to_dense()) for V in (W, W.astype(np.float64)))
    assert abs(coarse / exact - 1) < 1e-6


def test_a_sum_with_low_rank_is_a_family():
    W = np.random.default_rng(12).standard_normal((32, 32)).astype(np.float32)
    W += 10 * np.outer(np.arange(32), np.ones(32)).astype(np.float32)
    A = (Monarch(4) + LowRank(2)).project(W)
    assert weighted_error(W, A.to_dense()) < weighted_error(W, Monarch(4).project(W).to_dense())


def test_complex_members_are_written_and_read(tmp_path):
    A = Monarch(3, dtype="complex64").project(np.fft.fft(np.eye(9)))
    A.save(tmp_path / "a")
    B = StructuredMatrix.load(tmp_path / "a")
    assert B.dtype == np.complex64
    np.testing.assert_array_equal(A.to_dense(), B.to_dense())
    x = np.arange(9.0, dtype=np.float32)
    np.testing.assert_allclose(A.torch() @ torch.from_numpy(x), A @ x, rtol=1e-4, atol=1e-4)


def test_bad_input_is_refused():
    W = np.ones((8, 8))
    with pytest.raises(ArgumentError, match="complex"):
        Monarch(2).project(W.astype(complex))
    with pytest.raises(ShapeError, match="8 columns do not fill 9 blocks"):
        Monarch((9, 2)).project(W)
    with pytest.raises(ShapeError, match="nearest valid: 3"):
        Monarch((2, 3), width=4).project(W)
    with pytest.raises(ArgumentError, match="one of them"):
        Monarch(4, rank=1, width=4)
    with pytest.raises(ArgumentError, match="pair"):
        Monarch((1, 2, 3))
    with pytest.raises(ArgumentError, match="dtype"):
        Monarch(4, dtype="int8")
    with pytest.raises(ArgumentError, match="NaN"):
        Monarch(2).project(np.full((4, 4), np.nan))
    with pytest.raises(ShapeError, match="l r = 2 \\* 3 channels: expected k q = 2 \\* 4"):
        MonarchMatrix.of(np.ones((2, 4, 3)), np.ones((2, 5, 3)))
    with pytest.raises(ShapeError, match="expected \\(k, q, p\\)"):
        MonarchMatrix.of(np.ones((4, 3)), np.ones((2, 5, 3)))
    with pytest.raises(FormatError, match="int64"):
        MonarchMatrix.of(np.ones((2, 2, 2), int), np.ones((2, 2, 2), int))
    with pytest.raises(ArgumentError, match="complex"):
        Monarch(2).project(W) @ np.ones(8, complex)
    with pytest.warns(MonarchMixingWarning, match="2 channels leave a block"):
        Monarch(4).project(W)
