"""Products of Householder reflections, and the nearest orthogonal matrices and partial isometries."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg import (
    HouseholderProduct,
    LowRankOrthogonal,
    Orthogonal,
    RankDeficientWarning,
    format_structure,
    nearest_orthogonal,
    parse_structure,
    weighted_error,
)
from gossamer.linalg.transforms import reflections, reflections_autograd
from gossamer.linalg.transforms.reflections import ALGORITHMS, frame, reflect

sizes = st.integers(1, 64).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d), st.integers(0, 2**20)))


def explicit(W):
    """The product of the reflections, one dense matrix after the other."""
    Q = np.eye(len(W))
    for w in W.T:
        Q = Q @ (np.eye(len(W)) - 2 * np.outer(w, w) / (w @ w))
    return Q


def random_orthogonal(d, seed=0):
    return scipy.stats.ortho_group.rvs(d, random_state=seed) if d > 1 else np.eye(1)


def vectors(d, k, seed=0):
    return np.random.default_rng(seed).standard_normal((d, k))


@given(sizes)
def test_every_algorithm_gives_the_explicit_product(size):
    d, k, seed = size
    W, X = vectors(d, k, seed), vectors(d, 3, seed + 1)
    Q = explicit(W)
    for algorithm in ALGORITHMS:
        assert abs(reflect(W, X, algorithm=algorithm) - Q @ X).max() < 1e-13 * d
        assert abs(reflect(W, X, algorithm=algorithm, transposed=True) - Q.T @ X).max() < 1e-13 * d
        assert abs(frame(W, max(1, k // 2), algorithm=algorithm) - Q[:, : max(1, k // 2)]).max() < 1e-13
    tensor = reflect(torch.from_numpy(W), torch.from_numpy(X), transposed=True)
    assert abs(tensor.numpy() - Q.T @ X).max() < 1e-13 * d


@given(sizes)
def test_a_product_is_orthogonal_and_its_determinant_counts_reflections(size):
    d, k, seed = size
    W = vectors(d, k, seed)
    signs = np.random.default_rng(seed).choice([-1, 1], d)
    Q = HouseholderProduct.of(W, signs)
    dense = Q.to_dense()
    assert abs(dense.T @ dense - np.eye(d)).max() < 1e-13
    assert Q.slogdet() == ((-1) ** k * int(signs.prod()), 0.0)
    assert np.linalg.slogdet(dense)[0] == pytest.approx(Q.slogdet()[0])


@pytest.mark.parametrize("stop", [0, 1, 2, None])
@pytest.mark.parametrize("k", [1, 5, 8, 13])
def test_merging_may_stop_early_and_needs_no_power_of_two(k, stop):
    W, X = vectors(13, k), vectors(13, 2, 1)
    result = reflect(W, X, algorithm="pairwise", stop_recursion=stop)
    np.testing.assert_allclose(result, explicit(W) @ X, atol=1e-13)


def test_several_panels_agree_with_one_reflection_after_the_other():
    W, X = vectors(150, 140), vectors(150, 2, 1)
    np.testing.assert_allclose(reflect(W, X), reflect(W, X, algorithm="sequential"), atol=1e-12)


@pytest.mark.parametrize("panel", [2, 64])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_right_to_the_second_order(panel, transposed, monkeypatch):
    for module in (reflections, reflections_autograd):
        monkeypatch.setattr(module, "PANEL", panel)
    W = torch.from_numpy(vectors(6, 5)).requires_grad_()
    X = torch.from_numpy(vectors(6, 2, 1)).requires_grad_()

    def run(W, X):
        return reflect(W, X, transposed=transposed)

    assert torch.autograd.gradcheck(run, (W, X))
    assert torch.autograd.gradgradcheck(run, (W, X))


def test_the_closed_form_gradient_is_that_of_the_plain_algorithms():
    gradients = []
    for algorithm in ALGORITHMS:
        W = torch.from_numpy(vectors(90, 80)).requires_grad_()
        (frame(W, 7, algorithm=algorithm) * torch.from_numpy(vectors(90, 7, 1))).sum().backward()
        gradients.append(W.grad)
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradients[0], gradient, atol=1e-11, rtol=0)


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_a_thousand_steps_of_adam_leave_it_orthogonal(dtype, allowed):
    W = torch.nn.Parameter(torch.from_numpy(vectors(12, 12)).to(dtype))
    target = torch.from_numpy(vectors(12, 12, 1)).to(dtype)
    optimiser = torch.optim.Adam([W], lr=0.05)
    for _ in range(1000):
        optimiser.zero_grad()
        (frame(W) * target).sum().backward()
        optimiser.step()
    Q = frame(W.detach())
    assert float((Q.T @ Q - torch.eye(12, dtype=dtype)).abs().max()) < allowed


AWKWARD = {
    "identity": np.eye(5),
    "minus the identity": -np.eye(5),
    "permutation": np.eye(6)[[2, 0, 1, 4, 3, 5]],
    "block-diagonal": scipy.linalg.block_diag(random_orthogonal(3, 1), -np.eye(2), random_orthogonal(2, 2)),
    "one": np.eye(1),
    "minus one": -np.eye(1),
    "half a turn": -np.eye(2),
    "a reflection": np.diag([1.0, -1.0]),
    "random": random_orthogonal(40),
    "columns": random_orthogonal(9)[:, :4],
    "columns of a permutation": np.eye(7)[:, [3, 1, 6]],
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize(("dtype", "allowed"), [(np.float64, 1e-14), (np.float32, 2e-6)])
def test_the_reflections_of_an_orthogonal_matrix_give_it_back(name, dtype, allowed):
    Q = AWKWARD[name].astype(dtype)
    product = HouseholderProduct.from_orthogonal(Q, atol=1e-5)
    assert product.dtype == dtype
    assert abs(product.to_dense() - Q).max() <= allowed * max(1, len(Q) / 10)
    assert not np.triu(product.factors["reflectors"], 1).any()  # the shortest form
    back = HouseholderProduct.from_orthogonal(torch.from_numpy(Q), atol=1e-5)
    assert back.is_torch


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**20))
def test_the_squared_distance_is_what_the_singular_values_say(rows, cols, seed):
    W = vectors(rows, cols, seed)
    s = np.linalg.svd(W, compute_uv=False)
    for r in range(1, min(rows, cols) + 1):
        one, fit = (nearest_orthogonal(W, r, scale=scale) for scale in ("one", "fit"))
        assert one.distance**2 == pytest.approx((W**2).sum() - 2 * s[:r].sum() + r, abs=1e-10)
        assert fit.scale == pytest.approx(s[:r].mean())
        assert fit.distance**2 == pytest.approx((W**2).sum() - s[:r].sum() ** 2 / r, abs=1e-10)
        np.testing.assert_allclose(one.matrix.to_dense(), one.U @ one.V.T, atol=1e-12)


def test_a_square_matrix_goes_to_its_polar_factor():
    W = vectors(8, 8)
    Q = Orthogonal().project(W)
    np.testing.assert_allclose(Q.to_dense(), scipy.linalg.polar(W)[0], atol=1e-12)
    assert "orthogonal" in Q.tags


def test_no_random_isometry_and_no_descent_is_nearer():
    rng = np.random.default_rng(3)
    W = rng.standard_normal((7, 6))
    best = nearest_orthogonal(W, 3).distance
    for _ in range(1000):
        U, V = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in W.shape)
        assert np.linalg.norm(W - U @ V.T) > best
    for _ in range(200):  # Riemannian descent, from the last of them
        U, V = (np.linalg.qr(Q + 0.05 * G)[0] for Q, G in ((U, W @ V), (V, W.T @ U)))
    assert best <= np.linalg.norm(W - U @ V.T) + 1e-12


@pytest.mark.parametrize("shape", [(6, 6), (8, 5), (5, 8)])
@pytest.mark.parametrize("scale", ["one", "fit"])
def test_a_metric_is_met_no_worse_than_without_it_and_by_the_polar_factor_where_that_is_exact(shape, scale):
    W, X = vectors(*shape), vectors(40, shape[1], 1) * np.linspace(0.1, 3, shape[1])
    H = X.T @ X / 40
    for rank in (None, 2):
        aware, blind = (Orthogonal(rank, scale).project(W, metric).to_dense() for metric in (H, None))
        assert weighted_error(W, aware, H) <= weighted_error(W, blind, H) + 1e-12
    if shape[0] >= shape[1]:
        full = Orthogonal(scale=scale).project(W, H)
        np.testing.assert_allclose(full.to_dense() / full.alpha, scipy.linalg.polar(W @ H)[0], atol=1e-10)


def test_a_partial_isometry_keeps_its_frames_and_annihilates_the_rest():
    A = Orthogonal(rank=3, scale="fit").project(vectors(9, 7))
    assert isinstance(A, LowRankOrthogonal)
    dense = A.to_dense()
    s = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(s, [A.alpha] * 3 + [0] * 4, atol=1e-12)
    np.testing.assert_allclose(dense @ A.V, A.alpha * A.U, atol=1e-12)
    rest = scipy.linalg.null_space(A.V.T)
    assert abs(dense @ rest).max() < 1e-12
    turn = random_orthogonal(3, 5)
    turned = LowRankOrthogonal.of(A.U @ turn, A.V @ turn, A.alpha)
    np.testing.assert_allclose(turned.to_dense(), dense, atol=1e-12)


def test_the_singular_vectors_of_an_isometry_are_not_its_directions():
    """All singular values are equal: a decomposition returns an arbitrary rotation of the frame."""
    A = Orthogonal(rank=4).project(vectors(12, 9))
    V = np.linalg.svd(A.to_dense())[2][:4].T
    np.testing.assert_allclose(V @ V.T, A.V @ A.V.T, atol=1e-10)
    assert abs(np.abs(V.T @ A.V) - np.eye(4)).max() > 0.1


def test_a_deficient_matrix_is_completed_with_a_warning():
    W = np.outer(np.arange(1.0, 6), np.ones(4))
    with pytest.warns(RankDeficientWarning, match="rank below 3"):
        fit = nearest_orthogonal(W, 3)
    np.testing.assert_allclose(fit.U.T @ fit.U, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(fit.V.T @ fit.V, np.eye(3), atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nearest_orthogonal(W, 1)


def test_members_are_written_as_text_and_files(tmp_path):
    for text in ("Orthogonal()", "Orthogonal(rank=3, scale='fit') + LowRank(rank=1)"):
        assert format_structure(parse_structure(text)) == text
    A = Orthogonal(rank=2).project(vectors(5, 4).astype(np.float32))
    A.save(tmp_path / "a.safetensors")
    loaded = type(A).load(tmp_path / "a.safetensors")
    assert isinstance(loaded, LowRankOrthogonal)
    assert (loaded.to_dense() == A.to_dense()).all()


def test_half_precision_and_autocast_compute_in_float32():
    W, X = torch.randn(80, 70), torch.randn(80, 2)
    expected = reflect(W.bfloat16().float(), X)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(reflect(W.bfloat16().float(), X), expected)
    half = reflect(W.bfloat16(), X.bfloat16())
    assert half.dtype == torch.bfloat16
    assert float((half.float() - expected).abs().max()) < 0.05


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: HouseholderProduct.of(np.ones((2, 3))), ShapeError, "1 <= k <= d"),
        (lambda: HouseholderProduct.of(np.diag([1.0, 0.0])), ArgumentError, r"W\[:, 1\] has length 0"),
        (lambda: HouseholderProduct.of(np.array([[np.nan]])), ArgumentError, "NaN"),
        (lambda: HouseholderProduct.of(np.eye(2), signs=[1, 2]), ArgumentError, "1 or -1"),
        (lambda: HouseholderProduct.from_orthogonal(2 * np.eye(3)), ArgumentError, "not orthogonal"),
        (lambda: HouseholderProduct.from_orthogonal(np.eye(3)[:2]), ShapeError, "at least as many rows"),
        (lambda: HouseholderProduct.of(np.eye(3)).columns(4), ArgumentError, "r=4"),
        (lambda: Orthogonal(rank=0), ArgumentError, "rank=0"),
        (lambda: Orthogonal(scale="two"), ArgumentError, "one, fit"),
        (lambda: Orthogonal(rank=3).project(np.eye(2)), ShapeError, "rank=3"),
        (lambda: nearest_orthogonal(np.eye(2), 3), ArgumentError, "rank=3"),
        (lambda: nearest_orthogonal(np.full((2, 2), np.inf)), ArgumentError, "infinite"),
        (lambda: LowRankOrthogonal.of(np.eye(3)[:, :2], np.eye(3)[:, :1]), ShapeError, "as many"),
        (lambda: reflect(np.eye(3), np.ones((4, 1))), ShapeError, "X has shape"),
        (lambda: reflect(np.eye(3), np.ones((3, 1)), algorithm="qr"), ArgumentError, "algorithm"),
        (lambda: Orthogonal(rank=1).matrix(Orthogonal(), (2, 2), {}), FormatError, "factors"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
